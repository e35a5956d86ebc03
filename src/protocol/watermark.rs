//! As of when everything is known to be exact.

use super::Position;

/// An instant as of which every summary is exact; every change committed after it stands behind
/// `position` in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// Milliseconds by the database's clock.
    pub at_ms: i64,
    pub position: Position,
}
