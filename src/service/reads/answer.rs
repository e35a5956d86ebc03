//! What a reader asks for, and what it gets.

use std::sync::Arc;

use crate::cache::memory::Entry;

/// What became of a read: within its bound with no refresh; too old, so refreshed or served so; in
/// no tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Fresh,
    Stale,
    Miss,
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Fresh => "fresh",
            Outcome::Stale => "stale",
            Outcome::Miss => "miss",
        }
    }
}

/// The rung that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    Memory,
    Redis,
    Table,
    Source,
}

impl Tier {
    pub const fn as_str(self) -> &'static str {
        match self {
            Tier::Memory => "memory",
            Tier::Redis => "redis",
            Tier::Table => "table",
            Tier::Source => "source",
        }
    }
}

/// Why a read went past memory: nothing there, too old for the default bound, or the request's own
/// requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    Miss,
    Stale,
    Request,
}

/// Figures, and what is known of them.
#[derive(Debug)]
pub struct Answer {
    pub entry: Arc<Entry>,
    pub age_ms: i64,
    pub outcome: Outcome,
    pub tier: Tier,
    /// `None` for a hit.
    pub forward: Option<Forward>,
    /// Another request's refresh was shared.
    pub collapsed: bool,
    /// The source could not be reached; these are the last figures.
    pub source_unavailable: bool,
}

#[derive(Debug)]
pub enum ReadError {
    /// The day has not begun, or the facility is gone.
    NotFound,
    /// `only-if-cached`, and nothing fresh enough in memory or Redis.
    NotCached,
    /// Nothing fresh enough can be had now; try again.
    Unavailable,
    /// `min_version` was not reached in time.
    VersionNotReached,
    /// The facility is in another zone than was thought: the day is to be found anew.
    Moved,
}

/// What memory answers.
pub(in crate::service) fn hit(entry: Arc<Entry>, age_ms: i64) -> Answer {
    Answer {
        entry,
        age_ms,
        outcome: Outcome::Fresh,
        tier: Tier::Memory,
        forward: None,
        collapsed: false,
        source_unavailable: false,
    }
}
