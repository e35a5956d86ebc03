//! The refresh lease: it decides which replica refreshes a key. The other replicas wait for the
//! result in Redis.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;

use crate::{
    cache::{
        lease::Lease,
        memory::{Fill, FillToken, Memory},
        redis::RedisTier,
    },
    clock::Clock,
    domain::summary::{DayKey, Key},
    protocol::{Epoch, StoredEntry},
    redis::CommandError,
    service::{freshness_request::MinFreshness, tier_row::TierRow},
};

/// The refresh leases of all keys, and the Redis tier in which replicas find each other's results.
pub struct RefreshLeases {
    /// The Redis tier.
    pub tier: Arc<RedisTier>,
    /// The epoch that is served.
    pub epoch: Arc<ArcSwapOption<Epoch>>,
    /// Results of other replicas are kept here.
    pub memory: Arc<Memory>,
    /// The database's time.
    pub clock: Arc<Clock>,
    /// The time until a lease runs out. A replica that has not released it by then counts as dead.
    pub duration: Duration,
}

/// Which replica refreshes a key.
pub enum LeaseOutcome {
    /// This replica refreshes. `None`: Redis did not answer, or is not used, so there is no lease.
    Acquired(Option<Lease>),
    /// Another replica has the lease.
    HeldElsewhere,
    /// No refresh is needed: another replica has just made one, with this result.
    AlreadyRefreshed(StoredEntry),
}

/// How waiting for another replica's refresh ended.
pub enum Awaited {
    /// The result of the other replica, which satisfies the readers here.
    Refreshed(StoredEntry),
    /// The other replica brought nothing that satisfies the readers here. This replica has the
    /// lease now, or there is none.
    Acquired(Option<Lease>),
}

/// Time between two looks whether the other replica has finished.
const POLL: Duration = Duration::from_millis(10);

impl RefreshLeases {
    /// The entry of a key in the Redis tier. An entry that cannot be read counts as missing; the
    /// connection counts the reasons.
    pub async fn get(&self, key: &Key) -> Option<StoredEntry> {
        let epoch = self.epoch.load_full()?;
        self.tier.get(epoch.name(), key).await.ok().flatten()
    }

    /// Takes the lease of a key, unless another replica has it, or has released it with a result
    /// that is fresh enough.
    pub async fn acquire(&self, day_key: &DayKey, min_freshness: MinFreshness) -> LeaseOutcome {
        let Some(epoch) = self.epoch.load_full() else { return LeaseOutcome::Acquired(None) };
        match self.tier.lease(epoch.name(), &day_key.id(), self.duration).await {
            Ok(Some(lease)) => match self.refreshed(day_key, min_freshness).await {
                None => LeaseOutcome::Acquired(Some(lease)),
                Some(entry) => {
                    let _ = self.tier.release(&lease).await;
                    LeaseOutcome::AlreadyRefreshed(entry)
                }
            },
            Ok(None) => LeaseOutcome::HeldElsewhere,
            Err(_) => LeaseOutcome::Acquired(None),
        }
    }

    /// Takes the lease of the proof of the table, unless another replica has it.
    pub async fn acquire_proof(&self) -> LeaseOutcome {
        let Some(epoch) = self.epoch.load_full() else { return LeaseOutcome::Acquired(None) };
        match self.tier.proof_lease(epoch.name(), self.duration).await {
            Ok(None) => LeaseOutcome::HeldElsewhere,
            taken => LeaseOutcome::Acquired(taken.ok().flatten()),
        }
    }

    /// Puts what was refreshed after the token was taken into the Redis tier, then releases the
    /// leases. Where Redis fails it tries again in the background, for one lease duration.
    pub async fn release(
        self: &Arc<Self>,
        token: FillToken,
        refreshed: Vec<StoredEntry>,
        leases: Vec<Lease>,
    ) {
        if self.put_and_release(&token, &refreshed, &leases).await.is_err() {
            // Other replicas may be waiting; without this they would wait until the leases run out.
            let all = self.clone();
            tokio::spawn(tokio::time::timeout(self.duration, async move {
                all.tier.up().await;
                all.put_and_release(&token, &refreshed, &leases).await
            }));
        }
    }

    async fn put_and_release(
        &self,
        token: &FillToken,
        refreshed: &[StoredEntry],
        leases: &[Lease],
    ) -> Result<(), CommandError> {
        // The epoch is loaded before the token is checked. So nothing that was read in an earlier
        // epoch is put into a later one.
        let put = match self.epoch.load_full().filter(|_| self.memory.is_current(token)) {
            Some(epoch) => self.tier.put(epoch.name(), refreshed).await.map(drop),
            None => Ok(()),
        };
        // All concurrently, as another replica waits for the releases.
        let released = leases.iter().map(|lease| self.tier.release(lease));
        let released = futures_util::future::join_all(released).await;
        released.into_iter().try_fold((), |(), released| released.map(drop)).and(put)
    }

    /// Waits for the result of another replica, or for the lease.
    pub async fn wait(&self, day_key: &DayKey, min_freshness: MinFreshness) -> Awaited {
        loop {
            if let Some(entry) = self.refreshed(day_key, min_freshness).await {
                return Awaited::Refreshed(entry);
            }
            match self.acquire(day_key, min_freshness).await {
                LeaseOutcome::HeldElsewhere => tokio::time::sleep(POLL).await,
                LeaseOutcome::Acquired(lease) => return Awaited::Acquired(lease),
                LeaseOutcome::AlreadyRefreshed(entry) => return Awaited::Refreshed(entry),
            }
        }
    }

    /// The result of another replica, if it satisfies all readers that wait here.
    async fn refreshed(
        &self,
        day_key: &DayKey,
        min_freshness: MinFreshness,
    ) -> Option<StoredEntry> {
        let token = self.memory.fill_token();
        let stored = self.get(&day_key.id()).await?;
        if !min_freshness.is_met_by(&stored.row) {
            return None;
        }
        let row = TierRow::in_redis(stored.clone(), &day_key.day, self.clock.now_ms())?;
        match row.keep(&self.memory, &token) {
            Fill::Kept(_) => Some(stored),
            Fill::LostRace => None,
        }
    }
}
