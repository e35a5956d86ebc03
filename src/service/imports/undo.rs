//! Undoes an import in chunks, each in one transaction: what the import brought is removed, what it
//! replaced is restored, and the summaries follow in the same transaction. The notes of a chunk are
//! deleted with it, so an undo that broke off continues where it was.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use uuid::Uuid;

use super::{
    days::StockChange,
    rows::{Decision, UndoOutcome, decide},
};
use crate::{
    domain::{
        day::{Day, has_day},
        event::{Entity, EntityKind, Record},
        summary::{DayKey, Key},
    },
    metrics::RefreshTrigger,
    service::refresh::{Refresher, request::RefreshRequest, scope::RefreshScope},
    store,
    store::{
        FacilityRow, Put, Removal, Store, StoreError, Transaction,
        imports::{Hidden, ImportedRow, MENTIONED},
    },
};

/// Rows of one transaction.
const CHUNK: usize = 1_000;
/// Days of one transaction. Each is refreshed.
const CHUNK_DAYS: usize = 250;
/// Facilities of one transaction. All summaries of each are deleted with it.
const CHUNK_FACILITIES: usize = 100;

/// The most tries of a chunk, when concurrent transactions interfere.
const ATTEMPTS: usize = 5;

/// The undo of an import.
pub struct Undo {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Refreshes the summaries.
    pub refresher: Arc<Refresher>,
    /// The most time to wait for a lock that another transaction holds.
    pub lock_timeout: Duration,
}

/// The result for the rows, days or facilities of a chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UndoCounts {
    /// Gone, or as they were before.
    pub undone: u64,
    /// There before the import, which did not change them.
    pub were_there: u64,
    /// Kept, because another import brought them as well.
    pub of_others: u64,
    /// Kept, because they were changed or removed since.
    pub changed: u64,
    /// Days that were kept, because other figures were recorded since.
    pub days_left: Vec<Key>,
    /// The names of facilities that were kept, because something refers to them.
    pub referred_to: Vec<String>,
}

impl UndoCounts {
    fn count(&mut self, outcome: UndoOutcome) {
        *match outcome {
            UndoOutcome::Undone => &mut self.undone,
            UndoOutcome::WasThere => &mut self.were_there,
            UndoOutcome::OfAnother => &mut self.of_others,
            UndoOutcome::Changed => &mut self.changed,
        } += 1;
    }

    /// Adds the result of another chunk.
    pub fn add(&mut self, other: UndoCounts) {
        self.undone += other.undone;
        self.were_there += other.were_there;
        self.of_others += other.of_others;
        self.changed += other.changed;
        self.days_left.extend(other.days_left);
        self.referred_to.extend(other.referred_to);
    }
}

/// What to write of one kind.
#[derive(Default)]
struct UndoWrites {
    erased: Vec<Uuid>,
    put: Vec<Put>,
    removed: Vec<Removal>,
    notes: Vec<ImportedRow>,
}

impl UndoWrites {
    fn add(&mut self, id: Uuid, decision: Decision) {
        self.notes.extend(decision.notes);
        match decision.becomes {
            None => {}
            Some(None) => self.erased.push(id),
            Some(Some(Hidden {
                record: Record { event_time_ms, entity: Some(entity) }, ..
            })) => {
                self.put.push(Put { id, event_time_ms, entity, is_new: false });
            }
            Some(Some(Hidden { record: Record { event_time_ms, entity: None }, last_counted })) => {
                self.removed.push(Removal { id, event_time_ms, last_counted });
            }
        }
    }

    async fn write(
        &self,
        tx: &mut dyn Transaction,
        kind: EntityKind,
        import: i32,
        ids: &[Uuid],
    ) -> store::Result<()> {
        if !self.erased.is_empty() {
            tx.erase(kind, &self.erased).await?;
        }
        if !self.put.is_empty() {
            tx.put(kind, &self.put).await?;
        }
        if !self.removed.is_empty() {
            tx.remove(kind, &self.removed).await?;
        }
        tx.forget_rows(import, ids).await?;
        if self.notes.is_empty() { Ok(()) } else { tx.note_rows(&self.notes).await }
    }
}

impl Undo {
    /// Takes back the next deliveries or requests of an import, after the id `after`, and moves
    /// `after` on. `None` when none is left.
    pub async fn rows(
        &self,
        import: i32,
        kind: EntityKind,
        after: &mut Uuid,
    ) -> store::Result<Option<UndoCounts>> {
        let mut ids = self.store.imported_rows(import, false, *after, CHUNK).await?;
        let Some(last) = ids.iter().max() else { return Ok(None) };
        *after = *last;
        ids.sort_unstable();
        let mut attempt = 1;
        loop {
            match self.try_rows(import, kind, &ids).await {
                Err(StoreError::Conflict) if attempt < ATTEMPTS => {
                    attempt += 1;
                    // A facility may be in another zone than the directory has.
                    self.refresher.directory.load(&*self.store).await?;
                }
                result => return result.map(Some),
            }
        }
    }

    async fn try_rows(
        &self,
        import: i32,
        kind: EntityKind,
        ids: &[Uuid],
    ) -> store::Result<UndoCounts> {
        let token = self.refresher.changes.fill_token();
        let mut tx = self.store.begin(self.lock_timeout).await?;
        tx.reserve(&[], ids).await?;
        let now = tx.load(kind, ids).await?;
        let noted = by_row(tx.noted_rows(ids).await?);
        let (mut taken, mut changes, mut touched) =
            (UndoCounts::default(), UndoWrites::default(), BTreeSet::new());
        for id in ids {
            let decision =
                decide(import, now.get(id), noted.get(id).map_or(&[][..], Vec::as_slice));
            taken.count(decision.outcome);
            if let Some(becomes) = &decision.becomes {
                touched.extend(now.get(id).and_then(counts_at));
                touched.extend(becomes.as_ref().and_then(|hidden| counts_at(&hidden.record)));
            }
            changes.add(*id, decision);
        }
        changes.write(&mut *tx, kind, import, ids).await?;
        let facilities: BTreeSet<Uuid> = touched.iter().map(|(facility, _)| *facility).collect();
        self.know(facilities).await?;
        let mut scope = RefreshScope::default();
        for (facility, at_ms) in touched.into_iter().filter(|(_, at_ms)| has_day(*at_ms)) {
            if let Some(facility) = self.refresher.directory.get(facility) {
                scope.add_day(&facility, Day::containing(&facility.zone.tz, at_ms));
            }
        }
        let refreshed = self.refresher.apply(&mut *tx, &scope, RefreshTrigger::Request).await?;
        tx.commit().await?;
        self.refresher.publish(&token, &refreshed);
        Ok(taken)
    }

    /// Takes back some closed days of an import; `None` when none is left.
    pub async fn days(&self, import: i32) -> store::Result<Option<UndoCounts>> {
        let days = self.store.imported_days(import, CHUNK_DAYS).await?;
        if days.is_empty() {
            return Ok(None);
        }
        let mut attempt = 1;
        loop {
            self.know(days.iter().map(|key| key.facility_id).collect()).await?;
            let day_key = |key: &Key| {
                let facility = self.refresher.directory.get(key.facility_id)?;
                let day = Day::named(&facility.zone.tz, key.date)?;
                Some(DayKey { facility, day })
            };
            let keys: Vec<DayKey> = days.iter().filter_map(day_key).collect();
            let count = days.len() as u64;
            if keys.is_empty() {
                // Their facilities are gone, and their stock with them.
                let mut tx = self.store.begin(self.lock_timeout).await?;
                tx.forget_days(import, &days).await?;
                tx.commit().await?;
                return Ok(Some(UndoCounts { changed: count, ..UndoCounts::default() }));
            }
            let change = StockChange::TakeBack { import, days: days.clone() };
            let request =
                RefreshRequest::days(keys, RefreshTrigger::Request).with_stock_change(change);
            match self.refresher.run_recording(request).await.map(|(_, recorded)| recorded) {
                Err(StoreError::Conflict) if attempt < ATTEMPTS => {
                    attempt += 1;
                    self.refresher.directory.load(&*self.store).await?;
                }
                Err(error) => return Err(error),
                Ok(recorded) => {
                    let taken_back = count - recorded.left.len() as u64;
                    return Ok(Some(UndoCounts {
                        undone: taken_back,
                        days_left: recorded.left,
                        ..UndoCounts::default()
                    }));
                }
            }
        }
    }

    /// Takes back the next facilities of an import, after the id `after`, and moves `after` on.
    /// `None` when none is left. The rows and days of the import must be taken back before.
    pub async fn facilities(
        &self,
        import: i32,
        after: &mut Uuid,
    ) -> store::Result<Option<UndoCounts>> {
        let mut ids = self.store.imported_rows(import, true, *after, CHUNK_FACILITIES).await?;
        let Some(last) = ids.iter().max() else { return Ok(None) };
        *after = *last;
        ids.sort_unstable();
        match self.some_facilities(import, &ids).await {
            // Something now refers to one of them. Each is tried alone, so that the others are
            // removed.
            Err(StoreError::Refused(_)) => {}
            result => return result.map(Some),
        }
        let mut taken = UndoCounts::default();
        for id in ids {
            taken.add(self.some_facilities(import, &[id]).await?);
        }
        Ok(Some(taken))
    }

    async fn some_facilities(&self, import: i32, ids: &[Uuid]) -> store::Result<UndoCounts> {
        let mut attempt = 1;
        loop {
            match self.try_facilities(import, ids).await {
                Err(StoreError::Conflict) if attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn try_facilities(&self, import: i32, ids: &[Uuid]) -> store::Result<UndoCounts> {
        let token = self.refresher.changes.fill_token();
        let mut tx = self.store.begin(self.lock_timeout).await?;
        let now = tx.load(EntityKind::Facility, ids).await?;
        let noted = by_row(tx.noted_rows(ids).await?);
        let mut decisions: BTreeMap<Uuid, Decision> = BTreeMap::new();
        for id in ids {
            decisions.insert(
                *id,
                decide(import, now.get(id), noted.get(id).map_or(&[][..], Vec::as_slice)),
            );
        }
        let going: Vec<Uuid> =
            decisions.iter().filter(|(_, d)| d.becomes == Some(None)).map(|(id, _)| *id).collect();
        tx.lock(&going).await?;
        let referred_to = tx.referred_to(&going).await?;
        let (mut taken, mut changes, mut scope) =
            (UndoCounts::default(), UndoWrites::default(), RefreshScope::default());
        for (id, mut decision) in decisions {
            if referred_to.contains(&id) {
                taken.referred_to.extend(now.get(&id).and_then(name));
                decision.becomes = None;
                decision.notes = heir(import, noted.get(&id).map_or(&[][..], Vec::as_slice))
                    .into_iter()
                    .collect();
            } else if noted.get(&id).is_some_and(|notes| {
                notes.iter().any(|n| n.import_id == import && n.content != MENTIONED)
            }) {
                taken.count(decision.outcome);
            }
            changes.add(id, decision);
        }
        changes.write(&mut *tx, EntityKind::Facility, import, ids).await?;
        for put in &changes.put {
            if let Entity::Facility { name, timezone } = &put.entity {
                scope.add_whole(&self.refresher.directory.facility(FacilityRow::new(
                    put.id,
                    name.clone(),
                    timezone.clone(),
                )));
            }
        }
        tx.remove_summaries(&changes.erased).await?;
        let changed: Vec<Uuid> =
            changes.erased.iter().copied().chain(changes.put.iter().map(|put| put.id)).collect();
        tx.note_facilities(&changed).await?;
        let refreshed = self.refresher.apply(&mut *tx, &scope, RefreshTrigger::Request).await?;
        tx.commit().await?;
        self.refresher.directory.reload(&*self.store, &changed).await?;
        self.refresher.changes.publish_facilities(&token, changed);
        self.refresher.publish(&token, &refreshed);
        Ok(taken)
    }

    /// Makes the directory read the facilities among these that it does not know.
    async fn know(&self, facilities: BTreeSet<Uuid>) -> store::Result<()> {
        let unknown: Vec<Uuid> = facilities
            .into_iter()
            .filter(|id| self.refresher.directory.get(*id).is_none())
            .collect();
        if !unknown.is_empty() {
            self.refresher.directory.reload(&*self.store, &unknown).await?;
        }
        Ok(())
    }
}

fn by_row(noted: Vec<ImportedRow>) -> HashMap<Uuid, Vec<ImportedRow>> {
    let mut by_row: HashMap<Uuid, Vec<ImportedRow>> = HashMap::new();
    noted.into_iter().for_each(|note| by_row.entry(note.row_id).or_default().push(note));
    by_row
}

/// The facility in which a record counts, and the instant that gives the day.
fn counts_at(record: &Record) -> Option<(Uuid, i64)> {
    match record.entity.as_ref()? {
        Entity::Distribution { dispatched_to_id, date_delivered_ms, .. } => {
            date_delivered_ms.map(|at_ms| (*dispatched_to_id, at_ms))
        }
        Entity::Request { facility_id, created_at_ms, .. } => Some((*facility_id, *created_at_ms)),
        _ => None,
    }
}

fn name(record: &Record) -> Option<String> {
    match record.entity.as_ref()? {
        Entity::Facility { name, .. } => Some(name.clone()),
        _ => None,
    }
}

/// The note of another import that refers to a facility which is kept because of it. The facility
/// is removed when that import is taken back as well.
fn heir(import: i32, noted: &[ImportedRow]) -> Option<ImportedRow> {
    let mine = noted.iter().find(|note| note.import_id == import)?;
    let other = noted
        .iter()
        .filter(|note| note.import_id != import && !note.wrote)
        .min_by_key(|note| note.import_id)?;
    Some(ImportedRow {
        wrote: true,
        content: mine.content,
        hidden: mine.hidden.clone(),
        ..other.clone()
    })
}
