//! One proof of the table at a time, for all readers of lists here and on the other replicas: a
//! proof refreshes what other programs have changed, and that is to be done once. Those who wait
//! look first whether the proof of another one will do.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use super::{LOCK_POLL, Prover};
use crate::{
    cache::{lease::Lease, memory::Memory},
    changes::Changes,
    metrics::Metrics,
    service::refresh::lease::{LeaseOutcome, RefreshLeases},
    store,
};

/// Time between two looks whether another replica's proof is over.
const POLL: Duration = Duration::from_millis(10);

/// The proofs that readers of lists ask for.
pub struct SharedProof {
    /// Proves the table up to now.
    pub prover: Arc<dyn Prover>,
    /// Says as of when the table is exact.
    pub memory: Arc<Memory>,
    /// Says whether the watermark of another replica's proof arrives here.
    pub changes: Arc<Changes>,
    /// The leases that replicas share; `None` without Redis.
    pub leases: Option<Arc<RefreshLeases>>,
    /// Counts the proofs.
    pub metrics: Arc<Metrics>,
    /// When the last one here that succeeded began. Held while one runs.
    pub began: Mutex<Option<Instant>>,
}

impl SharedProof {
    /// Has the table proven, until `will_do` accepts the instant as of which it is exact, or a
    /// proof has run that began after this call. Where nothing can be proven, this takes as long as
    /// it is worth waiting before the next try.
    pub async fn prove(&self, will_do: impl Fn(i64) -> bool) -> store::Result<()> {
        let asked = Instant::now();
        let mut began = self.began.lock().await;
        let is_done = || will_do(self.memory.table_ms());
        if is_done() || began.is_some_and(|began| began >= asked) {
            return Ok(());
        }
        let Some(lease) = self.lease(is_done).await else { return Ok(()) };
        let (begins, table_ms) = (Instant::now(), self.memory.table_ms());
        self.metrics.list_proofs.inc();
        let proven = self.prover.prove().await;
        if let Some((leases, lease)) = self.leases.as_ref().zip(lease) {
            let _ = leases.tier.release(&lease).await;
        }
        let is_all = proven?;
        *began = Some(begins);
        // A pass also proves nothing where another server stored a later watermark meanwhile,
        // which this server has not received yet.
        if is_all && self.memory.table_ms() == table_ms {
            tokio::time::sleep(LOCK_POLL).await;
        }
        Ok(())
    }

    /// Waits for the lease, which one replica has at a time. `Some(None)`: there is none. `None`:
    /// another replica has proven what is wanted.
    async fn lease(&self, is_done: impl Fn() -> bool) -> Option<Option<Lease>> {
        let Some(leases) = &self.leases else { return Some(None) };
        while self.changes.is_attached() {
            match leases.acquire_proof().await {
                LeaseOutcome::Acquired(lease) => return Some(lease),
                LeaseOutcome::HeldElsewhere | LeaseOutcome::AlreadyRefreshed(_) => {
                    tokio::time::sleep(POLL).await;
                }
            }
            if is_done() {
                return None;
            }
        }
        Some(None)
    }

    /// Whether nobody here proves the table now.
    pub fn is_idle(&self) -> bool {
        self.began.try_lock().is_ok()
    }
}
