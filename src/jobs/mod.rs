//! The list of all jobs, and their loops. The work of each job is in a file of its own, in
//! `run_once` or, for the drain, `take_turn`; tests call it directly.
//!
//! - drain, every `refresh.drain_interval_ms`: refreshes what marks and expiries name, and advances
//!   the watermark.
//! - midnight, every second: at the midnight of a zone, closes the old day of its facilities and
//!   opens the new one.
//! - rebuild, at the ticks of `rebuild.cron` or on request: audits the recent days of every
//!   facility, or all days; repairs and counts what differs; prunes.
//! - audit, every `audit.interval_ms`: the same for a random sample, on the replica that leads.
//! - owners_check, once a day on the replica that leads: compares figures with the owner's queries.
//! - comparison, every `sources.compare_seconds`: compares the shape of mapped tables with what it
//!   was.
//! - access, every half second: looks whether API keys or denials were changed, and stores when
//!   keys were used.
//!
//! One replica carries out a rebuild for all (see `rebuild.rs`). The database's clock decides which
//! tick of the cron expression is due. The scheduler uses this machine's clock and only wakes the
//! loop. The loop also checks from time to time, in case the scheduler is wrong. A job that fails
//! or panics is logged and counted, and runs again.

pub mod access;
pub mod drain;
pub mod midnight;
pub mod owners_check;
pub mod rebuild;
pub mod repair;
pub mod sample_audit;
pub mod schedule;
pub mod source_comparison;

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use crate::{metrics::Metrics, store, telemetry::log_throttle::LogThrottle};

/// How often the midnight job checks whether the day of a zone has changed.
const MIDNIGHT_INTERVAL: Duration = Duration::from_secs(1);

/// How often the rebuild looks for a tick that the scheduler missed, and for a run that another
/// replica gave back or abandoned.
const REBUILD_INTERVAL: Duration = Duration::from_secs(5);

/// How often it is asked whether a comparison with mapped tables, or the owner's queries, is due.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The running jobs.
pub struct Jobs {
    stop: CancellationToken,
    /// Ends the jobs that any replica can do, earlier than `stop` ends the rest.
    hand_over: CancellationToken,
    loops: Vec<JoinHandle<()>>,
    scheduler: Option<JobScheduler>,
}

/// The jobs to start, and how often each runs.
pub struct JobParts {
    /// Processes marks.
    pub drain: Arc<drain::Drain>,
    /// How often it does.
    pub drain_interval: Duration,
    /// Opens days.
    pub midnight: Arc<midnight::Midnight>,
    /// Audits all facilities.
    pub rebuild: Arc<rebuild::Rebuild>,
    /// When; `None` where only on request.
    pub rebuild_cron: Option<String>,
    /// The sample audit with its interval, if it is on.
    pub audit: Option<(Arc<sample_audit::SampleAudit>, Duration)>,
    /// Compares mapped tables with what they were, if there are any.
    pub comparison: Option<Arc<source_comparison::SourceComparison>>,
    /// Compares figures with the owner's queries, if there are any.
    pub owners_check: Option<Arc<owners_check::OwnersCheck>>,
    /// Follows the changes of API keys, if there is sign-in.
    pub access: Option<Arc<access::AccessFollower>>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

impl Jobs {
    /// Starts all jobs. Fails when the cron expression is not valid.
    pub async fn start(parts: JobParts) -> Result<Self, JobSchedulerError> {
        let JobParts {
            drain,
            drain_interval,
            midnight,
            rebuild,
            rebuild_cron,
            audit,
            comparison,
            owners_check,
            access,
            metrics,
        } = parts;
        let stop = drain.stop.clone();
        let hand_over = stop.child_token();
        let scheduler = match rebuild_cron {
            Some(cron) => Some(alarm(&cron, rebuild.clone()).await?),
            None => None,
        };
        let mut loops = vec![
            every("drain", drain_interval, stop.clone(), metrics.clone(), move || {
                let drain = drain.clone();
                async move { drain.run_or_follow().await.map(|()| true) }
            }),
            every("midnight", MIDNIGHT_INTERVAL, stop.clone(), metrics.clone(), move || {
                let midnight = midnight.clone();
                async move { midnight.run_once().await.map(|_| true) }
            }),
            tokio::spawn(rebuilds(rebuild, hand_over.clone(), metrics.clone())),
        ];
        if let Some((audit, interval)) = audit {
            loops.push(every("audit", interval, hand_over.clone(), metrics.clone(), move || {
                let audit = audit.clone();
                async move { audit.run_once().await }
            }));
        }
        if let Some(comparison) = comparison {
            loops.push(every(
                "comparison",
                CHECK_INTERVAL,
                stop.clone(),
                metrics.clone(),
                move || {
                    let comparison = comparison.clone();
                    async move { comparison.run_once().await }
                },
            ));
        }
        if let Some(access) = access {
            loops.push(every(
                "access",
                access::INTERVAL,
                stop.clone(),
                metrics.clone(),
                move || {
                    let access = access.clone();
                    async move { access.run_once().await.map(|()| true) }
                },
            ));
        }
        if let Some(check) = owners_check {
            loops.push(every("owners_check", CHECK_INTERVAL, stop.clone(), metrics, move || {
                let check = check.clone();
                async move { check.run_once().await }
            }));
        }
        Ok(Jobs { stop, hand_over, loops, scheduler })
    }

    /// Leaves to the other replicas what they can do as well: gives back a rebuild and starts no
    /// other. The other jobs go on, because requests in flight may need them.
    pub fn hand_over(&self) {
        self.hand_over.cancel();
    }

    /// Ends all jobs after their current step.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(scheduler) = &mut self.scheduler
            && let Err(error) = scheduler.shutdown().await
        {
            tracing::warn!(%error, "the scheduler did not stop cleanly");
        }
        for task in self.loops {
            // A loop ends by itself; a join error would be a panic, and the loop catches those.
            let _ = task.await;
        }
    }
}

/// Runs a job at this interval, never twice at the same time.
fn every<F, Fut>(
    name: &'static str,
    interval: Duration,
    stop: CancellationToken,
    metrics: Arc<Metrics>,
    job: F,
) -> JoinHandle<()>
where
    F: Fn() -> Fut + Send + 'static,
    Fut: Future<Output = store::Result<bool>> + Send,
{
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let throttle = LogThrottle::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => contained(name, &metrics, &throttle, job()).await,
            }
        }
    })
}

/// Runs rebuilds one after the other, whenever one is due.
async fn rebuilds(rebuild: Arc<rebuild::Rebuild>, stop: CancellationToken, metrics: Arc<Metrics>) {
    // Not at once: the first readers after a start read the table at the same time.
    let mut looks = tokio::time::interval_at(Instant::now() + REBUILD_INTERVAL, REBUILD_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let throttle = LogThrottle::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
            () = rebuild.alarm.notified() => {}
        }
        contained("rebuild", &metrics, &throttle, rebuild.run_once(&stop)).await;
    }
}

/// Runs one step of a job. Logs an error; catches, logs and counts a panic. When the step had
/// nothing to do (`false`), it is not counted.
async fn contained(
    name: &'static str,
    metrics: &Metrics,
    throttle: &LogThrottle<&'static str>,
    step: impl Future<Output = store::Result<bool>>,
) {
    let ended = AssertUnwindSafe(step).catch_unwind().await;
    if matches!(ended, Ok(Ok(_))) && throttle.end(&name) {
        tracing::info!(job = name, "the job works again");
    }
    let outcome = match ended {
        Ok(Ok(true)) => "done",
        Ok(Ok(false)) => return,
        Ok(Err(error)) => {
            if throttle.begins(name, &error) {
                tracing::warn!(
                    job = name,
                    %error,
                    "the job failed; it is tried again at each run, and will say so when it works \
                     again"
                );
            } else {
                tracing::debug!(job = name, %error, "the job failed again");
            }
            "failed"
        }
        Err(_) => {
            metrics.panics.inc();
            tracing::error!(job = name, "the job panicked; it runs again at its next run");
            "panicked"
        }
    };
    metrics.job_runs.with_label_values(&[name, outcome]).inc();
}

/// Wakes the rebuild at the instants of the cron expression.
async fn alarm(
    cron: &str,
    rebuild: Arc<rebuild::Rebuild>,
) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let job = Job::new_async(cron, move |_, _| {
        let rebuild = rebuild.clone();
        Box::pin(async move { rebuild.alarm.notify_one() })
    })?;
    scheduler.add(job).await?;
    scheduler.start().await?;
    Ok(scheduler)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn a_job_that_panics_is_counted_and_runs_again() {
        let (metrics, stop, runs) = (
            Arc::new(Metrics::new().unwrap()),
            CancellationToken::new(),
            Arc::new(AtomicU32::new(0)),
        );
        let (count, end) = (runs.clone(), stop.clone());
        let job = every("test", Duration::from_millis(1), stop, metrics.clone(), move || {
            let (run, end) = (count.fetch_add(1, Ordering::Relaxed), end.clone());
            async move {
                match run {
                    0 => panic!("a bug"),
                    1 => Err(store::StoreError::Conflict),
                    _ => {
                        end.cancel();
                        Ok(true)
                    }
                }
            }
        });
        tokio::time::timeout(Duration::from_secs(30), job).await.unwrap().unwrap();
        assert_eq!(metrics.panics.get(), 1);
        assert!(runs.load(Ordering::Relaxed) >= 3);
        let ended = ["panicked", "failed", "done"]
            .map(|outcome| metrics.job_runs.with_label_values(&["test", outcome]).get().min(1));
        assert_eq!(ended, [1, 1, 1]);
    }
}
