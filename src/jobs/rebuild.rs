//! The rebuild: looks at every facility's recent days, refreshes the rows that differ from their
//! sources, and counts those that no mark and no expiry explains. Over unchanged sources it takes
//! no lock and writes no summary row.
//!
//! Each run is a row in the database. A tick puts one in line, once for all replicas, and so does
//! whoever asks for a rebuild; the replica that takes it up carries it out, alone in the fleet, and
//! shows by a heartbeat that it lives. A run that is given back, or whose heart stands still, is
//! taken up by another.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    repair::{Repaired, Repairer},
    schedule::Schedule,
};
use crate::{
    clock::Clock,
    directory::Directory,
    domain::{day::Day, facility::Facility, summary::DayKey},
    metrics::{Metrics, Trigger},
    service::refresh::days::all_days_with_data,
    store,
    store::{Difference, JobRun, Store, StoreError},
    telemetry::log_throttle::LogThrottle,
};

pub struct Rebuild {
    pub store: Arc<dyn Store>,
    pub repairer: Arc<Repairer>,
    pub directory: Arc<Directory>,
    pub clock: Arc<Clock>,
    pub metrics: Arc<Metrics>,
    /// When a tick is due; `None` where rebuilds are only asked for.
    pub schedule: Option<Schedule>,
    /// Days that a scheduled rebuild looks at, today included.
    pub days: u32,
    /// How long a run goes on trying days whose locks somebody holds, once it is through with all
    /// others.
    pub lock_patience: Duration,
    pub prune_tombstones_after: Duration,
    /// Wakes whoever waits to look for a run.
    pub alarm: Notify,
    /// The tick that is known to be in line, or done: it need not be put there again.
    pub settled_tick_ms: AtomicI64,
}

/// Which days of each facility to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Today and the days before it, so many in all.
    Recent(u32),
    /// Every day with a row or with data.
    All,
}

impl Extent {
    /// Facilities whose days are looked up together: with years of days each, few, so that memory
    /// stays flat.
    const fn facilities_at_once(self) -> usize {
        match self {
            Extent::Recent(_) => AUDIT_CHUNK,
            Extent::All => 50,
        }
    }
}

/// A scheduled run, one that a client asked for, and a command's, which no other process takes up.
/// None runs beside another.
const SCHEDULED: &str = "rebuild";
const REQUESTED: &str = "full_rebuild";
const COMMAND: &str = "requested_rebuild";
const APART: [&str; 3] = [SCHEDULED, REQUESTED, COMMAND];

/// Facility-days audited in one statement; it takes no lock, so it may be larger than a refresh.
const AUDIT_CHUNK: usize = 1_000;
/// How often a run's heart beats, and how long it stands still in a run that was abandoned: well
/// below any sensible distance of ticks.
const HEARTBEAT: Duration = Duration::from_secs(3);
const ABANDONED_AFTER: Duration = Duration::from_secs(15);
/// How often days whose locks somebody holds are tried again.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// How often a command looks whether it is its turn.
const COMMAND_LOOKS: Duration = Duration::from_millis(200);
/// Ended runs are kept for a week.
const KEEP_RUNS_MS: i64 = 7 * 86_400_000;

impl Rebuild {
    /// Puts a due tick in line, takes up a run if there is one, and carries it out: until `stop`,
    /// when it is given back. Whether a run was carried out to its end.
    pub async fn run_once(&self, stop: &CancellationToken) -> store::Result<bool> {
        self.enqueue_due().await?;
        let Some(run) =
            self.store.take_run(&APART, &[SCHEDULED, REQUESTED], None, ABANDONED_AFTER).await?
        else {
            return Ok(false);
        };
        let extent = if run.job == REQUESTED { Extent::All } else { Extent::Recent(self.days) };
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
            self.store.give_up_runs(SCHEDULED, tick_ms, COMMAND, ABANDONED_AFTER).await?;
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
            .await
    }

    /// Asks for a rebuild of every day, by whichever replica takes it up. One that already waits to
    /// be begun will do.
    pub async fn request(&self) -> store::Result<JobRun> {
        let run = match self.store.waiting_run(REQUESTED).await? {
            Some(run) => run,
            None => self.enqueue_now(REQUESTED).await?,
        };
        self.alarm.notify_one();
        Ok(run)
    }

    /// A command's rebuild, by this process, showing the run to `watch` after each chunk of
    /// facilities. It waits for those of others.
    pub async fn run_command(
        &self,
        extent: Extent,
        watch: impl Fn(&JobRun) + Send,
    ) -> store::Result<JobRun> {
        let mut waiting = self.enqueue_now(COMMAND).await?;
        let mut told = false;
        let run = loop {
            if let Some(run) =
                self.store.take_run(&APART, &[COMMAND], Some(waiting.id), ABANDONED_AFTER).await?
            {
                break run;
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!("another rebuild is running; this one begins when that has ended");
            }
            if !self.store.beat_run(&waiting).await? {
                // This process stood still for so long that it was taken for dead: at the end of
                // the line again.
                waiting = self.enqueue_now(COMMAND).await?;
            }
            tokio::time::sleep(COMMAND_LOOKS).await;
        };
        self.carry_out(run, extent, watch, &CancellationToken::new()).await
    }

    async fn enqueue_now(&self, job: &str) -> store::Result<JobRun> {
        let (id, now_ms) = (Uuid::now_v7(), self.store.now_ms().await?);
        // Each is a tick of its own; two in one millisecond take the next free one.
        for offset in 0..100 {
            if self.store.enqueue_run(id, job, now_ms + offset).await? {
                return self.store.job_run(id).await?.ok_or(StoreError::Conflict);
            }
        }
        Err(StoreError::Conflict)
    }

    /// Carries out a run that was taken up. Answers it as it was left: `done`, `waiting` where it
    /// was given back at `stop`, `running` where another has taken it over.
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
                tracing::warn!(run_id = %run.id, "another replica has taken over the rebuild, of which nobody had heard for a while");
                return Ok(attempt);
            }
            ended = AssertUnwindSafe(self.all_chunks(extent, &mut run, watch)).catch_unwind() => Some(ended),
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

    /// Shows that the run lives, until it turns out to be another's.
    async fn beat_until_lost(&self, run: &JobRun) {
        let throttle = LogThrottle::default();
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            match self.store.beat_run(run).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) if throttle.begins(run.id, &error) => {
                    tracing::warn!(run_id = %run.id, %error, "the rebuild cannot show that it lives");
                }
                Err(error) => {
                    tracing::debug!(run_id = %run.id, %error, "the rebuild still cannot show that it lives")
                }
            }
        }
    }

    /// Looks at everything, chunk by chunk, and then again at what had to wait for a lock.
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
                // One chunk that cannot be had must not cost the others theirs.
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
            .with_label_values(&[Trigger::Schedule.as_str(), "unchanged"])
            .inc_by(repaired.right as u64);
        Ok(repaired)
    }

    async fn store_progress(&self, run: &mut JobRun, repaired: &Repaired) -> store::Result<()> {
        (run.changed, run.drift) = (repaired.changed, repaired.drifted.len() as i64);
        self.store.update_run(run).await.map(drop)
    }

    /// What an audit finds: the same look, nothing repaired.
    pub async fn differences(&self, extent: Extent) -> store::Result<Vec<Difference>> {
        let mut found = Vec::new();
        for chunk in self.directory.by_name().chunks(extent.facilities_at_once()) {
            for keys in self.keys(chunk, extent).await?.chunks(AUDIT_CHUNK) {
                found
                    .extend(self.store.audit(keys).await?.into_iter().filter(|d| d.figures_differ));
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
            Extent::All => all_days_with_data(&*self.store, facilities).await,
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

fn recent_days(facility: &Facility, now_ms: i64, count: u32) -> Vec<Day> {
    let mut days = vec![facility.zone.today(now_ms)];
    for _ in 1..count {
        let before_ms = days[days.len() - 1].start_ms - 1;
        days.push(Day::containing(&facility.zone.tz, before_ms));
    }
    days
}
