//! The service as a whole: bound to its port, running, and stopping in order.

use std::{
    fs::File,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::web;
use arc_swap::ArcSwap;
use moka::sync::Cache;
use tokio::{runtime::Handle, sync::Semaphore, task::JoinHandle};

use super::{Core, StartError, listeners::Listeners, replica_link::Running, sign_in};
use crate::{
    access::Guard,
    config::{Settings, SettingsError, sources::SourcesSettings},
    http::{edge::Edge, state::AppState, tls::Certificate},
    jobs::{
        JobParts, Jobs, access::AccessFollower, drain::Drain, midnight::Midnight,
        owners_check::OwnersCheck, sample_audit::SampleAudit, source_comparison::SourceComparison,
    },
    live::{
        hub::{Hub, HubParts},
        tiers::{AT_ONCE, Tiers},
        viewers::Viewers,
    },
    service::{
        lists::{Lists, shared_proof::SharedProof},
        ranges::Ranges,
        reads,
        reads::{
            Reads, Unproven,
            batches::Batches,
            standby::StandbyReads,
            table_loader::{Primary, Standby, TableLoader},
        },
        refresh::{coalescer::RefreshCoalescer, lease::RefreshLeases},
    },
    store::sqlite::server_lock,
};

/// How the service stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Readiness fails first, and requests are answered until load balancers have noticed
    /// (`server.drain_delay_ms`).
    Drain,
    /// Without that delay, because a user waits at a terminal.
    Now,
}

/// The service, bound to its port and ready to run.
pub struct Application {
    /// The address that it listens on.
    pub address: SocketAddr,
    app: web::Data<AppState>,
    listeners: Listeners,
    jobs: Jobs,
    lane: JoinHandle<()>,
    replica: Option<Running>,
    /// On SQLite the lock of the one server on the file, held until the end.
    _serving: Option<File>,
}

/// Refuses a start that asks for triggers on mapped tables where there are none.
fn lacks_no_triggers(drain: &Drain) -> Result<(), SettingsError> {
    match drain.watch.lacks_all() {
        true => Err(SettingsError::new("sources.notice", &"triggers", NO_TRIGGERS)),
        false => Ok(()),
    }
}

const NO_TRIGGERS: &str = "there are no triggers on the mapped tables: run `facility-summary adopt \
                           install`, or leave it out";

impl Application {
    /// Binds the port, opens the parts and starts the jobs. Port 0 takes a free port.
    pub async fn build(settings: Settings) -> Result<Self, StartError> {
        let started = Instant::now();
        let listeners = Listeners::bind(&settings.server)?;
        let address = listeners.address()?;
        let mut core = Core::open_server(settings.clone()).await?;
        let is_sqlite = !settings.database.is_postgres();
        let serving = is_sqlite.then(|| server_lock::claim(&settings.database)).transpose()?;
        let shared = core.replica.as_ref().map(|replica| replica.leases.clone());
        let redis = core.replica.as_ref().map(|replica| replica.link.clone());
        let coalescer =
            RefreshCoalescer::new(core.refresher.clone(), shared.clone(), settings.refresh.chunk);
        let reads = reads(&core, &coalescer, shared);
        let (ingest, lane) = core.ingest();
        let drain = core.drain();
        let url = crate::config::redacted(&settings.database.url);
        let failed = |source| StartError::Store { url: url.clone(), source };
        drain.take_snapshot().await.map_err(failed)?;
        lacks_no_triggers(&drain)?;
        let replica = match core.replica.take() {
            None => None,
            Some(replica) => {
                let running = replica.follow().await;
                // Before anything that came from the stream is served, a drain snapshot checks that
                // the database still has every change that the stream contains.
                drain.take_snapshot().await.map_err(failed)?;
                Some(running)
            }
        };
        let comparison =
            settings.sources.as_ref().map(|sources| comparison(&core, sources, &drain));
        let (guard, people) = sign_in::parts(&core, &drain).await?.unzip();
        let edge = Arc::new(Edge::new(&settings, &core.metrics)?);
        let certificate = certificate(&core, &drain)?;
        let jobs = start_jobs(&core, &drain, comparison.clone(), guard.clone()).await?;
        let proof = shared_proof(&core, &reads, &drain);
        let are_broken = comparison.as_ref().map(|comparison| comparison.are_broken.clone());
        let lists = lists(&settings, &reads, &proof, (&drain, are_broken.unwrap_or_default()));
        let ranges = Arc::new(Ranges::new(reads.clone(), proof, super::pages_bytes(&settings)));
        let live = hub(&core, (&reads, &lists), guard.as_ref());
        let app = web::Data::new(AppState {
            viewers: Viewers::start(&live, redis.clone(), &drain.stop),
            live,
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
            ranges,
            coalescer,
            ingest,
            drain,
            comparison,
            rebuild: core.rebuild,
            edge,
            certificate,
            guard,
            people,
            started,
            draining: Arc::default(),
            refused: Arc::default(),
            runtime: Handle::current(),
            settings,
        });
        Ok(Application { address, app, listeners, jobs, lane, replica, _serving: serving })
    }

    /// The state that the HTTP handlers share.
    pub fn app(&self) -> &web::Data<AppState> {
        &self.app
    }

    /// Serves until `stop` resolves, then stops in this order. Readiness fails, while requests are
    /// still answered. Jobs that another replica can take over end, and the others go on. Requests
    /// under way end. Events that were taken are committed, also those of clients that have gone
    /// away. Each job ends after its present step. Connections close, which releases their locks.
    pub async fn run_until(self, stop: impl Future<Output = Stop>) -> Result<(), StartError> {
        let settings = self.app.settings.server.clone();
        let serving = self.listeners.serve(&self.app)?;
        let how = stop.await;
        self.app.draining.store(true, Ordering::Release);
        self.app.live.refuse();
        self.jobs.hand_over();
        if how == Stop::Drain && settings.drain_delay_ms > 0 {
            tracing::info!(
                for_ms = settings.drain_delay_ms,
                "not ready any more, and still answering"
            );
            tokio::time::sleep(Duration::from_millis(settings.drain_delay_ms)).await;
        }
        tracing::info!("stopping");
        self.app.live.drain().await;
        self.app.viewers.leave().await;
        serving.stop().await?;
        tracing::info!(
            "no request is left; events that were taken are committed, and then jobs end"
        );
        // When the database hangs, a transaction ends with its connection, or never. No client got
        // an acknowledgement for what is not committed by now.
        let wait = Duration::from_secs(settings.shutdown_timeout_seconds.max(1));
        match tokio::time::timeout(wait, end(self.jobs, self.lane, self.replica, self.app)).await {
            Ok(()) => tracing::info!("stopped"),
            Err(_) => tracing::warn!(
                after_seconds = wait.as_secs(),
                "stopped while the database had not answered; it takes back what was not committed"
            ),
        }
        Ok(())
    }
}

/// What hands changes to live clients.
fn hub(
    core: &Core,
    (reads, lists): (&Arc<Reads>, &Arc<Lists>),
    guard: Option<&Arc<Guard>>,
) -> Arc<Hub> {
    Hub::new(HubParts {
        memory: core.memory.clone(),
        directory: core.directory.clone(),
        server: Arc::new(Tiers {
            memory: core.memory.clone(),
            directory: core.directory.clone(),
            reads: reads.clone(),
            lists: lists.clone(),
            changes: core.changes.clone(),
            outage: core.outage.clone(),
            clock: core.clock.clone(),
            runtime: Handle::current(),
            places: Semaphore::new(AT_ONCE),
        }),
        metrics: core.metrics.clone(),
        guard: guard.cloned(),
        settings: core.settings.live.clone(),
        is_alone: core.changes.attachment().is_none(),
    })
}

/// The reads of one day of all facilities.
fn lists(
    settings: &Settings,
    reads: &Arc<Reads>,
    proof: &Arc<SharedProof>,
    (drain, are_broken): (&Drain, Arc<AtomicBool>),
) -> Arc<Lists> {
    Arc::new(Lists {
        reads: reads.clone(),
        proof: proof.clone(),
        are_unwatched: drain.are_unwatched.clone(),
        are_broken,
        render_interval_ms: settings.lists.render_interval_ms,
    })
}

/// The reads, on the parts of the core.
fn reads(
    core: &Core,
    coalescer: &Arc<RefreshCoalescer>,
    shared: Option<Arc<RefreshLeases>>,
) -> Arc<Reads> {
    let settings = &core.settings;
    let ms = |seconds: u64| i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let standby = StandbyReads::new(core.store.clone(), core.changes.clone(), core.metrics.clone());
    let standby = Arc::new(standby);
    Arc::new(Reads {
        loader: table_loader(core, &standby, shared.is_some()),
        memory: core.memory.clone(),
        changes: core.changes.clone(),
        leases: shared,
        store: core.store.clone(),
        standby,
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
    })
}

/// The batches in which readers read the table.
fn table_loader(core: &Core, standby: &Arc<StandbyReads>, is_shared: bool) -> TableLoader {
    let primary = Primary {
        store: core.store.clone(),
        memory: core.memory.clone(),
        changes: core.changes.clone(),
        outage: core.outage.clone(),
        clock: core.clock.clone(),
        metrics: core.metrics.clone(),
        is_shared,
    };
    let on_standby = || Standby {
        reads: standby.clone(),
        memory: core.memory.clone(),
        metrics: core.metrics.clone(),
    };
    let has_standbys = core.settings.database.read_urls().next().is_some();
    TableLoader {
        primary: Batches::new(primary, core.metrics.clone()),
        standby: has_standbys.then(|| Batches::new(on_standby(), core.metrics.clone())),
    }
}

/// Starts what the clock starts.
async fn start_jobs(
    core: &Core,
    drain: &Arc<Drain>,
    comparison: Option<Arc<SourceComparison>>,
    guard: Option<Arc<Guard>>,
) -> Result<Jobs, StartError> {
    let settings = &core.settings;
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
    let cron = settings.rebuild_cron();
    let has_checks = settings.sources.as_ref().is_some_and(|sources| !sources.check.is_empty());
    let owners_check = has_checks.then(|| {
        Arc::new(OwnersCheck {
            store: core.store.clone(),
            directory: core.directory.clone(),
            metrics: core.metrics.clone(),
            leads: drain.leads.clone(),
            began: Mutex::default(),
        })
    });
    Jobs::start(JobParts {
        drain: drain.clone(),
        drain_interval: Duration::from_millis(settings.refresh.drain_interval_ms),
        midnight,
        rebuild: core.rebuild.clone(),
        rebuild_cron: cron.map(str::to_owned),
        audit: settings.audit.interval().map(|interval| (audit, interval)),
        comparison,
        owners_check,
        access: guard.map(|guard| Arc::new(AccessFollower { guard, stored: Mutex::default() })),
        metrics: core.metrics.clone(),
    })
    .await
    .map_err(|source| StartError::Cron { cron: cron.unwrap_or_default().to_owned(), source })
}

/// The certificate of TLS, kept current; `None` where TLS is not set.
fn certificate(core: &Core, drain: &Drain) -> Result<Option<Arc<Certificate>>, StartError> {
    let certificate = Certificate::open(&core.settings.server, &core.metrics)?;
    if let Some(certificate) = &certificate {
        tokio::spawn(certificate.clone().keep_current(drain.stop.clone()));
    }
    Ok(certificate)
}

/// The comparison of mapped tables with what they were.
fn comparison(core: &Core, sources: &SourcesSettings, drain: &Arc<Drain>) -> Arc<SourceComparison> {
    Arc::new(SourceComparison {
        interval: Duration::from_secs(sources.compare_seconds.get()),
        store: core.store.clone(),
        metrics: core.metrics.clone(),
        drain: drain.clone(),
        began: Mutex::default(),
        state: ArcSwap::default(),
        are_broken: Arc::default(),
    })
}

/// Ends the work behind the requests, in order.
async fn end(jobs: Jobs, lane: JoinHandle<()>, replica: Option<Running>, app: web::Data<AppState>) {
    let store = app.store.clone();
    // The queue ends with its last sender, and the lane with the queue.
    drop(app);
    if lane.await.is_err() {
        tracing::error!("the ingest lane ended in a panic");
    }
    // The jobs end after the lane. An event may wait long for a lock; meanwhile the drain must keep
    // the watermark going for the readers of other replicas.
    jobs.stop().await;
    if let Some(replica) = replica {
        replica.stop().await;
    }
    store.close().await;
}

/// The proofs that readers of lists and ranges ask for.
fn shared_proof(core: &Core, reads: &Arc<Reads>, drain: &Arc<Drain>) -> Arc<SharedProof> {
    Arc::new(SharedProof {
        prover: drain.clone(),
        memory: core.memory.clone(),
        changes: core.changes.clone(),
        leases: reads.leases.clone(),
        metrics: core.metrics.clone(),
        began: tokio::sync::Mutex::default(),
    })
}
