//! All jobs on one screen. Each is a file with a `run_once`, which tests call; the loops are here.
//!
//! | job       | when                                  | what                                                              |
//! |-----------|---------------------------------------|-------------------------------------------------------------------|
//! | drain     | every `refresh.drain_interval_ms`     | marks and expiries become refreshes; the watermark advances       |
//! | midnight  | every second, acts at local midnights | closes a facility's old day and opens its new one                 |
//! | rebuild   | `rebuild.cron`                        | audits every facility's recent days, heals and counts what it finds; prunes |
//!
//! Cron is for cron expressions; drain and midnight are plain loops. A job that fails or panics is logged, counted, and runs again.

pub mod drain;
pub mod midnight;
pub mod rebuild;

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{task::JoinHandle, time::MissedTickBehavior};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use crate::{metrics::Metrics, store};

/// How often the midnight job looks whether a zone's day has changed.
const MIDNIGHT_INTERVAL: Duration = Duration::from_secs(1);

/// The running jobs.
pub struct Jobs {
    stop: CancellationToken,
    loops: Vec<JoinHandle<()>>,
    scheduler: Option<JobScheduler>,
}

impl Jobs {
    /// Starts all of them.
    pub async fn start(
        drain: Arc<drain::Drain>,
        midnight: Arc<midnight::Midnight>,
        rebuild: Arc<rebuild::Rebuild>,
        drain_interval: Duration,
        rebuild_cron: Option<&str>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, JobSchedulerError> {
        let stop = CancellationToken::new();
        let loops = vec![
            every("drain", drain_interval, stop.clone(), metrics.clone(), move || {
                let drain = drain.clone();
                async move { drain.take_turn().await }
            }),
            every("midnight", MIDNIGHT_INTERVAL, stop.clone(), metrics.clone(), move || {
                let midnight = midnight.clone();
                async move { midnight.run_once().await.map(drop) }
            }),
        ];
        let scheduler = match rebuild_cron {
            Some(cron) => Some(schedule(cron, rebuild, metrics).await?),
            None => None,
        };
        Ok(Jobs { stop, loops, scheduler })
    }

    /// Ends them after the step that each is in. A rebuild stops between two chunks.
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
fn every<F, Fut>(name: &'static str, interval: Duration, stop: CancellationToken, metrics: Arc<Metrics>, job: F) -> JoinHandle<()>
where
    F: Fn() -> Fut + Send + 'static,
    Fut: Future<Output = store::Result<()>> + Send,
{
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => contained(name, &metrics, job()).await,
            }
        }
    })
}

/// One step of a job: an error is logged, a panic caught and counted.
pub(crate) async fn contained(name: &'static str, metrics: &Metrics, step: impl Future<Output = store::Result<()>>) {
    let outcome = match AssertUnwindSafe(step).catch_unwind().await {
        Ok(Ok(())) => "done",
        Ok(Err(error)) => {
            tracing::warn!(job = name, %error, "the job failed; it runs again at its next turn");
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

async fn schedule(cron: &str, rebuild: Arc<rebuild::Rebuild>, metrics: Arc<Metrics>) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let job = Job::new_async(cron, move |_, _| {
        let (rebuild, metrics) = (rebuild.clone(), metrics.clone());
        Box::pin(async move { contained("rebuild", &metrics, async { rebuild.run_tick().await.map(drop) }).await })
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
        let (metrics, stop, turns) = (Arc::new(Metrics::new().unwrap()), CancellationToken::new(), Arc::new(AtomicU32::new(0)));
        let (count, end) = (turns.clone(), stop.clone());
        let job = every("test", Duration::from_millis(1), stop, metrics.clone(), move || {
            let (turn, end) = (count.fetch_add(1, Ordering::Relaxed), end.clone());
            async move {
                match turn {
                    0 => panic!("a bug"),
                    1 => Err(store::StoreError::Conflict),
                    _ => {
                        end.cancel();
                        Ok(())
                    }
                }
            }
        });
        tokio::time::timeout(Duration::from_secs(30), job).await.unwrap().unwrap();
        assert_eq!(metrics.panics.get(), 1);
        assert!(turns.load(Ordering::Relaxed) >= 3);
        let ended = ["panicked", "failed", "done"].map(|outcome| metrics.job_runs.with_label_values(&["test", outcome]).get().min(1));
        assert_eq!(ended, [1, 1, 1]);
    }
}
