//! Where one is in the change stream.

use serde::{Deserialize, Serialize};

/// Whoever has consumed the stream up to a position has seen every message with a number up to it.
/// Positions of two generations cannot be compared: what a generation numbered may have been lost
/// with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// Which run of the stream. The database gives each a number of its own; 0 is the stream
    /// within one process, which needs none.
    pub generation: i64,
    /// The messages of all generations are numbered from 1 without a gap.
    pub number: i64,
}
