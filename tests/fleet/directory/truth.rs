//! The content of the tables over time: the versions of every row in the order of the commits, from
//! the database's own log.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

/// How long after the instant in its log record a commit may become visible, in milliseconds. The
/// server writes the record first, and a busy machine may pause in between.
pub const VISIBLE_MS: i64 = 300;

/// The instants from `from_ms`, as of which an answer is at least exact, to `to_ms`, when it
/// arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from_ms: i64,
    pub to_ms: i64,
}

/// A row after one commit; `row` is `None` if the row does not exist from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version<T> {
    pub from_ms: i64,
    /// In the order of the commits.
    pub commit: usize,
    /// `event_time` of the row, in milliseconds.
    pub stated_ms: i64,
    pub row: Option<T>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facility {
    pub name: String,
    pub zone: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bank {
    pub facility: Uuid,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    pub bank: Uuid,
    /// An index in [`super::seen::TYPES`].
    pub kind: usize,
    pub quantity: i64,
    pub expires_ms: Option<i64>,
}

/// A delivery or a request. The quantity of a request is 1, since requests are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    pub facility: Uuid,
    pub kind: usize,
    pub quantity: i64,
    /// `None` for a delivery that has not arrived.
    pub at_ms: Option<i64>,
}

/// All rows that a table has ever had.
#[derive(Debug, Clone)]
pub struct Table<T>(pub BTreeMap<Uuid, Vec<Version<T>>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(BTreeMap::new())
    }
}

impl<T: PartialEq> Table<T> {
    /// Adds the version of a row that a commit left; `row` is `None` if the commit deletes it.
    pub fn put(&mut self, id: Uuid, from_ms: i64, commit: usize, stated_ms: i64, row: Option<T>) {
        let versions = self.0.entry(id).or_default();
        // Earlier versions of the same transaction were never visible.
        if versions.last().is_some_and(|last| last.commit == commit) {
            versions.pop();
        }
        if row.is_some() || versions.last().is_some_and(|last| last.row.is_some()) {
            versions.push(Version { from_ms, commit, stated_ms, row });
        }
    }

    /// Adds a TRUNCATE.
    pub fn empty(&mut self, from_ms: i64, commit: usize) {
        let ids: Vec<Uuid> = self.0.keys().copied().collect();
        ids.into_iter().for_each(|id| self.put(id, from_ms, commit, from_ms, None));
    }

    pub fn versions(&self, id: Uuid) -> &[Version<T>] {
        self.0.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The states of the row that a read within the window may have found; `None` stands for no
    /// row.
    pub fn possible(&self, id: Uuid, window: Window) -> Vec<Option<&T>> {
        possible(self.versions(id), window).collect()
    }
}

/// [`Table::possible`] of these versions.
pub fn possible<T>(versions: &[Version<T>], window: Window) -> impl Iterator<Item = Option<&T>> {
    let is_over = move |at: usize| {
        versions.get(at).is_some_and(|next| next.from_ms + VISIBLE_MS <= window.from_ms)
    };
    let before = (!is_over(0)).then_some(None);
    let here = versions
        .iter()
        .enumerate()
        .filter(move |(at, version)| version.from_ms <= window.to_ms && !is_over(at + 1));
    before.into_iter().chain(here.map(|(_, version)| version.row.as_ref()))
}

/// All tables.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    pub facilities: Table<Facility>,
    pub banks: Table<Bank>,
    pub units: Table<Unit>,
    pub deliveries: Table<Activity>,
    pub requests: Table<Activity>,
    of: HashMap<Uuid, Concerns>,
}

/// The rows that have ever concerned a facility.
#[derive(Debug, Clone, Default)]
pub struct Concerns {
    pub units: Vec<Uuid>,
    pub deliveries: Vec<Uuid>,
    pub requests: Vec<Uuid>,
}

impl Truth {
    /// Notes which rows concern which facility. Call it when all versions are known.
    pub fn arrange(&mut self) {
        let mut at: HashMap<Uuid, BTreeSet<Uuid>> = HashMap::new();
        for (bank, versions) in &self.banks.0 {
            for row in versions.iter().filter_map(|version| version.row.as_ref()) {
                at.entry(*bank).or_default().insert(row.facility);
            }
        }
        let mut of: HashMap<Uuid, Concerns> = HashMap::new();
        for (unit, versions) in &self.units.0 {
            let banks: BTreeSet<Uuid> =
                versions.iter().filter_map(|version| Some(version.row.as_ref()?.bank)).collect();
            let facilities: BTreeSet<Uuid> =
                banks.iter().filter_map(|bank| at.get(bank)).flatten().copied().collect();
            facilities
                .into_iter()
                .for_each(|facility| of.entry(facility).or_default().units.push(*unit));
        }
        let facilities = |versions: &[Version<Activity>]| -> BTreeSet<Uuid> {
            versions.iter().filter_map(|version| Some(version.row.as_ref()?.facility)).collect()
        };
        for (id, versions) in &self.deliveries.0 {
            facilities(versions)
                .into_iter()
                .for_each(|facility| of.entry(facility).or_default().deliveries.push(*id));
        }
        for (id, versions) in &self.requests.0 {
            facilities(versions)
                .into_iter()
                .for_each(|facility| of.entry(facility).or_default().requests.push(*id));
        }
        self.of = of;
    }

    pub fn concerns(&self, facility: Uuid) -> Option<&Concerns> {
        self.of.get(&facility)
    }
}
