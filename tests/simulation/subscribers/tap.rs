//! What memory tells the hub goes through here. Mutants change or hold back some of it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use facility_summary::{
    cache::{
        memory::Entry,
        watcher::{Taken, Watcher},
    },
    domain::summary::Key,
    live::hub::Hub,
    protocol::Position,
};
use uuid::Uuid;

use crate::mutants::Mutant;

/// The way from memory to the hub.
pub struct Tap {
    mutant: Option<Mutant>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` before the hub is there, and once the replica is gone.
    hub: Option<Arc<Hub>>,
    /// What is held back.
    held: Vec<Held>,
    /// Facilities that are being read.
    in_reading: HashSet<Uuid>,
}

/// A state that is held back.
struct Held {
    key: Key,
    entry: Arc<Entry>,
    is_change: bool,
    at: Position,
    is_ahead: bool,
    epoch: u32,
}

impl Tap {
    /// Nobody hears yet.
    pub fn new(mutant: Option<Mutant>) -> Self {
        Tap { mutant, state: Mutex::default() }
    }

    /// From now on this hub hears.
    pub fn pass_on_to(&self, hub: Arc<Hub>) {
        self.state().hub = Some(hub);
    }

    /// Nobody hears any more.
    pub fn close(&self) {
        self.state().hub = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hub(&self) -> Option<Arc<Hub>> {
        self.state().hub.clone()
    }

    fn pass_on(&self, tell: impl FnOnce(&Hub)) {
        if let Some(hub) = self.hub() {
            tell(&hub);
        }
    }

    fn breaks(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// A facility is being read, or was.
    pub fn reads(&self, facility: Uuid, is_over: bool) {
        let reading = &mut self.state().in_reading;
        match is_over {
            true => reading.remove(&facility),
            false => reading.insert(facility),
        };
    }

    /// A turn of the shard has ended: what was held back comes now.
    pub fn end_turn(&self) {
        let Some(hub) = self.hub() else { return };
        let epoch_now = hub.parts.memory.epoch_count();
        let is_late =
            |held: &mut Held| !self.breaks(Mutant::PushesOfAnyEpoch) || held.epoch != epoch_now;
        let held: Vec<Held> = self.state().held.extract_if(.., is_late).collect();
        for Held { key, entry, is_change, at, is_ahead, epoch } in held {
            let epoch = if self.breaks(Mutant::PushesOfAnyEpoch) { epoch_now } else { epoch };
            hub.took(&Taken { key, entry: &entry, is_change, at, is_ahead, epoch });
        }
    }
}

impl Watcher for Tap {
    fn took(&self, taken: &Taken<'_>) {
        let Taken { key, entry, is_change, at, is_ahead, epoch } = *taken;
        let held = || Held { key, entry: entry.clone(), is_change, at, is_ahead, epoch };
        match self.mutant {
            // As if it came between what a turn loads first and what it takes then.
            Some(Mutant::TakesBeforeItLoads) => return self.state().held.push(held()),
            // The last one of each key comes a second time, when the next epoch has begun.
            Some(Mutant::PushesOfAnyEpoch) => {
                let mut state = self.state();
                state.held.retain(|held| held.key != key);
                state.held.push(held());
            }
            Some(Mutant::HearsOnceItIsRead)
                if self.state().in_reading.contains(&key.facility_id) =>
            {
                return;
            }
            _ => {}
        }
        let is_change = is_change && !self.breaks(Mutant::ReplayForgetsChanges);
        self.pass_on(|hub| hub.took(&Taken { key, entry, is_change, at, is_ahead, epoch }));
    }

    fn named_facilities(&self, ids: &[Uuid]) {
        self.pass_on(|hub| hub.named_facilities(ids));
    }

    fn changed_facilities(&self, ids: &[Uuid], at: Position) {
        if !self.breaks(Mutant::ShardsIgnoreMoves) {
            self.pass_on(|hub| hub.changed_facilities(ids, at));
        }
    }

    fn proved(&self, at_ms: i64, at: Position) {
        self.pass_on(|hub| hub.proved(at_ms, at));
    }

    fn broke(&self, at: Position) {
        self.pass_on(|hub| hub.broke(at));
    }
}
