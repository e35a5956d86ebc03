//! All jobs on one screen. Each is a file with a `run_once`, which tests call; the loops are here.
//!
//! | job       | when                                  | what                                                              |
//! |-----------|---------------------------------------|-------------------------------------------------------------------|
//! | drain     | every `refresh.drain_interval_ms`     | marks and expiries become refreshes; the watermark advances       |
//! | midnight  | every second, acts at local midnights | closes a facility's old day and opens its new one                 |
//! | rebuild   | `rebuild.cron`, or asked for          | audits every facility's recent days, or all, repairs and counts what it finds; prunes |
//! | audit     | every `audit.interval_ms`             | the same with a random sample, by the replica that leads          |
//!
//! A rebuild is carried out by one replica for all (see `rebuild.rs`), and which tick of the cron
//! expression is due is told by the database's clock. The scheduler, which goes by this machine's,
//! is only an alarm clock: where it is wrong, the loop looks all the same. A job that fails or
//! panics is logged, counted, and runs again.

pub mod drain;
pub mod midnight;
pub mod rebuild;
pub mod repair;
pub mod sample_audit;
pub mod schedule;

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{task::JoinHandle, time::MissedTickBehavior};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use crate::{metrics::Metrics, store, telemetry::log_throttle::LogThrottle};

/// How often the midnight job looks whether a zone's day has changed.
const MIDNIGHT_INTERVAL: Duration = Duration::from_secs(1);

/// How often the rebuild looks for a tick that its alarm clock missed, and for a run that another
/// replica gave back or left.
const REBUILD_INTERVAL: Duration = Duration::from_secs(5);

/// The running jobs.
pub struct Jobs {
    stop: CancellationToken,
    /// Ends the work that any replica can do, before the rest.
    hand_over: CancellationToken,
    loops: Vec<JoinHandle<()>>,
    scheduler: Option<JobScheduler>,
}

impl Jobs {
    /// Starts all of them. `audit` comes with its interval, where there is one.
    pub async fn start(
        drain: Arc<drain::Drain>,
        drain_interval: Duration,
        midnight: Arc<midnight::Midnight>,
        rebuild: Arc<rebuild::Rebuild>,
        rebuild_cron: Option<&str>,
        audit: Option<(Arc<sample_audit::SampleAudit>, Duration)>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, JobSchedulerError> {
        let stop = drain.stop.clone();
        let hand_over = stop.child_token();
        let scheduler = match rebuild_cron {
            Some(cron) => Some(alarm(cron, rebuild.clone()).await?),
            None => None,
        };
        let mut loops = vec![
            every("drain", drain_interval, stop.clone(), metrics.clone(), move || {
                let drain = drain.clone();
                async move { drain.take_turn().await.map(|()| true) }
            }),
            every("midnight", MIDNIGHT_INTERVAL, stop.clone(), metrics.clone(), move || {
                let midnight = midnight.clone();
                async move { midnight.run_once().await.map(|_| true) }
            }),
            tokio::spawn(rebuilds(rebuild, hand_over.clone(), metrics.clone())),
        ];
        if let Some((audit, interval)) = audit {
            loops.push(every("audit", interval, hand_over.clone(), metrics, move || {
                let audit = audit.clone();
                async move { audit.run_once().await }
            }));
        }
        Ok(Jobs { stop, hand_over, loops, scheduler })
    }

    /// Leaves to the other replicas what they can do as well: a rebuild is given back, none is
    /// taken up. The rest goes on, for the requests that are still to be answered.
    pub fn hand_over(&self) {
        self.hand_over.cancel();
    }

    /// Ends them after the step that each is in.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(scheduler) = &mut self.scheduler
            && let Err(error) = scheduler.shutdown().await
        {
            tracing::warn!(%error, "the scheduler did not stop cleanly");
        }
        for task in self.loops {
            // A loop ends by itself; a join error would be a panic, which the loop catches.
            let _ = task.await;
        }
    }
}

/// Runs a job again and again, never two of it at once.
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

/// Rebuilds, one after the other, whenever there is one to take up.
async fn rebuilds(rebuild: Arc<rebuild::Rebuild>, stop: CancellationToken, metrics: Arc<Metrics>) {
    let mut looks = tokio::time::interval(REBUILD_INTERVAL);
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

/// One step of a job: an error is logged, a panic caught and counted. False where there was nothing
/// to do, which is not counted.
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
                tracing::warn!(job = name, %error, "the job failed; it is tried again at each turn, and will say so when it works again");
            } else {
                tracing::debug!(job = name, %error, "the job failed again");
            }
            "failed"
        }
        Err(_) => {
            metrics.panics.inc();
            tracing::error!(job = name, "the job panicked; it runs again at its next turn");
            "panicked"
        }
    };
    metrics.job_runs.with_label_values(&[name, outcome]).inc();
}

/// Wakes the rebuild at the instants of the expression.
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
        let (metrics, stop, turns) = (
            Arc::new(Metrics::new().unwrap()),
            CancellationToken::new(),
            Arc::new(AtomicU32::new(0)),
        );
        let (count, end) = (turns.clone(), stop.clone());
        let job = every("test", Duration::from_millis(1), stop, metrics.clone(), move || {
            let (turn, end) = (count.fetch_add(1, Ordering::Relaxed), end.clone());
            async move {
                match turn {
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
        assert!(turns.load(Ordering::Relaxed) >= 3);
        let ended = ["panicked", "failed", "done"]
            .map(|outcome| metrics.job_runs.with_label_values(&["test", outcome]).get().min(1));
        assert_eq!(ended, [1, 1, 1]);
    }
}
