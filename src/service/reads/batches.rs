//! Batches of table reads. A read that nothing is under way for begins at once, in the reader's own
//! task. The readers that arrive while a statement is under way form the next batch, and one
//! statement reads their days together. So a thousand readers of a thousand days cost a few
//! statements, and one reader waits for nobody, not even for another thread.
//!
//! Later batches run in tasks of their own, and so does the first one when its reader goes away: it
//! takes nothing from the others of its batch.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
};

use crate::{domain::summary::DayKey, metrics::Metrics, service::carried::Carried};

/// The most days that one statement reads.
pub const MOST_DAYS: usize = 1_000;
/// A statement that takes longer than this does not hold the next batch back: its connection may be
/// dead, which only its time-out tells.
const OVERTAKEN_AFTER: Duration = Duration::from_millis(250);
/// Days that make a crowd. While one comes, the next batch waits for the rest of it: a few
/// statements more would take longer than the wait.
const CROWD: usize = 16;
/// A crowd has come when no day was added for so long.
const CROWD_PAUSE: Duration = Duration::from_millis(1);
/// The most time to wait for a crowd.
const CROWD_WAIT: Duration = Duration::from_millis(10);
/// Statements that may be under way at once, those that were overtaken included.
const STATEMENTS: usize = 4;

/// Reads the days of a batch.
pub trait DaySource: Send + Sync + 'static {
    /// What a reader gets of its day.
    type Found: Clone + Send + Sync + 'static;

    /// Reads these days, which are at most [`MOST_DAYS`], and puts what it finds of each.
    fn read(&self, batch: &Batch<Self>) -> impl Future<Output = ()> + Send
    where
        Self: Sized;
}

/// The days that readers wait for, and the batches that read them from `S`.
pub struct Batches<S: DaySource> {
    source: S,
    queue: Mutex<Queue<S::Found>>,
    statements: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    /// Batches run on this runtime. An HTTP worker's runtime would end them together with its
    /// connections.
    runtime: Handle,
}

/// A reader's place in a batch.
pub struct Place<T> {
    readers: watch::Receiver<Option<T>>,
    /// The batch itself, where this reader is the only one of it.
    reading: Option<Carried<()>>,
}

/// What a reader gets that joins a batch.
pub enum Joined<T, Found> {
    Waits(Place<Found>),
    /// Memory has what the reader asked for, from a batch that has just finished.
    JustFinished(T),
}

struct Queue<T> {
    /// The days of the next batch.
    pending: HashMap<Asked, watch::Sender<Option<T>>>,
    /// The days that are being read, each with the number of its batch.
    in_flight: HashMap<Asked, (u64, watch::Sender<Option<T>>)>,
    /// The number of the last batch.
    batch: u64,
    /// The batch that a reader carries.
    carried: Option<Batched>,
    /// A task goes on until nothing is pending.
    is_led: bool,
}

/// A batch that a reader carries.
struct Batched {
    number: u64,
    since: Instant,
    /// Told when it has ended.
    ended: Arc<Notify>,
}

/// A day in its zone. The same date in another zone is another day.
#[derive(Clone)]
struct Asked(DayKey);

impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id() && self.0.facility.zone.name == other.0.facility.zone.name
    }
}

impl Eq for Asked {}

impl Hash for Asked {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.id().hash(hasher);
    }
}

/// One batch: days, and the places of their readers. Where it is dropped before something was put
/// for a day, as by a panic, the readers of that day are told that nothing comes.
pub struct Batch<S: DaySource> {
    days: Vec<(DayKey, watch::Sender<Option<S::Found>>)>,
    number: u64,
    batches: Arc<Batches<S>>,
}

impl<S: DaySource> Batch<S> {
    /// The days; none of them twice.
    pub fn days(&self) -> impl Iterator<Item = &DayKey> {
        self.days.iter().map(|(day, _)| day)
    }

    /// Gives the readers of the day at this place what was found. What is to be kept of it in
    /// memory stands there already: a reader that comes from now on looks there.
    pub fn put(&self, place: usize, found: S::Found) {
        let (day, readers) = &self.days[place];
        self.batches.queue().end(self.number, day);
        readers.send_replace(Some(found));
    }
}

impl<S: DaySource> Drop for Batch<S> {
    fn drop(&mut self) {
        let mut queue = self.batches.queue();
        self.days.iter().for_each(|(day, _)| queue.end(self.number, day));
    }
}

impl<T: Clone> Place<T> {
    /// Waits for what is found; `None` where the batch ended without it.
    pub async fn found(mut self) -> Option<T> {
        if let Some(reading) = self.reading.take() {
            reading.await;
        }
        self.readers.wait_for(Option::is_some).await.ok().and_then(|found| found.clone())
    }

    fn of(readers: &watch::Sender<Option<T>>) -> Self {
        Place { readers: readers.subscribe(), reading: None }
    }
}

impl<S: DaySource> Batches<S> {
    /// Reads from `source`, on the runtime in which this is called.
    pub fn new(source: S, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Batches {
            source,
            queue: Mutex::default(),
            statements: Arc::new(Semaphore::new(STATEMENTS)),
            metrics,
            runtime: Handle::current(),
        })
    }

    /// Joins the readers of a day. With `shares_in_flight` that may be a batch that began before
    /// this call; the caller judges what it brings. Where nobody reads the day,
    /// `just_finished` looks into memory first. So a reader that looked there just before a batch
    /// finished, and joins just after it, does not cause another read.
    pub fn join<T>(
        self: &Arc<Self>,
        day: DayKey,
        shares_in_flight: bool,
        just_finished: impl FnOnce() -> Option<T>,
    ) -> Joined<T, S::Found> {
        let asked = Asked(day);
        let mut queue = self.queue();
        let late = queue.carried.as_ref().filter(|batch| batch.since.elapsed() > OVERTAKEN_AFTER);
        if let Some(number) = late.map(|batch| batch.number) {
            queue.overtake(number);
        }
        if let Some((_, readers)) = queue.in_flight.get(&asked).filter(|_| shares_in_flight) {
            return Joined::Waits(Place::of(readers));
        }
        if let Some(readers) = queue.pending.get(&asked) {
            return Joined::Waits(Place::of(readers));
        }
        if let Some(found) = just_finished() {
            return Joined::JustFinished(found);
        }
        let readers = watch::Sender::new(None);
        let mut place = Place::of(&readers);
        queue.pending.insert(asked, readers);
        if !queue.is_led {
            match &queue.carried {
                None => place.reading = self.begin(&mut queue),
                Some(Batched { number, ended, .. }) => {
                    let following = self.clone().follow(*number, ended.clone());
                    queue.is_led = true;
                    drop(self.runtime.spawn(following));
                }
            }
        }
        Joined::Waits(place)
    }

    /// Begins the batch of a reader that found nothing under way.
    fn begin(self: &Arc<Self>, queue: &mut Queue<S::Found>) -> Option<Carried<()>> {
        let Ok(permit) = self.statements.clone().try_acquire_owned() else {
            queue.is_led = true;
            drop(self.runtime.spawn(self.clone().lead()));
            return None;
        };
        let batch = self.take(queue)?;
        let (number, ended) = (batch.number, Arc::new(Notify::new()));
        queue.carried = Some(Batched { number, since: Instant::now(), ended: ended.clone() });
        let batches = self.clone();
        let reading = async move {
            let mut read = Box::pin(batches.clone().read(batch, permit));
            match futures_util::poll!(&mut read) {
                Poll::Pending => read.await,
                // So fast that readers who came at the same instant were not looked at yet. They
                // are to be read together, and not one by one.
                Poll::Ready(()) => tokio::task::yield_now().await,
            }
            batches.queue().no_longer_carried(number);
            ended.notify_one();
        };
        Some(Carried::new(reading, self.runtime.clone()))
    }

    /// Reads for the readers that came while a reader carried this batch: when it has ended, or
    /// takes long.
    async fn follow(self: Arc<Self>, carried: u64, ended: Arc<Notify>) {
        if tokio::time::timeout(OVERTAKEN_AFTER, ended.notified()).await.is_err() {
            self.queue().overtake(carried);
        }
        self.lead().await;
    }

    /// Reads batch after batch until nothing is pending.
    async fn lead(self: Arc<Self>) {
        loop {
            self.wait_for_crowd().await;
            let Ok(permit) = self.statements.clone().acquire_owned().await else { return };
            let Some(batch) = self.take(&mut self.queue()) else { return };
            let number = batch.number;
            let mut reading = Box::pin(self.clone().read(batch, permit));
            if tokio::time::timeout(OVERTAKEN_AFTER, &mut reading).await.is_err() {
                // Whoever comes from now on does not wait for it either.
                self.queue().overtake(number);
                self.runtime.spawn(reading);
            }
        }
    }

    /// Waits while many readers come at once. A few readers wait for nobody.
    async fn wait_for_crowd(&self) {
        let begun = Instant::now();
        let mut pending = self.queue().pending.len();
        while (CROWD..MOST_DAYS).contains(&pending) && begun.elapsed() < CROWD_WAIT {
            tokio::time::sleep(CROWD_PAUSE).await;
            let now_pending = self.queue().pending.len();
            if now_pending == pending {
                return;
            }
            pending = now_pending;
        }
    }

    async fn read(self: Arc<Self>, batch: Batch<S>, _permit: OwnedSemaphorePermit) {
        if AssertUnwindSafe(self.source.read(&batch)).catch_unwind().await.is_err() {
            self.metrics.panics.inc();
        }
    }

    /// The next batch. `None` where nothing is pending: whoever joins next starts another task.
    fn take(self: &Arc<Self>, queue: &mut Queue<S::Found>) -> Option<Batch<S>> {
        if queue.pending.is_empty() {
            queue.is_led = false;
            return None;
        }
        queue.batch += 1;
        let Queue { pending, in_flight, batch, .. } = queue;
        let taken: Vec<Asked> = pending.keys().take(MOST_DAYS).cloned().collect();
        let take = |asked: Asked| {
            let readers = pending.remove(&asked)?;
            in_flight.insert(asked.clone(), (*batch, readers.clone()));
            Some((asked.0, readers))
        };
        let days = taken.into_iter().filter_map(take).collect();
        Some(Batch { days, number: queue.batch, batches: self.clone() })
    }

    fn queue(&self) -> MutexGuard<'_, Queue<S::Found>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Queue<T> {
    /// Nobody who comes from now on waits for this batch.
    fn overtake(&mut self, batch: u64) {
        self.in_flight.retain(|_, (number, _)| *number != batch);
        self.no_longer_carried(batch);
    }

    fn no_longer_carried(&mut self, batch: u64) {
        self.carried.take_if(|carried| carried.number == batch);
    }

    /// This batch does not read the day any more. A later batch that has overtaken it may do.
    fn end(&mut self, batch: u64, day: &DayKey) {
        let asked = Asked(day.clone());
        if self.in_flight.get(&asked).is_some_and(|(number, _)| *number == batch) {
            self.in_flight.remove(&asked);
        }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue {
            pending: HashMap::new(),
            in_flight: HashMap::new(),
            batch: 0,
            carried: None,
            is_led: false,
        }
    }
}
