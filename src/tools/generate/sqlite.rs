//! Loads SQLite by inserts of many rows, with one transaction for each chunk.

use std::{
    collections::HashSet, ops::Range, path::PathBuf, str::FromStr, sync::Arc, time::Instant,
};

use async_trait::async_trait;
use sqlx::{
    Arguments, AssertSqlSafe, Connection, SqliteConnection,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use uuid::Uuid;

use super::{
    GenerateError,
    data_set::FacilitySeed,
    disk::Scratch,
    progress::Progress,
    rows::{CopyFields, GeneratedRow},
    sink::{Sample, Sink, bounds},
};
use crate::{
    config::DatabaseSettings,
    domain::day::Day,
    store::{Store, sqlite::SqliteStore},
};

/// Rows in one statement. They have 1,200 to 1,800 parameters; SQLite allows 32,766. More rows were
/// not faster.
const ROWS_PER_INSERT: usize = 300;

/// An SQLite file that is open for writing.
#[derive(Debug)]
pub struct SqliteSink {
    /// The one connection that writes.
    pub(in crate::tools) connection: SqliteConnection,
    folder: PathBuf,
}

impl SqliteSink {
    /// Opens the file, and creates it with its tables when it does not exist.
    pub async fn connect(url: &str) -> Result<Self, GenerateError> {
        let options = SqliteConnectOptions::from_str(url)?
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A power failure may lose the last chunks, but never part of one. The next run makes
            // them again.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(std::time::Duration::from_secs(10))
            .pragma("cache_size", "-65536");
        let folder = match options.get_filename().parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        // The store creates the file and its tables. It does so safely even when a service that
        // starts at this moment does the same.
        SqliteStore::open(&DatabaseSettings { url: url.to_owned(), ..Default::default() })
            .await?
            .close()
            .await;
        let connection = SqliteConnection::connect_with(&options).await?;
        Ok(SqliteSink { connection, folder })
    }

    /// The size of the file in bytes, after the write-ahead log was moved into it.
    pub async fn size_bytes(&mut self) -> Result<u64, GenerateError> {
        let size: i64 = sqlx::query_scalar(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        )
        .fetch_one(&mut self.connection)
        .await?;
        Ok(size.unsigned_abs())
    }
}

#[async_trait]
impl Sink for SqliteSink {
    async fn sample(&mut self, facilities: &[FacilitySeed]) -> Result<Sample, GenerateError> {
        let scratch = Scratch::within(&self.folder)?;
        let mut sink = SqliteSink::connect(&scratch.database_url()).await?;
        let (empty, progress, started) =
            (sink.size_bytes().await?, Progress::hidden(), Instant::now());
        sink.load(facilities, &progress).await?;
        sink.settle().await?;
        let sample = Sample {
            rows: progress.rows(),
            took: started.elapsed(),
            bytes: sink.size_bytes().await? - empty,
        };
        sink.connection.close().await?;
        Ok(sample)
    }

    async fn folder(&mut self) -> Option<PathBuf> {
        Some(self.folder.clone())
    }

    async fn passing_bytes(
        &mut self,
        data_bytes: u64,
        chunk_bytes: u64,
    ) -> Result<u64, GenerateError> {
        // The write-ahead log has a chunk, with some pages twice. The next chunk uses the same
        // space.
        Ok((2 * chunk_bytes).min(2 * data_bytes))
    }

    async fn event_time_ms(&mut self, facility: Uuid) -> Result<Option<i64>, GenerateError> {
        let time =
            sqlx::query_scalar("SELECT event_time FROM facilities WHERE id = $1").bind(facility);
        Ok(time.fetch_optional(&mut self.connection).await?)
    }

    async fn existing(&mut self, ids: Range<Uuid>) -> Result<HashSet<Uuid>, GenerateError> {
        let there = sqlx::query_scalar("SELECT id FROM facilities WHERE id >= $1 AND id < $2")
            .bind(ids.start)
            .bind(ids.end);
        Ok(there.fetch_all(&mut self.connection).await?.into_iter().collect())
    }

    async fn load(
        &mut self,
        facilities: &[FacilitySeed],
        progress: &Progress,
    ) -> Result<(), GenerateError> {
        let mut tx = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        insert(&mut tx, facilities.iter().map(FacilitySeed::row), progress).await?;
        insert(&mut tx, facilities.iter().flat_map(FacilitySeed::bank_rows), progress).await?;
        insert(&mut tx, facilities.iter().flat_map(FacilitySeed::inventory_rows), progress).await?;
        insert(&mut tx, facilities.iter().flat_map(FacilitySeed::distribution_rows), progress)
            .await?;
        insert(&mut tx, facilities.iter().flat_map(FacilitySeed::request_rows), progress).await?;
        Ok(tx.commit().await?)
    }

    async fn settle(&mut self) -> Result<(), GenerateError> {
        sqlx::query("PRAGMA optimize").execute(&mut self.connection).await?;
        // When another reader still uses the log, it is emptied later.
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.connection).await?;
        Ok(())
    }

    async fn count(&mut self, table: &'static str, ids: Range<Uuid>) -> Result<u64, GenerateError> {
        let statement = format!("SELECT count(*) FROM {table} WHERE id >= $1 AND id < $2");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(ids.start)
            .bind(ids.end)
            .fetch_one(&mut self.connection)
            .await?;
        Ok(count.unsigned_abs())
    }

    async fn active_days(
        &mut self,
        ids: Range<Uuid>,
        timezone: &str,
        days: &[Day],
    ) -> Result<u64, GenerateError> {
        let (starts, ends) = bounds(days);
        let spans: Vec<_> = starts.into_iter().zip(ends).collect();
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM facilities f CROSS JOIN (SELECT value ->> 0 AS s, value ->> 1 \
             AS e FROM json_each($4)) d
             WHERE f.id >= $1 AND f.id < $2 AND f.timezone = $3
               AND EXISTS (SELECT 1 FROM blood_distributions x WHERE x.dispatched_to_id = f.id
                             AND x.date_delivered >= d.s AND x.date_delivered < d.e)
               AND EXISTS (SELECT 1 FROM blood_requests x WHERE x.facility_id = f.id AND \
             x.created_at >= d.s AND x.created_at < d.e)",
        )
        .bind(ids.start)
        .bind(ids.end)
        .bind(timezone)
        .bind(serde_json::to_string(&spans).unwrap_or_default())
        .fetch_one(&mut self.connection)
        .await?;
        Ok(count.unsigned_abs())
    }
}

async fn insert<R: GeneratedRow>(
    connection: &mut SqliteConnection,
    mut rows: impl Iterator<Item = R> + Send,
    progress: &Progress,
) -> Result<(), GenerateError> {
    let full = statement::<R>(ROWS_PER_INSERT);
    loop {
        let mut parameters = Parameters(SqliteArguments::default());
        let count =
            rows.by_ref().take(ROWS_PER_INSERT).inspect(|row| row.write(&mut parameters)).count();
        if count == 0 {
            return Ok(());
        }
        let statement = if count == ROWS_PER_INSERT { full.clone() } else { statement::<R>(count) };
        sqlx::query_with(AssertSqlSafe(statement), parameters.0).execute(&mut *connection).await?;
        progress.advance(count as u64)?;
    }
}

fn statement<R: GeneratedRow>(rows: usize) -> Arc<str> {
    let row = format!("({})", vec!["?"; R::COLUMNS.len()].join(", "));
    format!(
        "INSERT INTO {} ({}) VALUES {}",
        R::TABLE,
        R::COLUMNS.join(", "),
        vec![row; rows].join(", ")
    )
    .into()
}

struct Parameters(SqliteArguments);

impl Parameters {
    fn add<'t, T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(&mut self, value: T) {
        self.0.add(value).expect("ids, texts and integers always encode");
    }
}

impl CopyFields for Parameters {
    fn uuid(&mut self, value: Uuid) {
        self.add(value);
    }

    fn text(&mut self, value: &str) {
        self.add(value);
    }

    fn number(&mut self, value: i32) {
        self.add(value);
    }

    fn instant(&mut self, value_ms: Option<i64>) {
        self.add(value_ms);
    }
}
