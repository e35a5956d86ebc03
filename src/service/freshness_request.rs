//! The freshness request: how fresh a reader wants its answer.

use crate::domain::summary::SummaryRow;

/// How fresh the reader wants its answer.
#[derive(Debug, Clone, Copy)]
pub struct FreshnessRequest {
    /// The greatest age, in milliseconds. Where the request names none, that of the settings.
    pub max_age_ms: i64,
    /// The request named its own greatest age.
    pub explicit: bool,
    /// The reader takes figures that are at most this many milliseconds older than `max_age_ms`. It
    /// gets them at once, and they are refreshed in the background.
    pub max_stale_ms: Option<i64>,
    /// The reader takes an answer from memory or Redis only.
    pub only_if_cached: bool,
    /// The least version that the reader takes; 0 for any.
    pub min_version: i64,
}

impl FreshnessRequest {
    /// Whether the reader takes figures of this age. With a bound of 0 it takes no figures that
    /// existed when the request arrived, also none of the same millisecond, as something may have
    /// been written since.
    pub fn accepts(&self, age_ms: i64) -> bool {
        self.max_age_ms > 0 && age_ms <= self.max_age_ms
    }

    /// The greatest age that the reader takes while the figures are refreshed in the background, in
    /// milliseconds.
    pub fn most_stale_ms(&self) -> i64 {
        self.max_age_ms.saturating_add(self.max_stale_ms.unwrap_or(0))
    }

    /// Whether the reader takes figures of this version.
    pub const fn takes_version(&self, version: i64) -> bool {
        version >= self.min_version
    }

    /// What a refresh that another reader began must bring to satisfy this reader, who asks at
    /// `now_ms`.
    pub fn min_freshness(&self, now_ms: i64) -> MinFreshness {
        MinFreshness { as_of_ms: now_ms.saturating_sub(self.max_age_ms), version: self.min_version }
    }
}

/// The least that a shared refresh must bring: figures that are exact as of this instant or later,
/// of this version or a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinFreshness {
    /// The instant, in milliseconds.
    pub as_of_ms: i64,
    /// The version; 0 for any.
    pub version: i64,
}

impl MinFreshness {
    /// Bounds that satisfy both readers.
    pub fn and(self, other: MinFreshness) -> MinFreshness {
        MinFreshness {
            as_of_ms: self.as_of_ms.max(other.as_of_ms),
            version: self.version.max(other.version),
        }
    }

    /// Whether the row satisfies both bounds.
    pub fn is_met_by(&self, row: &SummaryRow) -> bool {
        row.as_of_ms >= self.as_of_ms && row.summary.version >= self.version
    }
}

#[cfg(test)]
#[path = "freshness_request_tests.rs"]
mod tests;
