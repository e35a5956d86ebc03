//! The facility loader: it reads facilities from the database that the directory does not know. Ids
//! that are asked for within a short time go into one query. So any number of unknown ids costs one
//! query each [`PAUSE`], and no caller gets "not found" before the database was asked.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use uuid::Uuid;

use crate::store::{self, StoreError};

/// The least time from one query to the next.
const PAUSE: Duration = Duration::from_millis(100);

type Outcome = Result<(), Arc<StoreError>>;

/// Collects the ids of the next query.
#[derive(Default)]
pub struct FacilityLoader {
    next: Mutex<NextQuery>,
}

#[derive(Default)]
struct NextQuery {
    ids: Vec<Uuid>,
    /// The callers that wait for the next query.
    waiters: Option<watch::Sender<Option<Outcome>>>,
    not_before: Option<Instant>,
}

impl FacilityLoader {
    /// Calls `read` for this facility. The query begins after this call, and at least [`PAUSE`]
    /// after the last one. `Err` where the query failed.
    pub async fn find<F: Future<Output = store::Result<()>>>(
        &self,
        id: Uuid,
        read: impl FnOnce(Vec<Uuid>) -> F,
    ) -> Outcome {
        let (mut waiter, wait) = self.join(id);
        if let Some(wait) = wait {
            tokio::time::sleep(wait).await;
            self.go(read).await;
        }
        let outcome =
            waiter.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| Err(Arc::new(StoreError::Panicked)))
    }

    /// A waiter for the next query; for the first waiter also the time to sleep before the query.
    fn join(&self, id: Uuid) -> (watch::Receiver<Option<Outcome>>, Option<Duration>) {
        let mut next = self.next();
        next.ids.push(id);
        if let Some(waiters) = &next.waiters {
            return (waiters.subscribe(), None);
        }
        let (waiters, waiter) = watch::channel(None);
        next.waiters = Some(waiters);
        let wait = next
            .not_before
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        (waiter, Some(wait))
    }

    async fn go<F: Future<Output = store::Result<()>>>(&self, read: impl FnOnce(Vec<Uuid>) -> F) {
        let (ids, waiters) = {
            let mut next = self.next();
            next.not_before = Some(Instant::now() + PAUSE);
            (std::mem::take(&mut next.ids), next.waiters.take())
        };
        let outcome = read(ids).await.map_err(Arc::new);
        if let Some(waiters) = waiters {
            waiters.send_replace(Some(outcome));
        }
    }

    fn next(&self) -> MutexGuard<'_, NextQuery> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
