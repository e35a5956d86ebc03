//! What readers get while the database cannot be asked.

use std::sync::Arc;

use super::{
    Reads,
    answer::{Answer, Forward, ReadError, ReadOutcome, Tier},
};
use crate::{
    cache::memory::Entry, directory::Located, service::freshness_request::FreshnessRequest,
};

impl Reads {
    /// The answer when the database cannot be asked: the last figures, with their true age, unless
    /// the reader's own bound forbids it.
    pub(super) fn last_figures(
        &self,
        held: Option<Arc<Entry>>,
        located: &Located,
        requested: &FreshnessRequest,
        forward: Forward,
    ) -> Result<Answer, ReadError> {
        let entry = held.ok_or(ReadError::Unavailable)?;
        let age_ms = self.age_ms(&entry, located, self.clock.now_ms());
        let most_ms = if requested.explicit {
            requested.max_age_ms
        } else {
            1000 * i64::try_from(self.freshness.stale_if_error_seconds).unwrap_or(i64::MAX / 1000)
        };
        if age_ms > most_ms || !requested.takes_version(entry.version) {
            return Err(ReadError::Unavailable);
        }
        let forward = if forward == Forward::Miss { Forward::Miss } else { Forward::Stale };
        Ok(Answer {
            entry,
            age_ms,
            outcome: ReadOutcome::Stale,
            tier: Tier::Memory,
            forward: Some(forward),
            collapsed: false,
            source_unavailable: true,
        })
    }
}
