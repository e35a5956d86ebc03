//! A target that keeps in memory what the service would get, by its rule of which statement wins.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Mutex,
};

use async_trait::async_trait;
use facility_summary::{
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
    tools::import::{ClosedStock, ImportError, ImportTarget, Part, StatementCounts},
};
use uuid::Uuid;

/// The time of the database: 2025-10-09T22:30:00Z.
pub const NOW_MS: i64 = 1_760_049_000_000;

pub type Stock = BTreeMap<Key, BTreeMap<BloodType, i64>>;

#[derive(Default)]
pub struct Recorder {
    known: Mutex<HashMap<(EntityKind, Uuid), Record>>,
    statements: Mutex<Vec<Statement>>,
    stock: Mutex<Stock>,
}

impl Recorder {
    /// All statements, in the order in which they came.
    pub fn statements(&self) -> Vec<Statement> {
        self.statements.lock().expect("one thread").clone()
    }

    pub fn stock(&self) -> Stock {
        self.stock.lock().expect("one thread").clone()
    }
}

#[async_trait]
impl ImportTarget for Recorder {
    async fn now_ms(&self) -> Result<i64, ImportError> {
        Ok(NOW_MS)
    }

    async fn facilities(&self) -> Result<Vec<FacilityRow>, ImportError> {
        let known = self.known.lock().expect("one thread");
        let row = |((_, id), record): (&(EntityKind, Uuid), &Record)| match &record.entity {
            Some(Entity::Facility { name, timezone }) => {
                Some(FacilityRow::new(*id, name.clone(), timezone.clone()))
            }
            _ => None,
        };
        Ok(known.iter().filter_map(row).collect())
    }

    async fn imports(&self) -> Result<Vec<Import>, ImportError> {
        Ok(Vec::new())
    }

    async fn begin(&self, _new: &NewImport) -> Result<i32, ImportError> {
        Ok(1)
    }

    async fn finish(&self, _import: i32, _finished: &Finished) -> Result<(), ImportError> {
        Ok(())
    }

    async fn rows_in(&self, kind: EntityKind, ids: &[Uuid]) -> Result<HashSet<Uuid>, ImportError> {
        let known = self.known.lock().expect("one thread");
        Ok(ids.iter().filter(|id| known.contains_key(&(kind, **id))).copied().collect())
    }

    async fn claims(&self, _ids: &[Uuid]) -> Result<Vec<(Uuid, i32)>, ImportError> {
        Ok(Vec::new())
    }

    async fn equal_rows(
        &self,
        _kind: EntityKind,
        _source: &str,
        _rows: &[EqualRows],
    ) -> Result<Vec<(String, u64)>, ImportError> {
        Ok(Vec::new())
    }

    async fn apply(
        &self,
        _part: Part,
        statements: Vec<Statement>,
        _claims: Vec<(Uuid, i64)>,
    ) -> Result<StatementCounts, ImportError> {
        let mut known = self.known.lock().expect("one thread");
        let mut applied = StatementCounts::default();
        for Statement { kind, id, record } in &statements {
            if record.supersedes(known.get(&(*kind, *id))) {
                applied.applied += 1;
                known.insert((*kind, *id), record.clone());
            } else {
                applied.superseded += 1;
            }
        }
        self.statements.lock().expect("one thread").extend(statements);
        Ok(applied)
    }

    async fn record_stock(
        &self,
        _part: Part,
        days: Vec<ClosedStock>,
    ) -> Result<Recorded, ImportError> {
        let mut stock = self.stock.lock().expect("one thread");
        let mut recorded = Recorded::default();
        for day in days {
            let (key, by_blood_type) = (day.key(), day.by_blood_type);
            assert!(by_blood_type.values().all(|units| *units >= 0));
            let stored = stock.entry(key).or_default();
            let before = stored.clone();
            stored.extend(by_blood_type);
            recorded.changed += u64::from(*stored != before);
        }
        Ok(recorded)
    }
}
