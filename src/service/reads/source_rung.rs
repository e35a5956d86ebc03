//! The last rung: a refresh from the source tables.

use std::sync::Arc;

use super::{
    Reached, Reads,
    answer::{Answer, Forward, ReadOutcome, Tier, hit},
};
use crate::{
    cache::memory::Entry,
    directory::Located,
    domain::{
        day::Day,
        summary::{DayKey, SummaryRow},
    },
    metrics::RefreshTrigger,
    service::{freshness_request::FreshnessRequest, refresh::coalescer::Joined},
    store::StoreError,
};

impl Reads {
    /// Refreshes the day, or shares a refresh that another reader asked for.
    pub(super) async fn from_source(
        self: &Arc<Self>,
        located: &Located,
        day: Day,
        requested: &FreshnessRequest,
        outcome: ReadOutcome,
        forward: Forward,
    ) -> Reached {
        let day_key = DayKey { facility: located.facility.clone(), day };
        if self.locked.contains_key(&day_key.id()) {
            return Reached::BackingOff;
        }
        let min_freshness =
            (requested.max_age_ms > 0).then(|| requested.min_freshness(self.clock.now_ms()));
        let just_finished = || self.just_finished(located, &day, requested);
        let joined = self.coalescer.join_unless(
            day_key.clone(),
            min_freshness,
            RefreshTrigger::Read,
            just_finished,
        );
        let waiter = match joined {
            Joined::Waits(waiter) => waiter,
            Joined::JustFinished(answer) => return Reached::Answer(answer),
        };
        let is_shared = waiter.is_shared;
        let refreshed = match waiter.result().await {
            Ok(Some(refreshed)) => refreshed,
            Ok(None) => return Reached::NoSuchDay,
            Err(error) => {
                if matches!(*error, StoreError::Locked(_)) {
                    self.locked.insert(day_key.id(), ());
                }
                return Reached::Failed(error);
            }
        };
        if !refreshed.row.is_of(&day) {
            // The row is of the day of that date in the zone that the facility has by now.
            return match self.has_moved(&located.facility) {
                true => Reached::NoSuchDay,
                false => Reached::BackingOff,
            };
        }
        let entry = self.keep(&refreshed.row);
        let age_ms = self.age_ms(&entry, located, self.clock.now_ms());
        Reached::Answer(Answer {
            outcome,
            tier: Tier::Source,
            forward: Some(forward),
            collapsed: is_shared || refreshed.elsewhere,
            ..hit(entry, age_ms)
        })
    }

    /// What a refresh that has just finished put into memory, if that is fresh enough.
    fn just_finished(
        &self,
        located: &Located,
        day: &Day,
        requested: &FreshnessRequest,
    ) -> Option<Answer> {
        let entry = self.held(located.facility.id, day)?;
        let age_ms = self.age_ms(&entry, located, self.clock.now_ms());
        (requested.accepts(age_ms) && requested.takes_version(entry.version))
            .then(|| hit(entry, age_ms))
    }

    /// The entry of a refreshed row. The refresh has put it into memory, unless a newer one came or
    /// there was no room.
    pub(in crate::service) fn keep(&self, row: &SummaryRow) -> Arc<Entry> {
        self.memory
            .get(&row.key())
            .filter(|held| {
                held.version >= row.summary.version
                    && held.bounds == row.bounds
                    && self.memory.exact_as_of_ms(held) >= row.as_of_ms
            })
            .unwrap_or_else(|| Arc::new(self.memory.entry_of(row, row.as_of_ms, None)))
    }
}
