//! What goes with a row into memory: the token of its read, and what has become of it. And what is
//! known of all rows that are held.

use std::sync::Arc;

use super::entry::Entry;
use crate::protocol::Position;

/// The newest watermark of a stream session, in milliseconds, and the number of the session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proof {
    pub watermark_ms: i64,
    pub session: u32,
}

/// A token that is taken before a read. It says which epoch was served and which position was
/// consumed at that time, and so decides whether the result of the read may still be put: a change
/// that came by since may be newer.
#[derive(Debug, Clone, Copy)]
pub struct FillToken {
    pub(super) epoch: u32,
    /// Every change that the read may have missed stands behind this position.
    pub position: Position,
}

/// The result of a fill.
#[derive(Debug)]
pub enum Fill {
    /// The entry that memory holds now: the filled one, or another that is as good or better.
    Kept(Arc<Entry>),
    /// A newer version came by meanwhile, or another epoch began. The caller reads again.
    LostRace,
}

/// How a message relates to the one consumed before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consumed {
    Next,
    /// At least one message before this one was missed. A new stream session began with it.
    Gap,
    /// It was consumed before, and is ignored.
    Old,
    /// Another epoch is served by now. The message was ignored, as it says nothing about that
    /// epoch.
    OtherEpoch,
}
