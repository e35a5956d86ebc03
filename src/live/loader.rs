//! Reads what is shown first, and what has to be looked at again, by the way of all reads.

use std::sync::{Arc, atomic::Ordering};

use uuid::Uuid;

use super::{
    hub::Hub,
    inbox::Inbox,
    pushed::Pushed,
    server::{Found, Least, NotFound},
};
use crate::domain::day::Day;

/// The result of a read.
pub struct Loaded {
    /// The facility.
    pub facility: Uuid,
    /// In which epoch it was asked for.
    pub epoch: u32,
    /// The version that was asked for. An older one is of another history: this one was waited for.
    pub least: i64,
    /// The day and its state.
    pub result: Result<(Day, Arc<Pushed>), NotFound>,
}

impl Loaded {
    fn of(facility: Uuid, epoch: u32, least: i64, found: Result<Found, NotFound>) -> Self {
        let pushed = |Found { day, entry, as_of_ms }| {
            (day, Pushed::new(facility, day.date, entry, as_of_ms, epoch))
        };
        Loaded { facility, epoch, least, result: found.map(pushed) }
    }
}

impl Hub {
    /// What memory has of today, if it is fresh enough. Never waits.
    pub fn load_from_memory(&self, facility: Uuid, least: i64) -> Option<Loaded> {
        let epoch = self.parts.memory.epoch_count();
        let found = self.parts.server.read_memory(facility, least)?;
        Some(Loaded::of(facility, epoch, least, Ok(found)))
    }

    /// Reads today of a facility, and tells the shard.
    pub fn load(self: &Arc<Self>, facility: Uuid, least: i64, inbox: Arc<Inbox>) {
        let hub = self.clone();
        tokio::task::spawn_local(async move {
            hub.read(facility, Least::Version(least), &inbox).await;
        });
    }

    /// Reads today of a facility, and tells the shard. Returns whether it could be read.
    pub async fn read(&self, facility: Uuid, least: Least, inbox: &Inbox) -> bool {
        let epoch = self.parts.memory.epoch_count();
        let found = self.parts.server.clone().read(facility, least).await;
        let is_known = !matches!(found, Err(NotFound::Unavailable));
        let version = if let Least::Version(version) = least { version } else { i64::MAX };
        let loaded = Loaded::of(facility, epoch, version, found);
        inbox.tell(|got| got.loaded.push(loaded));
        is_known
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }
}
