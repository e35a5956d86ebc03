//! The one place where the parts meet: called by `serve`, by the other commands for what they need,
//! and by tests.

mod replica_link;

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::{App as WebApp, HttpServer, web};
use moka::sync::Cache;
use tokio::{runtime::Handle, sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    cache::memory::Memory,
    changes::{Changes, Position},
    clock::Clock,
    config::{Settings, SettingsError},
    http::{self, state::AppState},
    jobs::{
        Jobs,
        drain::{Drain, Failing, Start, Watch},
        midnight::Midnight,
        rebuild::Rebuild,
        repair::Repairer,
        sample_audit::SampleAudit,
        schedule::Schedule,
    },
    metrics::Metrics,
    redis::Target,
    service::{
        directory::Directory,
        ingest::{self, Ingest},
        lists::Lists,
        log_throttle::LogThrottle,
        outage::Outage,
        reads::{self, Reads, Unproven},
        refresh::Refresher,
        refresh_coalescer::RefreshCoalescer,
        standby_reads::StandbyReads,
    },
    store::{self, Store, StoreError, sqlite::server_lock},
};
use replica_link::ReplicaParts;

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "cannot listen on {address}: {source} (setting server.bind, or BIND_ADDR; is another \
         service running there?)"
    )]
    Bind { address: String, source: std::io::Error },
    #[error("the database {url} cannot be used: {source}")]
    Store { url: String, source: StoreError },
    #[error(transparent)]
    Serving(#[from] server_lock::ServerLockError),
    #[error(
        "rebuild.cron = {cron:?}: {source}; six fields are expected, seconds first, such as \"15 \
         */5 * * * *\", or \"off\""
    )]
    Cron { cron: String, source: tokio_cron_scheduler::JobSchedulerError },
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("the server failed: {0}")]
    Server(#[from] std::io::Error),
}

/// The parts below HTTP and jobs: what a command needs that works on the same tables.
pub struct Core {
    pub settings: Settings,
    pub store: Arc<dyn Store>,
    pub memory: Arc<Memory>,
    pub directory: Arc<Directory>,
    pub changes: Arc<Changes>,
    pub clock: Arc<Clock>,
    pub outage: Arc<Outage>,
    pub metrics: Arc<Metrics>,
    pub refresher: Arc<Refresher>,
    pub rebuild: Arc<Rebuild>,
    /// What there is between replicas; for a server that has `redis.url`.
    fleet: Option<ReplicaParts>,
}

/// Tombstones outlive the oldest event that is still accepted by a week.
const TOMBSTONE_MARGIN_DAYS: u64 = 7;

impl Core {
    /// Opens the database, migrates it, and loads the directory. For a command: what it writes is
    /// published by the service's drain.
    pub async fn open(settings: Settings) -> Result<Self, StartError> {
        Self::open_as(settings, None).await
    }

    /// The same for a server, one of several where `redis.url` is set.
    pub async fn open_server(settings: Settings) -> Result<Self, StartError> {
        let target = settings.redis.url.as_deref().map(Target::parse).transpose()?;
        Self::open_as(settings, target).await
    }

    async fn open_as(settings: Settings, redis: Option<Target>) -> Result<Self, StartError> {
        let failed = |source| StartError::Store {
            url: crate::config::redacted(&settings.database.url),
            source,
        };
        let store = store::open(&settings.database).await.map_err(failed)?;
        let clock = Arc::new(Clock::new());
        let sent = Instant::now();
        clock.sync(store.now_ms().await.map_err(failed)?, sent);
        let metrics = Arc::new(Metrics::new()?);
        // Numbered by this process alone, the stream within it is another in each: what an earlier
        // one numbered says nothing here.
        let here = Position {
            generation: if redis.is_some() { 0 } else { rand::random_range(1..i64::MAX) },
            number: 0,
        };
        let memory =
            Arc::new(Memory::new(settings.cache.memory_bytes, settings.cache.recent_changes, here));
        let directory = Arc::new(Directory::new(memory.clone()));
        directory.catch_up(&*store, |_| false).await.map_err(failed)?;
        let (changes, fleet) = match redis {
            None => {
                let has_read_replicas = settings.database.read_urls().next().is_some();
                (Changes::new(memory.clone(), Arc::default(), None, has_read_replicas), None)
            }
            Some(target) => {
                let (changes, fleet) = ReplicaParts::join(
                    &target, &settings, &store, &memory, &directory, &clock, &metrics,
                )
                .await;
                (changes, Some(fleet))
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
        });
        let tombstone_days = u64::from(settings.ingest.max_event_age_days) + TOMBSTONE_MARGIN_DAYS;
        let cron = settings.rebuild_cron();
        let schedule = cron.map(Schedule::parse).transpose();
        let schedule = schedule.map_err(|source| StartError::Cron {
            cron: cron.unwrap_or_default().to_owned(),
            source,
        })?;
        let repairer = Arc::new(Repairer {
            store: store.clone(),
            refresher: refresher.clone(),
            metrics: metrics.clone(),
            chunk: settings.refresh.chunk,
        });
        let rebuild = Arc::new(Rebuild {
            store: store.clone(),
            repairer,
            directory: directory.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            schedule,
            days: settings.rebuild.days,
            lock_patience: Duration::from_millis(settings.rebuild.lock_patience_ms),
            prune_tombstones_after: Duration::from_secs(tombstone_days * 86_400),
            alarm: Notify::new(),
            settled_tick_ms: AtomicI64::new(i64::MIN),
        });
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
            fleet,
        })
    }

    /// The write path: the main lane of events.
    pub fn ingest(&self) -> (Ingest, JoinHandle<()>) {
        Ingest::start(ingest::Parts {
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
            watch: Watch::default(),
            turn: tokio::sync::Mutex::default(),
            start: Start::default(),
            failing: Failing::default(),
        })
    }
}

/// How the service is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Balancers are told first, and requests are answered until they have noticed
    /// (`server.drain_delay_ms`).
    Drain,
    /// Somebody waits at a terminal.
    Now,
}

/// The service, bound and ready to run.
pub struct Application {
    pub address: SocketAddr,
    app: web::Data<AppState>,
    listener: TcpListener,
    jobs: Jobs,
    lane: JoinHandle<()>,
    fleet: Option<replica_link::Running>,
    /// On SQLite the right to serve the file, held until the end.
    _serving: Option<File>,
}

impl Application {
    /// Binds the port, opens the parts and starts the jobs. Port 0 takes a free one.
    pub async fn build(settings: Settings) -> Result<Self, StartError> {
        let started = Instant::now();
        let bind = |source| StartError::Bind { address: settings.server.bind.clone(), source };
        let listener = TcpListener::bind(&settings.server.bind).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let mut core = Core::open_server(settings.clone()).await?;
        let serving = if settings.database.is_postgres() {
            None
        } else {
            Some(server_lock::claim(&settings.database)?)
        };
        let shared = core.fleet.as_ref().map(|fleet| fleet.shared.clone());
        let redis = core.fleet.as_ref().map(|fleet| fleet.link.clone());
        let coalescer =
            RefreshCoalescer::new(core.refresher.clone(), shared.clone(), settings.refresh.chunk);
        let ms = |seconds: u64| i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let reads = Arc::new(Reads {
            memory: core.memory.clone(),
            changes: core.changes.clone(),
            shared,
            store: core.store.clone(),
            standby: Arc::new(StandbyReads::new(
                core.store.clone(),
                core.changes.clone(),
                core.metrics.clone(),
            )),
            coalescer: coalescer.clone(),
            directory: core.directory.clone(),
            clock: core.clock.clone(),
            outage: core.outage.clone(),
            metrics: core.metrics.clone(),
            freshness: settings.freshness.clone(),
            unproven: Unproven {
                memory: ms(settings.cache.memory_fresh_seconds),
                redis: ms(settings.cache.redis_fresh_seconds),
            },
            locked: Cache::builder()
                .max_capacity(reads::LOCKED_KEYS)
                .time_to_live(reads::LOCK_BACK_OFF)
                .build(),
        });
        let (ingest, lane) = core.ingest();
        let drain = core.drain();
        let failed = |source| StartError::Store {
            url: crate::config::redacted(&settings.database.url),
            source,
        };
        drain.look().await.map_err(failed)?;
        let fleet = match core.fleet.take() {
            None => None,
            Some(fleet) => {
                let running = fleet.follow().await;
                // Before anything of it is served: whether the database still has all that the
                // stream tells.
                drain.look().await.map_err(failed)?;
                Some(running)
            }
        };
        let midnight = Arc::new(Midnight {
            store: core.store.clone(),
            refresher: core.refresher.clone(),
            directory: core.directory.clone(),
            clock: core.clock.clone(),
            chunk: settings.refresh.chunk,
            opened: Mutex::default(),
            stop: drain.stop.clone(),
        });
        let audit = Arc::new(SampleAudit {
            repairer: core.rebuild.repairer.clone(),
            directory: core.directory.clone(),
            clock: core.clock.clone(),
            metrics: core.metrics.clone(),
            leads: drain.leads.clone(),
            sample: settings.audit.sample,
        });
        let jobs = Jobs::start(
            drain.clone(),
            Duration::from_millis(settings.refresh.drain_interval_ms),
            midnight,
            core.rebuild.clone(),
            settings.rebuild_cron(),
            settings.audit.interval().map(|interval| (audit, interval)),
            core.metrics.clone(),
        )
        .await
        .map_err(|source| StartError::Cron {
            cron: settings.rebuild_cron().unwrap_or_default().to_owned(),
            source,
        })?;
        let lists = Arc::new(Lists {
            reads: reads.clone(),
            refresher: core.refresher.clone(),
            prover: drain.clone(),
            chunk: settings.refresh.chunk,
        });
        let app = web::Data::new(AppState {
            store: core.store,
            memory: core.memory,
            directory: core.directory,
            clock: core.clock,
            outage: core.outage,
            metrics: core.metrics,
            changes: core.changes,
            redis,
            reads,
            lists,
            coalescer,
            ingest,
            drain,
            rebuild: core.rebuild,
            started,
            draining: Arc::default(),
            refused: Arc::default(),
            runtime: Handle::current(),
            settings,
        });
        Ok(Application { address, app, listener, jobs, lane, fleet, _serving: serving })
    }

    pub fn app(&self) -> &web::Data<AppState> {
        &self.app
    }

    /// Serves until `stop` resolves, then stops in order: not ready, while requests are still
    /// answered, and all jobs but those that another replica can do go on for them; requests in
    /// flight finish; events taken are committed, also of clients that have gone away; jobs end
    /// after the step that each is in; connections close, and what was held on them is free.
    pub async fn run_until(self, stop: impl Future<Output = Stop>) -> Result<(), StartError> {
        let settings = self.app.settings.server.clone();
        let workers = if settings.workers == 0 {
            std::thread::available_parallelism().map_or(2, usize::from)
        } else {
            settings.workers
        };
        let app = self.app.clone();
        let server = HttpServer::new(move || {
            let routed = app.clone();
            WebApp::new()
                .app_data(app.clone())
                .configure(move |config| http::routes(config, &routed))
        })
        .workers(workers)
        .max_connections(settings.max_connections)
        .backlog(4096)
        .client_request_timeout(Duration::from_millis(settings.read_timeout_ms))
        .client_disconnect_timeout(Duration::from_secs(1))
        .shutdown_timeout(settings.shutdown_timeout_seconds)
        .disable_signals()
        .listen(self.listener)?
        .run();
        let handle = server.handle();
        let serving = tokio::spawn(server);
        tracing::info!(address = %self.address, version = env!("CARGO_PKG_VERSION"), database = self.app.store.dialect(), "listening");
        let how = stop.await;
        self.app.draining.store(true, Ordering::Release);
        self.jobs.hand_over();
        if how == Stop::Drain && settings.drain_delay_ms > 0 {
            tracing::info!(
                for_ms = settings.drain_delay_ms,
                "not ready any more, and still answering"
            );
            tokio::time::sleep(Duration::from_millis(settings.drain_delay_ms)).await;
        }
        tracing::info!("stopping");
        handle.stop(true).await;
        serving.await.map_err(std::io::Error::other)??;
        tracing::info!(
            "no request is left; events that were taken are committed, and then jobs end"
        );
        // A transaction in a database that hangs ends with it, or never. What is under way by now
        // is acknowledged to nobody.
        let patience = Duration::from_secs(settings.shutdown_timeout_seconds.max(1));
        match tokio::time::timeout(patience, end(self.jobs, self.lane, self.fleet, self.app)).await
        {
            Ok(()) => tracing::info!("stopped"),
            Err(_) => tracing::warn!(
                after_seconds = patience.as_secs(),
                "stopped while the database had not answered; it takes back what was not committed"
            ),
        }
        Ok(())
    }
}

/// Ends what goes on behind the requests, in order.
async fn end(
    jobs: Jobs,
    lane: JoinHandle<()>,
    fleet: Option<replica_link::Running>,
    app: web::Data<AppState>,
) {
    let store = app.store.clone();
    // The queue ends with its last sender, and the lane with the queue.
    drop(app);
    if lane.await.is_err() {
        tracing::error!("the ingest lane ended in a panic");
    }
    // After the lane: an event may wait for a lock for long, and meanwhile whoever follows this
    // server's watermark is not to wait with it.
    jobs.stop().await;
    if let Some(fleet) = fleet {
        fleet.stop().await;
    }
    store.close().await;
}
