//! What the reader of a list asked for.

use crate::service::freshness_request::FreshnessRequest;

/// What a reader asked for, and when it arrived.
pub(super) struct ListRequest {
    pub requested: FreshnessRequest,
    /// When it arrived, the database's clock showed no later time than this, in milliseconds.
    pub arrived_ms: i64,
}

impl ListRequest {
    /// Whether an answer that is exact as of `exact_ms` may leave at `now_ms`. For `no-cache` it
    /// must have been proven after the request arrived. For other readers it must not be older than
    /// their bound.
    pub fn takes(&self, exact_ms: i64, now_ms: i64) -> bool {
        let Some(age_ms) = (exact_ms != i64::MIN).then(|| now_ms.saturating_sub(exact_ms)) else {
            return false;
        };
        let tolerable_ms = self
            .requested
            .max_stale_ms
            .map(|most_ms| self.requested.max_age_ms.saturating_add(most_ms));
        (self.requested.max_age_ms == 0 && exact_ms > self.arrived_ms)
            || (self.requested.max_age_ms > 0 && age_ms <= self.requested.max_age_ms)
            || tolerable_ms.is_some_and(|most_ms| age_ms <= most_ms)
    }

    /// The earliest instant as of which an answer may be exact that leaves at `now_ms`, in
    /// milliseconds.
    pub fn least_ms(&self, now_ms: i64) -> i64 {
        match self.requested.max_age_ms {
            0 => self.arrived_ms.saturating_add(1),
            max_age_ms => now_ms.saturating_sub(max_age_ms),
        }
    }
}
