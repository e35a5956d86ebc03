//! A position in the change stream.

use serde::{Deserialize, Serialize};

/// A reader that has consumed the stream up to a position has seen every message with a number up
/// to it. Positions of two generations cannot be compared: when a generation ended, messages that
/// it had numbered may have been lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The generation: one run of the stream in which every loss is noticed. The database numbers
    /// the generations of a stream in Redis. A stream within one process has a random number. 0 is
    /// none: nothing was consumed yet.
    pub generation: i64,
    /// The number of the message. Numbers begin at 1 and have no gap. A new generation goes on with
    /// them, as long as the stream still exists.
    pub number: i64,
}
