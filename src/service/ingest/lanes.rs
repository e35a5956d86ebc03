//! The lanes in which groups are committed, and those in which the requests of a failed group are
//! tried one by one.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use super::{
    IngestError, IngestParts, IngestTask, Reply, Request,
    group::Group,
    group_forming::{Needs, form_group},
    touched_days,
};
use crate::store::StoreError;

/// Forms groups: the requests that arrived while the lanes were busy make the next group, except
/// those that share an id with a group under way. Two groups about the same entities would wait for
/// each other's row locks, and would take these for locks of other programs.
pub(super) async fn run(parts: Arc<IngestParts>, mut requests: mpsc::UnboundedReceiver<Request>) {
    let side = Arc::new(SideLanes {
        quick: Semaphore::new(parts.settings.slow_lanes),
        slow: Semaphore::new(parts.settings.slow_lanes),
    });
    let slow_tasks = TaskTracker::new();
    let lanes = parts.store.writers();
    let mut under_way: JoinSet<()> = JoinSet::new();
    let mut needs_under_way: HashMap<tokio::task::Id, Needs> = HashMap::new();
    let mut waiting: VecDeque<Request> = VecDeque::new();
    let mut open = true;
    while open || !waiting.is_empty() || !under_way.is_empty() {
        if under_way.len() < lanes {
            let group =
                form_group(&mut waiting, needs_under_way.values(), parts.settings.group_events);
            if !group.is_empty() {
                let needs = Needs::of(group.iter().flat_map(|r| &r.task.events));
                let (parts, side, slow_tasks) = (parts.clone(), side.clone(), slow_tasks.clone());
                let lane = under_way
                    .spawn(async move { take_group(&parts, &side, &slow_tasks, group).await });
                needs_under_way.insert(lane.id(), needs);
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
                needs_under_way.remove(&id);
            }
        }
    }
    slow_tasks.close();
    slow_tasks.wait().await;
}

/// Commits a group, and passes requests that must be tried alone to the side lanes.
async fn take_group(
    parts: &Arc<IngestParts>,
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
    async fn take(&self, parts: &IngestParts, request: Request, tried_alone: bool) {
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
                &StoreError::Conflict,
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

/// Of a request what is needed once its events are in a transaction.
struct Sender {
    needs: Needs,
    reply: Reply,
    span: Span,
}

/// Commits a group and answers its requests. The requests that come back are to be tried alone, or
/// with the longer lock wait.
async fn commit(parts: &IngestParts, requests: Vec<Request>, lock_wait: LockWait) -> Vec<Request> {
    let alone = requests.len() == 1;
    let lock_timeout = Duration::from_millis(match lock_wait {
        LockWait::Short => parts.settings.group_lock_timeout_ms,
        LockWait::Long => parts.settings.lock_timeout_ms,
    });
    let span = if alone { requests[0].span.clone() } else { Span::none() };
    let (tasks, senders): (Vec<IngestTask>, Vec<Sender>) = requests
        .into_iter()
        .map(|r| (r.task, Sender { needs: r.needs, reply: r.reply, span: r.span }))
        .unzip();
    let mut attempt = 1;
    let result = loop {
        let commit = Group::new(parts, &tasks).commit(lock_timeout).instrument(span.clone());
        let tried = std::panic::AssertUnwindSafe(commit).catch_unwind().await;
        match tried {
            Ok(Err(StoreError::Conflict)) if attempt < ATTEMPTS => attempt += 1,
            // The facility or blood bank of an event may have been deleted a moment ago. They are
            // read again, so that the next attempt names the event.
            Ok(Err(StoreError::Refused(_))) if alone && attempt == 1 => attempt += 1,
            Ok(result) => break Some(result),
            Err(_) => break None,
        }
    };
    match result {
        Some(Ok(outcomes)) => {
            for (sender, outcome) in senders.into_iter().zip(outcomes) {
                // The events of a client that went away are applied all the same.
                let _ = sender.reply.send(outcome);
            }
            Vec::new()
        }
        Some(Err(error)) if alone && parts.store.is_of_rows(&error) => {
            for (task, sender) in tasks.iter().zip(senders) {
                let _ = sender.reply.send(touched_days::refresh_each(parts, task).await);
            }
            Vec::new()
        }
        Some(Err(error)) if is_worth_another_try(&error, alone, lock_wait) => tasks
            .into_iter()
            .zip(senders)
            .map(|(task, Sender { needs, reply, span })| Request {
                task,
                needs,
                reply,
                span,
                _place: None,
            })
            .collect(),
        Some(Err(error)) => {
            parts.outage.failed(&error);
            // The caller of `submit` logs when refusals begin, and counts the others.
            for Sender { span, .. } in &senders {
                span.in_scope(|| tracing::debug!(%error, "events refused"));
            }
            refuse(senders.into_iter().map(|sender| sender.reply).collect(), &error);
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
        StoreError::Refused(_)
        | StoreError::Unreadable(_)
        | StoreError::WrongDifference { .. }
        | StoreError::OtherEpoch => !alone,
        StoreError::Failed(_) => !alone && !error.is_of_the_whole_database(),
        StoreError::Locked(_) | StoreError::Conflict => !alone || lock_wait == LockWait::Short,
        _ => false,
    }
}

/// Answers all requests with the error.
fn refuse(replies: Vec<Reply>, error: &StoreError) {
    for reply in replies {
        let _ = reply.send(Err(IngestError::Unavailable(error.clone())));
    }
}
