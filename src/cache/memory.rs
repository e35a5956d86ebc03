//! The memory tier: rendered bodies, each with the instant as of which it is known to be exact.
//!
//! The proof rule: an entry is exact as of its own `as_of_ms`. The drain's watermark counts for it too, but only where this process has
//! seen every change published since before the entry was read (`joined`), and none of them was newer for its key. To judge that, the
//! recent changes are remembered; a fill that lost a race to one of them is thrown away and read again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use jiff::civil::Date;
use moka::sync::Cache;
use uuid::Uuid;

use super::entry::Days;
pub use super::entry::Entry;
use crate::domain::summary::SummaryRow;

pub type Key = (Uuid, Date);

/// A bounded number of bytes of entries, and the proof that they are exact.
pub struct Memory {
    cache: Cache<Uuid, Arc<Days>>,
    /// Whoever puts an entry holds this from reading the facility's days to replacing them.
    recent: Mutex<Recent>,
    watermark_ms: AtomicI64,
    table_ms: AtomicI64,
}

/// The newest changes, in the order in which they were published.
struct Recent {
    capacity: usize,
    /// Position of the oldest remembered change.
    start: u64,
    /// What was read at a position before this one may lack changes that were never seen here.
    floor: u64,
    queue: VecDeque<(Key, i64)>,
    newest: HashMap<Key, (u64, i64)>,
}

/// What became of a fill.
#[derive(Debug)]
pub enum Fill {
    /// The entry now in memory: the filled one, or one at least as good.
    Kept(Arc<Entry>),
    /// A newer version was published meanwhile: read again.
    LostRace,
}

impl Memory {
    /// Holds at most `max_bytes`, and remembers `recent_changes` changes.
    pub fn new(max_bytes: u64, recent_changes: usize) -> Self {
        Memory {
            cache: Cache::builder().max_capacity(max_bytes).weigher(|_, days: &Arc<Days>| days.weight()).build(),
            recent: Mutex::new(Recent { capacity: recent_changes, start: 0, floor: 0, queue: VecDeque::new(), newest: HashMap::new() }),
            watermark_ms: AtomicI64::new(i64::MIN),
            table_ms: AtomicI64::new(i64::MIN),
        }
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.cache.get(&key.0)?.get(key.1).cloned()
    }

    /// Puts an entry in its place. The caller holds `recent`.
    fn put(&self, key: Key, entry: Arc<Entry>) {
        let days = self.cache.get(&key.0).unwrap_or_default().with(key.1, entry);
        self.cache.insert(key.0, Arc::new(days));
    }

    /// The instant as of which an entry is known to be exact.
    pub fn exact_as_of_ms(&self, entry: &Entry) -> i64 {
        let proven = if entry.joined { entry.as_of_ms.max(self.watermark_ms()) } else { entry.as_of_ms };
        proven.min(entry.holds_until_ms - 1)
    }

    /// Everything committed up to then has been dealt with and published; `i64::MIN` before the first proof.
    pub fn watermark_ms(&self) -> i64 {
        self.watermark_ms.load(Ordering::Acquire)
    }

    /// Announces a watermark. The caller has published every change committed up to it.
    pub fn advance_watermark(&self, to_ms: i64) {
        self.watermark_ms.fetch_max(to_ms, Ordering::AcqRel);
    }

    /// The stored rows are exact as of then, whoever wrote them; the entries here only as of the watermark, which is never later.
    pub fn table_ms(&self) -> i64 {
        self.table_ms.load(Ordering::Acquire)
    }

    /// Announces that everything visible then has been dealt with in the table.
    pub fn advance_table(&self, to_ms: i64) {
        self.table_ms.fetch_max(to_ms, Ordering::AcqRel);
    }

    /// The position to take before reading what is to be filled.
    pub fn position(&self) -> u64 {
        let recent = self.recent();
        recent.start + recent.queue.len() as u64
    }

    /// Puts rows that were committed, in any order and any number of times. `position` was taken before they were derived or read.
    /// What a refresh found unchanged comes here, too: whoever changed it may not have published it yet, and the watermark relies on it.
    pub fn publish<'a>(&self, position: u64, rows: impl Iterator<Item = &'a SummaryRow>) {
        let mut recent = self.recent();
        for row in rows {
            let (key, version) = ((row.summary.facility_id, row.summary.date), row.summary.version);
            let known = recent.newest.get(&key).map_or(0, |(_, known)| *known);
            if known > version {
                continue;
            }
            if known < version {
                recent.remember(key, version);
            }
            match self.get(&key) {
                Some(held) if held.version > version || (held.version == version && held.as_of_ms >= row.as_of_ms) => {}
                _ => self.put(key, Arc::new(Entry::new(row, row.as_of_ms, recent.joins(position)))),
            }
        }
    }

    /// Puts a row that was read after `position` was taken, exact as of `as_of_ms`.
    pub fn fill(&self, position: u64, row: &SummaryRow, as_of_ms: i64) -> Fill {
        let recent = self.recent();
        let (key, version) = ((row.summary.facility_id, row.summary.date), row.summary.version);
        if recent.newest.get(&key).is_some_and(|(_, known)| *known > version) {
            return Fill::LostRace;
        }
        let joined = recent.joins(position);
        if let Some(held) = self.get(&key)
            && (held.version > version || (held.version == version && self.exact_as_of_ms(&held) >= as_of_ms && (held.joined || !joined)))
        {
            return Fill::Kept(held);
        }
        let entry = Arc::new(Entry::new(row, as_of_ms, joined));
        self.put(key, entry.clone());
        Fill::Kept(entry)
    }

    /// Whether this version of the key, or a newer one, was published here not long ago.
    pub fn has_seen(&self, key: &Key, version: i64) -> bool {
        self.recent().newest.get(key).is_some_and(|(_, known)| *known >= version)
    }

    /// Drops all days of a facility that was removed.
    pub fn forget_facility(&self, facility: Uuid) {
        let _recent = self.recent();
        self.cache.invalidate(&facility);
    }

    /// Drops everything, and lets no watermark count for what was read before: another server's changes may have passed unseen.
    pub fn forget_all(&self) {
        let mut recent = self.recent();
        // No facility's: it parts the positions before from those after.
        recent.remember((Uuid::nil(), Date::MIN), i64::MIN);
        recent.floor = recent.start + recent.queue.len() as u64;
        self.cache.iter().for_each(|(facility, _)| self.cache.invalidate(&*facility));
    }

    /// For a database whose clock was set back (a failover to one that is behind, a corrected machine): what was proven up to a later
    /// time says nothing any more, so everything is dropped and proven anew.
    pub fn start_over(&self) {
        self.watermark_ms.store(i64::MIN, Ordering::Release);
        self.table_ms.store(i64::MIN, Ordering::Release);
        self.forget_all();
    }

    /// Summaries held, and the bytes that they weigh. Walks the tier: for health and metrics.
    pub fn size(&self) -> (u64, u64) {
        self.cache.iter().fold((0, 0), |(entries, bytes), (_, days)| (entries + days.len() as u64, bytes + u64::from(days.weight())))
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    /// Whether all changes since the position were seen here and are remembered.
    fn joins(&self, position: u64) -> bool {
        self.start.max(self.floor) <= position
    }

    fn remember(&mut self, key: Key, version: i64) {
        let position = self.start + self.queue.len() as u64;
        self.queue.push_back((key, version));
        self.newest.insert(key, (position, version));
        while self.queue.len() > self.capacity {
            if let Some((oldest, _)) = self.queue.pop_front() {
                if self.newest.get(&oldest).is_some_and(|(at, _)| *at == self.start) {
                    self.newest.remove(&oldest);
                }
                self.start += 1;
            }
        }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
