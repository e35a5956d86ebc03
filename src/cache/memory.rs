//! The memory tier: rendered bodies, each with the instant as of which it is known to be exact.
//!
//! The proof rule: an entry is exact as of its own `as_of_ms`, and every change committed after
//! that stands in the change stream behind a position known with it. Watermarks that come by later
//! count for it too, but only where this process has itself seen every message behind that
//! position, without a gap, and none of them held a newer version of its key (it is *attached*). To
//! judge that, the recent changes are remembered; an entry that lost a race to one of them is
//! thrown away and read again. A message is judged like any other entry: it may be an old one,
//! published again. A gap ends the exactness of all that is held; the entries stay, as exact as
//! they were.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, AtomicU32, Ordering},
};

use arc_swap::ArcSwap;
use jiff::civil::Date;
use moka::sync::Cache;
use uuid::Uuid;

pub use super::entry::Entry;
use super::{entry::Days, recent_changes::RecentChanges};
use crate::{
    changes::{Message, Position, StoredEntry},
    domain::summary::SummaryRow,
};

pub type Key = (Uuid, Date);

/// A bounded number of bytes of entries, and the proof that they are exact.
pub struct Memory {
    cache: Cache<Uuid, Arc<Days>>,
    /// Whoever puts an entry, or ends a session, holds this meanwhile.
    recent: Mutex<RecentChanges>,
    /// The newest watermark that came by.
    watermark_ms: AtomicI64,
    /// The newest that came by in this session: after a gap older messages may be read again, and
    /// for what they bring only the watermarks behind them count.
    proven_ms: AtomicI64,
    /// Counts the gaps: the session that an entry must be attached to for the watermark to count.
    session: AtomicU32,
    closed: ArcSwap<ClosedSessions>,
    table_ms: AtomicI64,
}

/// What the newest ended sessions had proven. What belongs to an older one has only its own
/// instant.
#[derive(Default, Clone)]
struct ClosedSessions {
    first: u32,
    watermarks: Vec<i64>,
}

/// Ended sessions that are remembered.
const CLOSED_SESSIONS: usize = 64;

/// Where one stood before reading what is to be filled: what came by since then speaks against it.
#[derive(Debug, Clone, Copy)]
pub struct FillToken {
    epoch: u32,
    pub position: Position,
}

/// What became of a fill.
#[derive(Debug)]
pub enum Fill {
    /// The entry now in memory: the filled one, or one at least as good.
    Kept(Arc<Entry>),
    /// A newer version came by meanwhile, or another history began: read again.
    LostRace,
}

/// What a message was to its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consumed {
    Next,
    /// Something between this message and the one before was missed: a new session began with it.
    Gap,
    /// It was consumed before.
    Old,
    /// Another history of the database is served by now: it says nothing there.
    OtherEpoch,
}

impl Memory {
    /// Holds at most `max_bytes`, and remembers `recent_changes` changes. The stream is consumed
    /// from the position on.
    pub fn new(max_bytes: u64, recent_changes: usize, at: Position) -> Self {
        Memory {
            cache: Cache::builder()
                .max_capacity(max_bytes)
                .weigher(|_, days: &Arc<Days>| days.weight())
                .build(),
            recent: Mutex::new(RecentChanges::new(recent_changes, at)),
            watermark_ms: AtomicI64::new(i64::MIN),
            proven_ms: AtomicI64::new(i64::MIN),
            session: AtomicU32::new(1),
            closed: ArcSwap::from_pointee(ClosedSessions { first: 1, watermarks: Vec::new() }),
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

    /// The instant as of which an entry is known to be exact, whatever has become of its facility.
    pub fn exact_as_of_ms(&self, entry: &Entry) -> i64 {
        self.exact_as_of_ms_within(entry, i64::MAX)
    }

    /// The same for whoever has the facility from a directory that is exact as of `directory_ms`:
    /// in what zone it is later, and whether it is there at all, no watermark says to a reader
    /// who does not know.
    pub fn exact_as_of_ms_within(&self, entry: &Entry, directory_ms: i64) -> i64 {
        // The watermark before the session: were it read after, one of the next session might be
        // taken for this entry's.
        let watermark_ms = self.proven_ms.load(Ordering::Acquire);
        let proven_ms = match entry.session {
            None => i64::MIN,
            Some(session) if session == self.session.load(Ordering::Acquire) => watermark_ms,
            Some(session) => self.closed.load().watermark_ms(session),
        };
        entry.as_of_ms.max(proven_ms.min(directory_ms)).min(entry.holds_until_ms - 1)
    }

    /// Whether watermarks to come count for the entry.
    pub fn is_attached(&self, entry: &Entry) -> bool {
        entry.session == Some(self.session.load(Ordering::Acquire))
    }

    /// Everything committed up to then has been dealt with and has come by; `i64::MIN` before the
    /// first proof.
    pub fn watermark_ms(&self) -> i64 {
        self.watermark_ms.load(Ordering::Acquire)
    }

    /// The rows of the table are exact as of then, whoever wrote them; the entries here only as of
    /// the watermark, which is never later.
    pub fn table_ms(&self) -> i64 {
        self.table_ms.load(Ordering::Acquire)
    }

    /// Takes note that everything visible then has been dealt with in the table.
    pub fn advance_table(&self, to_ms: i64) {
        self.table_ms.fetch_max(to_ms, Ordering::AcqRel);
    }

    /// To be taken before reading what is to be filled.
    pub fn fill_token(&self) -> FillToken {
        let recent = self.recent();
        FillToken { epoch: recent.epoch, position: recent.at }
    }

    /// Whether the token was taken in the history of the database that is served now.
    pub fn is_current(&self, token: &FillToken) -> bool {
        self.recent().epoch == token.epoch
    }

    /// Consumes the message at a position of the stream, of the history that was served at the
    /// token. One that does not follow the last begins a new session.
    pub fn consume(&self, token: &FillToken, at: Position, message: &Message) -> Consumed {
        let mut recent = self.recent();
        let consumed = if recent.epoch != token.epoch {
            return Consumed::OtherEpoch;
        } else if at.generation == recent.at.generation && at.number <= recent.at.number {
            return Consumed::Old;
        } else if at.generation == recent.at.generation && at.number == recent.at.number + 1 {
            Consumed::Next
        } else {
            self.close_session();
            recent.begin(Some(Position { number: at.number - 1, ..at }));
            Consumed::Gap
        };
        recent.at = at;
        self.take_in(&mut recent, message);
        consumed
    }

    /// Consumes the next message where the stream is within this process.
    pub fn consume_next(&self, message: &Message) {
        let mut recent = self.recent();
        recent.at.number += 1;
        self.take_in(&mut recent, message);
    }

    /// The same for rows that were committed, or found unchanged, from this token on.
    pub fn publish<'a>(&self, token: &FillToken, rows: impl Iterator<Item = &'a SummaryRow>) {
        let mut recent = self.recent();
        if recent.epoch == token.epoch {
            recent.at.number += 1;
            rows.for_each(|row| self.take_in_row(&mut recent, token.position, row));
        }
    }

    fn take_in(&self, recent: &mut RecentChanges, message: &Message) {
        match message {
            Message::Summaries(entries) => {
                entries.iter().for_each(|entry| self.take_in_row(recent, entry.since, &entry.row))
            }
            Message::Watermark { at_ms } => {
                self.watermark_ms.fetch_max(*at_ms, Ordering::AcqRel);
                self.proven_ms.fetch_max(*at_ms, Ordering::AcqRel);
                self.advance_table(*at_ms);
            }
            Message::Facilities(_) | Message::Begun => {}
        }
    }

    fn take_in_row(&self, recent: &mut RecentChanges, since: Position, row: &SummaryRow) {
        let (key, version) = (row.key(), row.summary.version);
        let known = recent.version(&key);
        if known > version || recent.is_of_former_life(key.0, version) {
            return;
        }
        if known < version {
            recent.remember(key, version);
        }
        self.keep(recent, since, row, row.as_of_ms);
    }

    /// Puts a row that was read from this token on, exact as of `as_of_ms`, where every change
    /// committed after that stands behind `since`: the token's own position for what the
    /// primary answered, a recorded one for what lay elsewhere.
    pub fn fill(
        &self,
        token: &FillToken,
        since: Position,
        row: &SummaryRow,
        as_of_ms: i64,
    ) -> Fill {
        let recent = self.recent();
        let (key, version) = (row.key(), row.summary.version);
        if recent.epoch != token.epoch
            || recent.version(&key) > version
            || recent.is_of_former_life(key.0, version)
        {
            return Fill::LostRace;
        }
        Fill::Kept(self.keep(&recent, since, row, as_of_ms))
    }

    /// Keeps the better of this row and the entry held, and answers it.
    fn keep(
        &self,
        recent: &RecentChanges,
        since: Position,
        row: &SummaryRow,
        as_of_ms: i64,
    ) -> Arc<Entry> {
        let (key, version) = (row.key(), row.summary.version);
        // That a day has no row is proven of the zone that the facility was in: where it has gone
        // to another and come back, no message tells of this day. So no later watermark
        // counts for it, and it is soon read again.
        let attached = version != 0 && recent.joins(since);
        if let Some(held) = self.get(&key)
            && (held.version > version
                || (held.version == version
                    // Of another zone's day of that name the later row tells what the facility's day is now.
                    && (held.bounds == row.bounds || held.as_of_ms > as_of_ms)
                    && self.exact_as_of_ms(&held) >= as_of_ms
                    && (self.is_attached(&held) || !attached)))
        {
            return held;
        }
        let session = attached.then(|| self.session.load(Ordering::Acquire));
        let entry = Arc::new(Entry::new(row, as_of_ms, session));
        self.put(key, entry.clone());
        entry
    }

    /// Takes in rows that were committed, or read, from this token on, where the stream is between
    /// processes; answers them as the others are to get them. None where another history has
    /// begun since.
    pub fn take_own<'a>(
        &self,
        token: &FillToken,
        rows: impl Iterator<Item = &'a SummaryRow>,
    ) -> Vec<StoredEntry> {
        let entries: Vec<StoredEntry> =
            rows.map(|row| StoredEntry { row: row.clone(), since: token.position }).collect();
        for entry in &entries {
            // A row that lost a race to a newer one is passed on all the same: others may hold an
            // older one still.
            let _ = self.fill(token, entry.since, &entry.row, entry.row.as_of_ms);
        }
        if self.is_current(token) { entries } else { Vec::new() }
    }

    /// Whether this version of the key, or a newer one, came by not long ago; in this generation of
    /// the stream, if one is given.
    pub fn has_seen(&self, generation: Option<i64>, key: &Key, version: i64) -> bool {
        let recent = self.recent();
        generation.is_none_or(|generation| generation == recent.at.generation)
            && recent.version(key) >= version
    }

    /// The greatest version of the key that anybody is known to have committed; 0 for none, and in
    /// another life of its facility.
    pub fn known_version(&self, key: &Key) -> i64 {
        let recent = self.recent();
        let held = self.get(key).map_or(0, |entry| entry.version);
        let version = recent.version(key).max(held);
        if recent.is_of_former_life(key.0, version) { 0 } else { version }
    }

    /// Drops all days of a facility that was removed.
    pub fn forget_facility(&self, facility: Uuid) {
        let _recent = self.recent();
        self.cache.invalidate(&facility);
    }

    /// A facility that was removed has come back: versions up to this one are of its former life,
    /// and count no more.
    pub fn begin_life(&self, facility: Uuid, removed_at_version: i64) {
        let mut recent = self.recent();
        if recent.begin_life(facility, removed_at_version) {
            self.cache.invalidate(&facility);
        }
    }

    /// Whether the version is of a former life of the facility.
    pub fn is_of_former_life(&self, facility: Uuid, version: i64) -> bool {
        self.recent().is_of_former_life(facility, version)
    }

    /// Something may have been missed: what is held stays as exact as it is, and no later watermark
    /// counts for it, nor for what was read before now. The stream goes on from the position;
    /// within one process, from the next.
    pub fn start_new_session(&self, at: Option<Position>) {
        let mut recent = self.recent();
        self.close_session();
        recent.begin(at);
    }

    /// The caller holds `recent`.
    fn close_session(&self) {
        let mut closed = ClosedSessions::clone(&self.closed.load());
        closed.watermarks.push(self.proven_ms.swap(i64::MIN, Ordering::AcqRel));
        if closed.watermarks.len() > CLOSED_SESSIONS {
            closed.watermarks.remove(0);
            closed.first += 1;
        }
        self.closed.store(Arc::new(closed));
        self.session.fetch_add(1, Ordering::AcqRel);
    }

    /// For another history of the database (a failover that lost something, a backup restored, a
    /// clock set back): what was proven in the one before says nothing any more, so everything
    /// is dropped and proven anew.
    pub fn start_over(&self, at: Option<Position>) {
        let mut recent = self.recent();
        self.watermark_ms.store(i64::MIN, Ordering::Release);
        self.table_ms.store(i64::MIN, Ordering::Release);
        self.proven_ms.store(i64::MIN, Ordering::Release);
        self.close_session();
        recent.begin(at);
        recent.epoch += 1;
        recent.removed_at.clear();
        self.cache.iter().for_each(|(facility, _)| self.cache.invalidate(&*facility));
    }

    /// Summaries held, and the bytes that they weigh. Walks the tier: for health and metrics.
    pub fn size(&self) -> (u64, u64) {
        self.cache.iter().fold((0, 0), |(entries, bytes), (_, days)| {
            (entries + days.len() as u64, bytes + u64::from(days.weight()))
        })
    }

    fn recent(&self) -> MutexGuard<'_, RecentChanges> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClosedSessions {
    fn watermark_ms(&self, session: u32) -> i64 {
        let place =
            session.checked_sub(self.first).and_then(|place| self.watermarks.get(place as usize));
        place.copied().unwrap_or(i64::MIN)
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
