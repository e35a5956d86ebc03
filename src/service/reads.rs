//! The freshness ladder: memory, then the summary table, then a refresh; each rung only where the one before is not fresh enough for
//! this reader. Every answer carries how old it is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::sync::Cache;
use uuid::Uuid;

use super::{directory::Directory, flights::Flights, outage::Outage};
use crate::{
    cache::memory::{Entry, Fill, Key, Memory},
    clock::Clock,
    config::FreshnessSettings,
    domain::{
        day::Day,
        facility::Facility,
        summary::{DayKey, Summary, SummaryRow},
    },
    metrics::{Metrics, Trigger},
    store::{self, Store, StoreError},
};

/// What became of a read: within its bound with no refresh; too old, so refreshed or served so; in no tier.
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
    Table,
    Source,
}

impl Tier {
    pub const fn as_str(self) -> &'static str {
        match self {
            Tier::Memory => "memory",
            Tier::Table => "table",
            Tier::Source => "source",
        }
    }
}

/// Why a read went past memory: nothing there, too old for the default bound, or the request's own wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    Miss,
    Stale,
    Request,
}

/// How fresh this reader wants it.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Most age; the setting's where the request names none.
    pub max_age_ms: i64,
    /// The request named its own.
    pub explicit: bool,
    /// Answer at once with figures at most that much older than `max_age_ms`, and refresh behind.
    pub max_stale_ms: Option<i64>,
    /// Memory or nothing.
    pub only_if_cached: bool,
    /// At least that version.
    pub min_version: i64,
}

impl Wish {
    /// Whether figures of that age will do. For a bound of 0 none do that were there when the request came, not even those of the same
    /// millisecond: something may have been written since.
    fn takes(&self, age_ms: i64) -> bool {
        self.max_age_ms > 0 && age_ms <= self.max_age_ms
    }
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
    /// `only-if-cached`, and nothing fresh enough in memory.
    NotCached,
    /// Nothing fresh enough can be had now; try again.
    Unavailable,
    /// `min_version` was not reached in time.
    VersionNotReached,
}

pub struct Reads {
    pub memory: Arc<Memory>,
    pub store: Arc<dyn Store>,
    pub flights: Arc<Flights>,
    pub directory: Arc<Directory>,
    pub clock: Arc<Clock>,
    pub outage: Arc<Outage>,
    pub metrics: Arc<Metrics>,
    pub freshness: FreshnessSettings,
    /// Keys whose refresh met a lock of somebody else's a moment ago: their readers get the last figures without waiting for it again.
    pub locked: Cache<Key, ()>,
}

/// How long after a refresh that met a lock nobody tries that key again.
pub const LOCK_BACK_OFF: Duration = Duration::from_secs(2);
/// Locked keys remembered.
pub const LOCKED_KEYS: u64 = 10_000;

/// How often the table is asked again for a version that is not there yet.
const VERSION_POLL: Duration = Duration::from_millis(50);
/// A fill that lost a race is read again so often before the refresh decides.
const FILL_ATTEMPTS: usize = 3;

impl Reads {
    /// The rung that costs a look-up: an answer from memory, if it is fresh enough. Never waits.
    pub fn read_memory(&self, facility: Uuid, day: &Day, wish: &Wish, now_ms: i64) -> Option<Answer> {
        let entry = self.held(facility, day)?;
        let age_ms = self.age_ms(&entry, now_ms);
        (wish.takes(age_ms) && entry.version >= wish.min_version).then(|| {
            self.metrics.reads_fresh_memory.inc();
            hit(entry, age_ms)
        })
    }

    /// What memory holds of the day. Figures from before it began are of another zone's day of that name: the facility has moved since.
    fn held(&self, facility: Uuid, day: &Day) -> Option<Arc<Entry>> {
        self.memory.get(&(facility, day.date)).filter(|entry| entry.as_of_ms >= day.start_ms)
    }

    /// All rungs, for a day that has begun.
    pub async fn read(self: &Arc<Self>, facility: &Arc<Facility>, day: Day, wish: &Wish) -> Result<Answer, ReadError> {
        let now_ms = self.clock.now_ms();
        if let Some(answer) = self.read_memory(facility.id, &day, wish, now_ms) {
            return Ok(answer);
        }
        let started = Instant::now();
        let result = self.past_memory(facility, day, wish, now_ms).await;
        let (outcome, tier, age_ms, refreshed) = match &result {
            Ok(a) => (a.outcome, a.tier, a.age_ms, a.tier == Tier::Source && !a.source_unavailable),
            Err(_) => (Outcome::Miss, Tier::Source, 0, false),
        };
        if result.is_ok() {
            self.metrics.count_read(outcome.as_str(), tier.as_str());
        }
        tracing::info!(
            facility_id = %facility.id, date = %day.date, outcome = outcome.as_str(), tier = tier.as_str(), age_seconds = age_ms / 1000,
            duration_ms = started.elapsed().as_secs_f64() * 1000.0, refreshed, answered = result.is_ok(), "summary read"
        );
        result
    }

    async fn past_memory(self: &Arc<Self>, facility: &Arc<Facility>, day: Day, wish: &Wish, now_ms: i64) -> Result<Answer, ReadError> {
        let held = self.held(facility.id, &day);
        if let Some(entry) = &held
            && let Some(max_stale_ms) = wish.max_stale_ms
            && self.age_ms(entry, now_ms) <= wish.max_age_ms.saturating_add(max_stale_ms)
            && entry.version >= wish.min_version
        {
            let key = DayKey { facility: facility.clone(), day };
            if !wish.only_if_cached && !self.outage.is_on(now_ms) {
                self.flights.book(key, true, Trigger::Read);
            }
            return Ok(Answer { outcome: Outcome::Stale, ..hit(entry.clone(), self.age_ms(entry, now_ms)) });
        }
        if wish.only_if_cached {
            return Err(ReadError::NotCached);
        }
        let forward = match &held {
            None => Forward::Miss,
            Some(_) if wish.explicit || wish.min_version > 0 => Forward::Request,
            Some(_) => Forward::Stale,
        };
        let timeout = self.freshness.refresh_timeout();
        let reached = tokio::time::timeout(timeout, async {
            let mut last = held;
            loop {
                match self.table_then_source(facility, day, wish, &mut last, forward).await {
                    Ok(answer) if answer.entry.version >= wish.min_version => return Ok(answer),
                    Ok(_) => tokio::time::sleep(VERSION_POLL).await,
                    Err(None) => return Err(ReadError::NotFound),
                    Err(Some(error)) => {
                        self.outage.failed(&error, self.clock.now_ms());
                        return self.last_figures(last, wish, forward);
                    }
                }
            }
        })
        .await;
        match reached {
            Ok(result) => result,
            Err(_) if wish.min_version > 0 => Err(ReadError::VersionNotReached),
            Err(_) => self.last_figures(self.held(facility.id, &day), wish, forward),
        }
    }

    /// The table where memory has nothing (or too old a version), then the source. `Err(None)`: there is no such day.
    async fn table_then_source(
        self: &Arc<Self>,
        facility: &Arc<Facility>,
        day: Day,
        wish: &Wish,
        last: &mut Option<Arc<Entry>>,
        forward: Forward,
    ) -> Result<Answer, Option<Arc<StoreError>>> {
        let arrived_ms = self.clock.now_ms();
        if self.outage.is_on(arrived_ms) {
            return Err(Some(Arc::new(StoreError::Unavailable(sqlx::Error::PoolTimedOut))));
        }
        let outcome = if last.is_some() { Outcome::Stale } else { Outcome::Miss };
        if last.as_ref().is_none_or(|held| held.version < wish.min_version)
            && let Some(entry) = self.read_table(facility, day, arrived_ms).await.map_err(|e| Some(Arc::new(e)))?
        {
            *last = Some(entry.clone());
            let age_ms = self.age_ms(&entry, self.clock.now_ms());
            let bearable_ms = wish.max_age_ms.saturating_add(wish.max_stale_ms.unwrap_or(0));
            if wish.takes(age_ms) || (wish.max_stale_ms.is_some() && age_ms <= bearable_ms) || entry.version < wish.min_version {
                let is_fresh = wish.takes(age_ms);
                if !is_fresh {
                    self.flights.book(DayKey { facility: facility.clone(), day }, true, Trigger::Read);
                }
                return Ok(Answer {
                    entry,
                    age_ms,
                    outcome: if is_fresh { Outcome::Fresh } else { Outcome::Stale },
                    tier: Tier::Table,
                    forward: Some(forward),
                    collapsed: false,
                    source_unavailable: false,
                });
            }
        }
        let day_key = DayKey { facility: facility.clone(), day };
        if self.locked.contains_key(&day_key.id()) {
            return Err(Some(Arc::new(StoreError::Conflict)));
        }
        let landed = || self.landed(facility, &day, wish);
        let (seat, collapsed) = match self.flights.book_unless(day_key.clone(), wish.max_age_ms > 0, Trigger::Read, landed) {
            Ok(seat) => seat,
            Err(answer) => return Ok(answer),
        };
        let refreshed = Flights::land(seat)
            .await
            .inspect_err(|error| {
                if matches!(**error, StoreError::Locked(_)) {
                    self.locked.insert(day_key.id(), ());
                }
            })
            .map_err(Some)?
            .ok_or(None)?;
        let entry = self.keep(&refreshed.row);
        Ok(Answer {
            age_ms: self.age_ms(&entry, self.clock.now_ms()),
            entry,
            outcome,
            tier: Tier::Source,
            forward: Some(forward),
            collapsed,
            source_unavailable: false,
        })
    }

    /// The stored row; for a past day without one, its empty answer, once a watermark proves that; `None` where the source has to tell.
    async fn read_table(&self, facility: &Facility, day: Day, now_ms: i64) -> store::Result<Option<Arc<Entry>>> {
        for _ in 0..FILL_ATTEMPTS {
            // Taken before the row is read: whatever is proven of the table by now is in the row, or will be seen behind the position.
            let (position, table_ms) = (self.memory.position(), self.memory.table_ms());
            let row = self.store.summaries(&[(facility.id, day.date)]).await?.rows.pop();
            let row = match row {
                Some(row) if row.is_of(&day) => row,
                Some(_) => return Ok(None),
                None if day.end_ms <= now_ms && table_ms != i64::MIN => {
                    SummaryRow { summary: Summary::empty(facility.id, day.date, true), as_of_ms: table_ms, next_expires_at_ms: None }
                }
                None => return Ok(None),
            };
            // Not later than now: a row of before the database's clock was set back must not look fresh until it catches up.
            let as_of_ms = row.as_of_ms.min(now_ms).max(table_ms);
            if let Fill::Kept(entry) = self.memory.fill(position, &row, as_of_ms) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// What a flight that has just landed put in memory, if it will do for this reader.
    fn landed(&self, facility: &Facility, day: &Day, wish: &Wish) -> Option<Answer> {
        let entry = self.memory.get(&(facility.id, day.date)).filter(|entry| entry.as_of_ms >= day.start_ms)?;
        let age_ms = self.age_ms(&entry, self.clock.now_ms());
        (wish.takes(age_ms) && entry.version >= wish.min_version).then(|| hit(entry, age_ms))
    }

    /// A refreshed row's entry: the refresh has put it in memory, unless a newer one came or there was no room.
    fn keep(&self, row: &SummaryRow) -> Arc<Entry> {
        self.memory
            .get(&(row.summary.facility_id, row.summary.date))
            .filter(|held| held.version >= row.summary.version && self.memory.exact_as_of_ms(held) >= row.as_of_ms)
            .unwrap_or_else(|| Arc::new(Entry::new(row, row.as_of_ms, false)))
    }

    /// What is left when the source cannot be asked: the last figures, with their true age, unless the reader's own bound forbids it.
    fn last_figures(&self, held: Option<Arc<Entry>>, wish: &Wish, forward: Forward) -> Result<Answer, ReadError> {
        let entry = held.ok_or(ReadError::Unavailable)?;
        let age_ms = self.age_ms(&entry, self.clock.now_ms());
        let most_ms = if wish.explicit {
            wish.max_age_ms
        } else {
            1000 * i64::try_from(self.freshness.stale_if_error_seconds).unwrap_or(i64::MAX / 1000)
        };
        if age_ms > most_ms || entry.version < wish.min_version {
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

    /// Milliseconds since the entry was last known to be exact.
    pub fn age_ms(&self, entry: &Entry, now_ms: i64) -> i64 {
        now_ms.saturating_sub(self.memory.exact_as_of_ms(entry)).max(0)
    }
}

fn hit(entry: Arc<Entry>, age_ms: i64) -> Answer {
    Answer { entry, age_ms, outcome: Outcome::Fresh, tier: Tier::Memory, forward: None, collapsed: false, source_unavailable: false }
}
