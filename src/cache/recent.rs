//! The newest changes of the stream, remembered to judge entries that raced with them.

use std::collections::{HashMap, VecDeque};

use super::memory::Key;
use crate::changes::Position;

/// What this process has consumed of the stream, and of that the newest changes. All of it since `start` is remembered.
pub(super) struct Recent {
    /// Changes remembered at most.
    capacity: usize,
    /// Counts the histories of the database: what was read in another one is no figure of this one.
    pub reign: u32,
    /// Everything up to here was consumed.
    pub at: Position,
    start: i64,
    queue: VecDeque<(i64, Key, i64)>,
    newest: HashMap<Key, (i64, i64)>,
}

impl Recent {
    pub fn new(capacity: usize, at: Position) -> Self {
        Recent { capacity, reign: 0, at, start: at.number, queue: VecDeque::new(), newest: HashMap::new() }
    }

    /// Whether every change since the position was seen here, and is remembered.
    pub fn joins(&self, since: Position) -> bool {
        since.generation == self.at.generation && (self.start..=self.at.number).contains(&since.number)
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

    /// Begins anew at a position, by default the next: nothing is known of what was before it.
    pub fn begin(&mut self, at: Option<Position>) {
        self.at = at.unwrap_or(Position { number: self.at.number + 1, ..self.at });
        self.start = self.at.number;
        self.queue.clear();
        self.newest.clear();
    }
}
