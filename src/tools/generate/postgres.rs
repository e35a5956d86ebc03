//! Loads Postgres by binary COPY: one transaction for each chunk, with a COPY for each of the five
//! tables.

use std::{collections::HashSet, ops::Range, path::PathBuf, str::FromStr, time::Instant};

use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, migrate::Migrator, postgres::PgConnectOptions,
};
use uuid::Uuid;

use super::{
    GenerateError,
    copy_format::CopyBuffer,
    data_set::FacilitySeed,
    progress::Progress,
    rows::GeneratedRow,
    sink::{Sample, Sink, bounds},
};
use crate::{
    config::DatabaseSettings,
    domain::day::Day,
    store::postgres::{home::Home, migrate::migrate, session},
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// How many bytes are sent at a time: some thousand rows, so that the progress bar moves and Ctrl-C
/// has an effect within milliseconds.
const SEND_BYTES: usize = 256 << 10;

/// One connection to a Postgres server.
#[derive(Debug)]
pub struct PostgresSink {
    connection: PgConnection,
    is_local: bool,
}

impl PostgresSink {
    /// Connects to the server. Fails when it cannot be reached.
    pub async fn connect(database: &DatabaseSettings) -> Result<Self, GenerateError> {
        let options = session::options(PgConnectOptions::from_str(&database.url)?)
            .application_name("facility-summary generate")
            // Notices such as "already exists, skipping" are left out, and a load may take any
            // time.
            .options([
                ("client_min_messages", "warning"),
                ("statement_timeout", "0"),
                ("idle_in_transaction_session_timeout", "0"),
            ]);
        let host = options.get_host();
        let is_local = options.get_socket().is_some()
            || host.starts_with('/')
            || ["localhost", "127.0.0.1", "::1"].contains(&host);
        let mut connection = PgConnection::connect_with(&options).await?;
        let home = Home::new(database);
        home.settle(&mut connection).await?;
        let schema = home.schema(&mut connection).await?;
        migrate(&mut connection, &schema).await?;
        Ok(PostgresSink { connection, is_local })
    }

    async fn setting(&mut self, name: &str) -> Result<Option<String>, GenerateError> {
        // For settings that this role may not see, the answer is null and not an error.
        let setting =
            sqlx::query_scalar("SELECT setting FROM pg_settings WHERE name = $1").bind(name);
        Ok(setting.fetch_optional(&mut self.connection).await?)
    }
}

#[async_trait]
impl Sink for PostgresSink {
    /// Loads the sample in a schema of its own, in a transaction that is rolled back. Even `kill
    /// -9` leaves nothing.
    async fn sample(&mut self, facilities: &[FacilitySeed]) -> Result<Sample, GenerateError> {
        let mut tx = self.connection.begin_with(session::BEGIN).await?;
        let schema = format!("facility_summary_sample_{}", std::process::id());
        let prepare =
            format!("CREATE SCHEMA {schema}; SET LOCAL search_path TO {schema}, pg_temp;");
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *tx).await?;
        for migration in MIGRATIONS.iter() {
            sqlx::raw_sql(migration.sql.clone()).execute(&mut *tx).await?;
        }
        let (empty, progress, started) =
            (schema_bytes(&mut tx).await?, Progress::hidden(), Instant::now());
        load(&mut tx, facilities, &progress).await?;
        let took = started.elapsed();
        let sample =
            Sample { rows: progress.rows(), took, bytes: schema_bytes(&mut tx).await? - empty };
        tx.rollback().await?;
        Ok(sample)
    }

    async fn folder(&mut self) -> Option<PathBuf> {
        let folder = if self.is_local {
            self.setting("data_directory").await.ok().flatten()?
        } else {
            return None;
        };
        // A forwarded port looks like a local server, but then the folder is not on this machine.
        Some(PathBuf::from(folder)).filter(|folder| super::disk::free_bytes(folder).is_some())
    }

    async fn passing_bytes(
        &mut self,
        data_bytes: u64,
        _chunk_bytes: u64,
    ) -> Result<u64, GenerateError> {
        let wal_mib = self
            .setting("max_wal_size")
            .await?
            .and_then(|mib| mib.parse::<u64>().ok())
            .unwrap_or(1024);
        Ok(data_bytes.min(wal_mib << 20))
    }

    async fn event_time_ms(&mut self, facility: Uuid) -> Result<Option<i64>, GenerateError> {
        let time = sqlx::query_scalar(
            "SELECT (extract(epoch FROM least(greatest(event_time, '4713-01-01 BC+00'), \
             '294276-01-01+00')) * 1000.0)::int8 FROM facilities WHERE id = $1",
        )
        .bind(facility);
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
        let mut tx = self.connection.begin_with(session::BEGIN).await?;
        load(&mut tx, facilities, progress).await?;
        Ok(tx.commit().await?)
    }

    async fn settle(&mut self) -> Result<(), GenerateError> {
        // The refresh uses index-only scans. They need the visibility map, which vacuum writes.
        for table in [
            "facilities",
            "blood_banks",
            "blood_inventory",
            "blood_distributions",
            "blood_requests",
        ] {
            sqlx::raw_sql(AssertSqlSafe(format!("VACUUM (ANALYZE) {table}")))
                .execute(&mut self.connection)
                .await?;
        }
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
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM facilities f
             CROSS JOIN (SELECT 'epoch'::timestamptz + s::float8 * interval '1 millisecond' AS s, \
             'epoch'::timestamptz + e::float8 * interval '1 millisecond' AS e
                         FROM unnest($4::int8[], $5::int8[]) AS span (s, e)) d
             WHERE f.id >= $1 AND f.id < $2 AND f.timezone = $3
               AND EXISTS (SELECT 1 FROM blood_distributions x WHERE x.dispatched_to_id = f.id
                             AND x.date_delivered >= d.s AND x.date_delivered < d.e)
               AND EXISTS (SELECT 1 FROM blood_requests x WHERE x.facility_id = f.id AND \
             x.created_at >= d.s AND x.created_at < d.e)",
        )
        .bind(ids.start)
        .bind(ids.end)
        .bind(timezone)
        .bind(starts)
        .bind(ends)
        .fetch_one(&mut self.connection)
        .await?;
        Ok(count.unsigned_abs())
    }
}

async fn load(
    connection: &mut PgConnection,
    facilities: &[FacilitySeed],
    progress: &Progress,
) -> Result<(), GenerateError> {
    copy(connection, facilities.iter().map(FacilitySeed::row), progress).await?;
    copy(connection, facilities.iter().flat_map(FacilitySeed::bank_rows), progress).await?;
    copy(connection, facilities.iter().flat_map(FacilitySeed::inventory_rows), progress).await?;
    copy(connection, facilities.iter().flat_map(FacilitySeed::distribution_rows), progress).await?;
    copy(connection, facilities.iter().flat_map(FacilitySeed::request_rows), progress).await
}

async fn copy<R: GeneratedRow>(
    connection: &mut PgConnection,
    rows: impl Iterator<Item = R> + Send,
    progress: &Progress,
) -> Result<(), GenerateError> {
    let statement =
        format!("COPY {} ({}) FROM STDIN (FORMAT binary)", R::TABLE, R::COLUMNS.join(", "));
    let mut copy = connection.copy_in_raw(&statement).await?;
    let (mut buffer, mut held) = (CopyBuffer::with_header(), 0);
    for row in rows {
        buffer.push(&row);
        held += 1;
        if buffer.bytes().len() >= SEND_BYTES {
            copy.send(buffer.bytes()).await?;
            buffer.clear();
            if let Err(stopped) = progress.advance(held) {
                copy.abort("the load was stopped").await?;
                return Err(stopped.into());
            }
            held = 0;
        }
    }
    buffer.push_trailer();
    copy.send(buffer.bytes()).await?;
    copy.finish().await?;
    Ok(progress.advance(held)?)
}

/// The bytes of tables and their indexes in the first schema of the search path.
async fn schema_bytes(connection: &mut PgConnection) -> Result<u64, GenerateError> {
    let bytes: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::int8 FROM pg_class
         WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace::oid",
    )
    .fetch_one(connection)
    .await?;
    Ok(bytes.unsigned_abs())
}
