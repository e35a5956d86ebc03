//! The start: here the parts are built and connected. `serve` and the tests build all of them, and
//! each other command the ones that it needs.

mod application;
mod connections;
mod first_request;
mod listeners;
mod replica_link;
mod sign_in;
pub mod signals;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    cache::{memory::Memory, views::ViewBounds},
    changes::Changes,
    clock::Clock,
    config::{
        ListsSettings, Settings, SettingsError, Switch, redis_url::RedisUrl,
        sources::SourcesSettings,
    },
    directory::Directory,
    domain::summary::KnownFigures,
    jobs::{
        drain::{Drain, Failing, FirstPass, Tries, TriggerWatch},
        rebuild::Rebuild,
        repair::Repairer,
        schedule::Schedule,
    },
    metrics::Metrics,
    protocol::Position,
    service::{ingest, ingest::Ingest, outage::Outage, refresh::Refresher},
    store,
    store::{Store, StoreError, sqlite::server_lock},
    telemetry::log_throttle::LogThrottle,
};
pub use application::{Application, Stop};
use replica_link::ReplicaParts;

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source} (setting {key}; is another service running there?)"
    )]
    Bind { key: &'static str, address: String, source: std::io::Error },
    /// The database cannot be opened or migrated. `url` is without the password.
    #[error("the database {url} cannot be used: {source}")]
    Store { url: String, source: StoreError },
    /// Another process serves the same SQLite file, or its lock cannot be had.
    #[error(transparent)]
    Serving(#[from] server_lock::ServerLockError),
    /// `rebuild.cron` is not a cron expression.
    #[error(
        "rebuild.cron = {cron:?}: {source}; six fields are expected, seconds first, such as \"15 \
         */5 * * * *\", or \"off\""
    )]
    Cron { cron: String, source: tokio_cron_scheduler::JobSchedulerError },
    /// A setting is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A metric cannot be registered: another one has its name.
    #[error("the metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The HTTP server failed.
    #[error("the server failed: {0}")]
    Server(#[from] std::io::Error),
}

/// The parts below HTTP and jobs. Every command that works on the tables needs them.
pub struct Core {
    /// The settings that the parts were built with.
    pub settings: Settings,
    /// The database.
    pub store: Arc<dyn Store>,
    /// The memory tier.
    pub memory: Arc<Memory>,
    /// The facilities, read once.
    pub directory: Arc<Directory>,
    /// The change stream.
    pub changes: Arc<Changes>,
    /// The database's time.
    pub clock: Arc<Clock>,
    /// Whether the database is out of reach.
    pub outage: Arc<Outage>,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Carries out refreshes.
    pub refresher: Arc<Refresher>,
    /// Carries out rebuilds.
    pub rebuild: Arc<Rebuild>,
    /// What connects this replica with others; for a server with `redis.url` only.
    replica: Option<ReplicaParts>,
}

/// Days for which tombstones are kept beyond the age of the oldest event that is still accepted.
const TOMBSTONE_MARGIN_DAYS: u64 = 7;

impl Core {
    /// Opens the database, migrates it, and loads the directory. For a command: the drain of the
    /// service publishes what the command writes.
    pub async fn open(settings: Settings) -> Result<Self, StartError> {
        Self::open_as(settings, None).await
    }

    /// Like `open`, for a server. With `redis.url` it is one of several replicas.
    pub async fn open_server(settings: Settings) -> Result<Self, StartError> {
        let target = settings.redis.url.as_deref().map(RedisUrl::parse).transpose()?;
        Self::open_as(settings, target).await
    }

    async fn open_as(settings: Settings, redis: Option<RedisUrl>) -> Result<Self, StartError> {
        let failed = |source| StartError::Store {
            url: crate::config::redacted(&settings.database.url),
            source,
        };
        let store =
            store::open(&settings.database, settings.sources.as_ref()).await.map_err(failed)?;
        let clock = Arc::new(Clock::new());
        let sent = Instant::now();
        clock.sync(store.now_ms().await.map_err(failed)?, sent);
        let metrics = Arc::new(Metrics::new()?);
        // Each process numbers the stream within it anew. The random generation makes sure that a
        // position of an earlier process proves nothing in this one.
        let here = Position {
            generation: if redis.is_some() { 0 } else { rand::random_range(1..i64::MAX) },
            number: 0,
        };
        let memory = Memory::new(
            settings.cache.memory_bytes - pages_bytes(&settings),
            settings.cache.recent_changes,
            here,
        );
        let timer = Some(metrics.view_changes.clone());
        let known = settings.sources.as_ref().map_or(KnownFigures::ALL, SourcesSettings::known);
        let memory =
            Arc::new(memory.showing(known).with_views(view_bounds(&settings.lists), timer));
        let stores_watermark = redis.is_some() || settings.database.read_urls().next().is_some();
        let directory = Arc::new(Directory::new(memory.clone(), stores_watermark));
        read_facilities(&directory, &*store).await.map_err(failed)?;
        let (changes, replica) = match redis {
            None => {
                let served = directory.served().clone();
                (Changes::new(memory.clone(), served, None, stores_watermark), None)
            }
            Some(target) => {
                let (changes, replica) = ReplicaParts::join(
                    &target, &settings, &store, &memory, &directory, &clock, &metrics,
                )
                .await;
                (changes, Some(replica))
            }
        };
        let changes = Arc::new(changes);
        let outage = Arc::new(Outage::default());
        let refresher = Arc::new(Refresher {
            store: store.clone(),
            directory: directory.clone(),
            changes: changes.clone(),
            clock: clock.clone(),
            outage: outage.clone(),
            metrics: metrics.clone(),
            lock_timeout: Duration::from_millis(settings.refresh.lock_timeout_ms),
            waiting: LogThrottle::default(),
            verify_differences: settings.refresh.verify_differences == Switch::On,
        });
        let rebuild = rebuild(&settings, &store, &refresher, &directory, &clock, &metrics)?;
        Ok(Core {
            settings,
            store,
            memory,
            directory,
            changes,
            clock,
            outage,
            metrics,
            refresher,
            rebuild,
            replica,
        })
    }

    /// Starts the write path: the queue and the lanes of events.
    pub fn ingest(&self) -> (Ingest, JoinHandle<()>) {
        Ingest::start(ingest::IngestParts {
            store: self.store.clone(),
            refresher: self.refresher.clone(),
            directory: self.directory.clone(),
            changes: self.changes.clone(),
            clock: self.clock.clone(),
            outage: self.outage.clone(),
            metrics: self.metrics.clone(),
            settings: self.settings.ingest.clone(),
        })
    }

    /// The drain, which does nothing until it is run.
    pub fn drain(&self) -> Arc<Drain> {
        Arc::new(Drain {
            store: self.store.clone(),
            refresher: self.refresher.clone(),
            changes: self.changes.clone(),
            directory: self.directory.clone(),
            memory: self.memory.clone(),
            clock: self.clock.clone(),
            outage: self.outage.clone(),
            metrics: self.metrics.clone(),
            batch: self.settings.refresh.drain_batch,
            chunk: self.settings.refresh.chunk,
            leads: Arc::default(),
            begun: AtomicI64::default(),
            stop: CancellationToken::new(),
            throttle: LogThrottle::default(),
            watch: TriggerWatch::default(),
            are_unwatched: Arc::new(AtomicBool::new(self.settings.sources.is_some())),
            tracker: tokio::sync::Mutex::default(),
            start: FirstPass::default(),
            failing: Failing::default(),
            tries: Tries::default(),
        })
    }
}

/// Reads the directory for the first time. Where mapped facilities cannot be read, the last ones
/// are there, and so are the last figures.
async fn read_facilities(directory: &Directory, store: &dyn Store) -> store::Result<()> {
    match directory.read_all(store).await {
        Err(error) if directory.is_loaded() => {
            tracing::error!(
                %error,
                "the mapped facilities cannot be read: the last ones are served"
            );
            Ok(())
        }
        read => read,
    }
}

/// The job that derives everything anew, by its settings.
fn rebuild(
    settings: &Settings,
    store: &Arc<dyn Store>,
    refresher: &Arc<Refresher>,
    directory: &Arc<Directory>,
    clock: &Arc<Clock>,
    metrics: &Arc<Metrics>,
) -> Result<Arc<Rebuild>, StartError> {
    let tombstone_days = u64::from(settings.ingest.max_event_age_days) + TOMBSTONE_MARGIN_DAYS;
    let cron = settings.rebuild_cron();
    let schedule = cron.map(Schedule::parse).transpose();
    let schedule = schedule
        .map_err(|source| StartError::Cron { cron: cron.unwrap_or_default().to_owned(), source })?;
    let repairer = Arc::new(Repairer {
        store: store.clone(),
        refresher: refresher.clone(),
        metrics: metrics.clone(),
        chunk: settings.refresh.chunk,
    });
    Ok(Arc::new(Rebuild {
        store: store.clone(),
        repairer,
        directory: directory.clone(),
        clock: clock.clone(),
        metrics: metrics.clone(),
        schedule,
        days: settings.rebuild.days,
        lock_patience: Duration::from_millis(settings.rebuild.lock_patience_ms),
        prune_tombstones_after: Duration::from_secs(tombstone_days * 86_400),
        audit_log_days: settings.auth.audit_log_days,
        alarm: Notify::new(),
        settled_tick_ms: AtomicI64::new(i64::MIN),
    }))
}

fn view_bounds(settings: &ListsSettings) -> ViewBounds {
    ViewBounds {
        most: settings.views,
        idle_ms: settings.view_idle_seconds.saturating_mul(1_000),
        page_bytes: settings.page_bytes,
    }
}

/// The share of `cache.memory_bytes` for pages that are put together of days: an eighth.
const fn pages_bytes(settings: &Settings) -> u64 {
    settings.cache.memory_bytes / 8
}
