//! The rebuild: it compares the recent days of every facility with their sources and refreshes the
//! rows that differ. It counts the rows with a difference that no mark and no expiry explains. When
//! the sources have not changed, it takes no lock and writes no summary row.
//!
//! Each run is a row in the database. A tick of the schedule adds one run for all replicas; a
//! request adds one, too. The replica that takes a run carries it out, and no other run is active
//! at that time. A heartbeat shows that the replica is alive. A run that is given back, or that has
//! no heartbeat, is taken by another replica.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    repair::{Audited, Repaired, Repairer, audit_each},
    schedule::Schedule,
};
use crate::{
    access::audit::{self, Actor},
    clock::Clock,
    directory::Directory,
    domain::{day::Day, facility::Facility, summary::DayKey},
    metrics::{Metrics, RefreshTrigger},
    service::refresh::days::all_days_that_can_be_told,
    store,
    store::{JobRun, Store, StoreError},
    telemetry::log_throttle::LogThrottle,
};

/// The rebuild with all parts that it uses.
pub struct Rebuild {
    /// The database, which holds the runs.
    pub store: Arc<dyn Store>,
    /// Compares and refreshes days.
    pub repairer: Arc<Repairer>,
    /// The directory of facilities.
    pub directory: Arc<Directory>,
    /// The database's clock.
    pub clock: Arc<Clock>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// When a tick is due; `None` when rebuilds run only on request.
    pub schedule: Option<Schedule>,
    /// Days of each facility that a scheduled rebuild checks, today included.
    pub days: u32,
    /// How long a run tries again the days that others hold locked, after it has done all other
    /// days.
    pub lock_patience: Duration,
    /// How long tombstones are kept.
    pub prune_tombstones_after: Duration,
    /// The audit log, and keys that have ended, are deleted after so many days.
    pub audit_log_days: u32,
    /// Wakes the loop that looks for a run.
    pub alarm: Notify,
    /// The last tick that is known to have a run, in milliseconds since 1970: no run needs to be
    /// added for it.
    pub settled_tick_ms: AtomicI64,
}

/// Which days of each facility to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Today and the days before it: this many in all.
    Recent(u32),
    /// Every day that has a row or data.
    All,
}

impl Extent {
    /// The number of facilities whose days are looked up together. It is small where each may have
    /// years of days, so that memory use is bounded.
    const fn facilities_at_once(self) -> usize {
        match self {
            Extent::Recent(_) => AUDIT_CHUNK,
            Extent::All => 50,
        }
    }
}

/// The jobs: a scheduled run, a run that a client requested, and a run of a command, which only the
/// command's process takes. Only one run of any of them is active at a time.
const SCHEDULED: &str = "rebuild";
/// The job of a request for a rebuild, which checks every day. The tables of released versions
/// contain the names of this job and the next, so the names must stay.
const FULL: &str = "full_rebuild";
/// The job of the command `rebuild`.
const BY_COMMAND: &str = "requested_rebuild";
const APART: [&str; 3] = [SCHEDULED, FULL, BY_COMMAND];

/// Facility-days that one statement audits. It takes no lock, so it may be larger than a refresh.
const AUDIT_CHUNK: usize = 1_000;
/// How often a run writes its heartbeat, and the time without one after which a run counts as
/// abandoned: well below any sensible interval of ticks.
const HEARTBEAT: Duration = Duration::from_secs(3);
const ABANDONED_AFTER: Duration = Duration::from_secs(15);
/// How often days that others hold locked are tried again.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// How often a command checks whether its run may begin.
const COMMAND_LOOKS: Duration = Duration::from_millis(200);
/// Runs that have ended are kept for a week.
const KEEP_RUNS_MS: i64 = 7 * 86_400_000;

impl Rebuild {
    /// Adds a run for a tick that is due, takes a run if there is one, and carries it out. When
    /// `stop` is cancelled, the run is given back. Returns whether a run was carried out to its
    /// end.
    pub async fn run_once(&self, stop: &CancellationToken) -> store::Result<bool> {
        self.enqueue_due().await?;
        let Some(run) =
            self.store.take_run(&APART, &[SCHEDULED, FULL], None, ABANDONED_AFTER).await?
        else {
            return Ok(false);
        };
        let extent = if run.job == FULL { Extent::All } else { Extent::Recent(self.days) };
        let run = self.carry_out(run, extent, |_| (), stop).await?;
        if run.state != "done" {
            return Ok(false);
        }
        if run.job == SCHEDULED {
            self.prune().await?;
        }
        Ok(true)
    }

    async fn enqueue_due(&self) -> store::Result<()> {
        let Some(tick_ms) =
            self.schedule.as_ref().and_then(|schedule| schedule.latest(self.clock.now_ms()))
        else {
            return Ok(());
        };
        if self.settled_tick_ms.load(Ordering::Relaxed) == tick_ms {
            return Ok(());
        }
        if self.store.enqueue_run(Uuid::now_v7(), SCHEDULED, tick_ms).await? {
            self.store.give_up_runs(SCHEDULED, tick_ms, BY_COMMAND, ABANDONED_AFTER).await?;
        }
        self.settled_tick_ms.store(tick_ms, Ordering::Relaxed);
        Ok(())
    }

    async fn prune(&self) -> store::Result<()> {
        let (now_ms, keep) = (self.clock.now_ms(), self.prune_tombstones_after.as_millis());
        self.store
            .prune(
                now_ms.saturating_sub(i64::try_from(keep).unwrap_or(i64::MAX)),
                now_ms - KEEP_RUNS_MS,
            )
            .await?;
        self.store.prune_access(now_ms - i64::from(self.audit_log_days) * 86_400_000).await
    }

    /// Requests a rebuild of every day, which any replica may carry out. When a requested run
    /// already waits, that one is returned.
    pub async fn request(&self, by: Actor) -> store::Result<JobRun> {
        let run = match self.store.waiting_run(FULL).await? {
            Some(run) => run,
            None => self.enqueue_now(FULL, Some(&by)).await?,
        };
        self.alarm.notify_one();
        Ok(run)
    }

    /// Carries out a rebuild for a command, in this process. After each chunk of facilities,
    /// `watch` gets the run. It first waits until no other run is active.
    pub async fn run_command(
        &self,
        extent: Extent,
        by: Option<&Actor>,
        watch: impl Fn(&JobRun) + Send,
    ) -> store::Result<JobRun> {
        let mut waiting = self.enqueue_now(BY_COMMAND, by).await?;
        let mut told = false;
        let run = loop {
            if let Some(run) = self
                .store
                .take_run(&APART, &[BY_COMMAND], Some(waiting.id), ABANDONED_AFTER)
                .await?
            {
                break run;
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!("another rebuild is running; this one begins when that has ended");
            }
            if !self.store.beat_run(&waiting).await? {
                // This process was stopped for so long that its run counted as abandoned. It adds a
                // new run.
                waiting = self.enqueue_now(BY_COMMAND, None).await?;
            }
            tokio::time::sleep(COMMAND_LOOKS).await;
        };
        self.carry_out(run, extent, watch, &CancellationToken::new()).await
    }

    /// Adds a run, and notes in the audit log who has asked for it.
    async fn enqueue_now(&self, job: &str, by: Option<&Actor>) -> store::Result<JobRun> {
        let (id, now_ms) = (Uuid::now_v7(), self.store.now_ms().await?);
        // The time of a run must be unique in its job: a second run in the same millisecond takes
        // the next free one.
        for offset in 0..100 {
            let tick_ms = now_ms + offset;
            let note = by.map(|by| {
                by.clone().note("rebuild.requested", &id.to_string(), json!({"job": job}))
            });
            let is_added = match &note {
                None => self.store.enqueue_run(id, job, tick_ms).await?,
                Some(note) => self.store.enqueue_noted_run(id, job, tick_ms, note).await?,
            };
            if is_added {
                note.iter().for_each(audit::log);
                return self.store.job_run(id).await?.ok_or(StoreError::Conflict);
            }
        }
        Err(StoreError::Conflict)
    }

    /// Carries out a run that this process has taken. Returns it in its last state: `done`;
    /// `waiting` when it was given back at `stop`; `running` when another replica has taken it
    /// over.
    async fn carry_out(
        &self,
        mut run: JobRun,
        extent: Extent,
        watch: impl Fn(&JobRun) + Send,
        stop: &CancellationToken,
    ) -> store::Result<JobRun> {
        let verified_through_ms = self.store.now_ms().await?;
        let attempt = run.clone();
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            () = self.beat_until_lost(&attempt) => {
                tracing::warn!(
                    run_id = %run.id,
                    "another replica has taken over the rebuild, which had no heartbeat for a while"
                );
                return Ok(attempt);
            }
            ended = AssertUnwindSafe(self.all_chunks(extent, &mut run, watch)).catch_unwind() => {
                Some(ended)
            }
        };
        let Some(ended) = ended else {
            self.store.update_run(&JobRun { state: "waiting".into(), ..attempt.clone() }).await?;
            tracing::info!(run_id = %attempt.id, "the rebuild is given back, for another replica");
            return Ok(JobRun { state: "waiting".into(), ..attempt });
        };
        run.finished_at_ms = Some(self.clock.now_ms());
        run.error = match &ended {
            Ok(Ok(repaired)) => repaired.complaint(),
            Ok(Err(error)) => Some(error.class().to_owned()),
            Err(_) => Some("panicked".to_owned()),
        };
        run.state = if run.error.is_none() { "done" } else { "failed" }.into();
        run.verified_through_ms = run.error.is_none().then_some(verified_through_ms);
        self.store.update_run(&run).await?;
        match (ended, run.error.as_deref()) {
            (Err(panic), _) => std::panic::resume_unwind(panic),
            (Ok(Err(error)), _) => return Err(error),
            (Ok(Ok(Repaired { error: Some(error), .. })), Some(complaint)) => {
                tracing::warn!(run_id = %run.id, complaint, "the rebuild is not complete");
                return Err(error);
            }
            _ => {}
        }
        tracing::info!(
            facilities = run.done,
            changed = run.changed,
            drift = run.drift,
            "rebuild done"
        );
        Ok(run)
    }

    /// Writes the heartbeat of the run, and returns when another replica has taken the run.
    async fn beat_until_lost(&self, run: &JobRun) {
        let throttle = LogThrottle::default();
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            match self.store.beat_run(run).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) if throttle.begins(run.id, &error) => {
                    tracing::warn!(
                        run_id = %run.id,
                        %error,
                        "the heartbeat of the rebuild cannot be written"
                    );
                }
                Err(error) => {
                    tracing::debug!(
                        run_id = %run.id,
                        %error,
                        "the heartbeat of the rebuild still cannot be written"
                    )
                }
            }
        }
    }

    /// Checks all facilities, chunk by chunk, and then tries again the days that were locked.
    async fn all_chunks(
        &self,
        extent: Extent,
        run: &mut JobRun,
        watch: impl Fn(&JobRun) + Send,
    ) -> store::Result<Repaired> {
        let facilities = self.directory.by_name();
        run.total = facilities.len() as i64;
        let mut repaired = Repaired::default();
        for chunk in facilities.chunks(extent.facilities_at_once()) {
            for keys in self.keys(chunk, extent).await?.chunks(AUDIT_CHUNK) {
                // An error in one chunk does not keep the other chunks from being checked.
                self.repairer.repair(keys, &mut repaired).await;
            }
            run.done += chunk.len() as i64;
            self.store_progress(run, &repaired).await?;
            watch(run);
        }
        let started = Instant::now();
        while !repaired.left.is_empty() && started.elapsed() < self.lock_patience {
            tokio::time::sleep(BETWEEN_TRIES).await;
            for keys in std::mem::take(&mut repaired.left).chunks(AUDIT_CHUNK) {
                self.repairer.repair(keys, &mut repaired).await;
            }
        }
        self.store_progress(run, &repaired).await?;
        self.metrics
            .refreshes
            .with_label_values(&[RefreshTrigger::Schedule.as_str(), "unchanged"])
            .inc_by(repaired.right as u64);
        Ok(repaired)
    }

    async fn store_progress(&self, run: &mut JobRun, repaired: &Repaired) -> store::Result<()> {
        (run.changed, run.drift) = (repaired.changed, repaired.drifted.len() as i64);
        self.store.update_run(run).await.map(drop)
    }

    /// Compares the days like a rebuild, and repairs nothing: the rows with figures that differ
    /// from their sources.
    pub async fn differences(&self, extent: Extent) -> store::Result<Audited> {
        let mut found = Audited::default();
        for chunk in self.directory.by_name().chunks(extent.facilities_at_once()) {
            for keys in self.keys(chunk, extent).await?.chunks(AUDIT_CHUNK) {
                let audited = audit_each(&*self.store, keys).await?;
                found
                    .differences
                    .extend(audited.differences.into_iter().filter(|d| d.figures_differ));
                found.failing.extend(audited.failing);
            }
        }
        Ok(found)
    }

    async fn keys(
        &self,
        facilities: &[Arc<Facility>],
        extent: Extent,
    ) -> store::Result<Vec<DayKey>> {
        let now_ms = self.clock.now_ms();
        match extent {
            Extent::All => Ok(all_days_that_can_be_told(&*self.store, facilities).await?.keys),
            Extent::Recent(count) => {
                let days =
                    |facility: &Arc<Facility>| recent_days(facility, now_ms, count).into_iter();
                let keys = facilities
                    .iter()
                    .flat_map(|f| days(f).map(|day| DayKey { facility: f.clone(), day }));
                Ok(keys.collect())
            }
        }
    }
}

/// Today and the days before it: `count` in all, newest first.
fn recent_days(facility: &Facility, now_ms: i64, count: u32) -> Vec<Day> {
    let mut days = vec![facility.zone.today(now_ms)];
    for _ in 1..count {
        let before_ms = days[days.len() - 1].start_ms - 1;
        days.push(Day::containing(&facility.zone.tz, before_ms));
    }
    days
}
