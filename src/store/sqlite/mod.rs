//! The embedded store: one SQLite file in WAL mode, one connection that writes, and a read-only
//! pool. Every transaction begins with `BEGIN IMMEDIATE`, so it holds the one write lock before it
//! reads. Nothing that it reads can change meanwhile, and no lock has to be upgraded. The clock is
//! that of this machine, read after the lock is held. The statements are in `sql/sqlite`;
//! `derive.rs` adds up what they read.

mod access;
mod derive;
mod epoch;
mod file;
mod imports;
pub(super) mod open;
mod parameter;
mod people;
mod row;
mod runs;
pub mod server_lock;
mod transaction;
mod triggers;
mod written;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row, Sqlite, SqlitePool, pool::PoolConnection};
use uuid::Uuid;

use super::{
    Cause, Connections, Difference, DrainSnapshot, FacilitiesRead, Marks, Result, Span, Store,
    StoreError, StoredBounds, TableRead, Transaction,
    kept_connection::{KeptConnection, Lent},
    source_triggers::TrustedSources,
    unreadable,
};
use crate::{
    domain::summary::{DayKey, Key},
    protocol::{Epoch, Watermark},
};
use transaction::SqliteTransaction;

/// A statement of `sql/sqlite`, by its name.
macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../../../sql/sqlite/", $name, ".sql"))
    };
}
use sql;

/// One SQLite file, opened by [`SqliteStore::open`]. Other processes may read and write it at the
/// same time.
pub struct SqliteStore {
    /// A pool of one connection. The transaction that holds it writes.
    writer: SqlitePool,
    readers: SqlitePool,
    /// The connection of the last read of summaries.
    kept: KeptConnection<PoolConnection<Sqlite>>,
    /// How long a single statement that writes, outside a transaction of the caller, waits for the
    /// write lock.
    write_timeout: Duration,
    /// Whether the file continues from its last state.
    written: Arc<written::EpochCounters>,
    file: Arc<file::DatabaseFile>,
    /// The triggers as they were when writes were last known to leave marks.
    trusted: Arc<TrustedSources>,
}

impl SqliteStore {
    /// The pool that reads. An error when the file at the path is not the one that is open.
    fn reader(&self) -> Result<&SqlitePool> {
        self.file.check()?;
        Ok(&self.readers)
    }

    /// Takes the writer and the file's write lock. Dropping the result releases both.
    async fn lock_file(
        &self,
        lock_timeout: Duration,
    ) -> Result<sqlx::Transaction<'static, Sqlite>> {
        self.file.check()?;
        let begin = format!(
            "PRAGMA busy_timeout = {}; BEGIN IMMEDIATE",
            lock_timeout.as_millis().min(i32::MAX as u128)
        );
        self.writer.begin_with(AssertSqlSafe(begin)).await.map_err(|error| match error {
            // Another transaction of this process used the one writer all that time.
            sqlx::Error::PoolTimedOut => StoreError::Locked(Cause::NoAnswer),
            error => error.into(),
        })
    }

    /// Runs one statement that writes, in a transaction of its own, and returns how many rows it
    /// changed.
    async fn write_once(
        &self,
        query: sqlx::query::Query<'_, Sqlite, sqlx::sqlite::SqliteArguments>,
    ) -> Result<u64> {
        let mut transaction = self.lock_file(self.write_timeout).await?;
        let done = query.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected())
    }
}

/// Marks with an invalid id are about no facility. They are left out, so that they take no place in
/// the list.
const MARKS: &str = "SELECT id, kind, facility_id, first_at, last_at FROM summary_marks
    WHERE facility_id IS NULL OR length(facility_id) = 16 ORDER BY id LIMIT $1";

/// Some of the marks that are left out.
const UNREADABLE_MARKS: &str =
    "SELECT facility_id FROM summary_marks WHERE length(facility_id) <> 16 LIMIT 10";

impl crate::store::failing::FailingLog for SqliteStore {}
impl crate::store::source_triggers::SourceWatch for SqliteStore {}

#[async_trait]
impl Store for SqliteStore {
    async fn now_ms(&self) -> Result<i64> {
        // Reads the file, so that a lost disk is noticed. The clock itself is that of this machine.
        sqlx::query("SELECT EXISTS (SELECT 1 FROM facility_state)")
            .fetch_one(self.reader()?)
            .await?;
        Ok(clock_ms())
    }

    async fn facilities(&self, ids: Option<&[Uuid]>) -> Result<FacilitiesRead> {
        let mut connection = self.reader()?.acquire().await?;
        let query = match ids {
            None => sqlx::query(sql!("all_facilities")),
            Some(ids) => sqlx::query(sql!("facilities")).bind(parameter::ids(ids)),
        };
        let rows = query.fetch_all(&mut *connection).await?;
        let here = sqlx::query(sql!("summaries")).bind(parameter::dates(&[]));
        let TableRead { epoch, watermark, .. } =
            epoch::table_read(&here.fetch_all(&mut *connection).await?)?;
        let rows = row::readable(&rows, 0, "facilities", row::facility)?;
        Ok(FacilitiesRead { rows, epoch, watermark, outdated: None, stored_ms: None })
    }

    async fn orphans(&self) -> Result<Vec<Uuid>> {
        let rows = sqlx::query(sql!("orphans")).fetch_all(self.reader()?).await?;
        row::readable(&rows, 0, "facility_state", |row| Ok(row.try_get(0)?))
    }

    async fn summaries(&self, keys: &[Key]) -> Result<TableRead> {
        let readers = self.reader()?;
        let mut lent = match self.kept.take() {
            Some(lent) => lent,
            None => Lent::new(readers.acquire().await?),
        };
        let connection = &mut *lent.connection;
        let rows = match keys {
            // One key has one row, and this task is not woken once more for the end of the rows.
            [Key { facility_id, date }] => {
                let query = sqlx::query(sql!("summary")).bind(&facility_id.as_bytes()[..]);
                let row = query.bind(date.to_string()).fetch_optional(connection).await?;
                row.into_iter().collect()
            }
            _ => {
                let query = sqlx::query(sql!("summaries")).bind(parameter::dates(keys));
                query.fetch_all(connection).await?
            }
        };
        if readers.num_idle() > 0 || readers.size() < readers.options().get_max_connections() {
            self.kept.keep(lent);
        }
        epoch::table_read(&rows)
    }

    async fn stored_bounds(&self, keys: &[Key]) -> Result<Vec<StoredBounds>> {
        let query = sqlx::query(sql!("stored_bounds")).bind(parameter::dates(keys));
        let rows = query.fetch_all(self.reader()?).await?;
        rows.iter().filter_map(|row| row::stored_bounds(row, keys).transpose()).collect()
    }

    async fn version(&self, facility: Uuid) -> Result<i64> {
        Ok(sqlx::query_scalar(sql!("version"))
            .bind(&facility.as_bytes()[..])
            .fetch_one(self.reader()?)
            .await?)
    }

    async fn stored_dates(&self, facilities: &[Uuid]) -> Result<Vec<Key>> {
        let rows = sqlx::query(sql!("stored_dates"))
            .bind(parameter::ids(facilities))
            .fetch_all(self.reader()?)
            .await?;
        Ok(unreadable::skip(rows.iter().map(row::key), "dashboard_daily_summary"))
    }

    async fn activity(&self, facilities: &[Uuid]) -> Result<Vec<Span>> {
        let rows = sqlx::query(sql!("activity"))
            .bind(parameter::ids(facilities))
            .fetch_all(self.reader()?)
            .await?;
        rows.iter().map(row::span).collect()
    }

    async fn expiring(&self, until_ms: i64, limit: usize) -> Result<Vec<Key>> {
        let rows = sqlx::query(sql!("expiring"))
            .bind(until_ms)
            .bind(parameter::limit(limit))
            .fetch_all(self.reader()?)
            .await?;
        Ok(unreadable::skip(rows.iter().map(row::key), "dashboard_daily_summary"))
    }

    async fn drain_snapshot(&self, limit: usize) -> Result<DrainSnapshot> {
        let before = self.written.before();
        // The clock is read first: the first SELECT takes the snapshot, so the snapshot contains
        // everything committed up to then.
        let at_ms = clock_ms();
        let mut snapshot = self.reader()?.begin().await?;
        let marks =
            sqlx::query(MARKS).bind(parameter::limit(limit)).fetch_all(&mut *snapshot).await?;
        let unreadable = sqlx::query(UNREADABLE_MARKS).fetch_all(&mut *snapshot).await?;
        row::readable(&unreadable, 0, "summary_marks", |_| Ok(()))?;
        let outbox =
            sqlx::query("SELECT facility_id, date, id, version FROM outbox ORDER BY id LIMIT $1")
                .bind(parameter::limit(limit))
                .fetch_all(&mut *snapshot)
                .await?;
        let facilities =
            sqlx::query("SELECT id, facility_id FROM facility_outbox ORDER BY id LIMIT $1")
                .bind(parameter::limit(limit))
                .fetch_all(&mut *snapshot)
                .await?;
        let mut seen = epoch::observed(&mut snapshot, at_ms).await?;
        let has_others = triggers::has_others(&mut snapshot).await?;
        snapshot.commit().await?;
        self.trusted.see(&seen.triggers, &seen.triggers.fingerprint, has_others);
        seen.written.has_gone_back =
            !self.written.goes_on(&before, seen.epoch.identity(), seen.written.rows);
        Ok(DrainSnapshot {
            at_ms,
            marks: row::readable(&marks, 2, "summary_marks", row::mark)?,
            outbox: row::readable(&outbox, 0, "outbox", row::outbox)?,
            changed_facilities: row::readable(&facilities, 1, "facility_outbox", |r| {
                Ok((r.try_get(0)?, r.try_get(1)?))
            })?,
            ..seen
        })
    }

    async fn marks(&self, limit: usize) -> Result<Marks> {
        let marks =
            sqlx::query(MARKS).bind(parameter::limit(limit)).fetch_all(self.reader()?).await?;
        Ok(Marks { all: row::readable(&marks, 2, "summary_marks", row::mark)?, strays: Vec::new() })
    }

    async fn audit(&self, keys: &[DayKey]) -> Result<Vec<Difference>> {
        let mut reader = self.reader()?.acquire().await?;
        derive::audit(&mut reader, keys, clock_ms()).await
    }

    async fn store_watermark(&self, watermark: &Watermark, epoch: &Epoch) -> Result<bool> {
        let store = sqlx::query(sql!("store_watermark"))
            .bind(epoch.identity())
            .bind(watermark.at_ms)
            .bind(watermark.position.generation)
            .bind(watermark.position.number);
        Ok(self.write_once(store).await? == 1)
    }

    async fn begin_generation(&self, after: i64) -> Result<i64> {
        let begin =
            sqlx::query("UPDATE fleet SET generation = $1 + 1 WHERE generation = $1").bind(after);
        match self.write_once(begin).await? {
            0 => Err(StoreError::Conflict),
            _ => Ok(after + 1),
        }
    }

    async fn begin_epoch(&self, old: &Epoch) -> Result<()> {
        let begin = sqlx::query(sql!("begin_epoch"))
            .bind(old.identity())
            .bind(Uuid::new_v4().simple().to_string())
            .bind(clock_ms());
        self.write_once(begin).await.map(drop)
    }

    async fn forget_published(&self, outbox: &[i64], facilities: &[i64]) -> Result<bool> {
        let mut transaction = self.lock_file(self.write_timeout).await?;
        for (statement, ids) in [
            ("DELETE FROM outbox WHERE id IN (SELECT value FROM json_each($1))", outbox),
            (
                "DELETE FROM facility_outbox WHERE id IN (SELECT value FROM json_each($1))",
                facilities,
            ),
        ] {
            sqlx::query(statement).bind(parameter::numbers(ids)).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    async fn compact_outbox(&self) -> Result<()> {
        self.write_once(sqlx::query(include_str!("../../../sql/sqlite/compact_outbox.sql")))
            .await
            .map(drop)
    }

    async fn note_triggers(&self, fingerprint: Option<&str>) -> Result<()> {
        let mut transaction = self.lock_file(self.write_timeout).await?;
        if triggers::remember(&mut transaction, fingerprint).await? && fingerprint.is_some() {
            triggers::mark_everything(&mut transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn restore_triggers(&self) -> Result<bool> {
        let mut transaction = self.lock_file(self.write_timeout).await?;
        let were_off = triggers::restore(&mut transaction).await?;
        transaction.commit().await?;
        Ok(were_off)
    }

    async fn prune(&self, tombstones_before_ms: i64, runs_before_ms: i64) -> Result<()> {
        self.write_once(
            sqlx::query("DELETE FROM tombstones WHERE event_time < $1").bind(tombstones_before_ms),
        )
        .await?;
        self.write_once(sqlx::query(sql!("prune_runs")).bind(runs_before_ms)).await.map(drop)
    }

    async fn begin(&self, lock_timeout: Duration) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(
            SqliteTransaction::new(
                self.lock_file(lock_timeout).await?,
                self.written.clone(),
                self.file.clone(),
                self.trusted.clone(),
            )
            .await?,
        ))
    }

    fn connections(&self) -> Vec<(&'static str, Connections)> {
        let pools = [&self.writer, &self.readers];
        let idle: u32 = pools.iter().map(|pool| pool.num_idle() as u32).sum();
        let open: u32 = pools.iter().map(|pool| pool.size()).sum();
        let max = pools.iter().map(|pool| pool.options().get_max_connections()).sum();
        vec![("primary", Connections { in_use: open.saturating_sub(idle), idle, max })]
    }

    fn writers(&self) -> usize {
        1 // The file has one write lock.
    }

    fn remedy(&self) -> Option<String> {
        self.file.check().err().map(|_| self.file.remedy())
    }

    fn dialect(&self) -> &'static str {
        "sqlite"
    }

    async fn close(&self) {
        // The writer closes last: the last connection that closes copies the write-ahead log into
        // the file.
        self.file.close();
        self.kept.give_back();
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// This machine's clock, which is also the database's clock.
fn clock_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

/// A run with a last heartbeat before this instant has been abandoned.
fn last_beats_ms(now_ms: i64, abandoned_after: Duration) -> i64 {
    now_ms.saturating_sub(i64::try_from(abandoned_after.as_millis()).unwrap_or(i64::MAX))
}
