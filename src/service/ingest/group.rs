//! The transaction of a group of requests: load, fold, write, refresh, commit.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use uuid::Uuid;

use super::{
    IngestError, IngestParts, IngestTask, Ingested, Refusal,
    changed::changed,
    fold::{Folded, Overlay, Touch},
};
use crate::{
    cache::memory::FillToken,
    domain::{
        day::Day,
        event::{Entity, EntityKind, Event, Record, Statement},
        facility::Facility,
        summary::{DayKey, Key},
    },
    service::{
        imports::RecordChanges,
        refresh::{Refreshed, scope::RefreshScope},
    },
    store::{self, Cause, FacilityRow, Put, Removal, StoreError, Transaction, access::AuditNote},
};

/// The longest time that an acknowledgement waits until the directory has read what was registered.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// A group of requests in one transaction.
pub(super) struct Group<'a> {
    parts: &'a IngestParts,
    pub(super) tasks: &'a [IngestTask],
    pub(super) overlay: Overlay,
    /// The entities that have a row (or a tombstone) in the database. By this the group knows what
    /// it changed.
    pub(super) loaded: HashMap<(EntityKind, Uuid), Record>,
    /// Facilities that this group registers or changes, in their new zones.
    registered: HashMap<Uuid, Arc<Facility>>,
    touched: HashSet<(Uuid, Touch)>,
    /// What goes into the audit log.
    pub(super) audited: Vec<AuditNote>,
}

/// A transaction that is ready to commit, and its results.
struct Prepared {
    tx: Box<dyn Transaction>,
    folded: Vec<Result<Folded, Refusal>>,
    days: HashMap<(Uuid, Touch), DayKey>,
    refreshed: Vec<Refreshed>,
}

impl<'a> Group<'a> {
    /// A group of these tasks; nothing is read yet.
    pub(super) fn new(parts: &'a IngestParts, tasks: &'a [IngestTask]) -> Self {
        Group {
            parts,
            tasks,
            overlay: Overlay::default(),
            loaded: HashMap::new(),
            registered: HashMap::new(),
            touched: HashSet::new(),
            audited: Vec::new(),
        }
    }

    /// Commits the group, and answers one outcome for each request, in order. Before the commit
    /// itself it takes at most half of `ingest.timeout_ms` plus one `lock_timeout`. `Err`: nothing
    /// of the group was applied, except after `StoreError::InDoubt`.
    pub(super) async fn commit(
        mut self,
        lock_timeout: Duration,
    ) -> store::Result<Vec<Result<Ingested, IngestError>>> {
        let token = self.parts.changes.fill_token();
        let bound = Duration::from_millis(self.parts.settings.timeout_ms) / 2 + lock_timeout;
        // A database that hangs does not even answer that a statement took too long. A transaction
        // that has not begun to commit is simply dropped.
        let prepared = tokio::time::timeout(bound, self.prepare(lock_timeout)).await;
        let prepared = prepared.map_err(|_| StoreError::Unavailable(Cause::NoAnswer))?;
        if matches!(prepared, Err(StoreError::Conflict | StoreError::Refused(_))) {
            self.read_facilities_again().await;
        }
        let Prepared { tx, folded, days, refreshed } = prepared?;
        tx.commit().await?;
        self.after_commit(&token, &refreshed).await;
        Ok(self.outcomes(folded, &days, &refreshed))
    }

    /// Reads the facilities after a conflict or a refusal, also those that it touches without a
    /// change: one may have moved to another zone, or be gone. Where that fails, the next attempt
    /// meets the same again.
    async fn read_facilities_again(&self) {
        let touched = self.touched.iter().map(|(id, _)| id);
        let ids: Vec<Uuid> = touched.chain(&self.overlay.facilities).copied().collect();
        if let Err(error) = self.parts.directory.reload(&*self.parts.store, &ids).await {
            tracing::debug!(%error, "the facilities of a group could not be read again");
        }
    }

    /// Everything up to the commit.
    async fn prepare(&mut self, lock_timeout: Duration) -> store::Result<Prepared> {
        self.know_touched().await?;
        let mut tx = self.parts.store.begin(lock_timeout).await?;
        self.load(&mut *tx).await?;
        let folded: Vec<Result<Folded, Refusal>> =
            self.tasks.iter().map(|task| self.overlay.fold(&task.events, &task.within)).collect();
        self.write(&mut *tx).await?;
        self.note(&mut *tx, &folded).await?;
        self.touched = folded.iter().flatten().flat_map(|f| f.touched.iter().copied()).collect();
        let days = self.days(&self.touched);
        let is_whole = |(id, touch): &(Uuid, Touch)| (*touch == Touch::All).then_some(*id);
        let whole = self.touched.iter().filter_map(is_whole).filter_map(|id| self.facility(id));
        let scope = RefreshScope { days: days.values().cloned().collect(), whole: whole.collect() };
        let changed = changed(&self.loaded, &self.overlay, self.events());
        let refresher = &self.parts.refresher;
        let (refreshed, added) = refresher.apply_changed(&mut *tx, &scope, &changed).await?;
        self.check_banks(&mut *tx).await?;
        refresher.verify(&mut *tx, &added).await?;
        self.mark_moved_banks(&mut *tx).await?;
        if !self.registered.is_empty() {
            tx.note_facilities(&self.registered.keys().copied().collect::<Vec<_>>()).await?;
        }
        self.note_registrations(&mut *tx, &folded).await?;
        Ok(Prepared { tx, folded, days, refreshed })
    }

    /// Has the directory know the facilities that `summary.touched` names. Before the transaction
    /// begins, because with `[sources]` a facility that is new here is written in a transaction of
    /// its own. In a small pool, that one would wait for this one to end.
    async fn know_touched(&self) -> store::Result<()> {
        let touched = self.events().filter_map(|event| match event {
            Event::Touched { facility_id, .. } => Some(*facility_id),
            Event::Statement(_) => None,
        });
        let unknown: Vec<Uuid> =
            touched.filter(|id| self.parts.directory.get(*id).is_none()).collect();
        if !unknown.is_empty() {
            self.parts.directory.reload(&*self.parts.store, &unknown).await?;
        }
        Ok(())
    }

    fn events(&self) -> impl Iterator<Item = &'a Event> {
        self.tasks.iter().flat_map(|task| &task.events)
    }

    fn statements(&self) -> impl Iterator<Item = &'a Statement> {
        self.events().filter_map(|event| match event {
            Event::Statement(statement) => Some(statement),
            Event::Touched { .. } => None,
        })
    }

    /// The ids of these statements, each once, in order.
    fn ids(&self, of: impl Fn(&Statement) -> bool) -> Vec<Uuid> {
        let ids: BTreeSet<Uuid> = self.statements().filter(|s| of(s)).map(|s| s.id).collect();
        ids.into_iter().collect()
    }

    async fn load(&mut self, tx: &mut dyn Transaction) -> store::Result<()> {
        let is_reserved =
            |s: &Statement| !matches!(s.kind, EntityKind::Facility | EntityKind::BloodBank);
        let is_removal = |s: &Statement| s.record.entity.is_none();
        let set = self.ids(|s| is_reserved(s) && !is_removal(s));
        let removed = self.ids(|s| is_reserved(s) && is_removal(s));
        tx.reserve(&set, &removed).await?;
        for kind in EntityKind::ALL {
            let ids = self.ids(|s| s.kind == kind);
            if ids.is_empty() {
                continue;
            }
            let records = tx.load(kind, &ids).await?;
            let gone: Vec<Uuid> = records
                .iter()
                .filter(|(_, record)| record.entity.is_none())
                .map(|(id, _)| *id)
                .collect();
            if !gone.is_empty() {
                let last_counted = tx.last_counted(kind, &gone).await?;
                self.overlay
                    .last_counted
                    .extend(last_counted.into_iter().map(|(id, counted)| ((kind, id), counted)));
            }
            self.loaded.extend(records.into_iter().map(|(id, record)| ((kind, id), record)));
        }
        self.overlay.records = self.loaded.clone();
        self.load_references(tx).await
    }

    /// Loads the blood banks and facilities that the statements refer to, and those of the rows
    /// that they replace.
    async fn load_references(&mut self, tx: &mut dyn Transaction) -> store::Result<()> {
        let entities = self
            .statements()
            .filter_map(|s| s.record.entity.as_ref())
            .chain(self.loaded.values().filter_map(|r| r.entity.as_ref()));
        let (mut banks, mut facilities) = (BTreeSet::new(), BTreeSet::new());
        for entity in entities {
            match entity {
                Entity::Inventory { blood_bank_id, .. } => drop(banks.insert(*blood_bank_id)),
                Entity::BloodBank { facility_id, .. } | Entity::Request { facility_id, .. } => {
                    facilities.insert(*facility_id);
                }
                Entity::Distribution { dispatched_to_id, .. } => {
                    facilities.insert(*dispatched_to_id);
                }
                Entity::Facility { .. } => {}
            }
        }
        facilities.extend(self.events().filter_map(|event| match event {
            Event::Touched { facility_id, .. } => Some(*facility_id),
            Event::Statement(_) => None,
        }));
        if !banks.is_empty() {
            let banks: Vec<Uuid> = banks.into_iter().collect();
            self.overlay.banks = tx.bank_facilities(&banks).await?;
            facilities.extend(self.overlay.banks.values().copied());
        }
        let unknown: Vec<Uuid> = facilities
            .iter()
            .copied()
            .filter(|id| self.parts.directory.get(*id).is_none())
            .collect();
        if !unknown.is_empty() {
            self.parts.directory.reload(&*self.parts.store, &unknown).await?;
        }
        self.overlay.facilities =
            facilities.into_iter().filter(|id| self.parts.directory.get(*id).is_some()).collect();
        Ok(())
    }

    /// Writes what differs from the rows loaded: kind by kind, in the order of their ids.
    async fn write(&mut self, tx: &mut dyn Transaction) -> store::Result<()> {
        for kind in EntityKind::ALL {
            let (mut put, mut removed) = (Vec::new(), Vec::new());
            for ((of, id), record) in &self.overlay.records {
                let before = self.loaded.get(&(*of, *id));
                if *of != kind || before == Some(record) {
                    continue;
                }
                match &record.entity {
                    Some(entity) => put.push(Put {
                        id: *id,
                        event_time_ms: record.event_time_ms,
                        entity: entity.clone(),
                        is_new: before.is_none_or(|b| b.entity.is_none()),
                    }),
                    None => removed.push(Removal {
                        id: *id,
                        event_time_ms: record.event_time_ms,
                        last_counted: self.overlay.last_counted.get(&(kind, *id)).copied(),
                    }),
                }
            }
            put.sort_unstable_by_key(|row| row.id);
            removed.sort_unstable_by_key(|row| row.id);
            if !put.is_empty() {
                tx.put(kind, &put).await?;
            }
            if !removed.is_empty() {
                tx.remove(kind, &removed).await?;
            }
            for row in put {
                if let Entity::Facility { name, timezone } = row.entity {
                    let facility =
                        self.parts.directory.facility(FacilityRow::new(row.id, name, timezone));
                    self.registered.insert(row.id, facility);
                }
            }
        }
        Ok(())
    }

    /// Notes what imports among these tasks bring, and what was there before.
    async fn note(
        &self,
        tx: &mut dyn Transaction,
        folded: &[Result<Folded, Refusal>],
    ) -> store::Result<()> {
        for (task, folded) in self.tasks.iter().zip(folded) {
            if let (Some(note), Ok(folded)) = (&task.note, folded) {
                let known = RecordChanges {
                    before: &self.loaded,
                    now: &self.overlay.records,
                    last_counted: &self.overlay.last_counted,
                };
                note.write(tx, std::iter::zip(&task.events, &folded.applied), known).await?;
            }
        }
        Ok(())
    }

    fn facility(&self, id: Uuid) -> Option<Arc<Facility>> {
        self.registered.get(&id).cloned().or_else(|| self.parts.directory.get(id))
    }

    /// The day behind each touch, in the zones that the facilities have after this group.
    fn days(&self, touched: &HashSet<(Uuid, Touch)>) -> HashMap<(Uuid, Touch), DayKey> {
        let now_ms = self.parts.clock.now_ms();
        let mut days = HashMap::with_capacity(touched.len());
        for (id, touch) in touched {
            let Some(facility) = self.facility(*id) else { continue };
            let tz = &facility.zone.tz;
            let day = match touch {
                Touch::Today => Some(facility.zone.today(now_ms)),
                Touch::At(at_ms) => Some(Day::containing(tz, *at_ms)),
                Touch::On(date) => Day::named(tz, *date),
                Touch::All => None,
            };
            days.extend(day.map(|day| ((*id, *touch), DayKey { facility, day })));
        }
        days
    }

    async fn after_commit(&self, token: &FillToken, refreshed: &[Refreshed]) {
        self.parts.outage.over();
        self.log_registrations();
        if !self.registered.is_empty() {
            self.take_over_registered().await;
        }
        self.parts.changes.publish_facilities(token, self.registered.keys().copied().collect());
        self.parts.refresher.publish(token, refreshed);
    }

    /// Has the directory know the registered facilities before the acknowledgement. It reads them,
    /// as another writer may have changed them since. Where the database cannot be read now, it
    /// takes them as this group wrote them; the note in the transaction has them read again later.
    /// In another epoch than the one that is served, the directory gets them when it enters that.
    async fn take_over_registered(&self) {
        let ids: Vec<Uuid> = self.registered.keys().copied().collect();
        let reading = self.parts.directory.reload(&*self.parts.store, &ids);
        let read = tokio::time::timeout(READ_AGAIN, reading).await;
        if !matches!(read, Ok(Ok(_) | Err(StoreError::OtherEpoch))) {
            for facility in self.registered.values() {
                let row = FacilityRow::new(
                    facility.id,
                    facility.name.clone(),
                    facility.zone.name.clone(),
                );
                self.parts.directory.insert(row);
            }
        }
    }

    fn outcomes(
        &self,
        folded: Vec<Result<Folded, Refusal>>,
        days: &HashMap<(Uuid, Touch), DayKey>,
        refreshed: &[Refreshed],
    ) -> Vec<Result<Ingested, IngestError>> {
        let versions: HashMap<Key, i64> = refreshed
            .iter()
            .filter(|r| !r.row.is_left_behind())
            .map(|r| (r.row.key(), r.row.summary.version))
            .collect();
        folded
            .into_iter()
            .zip(self.tasks)
            .map(|(folded, task)| {
                let folded = folded.map_err(IngestError::from)?;
                for (event, applied) in task.events.iter().zip(&folded.applied) {
                    self.parts
                        .metrics
                        .events
                        .with_label_values(&[
                            event.type_name(),
                            if *applied { "applied" } else { "superseded" },
                        ])
                        .inc();
                }
                let mut keys: BTreeSet<Key> =
                    folded.touched.iter().filter_map(|t| days.get(t)).map(DayKey::id).collect();
                let whole = versions
                    .keys()
                    .filter(|key| folded.touched.contains(&(key.facility_id, Touch::All)));
                keys.extend(whole.copied());
                let applied = folded.applied.iter().filter(|a| **a).count();
                Ok(Ingested {
                    applied,
                    superseded: folded.applied.len() - applied,
                    summaries: keys
                        .into_iter()
                        .filter_map(|key| versions.get(&key).map(|version| (key, *version)))
                        .collect(),
                    uncounted: Vec::new(),
                })
            })
            .collect()
    }
}
