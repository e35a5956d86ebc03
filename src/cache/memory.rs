//! The memory tier: rendered summaries, each with the instant as of which it is known to be exact.
//!
//! The rule: an entry is exact as of its own `as_of_ms`, and every change committed after that
//! instant stands in the change stream behind the entry's position. Later watermarks count for an
//! entry only while it is *attached*: this process has itself consumed every message behind that
//! position, without a gap, and none of them held a newer version of the entry's key. To judge
//! that, this module remembers the recent changes. A row that is older than a change of its key
//! loses the race: it is not kept, and is read again. A message is judged like any other row, since
//! it may be an old message that was published again. A gap in the stream ends the stream session:
//! no later watermark counts for the entries held. The entries stay, as exact as they were.

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicI64, AtomicU32, Ordering},
};

use arc_swap::ArcSwap;
use moka::sync::Cache;
use prometheus::Histogram;
use uuid::Uuid;

pub use super::entry::Entry;
use super::{
    closed_sessions::ClosedSessions,
    days::FacilityDays,
    recent_changes::RecentChanges,
    views::{Proof, ViewBounds, Views},
    watcher::Watcher,
};
use crate::{
    domain::summary::{Key, KnownFigures, SummaryRow},
    protocol::{Message, Position},
};

/// The entries, bounded in bytes, and the proof of how exact they are.
pub struct Memory {
    cache: Cache<Uuid, Arc<FacilityDays>>,
    /// What was consumed of the stream. The lock is held while an entry is put and while a stream
    /// session ends.
    recent: Mutex<RecentChanges>,
    /// The newest watermark consumed, in milliseconds.
    watermark_ms: AtomicI64,
    /// The newest watermark consumed in this stream session, in milliseconds. After a gap older
    /// messages may be read again. For the rows in them only the watermarks that stand behind them
    /// in the stream count.
    proven_ms: AtomicI64,
    /// The number of the stream session. An entry must be attached to this session for the
    /// watermark to count.
    session: AtomicU32,
    closed: ArcSwap<ClosedSessions>,
    table_ms: AtomicI64,
    /// The figures that the sources have.
    known: KnownFigures,
    pub(super) views: Views,
    /// Counts the epochs, as the recent changes do.
    pub(super) epoch: AtomicU32,
    pub(super) watcher: OnceLock<Arc<dyn Watcher>>,
}

/// A token that is taken before a read. It says which epoch was served and which position was
/// consumed at that time, and so decides whether the result of the read may still be put: a change
/// that was consumed since may be newer.
#[derive(Debug, Clone, Copy)]
pub struct FillToken {
    pub(super) epoch: u32,
    /// Every change that the read may have missed stands behind this position.
    pub position: Position,
}

/// The result of a fill.
#[derive(Debug)]
pub enum Fill {
    /// The entry that memory holds now: the filled one, or another that is as good or better.
    Kept(Arc<Entry>),
    /// A newer version was consumed meanwhile, or another epoch began. The caller reads again.
    LostRace,
}

/// How a message relates to the one consumed before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consumed {
    Next,
    /// At least one message before this one was missed. A new stream session began with it.
    Gap,
    /// It was consumed before, and is ignored.
    Old,
    /// Another epoch is served by now. The message was ignored, as it says nothing about that
    /// epoch.
    OtherEpoch,
}

impl Memory {
    /// Holds at most `max_bytes` of entries and remembers at most `recent_changes` changes. The
    /// stream is consumed from position `at` on.
    pub fn new(max_bytes: u64, recent_changes: usize, at: Position) -> Self {
        Memory {
            cache: Cache::builder()
                .max_capacity(max_bytes)
                .weigher(|_, days: &Arc<FacilityDays>| days.weight())
                .build(),
            recent: Mutex::new(RecentChanges::new(recent_changes, at)),
            watermark_ms: AtomicI64::new(i64::MIN),
            proven_ms: AtomicI64::new(i64::MIN),
            session: AtomicU32::new(1),
            closed: ArcSwap::from_pointee(ClosedSessions::default()),
            table_ms: AtomicI64::new(i64::MIN),
            known: KnownFigures::ALL,
            views: Views::new(ViewBounds::default(), KnownFigures::ALL, None),
            epoch: AtomicU32::new(0),
            watcher: OnceLock::new(),
        }
    }

    /// The same where the sources have only these figures.
    pub fn showing(self, known: KnownFigures) -> Self {
        Memory { known, ..self }
    }

    /// The same with other bounds of its views; `timer` takes the time of each change of them, in
    /// seconds.
    pub fn with_views(self, bounds: ViewBounds, timer: Option<Histogram>) -> Self {
        Memory { views: Views::new(bounds, self.known, timer), ..self }
    }

    /// Renders a row that is exact as of `as_of_ms`, and does not put it.
    pub fn entry_of(&self, row: &SummaryRow, as_of_ms: i64, session: Option<u32>) -> Entry {
        Entry::new(row, as_of_ms, session, self.known)
    }

    /// The days of all facilities that are held.
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// The entry of a key, whatever its age.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.cache.get(&key.facility_id)?.get(key.date).cloned()
    }

    /// All days of a facility that are held, as they are at one moment.
    pub fn days(&self, facility: Uuid) -> Option<Arc<FacilityDays>> {
        self.cache.get(&facility)
    }

    /// Puts an entry in the place of the key's old one. The caller holds `recent`.
    pub(super) fn put(&self, key: Key, entry: Arc<Entry>) {
        let days = self.cache.get(&key.facility_id).unwrap_or_default().with(key.date, entry);
        self.put_days(key.facility_id, days);
    }

    /// Puts a facility's days in the place of those held. The caller holds `recent`.
    pub(super) fn put_days(&self, facility: Uuid, days: FacilityDays) {
        self.cache.insert(facility, Arc::new(days));
    }

    /// The instant as of which an entry is known to be exact, in milliseconds, regardless of
    /// changes of its facility.
    pub fn exact_as_of_ms(&self, entry: &Entry) -> i64 {
        self.exact_as_of_ms_within(entry, i64::MAX)
    }

    /// The same, for a reader that has the facility from a directory that is exact as of
    /// `directory_ms`. Watermarks count only up to that instant: the reader does not know in which
    /// zone the facility was later, or whether it still existed.
    pub fn exact_as_of_ms_within(&self, entry: &Entry, directory_ms: i64) -> i64 {
        let proven_ms = self.proven_in(entry.session);
        entry.as_of_ms.max(proven_ms.min(directory_ms)).min(entry.holds_until_ms - 1)
    }

    /// The present proof.
    pub(super) fn proof(&self) -> Proof {
        // In this order, as in `proven_in`.
        let watermark_ms = self.proven_ms.load(Ordering::Acquire);
        Proof { watermark_ms, session: self.session() }
    }

    /// The newest watermark that counts for the entries of a stream session, in milliseconds.
    pub(super) fn proven_in(&self, session: Option<u32>) -> i64 {
        // The watermark is loaded before the session. In the other order a watermark of the next
        // session might be taken for one of this entry's session.
        let watermark_ms = self.proven_ms.load(Ordering::Acquire);
        match session {
            None => i64::MIN,
            Some(session) if session == self.session() => watermark_ms,
            Some(session) => self.closed.load().watermark_ms(session),
        }
    }

    /// The number of the stream session.
    pub(super) fn session(&self) -> u32 {
        self.session.load(Ordering::Acquire)
    }

    /// Whether later watermarks will count for the entry.
    pub fn is_attached(&self, entry: &Entry) -> bool {
        entry.session == Some(self.session())
    }

    /// The newest watermark, in milliseconds: every change committed up to then was refreshed in
    /// the table and was consumed. `i64::MIN` before the first.
    pub fn watermark_ms(&self) -> i64 {
        self.watermark_ms.load(Ordering::Acquire)
    }

    /// The instant as of which the rows of the table are exact, in milliseconds, whichever server
    /// wrote them. The entries in memory are exact only as of the watermark, which is never later.
    pub fn table_ms(&self) -> i64 {
        self.table_ms.load(Ordering::Acquire)
    }

    /// Records that everything visible at `to_ms` was refreshed in the table.
    pub fn advance_table(&self, to_ms: i64) {
        self.table_ms.fetch_max(to_ms, Ordering::AcqRel);
    }

    /// The token for a fill. The caller takes it before it reads.
    pub fn fill_token(&self) -> FillToken {
        let recent = self.recent();
        FillToken { epoch: recent.epoch, position: recent.at }
    }

    /// Whether the epoch in which the token was taken is still served.
    pub fn is_current(&self, token: &FillToken) -> bool {
        self.recent().epoch == token.epoch
    }

    /// Consumes the message at position `at` of the stream. The token names the epoch that the
    /// stream belongs to. A message that does not follow the last one begins a new stream session.
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
            self.tell(|watcher| watcher.broke(recent.at));
            Consumed::Gap
        };
        recent.at = at;
        self.take_in(&mut recent, message);
        consumed
    }

    /// Consumes the next message of a stream that is within this process.
    pub fn consume_next(&self, message: &Message) {
        let mut recent = self.recent();
        recent.at.number += 1;
        self.take_in(&mut recent, message);
    }

    /// Consumes rows that were committed, or found unchanged, by a transaction that began after the
    /// token. For a stream that is within this process.
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
                self.tell(|watcher| watcher.proved(*at_ms, recent.at));
                self.watermark_ms.fetch_max(*at_ms, Ordering::AcqRel);
                self.proven_ms.fetch_max(*at_ms, Ordering::AcqRel);
                self.advance_table(*at_ms);
                self.views.drop_idle(*at_ms);
            }
            Message::Facilities(ids) => {
                ids.iter().for_each(|id| {
                    recent.remember_facility(*id);
                    self.drop_empty_days(*id);
                });
                self.views.drop_empty(ids, self.session());
                self.tell(|watcher| watcher.named_facilities(ids));
            }
            Message::Begun => {}
        }
    }

    fn take_in_row(&self, recent: &mut RecentChanges, since: Position, row: &SummaryRow) {
        let (key, version) = (row.key(), row.summary.version);
        let known = recent.version(&key);
        if known > version || recent.is_of_former_life(key.facility_id, version) {
            return;
        }
        if known < version {
            recent.remember(key, version);
        }
        self.keep(recent, (recent.at, false), since, row, row.as_of_ms);
    }

    /// Whether this version of the key, or a newer one, was consumed and is still remembered; if
    /// `generation` is given, in that generation of the stream.
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
        if recent.is_of_former_life(key.facility_id, version) { 0 } else { version }
    }

    /// Drops all days of a facility that was removed.
    pub fn forget_facility(&self, facility: Uuid) {
        let _recent = self.recent();
        self.cache.invalidate(&facility);
        self.views.forget_facility(facility, self.session());
    }

    /// Records that a removed facility was registered again. Versions up to `removed_at_version`
    /// are of its former life, and do not count any more.
    pub fn begin_life(&self, facility: Uuid, removed_at_version: i64) {
        let mut recent = self.recent();
        if recent.begin_life(facility, removed_at_version) {
            self.cache.invalidate(&facility);
            self.views.forget_facility(facility, self.session());
        }
    }

    /// Whether the version is of a former life of the facility.
    pub fn is_of_former_life(&self, facility: Uuid, version: i64) -> bool {
        self.recent().is_of_former_life(facility, version)
    }

    /// Ends the stream session, as a message may have been missed. The entries stay as exact as
    /// they are. No later watermark counts for them, nor for rows whose reads began before now. The
    /// stream goes on from `at`; from the next position where it is within this process.
    pub fn start_new_session(&self, at: Option<Position>) {
        let mut recent = self.recent();
        self.close_session();
        recent.begin(at);
        self.tell(|watcher| watcher.broke(recent.at));
    }

    /// The caller holds `recent`.
    fn close_session(&self) {
        let mut closed = ClosedSessions::clone(&self.closed.load());
        closed.push(self.proven_ms.swap(i64::MIN, Ordering::AcqRel));
        self.closed.store(Arc::new(closed));
        self.session.fetch_add(1, Ordering::AcqRel);
    }

    /// Drops everything, as what was proven does not hold in the new epoch: after a failover that
    /// lost something, a restored backup, or a clock that was set back. The stream goes on from
    /// `at`, as in `start_new_session`.
    pub fn start_over(&self, at: Option<Position>) {
        let mut recent = self.recent();
        self.watermark_ms.store(i64::MIN, Ordering::Release);
        self.table_ms.store(i64::MIN, Ordering::Release);
        self.proven_ms.store(i64::MIN, Ordering::Release);
        self.close_session();
        recent.begin(at);
        recent.epoch += 1;
        self.epoch.store(recent.epoch, Ordering::Release);
        self.tell(|watcher| watcher.broke(recent.at));
        recent.removed_at.clear();
        self.views.clear();
        self.cache.iter().for_each(|(facility, _)| self.cache.invalidate(&*facility));
    }

    /// The number of summaries held, and their weight in bytes. It walks the whole tier: use it for
    /// health and metrics only.
    pub fn size(&self) -> (u64, u64) {
        self.cache.iter().fold((0, 0), |(entries, bytes), (_, days)| {
            (entries + days.len() as u64, bytes + u64::from(days.weight()))
        })
    }

    pub(super) fn recent(&self) -> MutexGuard<'_, RecentChanges> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
