//! Runs of jobs. Across all replicas one run is taken up at a time: a lock is held while one is
//! chosen, because two replicas could otherwise both find that no run is in progress.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row;
use uuid::Uuid;

use super::{
    PostgresStore, access::note_all, advisory_locks::Lock, pool::PrimaryPool, session::BEGIN,
    transaction::COMMIT,
};
use crate::store::{JobQueue, JobRun, Result, Store, access::AuditNote};

macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../../sql/postgres/", $name, ".sql"))
    };
}

pub(super) async fn enqueue(
    pool: &PrimaryPool,
    run: Uuid,
    job: &str,
    tick_ms: i64,
) -> Result<bool> {
    let done =
        sqlx::query(sql!("enqueue_run")).bind(run).bind(job).bind(tick_ms).execute(pool).await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn take(
    pool: &PrimaryPool,
    lock_class: i32,
    apart: &[&str],
    jobs: &[&str],
    only: Option<Uuid>,
    abandoned_after: Duration,
) -> Result<Option<JobRun>> {
    let in_line: bool =
        sqlx::query_scalar(sql!("runs_in_line")).bind(jobs).bind(only).fetch_one(pool).await?;
    if !in_line {
        return Ok(None);
    }
    let mut tx = pool.begin(BEGIN.into()).await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1, $2)")
        .bind(lock_class)
        .bind(Lock::Runs.id())
        .execute(&mut tx)
        .await?;
    let taken: Option<Uuid> = sqlx::query_scalar(sql!("take_run"))
        .bind(apart)
        .bind(jobs)
        .bind(only)
        .bind(millis(abandoned_after))
        .fetch_optional(&mut tx)
        .await?;
    tx.commit(COMMIT).await?;
    match taken {
        Some(id) => get(pool, id).await,
        None => Ok(None),
    }
}

pub(super) async fn give_up(
    pool: &PrimaryPool,
    job: &str,
    before_tick_ms: i64,
    command: &str,
    abandoned_after: Duration,
) -> Result<()> {
    let give_up = sqlx::query(sql!("give_up_runs"))
        .bind(job)
        .bind(before_tick_ms)
        .bind(command)
        .bind(millis(abandoned_after));
    give_up.execute(pool).await?;
    Ok(())
}

pub(super) async fn beat(pool: &PrimaryPool, run: &JobRun) -> Result<bool> {
    let done =
        sqlx::query(sql!("beat_run")).bind(run.id).bind(run.started_at_ms).execute(pool).await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn update(pool: &PrimaryPool, run: &JobRun) -> Result<bool> {
    let done = sqlx::query(sql!("update_run"))
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
        .execute(pool)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn waiting(pool: &PrimaryPool, job: &str) -> Result<Option<JobRun>> {
    match sqlx::query_scalar(sql!("waiting_run")).bind(job).fetch_optional(pool).await? {
        Some(id) => get(pool, id).await,
        None => Ok(None),
    }
}

pub(super) async fn get(pool: &PrimaryPool, id: Uuid) -> Result<Option<JobRun>> {
    let row = sqlx::query(sql!("job_run")).bind(id).fetch_optional(pool).await?;
    row.map(|r| {
        Ok(JobRun {
            id: r.try_get("id")?,
            job: r.try_get("job")?,
            state: r.try_get("state")?,
            started_at_ms: r.try_get("started_at_ms")?,
            finished_at_ms: r.try_get("finished_at_ms")?,
            total: r.try_get("total")?,
            done: r.try_get("done")?,
            changed: r.try_get("changed")?,
            drift: r.try_get("drift")?,
            error: r.try_get("error")?,
            verified_through_ms: r.try_get("verified_through_ms")?,
        })
    })
    .transpose()
}

pub(super) async fn prune(pool: &PrimaryPool, before_ms: i64) -> Result<()> {
    sqlx::query(sql!("prune_runs")).bind(before_ms).execute(pool).await?;
    Ok(())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[async_trait]
impl JobQueue for PostgresStore {
    async fn enqueue_run(&self, run: Uuid, job: &str, tick_ms: i64) -> Result<bool> {
        enqueue(&self.pool, run, job, tick_ms).await
    }

    async fn enqueue_noted_run(
        &self,
        run: Uuid,
        job: &str,
        tick_ms: i64,
        note: &AuditNote,
    ) -> Result<bool> {
        let mut tx = self.pool.begin(BEGIN.into()).await?;
        let enqueue = sqlx::query(sql!("enqueue_run")).bind(run).bind(job).bind(tick_ms);
        if enqueue.execute(&mut tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        note_all(&mut tx, std::slice::from_ref(note)).await?;
        tx.commit(COMMIT).await?;
        Ok(true)
    }

    async fn take_run(
        &self,
        apart: &[&str],
        jobs: &[&str],
        only: Option<Uuid>,
        abandoned_after: Duration,
    ) -> Result<Option<JobRun>> {
        if self.is_superseded() {
            return Ok(None); // a server with the mapping that counts takes it
        }
        take(&self.pool, self.lock_class, apart, jobs, only, abandoned_after).await
    }

    async fn give_up_runs(
        &self,
        job: &str,
        before_tick_ms: i64,
        command: &str,
        abandoned_after: Duration,
    ) -> Result<()> {
        give_up(&self.pool, job, before_tick_ms, command, abandoned_after).await
    }

    async fn beat_run(&self, run: &JobRun) -> Result<bool> {
        beat(&self.pool, run).await
    }

    async fn update_run(&self, run: &JobRun) -> Result<bool> {
        update(&self.pool, run).await
    }

    async fn waiting_run(&self, job: &str) -> Result<Option<JobRun>> {
        waiting(&self.pool, job).await
    }

    async fn job_run(&self, id: Uuid) -> Result<Option<JobRun>> {
        get(&self.pool, id).await
    }
}
