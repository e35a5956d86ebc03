//! A change of mapped tables that the mapping may not fit any more.

/// What the owner has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceChange {
    /// As in `public.bag.expiry is now public.bag.expires_on`.
    pub text: String,
    /// The figures cannot be read any more. Otherwise they can, and may mean something else.
    pub breaks: bool,
}
