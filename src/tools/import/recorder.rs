//! A target that remembers what it is given, by the rules of the real one.

use crate::domain::summary::Key;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Applied, ClosedStock, ImportError, ImportTarget, identity::facility_id};
use crate::{
    domain::{
        blood_type::BloodType,
        event::{Entity, Kind, Record, Statement},
    },
    store::FacilityRow,
};

/// 2025-10-09T22:30:00Z: in Warsaw the 10th has begun.
pub const NOW_MS: i64 = 1_760_049_000_000;

/// What a database would hold, by the rules of the real one.
#[derive(Default)]
pub struct Recorder {
    pub records: Mutex<HashMap<(Kind, Uuid), Record>>,
    pub stock: Mutex<BTreeMap<Key, BTreeMap<BloodType, i64>>>,
    /// Calls that will still succeed; `None`: all.
    pub calls_left: Mutex<Option<u32>>,
    /// Milliseconds since `NOW_MS`: one more whenever the time is asked for.
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

    async fn apply(&self, statements: Vec<Statement>) -> Result<Applied, ImportError> {
        self.call()?;
        let mut records = self.records.lock().unwrap();
        let mut applied = Applied::default();
        for Statement { kind, id, record } in statements {
            if record.supersedes(records.get(&(kind, id))) {
                applied.applied += 1;
                records.insert((kind, id), record);
            } else {
                applied.superseded += 1;
            }
        }
        Ok(applied)
    }

    async fn record_stock(&self, days: Vec<ClosedStock>) -> Result<u64, ImportError> {
        self.call()?;
        let mut stock = self.stock.lock().unwrap();
        let mut changed = 0;
        for day in days {
            let stored = stock.entry((day.facility_id, day.date)).or_default();
            let before = stored.clone();
            stored.extend(day.by_blood_type);
            changed += u64::from(*stored != before);
        }
        Ok(changed)
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

    pub fn entities(&self, wanted: Kind) -> Vec<Entity> {
        let records = self.records.lock().unwrap();
        records
            .iter()
            .filter(|((kind, _), _)| *kind == wanted)
            .filter_map(|(_, record)| record.entity.clone())
            .collect()
    }

    pub fn facility_rows(&self) -> Vec<FacilityRow> {
        let records = self.records.lock().unwrap();
        let row = |((_, id), record): (&(Kind, Uuid), &Record)| match &record.entity {
            Some(Entity::Facility { name, timezone }) => {
                Some(FacilityRow::new(*id, name.clone(), timezone.clone()))
            }
            _ => None,
        };
        records.iter().filter_map(row).collect()
    }

    pub fn stock_of(&self, facility: &str, date: &str) -> BTreeMap<BloodType, i64> {
        self.stock
            .lock()
            .unwrap()
            .get(&(facility_id(facility), date.parse().unwrap()))
            .cloned()
            .unwrap_or_default()
    }

    /// Delivered or requested units by instant, in order.
    pub fn units(&self, kind: Kind) -> Vec<(String, Option<i32>)> {
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
