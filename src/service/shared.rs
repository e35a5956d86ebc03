//! What replicas share in Redis: summaries, and which of them refreshes a key.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;

use crate::{
    cache::{
        memory::{Fill, Key, Memory},
        redis::{Lease, RedisTier},
    },
    changes::StoredEntry,
    clock::Clock,
    store::Epoch,
};

pub struct Shared {
    pub tier: Arc<RedisTier>,
    pub epoch: Arc<ArcSwapOption<Epoch>>,
    pub memory: Arc<Memory>,
    pub clock: Arc<Clock>,
    /// After that a replica that took a key is taken for dead.
    pub lease: Duration,
}

/// Whose turn it is to refresh a key.
pub enum Turn {
    /// This replica's: nobody else has it, or nobody can be asked.
    Ours(Option<Lease>),
    Another,
    /// Nobody's: it was refreshed a moment ago.
    Done(StoredEntry),
}

/// How often to look whether the replica that refreshes a key is done.
const POLL: Duration = Duration::from_millis(10);
/// What another replica has refreshed is taken for a refresh up to that age: the least that a reader can ask for.
const FRESH_MS: i64 = 1_000;

impl Shared {
    pub async fn get(&self, key: &Key) -> Option<StoredEntry> {
        let epoch = self.epoch.load_full()?;
        // What cannot be had is as good as missing; the reasons are counted with the connection.
        self.tier.get(epoch.name(), key.0, key.1).await.ok().flatten()
    }

    /// Takes the key, unless another replica has it, or has given it back just now with what was to be had.
    pub async fn turn(&self, key: &Key) -> Turn {
        self.turn_since(key, i64::MAX).await
    }

    async fn turn_since(&self, key: &Key, since_ms: i64) -> Turn {
        let Some(epoch) = self.epoch.load_full() else { return Turn::Ours(None) };
        match self.tier.lease(epoch.name(), key.0, key.1, self.lease).await {
            Ok(Some(lease)) => match self.fresh(key, since_ms).await {
                None => Turn::Ours(Some(lease)),
                Some(entry) => {
                    let _ = self.tier.release(lease).await;
                    Turn::Done(entry)
                }
            },
            Ok(None) => Turn::Another,
            Err(_) => Turn::Ours(None),
        }
    }

    /// Gives keys back, once the others can find what was refreshed.
    pub async fn done(&self, refreshed: &[StoredEntry], leases: Vec<Lease>) {
        if let Some(epoch) = self.epoch.load_full() {
            // Where that fails, the others wait until the lease is over, and refresh for themselves.
            let _ = self.tier.put(epoch.name(), refreshed).await;
            for lease in leases {
                let _ = self.tier.release(lease).await;
            }
        }
    }

    /// Waits for what another replica refreshes, or for one's own turn.
    pub async fn wait(&self, key: &Key) -> Result<StoredEntry, Option<Lease>> {
        let since_ms = self.clock.now_ms();
        loop {
            if let Some(entry) = self.fresh(key, since_ms).await {
                return Ok(entry);
            }
            match self.turn_since(key, since_ms).await {
                Turn::Another => tokio::time::sleep(POLL).await,
                Turn::Ours(lease) => return Err(lease),
                Turn::Done(entry) => return Ok(entry),
            }
        }
    }

    /// What was refreshed a moment ago, or since then: on a busy machine a moment may be over before anybody looks.
    async fn fresh(&self, key: &Key, since_ms: i64) -> Option<StoredEntry> {
        let vantage = self.memory.vantage();
        let is_fresh = |as_of_ms: i64| as_of_ms >= since_ms || self.clock.now_ms().saturating_sub(as_of_ms) < FRESH_MS;
        let found = self.get(key).await.filter(|entry| is_fresh(entry.row.as_of_ms))?;
        match self.memory.fill(&vantage, found.since, &found.row, found.row.as_of_ms) {
            Fill::Kept(_) => Some(found),
            Fill::LostRace => None,
        }
    }
}
