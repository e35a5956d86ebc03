//! The freshness ladder: memory, then Redis, then the summary table, then a refresh; each rung only
//! where the one before is not fresh enough for this reader. Every answer carries how old it is.

pub mod answer;
pub mod freshness_request;
pub mod redis_rung;
mod source_rung;
pub mod standby;
mod table_rung;
pub mod tier_row;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::sync::Cache;
use uuid::Uuid;

use crate::{
    cache::memory::{Entry, Memory},
    changes::Changes,
    clock::Clock,
    config::FreshnessSettings,
    directory::{Directory, Located},
    domain::{
        day::Day,
        facility::Facility,
        summary::{DayKey, Key, Summary},
    },
    metrics::{Metrics, Trigger},
    service::{
        outage::Outage,
        reads::{
            answer::{Answer, Forward, Outcome, ReadError, Tier, hit},
            freshness_request::FreshnessRequest,
            standby::StandbyReads,
            table_rung::FromTable,
        },
        refresh::{coalescer::RefreshCoalescer, lease::RefreshLeases},
    },
    store::{Store, StoreError},
};

pub struct Reads {
    pub memory: Arc<Memory>,
    pub changes: Arc<Changes>,
    /// The tier that replicas share, where there are several.
    pub shared: Option<Arc<RefreshLeases>>,
    pub store: Arc<dyn Store>,
    /// The database's streaming replicas, where there are any.
    pub standby: Arc<StandbyReads>,
    pub coalescer: Arc<RefreshCoalescer>,
    pub directory: Arc<Directory>,
    pub clock: Arc<Clock>,
    pub outage: Arc<Outage>,
    pub metrics: Arc<Metrics>,
    pub freshness: FreshnessSettings,
    /// How old an entry may be that no watermark counts for, in memory and in Redis; however much
    /// older its reader would take it.
    pub unproven: Unproven,
    /// Keys whose refresh met a lock of somebody else's a moment ago: their readers get the last
    /// figures without waiting for it again.
    pub locked: Cache<Key, ()>,
}

/// Ages up to which an entry counts as fresh without a proof from the change stream, in
/// milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Unproven {
    pub memory: i64,
    pub redis: i64,
}

/// A summary in memory, for a list.
pub struct HeldSummary {
    pub summary: Summary,
    pub exact_as_of_ms: i64,
    /// Nothing could be gained by looking further.
    pub counts_as_fresh: bool,
}

/// How long after a refresh that met a lock nobody tries that key again.
pub const LOCK_BACK_OFF: Duration = Duration::from_secs(2);
/// Locked keys remembered.
pub const LOCKED_KEYS: u64 = 10_000;

/// Age from which an entry that is held and missed something is read anew.
const REJOIN_MS: i64 = 1_000;

/// How often the table is asked again for a version that is not there yet.
const VERSION_POLL: Duration = Duration::from_millis(50);

/// What the rungs below memory and Redis bring.
enum Reached {
    Answer(Answer),
    /// The day has not begun, the facility is gone, or it is in another zone by now.
    NoSuchDay,
    /// The reader takes only what is cached, and nothing is.
    NotCached,
    /// The database is left alone for a moment: it is out of reach, or somebody holds the lock.
    BackingOff,
    Failed(Arc<StoreError>),
}

impl Reads {
    /// The rung that costs a look-up: an answer from memory, if it is fresh enough. Never waits.
    pub fn read_memory(
        &self,
        located: &Located,
        day: &Day,
        requested: &FreshnessRequest,
        now_ms: i64,
    ) -> Option<Answer> {
        let entry = self.held(located.facility.id, day)?;
        let age_ms = self.age_ms(&entry, located, now_ms);
        let unproven_ms = self.unproven_ms(self.unproven.memory, true, requested);
        (requested.accepts(age_ms)
            && entry.version >= requested.min_version
            && self.counts_as_fresh(&entry, age_ms, unproven_ms))
        .then(|| {
            self.metrics.reads_fresh_memory.inc();
            hit(entry, age_ms)
        })
    }

    /// Whether nothing could be gained by looking further: later changes come by here, or the entry
    /// is young, or nobody could tell anyway.
    fn counts_as_fresh(&self, entry: &Entry, age_ms: i64, unproven_ms: i64) -> bool {
        age_ms <= unproven_ms || self.is_proven(entry) || self.outage.is_on()
    }

    /// How old an entry may be without proof. One that is held and missed something, while the
    /// stream is followed, is soon read anew, and joined then; not for a reader that takes
    /// nothing but what tiers hold.
    fn unproven_ms(&self, tier_ms: i64, is_held: bool, requested: &FreshnessRequest) -> i64 {
        if is_held && !requested.only_if_cached && self.changes.is_attached() {
            tier_ms.min(REJOIN_MS)
        } else {
            tier_ms
        }
    }

    /// Whether each later change would come by here.
    fn is_proven(&self, entry: &Entry) -> bool {
        self.memory.is_attached(entry) && self.changes.is_attached()
    }

    /// What memory holds of the day, and not of another zone's of that name.
    fn held(&self, facility: Uuid, day: &Day) -> Option<Arc<Entry>> {
        self.memory.get(&(facility, day.date)).filter(|entry| entry.is_of(day))
    }

    /// The rungs below, for a day that has begun. `found` is what Redis has.
    pub async fn read(
        self: &Arc<Self>,
        located: &Located,
        day: Day,
        requested: &FreshnessRequest,
        found: Option<Arc<Entry>>,
    ) -> Result<Answer, ReadError> {
        let now_ms = self.clock.now_ms();
        if let Some(answer) = self.read_memory(located, &day, requested, now_ms) {
            return Ok(answer);
        }
        let started = Instant::now();
        let result = self.past_memory(located, day, requested, found, now_ms).await;
        let (outcome, tier, age_ms, refreshed) = match &result {
            Ok(a) => (a.outcome, a.tier, a.age_ms, a.tier == Tier::Source && !a.source_unavailable),
            Err(_) => (Outcome::Miss, Tier::Source, 0, false),
        };
        if result.is_ok() {
            self.metrics.count_read(outcome.as_str(), tier.as_str());
        }
        tracing::info!(
            facility_id = %located.facility.id,
            date = %day.date,
            outcome = outcome.as_str(),
            tier = tier.as_str(),
            age_seconds = age_ms / 1000,
            duration_ms = started.elapsed().as_secs_f64() * 1000.0,
            refreshed,
            answered = result.is_ok(),
            "summary read"
        );
        result
    }

    async fn past_memory(
        self: &Arc<Self>,
        located: &Located,
        day: Day,
        requested: &FreshnessRequest,
        found: Option<Arc<Entry>>,
        now_ms: i64,
    ) -> Result<Answer, ReadError> {
        let facility = &located.facility;
        let mut held = self.held(facility.id, &day);
        if let Some(found) = &found {
            keep_newer(&mut held, found);
        }
        if let Some(entry) = &held
            && let Some(max_stale_ms) = requested.max_stale_ms
            && self.age_ms(entry, located, now_ms)
                <= requested.max_age_ms.saturating_add(max_stale_ms)
            && entry.version >= requested.min_version
        {
            let key = DayKey { facility: facility.clone(), day };
            if !requested.only_if_cached && !self.outage.is_on() {
                self.coalescer.join(key, Some(requested.min_freshness(now_ms)), Trigger::Read);
            }
            return Ok(Answer {
                outcome: Outcome::Stale,
                ..hit(entry.clone(), self.age_ms(entry, located, now_ms))
            });
        }
        let forward = forward(held.is_some(), requested);
        let (asked, mut last) = (Instant::now(), held);
        let reach = self.reach(located, day, requested, &mut last, forward);
        let reached = tokio::select! {
            biased; // an answer that is there counts
            reached = tokio::time::timeout(self.freshness.refresh_timeout(), reach) => reached.ok(),
            () = self.outage.falls_silent() => None,
        };
        if let Some(result) = reached {
            return result;
        }
        self.outage.waited_in_vain(asked);
        if requested.min_version > 0 {
            return Err(ReadError::VersionNotReached);
        }
        if let Some(held) = self.held(facility.id, &day) {
            keep_newer(&mut last, &held);
        }
        self.last_figures(last, located, requested, forward)
    }

    /// Tries the rungs below again and again, until they bring what this reader can take, or fail.
    /// `last` becomes the newest entry that was found on the way.
    async fn reach(
        self: &Arc<Self>,
        located: &Located,
        day: Day,
        requested: &FreshnessRequest,
        last: &mut Option<Arc<Entry>>,
        forward: Forward,
    ) -> Result<Answer, ReadError> {
        let facility = &located.facility;
        loop {
            match self.lower_rungs(located, day, requested, last, forward).await {
                Reached::Answer(answer)
                    if answer.entry.version >= requested.min_version
                        && requested.satisfied_by(&answer) =>
                {
                    return Ok(answer);
                }
                Reached::Answer(_) | Reached::NoSuchDay if self.has_moved(facility) => {
                    return Err(ReadError::Moved);
                }
                Reached::Answer(_) => tokio::time::sleep(VERSION_POLL).await,
                Reached::NoSuchDay => return Err(ReadError::NotFound),
                Reached::NotCached => return Err(ReadError::NotCached),
                Reached::BackingOff => {
                    return self.last_figures(last.take(), located, requested, forward);
                }
                Reached::Failed(error) => {
                    self.outage.failed(&error);
                    return self.last_figures(last.take(), located, requested, forward);
                }
            }
        }
    }

    /// Whether the facility is known by now to be in another zone.
    fn has_moved(&self, facility: &Facility) -> bool {
        self.directory.get(facility.id).is_some_and(|now| now.zone.name != facility.zone.name)
    }

    /// The table, and the source where the table has nothing fresh enough.
    async fn lower_rungs(
        self: &Arc<Self>,
        located: &Located,
        day: Day,
        requested: &FreshnessRequest,
        last: &mut Option<Arc<Entry>>,
        forward: Forward,
    ) -> Reached {
        let outcome = if last.is_some() { Outcome::Stale } else { Outcome::Miss };
        if requested.only_if_cached {
            return Reached::NotCached;
        }
        match self.from_table(located, day, requested, last, forward).await {
            Ok(FromTable::Answer(answer)) => return Reached::Answer(answer),
            Ok(FromTable::Nothing) => {}
            Ok(FromTable::BackingOff) => return Reached::BackingOff,
            Err(error) => return Reached::Failed(Arc::new(error)),
        }
        if !self.outage.may_try() {
            return Reached::BackingOff;
        }
        self.from_source(located, day, requested, outcome, forward).await
    }

    /// What memory holds of the day, read back from its body, and how exact that is; never further
    /// than memory.
    pub fn held_summary(&self, located: &Located, day: &Day, now_ms: i64) -> Option<HeldSummary> {
        let entry = self.held(located.facility.id, day)?;
        let exact_as_of_ms = self.memory.exact_as_of_ms_within(&entry, located.as_of_ms);
        let age_ms = now_ms.saturating_sub(exact_as_of_ms).max(0);
        let summary = serde_json::from_slice(&entry.body()).ok()?;
        Some(HeldSummary {
            summary,
            exact_as_of_ms,
            counts_as_fresh: self.counts_as_fresh(&entry, age_ms, self.unproven.memory),
        })
    }

    /// What is left when the source cannot be asked: the last figures, with their true age, unless
    /// the reader's own bound forbids it.
    fn last_figures(
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
        if age_ms > most_ms || entry.version < requested.min_version {
            return Err(ReadError::Unavailable);
        }
        let forward = if forward == Forward::Miss { Forward::Miss } else { Forward::Stale };
        Ok(Answer {
            entry,
            age_ms,
            outcome: Outcome::Stale,
            tier: Tier::Memory,
            forward: Some(forward),
            collapsed: false,
            source_unavailable: true,
        })
    }

    /// Milliseconds since the entry was last known to be exact, to whoever located its facility so.
    pub fn age_ms(&self, entry: &Entry, located: &Located, now_ms: i64) -> i64 {
        now_ms.saturating_sub(self.memory.exact_as_of_ms_within(entry, located.as_of_ms)).max(0)
    }
}

/// Why memory did not do.
fn forward(is_held: bool, requested: &FreshnessRequest) -> Forward {
    match is_held {
        false => Forward::Miss,
        true if requested.explicit || requested.min_version > 0 => Forward::Request,
        true => Forward::Stale,
    }
}

/// What to fall back to: never a version lower than what one has.
fn keep_newer(last: &mut Option<Arc<Entry>>, entry: &Arc<Entry>) {
    if last.as_ref().is_none_or(|held| held.version <= entry.version) {
        *last = Some(entry.clone());
    }
}
