//! The simulated Redis: a stream for each epoch, with the rules of `src/redis/*.lua`, and the tier.

use std::{collections::HashMap, rc::Rc};

use facility_summary::protocol::{Epoch, Position, StoredEntry};

/// A message in a stream.
#[derive(Clone)]
pub struct Message {
    /// Its position.
    pub at: Position,
    /// The run of Redis that it was appended in.
    pub run: u32,
    /// Its content.
    pub payload: Rc<[u8]>,
}

/// The stream of an epoch.
#[derive(Clone, Default)]
pub struct Stream {
    /// Its messages, oldest first.
    pub entries: Vec<Message>,
    /// The last number that was ever given.
    pub last: i64,
}

/// A Redis server.
#[derive(Clone, Default)]
pub struct Redis {
    /// Its run, which changes with every restart.
    pub run: u32,
    /// It does not answer.
    pub is_down: bool,
    /// The stream of each epoch.
    pub streams: HashMap<Epoch, Stream>,
    /// The tier, by epoch and key.
    pub tier: HashMap<(Option<Epoch>, usize), StoredEntry>,
}

impl Redis {
    /// Appends as `append.lua` does. With `of_any_run` it leaves out the check of the run.
    pub fn append(
        &mut self,
        epoch: &Epoch,
        least: i64,
        payload: &[u8],
        of_any_run: bool,
    ) -> Option<Position> {
        let stream = self.streams.get_mut(epoch)?;
        let last = stream.entries.last()?;
        if last.run != self.run && !of_any_run || last.at.generation < least {
            return None;
        }
        let at = Position { generation: last.at.generation, number: stream.last + 1 };
        stream.last = at.number;
        stream.entries.push(Message { at, run: self.run, payload: payload.into() });
        Some(at)
    }

    /// Begins a generation as `begin.lua` does.
    pub fn begin(&mut self, epoch: &Epoch, generation: i64, payload: &[u8]) {
        let stream = self.streams.entry(epoch.clone()).or_default();
        if stream.entries.last().is_some_and(|last| last.at.generation >= generation) {
            return;
        }
        stream.last += 1;
        let at = Position { generation, number: stream.last };
        stream.entries.push(Message { at, run: self.run, payload: payload.into() });
    }

    /// Puts an entry into the tier. It replaces no newer version, and no later proof of the same
    /// version.
    pub fn put(&mut self, epoch: Option<Epoch>, k: usize, entry: StoredEntry) {
        let rank = |entry: &StoredEntry| (entry.row.summary.version, entry.row.as_of_ms);
        let place = (epoch, k);
        if self.tier.get(&place).is_none_or(|held| rank(held) < rank(&entry)) {
            self.tier.insert(place, entry);
        }
    }

    /// A promoted replica of this Redis, which lacks the last `lost` messages of each stream.
    pub fn promoted(&self, lost: usize) -> Redis {
        let mut copy = self.clone();
        copy.restart(lost);
        copy.run += 1_000; // a number that the old primary does not reach by restarts
        copy
    }

    /// Restarts this Redis from its file, which lacks the last `lost` messages of each stream.
    pub fn restart(&mut self, lost: usize) {
        self.run += 1;
        for stream in self.streams.values_mut() {
            stream.entries.truncate(stream.entries.len().saturating_sub(lost));
            if lost > 0 {
                stream.last = stream.entries.last().map_or(0, |last| last.at.number);
            }
        }
    }

    /// Loses everything.
    pub fn empty(&mut self) {
        self.streams.clear();
        self.tier.clear();
    }

    /// Keeps the last `keep` messages of each stream.
    pub fn trim(&mut self, keep: usize) {
        for stream in self.streams.values_mut() {
            let gone = stream.entries.len().saturating_sub(keep);
            stream.entries.drain(..gone);
        }
    }
}
