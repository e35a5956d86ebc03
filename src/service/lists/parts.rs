//! The parts of a list: rows found in the table, and days that must be refreshed. The days come
//! from the directory. A row counts only where the table has its facility in the same zone, in the
//! same snapshot.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::{
    domain::summary::{DayKey, Key, Summary, SummaryRow},
    store::TableRead,
};

/// What was found in the table.
pub struct ListRead {
    /// The rows, each with the instant as of which it is exact, in milliseconds.
    pub rows: HashMap<Key, (SummaryRow, i64)>,
    /// The zones of the facilities that exist.
    zones: HashMap<Uuid, String>,
    /// Facilities that have changed, so that their rows are yet to be derived again.
    changing: HashSet<Uuid>,
    directory_ms: i64,
    /// The earliest instant that was proven of a part, in milliseconds.
    pub exact_ms: i64,
}

impl ListRead {
    /// Whether the snapshot had the facility in the zone that the day was taken from.
    pub fn knows(&self, key: &DayKey) -> bool {
        self.zones.get(&key.facility.id) == Some(&key.facility.zone.name)
    }

    /// Nothing yet. No part will count as exact as of a later instant than `directory_ms`, as of
    /// which the directory is exact.
    pub fn of(directory_ms: i64) -> Self {
        ListRead {
            rows: HashMap::new(),
            zones: HashMap::new(),
            changing: HashSet::new(),
            directory_ms,
            exact_ms: directory_ms,
        }
    }

    /// Adds what one statement found, which is proven as of `proven_ms`.
    pub fn add(&mut self, read: TableRead, proven_ms: i64) {
        let proven_ms = proven_ms.min(self.directory_ms);
        self.exact_ms = self.exact_ms.min(proven_ms);
        self.rows.extend(read.rows.into_iter().map(|row| (row.key(), (row, proven_ms))));
        self.zones.extend(read.zones);
        self.changing.extend(read.changing);
    }
}

/// A list that is being put together.
pub struct ListParts {
    keys: Vec<DayKey>,
    found: HashMap<Key, Summary>,
    /// The instant as of which the oldest part is exact, in milliseconds.
    pub exact_ms: i64,
    /// Days to refresh: a today that has no row yet, days for which the table has the row of
    /// another zone, and past days whose facility has changed.
    pub due: Vec<DayKey>,
    /// Facilities that are gone, or in another zone than the directory has.
    pub unknown: Vec<Uuid>,
}

impl ListParts {
    /// The parts of a list of these days, at this time of the database's clock.
    pub fn new(keys: Vec<DayKey>, mut read: ListRead, now_ms: i64) -> Self {
        // However young its rows are, a list is no younger than the directory: facilities that were
        // registered since then are not in it.
        let exact_ms = read.directory_ms;
        let mut parts = ListParts {
            found: HashMap::with_capacity(keys.len()),
            exact_ms,
            due: Vec::new(),
            unknown: Vec::new(),
            keys: Vec::new(),
        };
        for key in &keys {
            let id = key.id();
            let knows = read.knows(key);
            match read.rows.remove(&id) {
                _ if !knows => parts.unknown.push(id.facility_id),
                Some((row, proven_ms)) if row.is_of(&key.day) => {
                    parts.add(row.summary, row.as_of_ms.min(now_ms).max(proven_ms))
                }
                None if key.day.end_ms <= now_ms && !read.changing.contains(&id.facility_id) => {
                    parts.add(Summary::empty(id.facility_id, id.date, true), read.exact_ms)
                }
                _ => parts.due.push(key.clone()),
            }
        }
        ListParts { keys, ..parts }
    }

    fn add(&mut self, summary: Summary, exact_ms: i64) {
        let key = Key { facility_id: summary.facility_id, date: summary.date };
        self.found.insert(key, summary);
        self.exact_ms = self.exact_ms.min(exact_ms);
    }

    /// Adds the rows that a refresh of these days brought. A facility without a row is gone or in
    /// another zone, and goes into `unknown`.
    pub fn take_refreshed(&mut self, due: &[DayKey], rows: impl Iterator<Item = SummaryRow>) {
        let mut rows: HashMap<Key, SummaryRow> = rows.map(|row| (row.key(), row)).collect();
        for key in due {
            match rows.remove(&key.id()).filter(|row| row.is_of(&key.day)) {
                Some(row) => self.add(row.summary, row.as_of_ms),
                None => self.unknown.push(key.facility.id),
            }
        }
    }

    /// The days that were found, in the order of the keys.
    pub fn in_order(mut self) -> Vec<(DayKey, Summary)> {
        let keys = std::mem::take(&mut self.keys);
        keys.into_iter()
            .filter_map(|key| self.found.remove(&key.id()).map(|summary| (key, summary)))
            .collect()
    }
}
