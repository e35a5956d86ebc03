//! A list that is put together from what was found in the table. Its days come from the directory,
//! and a row counts only where the table has the facility in the same zone, in the same snapshot.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::{
    domain::summary::{DayKey, Key, Summary, SummaryRow},
    store::TableRead,
};

/// What was found in the table.
pub struct Read {
    /// Each with the instant as of which it is exact.
    pub rows: HashMap<Key, (SummaryRow, i64)>,
    /// Of the facilities that exist.
    zones: HashMap<Uuid, String>,
    /// Of the facilities that have changed, and whose rows are yet to be derived.
    changing: HashSet<Uuid>,
    directory_ms: i64,
    /// The earliest of what was proven of the parts.
    pub exact_ms: i64,
}

impl Read {
    /// Whether the facility was in the zone that the day was taken from, in the snapshot that was
    /// read.
    pub fn knows(&self, key: &DayKey) -> bool {
        self.zones.get(&key.facility.id) == Some(&key.facility.zone.name)
    }

    /// Nothing yet, for a directory that is exact as of then: what is found proves no more than
    /// which facilities there were.
    pub fn of(directory_ms: i64) -> Self {
        Read {
            rows: HashMap::new(),
            zones: HashMap::new(),
            changing: HashSet::new(),
            directory_ms,
            exact_ms: directory_ms,
        }
    }

    /// Adds what one statement found, of which that much is proven.
    pub fn add(&mut self, read: TableRead, proven_ms: i64) {
        let proven_ms = proven_ms.min(self.directory_ms);
        self.exact_ms = self.exact_ms.min(proven_ms);
        self.rows.extend(read.rows.into_iter().map(|row| (row.key(), (row, proven_ms))));
        self.zones.extend(read.zones);
        self.changing.extend(read.changing);
    }
}

/// A list that is being put together.
pub struct Parts {
    keys: Vec<DayKey>,
    found: HashMap<Key, Summary>,
    /// The instant as of which the oldest of what was found is exact.
    pub exact_ms: i64,
    /// A today that is yet to be opened, days of which the table has another zone's, and days of
    /// which it may have nothing yet.
    pub due: Vec<DayKey>,
    /// Facilities that are gone, or in another zone.
    pub unknown: Vec<Uuid>,
}

impl Parts {
    /// Of these days of the directory, at this time of the database's clock.
    pub fn new(keys: Vec<DayKey>, mut read: Read, now_ms: i64) -> Self {
        // However young its rows are, a list is no younger than the directory: who came since then
        // is not in it.
        let exact_ms = read.directory_ms;
        let mut parts = Parts {
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
                _ if !knows => parts.unknown.push(id.0),
                Some((row, proven_ms)) if row.is_of(&key.day) => {
                    parts.add(row.summary, row.as_of_ms.min(now_ms).max(proven_ms))
                }
                None if key.day.end_ms <= now_ms && !read.changing.contains(&id.0) => {
                    parts.add(Summary::empty(id.0, id.1, true), read.exact_ms)
                }
                _ => parts.due.push(key.clone()),
            }
        }
        Parts { keys, ..parts }
    }

    fn add(&mut self, summary: Summary, exact_ms: i64) {
        self.found.insert((summary.facility_id, summary.date), summary);
        self.exact_ms = self.exact_ms.min(exact_ms);
    }

    /// Adds what a refresh of these days brought. It leaves out those of facilities that are gone,
    /// or in another zone by now.
    pub fn take_refreshed(&mut self, due: &[DayKey], rows: impl Iterator<Item = SummaryRow>) {
        let mut rows: HashMap<Key, SummaryRow> = rows.map(|row| (row.key(), row)).collect();
        for key in due {
            match rows.remove(&key.id()).filter(|row| row.is_of(&key.day)) {
                Some(row) => self.add(row.summary, row.as_of_ms),
                None => self.unknown.push(key.facility.id),
            }
        }
    }

    /// The days that were found, in the order of the directory.
    pub fn in_order(mut self) -> Vec<(DayKey, Summary)> {
        let keys = std::mem::take(&mut self.keys);
        keys.into_iter()
            .filter_map(|key| self.found.remove(&key.id()).map(|summary| (key, summary)))
            .collect()
    }
}
