//! Writes by events: durable and summarised before they are acknowledged.
//!
//! Requests that arrive together share one transaction and one sync to disk (group commit).
//! `fold.rs` decides what each request changes. `group.rs` writes that, refreshes the touched days
//! in the same transaction, and commits. A group may meet a lock that another transaction holds, or
//! a row that the database refuses. Then its requests are tried one at a time, beside the main
//! lane, so that only the request that needs the lock waits for it.

mod bank_places;
mod changed;
mod fold;
mod group;
mod group_forming;
mod lanes;
mod registrations;
mod touched_days;

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::Span;

pub use self::registrations::registers;
use self::{fold::Overlay, group_forming::Needs};
use super::{imports::ImportPart, outage::Outage, refresh::Refresher};

use crate::{
    access::{Visible, audit::Actor},
    changes::Changes,
    clock::Clock,
    config::IngestSettings,
    directory::Directory,
    domain::{event::Event, summary::Key},
    metrics::Metrics,
    store::{Cause, Store, StoreError},
};

/// The result of a request's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingested {
    /// The number of events that changed something.
    pub applied: usize,
    /// The number of events that changed nothing, as something newer is known.
    pub superseded: usize,
    /// Each facility-day that the events touched, with its version after this transaction. Days of
    /// superseded events are included.
    pub summaries: Vec<(Key, i64)>,
    /// Those of them that cannot be counted, as an expression of the mapping fails on a row: their
    /// figures are as they were.
    pub uncounted: Vec<Key>,
}

/// A fault of one event that shows only beside the stored rows: the event refers to something
/// unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFault {
    /// The position of the event in its request, from 0.
    pub index: usize,
    /// The field of the event's `data`.
    pub field: &'static str,
    /// What is wrong, for the client.
    pub detail: String,
}

/// Why the events of a request are not applied, as far as the stored rows decide it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    /// These events are about facilities of which the client may not post any, by position.
    Forbidden(Vec<usize>),
    /// Each faulty event.
    Faulty(Vec<EventFault>),
}

impl From<Refusal> for IngestError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Forbidden(events) => IngestError::Forbidden(events),
            Refusal::Faulty(faults) => IngestError::Invalid(faults),
        }
    }
}

/// Why a request was not acknowledged.
#[derive(Debug)]
pub enum IngestError {
    /// Nothing was applied. These events, by position, are about facilities of which the client may
    /// not post any, or about something that is not known.
    Forbidden(Vec<usize>),
    /// Nothing was applied. Each faulty event is named.
    Invalid(Vec<EventFault>),
    /// The queue is full. Nothing was applied.
    Overloaded,
    /// The database could not be written, or a lock was not free in time. Nothing was applied,
    /// except where the error is `StoreError::InDoubt`.
    Unavailable(StoreError),
    /// A panic was caught. Whether anything was applied is not known.
    Crashed,
}

type Reply = oneshot::Sender<Result<Ingested, IngestError>>;

/// What is applied as one.
struct IngestTask {
    events: Vec<Event>,
    /// The facilities that the events may be about.
    within: Visible,
    /// Who sent them, for the audit log.
    by: Option<Actor>,
    /// The import that it is a part of, which notes what it brings in the same transaction.
    note: Option<ImportPart>,
}

struct Request {
    task: IngestTask,
    /// By this, groups that are under way at the same time are kept apart.
    needs: Needs,
    reply: Reply,
    /// The span of the HTTP request, so that the log lines of its transaction carry its id.
    span: Span,
    /// The request's place in the queue. It is released when the transaction begins.
    _place: Option<OwnedSemaphorePermit>,
}

/// What a transaction needs.
pub struct IngestParts {
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
    parts: Arc<IngestParts>,
}

impl Ingest {
    /// Starts the lanes. Once every `Ingest` is dropped they work off their queue and end; the
    /// handle ends after them.
    pub fn start(parts: IngestParts) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, requests) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(parts.settings.queue));
        let parts = Arc::new(parts);
        let lane = tokio::spawn(lanes::run(parts.clone(), requests));
        (Ingest { queue, places, parts }, lane)
    }

    /// Applies these events as one: all of them, or none. Waits at most `ingest.timeout_ms`; after
    /// that the error is `StoreError::InDoubt`.
    pub async fn submit(&self, events: Vec<Event>) -> Result<Ingested, IngestError> {
        self.submit_within(events, Visible::All, None).await
    }

    /// The same for a client that may only post events of some facilities. Where it registers
    /// something, `by` is noted in the audit log.
    pub async fn submit_within(
        &self,
        events: Vec<Event>,
        within: Visible,
        by: Option<Actor>,
    ) -> Result<Ingested, IngestError> {
        let outside = Overlay::named_outside(&events, &within);
        if !outside.is_empty() {
            self.count_rejected(events.iter().map(Event::type_name));
            return Err(IngestError::Forbidden(outside));
        }
        self.submit_task(IngestTask { events, within, by, note: None }).await
    }

    /// The same for a part of an import: with it is noted what it brings, and what that replaces.
    pub async fn submit_noted(
        &self,
        events: Vec<Event>,
        note: ImportPart,
    ) -> Result<Ingested, IngestError> {
        let (within, note) = (Visible::All, Some(note));
        self.submit_task(IngestTask { events, within, by: None, note }).await
    }

    async fn submit_task(&self, task: IngestTask) -> Result<Ingested, IngestError> {
        let events = &task.events;
        let names: Vec<&'static str> = events.iter().map(Event::type_name).collect();
        let (reply, answer) = oneshot::channel();
        let needs = Needs::of(events);
        let result = match self.places.clone().try_acquire_owned() {
            Ok(place) => match self.queue.send(Request {
                task,
                needs,
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
                    Err(_) => Err(IngestError::Unavailable(StoreError::InDoubt(Cause::NoAnswer))),
                },
                Err(_) => Err(IngestError::Crashed),
            },
            Err(_) => Err(IngestError::Overloaded),
        };
        if result.is_err() {
            self.count_rejected(names.into_iter());
        }
        result
    }

    fn count_rejected(&self, names: impl Iterator<Item = &'static str>) {
        let events = &self.parts.metrics.events;
        names.for_each(|name| events.with_label_values(&[name, "rejected"]).inc());
    }

    /// The number of requests that wait, and the number that may.
    pub fn backlog(&self) -> (usize, usize) {
        (self.parts.settings.queue - self.places.available_permits(), self.parts.settings.queue)
    }
}
