//! Reads what is shown first, and what has to be looked at again, by the way of all reads.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{hub::Hub, inbox::Inbox, pushed::Pushed};
use crate::{
    directory::Located,
    domain::day::Day,
    service::{
        freshness_request::FreshnessRequest,
        reads::{
            answer::{Answer, ReadError},
            redis_rung::FromRedis,
        },
    },
};

/// The most facilities that are read at once, for each process.
pub const AT_ONCE: usize = 64;

/// The result of a read.
pub struct Loaded {
    /// The facility.
    pub facility: Uuid,
    /// In which epoch it was asked for.
    pub epoch: u32,
    /// The day and its state; `Err(true)`: there is no such facility; `Err(false)`: nothing can be
    /// read now.
    pub result: Result<(Day, Arc<Pushed>), bool>,
}

impl Hub {
    fn requested(&self, min_version: i64) -> FreshnessRequest {
        let max_age = self.parts.reads.freshness.max_age();
        FreshnessRequest {
            // With `no-cache` each client would cost a refresh.
            max_age_ms: i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX).max(1_000),
            explicit: false,
            max_stale_ms: None,
            only_if_cached: false,
            min_version,
        }
    }

    /// What memory has of today, if it is fresh enough. Never waits.
    pub fn load_from_memory(&self, facility: Uuid, min_version: i64) -> Option<Loaded> {
        let epoch = self.parts.memory.epoch_count();
        let located = self.parts.directory.locate(facility)?;
        let now_ms = self.parts.clock.now_ms();
        let day = located.facility.zone.today(now_ms);
        let requested = self.requested(min_version);
        let answer = self.parts.reads.read_memory(&located, &day, &requested, now_ms)?;
        Some(self.loaded(&located, epoch, day, &answer, now_ms))
    }

    fn loaded(
        &self,
        located: &Located,
        epoch: u32,
        day: Day,
        answer: &Answer,
        now_ms: i64,
    ) -> Loaded {
        let facility = located.facility.id;
        let as_of_ms = now_ms.saturating_sub(answer.age_ms);
        let pushed = Pushed::new(facility, day.date, answer.entry.clone(), as_of_ms, epoch);
        Loaded { facility, epoch, result: Ok((day, pushed)) }
    }

    /// Reads today of a facility, and tells the shard.
    pub fn load(self: &Arc<Self>, facility: Uuid, min_version: i64, inbox: Arc<Inbox>) {
        let hub = self.clone();
        let epoch = self.parts.memory.epoch_count();
        self.parts.runtime.spawn(async move {
            let _turn = hub.loads.acquire().await;
            let result = hub.read(facility, min_version).await;
            let loaded = match result {
                Ok((located, day, answer)) => {
                    let now_ms = hub.parts.clock.now_ms();
                    hub.loaded(&located, epoch, day, &answer, now_ms)
                }
                Err(is_gone) => Loaded { facility, epoch, result: Err(is_gone) },
            };
            inbox.tell(|got| got.loaded.push(loaded));
        });
    }

    async fn read(&self, facility: Uuid, version: i64) -> Result<(Located, Day, Answer), bool> {
        let parts = &self.parts;
        let mut least = version;
        // More than once where the facility moves, or the version is of another history.
        for _ in 0..3 {
            let located = match parts.directory.locate(facility) {
                Some(located) => located,
                None => self.find(facility).await?,
            };
            let day = located.facility.zone.today(parts.clock.now_ms());
            let requested = self.requested(least);
            let found = match parts.reads.read_redis(&located, &day, &requested).await {
                FromRedis::Answer(answer) => return Ok((located, day, answer)),
                found => found.too_old(),
            };
            match parts.reads.read(&located, day, &requested, found).await.0 {
                Ok(answer) => return Ok((located, day, answer)),
                Err(ReadError::Moved | ReadError::NotFound) => {}
                Err(ReadError::VersionNotReached) => least = 0,
                Err(_) => return Err(false),
            }
        }
        Err(parts.directory.get(facility).is_none())
    }

    /// Looks a facility up that the directory does not have.
    pub async fn find(&self, facility: Uuid) -> Result<Located, bool> {
        match self.parts.directory.find(&*self.parts.reads.store, facility).await {
            Ok(Some(located)) => Ok(located),
            Ok(None) => Err(true),
            Err(_) => Err(false),
        }
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// The places of reads.
    pub(super) fn turns() -> Semaphore {
        Semaphore::new(AT_ONCE)
    }
}
