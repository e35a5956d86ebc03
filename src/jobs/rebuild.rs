//! The rebuild: looks at every facility's recent days, refreshes the rows that differ from their sources, and counts those that no mark
//! and no expiry explains. Over unchanged sources it takes no lock and writes no summary row.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::civil::Date;
use uuid::Uuid;

use crate::{
    clock::Clock,
    domain::{day::Day, facility::Facility, summary::DayKey},
    metrics::{Metrics, Trigger},
    service::{
        directory::Directory,
        refresh::{Refresher, all_days_with_data},
    },
    store::{self, Difference, JobRun, Store, StoreError},
};

pub struct Rebuild {
    pub store: Arc<dyn Store>,
    pub refresher: Arc<Refresher>,
    pub directory: Arc<Directory>,
    pub clock: Arc<Clock>,
    pub metrics: Arc<Metrics>,
    /// Facility-days refreshed in one transaction.
    pub chunk: usize,
    /// Days that a scheduled rebuild looks at, today included.
    pub days: u32,
    pub prune_tombstones_after: Duration,
    pub running: AtomicBool,
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
    /// Facilities whose days are looked up together: with years of days each, few, so that memory stays flat.
    const fn facilities_at_once(self) -> usize {
        match self {
            Extent::Recent(_) => AUDIT_CHUNK,
            Extent::All => 50,
        }
    }
}

/// Facility-days audited in one statement; it takes no lock, so it may be larger than a refresh.
const AUDIT_CHUNK: usize = 1_000;
/// A run without a heartbeat for that long was abandoned.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);
/// Finished runs are kept for a week.
const KEEP_RUNS_MS: i64 = 7 * 86_400_000;

impl Rebuild {
    /// A scheduled tick: claimed by its minute, skipped where the one before still runs.
    pub async fn run_tick(&self) -> store::Result<Option<JobRun>> {
        if self.running.swap(true, Ordering::AcqRel) {
            tracing::warn!("the rebuild before is still running; this tick is skipped");
            return Ok(None);
        }
        let result = self.claimed_tick().await;
        self.running.store(false, Ordering::Release);
        result
    }

    async fn claimed_tick(&self) -> store::Result<Option<JobRun>> {
        const MINUTE_MS: i64 = 60_000;
        let now_ms = self.store.now_ms().await?;
        let id = Uuid::now_v7();
        if !self.store.claim_run(id, "rebuild", now_ms - now_ms.rem_euclid(MINUTE_MS), ABANDONED_AFTER).await? {
            return Ok(None);
        }
        let run = self.run_once(self.new_run(id), Extent::Recent(self.days)).await?;
        let keep_ms = i64::try_from(self.prune_tombstones_after.as_millis()).unwrap_or(i64::MAX);
        self.store.prune(now_ms.saturating_sub(keep_ms), now_ms - KEEP_RUNS_MS).await?;
        Ok(Some(run))
    }

    /// Stores a run that somebody asked for, for `run_once` to carry out.
    pub async fn request(&self, extent: Extent) -> store::Result<JobRun> {
        let id = Uuid::now_v7();
        let job = if extent == Extent::All { "full_rebuild" } else { "requested_rebuild" };
        // Each request is a tick of its own; two in one millisecond take the next free one.
        let tick_ms = self.store.now_ms().await?;
        for offset in 0..100 {
            if self.store.claim_run(id, job, tick_ms + offset, ABANDONED_AFTER).await? {
                return Ok(JobRun { job: job.into(), ..self.new_run(id) });
            }
        }
        Err(StoreError::Conflict)
    }

    fn new_run(&self, id: Uuid) -> JobRun {
        JobRun {
            id,
            job: "rebuild".into(),
            state: "running".into(),
            started_at_ms: self.clock.now_ms(),
            finished_at_ms: None,
            total: self.directory.by_name().len() as i64,
            done: 0,
            changed: 0,
            drift: 0,
            error: None,
            verified_through_ms: None,
        }
    }

    /// Carries out a run that was claimed.
    pub async fn run_once(&self, run: JobRun, extent: Extent) -> store::Result<JobRun> {
        self.run_watched(run, extent, |_| ()).await
    }

    /// The same, showing the run to `watch` after each chunk of facilities.
    pub async fn run_watched(&self, mut run: JobRun, extent: Extent, watch: impl Fn(&JobRun) + Send) -> store::Result<JobRun> {
        let facilities = self.directory.by_name();
        let verified_through_ms = self.store.now_ms().await?;
        let result = self.all_chunks(&facilities, extent, &mut run, watch).await;
        run.finished_at_ms = Some(self.clock.now_ms());
        run.state = if result.is_ok() { "done" } else { "failed" }.into();
        run.verified_through_ms = result.is_ok().then_some(verified_through_ms);
        run.error = result.as_ref().err().map(|error| error.class().to_owned());
        self.store.update_run(&run).await?;
        result?;
        self.metrics.verified_through.set(verified_through_ms / 1000);
        tracing::info!(facilities = run.done, changed = run.changed, drift = run.drift, "rebuild done");
        Ok(run)
    }

    async fn all_chunks(
        &self,
        facilities: &[Arc<Facility>],
        extent: Extent,
        run: &mut JobRun,
        watch: impl Fn(&JobRun) + Send,
    ) -> store::Result<()> {
        let mut failed = None;
        for chunk in facilities.chunks(extent.facilities_at_once()) {
            for keys in self.keys(chunk, extent).await?.chunks(AUDIT_CHUNK) {
                // One chunk that cannot be had must not cost the others theirs.
                if let Err(error) = self.heal(keys, run).await {
                    tracing::warn!(%error, "part of the rebuild failed");
                    failed = Some(error);
                }
            }
            run.done += chunk.len() as i64;
            self.store.update_run(run).await?;
            watch(run);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Refreshes the keys whose row differs from its sources.
    async fn heal(&self, keys: &[DayKey], run: &mut JobRun) -> store::Result<()> {
        let differences = self.store.audit(keys).await?;
        let drift = differences.iter().filter(|d| d.figures_differ && !d.explained && d.stored.is_some()).count();
        self.metrics.drift_rows.inc_by(drift as u64);
        run.drift += drift as i64;
        self.metrics
            .refreshes
            .with_label_values(&[Trigger::Schedule.as_str(), "unchanged"])
            .inc_by((keys.len() - differences.len().min(keys.len())) as u64);
        let wrong: std::collections::HashSet<(Uuid, Date)> = differences.iter().map(|d| (d.facility_id, d.date)).collect();
        let wrong: Vec<DayKey> = keys.iter().filter(|k| wrong.contains(&k.id())).cloned().collect();
        let mut result = Ok(());
        for chunk in wrong.chunks(self.chunk) {
            let (refreshed, all) = self.refresher.refresh_each(chunk.to_vec(), Trigger::Schedule).await;
            run.changed += refreshed.iter().filter(|r| r.changed).count() as i64;
            result = result.and(all);
        }
        result
    }

    /// What an audit finds: the same look, nothing healed.
    pub async fn differences(&self, extent: Extent) -> store::Result<Vec<Difference>> {
        let mut found = Vec::new();
        for chunk in self.directory.by_name().chunks(extent.facilities_at_once()) {
            for keys in self.keys(chunk, extent).await?.chunks(AUDIT_CHUNK) {
                found.extend(self.store.audit(keys).await?.into_iter().filter(|d| d.figures_differ));
            }
        }
        Ok(found)
    }

    async fn keys(&self, facilities: &[Arc<Facility>], extent: Extent) -> store::Result<Vec<DayKey>> {
        let now_ms = self.clock.now_ms();
        match extent {
            Extent::All => all_days_with_data(&*self.store, facilities).await,
            Extent::Recent(count) => {
                let days = |facility: &Arc<Facility>| recent_days(facility, now_ms, count).into_iter();
                let keys = facilities.iter().flat_map(|f| days(f).map(|day| DayKey { facility: f.clone(), day }));
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
