//! Refreshes that readers wait for: one per key at a time, whose result all its readers share, and
//! keys that wait together go together. Replicas share a key's refresh through Redis: one of them
//! takes it, the others wait for what it finds.
//!
//! A reader joins the pending that waits; one that takes an answer of any age above zero may also
//! join the one in the air. The work runs in tasks of its own, so that a reader that goes away
//! takes nothing from the others.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{FutureExt, StreamExt};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
};

use crate::{
    cache::{memory::Key, redis::Lease},
    domain::summary::DayKey,
    metrics::Trigger,
    protocol::StoredEntry,
    service::{
        reads::freshness_request::MinFreshness,
        refresh::{
            Refreshed, Refresher,
            lease::{LeaseOutcome, RefreshLeases},
            request::RefreshRequest,
        },
    },
    store::StoreError,
};

/// Refresh transactions in the air at once: enough to keep two connections busy, few enough to
/// leave the pool to writers.
const PERMITS: usize = 2;

/// What a pending brought home: the row, none where the day has not begun or the facility is gone,
/// or why it failed.
pub type RefreshResult = Result<Option<Arc<Refreshed>>, Arc<StoreError>>;
type Waiter = watch::Receiver<Option<RefreshResult>>;

pub struct RefreshCoalescer {
    refresher: Arc<Refresher>,
    shared: Option<Arc<RefreshLeases>>,
    queue: Mutex<Queue>,
    permits: Arc<Semaphore>,
    chunk: usize,
    /// Where coalescer run: not on an HTTP worker, whose connections would end with it.
    runtime: Handle,
}

#[derive(Default)]
struct Queue {
    waiting: HashMap<Key, Pending>,
    in_flight: HashMap<Key, watch::Sender<Option<RefreshResult>>>,
}

struct Pending {
    day_key: DayKey,
    trigger: Trigger,
    /// What another replica's refresh must bring to do for everybody on it. `None`: somebody takes
    /// none that began before it was asked for.
    asked: Option<MinFreshness>,
    waiters: watch::Sender<Option<RefreshResult>>,
}

/// A pending that has boarded.
struct Taken {
    day_key: DayKey,
    trigger: Trigger,
    asked: Option<MinFreshness>,
    in_flight: InFlight,
}

/// A key in the air. Where it is dropped without a result, as by a panic, it lands as lost:
/// otherwise its readers would wait for ever, and the next pending of the key, too.
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
            self.send_result(lost());
            // Whoever would not join it has waited for its result.
            self.coalescer.call();
        }
    }
}

impl RefreshCoalescer {
    /// `chunk` bounds the keys of one transaction. RefreshCoalescer run on the runtime that this is
    /// called in.
    pub fn new(
        refresher: Arc<Refresher>,
        shared: Option<Arc<RefreshLeases>>,
        chunk: usize,
    ) -> Arc<Self> {
        Arc::new(RefreshCoalescer {
            refresher,
            shared,
            queue: Mutex::default(),
            permits: Arc::new(Semaphore::new(PERMITS)),
            chunk,
            runtime: Handle::current(),
        })
    }

    /// Books a waiter. `asked`: a refresh that began before now will do, if it brings that; `None`:
    /// it will not. Answers the waiter, and whether it is shared.
    pub fn join(
        self: &Arc<Self>,
        day_key: DayKey,
        asked: Option<MinFreshness>,
        trigger: Trigger,
    ) -> (Waiter, bool) {
        match self.join_unless(day_key, asked, trigger, || None::<Infallible>) {
            Ok(waiter) => waiter,
            Err(never) => match never {},
        }
    }

    /// The same, unless there is no pending to join and `just_finished` finds what the last one
    /// brought: a reader that looked just before it just_finished, and books just after, must
    /// not start another.
    pub fn join_unless<T>(
        self: &Arc<Self>,
        day_key: DayKey,
        asked: Option<MinFreshness>,
        trigger: Trigger,
        just_finished: impl FnOnce() -> Option<T>,
    ) -> Result<(Waiter, bool), T> {
        let key = day_key.id();
        let mut queue = self.queue();
        if asked.is_some()
            && let Some(in_flight) = queue.in_flight.get(&key)
        {
            return Ok((in_flight.subscribe(), true));
        }
        if let Some(waiting) = queue.waiting.get_mut(&key) {
            waiting.asked = waiting.asked.zip(asked).map(|(theirs, ours)| theirs.and(ours));
            return Ok((waiting.waiters.subscribe(), true));
        }
        // Under the queue's lock: a pending publishes what it brings before it leaves the queue.
        if let Some(found) = just_finished() {
            return Err(found);
        }
        let (waiters, waiter) = watch::channel(None);
        queue.waiting.insert(key, Pending { day_key, trigger, asked, waiters });
        drop(queue);
        self.call();
        Ok((waiter, false))
    }

    /// Has what waits refresh_all, as soon as there is a runway.
    fn call(self: &Arc<Self>) {
        self.runtime.spawn(self.clone().run_pending());
    }

    /// Waits for a booked waiter's result.
    pub async fn wait_for(mut waiter: Waiter) -> RefreshResult {
        match waiter.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or_else(lost),
            Err(_) => lost(),
        }
    }

    /// Takes what waits and flies it, until nothing waits.
    async fn run_pending(self: Arc<Self>) {
        let Ok(_permit) = self.permits.clone().acquire_owned().await else { return };
        loop {
            let taken = self.take_pending();
            let Some(trigger) = taken.first().map(|key| key.trigger) else { return };
            let (taken, leases) = self.take_leases(taken).await;
            if !taken.is_empty() {
                self.refresh_and_finish(taken, leases, trigger).await;
            }
        }
    }

    /// The keys that are this replica's to refresh; another's are waited for beside the runway.
    async fn take_leases(self: &Arc<Self>, taken: Vec<Taken>) -> (Vec<Taken>, Vec<Lease>) {
        let (mut ours, mut leases) = (Vec::with_capacity(taken.len()), Vec::new());
        let leases_taken = taken.iter().map(|key| async {
            match self.shared.as_ref().zip(key.asked) {
                Some((shared, asked)) => shared.acquire(&key.day_key, asked).await,
                None => LeaseOutcome::Acquired(None),
            }
        });
        let leases_taken = futures_util::future::join_all(leases_taken).await;
        for (key, outcome) in taken.into_iter().zip(leases_taken) {
            match (outcome, self.shared.as_ref().zip(key.asked)) {
                (LeaseOutcome::HeldElsewhere, Some((shared, asked))) => {
                    drop(self.runtime.spawn(self.clone().wait_for_another(
                        shared.clone(),
                        key,
                        asked,
                    )));
                }
                (LeaseOutcome::AlreadyRefreshed(entry), _) => key.in_flight.finish_elsewhere(entry),
                (LeaseOutcome::Acquired(lease), _) => {
                    leases.extend(lease);
                    ours.push(key);
                }
                (LeaseOutcome::HeldElsewhere, None) => ours.push(key),
            }
        }
        (ours, leases)
    }

    async fn wait_for_another(
        self: Arc<Self>,
        shared: Arc<RefreshLeases>,
        key: Taken,
        asked: MinFreshness,
    ) {
        match shared.wait(&key.day_key, asked).await {
            Ok(entry) => key.in_flight.finish_elsewhere(entry),
            Err(lease) => {
                // Many may have waited for a replica that died: they must not take the whole pool
                // at once.
                let _permit = self.permits.acquire().await;
                let trigger = key.trigger;
                self.refresh_and_finish(vec![key], lease.into_iter().collect(), trigger).await;
            }
        }
        // Whoever would not join it has waited for its result, and nobody else looks for them.
        self.call();
    }

    async fn refresh_and_finish(&self, taken: Vec<Taken>, leases: Vec<Lease>, trigger: Trigger) {
        let token = self.refresher.changes.fill_token();
        let (day_keys, in_flight): (Vec<DayKey>, Vec<InFlight>) =
            taken.into_iter().map(|p| (p.day_key, p.in_flight)).unzip();
        let results = self.refresh_all(&day_keys, trigger).await;
        let found: Vec<StoredEntry> = match leases.is_empty() {
            true => Vec::new(),
            false => results
                .iter()
                .flatten()
                .flatten()
                .map(|r| StoredEntry { row: r.row.clone(), since: token.position })
                .collect(),
        };
        in_flight.into_iter().zip(results).for_each(|(in_flight, result)| in_flight.finish(result));
        if let Some(shared) = self.shared.as_ref().filter(|_| !leases.is_empty()) {
            shared.done(token, found, leases).await;
        }
    }

    /// Moves waiting coalescer of one trigger, whose key is not in the air, into the air.
    fn take_pending(self: &Arc<Self>) -> Vec<Taken> {
        let mut queue = self.queue();
        let queue = &mut *queue;
        let ready: Vec<Key> = queue
            .waiting
            .keys()
            .filter(|key| !queue.in_flight.contains_key(key))
            .copied()
            .collect();
        let mut taken: Vec<Taken> = Vec::new();
        for key in ready {
            if taken.len() == self.chunk {
                break;
            }
            if taken.first().is_some_and(|first| {
                queue.waiting.get(&key).is_none_or(|f| f.trigger != first.trigger)
            }) {
                continue;
            }
            if let Some(pending) = queue.waiting.remove(&key) {
                queue.in_flight.insert(key, pending.waiters);
                let in_flight = InFlight { coalescer: self.clone(), key, is_finished: false };
                taken.push(Taken {
                    day_key: pending.day_key,
                    trigger: pending.trigger,
                    asked: pending.asked,
                    in_flight,
                });
            }
        }
        taken
    }

    async fn refresh_all(&self, day_keys: &[DayKey], trigger: Trigger) -> Vec<RefreshResult> {
        match self.refresh(day_keys.to_vec(), trigger).await {
            Ok(rows) => {
                let mut rows: HashMap<Key, Arc<Refreshed>> = rows
                    .into_iter()
                    .map(|r| ((r.row.summary.facility_id, r.row.summary.date), Arc::new(r)))
                    .collect();
                day_keys.iter().map(|k| Ok(rows.remove(&k.id()))).collect()
            }
            // One key whose lock somebody holds must not cost its neighbours theirs.
            Err(error)
                if day_keys.len() > 1
                    && matches!(*error, StoreError::Locked(_) | StoreError::Conflict) =>
            {
                let alone = day_keys.iter().cloned().map(|key| async move {
                    self.refresh(vec![key], trigger)
                        .await
                        .map(|rows| rows.into_iter().next().map(Arc::new))
                });
                futures_util::stream::iter(alone).buffered(PERMITS).collect().await
            }
            Err(error) => day_keys.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn refresh(
        &self,
        keys: Vec<DayKey>,
        trigger: Trigger,
    ) -> Result<Vec<Refreshed>, Arc<StoreError>> {
        match std::panic::AssertUnwindSafe(self.refresher.run(RefreshRequest::days(keys, trigger)))
            .catch_unwind()
            .await
        {
            Ok(result) => result.map_err(Arc::new),
            Err(_) => {
                self.refresher.metrics.panics.inc();
                lost().map(|_| Vec::new())
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost() -> RefreshResult {
    Err(Arc::new(StoreError::Failed(sqlx::Error::WorkerCrashed)))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use uuid::Uuid;

    use super::*;
    use crate::{
        config::Settings,
        domain::{
            day::Day,
            facility::{Facility, Zone},
        },
        startup::Core,
    };

    #[tokio::test]
    async fn a_key_whose_flight_panics_lands_as_lost_and_flies_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.database.url = format!("sqlite://{}", folder.path().join("a.db").display());
        let core = Core::open(settings).await.unwrap();
        let coalescer = RefreshCoalescer::new(core.refresher.clone(), None, 8);
        let zone = Arc::new(Zone::named("UTC").unwrap());
        let day = Day::named(&zone.tz, date(2026, 10, 24)).unwrap();
        let day_key = DayKey {
            facility: Arc::new(Facility { id: Uuid::from_u128(1), name: String::new(), zone }),
            day,
        };

        let (waiters, waiter) = watch::channel(None);
        let pending =
            Pending { day_key: day_key.clone(), trigger: Trigger::Request, asked: None, waiters };
        coalescer.queue().waiting.insert(day_key.id(), pending);
        let taken = coalescer.take_pending();
        let pending = async move {
            let _taken = taken;
            panic!("as a part that it needs might");
        };
        assert!(tokio::spawn(pending).await.is_err());
        assert!(RefreshCoalescer::wait_for(waiter).await.is_err(), "its reader is told");

        let (waiter, _) = coalescer.join(day_key, None, Trigger::Request);
        assert!(
            matches!(RefreshCoalescer::wait_for(waiter).await, Ok(None)),
            "the key is free for the next"
        );
    }
}
