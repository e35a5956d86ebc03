//! A target that remembers what it gets, by the rules of the real one.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::{ClosedStock, ImportError, ImportTarget, Part, StatementCounts, identity::facility_id};
use crate::{
    domain::{
        blood_type::BloodType,
        event::{Entity, EntityKind, Record, Statement},
        summary::Key,
    },
    service::imports::Recorded,
    store::{
        FacilityRow,
        imports::{EqualRows, Finished, Import, NewImport},
    },
};

/// The time of the database: 2025-10-09T22:30:00Z. In Warsaw, the 10th has begun.
pub const NOW_MS: i64 = 1_760_049_000_000;

/// What a database would have, by the rules of the real one.
#[derive(Default)]
pub struct Recorder {
    /// The newest record of each entity.
    pub records: Mutex<HashMap<(EntityKind, Uuid), Record>>,
    /// The closing stock of each facility-day, in units by blood type.
    pub stock: Mutex<BTreeMap<Key, BTreeMap<BloodType, i64>>>,
    /// All imports, in the order of their ids, which begin at 1.
    pub imports: Mutex<Vec<Import>>,
    /// The fingerprint of each row that an import names.
    pub noted: Mutex<HashMap<(Uuid, i32), i64>>,
    /// How many more calls will succeed; `None`: all.
    pub calls_left: Mutex<Option<u32>>,
    /// Milliseconds since `NOW_MS`: each question for the time adds one.
    clock: AtomicI64,
}

#[async_trait]
impl ImportTarget for Recorder {
    async fn now_ms(&self) -> Result<i64, ImportError> {
        Ok(NOW_MS + self.clock.fetch_add(1, Ordering::Relaxed))
    }

    async fn facilities(&self) -> Result<Vec<FacilityRow>, ImportError> {
        Ok(self.facility_rows())
    }

    async fn imports(&self) -> Result<Vec<Import>, ImportError> {
        Ok(self.imports.lock().unwrap().clone())
    }

    async fn begin(&self, new: &NewImport) -> Result<i32, ImportError> {
        let mut imports = self.imports.lock().unwrap();
        if let Some(again) =
            imports.iter().find(|import| import.what.fingerprint == new.fingerprint)
        {
            return Ok(again.id);
        }
        let id = imports.len() as i32 + 1;
        imports.push(Import {
            id,
            what: new.clone(),
            started_ms: NOW_MS,
            finished_ms: None,
            rows_in: 0,
            rows_skipped: 0,
            rejects: None,
            undo_began_ms: None,
            undone_ms: None,
        });
        Ok(id)
    }

    async fn finish(&self, import: i32, finished: &Finished) -> Result<(), ImportError> {
        let mut imports = self.imports.lock().unwrap();
        let import = imports.iter_mut().find(|known| known.id == import).unwrap();
        (import.finished_ms, import.rows_in, import.rows_skipped) =
            (Some(NOW_MS), finished.rows_in, finished.rows_skipped);
        import.rejects = finished.rejects.clone();
        Ok(())
    }

    async fn rows_in(&self, kind: EntityKind, ids: &[Uuid]) -> Result<HashSet<Uuid>, ImportError> {
        let records = self.records.lock().unwrap();
        Ok(ids.iter().filter(|id| records.contains_key(&(kind, **id))).copied().collect())
    }

    async fn claims(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, i32)>, ImportError> {
        Ok(self
            .noted
            .lock()
            .unwrap()
            .keys()
            .filter(|(row, _)| ids.contains(row))
            .copied()
            .collect())
    }

    async fn equal_rows(
        &self,
        _kind: EntityKind,
        _source: &str,
        _rows: &[EqualRows],
    ) -> Result<Vec<(String, u64)>, ImportError> {
        Ok(Vec::new()) // Only the databases compare rows of other sources.
    }

    async fn apply(
        &self,
        part: Part,
        statements: Vec<Statement>,
        _claims: Vec<(Uuid, i64)>,
    ) -> Result<StatementCounts, ImportError> {
        self.call()?;
        let mut records = self.records.lock().unwrap();
        let mut applied = StatementCounts::default();
        for Statement { kind, id, record } in statements {
            let is_new = record.supersedes(records.get(&(kind, id)));
            applied.applied += u64::from(is_new);
            applied.superseded += u64::from(!is_new);
            if !part.dry_run {
                self.noted.lock().unwrap().insert((id, part.import), record.fingerprint());
                if is_new {
                    records.insert((kind, id), record);
                }
            }
        }
        Ok(applied)
    }

    async fn record_stock(
        &self,
        part: Part,
        days: Vec<ClosedStock>,
    ) -> Result<Recorded, ImportError> {
        self.call()?;
        let mut stock = self.stock.lock().unwrap();
        let mut recorded = Recorded::default();
        for day in days {
            let key = day.key();
            let mut new = stock.get(&key).cloned().unwrap_or_default();
            new.extend(day.by_blood_type);
            recorded.changed += u64::from(stock.get(&key) != Some(&new));
            if !part.dry_run {
                stock.insert(key, new);
            }
        }
        Ok(recorded)
    }
}

impl Recorder {
    fn call(&self) -> Result<(), ImportError> {
        match self.calls_left.lock().unwrap().as_mut() {
            Some(0) => Err(ImportError::Target("the database is gone".into())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// All entities of a kind that exist.
    pub fn entities(&self, wanted: EntityKind) -> Vec<Entity> {
        let records = self.records.lock().unwrap();
        records
            .iter()
            .filter(|((kind, _), _)| *kind == wanted)
            .filter_map(|(_, record)| record.entity.clone())
            .collect()
    }

    /// All registered facilities.
    pub fn facility_rows(&self) -> Vec<FacilityRow> {
        let records = self.records.lock().unwrap();
        let row = |((_, id), record): (&(EntityKind, Uuid), &Record)| match &record.entity {
            Some(Entity::Facility { name, timezone }) => {
                Some(FacilityRow::new(*id, name.clone(), timezone.clone()))
            }
            _ => None,
        };
        records.iter().filter_map(row).collect()
    }

    /// The closing stock of the facility with that name; empty when none was recorded.
    pub fn stock_of(&self, facility: &str, date: &str) -> BTreeMap<BloodType, i64> {
        self.stock
            .lock()
            .unwrap()
            .get(&Key { facility_id: facility_id(facility), date: date.parse().unwrap() })
            .cloned()
            .unwrap_or_default()
    }

    /// Delivered or requested units by instant, in order.
    pub fn units(&self, kind: EntityKind) -> Vec<(String, Option<i32>)> {
        let instant = |ms: i64| Timestamp::from_millisecond(ms).unwrap().to_string();
        let mut units: Vec<_> = (self.entities(kind).into_iter())
            .filter_map(|entity| match entity {
                Entity::Distribution { date_delivered_ms: Some(at), quantity, .. } => {
                    Some((instant(at), Some(quantity)))
                }
                Entity::Request { created_at_ms, quantity, .. } => {
                    Some((instant(created_at_ms), quantity))
                }
                _ => None,
            })
            .collect();
        units.sort();
        units
    }
}
