//! The queue of job runs on SQLite.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{SqliteStore, access::note_all, clock_ms, last_beats_ms, parameter, row, sql};
use crate::store::{JobQueue, JobRun, Result, access::AuditNote};

#[async_trait]
impl JobQueue for SqliteStore {
    async fn enqueue_run(&self, run: Uuid, job: &str, tick_ms: i64) -> Result<bool> {
        let enqueue =
            sqlx::query(sql!("enqueue_run")).bind(run).bind(job).bind(tick_ms).bind(clock_ms());
        Ok(self.write_once(enqueue).await? == 1)
    }

    async fn enqueue_noted_run(
        &self,
        run: Uuid,
        job: &str,
        tick_ms: i64,
        note: &AuditNote,
    ) -> Result<bool> {
        let mut tx = self.lock_file(self.write_timeout).await?;
        let enqueue =
            sqlx::query(sql!("enqueue_run")).bind(run).bind(job).bind(tick_ms).bind(clock_ms());
        if enqueue.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        note_all(&mut tx, std::slice::from_ref(note)).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn take_run(
        &self,
        apart: &[&str],
        jobs: &[&str],
        only: Option<Uuid>,
        abandoned_after: Duration,
    ) -> Result<Option<JobRun>> {
        let jobs = parameter::words(jobs);
        let in_line: bool = sqlx::query_scalar(sql!("runs_in_line"))
            .bind(&jobs)
            .bind(only)
            .fetch_one(self.reader()?)
            .await?;
        if !in_line {
            return Ok(None);
        }
        let now_ms = clock_ms();
        let take = sqlx::query_scalar(sql!("take_run"))
            .bind(parameter::words(apart))
            .bind(&jobs)
            .bind(only);
        let mut transaction = self.lock_file(self.write_timeout).await?;
        let taken: Option<Uuid> = take
            .bind(now_ms)
            .bind(last_beats_ms(now_ms, abandoned_after))
            .fetch_optional(&mut *transaction)
            .await?;
        transaction.commit().await?;
        match taken {
            Some(id) => self.job_run(id).await,
            None => Ok(None),
        }
    }

    async fn give_up_runs(
        &self,
        job: &str,
        before_tick_ms: i64,
        command: &str,
        abandoned_after: Duration,
    ) -> Result<()> {
        let now_ms = clock_ms();
        let give_up =
            sqlx::query(sql!("give_up_runs")).bind(job).bind(before_tick_ms).bind(command);
        self.write_once(give_up.bind(now_ms).bind(last_beats_ms(now_ms, abandoned_after)))
            .await
            .map(drop)
    }

    async fn beat_run(&self, run: &JobRun) -> Result<bool> {
        let beat =
            sqlx::query(sql!("beat_run")).bind(run.id).bind(run.started_at_ms).bind(clock_ms());
        Ok(self.write_once(beat).await? == 1)
    }

    async fn update_run(&self, run: &JobRun) -> Result<bool> {
        let update = sqlx::query(sql!("update_run"))
            .bind(run.id)
            .bind(run.started_at_ms)
            .bind(&run.state)
            .bind(run.finished_at_ms)
            .bind(run.total)
            .bind(run.done)
            .bind(run.changed)
            .bind(run.drift)
            .bind(&run.error)
            .bind(run.verified_through_ms)
            .bind(clock_ms());
        Ok(self.write_once(update).await? == 1)
    }

    async fn waiting_run(&self, job: &str) -> Result<Option<JobRun>> {
        match sqlx::query_scalar(sql!("waiting_run"))
            .bind(job)
            .fetch_optional(self.reader()?)
            .await?
        {
            Some(id) => self.job_run(id).await,
            None => Ok(None),
        }
    }

    async fn job_run(&self, id: Uuid) -> Result<Option<JobRun>> {
        let found = sqlx::query(sql!("job_run")).bind(id).fetch_optional(self.reader()?).await?;
        found.as_ref().map(row::job_run).transpose()
    }
}
