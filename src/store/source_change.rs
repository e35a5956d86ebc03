//! What is known of mapped tables: changes, which the mapping may not fit any more, and how far
//! they are behind where another server fills them.

/// The mapped tables as they are now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceState {
    /// What the owner has changed since the mapping was first used, or accepted.
    pub changes: Vec<SourceChange>,
    /// The subscriptions that fill mapped tables.
    pub lags: Vec<SourceLag>,
}

/// What the owner has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceChange {
    /// As in `public.bag.expiry is now public.bag.expires_on`.
    pub text: String,
    /// The figures cannot be read any more. Otherwise they can, and may mean something else.
    pub breaks: bool,
}

/// How far a subscription is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLag {
    /// The name of the subscription.
    pub subscription: String,
    /// Seconds since the publisher was last heard of; `None` while the subscription does not run.
    pub seconds: Option<i64>,
}

impl std::fmt::Display for SourceLag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let SourceLag { subscription, seconds } = self;
        write!(f, "the subscription {subscription} fills mapped tables, and ")?;
        match seconds {
            Some(seconds) => write!(f, "was last heard of {seconds} s ago")?,
            None => f.write_str("does not run")?,
        }
        f.write_str(": the age of each answer counts from what it has brought")
    }
}
