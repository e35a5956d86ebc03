//! What a shard has of one facility that its clients follow.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use uuid::Uuid;

use super::pushed::Pushed;
use crate::{cache::memory::Memory, domain::day::Day};

/// A facility that somebody follows.
pub struct FacilityCell {
    /// The facility.
    pub id: Uuid,
    /// What is known of it.
    pub state: RefCell<CellState>,
}

/// What is known of a facility.
#[derive(Default)]
pub struct CellState {
    /// Its today; `None` before it was read.
    pub day: Option<Day>,
    /// The newest state; `None` before it was read.
    pub newest: Option<Arc<Pushed>>,
    /// The greatest version of this day in this epoch.
    floor: i64,
    /// A version that a client has and this server has not; 0: none.
    pub least: i64,
    /// It is being read.
    pub loading: bool,
    /// Later watermarks do not count for it: it has to be read again.
    pub is_doubtful: bool,
    /// It is read again from this tick on.
    pub retry_tick: u64,
    /// Clients may show it.
    pub is_shown: bool,
    /// There is no such facility.
    pub is_gone: bool,
    /// The places of its clients: the connection, and the slot there.
    pub viewers: Vec<(usize, u32)>,
}

/// What a new state changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Its clients are to get it.
    New,
    /// They have it already.
    Same,
    /// It is older, or of another day.
    Old,
}

impl FacilityCell {
    /// Nothing is known yet.
    pub fn new(id: Uuid) -> Rc<Self> {
        Rc::new(FacilityCell { id, state: RefCell::default() })
    }

    /// The newest state.
    pub fn newest(&self) -> Option<Arc<Pushed>> {
        self.state.borrow().newest.clone()
    }
}

impl CellState {
    /// Takes a state of today, unless it is older than what is there.
    pub fn take(&mut self, pushed: &Arc<Pushed>) -> Taken {
        let Some(day) = self.day else { return Taken::Old };
        let version = pushed.entry.version;
        if pushed.date != day.date || !pushed.entry.is_of(&day) || version < self.floor {
            return Taken::Old;
        }
        let is_same = self.newest.as_ref().is_some_and(|newest| newest.tag == pushed.tag);
        if is_same && self.newest.as_ref().is_some_and(|newest| newest.as_of_ms > pushed.as_of_ms) {
            return Taken::Same;
        }
        self.floor = version;
        self.newest = Some(pushed.clone());
        (self.is_shown, self.is_gone) = (true, false);
        if is_same { Taken::Same } else { Taken::New }
    }

    /// Another day is today: nothing is known of it. Where only the zone is another one, no older
    /// version of this date is shown. Returns whether another date was today before.
    pub fn begin(&mut self, day: Day) -> bool {
        let is_other = self.day.is_some_and(|before| before.date != day.date);
        *self = CellState {
            day: Some(day),
            floor: if is_other { 0 } else { self.floor },
            least: if is_other { 0 } else { self.least.max(self.floor) },
            loading: self.loading,
            is_shown: self.is_shown,
            viewers: std::mem::take(&mut self.viewers),
            ..CellState::default()
        };
        is_other
    }

    /// Another epoch is served, or none is known: what was known does not count. `floor` stays in
    /// the same epoch.
    pub fn clear(&mut self, keeps_floor: bool) {
        self.newest = None;
        self.is_doubtful = false;
        self.loading = false;
        self.retry_tick = 0;
        if !keeps_floor {
            (self.floor, self.least, self.is_shown) = (0, 0, false);
        }
    }

    /// The instant as of which the newest state is exact, in milliseconds, up to `proven_ms`;
    /// `None` where nothing is proven. `proven_ms` was loaded before the last changes were taken.
    pub fn exact_ms(&self, memory: &Memory, proven_ms: i64) -> Option<i64> {
        let (newest, day) = (self.newest.as_ref()?, self.day?);
        let by_watermark = match self.is_doubtful {
            true => newest.as_of_ms,
            false => memory.exact_as_of_ms_within(&newest.entry, proven_ms),
        };
        // What was read may be proven further than the watermark.
        Some(by_watermark.max(newest.as_of_ms).min(proven_ms).min(day.end_ms - 1))
    }

    /// Whether its day cannot be counted: its figures stay as they were.
    pub fn is_still(&self) -> bool {
        self.newest.as_ref().is_some_and(|newest| newest.entry.is_still)
    }

    /// Whether it is to be read, and nobody does.
    pub fn wants_read(&self, memory: &Memory, is_attached: bool, tick: u64) -> bool {
        if self.loading || tick < self.retry_tick || self.is_gone {
            return false;
        }
        match &self.newest {
            None => true,
            Some(newest) if self.is_doubtful || newest.entry.version < self.least => true,
            Some(newest) => is_attached && !memory.is_attached(&newest.entry),
        }
    }
}
