//! The one refresh: figures derived from their sources, versions given, rows written, changes published. The read, the event, the mark,
//! the clock and the rebuild all come here; they differ only in which keys they bring.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::civil::Date;
use uuid::Uuid;

use super::{days::DAYS_IN_A_SPAN, directory::Directory, outage::Outage, troubles::Troubles};
use crate::{
    cache::memory::Vantage,
    changes::Changes,
    domain::{
        blood_type::BloodType,
        day::Day,
        summary::{DayKey, Figures, SummaryRow},
    },
    metrics::{Metrics, Trigger},
    store::{self, Derived, Mark, MarkKind, Store, StoreError, Transaction},
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

/// Stock that a closed day is to be given, by type.
pub type ClosedStock = BTreeMap<(Uuid, Date), BTreeMap<BloodType, i64>>;

/// One of many that each try alone waits that part of the usual for its lock: there may be many that somebody holds.
const ALONE_WAITS_PART: u32 = 10;

/// How often a refresh is tried again when a zone moved or a concurrent transaction interfered.
const ATTEMPTS: usize = 4;

pub struct Refresher {
    pub store: Arc<dyn Store>,
    pub directory: Arc<Directory>,
    pub changes: Arc<Changes>,
    pub outage: Arc<Outage>,
    pub metrics: Arc<Metrics>,
    pub lock_timeout: Duration,
    /// Facilities whose refresh waits for somebody's lock.
    pub waiting: Troubles<Uuid>,
}

impl Refresher {
    /// Refreshes these keys in one transaction of its own and publishes what changed. Keys of days that have not begun, of facilities
    /// that are gone, and of days that a changed zone no longer has are left out.
    pub async fn refresh(&self, keys: Vec<DayKey>, trigger: Trigger) -> store::Result<Vec<Refreshed>> {
        self.refresh_taking_marks(keys, &[], trigger).await
    }

    /// The same, deleting these marks in the same transaction, before the figures are derived. `StoreError::Conflict` where one of them
    /// says more by now than the keys cover.
    pub async fn refresh_taking_marks(&self, keys: Vec<DayKey>, marks: &[Mark], trigger: Trigger) -> store::Result<Vec<Refreshed>> {
        self.refresh_within(self.lock_timeout, keys, marks, trigger).await
    }

    /// The same for one facility of many of which somebody may hold the locks.
    pub async fn refresh_alone(&self, keys: Vec<DayKey>, marks: &[Mark], trigger: Trigger) -> store::Result<Vec<Refreshed>> {
        self.refresh_within(self.lock_timeout / ALONE_WAITS_PART, keys, marks, trigger).await
    }

    /// Refreshes these keys; where that fails for a lock, facility by facility, so that one does not cost the others theirs. Answers
    /// what could be done, and the last error of what could not.
    pub async fn refresh_each(&self, keys: Vec<DayKey>, trigger: Trigger) -> (Vec<Refreshed>, store::Result<()>) {
        match self.refresh(keys.clone(), trigger).await {
            Ok(refreshed) => return (refreshed, Ok(())),
            Err(error) if !matches!(error, StoreError::Locked(_) | StoreError::Conflict) => return (Vec::new(), Err(error)),
            Err(_) => {}
        }
        let mut by_facility: BTreeMap<Uuid, Vec<DayKey>> = BTreeMap::new();
        keys.into_iter().for_each(|key| by_facility.entry(key.facility.id).or_default().push(key));
        let (mut done, mut result) = (Vec::new(), Ok(()));
        for (facility_id, keys) in by_facility {
            match self.refresh_alone(keys, &[], trigger).await {
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
        mut keys: Vec<DayKey>,
        marks: &[Mark],
        trigger: Trigger,
    ) -> store::Result<Vec<Refreshed>> {
        let mut attempt = 1;
        loop {
            match self.attempt(lock_timeout, &keys, marks, &ClosedStock::new(), trigger).await {
                Err(StoreError::Conflict) if attempt < ATTEMPTS => {
                    attempt += 1;
                    keys = self.rezone(keys).await?;
                }
                Err(error) => {
                    self.count(trigger, "failed", keys.len());
                    return Err(error);
                }
                Ok(refreshed) => {
                    for key in keys.iter().filter(|key| self.waiting.end(&key.facility.id)) {
                        tracing::info!(facility_id = %key.facility.id, "the refresh waits no longer");
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

    /// Gives closed days their stock, merging by type with what is recorded; other figures are derived as ever.
    pub async fn record_stock(&self, keys: Vec<DayKey>, stock: &ClosedStock) -> store::Result<Vec<Refreshed>> {
        self.attempt(self.lock_timeout, &keys, &[], stock, Trigger::Request).await
    }

    async fn attempt(
        &self,
        lock_timeout: Duration,
        keys: &[DayKey],
        marks: &[Mark],
        stock: &ClosedStock,
        trigger: Trigger,
    ) -> store::Result<Vec<Refreshed>> {
        let vantage = self.changes.vantage();
        let mut tx = self.store.begin(lock_timeout).await?;
        // Also for those who wait for something else: the drain does not look while it refreshes.
        self.outage.over();
        if !marks.is_empty() {
            let taken = tx.take_marks(&marks.iter().map(|m| m.id).collect::<Vec<_>>()).await?;
            if taken.iter().any(|mark| !marks.contains(mark) && !is_covered(mark, keys)) {
                return Err(StoreError::Conflict);
            }
            let changed: Vec<Uuid> =
                taken.iter().filter(|mark| mark.kind == MarkKind::Facility).filter_map(|mark| mark.facility_id).collect();
            if !changed.is_empty() {
                tx.note_facilities(&changed).await?;
            }
        }
        let refreshed = self.apply_with_stock(&mut *tx, keys, stock, trigger).await?;
        tx.commit().await?;
        self.outage.over();
        self.publish(&vantage, &refreshed);
        Ok(refreshed)
    }

    /// Refreshes within a transaction that the caller commits, after which it calls `publish`. `StoreError::Conflict` where a
    /// facility's zone is not the key's any more: the caller takes the zones anew and starts over.
    pub async fn apply(&self, tx: &mut dyn Transaction, keys: &[DayKey], trigger: Trigger) -> store::Result<Vec<Refreshed>> {
        self.apply_with_stock(tx, keys, &ClosedStock::new(), trigger).await
    }

    async fn apply_with_stock(
        &self,
        tx: &mut dyn Transaction,
        keys: &[DayKey],
        stock: &ClosedStock,
        trigger: Trigger,
    ) -> store::Result<Vec<Refreshed>> {
        let started = Instant::now();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Uuid> = keys.iter().map(|k| k.facility.id).collect::<BTreeSet<_>>().into_iter().collect();
        let mut states = tx.lock(&ids).await?;
        let mut derived = tx.derive(keys).await?;
        if zone_moved(keys, &derived) {
            return Err(StoreError::Conflict);
        }
        let next_days = next_days_of_just_ended(keys, &derived);
        if !next_days.is_empty() {
            derived.extend(tx.derive(&next_days).await?);
        }
        derived.iter_mut().for_each(|d| {
            if let Some(stock) = stock.get(&(d.row.summary.facility_id, d.row.summary.date)) {
                give_stock(d, stock);
            }
        });
        derived.sort_unstable_by_key(|d| (d.row.summary.facility_id, d.row.summary.date));
        let mut opened: Vec<(Uuid, Date)> = Vec::new();
        let refreshed: Vec<Refreshed> = derived
            .into_iter()
            .map(|d| {
                let mut row = d.row;
                let state = states.entry(row.summary.facility_id).or_default();
                // Also where the row is there already: a change of zone may lead back to a day that was opened before.
                let opens = d.is_today && state.today != Some(row.summary.date);
                if opens {
                    opened.push((row.summary.facility_id, row.summary.date));
                }
                if d.figures_differ || opens {
                    state.version += 1;
                    row.summary.version = state.version;
                }
                if d.figures_differ {
                    row.summary.updated_at = Some(row.as_of_ms);
                }
                Refreshed { row, changed: d.figures_differ || opens, written: d.write_needed || opens, elsewhere: false }
            })
            .collect();
        let rows: Vec<SummaryRow> = refreshed.iter().filter(|r| r.written).map(|r| r.row.clone()).collect();
        tx.write(&rows).await?;
        if !opened.is_empty() {
            tx.open_days(&opened).await?;
        }
        self.metrics.refresh_duration.with_label_values(&[trigger.as_str()]).observe(started.elapsed().as_secs_f64());
        let changed = refreshed.iter().filter(|r| r.changed).count();
        self.count(trigger, "changed", changed);
        self.count(trigger, "unchanged", refreshed.len() - changed);
        Ok(refreshed)
    }

    /// Publishes what a committed `apply` wrote, and what it found unchanged: that is exact as of now, too.
    pub fn publish(&self, vantage: &Vantage, refreshed: &[Refreshed]) {
        let (written, unchanged): (Vec<&Refreshed>, Vec<&Refreshed>) = refreshed.iter().partition(|r| r.written);
        self.changes.publish(vantage, written.into_iter().map(|r| &r.row));
        self.changes.confirm(vantage, unchanged.into_iter().map(|r| &r.row));
    }

    /// The same days under the zones that the facilities have by now.
    async fn rezone(&self, keys: Vec<DayKey>) -> store::Result<Vec<DayKey>> {
        let ids: Vec<Uuid> = keys.iter().map(|k| k.facility.id).collect::<BTreeSet<_>>().into_iter().collect();
        self.directory.reload(&*self.store, &ids).await?;
        Ok(keys
            .into_iter()
            .filter_map(|key| {
                let facility = self.directory.get(key.facility.id)?;
                let day = Day::named(&facility.zone.tz, key.day.date)?;
                Some(DayKey { facility, day })
            })
            .collect())
    }

    fn count(&self, trigger: Trigger, outcome: &str, rows: usize) {
        self.metrics.refreshes.with_label_values(&[trigger.as_str(), outcome]).inc_by(rows as u64);
    }
}

fn zone_moved(keys: &[DayKey], derived: &[Derived]) -> bool {
    let zones: HashMap<Uuid, &str> = keys.iter().map(|k| (k.facility.id, k.facility.zone.name.as_str())).collect();
    derived.iter().any(|d| zones.get(&d.row.summary.facility_id).is_some_and(|zone| *zone != d.timezone))
}

/// Whether a mark that grew since it was looked at still lies within the keys, as it does while somebody writes to one day all the time.
fn is_covered(mark: &Mark, keys: &[DayKey]) -> bool {
    let (Some(id), Some((first_ms, last_ms))) = (mark.facility_id, mark.span) else { return false };
    let Some(key) = keys.iter().find(|key| key.facility.id == id) else { return false };
    Day::covering(&key.facility.zone.tz, first_ms, last_ms, DAYS_IN_A_SPAN)
        .into_iter()
        .all(|day| keys.iter().any(|key| key.facility.id == id && key.day == day))
}

/// A day that was today when its key was made may have ended by the database's clock since: what was to change its stock belongs to the
/// day after. Days that ended within the last minute bring their successors along.
fn next_days_of_just_ended(keys: &[DayKey], derived: &[Derived]) -> Vec<DayKey> {
    const JUST_MS: i64 = 60_000;
    let present: BTreeSet<(Uuid, Date)> = derived.iter().map(|d| (d.row.summary.facility_id, d.row.summary.date)).collect();
    keys.iter()
        .filter(|key| derived.first().is_some_and(|d| (key.day.end_ms..key.day.end_ms + JUST_MS).contains(&d.row.as_of_ms)))
        .map(|key| DayKey { facility: key.facility.clone(), day: Day::containing(&key.facility.zone.tz, key.day.end_ms) })
        .filter(|next| !present.contains(&next.id()))
        .collect()
}

/// Replaces the stock of the types named, keeps the others', and makes the totals their sums.
fn give_stock(derived: &mut Derived, stock: &BTreeMap<BloodType, i64>) {
    if derived.is_today {
        return;
    }
    let summary = &mut derived.row.summary;
    let before = (summary.total_stock, summary.by_blood_type.clone());
    for (blood_type, units) in stock {
        summary.by_blood_type.entry(*blood_type).or_default().stock = Some(*units);
    }
    for figures in summary.by_blood_type.values_mut() {
        figures.stock.get_or_insert(0);
    }
    summary.by_blood_type.retain(|_, f| *f != Figures { stock: Some(0), transferred: 0, requests: 0 });
    summary.total_stock = Some(summary.by_blood_type.values().filter_map(|f| f.stock).sum());
    let differs = before != (summary.total_stock, summary.by_blood_type.clone()) || !derived.stored;
    derived.figures_differ |= differs;
    derived.write_needed |= differs;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        facility::{Facility, Zone},
        summary::Summary,
    };

    fn facility(n: u128, zone: &str) -> Arc<Facility> {
        Arc::new(Facility { id: Uuid::from_u128(n), name: String::new(), zone: Arc::new(Zone::named(zone).unwrap()) })
    }

    fn key(facility: &Arc<Facility>, date: Date) -> DayKey {
        DayKey { facility: facility.clone(), day: Day::named(&facility.zone.tz, date).unwrap() }
    }

    fn derived(key: &DayKey, as_of_ms: i64) -> Derived {
        Derived {
            row: SummaryRow { summary: Summary::empty(key.facility.id, key.day.date, false), as_of_ms, next_expires_at_ms: None },
            stored: true,
            figures_differ: false,
            write_needed: false,
            is_today: key.day.contains(as_of_ms),
            timezone: key.facility.zone.name.clone(),
        }
    }

    #[test]
    fn a_day_that_ended_while_its_refresh_waited_brings_the_next_along() {
        let north = facility(1, "Europe/Warsaw");
        let (ended, next) = (key(&north, jiff::civil::date(2026, 10, 24)), key(&north, jiff::civil::date(2026, 10, 25)));
        let brought = |keys: &[DayKey], as_of_ms| {
            let derived: Vec<Derived> = keys.iter().map(|key| derived(key, as_of_ms)).collect();
            next_days_of_just_ended(keys, &derived).iter().map(DayKey::id).collect::<Vec<_>>()
        };
        let end_ms = ended.day.end_ms;
        assert_eq!(brought(std::slice::from_ref(&ended), end_ms), vec![next.id()], "at the very midnight the old day is over");
        assert_eq!(brought(std::slice::from_ref(&ended), end_ms + 59_999), vec![next.id()]);
        assert!(brought(std::slice::from_ref(&ended), end_ms - 1).is_empty(), "before it nothing has ended");
        assert!(brought(std::slice::from_ref(&ended), end_ms + 60_000).is_empty(), "a day long past is a late delivery's");
        assert!(brought(&[ended, next], end_ms).is_empty(), "it is there already");
    }

    #[test]
    fn a_mark_that_grew_within_the_keys_is_covered_and_beyond_them_is_not() {
        let (north, south) = (facility(1, "Asia/Kathmandu"), facility(2, "Asia/Kathmandu"));
        let today = key(&north, jiff::civil::date(2026, 11, 21));
        let Day { start_ms, end_ms, .. } = today.day;
        let mark =
            |facility: &Facility, span| Mark { id: 1, kind: MarkKind::Activity, facility_id: Some(facility.id), span, blood_bank_id: None };
        let keys = [today];
        assert!(is_covered(&mark(&north, Some((start_ms, end_ms - 1))), &keys));
        assert!(!is_covered(&mark(&north, Some((start_ms, end_ms))), &keys), "the next day is not among the keys");
        assert!(!is_covered(&mark(&north, Some((start_ms - 1, start_ms))), &keys), "nor is the day before");
        assert!(!is_covered(&mark(&south, Some((start_ms, start_ms))), &keys), "nor the other facility");
        assert!(!is_covered(&mark(&north, None), &keys), "all time is never covered");
    }
}
