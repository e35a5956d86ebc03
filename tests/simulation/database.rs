//! The database: sources, rows, marks, outbox, and what the fleet agrees on. Each method is one statement or one commit.

use std::{collections::HashMap, sync::Arc};

use facility_summary::{
    cache::memory::Key,
    domain::{
        day::Day,
        facility::{Facility, Zone},
        summary::{Summary, SummaryRow},
    },
    store::{Epoch, Mark, MarkKind, Observation, TableRead, Triggers, Watermark},
};
use jiff::civil::Date;
use uuid::Uuid;

/// Two days of one facility, and one of another.
pub const KEYS: usize = 3;
const FACILITY: [usize; KEYS] = [0, 0, 1];
pub const FACILITIES: usize = 2;

pub fn facility(k: usize) -> usize {
    FACILITY[k]
}

pub fn key(k: usize) -> Key {
    (Uuid::from_u128(FACILITY[k] as u128 + 1), Date::constant(2026, 11, 20 + k as i8))
}

pub fn index(key: &Key) -> usize {
    (0..KEYS).find(|k| self::key(*k) == *key).expect("a key of the simulation")
}

pub fn day(k: usize) -> Day {
    Day { date: key(k).1, start_ms: i64::MIN, end_ms: i64::MAX }
}

/// Of the facility of a key.
pub fn facility_of(k: usize) -> Facility {
    Facility { id: key(k).0, name: String::new(), zone: Arc::new(Zone::utc_named("UTC")) }
}

fn zones() -> HashMap<Uuid, String> {
    (0..KEYS).map(|k| (key(k).0, "UTC".to_owned())).collect()
}

/// Changes of one key that a schedule has room for: each is a bit of the figures.
pub const CHANGES: u32 = 62;

/// A change of a key's sources, or units that expire.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    pub at: i64,
    /// Units expire then, and nobody writes it.
    pub is_expiry: bool,
    /// How often the clock had been set back by then.
    pub era: usize,
    /// Of the figures that have seen it. Units replaced by others of the same count change none.
    pub bit: i64,
}

/// Where the figures of a row are the changes that they have seen.
pub fn row(k: usize, version: i64, seen: i64, as_of_ms: i64, next_expires_at_ms: Option<i64>) -> SummaryRow {
    let (facility, date) = key(k);
    let summary = Summary { version, total_transferred: seen, ..Summary::empty(facility, date, false) };
    SummaryRow { summary, as_of_ms, next_expires_at_ms, bounds: None }
}

#[derive(Clone)]
pub struct Database {
    /// What names its history: a restore or a failover changes the first, a new salt the second.
    pub timeline: u32,
    pub salt: u32,
    pub sources: [Vec<Change>; KEYS],
    pub rows: [SummaryRow; KEYS],
    pub versions: [i64; FACILITIES],
    /// (id, key)
    pub marks: Vec<(i64, usize)>,
    /// (id, key, version)
    pub outbox: Vec<(i64, usize, i64)>,
    pub next_id: i64,
    pub generation: i64,
    pub watermark: Option<(Watermark, (u32, u32))>,
}

pub fn epoch((timeline, salt): (u32, u32)) -> Epoch {
    Epoch::of(&format!("{timeline}.{salt}"))
}

impl Database {
    pub fn new() -> Self {
        Database {
            timeline: 1,
            salt: 1,
            sources: Default::default(),
            rows: std::array::from_fn(|k| row(k, 1, 0, 0, None)),
            versions: [1; FACILITIES],
            marks: Vec::new(),
            outbox: Vec::new(),
            next_id: 0,
            generation: 0,
            watermark: None,
        }
    }

    pub fn identity(&self) -> (u32, u32) {
        (self.timeline, self.salt)
    }

    pub fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    pub fn stored_watermark(&self) -> Option<Watermark> {
        self.watermark.filter(|(_, of)| *of == self.identity()).map(|(watermark, _)| watermark)
    }

    /// Row and watermark in one statement.
    pub fn read(&self, keys: &[usize]) -> TableRead {
        let rows = keys.iter().map(|k| self.rows[*k].clone()).collect();
        TableRead { rows, zones: zones(), epoch: epoch(self.identity()), watermark: self.stored_watermark(), replica: None }
    }

    /// The same on a streaming replica, which knows the epoch of its watermark only.
    pub fn read_nearby(&self, k: usize) -> Option<TableRead> {
        let (watermark, of) = self.watermark?;
        let rows = vec![self.rows[k].clone()];
        Some(TableRead { rows, zones: zones(), epoch: epoch(of), watermark: Some(watermark), replica: None })
    }

    pub fn observe(&self, now: i64, batch: usize, arrived: bool) -> Observation {
        let mark = |(id, k): &(i64, usize)| Mark {
            id: *id,
            kind: MarkKind::Activity,
            facility_id: Some(key(*k).0),
            span: Some((*k as i64, *k as i64)),
            blood_bank_id: None,
        };
        Observation {
            at_ms: now,
            marks: self.marks.iter().take(batch).map(mark).collect(),
            strays: Vec::new(),
            triggers: Triggers::default(),
            outbox: self.outbox.iter().take(batch).map(|(id, k, version)| (*id, key(*k).0, key(*k).1, *version)).collect(),
            changed_facilities: Vec::new(),
            expiry_due: self.rows.iter().any(|row| row.next_expires_at_ms.is_some_and(|at| at <= now)),
            epoch: epoch(self.identity()),
            generation: self.generation,
            stored_watermark: self.stored_watermark(),
            verified_through_ms: None,
            servers: 3,
            off_stream: 0,
            arrived,
            leads: true,
        }
    }

    pub fn store_watermark(&mut self, watermark: Watermark, of: &Epoch) -> bool {
        let rises = self.stored_watermark().is_none_or(|stored| stored.at_ms < watermark.at_ms);
        let stores = rises && epoch(self.identity()) == *of;
        if stores {
            self.watermark = Some((watermark, self.identity()));
        }
        stores
    }

    pub fn begin_generation(&mut self, after: i64) -> Option<i64> {
        (self.generation == after).then(|| {
            self.generation += 1;
            self.generation
        })
    }

    pub fn begin_epoch(&mut self, old: &Epoch, salt: u32) {
        if epoch(self.identity()) == *old {
            self.salt = salt;
            self.watermark = None;
        }
    }

    pub fn forget(&mut self, ids: &[i64]) {
        self.outbox.retain(|(id, ..)| !ids.contains(id));
    }
}
