//! What handlers share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use actix_web::HttpRequest;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::{fields, json::Shown, problem::Problem};
use crate::{
    cache::memory::Memory,
    changes::{Changes, Following},
    clock::Clock,
    config::Settings,
    domain::facility::Facility,
    jobs::{drain::Drain, rebuild::Rebuild},
    metrics::Metrics,
    redis::Link,
    service::{directory::Directory, flights::Flights, ingest::Ingest, outage::Outage, reads::Reads},
    store::Store,
};

pub struct App {
    pub settings: Settings,
    pub store: Arc<dyn Store>,
    pub memory: Arc<Memory>,
    pub directory: Arc<Directory>,
    pub clock: Arc<Clock>,
    pub outage: Arc<Outage>,
    pub metrics: Arc<Metrics>,
    pub changes: Arc<Changes>,
    /// Where replicas meet, if there are several.
    pub redis: Option<Arc<Link>>,
    pub reads: Arc<Reads>,
    pub flights: Arc<Flights>,
    pub ingest: Ingest,
    pub drain: Arc<Drain>,
    pub rebuild: Arc<Rebuild>,
    pub started: Instant,
    /// The service was told to stop: it is not ready, and every answer closes its connection.
    pub draining: Arc<AtomicBool>,
    /// The runtime of everything but HTTP itself.
    pub runtime: Handle,
}

/// The directory counts as current while the drain has proven it within that time.
const DIRECTORY_CURRENT_MS: i64 = 5_000;

impl App {
    /// The facility that a path names. An unknown one costs no query, unless the directory cannot prove itself current or the reader
    /// knows of a version that must be somewhere (`may_look_up`): then one rate-limited look-up.
    pub async fn facility(&self, request: &HttpRequest, may_look_up: bool) -> Result<Arc<Facility>, Problem> {
        let id = path_id(request, "facility_id")?;
        match self.directory.get(id) {
            Some(facility) => Ok(facility),
            None => Box::pin(self.look_up(id, may_look_up)).await,
        }
    }

    async fn look_up(&self, id: Uuid, may_look_up: bool) -> Result<Arc<Facility>, Problem> {
        let now_ms = self.clock.now_ms();
        let is_read = self.changes.following().is_none_or(Following::knows_all_facilities);
        let is_current = is_read && now_ms.saturating_sub(self.memory.watermark_ms()) <= DIRECTORY_CURRENT_MS;
        if may_look_up || !is_current {
            let unasked =
                || Problem::unavailable(format!("Facility {id} is not known here, and the source cannot be asked for it now."), 2);
            if self.outage.is_on() {
                return Err(unasked());
            }
            let (directory, store) = (self.directory.clone(), self.store.clone());
            let found = self.detached(async move { directory.look_up(&*store, id).await }).await;
            let found = found.map_err(|error| {
                tracing::warn!(%error, facility_id = %id, "an unknown facility could not be looked up");
                unasked()
            })?;
            if let Some(facility) = found {
                return Ok(facility);
            }
        }
        Err(Problem::not_found(format!("Facility {id} is not registered.")))
    }

    /// Runs work that waits for the database away from the HTTP worker: it outlives a reader that goes away half-way, and the
    /// connections that it opens do not end with the worker.
    pub async fn detached<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        match self.runtime.spawn(work).await {
            Ok(done) => done,
            // The wrapper of every resource contains and counts it.
            Err(error) => std::panic::resume_unwind(error.try_into_panic().unwrap_or_else(|_| Box::new("the runtime has stopped"))),
        }
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// The id in a path; 400 where it is none.
pub fn path_id(request: &HttpRequest, name: &str) -> Result<Uuid, Problem> {
    let text = request.match_info().get(name).unwrap_or_default();
    fields::parse_id(text).ok_or_else(|| {
        Problem::bad_request(format!(
            "{name} {} in the path is not an id; expected a UUID such as 0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d.",
            Shown(text)
        ))
    })
}
