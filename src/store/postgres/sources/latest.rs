//! Of several mappings on one installation, that of the server that was started last counts. While
//! servers are replaced one by one, the others have the earlier mapping: they read and write
//! nothing of the mapped tables from then on, so that figures do not change with the replica that
//! derived them. What is stored they serve on.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{Executor, Postgres};

use crate::store::{Result, SourceChange, StoreError, postgres::advisory_locks::Lock};

/// The least time between two records of when the mapped facilities were read.
const MIRRORED_PERIOD_MS: i64 = 5_000;

/// The mapping of this server among those of others.
#[derive(Debug)]
pub(in crate::store::postgres) struct Latest {
    /// The hash of this server's mapping.
    hash: String,
    /// The `classid` of the advisory locks of this installation.
    lock_class: i32,
    /// As of the last drain snapshot, another one counts.
    is_superseded: AtomicBool,
}

impl Latest {
    pub fn new(hash: String, lock_class: i32) -> Self {
        Latest { hash, lock_class, is_superseded: AtomicBool::new(false) }
    }

    /// The statement by which a transaction keeps another mapping from taking over until it ends.
    /// To be carried out before [`Latest::check`].
    pub fn hold(&self) -> String {
        format!("SELECT pg_advisory_xact_lock_shared({}, {})", self.lock_class, Lock::Maps.id())
    }

    /// Errors with `Superseded` where another mapping counts. Returns the instant of this check, in
    /// milliseconds by the database's clock.
    pub async fn check<'c>(&self, executor: impl Executor<'c, Database = Postgres>) -> Result<i64> {
        let (noted, at_ms): (Option<String>, i64) = sqlx::query_as(
            "SELECT mapping, floor(extract(epoch FROM statement_timestamp()) * 1000.0)::bigint \
             FROM fleet",
        )
        .fetch_one(executor)
        .await?;
        match noted.as_ref() == Some(&self.hash) {
            true => Ok(at_ms),
            false => Err(StoreError::Superseded),
        }
    }

    /// Records that our table had all mapped facilities as of this instant, for servers with an
    /// earlier mapping, which serve what is stored. Seldom: it writes.
    pub async fn note_mirrored<'c>(
        &self,
        executor: impl Executor<'c, Database = Postgres>,
        at_ms: i64,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE fleet SET mirrored_ms = $1::bigint WHERE mapping = $2::text AND \
             (mirrored_ms IS NULL OR mirrored_ms < $1::bigint - $3::bigint)",
        )
        .bind(at_ms)
        .bind(&self.hash)
        .bind(MIRRORED_PERIOD_MS)
        .execute(executor)
        .await?;
        Ok(())
    }

    /// Records which mapping counts in a drain snapshot. Returns whether it is another one.
    pub fn see(&self, noted: Option<&str>) -> bool {
        let is_superseded = noted != Some(&self.hash);
        if self.is_superseded.swap(is_superseded, Ordering::Relaxed) != is_superseded {
            match is_superseded {
                true => tracing::error!("{}", StoreError::Superseded),
                false => tracing::warn!("the mapping of this server counts again"),
            }
        }
        is_superseded
    }

    /// Whether another mapping counted in the last drain snapshot.
    pub fn is_superseded(&self) -> bool {
        self.is_superseded.load(Ordering::Relaxed)
    }

    /// What is to be said of the mapped tables because of it.
    pub async fn change<'c>(
        &self,
        executor: impl Executor<'c, Database = Postgres>,
    ) -> Result<Option<SourceChange>> {
        match self.check(executor).await {
            Err(StoreError::Superseded) => {
                let text = StoreError::Superseded.to_string();
                Ok(Some(SourceChange { text, breaks: true }))
            }
            checked => checked.map(|_| None),
        }
    }
}

/// The statement that waits until no transaction holds a mapping, and holds it alone.
pub(super) fn take_over(lock_class: i32) -> String {
    format!("SELECT pg_advisory_xact_lock({lock_class}, {})", Lock::Maps.id())
}
