//! The refresh coalescer (single flight): it runs at most one refresh per key at a time. All
//! readers of the key share the result, and keys that are pending together are refreshed together.
//! Replicas share the refresh of a key by a lease in Redis: one of them refreshes, and the others
//! wait for the result.
//!
//! A reader joins the pending refresh of its key. A reader that accepts an answer of an age above
//! zero may also join the refresh in flight, which began before the reader came. The work runs in
//! tasks of its own, so a reader that goes away does not stop the refresh for the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{FutureExt, StreamExt};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
};

use super::{
    Refreshed, Refresher,
    lease::{Awaited, LeaseOutcome, RefreshLeases},
    request::RefreshRequest,
};
use crate::{
    cache::lease::Lease,
    domain::summary::{DayKey, Key},
    metrics::RefreshTrigger,
    protocol::StoredEntry,
    service::freshness_request::MinFreshness,
    store::StoreError,
};

/// Refresh transactions that run at once: enough to keep two connections busy, few enough to leave
/// the pool to writers.
const PERMITS: usize = 2;

/// The refreshed row; `None` where the day has not begun or the facility is gone; or why it failed.
pub type RefreshResult = Result<Option<Arc<Refreshed>>, Arc<StoreError>>;

/// A reader's place at a refresh, pending or in flight.
pub struct Waiter {
    result: watch::Receiver<Option<RefreshResult>>,
    /// Another reader asked for this refresh first.
    pub is_shared: bool,
}

/// What a joining reader gets.
pub enum Joined<T> {
    /// A place at a refresh; the reader waits there.
    Waits(Waiter),
    /// Memory has what the reader asked for, from a refresh that has just finished.
    JustFinished(T),
}

/// The refreshes that are pending and in flight, by key.
pub struct RefreshCoalescer {
    refresher: Arc<Refresher>,
    leases: Option<Arc<RefreshLeases>>,
    queue: Mutex<Queue>,
    permits: Arc<Semaphore>,
    chunk: usize,
    /// Refreshes run on this runtime. An HTTP worker's runtime would end them together with its
    /// connections.
    runtime: Handle,
}

#[derive(Default)]
struct Queue {
    pending: HashMap<Key, Pending>,
    in_flight: HashMap<Key, watch::Sender<Option<RefreshResult>>>,
}

/// A refresh that has not begun.
struct Pending {
    day_key: DayKey,
    trigger: RefreshTrigger,
    /// What another replica's refresh must bring to satisfy all waiting readers. `None`: at least
    /// one of them accepts no refresh that began before it asked.
    min_freshness: Option<MinFreshness>,
    waiters: watch::Sender<Option<RefreshResult>>,
}

/// A refresh that was taken from the queue.
struct Taken {
    day_key: DayKey,
    trigger: RefreshTrigger,
    min_freshness: Option<MinFreshness>,
    in_flight: InFlight,
}

/// A key in flight. Where it is dropped without a result, as by a panic, its readers get an error.
/// Otherwise they would wait without end, and so would the next refresh of the key.
struct InFlight {
    coalescer: Arc<RefreshCoalescer>,
    key: Key,
    is_finished: bool,
}

impl InFlight {
    fn finish(mut self, result: RefreshResult) {
        self.send_result(result);
    }

    fn finish_elsewhere(self, entry: StoredEntry) {
        let found = Refreshed { row: entry.row, changed: false, written: false, elsewhere: true };
        self.finish(Ok(Some(Arc::new(found))));
    }

    fn send_result(&mut self, result: RefreshResult) {
        self.is_finished = true;
        if let Some(waiters) = self.coalescer.queue().in_flight.remove(&self.key) {
            waiters.send_replace(Some(result));
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.is_finished {
            self.send_result(Err(Arc::new(StoreError::Panicked)));
            // Readers that could not join the failed refresh are pending behind it.
            self.coalescer.start();
        }
    }
}

impl Waiter {
    /// Waits for the result. `StoreError::Panicked` where the refresh ended without one.
    pub async fn result(mut self) -> RefreshResult {
        let result = self.result.wait_for(Option::is_some).await.ok().and_then(|r| r.clone());
        result.unwrap_or_else(|| Err(Arc::new(StoreError::Panicked)))
    }
}

impl RefreshCoalescer {
    /// `chunk` is the most keys of one transaction. The refreshes run on the runtime in which this
    /// is called.
    pub fn new(
        refresher: Arc<Refresher>,
        leases: Option<Arc<RefreshLeases>>,
        chunk: usize,
    ) -> Arc<Self> {
        Arc::new(RefreshCoalescer {
            refresher,
            leases,
            queue: Mutex::default(),
            permits: Arc::new(Semaphore::new(PERMITS)),
            chunk,
            runtime: Handle::current(),
        })
    }

    /// Joins the refresh of a key, or adds one, and returns the place to wait at. `min_freshness`
    /// is what a refresh of another replica must bring. With it, a refresh in flight here is shared
    /// too, although it began before this call; the caller checks its result. With `None`, only a
    /// refresh that has not begun is shared.
    pub fn join(
        self: &Arc<Self>,
        day_key: DayKey,
        min_freshness: Option<MinFreshness>,
        trigger: RefreshTrigger,
    ) -> Waiter {
        let mut queue = self.queue();
        match queue.shared(&day_key.id(), min_freshness) {
            Some(waiter) => waiter,
            None => self.add(&mut queue, day_key, min_freshness, trigger),
        }
    }

    /// Like `join`, with one difference: where there is no refresh to share, it calls
    /// `just_finished`. If that returns what the reader accepts, this returns it and adds no
    /// refresh. So a reader that looked just before a refresh finished, and joins just after it,
    /// does not cause another.
    pub fn join_unless<T>(
        self: &Arc<Self>,
        day_key: DayKey,
        min_freshness: Option<MinFreshness>,
        trigger: RefreshTrigger,
        just_finished: impl FnOnce() -> Option<T>,
    ) -> Joined<T> {
        let mut queue = self.queue();
        if let Some(waiter) = queue.shared(&day_key.id(), min_freshness) {
            return Joined::Waits(waiter);
        }
        // Under the queue's lock: a refresh publishes its rows before its key leaves the queue.
        match just_finished() {
            Some(found) => Joined::JustFinished(found),
            None => Joined::Waits(self.add(&mut queue, day_key, min_freshness, trigger)),
        }
    }

    fn add(
        self: &Arc<Self>,
        queue: &mut Queue,
        day_key: DayKey,
        min_freshness: Option<MinFreshness>,
        trigger: RefreshTrigger,
    ) -> Waiter {
        let (waiters, result) = watch::channel(None);
        queue.pending.insert(day_key.id(), Pending { day_key, trigger, min_freshness, waiters });
        self.start();
        Waiter { result, is_shared: false }
    }

    /// Starts a task that runs the pending refreshes as soon as it has a permit.
    fn start(self: &Arc<Self>) {
        self.runtime.spawn(self.clone().run_pending());
    }

    /// Runs pending refreshes until there are none.
    async fn run_pending(self: Arc<Self>) {
        let Ok(_permit) = self.permits.clone().acquire_owned().await else { return };
        loop {
            let taken = self.take_pending();
            let Some(trigger) = taken.first().map(|taken| taken.trigger) else { return };
            let (ours, leases) = self.acquire_leases(taken).await;
            if !ours.is_empty() {
                self.refresh_and_finish(ours, leases, trigger).await;
            }
        }
    }

    /// Takes the leases of these keys, and returns the keys that this replica is to refresh. Keys
    /// of other replicas' leases are waited for in tasks that hold no permit.
    async fn acquire_leases(self: &Arc<Self>, taken: Vec<Taken>) -> (Vec<Taken>, Vec<Lease>) {
        let (mut ours, mut leases) = (Vec::with_capacity(taken.len()), Vec::new());
        let outcomes = taken.iter().map(|taken| async {
            match self.leases.as_ref().zip(taken.min_freshness) {
                Some((leases, min)) => leases.acquire(&taken.day_key, min).await,
                None => LeaseOutcome::Acquired(None),
            }
        });
        let outcomes = futures_util::future::join_all(outcomes).await;
        for (taken, outcome) in taken.into_iter().zip(outcomes) {
            match (outcome, self.leases.as_ref().zip(taken.min_freshness)) {
                (LeaseOutcome::HeldElsewhere, Some((leases, min))) => {
                    let waiting = self.clone().wait_for_another(leases.clone(), taken, min);
                    drop(self.runtime.spawn(waiting));
                }
                (LeaseOutcome::AlreadyRefreshed(entry), _) => {
                    taken.in_flight.finish_elsewhere(entry);
                }
                (LeaseOutcome::Acquired(lease), _) => {
                    leases.extend(lease);
                    ours.push(taken);
                }
                (LeaseOutcome::HeldElsewhere, None) => ours.push(taken),
            }
        }
        (ours, leases)
    }

    async fn wait_for_another(
        self: Arc<Self>,
        leases: Arc<RefreshLeases>,
        taken: Taken,
        min_freshness: MinFreshness,
    ) {
        match leases.wait(&taken.day_key, min_freshness).await {
            Awaited::Refreshed(entry) => taken.in_flight.finish_elsewhere(entry),
            Awaited::Acquired(lease) => {
                // Many keys may have waited for a replica that died. Without permits they would
                // take all connections at once.
                let _permit = self.permits.acquire().await;
                let trigger = taken.trigger;
                self.refresh_and_finish(vec![taken], lease.into_iter().collect(), trigger).await;
            }
        }
        // Readers that could not join the refresh are pending behind it, and nothing else starts
        // theirs.
        self.start();
    }

    async fn refresh_and_finish(
        &self,
        taken: Vec<Taken>,
        leases: Vec<Lease>,
        trigger: RefreshTrigger,
    ) {
        let token = self.refresher.changes.fill_token();
        let (day_keys, in_flight): (Vec<DayKey>, Vec<InFlight>) =
            taken.into_iter().map(|taken| (taken.day_key, taken.in_flight)).unzip();
        let results = self.refresh_all(&day_keys, trigger).await;
        let entry = |refreshed: &Arc<Refreshed>| StoredEntry {
            row: refreshed.row.clone(),
            since: token.position,
        };
        let found: Vec<StoredEntry> = match leases.is_empty() {
            true => Vec::new(),
            false => results.iter().flatten().flatten().map(entry).collect(),
        };
        in_flight.into_iter().zip(results).for_each(|(in_flight, result)| in_flight.finish(result));
        if let Some(all) = self.leases.as_ref().filter(|_| !leases.is_empty()) {
            all.release(token, found, leases).await;
        }
    }

    /// Takes pending refreshes: of one trigger, at most a chunk, and none of a key in flight.
    fn take_pending(self: &Arc<Self>) -> Vec<Taken> {
        let mut queue = self.queue();
        let Queue { pending, in_flight } = &mut *queue;
        let is_ready = |key: &&Key| !in_flight.contains_key(*key);
        let ready: Vec<(Key, RefreshTrigger)> = pending
            .iter()
            .map(|(key, pending)| (key, pending.trigger))
            .filter(|(key, _)| is_ready(key))
            .map(|(key, trigger)| (*key, trigger))
            .collect();
        let Some(trigger) = ready.first().map(|(_, trigger)| *trigger) else { return Vec::new() };
        let of_one = ready.into_iter().filter(|(_, of)| *of == trigger).take(self.chunk);
        of_one
            .filter_map(|(key, _)| {
                let Pending { day_key, trigger, min_freshness, waiters } = pending.remove(&key)?;
                in_flight.insert(key, waiters);
                let in_flight = InFlight { coalescer: self.clone(), key, is_finished: false };
                Some(Taken { day_key, trigger, min_freshness, in_flight })
            })
            .collect()
    }

    async fn refresh_all(
        &self,
        day_keys: &[DayKey],
        trigger: RefreshTrigger,
    ) -> Vec<RefreshResult> {
        match self.refresh(day_keys.to_vec(), trigger).await {
            Ok(rows) => {
                let mut rows: HashMap<Key, Arc<Refreshed>> =
                    rows.into_iter().map(|r| (r.row.key(), Arc::new(r))).collect();
                day_keys.iter().map(|key| Ok(rows.remove(&key.id()))).collect()
            }
            // One key with a lock that another transaction holds, or with rows that cannot be
            // counted, must not fail the other keys.
            Err(error)
                if day_keys.len() > 1
                    && (matches!(*error, StoreError::Locked(_) | StoreError::Conflict)
                        || self.refresher.store.is_of_rows(&error)) =>
            {
                let alone = day_keys.iter().cloned().map(|key| self.refresh_alone(key, trigger));
                futures_util::stream::iter(alone).buffered(PERMITS).collect().await
            }
            Err(error) => {
                self.refresher.note_failing(day_keys, &error).await;
                day_keys.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }

    async fn refresh_alone(&self, key: DayKey, trigger: RefreshTrigger) -> RefreshResult {
        let refreshed = self.refresh(vec![key.clone()], trigger).await;
        if let Err(error) = &refreshed {
            self.refresher.note_failing(&[key], error).await;
        }
        refreshed.map(|rows| rows.into_iter().next().map(Arc::new))
    }

    async fn refresh(
        &self,
        keys: Vec<DayKey>,
        trigger: RefreshTrigger,
    ) -> Result<Vec<Refreshed>, Arc<StoreError>> {
        let refresh = self.refresher.run(RefreshRequest::days(keys, trigger));
        match std::panic::AssertUnwindSafe(refresh).catch_unwind().await {
            Ok(result) => result.map_err(Arc::new),
            Err(_) => {
                self.refresher.metrics.panics.inc();
                Err(Arc::new(StoreError::Panicked))
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// A place at a refresh of this key that the reader can share, if there is one. A pending
    /// refresh must from then on satisfy this reader too.
    fn shared(&mut self, key: &Key, min_freshness: Option<MinFreshness>) -> Option<Waiter> {
        let in_flight = self.in_flight.get(key).filter(|_| min_freshness.is_some());
        let result = match (in_flight, self.pending.get_mut(key)) {
            (Some(waiters), _) => waiters.subscribe(),
            (None, Some(pending)) => {
                let both = pending.min_freshness.zip(min_freshness);
                pending.min_freshness = both.map(|(theirs, ours)| theirs.and(ours));
                pending.waiters.subscribe()
            }
            (None, None) => return None,
        };
        Some(Waiter { result, is_shared: true })
    }
}

#[cfg(test)]
#[path = "coalescer_tests.rs"]
mod tests;
