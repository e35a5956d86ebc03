//! The newest changes of the stream, remembered to judge entries that raced with them.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::{domain::summary::Key, protocol::Position};

/// What this process has consumed of the stream, and of that the newest changes. All of it since
/// `start` is remembered.
pub(super) struct RecentChanges {
    /// Changes remembered at most.
    capacity: usize,
    /// Counts the histories of the database: what was read in another one is no figure of this
    /// one.
    pub epoch: u32,
    /// Everything up to here was consumed.
    pub at: Position,
    start: i64,
    queue: VecDeque<(i64, Key, i64)>,
    newest: HashMap<Key, (i64, i64)>,
    /// Of facilities that have come back: the greatest version of the life before.
    pub removed_at: HashMap<Uuid, i64>,
}

impl RecentChanges {
    pub fn new(capacity: usize, at: Position) -> Self {
        RecentChanges {
            capacity,
            epoch: 0,
            at,
            start: at.number,
            queue: VecDeque::new(),
            newest: HashMap::new(),
            removed_at: HashMap::new(),
        }
    }

    /// Whether every change since the position was seen here, and is remembered.
    pub fn joins(&self, since: Position) -> bool {
        since.generation == self.at.generation
            && (self.start..=self.at.number).contains(&since.number)
    }

    /// The newest version of the key that came by and is remembered; 0 for none.
    pub fn version(&self, key: &Key) -> i64 {
        self.newest.get(key).map_or(0, |(_, version)| *version)
    }

    /// Remembers a change in the message consumed last.
    pub fn remember(&mut self, key: Key, version: i64) {
        self.queue.push_back((self.at.number, key, version));
        self.newest.insert(key, (self.at.number, version));
        while self.queue.len() > self.capacity {
            let Some((number, oldest, version)) = self.queue.pop_front() else { break };
            if self.newest.get(&oldest) == Some(&(number, version)) {
                self.newest.remove(&oldest);
            }
            self.start = number;
        }
    }

    /// Versions of the facility up to this one are of its former life, and speak against none of
    /// the new one: a day that has no row yet is of version 0. True where that is new.
    pub fn begin_life(&mut self, facility: Uuid, removed_at_version: i64) -> bool {
        let is_new =
            self.removed_at.insert(facility, removed_at_version) != Some(removed_at_version);
        if is_new {
            self.newest
                .retain(|(of, _), (_, version)| *of != facility || *version > removed_at_version);
        }
        is_new
    }

    /// Whether the version is of a former life of the facility. 0, of a day without a row, is of
    /// any.
    pub fn is_of_former_life(&self, facility: Uuid, version: i64) -> bool {
        version != 0
            && self.removed_at.get(&facility).is_some_and(|removed_at| version <= *removed_at)
    }

    /// Begins anew at a position, by default the next: nothing is known of what was before it.
    pub fn begin(&mut self, at: Option<Position>) {
        self.at = at.unwrap_or(Position { number: self.at.number + 1, ..self.at });
        self.start = self.at.number;
        self.queue.clear();
        self.newest.clear();
    }
}
