//! The rung of the Redis tier, which replicas share.

use std::sync::Arc;

use super::{
    Reads,
    answer::{Answer, Forward, ReadOutcome, Tier, hit},
};
use crate::{
    cache::memory::{Entry, Fill},
    directory::Located,
    domain::{day::Day, summary::Key},
    service::{freshness_request::FreshnessRequest, tier_row::TierRow},
};

/// What Redis has.
pub enum FromRedis {
    Answer(Answer),
    /// An entry that is not fresh enough for this reader.
    TooOld(Arc<Entry>),
    Nothing,
}

impl FromRedis {
    /// The entry that is not fresh enough, if there is one.
    pub fn too_old(self) -> Option<Arc<Entry>> {
        match self {
            FromRedis::TooOld(entry) => Some(entry),
            FromRedis::Answer(_) | FromRedis::Nothing => None,
        }
    }
}

impl Reads {
    /// Reads the Redis tier. What it finds is judged and kept in memory like any fill. The future
    /// may be dropped at any time, as no other reader waits for it.
    pub async fn read_redis(
        &self,
        located: &Located,
        day: &Day,
        requested: &FreshnessRequest,
    ) -> FromRedis {
        let facility = located.facility.id;
        let held = self.held(facility, day);
        // For `no-cache` nothing in Redis is new enough, however young it is. For `max-stale` the
        // entry in memory may do at once.
        let may_do = (requested.max_age_ms > 0 || requested.min_version > 0)
            && (requested.max_stale_ms.is_none() || held.is_none());
        let Some(shared) = self.leases.as_ref().filter(|_| may_do && self.changes.is_attached())
        else {
            return FromRedis::Nothing;
        };
        let token = self.memory.fill_token();
        let Some(stored) = shared.get(&Key { facility_id: facility, date: day.date }).await else {
            return FromRedis::Nothing;
        };
        let now_ms = self.clock.now_ms();
        let Some(Fill::Kept(entry)) =
            TierRow::in_redis(stored, day, now_ms).map(|found| found.keep(&self.memory, &token))
        else {
            return FromRedis::Nothing;
        };
        if !entry.is_of(day) {
            return FromRedis::Nothing; // what memory had, of the zone before or after
        }
        let age_ms = self.age_ms(&entry, located, now_ms);
        let unproven_ms = self.unproven_ms(self.unproven.redis, held.is_some(), requested);
        if !requested.takes_version(entry.version)
            || !requested.accepts(age_ms)
            || !self.counts_as_fresh(&entry, age_ms, unproven_ms)
        {
            return FromRedis::TooOld(entry);
        }
        self.metrics.count_read(ReadOutcome::Fresh.as_str(), Tier::Redis.as_str());
        let forward = Forward::of(held.is_some(), requested);
        FromRedis::Answer(Answer {
            outcome: ReadOutcome::Fresh,
            tier: Tier::Redis,
            forward: Some(forward),
            ..hit(entry, age_ms)
        })
    }
}
