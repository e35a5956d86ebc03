//! The freshness ladder: memory, then Redis, then the summary table, then a refresh. A read goes to
//! the next rung only where the one before is not fresh enough for this reader. Every answer
//! carries its age.

pub mod answer;
pub mod batches;
mod last_figures;
pub mod line;
pub mod redis_rung;
mod source_rung;
pub mod standby;
pub mod table_loader;
mod table_rung;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::sync::Cache;
use tracing::Span;
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
        summary::{DayKey, Key},
    },
    metrics::{Metrics, RefreshTrigger},
    service::{
        freshness_request::FreshnessRequest,
        outage::Outage,
        reads::{
            answer::{Answer, Forward, ReadError, ReadOutcome, Tier, hit},
            line::ReadLine,
            standby::StandbyReads,
            table_loader::TableLoader,
            table_rung::FromTable,
        },
        refresh::{coalescer::RefreshCoalescer, lease::RefreshLeases},
    },
    store::{Store, StoreError},
};

/// What reads need.
pub struct Reads {
    /// The first rung.
    pub memory: Arc<Memory>,
    /// Says whether changes of other servers arrive here.
    pub changes: Arc<Changes>,
    /// The leases, and the tier in Redis, that replicas share; `None` without Redis.
    pub leases: Option<Arc<RefreshLeases>>,
    /// The database.
    pub store: Arc<dyn Store>,
    /// Reads of the database's standbys, where there are any.
    pub standby: Arc<StandbyReads>,
    /// Reads of the table for single days, in batches.
    pub loader: TableLoader,
    /// The refreshes that readers wait for.
    pub coalescer: Arc<RefreshCoalescer>,
    /// The facilities, each in its zone.
    pub directory: Arc<Directory>,
    /// The database's time.
    pub clock: Arc<Clock>,
    /// Says whether the database is out of reach.
    pub outage: Arc<Outage>,
    /// Counts reads.
    pub metrics: Arc<Metrics>,
    /// The default bounds on age.
    pub freshness: FreshnessSettings,
    /// The greatest age at which an entry counts as fresh without a watermark that counts for it,
    /// in memory and in Redis. It holds even where the reader would take older figures.
    pub unproven: Unproven,
    /// Keys whose refresh waited in vain for a lock a moment ago. Their readers get the last
    /// figures, and do not wait for the lock again.
    pub locked: Cache<Key, ()>,
}

/// The greatest ages at which an entry counts as fresh without a proof from the change stream, in
/// milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Unproven {
    /// For entries in memory.
    pub memory: i64,
    /// For entries from Redis.
    pub redis: i64,
}

/// Time after a refresh that waited in vain for a lock, during which that key is not tried again.
pub const LOCK_BACK_OFF: Duration = Duration::from_secs(2);
/// The most locked keys that are remembered.
pub const LOCKED_KEYS: u64 = 10_000;

/// The greatest age, in milliseconds, of an entry that is held but not attached; after that it is
/// read anew and attached.
pub(in crate::service) const REATTACH_MS: i64 = 1_000;

/// Time between two reads of the table for a version that is not there yet.
pub(in crate::service) const VERSION_POLL: Duration = Duration::from_millis(50);

/// What the rungs below memory and Redis bring.
enum Reached {
    Answer(Answer),
    /// The day has not begun, the facility is gone, or it has moved to another zone.
    NoSuchDay,
    /// The reader takes only what memory or Redis has, and they have nothing fresh enough.
    NotCached,
    /// The database is not asked for a moment: it is out of reach, or another transaction holds the
    /// lock.
    BackingOff,
    Failed(Arc<StoreError>),
}

impl Reads {
    /// The first rung: an answer from memory, if it is fresh enough. It costs one look-up, and
    /// never waits.
    pub fn read_memory(
        &self,
        located: &Located,
        day: &Day,
        requested: &FreshnessRequest,
        now_ms: i64,
    ) -> Option<Answer> {
        let answer = self.fresh_in_memory(located, day, requested, now_ms)?;
        self.metrics.reads_fresh_memory.inc();
        Some(answer)
    }

    /// The same, without counting it.
    fn fresh_in_memory(
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
            && requested.takes_version(entry.version)
            && self.counts_as_fresh(&entry, age_ms, unproven_ms))
        .then(|| hit(entry, age_ms))
    }

    /// Whether the lower rungs can have nothing newer: later changes arrive here, or the entry is
    /// young, or the database is out of reach.
    pub(in crate::service) fn counts_as_fresh(
        &self,
        entry: &Entry,
        age_ms: i64,
        unproven_ms: i64,
    ) -> bool {
        age_ms <= unproven_ms || self.is_proven(entry) || self.outage.is_on()
    }

    /// The greatest age of an entry without a proof. While this replica is attached to the stream,
    /// an entry in memory that is not attached itself is soon read anew, which attaches it. A
    /// reader that takes cached figures only does not cause this.
    pub(in crate::service) fn unproven_ms(
        &self,
        tier_ms: i64,
        is_held: bool,
        requested: &FreshnessRequest,
    ) -> i64 {
        if is_held && !requested.only_if_cached && self.changes.is_attached() {
            tier_ms.min(REATTACH_MS)
        } else {
            tier_ms
        }
    }

    /// Whether each later change of the entry would arrive here.
    fn is_proven(&self, entry: &Entry) -> bool {
        self.memory.is_attached(entry) && self.changes.is_attached()
    }

    /// The entry in memory of this day. An entry of another zone's day of the same date does not
    /// count.
    pub(in crate::service) fn held(&self, facility: Uuid, day: &Day) -> Option<Arc<Entry>> {
        self.memory
            .get(&Key { facility_id: facility, date: day.date })
            .filter(|entry| entry.is_of(day))
    }

    /// The lower rungs, for a day that has begun. `found` is what Redis has. With the answer the
    /// line of the log, where there is one: it is to be dropped when the answer has left.
    pub async fn read(
        self: &Arc<Self>,
        located: &Located,
        day: Day,
        requested: &FreshnessRequest,
        found: Option<Arc<Entry>>,
    ) -> (Result<Answer, ReadError>, Option<ReadLine>) {
        let now_ms = self.clock.now_ms();
        if let Some(answer) = self.read_memory(located, &day, requested, now_ms) {
            return (Ok(answer), None);
        }
        let started = Instant::now();
        let result = self.past_memory(located, day, requested, found, now_ms).await;
        let (outcome, tier, age_ms, refreshed) = match &result {
            Ok(a) => (a.outcome, a.tier, a.age_ms, a.tier == Tier::Source && !a.source_unavailable),
            Err(_) => (ReadOutcome::Miss, Tier::Source, 0, false),
        };
        if result.is_ok() {
            self.metrics.count_read(outcome.as_str(), tier.as_str());
        }
        let line = ReadLine {
            span: Span::current(),
            facility_id: located.facility.id,
            date: day.date,
            outcome: outcome.as_str(),
            tier: tier.as_str(),
            age_ms,
            taken: started.elapsed(),
            refreshed,
            answered: result.is_ok(),
        };
        (result, Some(line))
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
            && requested.takes_version(entry.version)
        {
            let key = DayKey { facility: facility.clone(), day };
            if !requested.only_if_cached && !self.outage.is_on() {
                self.coalescer.join(
                    key,
                    Some(requested.min_freshness(now_ms)),
                    RefreshTrigger::Read,
                );
            }
            return Ok(Answer {
                outcome: ReadOutcome::Stale,
                ..hit(entry.clone(), self.age_ms(entry, located, now_ms))
            });
        }
        let forward = Forward::of(held.is_some(), requested);
        let (asked, mut last) = (Instant::now(), held);
        let reach = self.reach(located, day, requested, &mut last, forward);
        let reached = tokio::select! {
            biased; // an answer that is there counts
            reached = tokio::time::timeout(self.freshness.refresh_timeout(), reach) => reached.ok(),
            () = self.outage.stops_answering() => None,
        };
        if let Some(result) = reached {
            return result;
        }
        self.outage.got_no_answer(asked);
        if requested.min_version > 0 {
            return Err(ReadError::VersionNotReached);
        }
        if let Some(held) = self.held(facility.id, &day) {
            keep_newer(&mut last, &held);
        }
        self.last_figures(last, located, requested, forward)
    }

    /// Tries the lower rungs until they bring what this reader takes, or fail. `last` becomes the
    /// newest entry found on the way.
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
                Reached::Answer(answer) if answer.satisfies(requested) => {
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
                    tracing::debug!(%error, "the database failed this read");
                    self.outage.failed(&error);
                    return self.last_figures(last.take(), located, requested, forward);
                }
            }
        }
    }

    /// Whether the directory has the facility in another zone by now.
    fn has_moved(&self, facility: &Facility) -> bool {
        self.directory.get(facility.id).is_some_and(|now| now.zone.name != facility.zone.name)
    }

    /// The table, and then a refresh where the table has nothing fresh enough.
    async fn lower_rungs(
        self: &Arc<Self>,
        located: &Located,
        day: Day,
        requested: &FreshnessRequest,
        last: &mut Option<Arc<Entry>>,
        forward: Forward,
    ) -> Reached {
        let outcome = if last.is_some() { ReadOutcome::Stale } else { ReadOutcome::Miss };
        if requested.only_if_cached {
            return Reached::NotCached;
        }
        match self.from_table(located, day, requested, last, forward).await {
            Ok(FromTable::Answer(answer)) => return Reached::Answer(answer),
            Ok(FromTable::Nothing) => {}
            Ok(FromTable::BackingOff) => return Reached::BackingOff,
            Err(error) => return Reached::Failed(error),
        }
        if !self.outage.may_try() {
            return Reached::BackingOff;
        }
        self.from_source(located, day, requested, outcome, forward).await
    }

    /// Milliseconds since the entry was last known to be exact, for a reader that has the facility
    /// as `located`.
    pub fn age_ms(&self, entry: &Entry, located: &Located, now_ms: i64) -> i64 {
        now_ms.saturating_sub(self.memory.exact_as_of_ms_within(entry, located.as_of_ms)).max(0)
    }
}

/// Keeps the entry as the one to fall back to, unless the one there has a later version.
fn keep_newer(last: &mut Option<Arc<Entry>>, entry: &Arc<Entry>) {
    if last.as_ref().is_none_or(|held| held.version <= entry.version) {
        *last = Some(entry.clone());
    }
}
