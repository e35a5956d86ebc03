//! The refresh: it derives figures from their sources, gives them versions, writes and publishes
//! them. A read, an event, a mark, midnight and the rebuild all use it. They differ only in which
//! days they ask for.

pub mod coalescer;
pub mod days;
pub mod differences;
pub mod each;
mod failing;
pub mod lease;
mod marked_days;
pub mod request;
pub mod scope;
mod transaction;
mod versions;

use std::{sync::Arc, time::Duration};

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
    metrics::{Metrics, RefreshTrigger},
    service::{imports::Recorded, outage::Outage},
    store::{self, MarkKind, Store, StoreError},
    telemetry::log_throttle::LogThrottle,
};

/// The refreshed row of one facility-day.
#[derive(Debug, Clone)]
pub struct Refreshed {
    /// The figures as of the refresh; version 0 where there is nothing to store.
    pub row: SummaryRow,
    /// A figure changed, or the day was opened.
    pub changed: bool,
    /// The row was written, so the outbox has an entry of it to publish.
    pub written: bool,
    /// Another replica refreshed it.
    pub elsewhere: bool,
}

/// The divisor of the lock time-out for a request that is one of many.
const ONE_OF_MANY_WAITS_PART: u32 = 10;

/// The number of attempts where a zone has changed or a concurrent transaction interferes.
const ATTEMPTS: u32 = 4;
/// The second retry waits for this time, and the third one for twice as long: another epoch of the
/// database may be about to be entered, which takes some milliseconds.
const CONFLICT_PAUSE: Duration = Duration::from_millis(25);

/// Carries out refreshes.
pub struct Refresher {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Knows the facilities and their zones.
    pub directory: Arc<Directory>,
    /// Publishes what was refreshed.
    pub changes: Arc<Changes>,
    /// The database's time.
    pub clock: Arc<Clock>,
    /// Records that the database answers.
    pub outage: Arc<Outage>,
    /// Counts refreshes.
    pub metrics: Arc<Metrics>,
    /// The longest wait for the lock of a facility.
    pub lock_timeout: Duration,
    /// Facilities with a refresh that waits for another transaction's lock.
    pub waiting: LogThrottle<Uuid>,
    /// Whether each difference that is added is compared with the sources.
    pub verify_differences: bool,
}

impl Refresher {
    /// Carries out a request in a transaction of its own, and publishes the rows.
    /// `Err(StoreError::Conflict)` after the last attempt.
    pub async fn run(&self, request: RefreshRequest<'_>) -> store::Result<Vec<Refreshed>> {
        self.run_recording(request).await.map(|(refreshed, _)| refreshed)
    }

    /// Like `run`. Also returns what became of the recorded stock of closed days. A dry run writes
    /// nothing, and returns no rows.
    pub async fn run_recording(
        &self,
        mut request: RefreshRequest<'_>,
    ) -> store::Result<(Vec<Refreshed>, Recorded)> {
        let mut attempt = 1;
        loop {
            // Made anew for each attempt: after a change of zone a mark is about another day.
            let scope = match &request.work {
                Work::Days(keys) => Some(RefreshScope::from(keys.clone())),
                Work::Marks(marks) => {
                    RefreshScope::of_marks(*marks, &self.directory, self.clock.now_ms())
                }
            };
            let scope = scope.ok_or(StoreError::Conflict)?;
            match self.attempt(&scope, &request).await {
                Err(StoreError::Conflict) if attempt < ATTEMPTS => {
                    tokio::time::sleep(CONFLICT_PAUSE * (attempt - 1)).await;
                    attempt += 1;
                    let ids: Vec<Uuid> = scope.facilities().into_keys().collect();
                    match self.directory.reload(&*self.store, &ids).await {
                        // The drain enters that epoch; until then the next attempt meets the
                        // conflict again.
                        Err(StoreError::OtherEpoch) => {}
                        read => drop(read?),
                    }
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

    /// Logs that the refresh of a facility is left for later: a warning when that begins, and a
    /// debug line for each repetition.
    pub fn log_waiting(&self, facility_id: Uuid, error: &StoreError) {
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
    ) -> store::Result<(Vec<Refreshed>, Recorded)> {
        let marks = request.marks_taken();
        let lock_timeout = match request.is_one_of_many {
            true => self.lock_timeout / ONE_OF_MANY_WAITS_PART,
            false => self.lock_timeout,
        };
        let token = self.changes.fill_token();
        let mut tx = self.store.begin(lock_timeout).await?;
        // Recorded here too, for callers that wait for other answers: the drain takes no snapshot
        // while it refreshes.
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
        let (refreshed, recorded) =
            self.apply_with_stock(&mut *tx, scope, &request.stock, request.trigger).await?;
        if request.stock.is_dry_run() {
            return Ok((Vec::new(), recorded));
        }
        if !marks.is_empty() && is_one_gone(&mut *tx, scope, &refreshed).await? {
            // The facility was there in the drain snapshot that saw its marks. If these marks were
            // deleted now, the instant of that snapshot would be announced, although the figures
            // lack the changes that the marks name. So the marks stay. The next drain pass removes
            // the facility and publishes that before anything is proven.
            return Err(StoreError::Conflict);
        }
        tx.commit().await?;
        self.outage.over();
        self.publish(&token, &refreshed);
        Ok((refreshed, recorded))
    }

    /// Publishes the rows of an `apply` that has been committed: those that it wrote, and those
    /// that it found unchanged, which are exact as of now too.
    pub fn publish(&self, token: &FillToken, refreshed: &[Refreshed]) {
        let (written, unchanged): (Vec<&Refreshed>, Vec<&Refreshed>) =
            refreshed.iter().partition(|r| r.written);
        self.changes.publish(token, written.into_iter().map(|r| &r.row));
        self.changes.confirm(token, unchanged.into_iter().map(|r| &r.row));
    }

    /// The days of the same dates in the zones that the facilities have by now.
    fn rezone(&self, keys: Vec<DayKey>) -> Vec<DayKey> {
        let in_zone = |key: DayKey| {
            let facility = self.directory.get(key.facility.id)?;
            let day = Day::named(&facility.zone.tz, key.day.date)?;
            Some(DayKey { facility, day })
        };
        keys.into_iter().filter_map(in_zone).collect()
    }

    fn count(&self, trigger: RefreshTrigger, outcome: &str, rows: usize) {
        self.metrics.refreshes.with_label_values(&[trigger.as_str(), outcome]).inc_by(rows as u64);
    }
}
