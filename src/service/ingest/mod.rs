//! Writes by events: durable and summarised before they are acknowledged.
//!
//! Requests that arrive together share one transaction and one sync (group commit). `fold.rs`
//! decides what each does to the rows as they stand; here it is written, the touched days are
//! refreshed in the same transaction, and everybody is answered. A group that meets a
//! lock of somebody else's, or a row that the database refuses, goes again one request at a time,
//! beside the main lane: only the one who needs that lock waits for it.

mod fold;
mod group;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use jiff::civil::Date;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::group::Group;
use super::{directory::Directory, imports::Note, outage::Outage, refresh::Refresher};
use crate::{
    changes::Changes,
    clock::Clock,
    config::IngestSettings,
    domain::event::Event,
    metrics::Metrics,
    store::{Store, StoreError},
};

/// What became of a request's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Events that changed what is known, and events about something newer that is known already.
    pub applied: usize,
    pub superseded: usize,
    /// Every facility-day touched, superseded events' included, at its version after this
    /// transaction.
    pub summaries: Vec<(Uuid, Date, i64)>,
}

/// A fault of one event, found only beside the stored rows: a reference to something unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Position of the event in its request.
    pub index: usize,
    /// The field of its `data`.
    pub field: &'static str,
    pub detail: String,
}

#[derive(Debug)]
pub enum IngestError {
    /// Nothing was applied; every faulty event is named.
    Invalid(Vec<Fault>),
    /// The queue is full.
    Overloaded,
    /// The database could not be written to, or a lock not be had in time. Nothing was applied.
    Unavailable(StoreError),
    /// A bug was met and contained. Whether anything was applied is not known.
    Crashed,
}

type Reply = oneshot::Sender<Result<Applied, IngestError>>;

/// What is applied as one.
struct Task {
    events: Vec<Event>,
    /// The import that it is a part of, which notes what it brings in the same transaction.
    note: Option<Note>,
}

struct Request {
    task: Task,
    /// What its events are about and refer to.
    ids: Vec<Uuid>,
    reply: Reply,
    /// Its place in the queue, held by being here and given back once its transaction begins.
    _place: Option<OwnedSemaphorePermit>,
}

/// The parts that a transaction needs.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub refresher: Arc<Refresher>,
    pub directory: Arc<Directory>,
    pub changes: Arc<Changes>,
    pub clock: Arc<Clock>,
    pub outage: Arc<Outage>,
    pub metrics: Arc<Metrics>,
    pub settings: IngestSettings,
}

/// The way in: a bounded queue before the lanes.
pub struct Ingest {
    queue: mpsc::UnboundedSender<Request>,
    /// What bounds the queue.
    places: Arc<Semaphore>,
    parts: Arc<Parts>,
}

impl Ingest {
    /// Starts the lanes. They end, their queue worked off, once every `Ingest` is dropped; await
    /// the handle to know.
    pub fn start(parts: Parts) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, requests) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(parts.settings.queue));
        let parts = Arc::new(parts);
        let lane = tokio::spawn(run(parts.clone(), requests));
        (Ingest { queue, places, parts }, lane)
    }

    /// Applies these events as one: all of them, or none.
    pub async fn submit(&self, events: Vec<Event>) -> Result<Applied, IngestError> {
        self.submit_task(Task { events, note: None }).await
    }

    /// The same for a part of an import: with it is noted what it brings, and what that replaces.
    pub async fn submit_noted(
        &self,
        events: Vec<Event>,
        note: Note,
    ) -> Result<Applied, IngestError> {
        self.submit_task(Task { events, note: Some(note) }).await
    }

    async fn submit_task(&self, task: Task) -> Result<Applied, IngestError> {
        let events = &task.events;
        let names: Vec<&'static str> = events.iter().map(Event::type_name).collect();
        let (reply, answer) = oneshot::channel();
        let ids = events.iter().flat_map(Event::ids).collect();
        let result = match self.places.clone().try_acquire_owned() {
            Ok(place) => match self.queue.send(Request { task, ids, reply, _place: Some(place) }) {
                // Its transaction goes on all the same: a database that hangs may still carry it
                // out.
                Ok(()) => match tokio::time::timeout(
                    Duration::from_millis(self.parts.settings.timeout_ms),
                    answer,
                )
                .await
                {
                    Ok(answered) => answered.unwrap_or(Err(IngestError::Crashed)),
                    Err(_) => Err(IngestError::Unavailable(StoreError::InDoubt(
                        sqlx::Error::PoolTimedOut,
                    ))),
                },
                Err(_) => Err(IngestError::Crashed),
            },
            Err(_) => Err(IngestError::Overloaded),
        };
        if result.is_err() {
            names.iter().for_each(|name| {
                self.parts.metrics.events.with_label_values(&[name, "rejected"]).inc()
            });
        }
        result
    }

    /// Requests that wait, and how many may.
    pub fn backlog(&self) -> (usize, usize) {
        (self.parts.settings.queue - self.places.available_permits(), self.parts.settings.queue)
    }
}

/// Forms groups: whatever has arrived while the lanes were busy makes the next, as long as it
/// shares no id with a group under way. Two groups about the same entities would only wait for each
/// other's row locks, and look like somebody else's.
async fn run(parts: Arc<Parts>, mut requests: mpsc::UnboundedReceiver<Request>) {
    let side = Arc::new(SideLanes {
        quick: Semaphore::new(parts.settings.slow_lanes),
        slow: Semaphore::new(parts.settings.slow_lanes),
    });
    let slow_tasks = TaskTracker::new();
    let lanes = parts.store.writers();
    let mut under_way: JoinSet<()> = JoinSet::new();
    let mut ids_under_way: HashMap<tokio::task::Id, HashSet<Uuid>> = HashMap::new();
    let mut waiting: VecDeque<Request> = VecDeque::new();
    let mut open = true;
    while open || !waiting.is_empty() || !under_way.is_empty() {
        if under_way.len() < lanes {
            let group =
                form_group(&mut waiting, ids_under_way.values(), parts.settings.group_events);
            if !group.is_empty() {
                let ids = group.iter().flat_map(|r| r.ids.iter().copied()).collect();
                let (parts, side, slow_tasks) = (parts.clone(), side.clone(), slow_tasks.clone());
                let lane = under_way
                    .spawn(async move { take_group(&parts, &side, &slow_tasks, group).await });
                ids_under_way.insert(lane.id(), ids);
                continue;
            }
        }
        tokio::select! {
            request = requests.recv(), if open => match request {
                Some(request) => {
                    waiting.push_back(request);
                    while let Ok(next) = requests.try_recv() {
                        waiting.push_back(next);
                    }
                }
                None => open = false,
            },
            Some(done) = under_way.join_next_with_id(), if !under_way.is_empty() => {
                // A panic within a transaction is caught there; one outside of it ends no more than its own group.
                let id = done.map_or_else(|error| error.id(), |(id, ())| id);
                ids_under_way.remove(&id);
            }
        }
    }
    slow_tasks.close();
    slow_tasks.wait().await;
}

/// Takes requests that share no id with those under way, the longest waiting first, up to so many
/// events. One that has to stay keeps its ids for itself, so that nobody overtakes it for ever.
fn form_group<'a>(
    waiting: &mut VecDeque<Request>,
    under_way: impl Iterator<Item = &'a HashSet<Uuid>>,
    most_events: usize,
) -> Vec<Request> {
    let mut taken_ids: HashSet<Uuid> = under_way.flatten().copied().collect();
    let (mut group, mut stay, mut events) = (Vec::new(), VecDeque::new(), 0);
    while let Some(request) = waiting.pop_front() {
        let is_free = taken_ids.is_empty() || request.ids.iter().all(|id| !taken_ids.contains(id));
        if is_free && (group.is_empty() || events + request.task.events.len() <= most_events) {
            events += request.task.events.len();
            group.push(Request { _place: None, ..request });
        } else {
            taken_ids.extend(request.ids.iter().copied());
            stay.push_back(request);
        }
    }
    *waiting = stay;
    group
}

/// Commits a group; what has to go alone goes beside.
async fn take_group(
    parts: &Arc<Parts>,
    side: &Arc<SideLanes>,
    slow_tasks: &TaskTracker,
    group: Vec<Request>,
) {
    let was_alone = group.len() == 1;
    for request in commit(parts, group, LockWait::Short).await {
        if slow_tasks.len() >= parts.settings.queue {
            // Whoever waits for a lock is bounded like whoever waits for a group. A client that
            // went away needs no answer.
            let _ = request.reply.send(Err(IngestError::Overloaded));
            continue;
        }
        let (parts, side) = (parts.clone(), side.clone());
        slow_tasks.spawn(async move { side.take(&parts, request, was_alone).await });
    }
}

/// Where the requests of a failed group go, one by one.
struct SideLanes {
    /// For a look at which of them it was: nobody stays in here for long.
    quick: Semaphore,
    /// For those that it was, until they have their lock or have waited for it long enough.
    slow: Semaphore,
}

impl SideLanes {
    async fn take(&self, parts: &Parts, request: Request, tried_alone: bool) {
        let mut waiting = vec![request];
        if !tried_alone && let Ok(_lane) = self.quick.acquire().await {
            waiting = commit(parts, waiting, LockWait::Short).await;
        }
        if waiting.is_empty() {
            return;
        }
        // Who finds no lane in that time would not have got the lock either: nobody hangs for
        // longer than twice that.
        match tokio::time::timeout(
            Duration::from_millis(parts.settings.lock_timeout_ms),
            self.slow.acquire(),
        )
        .await
        {
            Ok(_lane) => drop(commit(parts, waiting, LockWait::Long).await),
            Err(_) => refuse(
                waiting.into_iter().map(|request| request.reply).collect(),
                StoreError::Conflict,
            ),
        }
    }
}

/// How long a transaction may wait for a lock: `Short` where others wait for it, `Long` on a last
/// try.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LockWait {
    Short,
    Long,
}

/// How often a transaction is tried again when a concurrent one interfered.
const ATTEMPTS: usize = 4;

/// Commits a group and answers its requests. What comes back is to be tried alone, or with more
/// lock_wait.
async fn commit(parts: &Parts, requests: Vec<Request>, lock_wait: LockWait) -> Vec<Request> {
    let alone = requests.len() == 1;
    let lock_timeout = Duration::from_millis(match lock_wait {
        LockWait::Short => parts.settings.group_lock_timeout_ms,
        LockWait::Long => parts.settings.lock_timeout_ms,
    });
    let (tasks, (ids, replies)): (Vec<Task>, (Vec<_>, Vec<_>)) =
        requests.into_iter().map(|r| (r.task, (r.ids, r.reply))).unzip();
    let mut attempt = 1;
    let result = loop {
        let tried = std::panic::AssertUnwindSafe(Group::new(parts, &tasks).commit(lock_timeout))
            .catch_unwind()
            .await;
        match tried {
            Ok(Err(StoreError::Conflict)) if attempt < ATTEMPTS => attempt += 1,
            Ok(result) => break Some(result),
            Err(_) => break None,
        }
    };
    match result {
        Some(Ok(outcomes)) => {
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                // A client that went away has its events applied all the same.
                let _ = reply.send(outcome);
            }
            Vec::new()
        }
        Some(Err(error)) if is_worth_another_try(&error, alone, lock_wait) => tasks
            .into_iter()
            .zip(ids)
            .zip(replies)
            .map(|((task, ids), reply)| Request { task, ids, reply, _place: None })
            .collect(),
        Some(Err(error)) => {
            parts.outage.failed(&error);
            // Whoever answers them tells it when that begins, and counts the rest.
            tracing::debug!(%error, requests = replies.len(), "events refused");
            refuse(replies, error);
            Vec::new()
        }
        None => {
            parts.metrics.panics.inc();
            Vec::new()
        }
    }
}

/// A group's fault may be a neighbour's; a lock may be given back.
fn is_worth_another_try(error: &StoreError, alone: bool, lock_wait: LockWait) -> bool {
    match error {
        StoreError::Refused(_) | StoreError::Unreadable(_) => !alone,
        StoreError::Failed(_) => !alone && !error.is_of_the_whole_database(),
        StoreError::Locked(_) | StoreError::Conflict => !alone || lock_wait == LockWait::Short,
        _ => false,
    }
}

/// Tells everybody. The first gets the error itself, the others its class, since it cannot be
/// copied.
fn refuse(replies: Vec<Reply>, error: StoreError) {
    let another: fn() -> StoreError = match error {
        StoreError::Locked(_) | StoreError::Conflict => || StoreError::Conflict,
        StoreError::InDoubt(_) => || StoreError::InDoubt(sqlx::Error::PoolTimedOut),
        StoreError::Full(_) => || StoreError::Full(sqlx::Error::PoolTimedOut),
        StoreError::Internal(_) => || StoreError::Internal(sqlx::Error::PoolTimedOut),
        _ => || StoreError::Unavailable(sqlx::Error::PoolTimedOut),
    };
    let mut error = Some(error);
    for reply in replies {
        let same = error.take().unwrap_or_else(another);
        let _ = reply.send(Err(IngestError::Unavailable(same)));
    }
}
