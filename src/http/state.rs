//! What all HTTP handlers share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use actix_web::HttpRequest;
use tokio::runtime::Handle;
use tracing::Instrument;
use uuid::Uuid;

use super::{edge::Edge, field_rules, json::Shown, problem::Problem, tls::Certificate};
use crate::{
    access::{Guard, People},
    cache::memory::Memory,
    changes::Changes,
    clock::Clock,
    config::Settings,
    directory::{Directory, Located},
    jobs::{drain::Drain, rebuild::Rebuild, source_comparison::SourceComparison},
    live::{hub::Hub, viewers::Viewers},
    metrics::Metrics,
    redis::Link,
    service::{
        carried::Carried, freshness_request::FreshnessRequest, ingest::Ingest, lists::Lists,
        outage::Outage, ranges::Ranges, reads::Reads, refresh::coalescer::RefreshCoalescer,
    },
    store::Store,
    telemetry::log_repeats::LogRepeats,
};

/// The parts of the service that handlers use.
pub struct AppState {
    /// The settings.
    pub settings: Settings,
    /// The database.
    pub store: Arc<dyn Store>,
    /// The memory tier.
    pub memory: Arc<Memory>,
    /// The directory of facilities.
    pub directory: Arc<Directory>,
    /// The database's clock.
    pub clock: Arc<Clock>,
    /// Whether the database is out of reach.
    pub outage: Arc<Outage>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The changes of this replica and of others.
    pub changes: Arc<Changes>,
    /// The link to Redis, which replicas share; `None` without Redis.
    pub redis: Option<Arc<Link>>,
    /// Reads of one summary.
    pub reads: Arc<Reads>,
    /// Reads of one day of all facilities.
    pub lists: Arc<Lists>,
    /// Reads of several days of one facility.
    pub ranges: Arc<Ranges>,
    /// Refreshes, one at a time for each facility-day.
    pub coalescer: Arc<RefreshCoalescer>,
    /// What the owner of mapped tables has changed; `None` without a mapping.
    pub comparison: Option<Arc<SourceComparison>>,
    /// The clients that get changes as they happen.
    pub live: Arc<Hub>,
    /// How many of them follow each facility, on all servers.
    pub viewers: Arc<Viewers>,
    /// Writes of events.
    pub ingest: Ingest,
    /// The drain, which processes marks.
    pub drain: Arc<Drain>,
    /// Rebuilds.
    pub rebuild: Arc<Rebuild>,
    /// When the process started.
    pub started: Instant,
    /// What stands before the handlers.
    pub edge: Arc<Edge>,
    /// The certificate of TLS; `None` without TLS.
    pub certificate: Option<Arc<Certificate>>,
    /// Verifies credentials; `None` where there is no sign-in.
    pub guard: Option<Arc<Guard>>,
    /// Signs people in; `None` where there is no sign-in.
    pub people: Option<People>,
    /// Set when the service was told to stop: it is then not ready, and every answer closes its
    /// connection.
    pub draining: Arc<AtomicBool>,
    /// Limits the log of requests that failed, by route and status: it tells when failures begin
    /// and end.
    pub refused: Arc<LogRepeats<(&'static str, u16)>>,
    /// The runtime of all work other than HTTP itself.
    pub runtime: Handle,
}

/// The directory counts as current when the drain verified it within this time.
const DIRECTORY_CURRENT_MS: i64 = 5_000;

/// How current the directory must be before it may say that a facility does not exist.
#[derive(Debug, Clone, Copy)]
pub enum DirectoryDemand {
    /// It may be so many milliseconds old.
    Of(i64),
    /// It must be asked now: for example, the reader knows of a version, so the facility must
    /// exist.
    Exactly,
}

impl AppState {
    /// The facility that the path names. 404 when it does not exist. When the directory is current
    /// enough, an unknown facility costs no query; otherwise it costs one rate-limited look-up. 503
    /// when that is needed and not possible.
    pub async fn facility(
        &self,
        request: &HttpRequest,
        requested: DirectoryDemand,
    ) -> Result<Located, Problem> {
        let id = path_id(request, "facility_id")?;
        match self.directory.locate(id) {
            Some(located) => Ok(located),
            None => Box::pin(self.find_facility(id, requested)).await,
        }
    }

    /// Looks a facility up again after it did not have the requested day: it may have moved to a
    /// time zone in which the day has begun. When the directory is current enough, `located` is
    /// returned without a query.
    pub async fn facility_again(
        &self,
        located: Located,
        requested: DirectoryDemand,
    ) -> Result<Located, Problem> {
        if self.is_directory_current(requested) {
            Ok(located)
        } else {
            self.find_facility(located.facility.id, requested).await
        }
    }

    fn is_directory_current(&self, requested: DirectoryDemand) -> bool {
        let age_ms = self.clock.now_ms().saturating_sub(self.directory.exact_as_of_ms());
        match requested {
            DirectoryDemand::Of(max_age_ms) => {
                max_age_ms > 0
                    && age_ms <= max_age_ms.min(DIRECTORY_CURRENT_MS)
                    && self.changes.is_attached()
                    && self.directory.has_read_all_named()
            }
            DirectoryDemand::Exactly => false,
        }
    }

    async fn find_facility(
        &self,
        id: Uuid,
        requested: DirectoryDemand,
    ) -> Result<Located, Problem> {
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
            let found = self.detached(async move { directory.find(&*store, id).await }).await;
            let found = found.map_err(|error| unasked().caused_by(&error))?;
            if let Some(located) = found {
                return Ok(located);
            }
        }
        Err(Problem::not_found(format!("Facility {id} is not registered.")))
    }

    /// Reads the directory from the table when it is older than the request allows. 503 when that
    /// is not possible now, 504 when the request says `only-if-cached`.
    pub async fn read_directory(&self, requested: &FreshnessRequest) -> Result<(), Problem> {
        let age_ms = self.clock.now_ms().saturating_sub(self.directory.exact_as_of_ms());
        let most_ms = requested.most_stale_ms();
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
        let (clock, arrived_ms) = (self.clock.clone(), self.clock.latest_ms());
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
            // By now it may have been read as another server has stored it.
            _ if !requested.explicit
                && self.clock.now_ms().saturating_sub(self.directory.exact_as_of_ms())
                    <= stale_if_error_ms =>
            {
                Ok(())
            }
            Ok(Err(error)) => {
                self.outage.failed(&error);
                Err(unasked())
            }
            Err(_) => Err(unasked()),
        }
    }

    /// Looks for changes of keys, accounts and denials at once, after one was made here. The other
    /// servers look each half second.
    pub async fn follow_access(&self) -> Result<(), Problem> {
        if let Some(guard) = self.guard.clone() {
            self.detached(async move { guard.follow().await }).await?;
        }
        Ok(())
    }

    /// Runs work that waits for the database in a task of its own, away from the HTTP worker. The
    /// work goes on when its client disconnects, and the connections that it opens do not end with
    /// the worker.
    pub async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.runtime.spawn(work.in_current_span()).await {
            Ok(done) => done,
            // A panic goes on here: the wrapper of every resource catches and counts it.
            Err(error) => std::panic::resume_unwind(
                error.try_into_panic().unwrap_or_else(|_| Box::new("the runtime has stopped")),
            ),
        }
    }

    /// The same for work that is mostly short: it is done within the request, and goes on in a task
    /// of its own when its client disconnects.
    pub fn carried<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Carried<T> {
        Carried::new(work.in_current_span(), self.runtime.clone())
    }

    /// Whether the service was told to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// The id in the path; 400 when it is not a UUID.
pub fn path_id(request: &HttpRequest, name: &str) -> Result<Uuid, Problem> {
    let text = request.match_info().get(name).unwrap_or_default();
    field_rules::parse_id(text).ok_or_else(|| {
        Problem::bad_request(format!(
            "{name} {} in the path is not an id; expected a UUID such as \
             0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d.",
            Shown(text)
        ))
    })
}
