//! Facilities named by messages and not read since. A watermark counts once all facilities named
//! before it are read. One task reads them, however many messages arrive while the database is out
//! of reach.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use tokio::sync::Notify;
use uuid::Uuid;

/// The most ids in the set. Above this number all facilities are read, which then costs less.
const MOST: usize = 10_000;

/// What is to be read.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadTask {
    /// All facilities.
    All,
    /// The facilities with these ids.
    These(Vec<Uuid>),
}

/// The set, and the instant as of which the directory is exact.
#[derive(Debug)]
pub(super) struct Unread {
    state: Mutex<UnreadState>,
    message_received: Notify,
    exact_as_of_ms: AtomicI64,
}

#[derive(Debug, Default)]
struct UnreadState {
    /// The number of the epoch. What was proven in one epoch does not count in the next.
    epoch: u32,
    /// The number of messages so far.
    messages: u64,
    all: Option<MessageSpan>,
    ids: HashMap<Uuid, MessageSpan>,
    /// Watermarks that do not count yet: the oldest, and the newest. The oldest is kept when newer
    /// ones come, so that a constant flow of messages cannot keep every watermark from counting.
    oldest: Option<PendingWatermark>,
    newest: Option<PendingWatermark>,
}

/// The numbers of the first and the last message that named a facility (or all) that was not read
/// since. If a message names it during the read, it is read again.
#[derive(Debug, Clone, Copy)]
struct MessageSpan {
    first: u64,
    last: u64,
}

#[derive(Debug, Clone, Copy)]
struct PendingWatermark {
    at_ms: i64,
    /// The number of messages before it.
    messages: u64,
}

impl Default for Unread {
    fn default() -> Self {
        Unread {
            state: Mutex::default(),
            message_received: Notify::new(),
            exact_as_of_ms: AtomicI64::new(i64::MIN),
        }
    }
}

impl Unread {
    /// The greatest watermark that counts, in milliseconds; `i64::MIN` before the first.
    pub fn exact_as_of_ms(&self) -> i64 {
        self.exact_as_of_ms.load(Ordering::Acquire)
    }

    /// Whether all facilities that messages have named are read.
    pub fn is_empty(&self) -> bool {
        let state = self.state();
        state.all.is_none() && state.ids.is_empty()
    }

    /// The number of the epoch.
    pub fn epoch(&self) -> u32 {
        self.state().epoch
    }

    /// Records that these facilities are to be read; `None`: all facilities.
    pub fn note_message(&self, ids: Option<Vec<Uuid>>) {
        self.state().hear(ids);
        self.message_received.notify_one();
    }

    /// Records a watermark: the directory is exact as of `at_ms` once everything recorded until now
    /// has been read. Ignored where another epoch has begun since `epoch`.
    pub fn prove(&self, epoch: u32, at_ms: i64) {
        let mut state = self.state();
        if state.epoch == epoch {
            let watermark = PendingWatermark { at_ms, messages: state.messages };
            match &mut state.oldest {
                None => state.oldest = Some(watermark),
                Some(_) => state.newest = Some(watermark),
            }
            self.count(&mut state);
        }
    }

    /// Records that all facilities were read at `at_ms` or later, in that epoch.
    pub fn prove_read(&self, epoch: u32, at_ms: i64) {
        let state = self.state();
        if state.epoch == epoch {
            self.exact_as_of_ms.fetch_max(at_ms, Ordering::AcqRel);
        }
    }

    /// Begins another epoch: nothing is proven any more, and all facilities are to be read.
    pub fn start_over(&self) {
        let mut state = self.state();
        state.epoch += 1;
        (state.oldest, state.newest) = (None, None);
        self.exact_as_of_ms.store(i64::MIN, Ordering::Release);
        state.hear(None);
        drop(state);
        self.message_received.notify_one();
    }

    /// Waits for something to read.
    pub async fn next(&self) -> ReadTask {
        loop {
            if let Some(next) = self.state().task() {
                return next;
            }
            self.message_received.notified().await;
        }
    }

    /// The number of messages so far. The caller takes it before it reads facilities, and passes it
    /// to `read`.
    pub fn messages(&self) -> u64 {
        self.state().messages
    }

    /// Records that these facilities, or all, were read, and that the read began after the given
    /// number of messages.
    pub fn read(&self, ids: Option<&[Uuid]>, messages: u64) {
        let mut state = self.state();
        match ids {
            None => {
                state.all = state.all.and_then(|told| told.after(messages));
                state.ids.retain(|_, told| told.after(messages).map(|left| *told = left).is_some());
            }
            Some(ids) => {
                for id in ids {
                    match state.ids.get(id).map(|told| told.after(messages)) {
                        Some(Some(left)) => drop(state.ids.insert(*id, left)),
                        Some(None) => drop(state.ids.remove(id)),
                        None => {}
                    }
                }
            }
        }
        self.count(&mut state);
    }

    /// Makes a watermark count once all facilities named before it are read.
    fn count(&self, state: &mut UnreadState) {
        let oldest_unread = state
            .all
            .iter()
            .chain(state.ids.values())
            .map(|told| told.first)
            .min()
            .unwrap_or(u64::MAX);
        for _ in 0..2 {
            let Some(watermark) =
                state.oldest.filter(|watermark| watermark.messages < oldest_unread)
            else {
                return;
            };
            self.exact_as_of_ms.fetch_max(watermark.at_ms, Ordering::AcqRel);
            state.oldest = state.newest.take();
        }
    }

    fn state(&self) -> MutexGuard<'_, UnreadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnreadState {
    fn hear(&mut self, ids: Option<Vec<Uuid>>) {
        self.messages += 1;
        let told = MessageSpan { first: self.messages, last: self.messages };
        for id in ids.iter().flatten() {
            self.ids.entry(*id).and_modify(|known| known.last = told.last).or_insert(told);
        }
        if ids.is_none() || self.ids.len() > MOST {
            let first = self
                .ids
                .drain()
                .map(|(_, told)| told.first)
                .chain(self.all.map(|all| all.first))
                .min();
            self.all = Some(MessageSpan { first: first.unwrap_or(told.first), last: told.last });
        }
    }

    fn task(&self) -> Option<ReadTask> {
        match self.all {
            Some(_) => Some(ReadTask::All),
            None if self.ids.is_empty() => None,
            None => Some(ReadTask::These(self.ids.keys().copied().collect())),
        }
    }
}

impl MessageSpan {
    /// What is left to be read after a read that began after the given number of messages.
    fn after(self, messages: u64) -> Option<MessageSpan> {
        (self.last > messages)
            .then(|| MessageSpan { first: self.first.max(messages + 1), last: self.last })
    }
}

#[cfg(test)]
#[path = "unread_tests.rs"]
mod tests;
