//! What replicas share in Redis: summaries, and which of them refreshes a key.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;

use crate::{
    cache::{
        memory::{Fill, FillToken, Key, Memory},
        redis::{Lease, RedisTier},
    },
    clock::Clock,
    domain::summary::DayKey,
    protocol::{Epoch, StoredEntry},
    redis::Error,
    service::reads::{freshness_request::MinFreshness, tier_row::TierRow},
};

pub struct RefreshLeases {
    pub tier: Arc<RedisTier>,
    pub epoch: Arc<ArcSwapOption<Epoch>>,
    pub memory: Arc<Memory>,
    pub clock: Arc<Clock>,
    /// After that a replica that took a key is taken for dead.
    pub lease: Duration,
}

/// Whose acquire it is to refresh a key.
pub enum LeaseOutcome {
    /// This replica's: nobody else has it, or nobody can be asked.
    Acquired(Option<Lease>),
    HeldElsewhere,
    /// Nobody's: it was refreshed meanwhile.
    AlreadyRefreshed(StoredEntry),
}

/// How often to look whether the replica that refreshes a key is done.
const POLL: Duration = Duration::from_millis(10);

impl RefreshLeases {
    pub async fn get(&self, key: &Key) -> Option<StoredEntry> {
        let epoch = self.epoch.load_full()?;
        // What cannot be had is as good as missing; the reasons are counted with the connection.
        self.tier.get(epoch.name(), key.0, key.1).await.ok().flatten()
    }

    /// Takes the key, unless another replica has it, or has given it back with what is asked for.
    pub async fn acquire(&self, day_key: &DayKey, asked: MinFreshness) -> LeaseOutcome {
        let Some(epoch) = self.epoch.load_full() else { return LeaseOutcome::Acquired(None) };
        let (facility, date) = day_key.id();
        match self.tier.lease(epoch.name(), facility, date, self.lease).await {
            Ok(Some(lease)) => match self.refreshed(day_key, asked).await {
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

    /// Gives keys back, once the others can find what was refreshed since this token.
    pub async fn done(
        self: &Arc<Self>,
        token: FillToken,
        refreshed: Vec<StoredEntry>,
        leases: Vec<Lease>,
    ) {
        if self.give_back(&token, &refreshed, &leases).await.is_err() {
            // Others may be asking Redis all the while, and would wait until the leases have run
            // out.
            let shared = self.clone();
            tokio::spawn(tokio::time::timeout(self.lease, async move {
                shared.tier.up().await;
                shared.give_back(&token, &refreshed, &leases).await
            }));
        }
    }

    async fn give_back(
        &self,
        token: &FillToken,
        refreshed: &[StoredEntry],
        leases: &[Lease],
    ) -> Result<(), Error> {
        // The name before it is asked whether the token is of the history served: of what was read
        // in the one before nothing goes into the next.
        let put = match self.epoch.load_full().filter(|_| self.memory.is_current(token)) {
            Some(epoch) => self.tier.put(epoch.name(), refreshed).await.map(drop),
            None => Ok(()),
        };
        // Side by side: whoever refreshes next waits for that.
        let released =
            futures_util::future::join_all(leases.iter().map(|lease| self.tier.release(lease)))
                .await;
        released.into_iter().try_fold((), |(), released| released.map(drop)).and(put)
    }

    /// Waits for what another replica refreshes, or for one's own acquire.
    pub async fn wait(
        &self,
        day_key: &DayKey,
        asked: MinFreshness,
    ) -> Result<StoredEntry, Option<Lease>> {
        loop {
            if let Some(entry) = self.refreshed(day_key, asked).await {
                return Ok(entry);
            }
            match self.acquire(day_key, asked).await {
                LeaseOutcome::HeldElsewhere => tokio::time::sleep(POLL).await,
                LeaseOutcome::Acquired(lease) => return Err(lease),
                LeaseOutcome::AlreadyRefreshed(entry) => return Ok(entry),
            }
        }
    }

    /// What another replica has brought, if all that wait for it can take that.
    async fn refreshed(&self, day_key: &DayKey, asked: MinFreshness) -> Option<StoredEntry> {
        let token = self.memory.fill_token();
        let stored = self.get(&day_key.id()).await.filter(|entry| asked.is_met_by(&entry.row))?;
        match TierRow::in_redis(stored.clone(), &day_key.day, self.clock.now_ms())?
            .keep(&self.memory, &token)
        {
            Fill::Kept(_) => Some(stored),
            Fill::LostRace => None,
        }
    }
}
