//! Writes by events: durable and summarised before they are acknowledged.
//!
//! Requests that arrive together share one transaction and one sync to disk (group commit).
//! `fold.rs` decides what each request changes. `group.rs` writes that, refreshes the touched days
//! in the same transaction, and commits. A group may meet a lock that another transaction holds, or
//! a row that the database refuses. Then its requests are tried one at a time, beside the main
//! lane, so that only the request that needs the lock waits for it.

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
use super::{imports::Note, outage::Outage, refresh::Refresher};
use tracing::{Instrument, Span};

use crate::{
    changes::Changes,
    clock::Clock,
    config::IngestSettings,
    directory::Directory,
    domain::event::Event,
    metrics::Metrics,
    store::{Store, StoreError},
};

/// The result of a request's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The number of events that changed something.
    pub applied: usize,
    /// The number of events that changed nothing, as something newer is known.
    pub superseded: usize,
    /// Each facility-day that the events touched, with its version after this transaction. Days of
    /// superseded events are included.
    pub summaries: Vec<(Uuid, Date, i64)>,
}

/// A fault of one event that shows only beside the stored rows: the event refers to something
/// unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The position of the event in its request, from 0.
    pub index: usize,
    /// The field of the event's `data`.
    pub field: &'static str,
    /// What is wrong, for the client.
    pub detail: String,
}

/// Why a request was not acknowledged.
#[derive(Debug)]
pub enum IngestError {
    /// Nothing was applied. Each faulty event is named.
    Invalid(Vec<Fault>),
    /// The queue is full. Nothing was applied.
    Overloaded,
    /// The database could not be written, or a lock was not free in time. Nothing was applied,
    /// except where the error is `StoreError::InDoubt`.
    Unavailable(StoreError),
    /// A panic was caught. Whether anything was applied is not known.
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
    /// The ids that its events are about or refer to.
    ids: Vec<Uuid>,
    reply: Reply,
    /// The span of the HTTP request, so that the log lines of its transaction carry its id.
    span: Span,
    /// The request's place in the queue. It is released when the transaction begins.
    _place: Option<OwnedSemaphorePermit>,
}

/// What a transaction needs.
pub struct Parts {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Refreshes the touched days.
    pub refresher: Arc<Refresher>,
    /// Knows the facilities.
    pub directory: Arc<Directory>,
    /// Publishes what was committed.
    pub changes: Arc<Changes>,
    /// The database's time.
    pub clock: Arc<Clock>,
    /// Records failures of the database.
    pub outage: Arc<Outage>,
    /// Counts events and panics.
    pub metrics: Arc<Metrics>,
    /// Bounds and time-outs.
    pub settings: IngestSettings,
}

/// The entry for events: a bounded queue before the lanes.
pub struct Ingest {
    queue: mpsc::UnboundedSender<Request>,
    /// The free places of the queue.
    places: Arc<Semaphore>,
    parts: Arc<Parts>,
}

impl Ingest {
    /// Starts the lanes. Once every `Ingest` is dropped they work off their queue and end; the
    /// handle ends after them.
    pub fn start(parts: Parts) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, requests) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(parts.settings.queue));
        let parts = Arc::new(parts);
        let lane = tokio::spawn(run(parts.clone(), requests));
        (Ingest { queue, places, parts }, lane)
    }

    /// Applies these events as one: all of them, or none. Waits at most `ingest.timeout_ms`; after
    /// that the error is `StoreError::InDoubt`.
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
            Ok(place) => match self.queue.send(Request {
                task,
                ids,
                reply,
                span: Span::current(),
                _place: Some(place),
            }) {
                // The transaction goes on after the time-out: a database that hangs may still carry
                // it out.
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

    /// The number of requests that wait, and the number that may.
    pub fn backlog(&self) -> (usize, usize) {
        (self.parts.settings.queue - self.places.available_permits(), self.parts.settings.queue)
    }
}

/// Forms groups: the requests that arrived while the lanes were busy make the next group, except
/// those that share an id with a group under way. Two groups about the same entities would wait for
/// each other's row locks, and would take these for locks of other programs.
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
                // A panic within a transaction is caught there. A panic outside of it ends only its
                // own group.
                let id = done.map_or_else(|error| error.id(), |(id, ())| id);
                ids_under_way.remove(&id);
            }
        }
    }
    slow_tasks.close();
    slow_tasks.wait().await;
}

/// Takes requests that share no id with those under way, oldest first, with `most_events` events at
/// the most; the first request may have more. A request that stays reserves its ids, so that later
/// requests cannot pass it again and again.
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

/// Commits a group, and passes requests that must be tried alone to the side lanes.
async fn take_group(
    parts: &Arc<Parts>,
    side: &Arc<SideLanes>,
    slow_tasks: &TaskTracker,
    group: Vec<Request>,
) {
    let was_alone = group.len() == 1;
    for request in commit(parts, group, LockWait::Short).await {
        if slow_tasks.len() >= parts.settings.queue {
            // The number of requests that wait for a lock is bounded like the queue. A client that
            // went away needs no answer.
            let _ = request.reply.send(Err(IngestError::Overloaded));
            continue;
        }
        let (parts, side) = (parts.clone(), side.clone());
        slow_tasks.spawn(async move { side.take(&parts, request, was_alone).await });
    }
}

/// The lanes in which the requests of a failed group are tried one by one.
struct SideLanes {
    /// For a short try that finds the requests which made the group fail.
    quick: Semaphore,
    /// For those requests, until they get their lock or have waited long enough for it.
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
        // A request that gets no lane in this time would not have got the lock either. So a request
        // waits here for twice this time at the most.
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

/// How long a transaction may wait for a lock: `Short` where other requests wait for it, `Long` on
/// the last try.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LockWait {
    Short,
    Long,
}

/// The number of attempts when a concurrent transaction interferes.
const ATTEMPTS: usize = 4;

/// Commits a group and answers its requests. The requests that come back are to be tried alone, or
/// with the longer lock wait.
async fn commit(parts: &Parts, requests: Vec<Request>, lock_wait: LockWait) -> Vec<Request> {
    let alone = requests.len() == 1;
    let lock_timeout = Duration::from_millis(match lock_wait {
        LockWait::Short => parts.settings.group_lock_timeout_ms,
        LockWait::Long => parts.settings.lock_timeout_ms,
    });
    let span = if alone { requests[0].span.clone() } else { Span::none() };
    let (tasks, (ids, replies)): (Vec<Task>, (Vec<_>, Vec<(Reply, Span)>)) =
        requests.into_iter().map(|r| (r.task, (r.ids, (r.reply, r.span)))).unzip();
    let mut attempt = 1;
    let result = loop {
        let commit = Group::new(parts, &tasks).commit(lock_timeout).instrument(span.clone());
        let tried = std::panic::AssertUnwindSafe(commit).catch_unwind().await;
        match tried {
            Ok(Err(StoreError::Conflict)) if attempt < ATTEMPTS => attempt += 1,
            Ok(result) => break Some(result),
            Err(_) => break None,
        }
    };
    match result {
        Some(Ok(outcomes)) => {
            for ((reply, _), outcome) in replies.into_iter().zip(outcomes) {
                // The events of a client that went away are applied all the same.
                let _ = reply.send(outcome);
            }
            Vec::new()
        }
        Some(Err(error)) if is_worth_another_try(&error, alone, lock_wait) => tasks
            .into_iter()
            .zip(ids)
            .zip(replies)
            .map(|((task, ids), (reply, span))| Request { task, ids, reply, span, _place: None })
            .collect(),
        Some(Err(error)) => {
            parts.outage.failed(&error);
            // The caller of `submit` logs when refusals begin, and counts the others.
            for (_, span) in &replies {
                span.in_scope(|| tracing::debug!(%error, "events refused"));
            }
            refuse(replies.into_iter().map(|(reply, _)| reply).collect(), error);
            Vec::new()
        }
        None => {
            parts.metrics.panics.inc();
            Vec::new()
        }
    }
}

/// Whether a second try may succeed: the failure may come from another request of the group, and a
/// lock may be released.
fn is_worth_another_try(error: &StoreError, alone: bool, lock_wait: LockWait) -> bool {
    match error {
        StoreError::Refused(_) | StoreError::Unreadable(_) => !alone,
        StoreError::Failed(_) => !alone && !error.is_of_the_whole_database(),
        StoreError::Locked(_) | StoreError::Conflict => !alone || lock_wait == LockWait::Short,
        _ => false,
    }
}

/// Answers all requests with the error. The first gets the error itself, the others one of its
/// class, since the error cannot be cloned.
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
