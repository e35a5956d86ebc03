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
    changes::Changes,
    clock::Clock,
    config::Settings,
    directory::{Directory, Located},
    jobs::{drain::Drain, rebuild::Rebuild},
    metrics::Metrics,
    redis::Link,
    service::{
        ingest::Ingest,
        lists::Lists,
        outage::Outage,
        reads::{Reads, freshness_request::FreshnessRequest},
        refresh::coalescer::RefreshCoalescer,
    },
    store::Store,
    telemetry::log_repeats::LogRepeats,
};

pub struct AppState {
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
    pub lists: Arc<Lists>,
    pub coalescer: Arc<RefreshCoalescer>,
    pub ingest: Ingest,
    pub drain: Arc<Drain>,
    pub rebuild: Arc<Rebuild>,
    pub started: Instant,
    /// The service was told to stop: it is not ready, and every answer closes its connection.
    pub draining: Arc<AtomicBool>,
    /// Requests that were not served, by route and status: told when that begins and ends.
    pub refused: Arc<LogRepeats<(&'static str, u16)>>,
    /// The runtime of everything but HTTP itself.
    pub runtime: Handle,
}

/// The directory counts as current while the drain has proven it within that time.
const DIRECTORY_CURRENT_MS: i64 = 5_000;

/// How well the directory has to know that a facility does not exist.
#[derive(Debug, Clone, Copy)]
pub enum Known {
    /// As of so many milliseconds ago, or less.
    Of(i64),
    /// As of now: the reader knows of a version that must be somewhere, say.
    Exactly,
}

impl AppState {
    /// The facility that a path names. An unknown one costs no query, unless the directory cannot
    /// prove itself current enough for this reader: then one rate-limited look-up.
    pub async fn facility(
        &self,
        request: &HttpRequest,
        requested: Known,
    ) -> Result<Located, Problem> {
        let id = path_id(request, "facility_id")?;
        match self.directory.locate(id) {
            Some(located) => Ok(located),
            None => Box::pin(self.look_up(id, requested)).await,
        }
    }

    /// A facility that has no such day, as it is where the directory cannot prove itself current
    /// enough for this reader: it may have moved to a zone in which the day has begun.
    pub async fn facility_again(
        &self,
        located: Located,
        requested: Known,
    ) -> Result<Located, Problem> {
        if self.is_directory_current(requested) {
            Ok(located)
        } else {
            self.look_up(located.facility.id, requested).await
        }
    }

    fn is_directory_current(&self, requested: Known) -> bool {
        let age_ms = self.clock.now_ms().saturating_sub(self.directory.exact_as_of_ms());
        match requested {
            Known::Of(max_age_ms) => {
                max_age_ms > 0
                    && age_ms <= max_age_ms.min(DIRECTORY_CURRENT_MS)
                    && self.changes.is_attached()
            }
            Known::Exactly => false,
        }
    }

    async fn look_up(&self, id: Uuid, requested: Known) -> Result<Located, Problem> {
        if !self.is_directory_current(requested) {
            let unasked = || {
                Problem::unavailable(
                    format!(
                        "Facility {id} is not known here, and the source cannot be asked for it \
                         now."
                    ),
                    2,
                )
            };
            if self.outage.is_on() {
                return Err(unasked());
            }
            let (directory, store) = (self.directory.clone(), self.store.clone());
            let found = self.detached(async move { directory.look_up(&*store, id).await }).await;
            let found = found.map_err(|error| unasked().caused_by(&error))?;
            if let Some(located) = found {
                return Ok(located);
            }
        }
        Err(Problem::not_found(format!("Facility {id} is not registered.")))
    }

    /// Has the directory read where it is older than the reader wants it; 503 where that cannot be
    /// had now.
    pub async fn read_directory(&self, requested: &FreshnessRequest) -> Result<(), Problem> {
        let age_ms = self.clock.now_ms().saturating_sub(self.directory.exact_as_of_ms());
        let most_ms = requested.max_age_ms.saturating_add(requested.max_stale_ms.unwrap_or(0));
        if most_ms > 0 && age_ms <= most_ms {
            return Ok(());
        }
        if requested.only_if_cached {
            return Err(Problem::gateway_timeout(
                "The request said only-if-cached, and the facilities are not known as fresh as \
                 that.",
            ));
        }
        let unasked = || {
            Problem::unavailable(
                "The source cannot be asked now, and the facilities are not known as fresh as \
                 that.",
                2,
            )
        };
        let (directory, store) = (self.directory.clone(), self.store.clone());
        let (clock, arrived_ms) = (self.clock.clone(), self.clock.now_ms());
        let will_do = move |as_of_ms: i64| {
            as_of_ms > arrived_ms
                || (most_ms > 0 && clock.now_ms().saturating_sub(as_of_ms) <= most_ms)
        };
        let reading = async move { directory.catch_up(&*store, will_do).await };
        let read = self
            .detached(tokio::time::timeout(self.settings.freshness.refresh_timeout(), reading))
            .await;
        let stale_if_error_ms =
            i64::try_from(self.settings.freshness.stale_if_error_seconds.saturating_mul(1_000))
                .unwrap_or(i64::MAX);
        match read {
            Ok(Ok(())) => Ok(()),
            _ if !requested.explicit && age_ms <= stale_if_error_ms => Ok(()),
            Ok(Err(error)) => {
                self.outage.failed(&error);
                Err(unasked())
            }
            Err(_) => Err(unasked()),
        }
    }

    /// Runs work that waits for the database away from the HTTP worker: it outlives a reader that
    /// goes away half-way, and the connections that it opens do not end with the worker.
    pub async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.runtime.spawn(work).await {
            Ok(done) => done,
            // The wrapper of every resource contains and counts it.
            Err(error) => std::panic::resume_unwind(
                error.try_into_panic().unwrap_or_else(|_| Box::new("the runtime has stopped")),
            ),
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
            "{name} {} in the path is not an id; expected a UUID such as \
             0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d.",
            Shown(text)
        ))
    })
}
