//! The watermark: the instant as of which every summary is known to be exact.

use super::Position;

/// An instant as of which every summary is exact. Every change committed after it stands behind
/// `position` in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// Milliseconds by the database's clock.
    pub at_ms: i64,
    /// The place in the stream that belongs to `at_ms`.
    pub position: Position,
}
