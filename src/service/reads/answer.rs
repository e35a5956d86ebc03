//! The answer to a read, with what is known of its age and origin.

use std::sync::Arc;

use crate::{cache::memory::Entry, service::freshness_request::FreshnessRequest};

/// The outcome of a read. `Fresh`: within the reader's bound, without a refresh. `Stale`: too old,
/// so it was refreshed, or served as it is. `Miss`: no tier had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOutcome {
    Fresh,
    Stale,
    Miss,
}

impl ReadOutcome {
    /// The value of the metric label `outcome`.
    pub const fn as_str(self) -> &'static str {
        match self {
            ReadOutcome::Fresh => "fresh",
            ReadOutcome::Stale => "stale",
            ReadOutcome::Miss => "miss",
        }
    }
}

/// The rung that answered, the highest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    Memory,
    Redis,
    Table,
    Source,
}

impl Tier {
    /// The value of the metric label `tier`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Tier::Memory => "memory",
            Tier::Redis => "redis",
            Tier::Table => "table",
            Tier::Source => "source",
        }
    }
}

/// Why memory did not answer: it had nothing, its entry was too old for the default bound, or it
/// was too old for the request's own bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    Miss,
    Stale,
    Request,
}

impl Forward {
    /// Why memory, which held an entry or none, did not answer this request.
    pub const fn of(is_held: bool, requested: &FreshnessRequest) -> Self {
        match is_held {
            false => Forward::Miss,
            true if requested.explicit || requested.min_version > 0 => Forward::Request,
            true => Forward::Stale,
        }
    }
}

/// Figures, and what is known of them.
#[derive(Debug)]
pub struct Answer {
    /// The rendered figures.
    pub entry: Arc<Entry>,
    /// Milliseconds since the figures were last known to be exact.
    pub age_ms: i64,
    /// The outcome of the read.
    pub outcome: ReadOutcome,
    /// The rung that answered.
    pub tier: Tier,
    /// Why memory did not answer; `None` where it did.
    pub forward: Option<Forward>,
    /// The read shared a refresh that another reader or replica had begun.
    pub collapsed: bool,
    /// The database could not be reached; these are the last figures.
    pub source_unavailable: bool,
}

impl Answer {
    /// Whether the reader takes this answer of a lower rung: its version is late enough, and what a
    /// refresh brought is still young enough. The refresh may have taken long, or may have begun
    /// before this reader came.
    pub fn satisfies(&self, requested: &FreshnessRequest) -> bool {
        let is_young = self.tier != Tier::Source
            || requested.max_age_ms == 0
            || self.age_ms <= requested.most_stale_ms();
        is_young && requested.takes_version(self.entry.version)
    }
}

/// Why a read has no answer.
#[derive(Debug)]
pub enum ReadError {
    /// The day has not begun, or the facility is gone.
    NotFound,
    /// The reader sent `only-if-cached`, and neither memory nor Redis has anything fresh enough.
    NotCached,
    /// Nothing fresh enough can be had now; the client tries again.
    Unavailable,
    /// The version `min_version` was not reached in time.
    VersionNotReached,
    /// The facility has moved to another zone; the caller looks up the day anew.
    Moved,
}

/// The answer for an entry that memory holds.
pub(in crate::service) fn hit(entry: Arc<Entry>, age_ms: i64) -> Answer {
    Answer {
        entry,
        age_ms,
        outcome: ReadOutcome::Fresh,
        tier: Tier::Memory,
        forward: None,
        collapsed: false,
        source_unavailable: false,
    }
}
