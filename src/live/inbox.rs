//! What waits for a shard: the newest state of each followed facility-day, never a queue of states.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use uuid::Uuid;

use super::{loader::Loaded, pushed::Pushed};
use crate::domain::summary::Key;

/// The way from the hub to a shard.
#[derive(Default)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    notify: Notify,
}

/// What waits, and what the shard wants to hear of.
#[derive(Default)]
struct Waiting {
    followed: HashMap<Uuid, usize>,
    /// How many of its clients follow all facilities.
    follow_all: usize,
    got: Got,
}

/// What has come since the shard looked last.
#[derive(Default)]
pub struct Got {
    /// The newest state of each day.
    pub changes: HashMap<Key, Arc<Pushed>>,
    /// The facilities that were registered, changed or removed.
    pub facilities: HashSet<Uuid>,
    /// What was read.
    pub loaded: Vec<Loaded>,
    /// What is held has to be looked at again.
    pub broke: bool,
    /// The server stops.
    pub drains: bool,
}

impl Inbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the shard hears of this facility, once for each call.
    pub fn follow(&self, facility: Uuid) {
        *self.waiting().followed.entry(facility).or_default() += 1;
    }

    /// Takes back one call of `follow`.
    pub fn leave(&self, facility: Uuid) {
        let mut waiting = self.waiting();
        if let Some(count) = waiting.followed.get_mut(&facility) {
            *count -= 1;
            if *count == 0 {
                waiting.followed.remove(&facility);
            }
        }
    }

    /// How many clients of the shard follow a facility.
    pub fn viewers_of(&self, facility: Uuid) -> usize {
        self.waiting().followed.get(&facility).copied().unwrap_or(0)
    }

    /// Adds how many clients of the shard follow each facility.
    pub fn add_viewers(&self, counts: &mut HashMap<Uuid, usize>) {
        for (facility, count) in &self.waiting().followed {
            *counts.entry(*facility).or_default() += count;
        }
    }

    /// Another client, or one less, follows all facilities. Returns how many do.
    pub fn follow_all(&self, more: bool) -> usize {
        let mut waiting = self.waiting();
        waiting.follow_all = match more {
            true => waiting.follow_all + 1,
            false => waiting.follow_all.saturating_sub(1),
        };
        waiting.follow_all
    }

    /// A state, if the shard follows it. It takes the place of an older one. Returns whether one
    /// was replaced that nobody has seen.
    pub fn push(&self, key: &Key, pushed: &Arc<Pushed>) -> bool {
        let replaced = {
            let mut waiting = self.waiting();
            if waiting.follow_all == 0 && !waiting.followed.contains_key(&key.facility_id) {
                return false;
            }
            waiting.got.changes.insert(*key, pushed.clone()).is_some()
        };
        self.notify.notify_one();
        replaced
    }

    /// Changes something else that the shard is to hear of.
    pub fn tell(&self, change: impl FnOnce(&mut Got)) {
        change(&mut self.waiting().got);
        self.notify.notify_one();
    }

    /// Takes what has come.
    pub fn take(&self) -> Got {
        std::mem::take(&mut self.waiting().got)
    }

    /// Waits until something has come.
    pub async fn arrived(&self) {
        self.notify.notified().await;
    }
}
