//! Which replica refreshes a key. The others wait for what it puts into Redis.

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
    redis::Error,
    service::reads::{freshness_request::MinFreshness, tier_row::TierRow},
};

/// The leases of all keys, and the tier in which replicas find each other's results.
pub struct RefreshLeases {
    pub tier: Arc<RedisTier>,
    pub epoch: Arc<ArcSwapOption<Epoch>>,
    pub memory: Arc<Memory>,
    pub clock: Arc<Clock>,
    /// How long a lease lasts. After that its replica is taken for dead.
    pub duration: Duration,
}

/// Who is to refresh a key.
pub enum LeaseOutcome {
    /// This replica: no other has the lease, or Redis cannot be asked and there is none.
    Acquired(Option<Lease>),
    HeldElsewhere,
    /// Nobody: another replica has just refreshed it.
    AlreadyRefreshed(StoredEntry),
}

/// How waiting for another replica's refresh ended.
pub enum Awaited {
    Refreshed(StoredEntry),
    /// The other replica brought nothing that satisfies the readers here: this one has the lease
    /// now, or there is none.
    Acquired(Option<Lease>),
}

/// How often to look whether the replica that refreshes a key has finished.
const POLL: Duration = Duration::from_millis(10);

impl RefreshLeases {
    /// What the replicas' shared tier has of the key. What cannot be read counts as missing; the
    /// reasons are counted with the connection.
    pub async fn get(&self, key: &Key) -> Option<StoredEntry> {
        let epoch = self.epoch.load_full()?;
        self.tier.get(epoch.name(), key.0, key.1).await.ok().flatten()
    }

    /// Takes the lease of a key, unless another replica has it, or has released it with a result
    /// that is fresh enough.
    pub async fn acquire(&self, day_key: &DayKey, min_freshness: MinFreshness) -> LeaseOutcome {
        let Some(epoch) = self.epoch.load_full() else { return LeaseOutcome::Acquired(None) };
        let (facility, date) = day_key.id();
        match self.tier.lease(epoch.name(), facility, date, self.duration).await {
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

    /// Puts what was refreshed since the token was taken into the shared tier, and releases the
    /// leases after it.
    pub async fn release(
        self: &Arc<Self>,
        token: FillToken,
        refreshed: Vec<StoredEntry>,
        leases: Vec<Lease>,
    ) {
        if self.put_and_release(&token, &refreshed, &leases).await.is_err() {
            // Other replicas may be waiting, and would wait until the leases run out.
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
    ) -> Result<(), Error> {
        // The epoch's name is read before the token is checked: nothing that was read in an earlier
        // epoch may be put into a later one.
        let put = match self.epoch.load_full().filter(|_| self.memory.is_current(token)) {
            Some(epoch) => self.tier.put(epoch.name(), refreshed).await.map(drop),
            None => Ok(()),
        };
        // All at once: the next replica to refresh waits for that.
        let released = leases.iter().map(|lease| self.tier.release(lease));
        let released = futures_util::future::join_all(released).await;
        released.into_iter().try_fold((), |(), released| released.map(drop)).and(put)
    }

    /// Waits for what another replica refreshes, or for the lease.
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

    /// What another replica has brought, if it satisfies all that wait here.
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
