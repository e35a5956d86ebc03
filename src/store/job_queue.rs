//! The queue of job runs, which all servers on the database share: each tick runs once.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::Result;

/// Runs of jobs: put in line, taken up by one server, and kept for those who ask.
#[async_trait]
pub trait JobQueue {
    /// Puts a run of a job in line, once a tick: false where that tick, or a later one, is there
    /// already.
    async fn enqueue_run(&self, run: Uuid, job: &str, tick_ms: i64) -> Result<bool>;
    /// Takes up the run of one of `jobs` (or `only` that one) that is in line for longest, for
    /// exactly one caller: it waits, or its heart has not beaten for `abandoned_after`. `None`
    /// while any run of the jobs `apart` lives.
    async fn take_run(
        &self,
        apart: &[&str],
        jobs: &[&str],
        only: Option<Uuid>,
        abandoned_after: Duration,
    ) -> Result<Option<JobRun>>;
    /// Ends, as failed, earlier ticks of `job` that nobody carries out, and runs that died with
    /// their `command`.
    async fn give_up_runs(
        &self,
        job: &str,
        before_tick_ms: i64,
        command: &str,
        abandoned_after: Duration,
    ) -> Result<()>;
    /// Beats a run's heart; false where the run is no longer the caller's.
    async fn beat_run(&self, run: &JobRun) -> Result<bool>;
    /// Stores a run's progress and beats its heart; false where the run is no longer the caller's,
    /// or has ended.
    async fn update_run(&self, run: &JobRun) -> Result<bool>;
    /// The first run of a job that waits to be taken up.
    async fn waiting_run(&self, job: &str) -> Result<Option<JobRun>>;
    async fn job_run(&self, id: Uuid) -> Result<Option<JobRun>>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRun {
    pub id: Uuid,
    pub job: String,
    /// `waiting`, `running`, `done` or `failed`.
    pub state: String,
    /// When this attempt was begun: it tells an attempt from the one that takes it over.
    pub started_at_ms: i64,
    pub finished_at_ms: Option<i64>,
    /// Facilities to do and done; rows changed and found drifted.
    pub total: i64,
    pub done: i64,
    pub changed: i64,
    pub drift: i64,
    pub error: Option<String>,
    /// The instant as of which it found or made right all that it looked at; `None` unless `done`.
    pub verified_through_ms: Option<i64>,
}
