//! The one refresh: figures are derived from their sources, get versions, are written and
//! published. A read, an event, a mark, the clock and the rebuild all come here. They differ only
//! in which days they ask for.

pub mod closed_stock;
pub mod coalescer;
pub mod days;
pub mod lease;
pub mod request;
pub mod scope;
mod transaction;
mod versions;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use uuid::Uuid;

use self::{
    request::{RefreshRequest, Work},
    scope::RefreshScope,
    transaction::is_one_gone,
};
use crate::{
    cache::memory::FillToken,
    changes::Changes,
    clock::Clock,
    directory::Directory,
    domain::{
        day::Day,
        summary::{DayKey, SummaryRow},
    },
    metrics::{Metrics, Trigger},
    service::outage::Outage,
    store::{self, MarkKind, Store, StoreError},
    telemetry::log_throttle::LogThrottle,
};

/// A refreshed facility-day.
#[derive(Debug, Clone)]
pub struct Refreshed {
    /// The figures as of the refresh; version 0 where there is nothing to store.
    pub row: SummaryRow,
    /// A figure changed, or the day was opened.
    pub changed: bool,
    /// The row was written, so there is an outbox entry to publish.
    pub written: bool,
    /// Another replica has refreshed it.
    pub elsewhere: bool,
}

/// The part of the usual time that one of many requests waits for its lock.
const ONE_OF_MANY_WAITS_PART: u32 = 10;

/// How often a refresh is tried again when a zone moved or a concurrent transaction interfered.
const ATTEMPTS: usize = 4;

pub struct Refresher {
    pub store: Arc<dyn Store>,
    pub directory: Arc<Directory>,
    pub changes: Arc<Changes>,
    pub clock: Arc<Clock>,
    pub outage: Arc<Outage>,
    pub metrics: Arc<Metrics>,
    pub lock_timeout: Duration,
    /// Facilities whose refresh waits for a lock that somebody holds.
    pub waiting: LogThrottle<Uuid>,
}

impl Refresher {
    /// Carries out a request in one transaction of its own, and publishes what changed.
    pub async fn run(&self, mut request: RefreshRequest<'_>) -> store::Result<Vec<Refreshed>> {
        let mut attempt = 1;
        loop {
            // Anew for each attempt: where a zone was changed, a mark is about another day.
            let scope = match &request.work {
                Work::Days(keys) => Some(RefreshScope::from(keys.clone())),
                Work::Marks(marks) => {
                    RefreshScope::of_marks(*marks, &self.directory, self.clock.now_ms())
                }
            };
            let scope = scope.ok_or(StoreError::Conflict)?;
            match self.attempt(&scope, &request).await {
                Err(StoreError::Conflict) if attempt < ATTEMPTS => {
                    attempt += 1;
                    let ids: Vec<Uuid> = scope.facilities().into_keys().collect();
                    self.directory.reload(&*self.store, &ids).await?;
                    if let Work::Days(keys) = &mut request.work {
                        *keys = self.rezone(std::mem::take(keys));
                    }
                }
                Err(error) => {
                    self.count(request.trigger, "failed", scope.days.len().max(1));
                    return Err(error);
                }
                Ok(refreshed) => {
                    for id in scope.facilities().into_keys().filter(|id| self.waiting.end(id)) {
                        tracing::info!(facility_id = %id, "the refresh waits no longer");
                    }
                    return Ok(refreshed);
                }
            }
        }
    }

    /// Refreshes these days together. Where that fails for a lock, facility by facility, so that
    /// one does not stop the others. Answers what could be refreshed, and the last error of what
    /// could not.
    pub async fn run_each(
        &self,
        keys: Vec<DayKey>,
        trigger: Trigger,
    ) -> (Vec<Refreshed>, store::Result<()>) {
        match self.run(RefreshRequest::days(keys.clone(), trigger)).await {
            Ok(refreshed) => return (refreshed, Ok(())),
            Err(error) if !matches!(error, StoreError::Locked(_) | StoreError::Conflict) => {
                return (Vec::new(), Err(error));
            }
            Err(_) => {}
        }
        let mut by_facility: BTreeMap<Uuid, Vec<DayKey>> = BTreeMap::new();
        keys.into_iter().for_each(|key| by_facility.entry(key.facility.id).or_default().push(key));
        let (mut done, mut result) = (Vec::new(), Ok(()));
        for (facility_id, keys) in by_facility {
            match self.run(RefreshRequest::days(keys, trigger).one_of_many()).await {
                Ok(refreshed) => done.extend(refreshed),
                Err(error) => {
                    self.tell_waiting(facility_id, &error);
                    let is_of_all = error.is_of_the_whole_database();
                    result = Err(error);
                    if is_of_all {
                        break; // the others would fail as well, each after a time-out
                    }
                }
            }
        }
        (done, result)
    }

    /// Tells that a facility's refresh is left for later: when that begins.
    pub fn tell_waiting(&self, facility_id: Uuid, error: &StoreError) {
        if self.waiting.begins(facility_id, error) {
            tracing::warn!(%facility_id, %error, "a refresh waits");
        } else {
            tracing::debug!(%facility_id, %error, "a refresh still waits");
        }
    }

    async fn attempt(
        &self,
        scope: &RefreshScope,
        request: &RefreshRequest<'_>,
    ) -> store::Result<Vec<Refreshed>> {
        let marks = request.marks_taken();
        let lock_timeout = match request.is_one_of_many {
            true => self.lock_timeout / ONE_OF_MANY_WAITS_PART,
            false => self.lock_timeout,
        };
        let token = self.changes.fill_token();
        let mut tx = self.store.begin(lock_timeout).await?;
        // Also for those who wait for something else: the drain does not look while it refreshes.
        self.outage.over();
        if !marks.is_empty() {
            let taken = tx.take_marks(&marks.iter().map(|m| m.id).collect::<Vec<_>>()).await?;
            if taken.iter().any(|mark| !marks.contains(mark) && !scope.covers(mark)) {
                return Err(StoreError::Conflict);
            }
            let changed: Vec<Uuid> = taken
                .iter()
                .filter(|mark| mark.kind == MarkKind::Facility)
                .filter_map(|mark| mark.facility_id)
                .collect();
            if !changed.is_empty() {
                tx.note_facilities(&changed).await?;
            }
        }
        let refreshed =
            self.apply_with_stock(&mut *tx, scope, &request.closed_stock, request.trigger).await?;
        if !marks.is_empty() && is_one_gone(&mut *tx, scope, &refreshed).await? {
            // It was there for the look that saw its marks. With them gone, that look's instant
            // would be announced for figures that lack what they told. The next look
            // removes the facility, which is told before anything is proven.
            return Err(StoreError::Conflict);
        }
        tx.commit().await?;
        self.outage.over();
        self.publish(&token, &refreshed);
        Ok(refreshed)
    }

    /// Publishes what a committed `apply` wrote, and what it found unchanged: that is exact as of
    /// now, too.
    pub fn publish(&self, token: &FillToken, refreshed: &[Refreshed]) {
        let (written, unchanged): (Vec<&Refreshed>, Vec<&Refreshed>) =
            refreshed.iter().partition(|r| r.written);
        self.changes.publish(token, written.into_iter().map(|r| &r.row));
        self.changes.confirm(token, unchanged.into_iter().map(|r| &r.row));
    }

    /// The days of the same names in the zones that the facilities have by now.
    fn rezone(&self, keys: Vec<DayKey>) -> Vec<DayKey> {
        let in_zone = |key: DayKey| {
            let facility = self.directory.get(key.facility.id)?;
            let day = Day::named(&facility.zone.tz, key.day.date)?;
            Some(DayKey { facility, day })
        };
        keys.into_iter().filter_map(in_zone).collect()
    }

    fn count(&self, trigger: Trigger, outcome: &str, rows: usize) {
        self.metrics.refreshes.with_label_values(&[trigger.as_str(), outcome]).inc_by(rows as u64);
    }
}
