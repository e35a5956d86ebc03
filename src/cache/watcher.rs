//! Who is told what memory takes in. It is told at the same moment, so that nothing that is pushed
//! is ahead of a read, or differs from one.

use std::sync::{Arc, atomic::Ordering};

use uuid::Uuid;

use super::memory::{Entry, Memory};
use crate::{domain::summary::Key, protocol::Position};

/// What memory has taken in.
pub struct Taken<'a> {
    /// The facility-day.
    pub key: Key,
    /// Its state.
    pub entry: &'a Arc<Entry>,
    /// Whether it differs from the one that was held; another one may only be younger.
    pub is_change: bool,
    /// The position of the message that brought it; the next one, where it was read.
    pub at: Position,
    /// It was read, and its message may be yet to come.
    pub is_ahead: bool,
    /// Counts the epochs, as `Memory::epoch_count` does.
    pub epoch: u32,
}

/// Told of what memory takes in, in its order, while memory's lock of the recent changes is held:
/// it must be quick, and must not call memory.
pub trait Watcher: Send + Sync {
    /// Memory holds this entry now.
    fn took(&self, taken: &Taken<'_>);

    /// A message names these facilities: their days without a row count no more.
    fn named_facilities(&self, ids: &[Uuid]);

    /// These facilities were registered, changed or removed, as the directory has read.
    fn changed_facilities(&self, ids: &[Uuid], at: Position);

    /// A watermark was consumed. Called before it counts. The message of each change that was
    /// committed by then is not behind it.
    fn proved(&self, at_ms: i64, at: Position);

    /// A stream session has ended: what is held has to be read again.
    fn broke(&self, at: Position);
}

impl Memory {
    /// Has this one told of all that is taken in from now on. Only the first one counts.
    pub fn watch_by(&self, watcher: Arc<dyn Watcher>) {
        let _ = self.watcher.set(watcher);
    }

    pub(super) fn tell(&self, of: impl FnOnce(&dyn Watcher)) {
        if let Some(watcher) = self.watcher.get() {
            of(&**watcher);
        }
    }

    /// How many epochs have begun.
    pub fn epoch_count(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The newest watermark of this stream session, in milliseconds; `i64::MIN` before the first.
    pub fn proven_ms(&self) -> i64 {
        self.proof().watermark_ms
    }

    /// Records that the directory has changed these facilities. It calls this before it claims to
    /// be exact as of a later instant.
    pub fn note_changed(&self, facilities: &[Uuid]) {
        self.views().note_changed(facilities);
        let recent = self.recent();
        if !facilities.is_empty() {
            self.tell(|watcher| watcher.changed_facilities(facilities, recent.after()));
        }
    }
}
