//! Redis: a stream for each history, appended to as `src/redis/*.lua` do it, and the tier.

use std::{collections::HashMap, rc::Rc};

use facility_summary::protocol::{Epoch, Position, StoredEntry};

#[derive(Clone)]
pub struct Message {
    pub at: Position,
    pub run: u32,
    pub payload: Rc<[u8]>,
}

#[derive(Clone, Default)]
pub struct Stream {
    pub entries: Vec<Message>,
    /// The last number ever given.
    pub last: i64,
}

#[derive(Clone, Default)]
pub struct Redis {
    pub run: u32,
    pub is_down: bool,
    pub streams: HashMap<Epoch, Stream>,
    pub tier: HashMap<(Option<Epoch>, usize), StoredEntry>,
}

impl Redis {
    /// `append.lua`, except that `of_any_run` leaves out its check of that.
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

    /// `begin.lua`.
    pub fn begin(&mut self, epoch: &Epoch, generation: i64, payload: &[u8]) {
        let stream = self.streams.entry(epoch.clone()).or_default();
        if stream.entries.last().is_some_and(|last| last.at.generation >= generation) {
            return;
        }
        stream.last += 1;
        let at = Position { generation, number: stream.last };
        stream.entries.push(Message { at, run: self.run, payload: payload.into() });
    }

    /// The tier's rule: never an older version, nor an older proof of the same.
    pub fn put(&mut self, epoch: Option<Epoch>, k: usize, entry: StoredEntry) {
        let rank = |entry: &StoredEntry| (entry.row.summary.version, entry.row.as_of_ms);
        let place = (epoch, k);
        if self.tier.get(&place).is_none_or(|held| rank(held) < rank(&entry)) {
            self.tier.insert(place, entry);
        }
    }

    /// A replica of it is promoted, which has all but the last `lost` messages of each stream.
    pub fn promoted(&self, lost: usize) -> Redis {
        let mut copy = self.clone();
        copy.restart(lost);
        copy.run += 1_000; // which no restart of the old one counts up to
        copy
    }

    /// Restarted from its file, which lacks the last `lost` messages of each stream.
    pub fn restart(&mut self, lost: usize) {
        self.run += 1;
        for stream in self.streams.values_mut() {
            stream.entries.truncate(stream.entries.len().saturating_sub(lost));
            if lost > 0 {
                stream.last = stream.entries.last().map_or(0, |last| last.at.number);
            }
        }
    }

    pub fn empty(&mut self) {
        self.streams.clear();
        self.tier.clear();
    }

    /// Keeps the last `keep` messages.
    pub fn trim(&mut self, keep: usize) {
        for stream in self.streams.values_mut() {
            let gone = stream.entries.len().saturating_sub(keep);
            stream.entries.drain(..gone);
        }
    }
}
