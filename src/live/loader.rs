//! Reads what is shown first, and what has to be looked at again, by the way of all reads.

use std::sync::{Arc, atomic::Ordering};

use uuid::Uuid;

use super::{
    hub::Hub,
    inbox::Inbox,
    pushed::Pushed,
    server::{Found, NotFound},
};
use crate::domain::day::Day;

/// The result of a read.
pub struct Loaded {
    /// The facility.
    pub facility: Uuid,
    /// In which epoch it was asked for.
    pub epoch: u32,
    /// The day and its state.
    pub result: Result<(Day, Arc<Pushed>), NotFound>,
}

impl Loaded {
    fn of(facility: Uuid, epoch: u32, found: Result<Found, NotFound>) -> Self {
        let pushed = |Found { day, entry, as_of_ms }| {
            (day, Pushed::new(facility, day.date, entry, as_of_ms, epoch))
        };
        Loaded { facility, epoch, result: found.map(pushed) }
    }
}

impl Hub {
    /// What memory has of today, if it is fresh enough. Never waits.
    pub fn load_from_memory(&self, facility: Uuid, min_version: i64) -> Option<Loaded> {
        let epoch = self.parts.memory.epoch_count();
        let found = self.parts.server.read_memory(facility, min_version)?;
        Some(Loaded::of(facility, epoch, Ok(found)))
    }

    /// Reads today of a facility, and tells the shard of this thread.
    pub fn load(&self, facility: Uuid, min_version: i64, inbox: Arc<Inbox>) {
        let epoch = self.parts.memory.epoch_count();
        let reading = self.parts.server.clone().read(facility, min_version);
        tokio::task::spawn_local(async move {
            let loaded = Loaded::of(facility, epoch, reading.await);
            inbox.tell(|got| got.loaded.push(loaded));
        });
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }
}
