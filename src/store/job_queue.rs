//! The queue of job runs, which all servers on the database share: each tick runs once.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{Result, access::AuditNote};

/// Runs of jobs: they are queued, taken up by one server each, and kept for readers.
#[async_trait]
pub trait JobQueue {
    /// Queues the run of a job for a tick. Returns false when this tick, or a later one, is there
    /// already.
    async fn enqueue_run(&self, run: Uuid, job: &str, tick_ms: i64) -> Result<bool>;
    /// The same for a run that somebody has asked for, which the audit log notes.
    async fn enqueue_noted_run(
        &self,
        run: Uuid,
        job: &str,
        tick_ms: i64,
        note: &AuditNote,
    ) -> Result<bool>;
    /// Takes up, for exactly one caller, the run with the earliest tick: of one of `jobs`, or the
    /// run `only`. It is a run that waits, or one without a heartbeat for `abandoned_after`. `None`
    /// while a run of the jobs `apart` is in progress.
    async fn take_run(
        &self,
        apart: &[&str],
        jobs: &[&str],
        only: Option<Uuid>,
        abandoned_after: Duration,
    ) -> Result<Option<JobRun>>;
    /// Ends as failed the earlier ticks of `job` that no server carries out, and the runs of
    /// `command` that have no heartbeat for `abandoned_after`: their process has died.
    async fn give_up_runs(
        &self,
        job: &str,
        before_tick_ms: i64,
        command: &str,
        abandoned_after: Duration,
    ) -> Result<()>;
    /// Sends a run's heartbeat. Returns false when another attempt has taken over the run.
    async fn beat_run(&self, run: &JobRun) -> Result<bool>;
    /// Stores a run's progress, which counts as a heartbeat. Returns false when the run has ended,
    /// or another attempt has taken it over.
    async fn update_run(&self, run: &JobRun) -> Result<bool>;
    /// The run of a job with the earliest tick that waits to be taken up.
    async fn waiting_run(&self, job: &str) -> Result<Option<JobRun>>;
    /// A run, by its id.
    async fn job_run(&self, id: Uuid) -> Result<Option<JobRun>>;
}

/// A run of a job. Instants are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRun {
    /// The id of the run.
    pub id: Uuid,
    /// The name of the job.
    pub job: String,
    /// `waiting`, `running`, `done` or `failed`.
    pub state: String,
    /// When this attempt began. It distinguishes an attempt from the one that takes it over.
    pub started_at_ms: i64,
    /// When it ended.
    pub finished_at_ms: Option<i64>,
    /// Facilities in all.
    pub total: i64,
    /// Facilities that are done, from 0 to `total`.
    pub done: i64,
    /// Rows that changed.
    pub changed: i64,
    /// Rows that had drifted: they differed from their sources.
    pub drift: i64,
    /// Why it failed.
    pub error: Option<String>,
    /// Everything that the run checked was right, or made right, as of this instant; `None` unless
    /// `done`.
    pub verified_through_ms: Option<i64>,
}
