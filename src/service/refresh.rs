//! The one refresh: figures derived from their sources, versions given, rows written, changes
//! published. The read, the event, the mark, the clock and the rebuild all come here; they differ
//! only in which keys they bring.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::civil::Date;
use uuid::Uuid;

use super::{
    directory::Directory,
    imports::{Recorded, StockChange},
    log_throttle::LogThrottle,
    outage::Outage,
    refresh_scope::RefreshScope,
    versions::give_versions,
};
use crate::{
    cache::memory::{FillToken, Key},
    changes::Changes,
    clock::Clock,
    domain::{
        day::Day,
        facility::Facility,
        summary::{Bounds, DayKey, SummaryRow},
    },
    metrics::{Metrics, Trigger},
    store::{self, Derived, FacilityState, Mark, MarkKind, Store, StoreError, Transaction},
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

/// One of many that each try alone waits that part of the usual for its lock: there may be many
/// that somebody holds.
const ALONE_WAITS_PART: u32 = 10;

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
    /// Facilities whose refresh waits for somebody's lock.
    pub waiting: LogThrottle<Uuid>,
}

/// What a refresh is for.
enum Work<'a> {
    /// These days, under these names whatever their facilities' zones.
    Days(Vec<DayKey>),
    /// What these marks of facilities point at, which are deleted with it.
    Marks(&'a [Mark]),
}

impl Refresher {
    /// Refreshes these keys in one transaction of its own and publishes what changed. Keys of days
    /// that have not begun, of facilities that are gone, and of days that a changed zone no
    /// longer has are left out; where a zone has changed, the rows are of the days of the
    /// same names in the new one.
    pub async fn refresh(
        &self,
        keys: Vec<DayKey>,
        trigger: Trigger,
    ) -> store::Result<Vec<Refreshed>> {
        self.refresh_within(self.lock_timeout, Work::Days(keys), trigger).await
    }

    /// Refreshes what these marks of facilities point at, and deletes them in the same transaction,
    /// before the figures are derived. `StoreError::Conflict` where one of them says more by
    /// now, or one of the facilities is not known.
    pub async fn refresh_marked(
        &self,
        marks: &[Mark],
        trigger: Trigger,
    ) -> store::Result<Vec<Refreshed>> {
        self.refresh_within(self.lock_timeout, Work::Marks(marks), trigger).await
    }

    /// The same for one facility of many of which somebody may hold the locks.
    pub async fn refresh_marked_alone(
        &self,
        marks: &[Mark],
        trigger: Trigger,
    ) -> store::Result<Vec<Refreshed>> {
        self.refresh_within(self.lock_timeout / ALONE_WAITS_PART, Work::Marks(marks), trigger).await
    }

    /// Refreshes these keys; where that fails for a lock, facility by facility, so that one does
    /// not cost the others theirs. Answers what could be done, and the last error of what could
    /// not.
    pub async fn refresh_each(
        &self,
        keys: Vec<DayKey>,
        trigger: Trigger,
    ) -> (Vec<Refreshed>, store::Result<()>) {
        match self.refresh(keys.clone(), trigger).await {
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
            match self
                .refresh_within(self.lock_timeout / ALONE_WAITS_PART, Work::Days(keys), trigger)
                .await
            {
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

    async fn refresh_within(
        &self,
        lock_timeout: Duration,
        mut work: Work<'_>,
        trigger: Trigger,
    ) -> store::Result<Vec<Refreshed>> {
        let mut attempt = 1;
        loop {
            // Anew for each attempt: where a zone was changed, a mark is about another day.
            let scope = match &work {
                Work::Days(keys) => Some(RefreshScope::from(keys.clone())),
                Work::Marks(marks) => {
                    RefreshScope::of_marks(*marks, &self.directory, self.clock.now_ms())
                }
            };
            let scope = scope.ok_or(StoreError::Conflict)?;
            let marks: &[Mark] = if let Work::Marks(marks) = work { marks } else { &[] };
            match self
                .attempt(lock_timeout, &scope, marks, &StockChange::None, trigger)
                .await
                .map(|(refreshed, _)| refreshed)
            {
                Err(StoreError::Conflict) if attempt < ATTEMPTS => {
                    attempt += 1;
                    let ids: Vec<Uuid> = scope.facilities().into_keys().collect();
                    self.directory.reload(&*self.store, &ids).await?;
                    if let Work::Days(keys) = work {
                        work = Work::Days(self.rezone(keys));
                    }
                }
                Err(error) => {
                    self.count(trigger, "failed", scope.days.len().max(1));
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

    /// Tells that a facility's refresh is left for later: when that begins.
    pub fn tell_waiting(&self, facility_id: Uuid, error: &StoreError) {
        if self.waiting.begins(facility_id, error) {
            tracing::warn!(%facility_id, %error, "a refresh waits");
        } else {
            tracing::debug!(%facility_id, %error, "a refresh still waits");
        }
    }

    /// Changes the stock of closed days as an import says; other figures are derived as ever. A dry
    /// run leaves no trace.
    pub async fn change_stock(
        &self,
        keys: Vec<DayKey>,
        change: &StockChange,
    ) -> store::Result<Recorded> {
        let changed = self
            .attempt(self.lock_timeout, &RefreshScope::from(keys), &[], change, Trigger::Request)
            .await;
        changed.map(|(_, recorded)| recorded)
    }

    async fn attempt(
        &self,
        lock_timeout: Duration,
        scope: &RefreshScope,
        marks: &[Mark],
        stock: &StockChange,
        trigger: Trigger,
    ) -> store::Result<(Vec<Refreshed>, Recorded)> {
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
        let (refreshed, recorded) = self.apply_with_stock(&mut *tx, scope, stock, trigger).await?;
        if stock.is_dry_run() {
            return Ok((Vec::new(), recorded));
        }
        if !marks.is_empty() && is_one_gone(&mut *tx, scope, &refreshed).await? {
            // It was there for the look that saw its marks. With them gone, that look's instant
            // would be announced for figures that lack what they told. The next look
            // removes the facility, which is told before anything is proven.
            return Err(StoreError::Conflict);
        }
        tx.commit().await?;
        self.outage.over();
        self.publish(&token, &refreshed);
        Ok((refreshed, recorded))
    }

    /// Refreshes within a transaction that the caller commits, after which it calls `publish`.
    /// `StoreError::Conflict` where a facility's zone is not the key's any more: the caller
    /// takes the zones anew and starts over.
    pub async fn apply(
        &self,
        tx: &mut dyn Transaction,
        scope: &RefreshScope,
        trigger: Trigger,
    ) -> store::Result<Vec<Refreshed>> {
        self.apply_with_stock(tx, scope, &StockChange::None, trigger)
            .await
            .map(|(refreshed, _)| refreshed)
    }

    async fn apply_with_stock(
        &self,
        tx: &mut dyn Transaction,
        scope: &RefreshScope,
        stock: &StockChange,
        trigger: Trigger,
    ) -> store::Result<(Vec<Refreshed>, Recorded)> {
        let started = Instant::now();
        let facilities = scope.facilities();
        if facilities.is_empty() {
            return Ok((Vec::new(), Recorded::default()));
        }
        let mut states = tx.lock(&facilities.keys().copied().collect::<Vec<_>>()).await?;
        let keys = scope.resolve(&*self.store).await?;
        let mut derived = tx.derive(&keys).await?;
        let zones = zones_now(tx, &facilities, &derived).await?;
        if facilities
            .iter()
            .any(|(id, facility)| zones.get(id).is_some_and(|zone| *zone != facility.zone.name))
        {
            return Err(StoreError::Conflict);
        }
        let left_behind = self.left_behind(&keys, &derived, &zones).await?;
        let next_days = next_days_of_just_ended(&keys, &derived);
        if !next_days.is_empty() {
            derived.extend(tx.derive(&next_days).await?);
        }
        let recorded = stock.apply(tx, &mut derived).await?;
        derived.sort_unstable_by_key(|d| (d.row.summary.facility_id, d.row.summary.date));
        self.compare_with_known(&mut states, &derived);
        let (refreshed, opened) = give_versions(&mut states, derived, left_behind);
        let rows: Vec<SummaryRow> =
            refreshed.iter().filter(|r| r.written).map(|r| r.row.clone()).collect();
        tx.write(&rows).await?;
        if !opened.is_empty() {
            tx.open_days(&opened).await?;
        }
        self.metrics
            .refresh_duration
            .with_label_values(&[trigger.as_str()])
            .observe(started.elapsed().as_secs_f64());
        let changed = refreshed.iter().filter(|r| r.changed).count();
        self.count(trigger, "changed", changed);
        self.count(trigger, "unchanged", refreshed.len() - changed);
        Ok((refreshed, recorded))
    }

    /// Compares the stored rows with what is known to have been committed. Under the lock each is
    /// as new as that: a lower version, or none, is another history, as of a backup that was
    /// restored a moment ago. Versions go on above all that are known.
    fn compare_with_known(&self, states: &mut HashMap<Uuid, FacilityState>, derived: &[Derived]) {
        let mut is_behind = false;
        for d in derived {
            let (key, stored) = (d.row.key(), d.row.summary.version);
            let state = states.entry(key.0).or_default();
            let known = self.changes.known_version(&key);
            is_behind |= known > stored.max(state.removed_at_version);
            state.version = state.version.max(stored).max(known);
        }
        if is_behind {
            self.changes.doubt();
        }
    }

    /// Rows of these facilities under the names of days that are yet to come where they are now,
    /// made rows of no day. They are of the zone before, and nobody refreshes them until the
    /// day comes: should the facility move back by then, they would pass for its day as of any
    /// watermark. Their versions rise, so that they take the place of what other tiers hold.
    async fn left_behind(
        &self,
        keys: &[DayKey],
        derived: &[Derived],
        zones: &HashMap<Uuid, String>,
    ) -> store::Result<Vec<SummaryRow>> {
        let begun: BTreeSet<Key> = derived.iter().map(|d| d.row.key()).collect();
        let to_come: Vec<Key> = keys
            .iter()
            .map(DayKey::id)
            .filter(|key| !begun.contains(key) && zones.contains_key(&key.0))
            .collect();
        if to_come.is_empty() {
            return Ok(Vec::new());
        }
        // Not within the transaction, but under its locks: nobody else writes these rows now.
        let rows = self.store.summaries(&to_come).await?.rows;
        let of_no_day =
            |row| SummaryRow { bounds: Some(Bounds::OF_NO_DAY), next_expires_at_ms: None, ..row };
        Ok(rows.into_iter().filter(|row| !row.is_left_behind()).map(of_no_day).collect())
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

/// The zones that these facilities are in now. One of which nothing was derived (none of its days
/// has begun) has to be asked for; one that is gone has no zone.
async fn zones_now(
    tx: &mut dyn Transaction,
    facilities: &BTreeMap<Uuid, &Arc<Facility>>,
    derived: &[Derived],
) -> store::Result<HashMap<Uuid, String>> {
    let mut zones: HashMap<Uuid, String> =
        derived.iter().map(|d| (d.row.summary.facility_id, d.timezone.clone())).collect();
    let silent: Vec<Uuid> =
        facilities.keys().filter(|id| !zones.contains_key(id)).copied().collect();
    if !silent.is_empty() {
        zones.extend(tx.facilities(&silent).await?.into_iter().map(|row| (row.id, row.timezone)));
    }
    Ok(zones)
}

/// Whether one of the facilities does not exist: one whose days were derived does.
async fn is_one_gone(
    tx: &mut dyn Transaction,
    scope: &RefreshScope,
    refreshed: &[Refreshed],
) -> store::Result<bool> {
    let is_derived = |id: &Uuid| refreshed.iter().any(|r| r.row.summary.facility_id == *id);
    let silent: Vec<Uuid> = scope.facilities().into_keys().filter(|id| !is_derived(id)).collect();
    Ok(!silent.is_empty() && tx.facilities(&silent).await?.len() < silent.len())
}

/// A day that was today when its key was made may have ended by the database's clock since: what
/// was to change its stock belongs to the day after. Days that ended within the last minute bring
/// their successors along.
fn next_days_of_just_ended(keys: &[DayKey], derived: &[Derived]) -> Vec<DayKey> {
    const JUST_MS: i64 = 60_000;
    let present: BTreeSet<(Uuid, Date)> =
        derived.iter().map(|d| (d.row.summary.facility_id, d.row.summary.date)).collect();
    keys.iter()
        .filter(|key| {
            derived.first().is_some_and(|d| {
                (key.day.end_ms..key.day.end_ms + JUST_MS).contains(&d.row.as_of_ms)
            })
        })
        .map(|key| DayKey {
            facility: key.facility.clone(),
            day: Day::containing(&key.facility.zone.tz, key.day.end_ms),
        })
        .filter(|next| !present.contains(&next.id()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{facility::Zone, summary::Summary};

    fn facility(n: u128, zone: &str) -> Arc<Facility> {
        Arc::new(Facility {
            id: Uuid::from_u128(n),
            name: String::new(),
            zone: Arc::new(Zone::named(zone).unwrap()),
        })
    }

    fn key(facility: &Arc<Facility>, date: Date) -> DayKey {
        DayKey { facility: facility.clone(), day: Day::named(&facility.zone.tz, date).unwrap() }
    }

    fn derived(key: &DayKey, as_of_ms: i64) -> Derived {
        Derived {
            row: SummaryRow {
                summary: Summary::empty(key.facility.id, key.day.date, false),
                as_of_ms,
                next_expires_at_ms: None,
                bounds: Some(Bounds::from(&key.day)),
            },
            stored: true,
            figures_differ: false,
            day_differs: false,
            write_needed: false,
            is_today: key.day.contains(as_of_ms),
            timezone: key.facility.zone.name.clone(),
        }
    }

    #[test]
    fn a_day_that_ended_while_its_refresh_waited_brings_the_next_along() {
        let north = facility(1, "Europe/Warsaw");
        let (ended, next) = (
            key(&north, jiff::civil::date(2026, 10, 24)),
            key(&north, jiff::civil::date(2026, 10, 25)),
        );
        let brought = |keys: &[DayKey], as_of_ms| {
            let derived: Vec<Derived> = keys.iter().map(|key| derived(key, as_of_ms)).collect();
            next_days_of_just_ended(keys, &derived).iter().map(DayKey::id).collect::<Vec<_>>()
        };
        let end_ms = ended.day.end_ms;
        assert_eq!(
            brought(std::slice::from_ref(&ended), end_ms),
            vec![next.id()],
            "at the very midnight the old day is over"
        );
        assert_eq!(brought(std::slice::from_ref(&ended), end_ms + 59_999), vec![next.id()]);
        assert!(
            brought(std::slice::from_ref(&ended), end_ms - 1).is_empty(),
            "before it nothing has ended"
        );
        assert!(
            brought(std::slice::from_ref(&ended), end_ms + 60_000).is_empty(),
            "a day long past is a late delivery's"
        );
        assert!(brought(&[ended, next], end_ms).is_empty(), "it is there already");
    }
}
