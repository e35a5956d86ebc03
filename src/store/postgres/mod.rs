//! Postgres 15 and later. Each statement is a file in `sql/postgres/`.

mod access;
mod advisory_locks;
mod connect;
mod connection_limit;
mod drain_snapshot;
mod entities;
mod epoch;
mod facility_rows;
mod failing;
pub(crate) mod home;
mod imports;
mod instants;
mod liveness;
mod marks;
mod meaning;
pub(crate) mod migrate;
pub(crate) mod move_schema;
mod people;
mod pool;
mod read_pool;
mod requirements;
mod runs;
mod server_history;
mod server_registry;
pub(crate) mod session;
mod sources;
mod stored_days;
mod transaction;
mod triggers;
mod written_rows;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use jiff::civil::Date;
use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{
    CheckReport, Connections, Difference, DrainSnapshot, FacilitiesRead, Marks, OddRow, Result,
    SourceState, Span, Store, StoreError, StoredBounds, TableRead, Transaction,
    kept_connection::{KeptConnection, Lent},
    source_triggers::TrustedSources,
    unreadable,
};
use crate::{
    config::{
        DatabaseSettings,
        sources::{OwnersQuery, SourcesSettings},
    },
    domain::summary::{Bounds, DayKey, Key, Summary, SummaryRow},
    protocol::{Epoch, Watermark},
};
use home::Home;
use instants::{ceil_ms, floor_ms, some_floor_ms};
use pool::{Borrowed, PrimaryPool};
use read_pool::ReadPool;
use server_registry::{Noticed, ServerRegistry};
use sources::{Mapping, SourceStatements};
pub use sources::{
    accept as accept_sources, check as check_sources, guess as guess_sources,
    notice::{install, remove},
    plain,
};

/// The store of a Postgres database.
pub struct PostgresStore {
    pool: PrimaryPool,
    /// The connection of the last read of summaries.
    kept: KeptConnection<Borrowed>,
    read_pool: ReadPool,
    registry: ServerRegistry,
    trusted: Arc<TrustedSources>,
    statements: Arc<SourceStatements>,
    mapping: Option<Mapping>,
    /// The owner's own queries.
    checks: Vec<OwnersQuery>,
    /// The `classid` of the advisory locks of this installation.
    lock_class: i32,
    /// What the service does without on this server, each with what is lost.
    limits: Vec<String>,
    _stays_filled: AbortOnDropHandle<()>,
}

impl PostgresStore {
    /// Connects, checks the server's version and limits, and applies the migrations.
    pub async fn open(
        settings: &DatabaseSettings,
        sources: Option<&SourcesSettings>,
    ) -> Result<Self> {
        let home = Arc::new(Home::new(settings));
        let read_pool = ReadPool::new(settings, &home)?;
        let (pool, mut limits) = connect::connect(settings, &home, sources.is_some()).await?;
        let mut connection = pool.driver().acquire().await?;
        let lock_class = home.lock_class(&mut connection).await?;
        let schema = home.schema(&mut connection).await?;
        let ready = Mapping::patiently(&mut connection, settings, sources, &schema, lock_class);
        let mapping = ready.await?;
        if let Some(sources) = sources {
            limits.extend(sources::limits(&mut connection, sources).await?);
        }
        let statements = SourceStatements::of(sources);
        triggers::see(&mut connection, mapping.as_ref(), &statements).await?;
        drop(connection);
        let timeout = Duration::from_millis(settings.acquire_timeout_ms);
        let options = connect::options(settings, &settings.url)?;
        let registry = ServerRegistry::new(options, home, timeout, pool.liveness());
        Ok(PostgresStore {
            _stays_filled: pool.stay_filled(),
            pool,
            kept: KeptConnection::default(),
            read_pool,
            registry,
            trusted: Arc::default(),
            statements: Arc::new(statements),
            mapping,
            checks: sources.map(|sources| sources.check.clone()).unwrap_or_default(),
            lock_class,
            limits,
        })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn now_ms(&self) -> Result<i64> {
        Ok(sqlx::query_scalar(
            "SELECT floor(extract(epoch FROM statement_timestamp()) * 1000.0)::bigint",
        )
        .fetch_one(&self.pool)
        .await?)
    }

    async fn facilities(&self, ids: Option<&[Uuid]>) -> Result<FacilitiesRead> {
        let mapping = self.mapping.as_ref();
        facility_rows::facilities(&self.pool, &self.statements, mapping, ids).await
    }

    async fn orphans(&self) -> Result<Vec<Uuid>> {
        Ok(sqlx::query_scalar(include_str!("../../../sql/postgres/orphans.sql"))
            .fetch_all(&self.pool)
            .await?)
    }

    async fn summaries(&self, keys: &[Key]) -> Result<TableRead> {
        let mut lent = match self.kept.take().filter(|lent| !lent.connection.is_outlived()) {
            Some(lent) => lent,
            None => Lent::new(self.pool.acquire().await?),
        };
        let (agreed, asked) = epoch::summaries(&mut lent.connection, keys).await?;
        let read = asked.at(epoch::of_primary(agreed)?, None);
        if self.pool.has_spare() {
            self.kept.keep(lent);
        }
        Ok(read)
    }

    async fn stored_bounds(&self, keys: &[Key]) -> Result<Vec<StoredBounds>> {
        stored_days::bounds(&self.pool, keys).await
    }

    async fn summaries_on_standby(&self, keys: &[Key]) -> Option<TableRead> {
        self.read_pool.summaries(keys).await
    }

    async fn version(&self, facility: Uuid) -> Result<i64> {
        let query = sqlx::query_scalar(include_str!("../../../sql/postgres/version.sql"));
        Ok(query.bind(facility).fetch_one(&self.pool).await?)
    }

    async fn stored_dates(&self, facilities: &[Uuid]) -> Result<Vec<Key>> {
        stored_days::dates(&self.pool, facilities).await
    }

    async fn activity(&self, facilities: &[Uuid]) -> Result<Vec<Span>> {
        let rows = sqlx::query(AssertSqlSafe(self.statements.activity.clone()))
            .bind(facilities)
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|r| {
                Ok(Span {
                    facility_id: r.try_get("facility_id")?,
                    first_ms: r.try_get("first_ms")?,
                    last_ms: r.try_get("last_ms")?,
                })
            })
            .collect()
    }

    async fn expiring(&self, until_ms: i64, limit: usize) -> Result<Vec<Key>> {
        let rows = sqlx::query(include_str!("../../../sql/postgres/expiring.sql"))
            .bind(until_ms)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
        Ok(unreadable::skip(rows.iter().map(day), "dashboard_daily_summary"))
    }

    async fn drain_snapshot(&self, limit: usize) -> Result<DrainSnapshot> {
        let resolve = self.mapping.as_ref().map(Mapping::resolve);
        let noticed = resolve.as_ref().map(|resolve| Noticed { resolve: resolve.as_deref() });
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut look = self.registry.drain_snapshot(limit, noticed).await?;
        if let Some(mapping) = &self.mapping {
            mapping.follow(&self.pool, &mut look).await?;
            let is_superseded = mapping.latest.see(look.row.try_get("mapping_noted")?);
            self.registry.let_lead(!is_superseded);
        }
        self.statements.failing.see(&look.row)?;
        let triggers = triggers::see_look(&self.pool, &look.row, self.mapping.as_ref()).await?;
        self.statements.are_unwatched.store(triggers.sources_are_unwatched, Ordering::Relaxed);
        let stamp: Option<&str> = look.row.try_get("sources_stamp")?;
        let have_others: bool = look.row.try_get("sources_have_others")?;
        self.trusted.see(&triggers, stamp.unwrap_or_default(), have_others);
        drain_snapshot::of_look(look, triggers, self.mapping.as_ref())
    }

    fn is_superseded(&self) -> bool {
        self.mapping.as_ref().is_some_and(|mapping| mapping.latest.is_superseded())
    }

    async fn follow_mapped_facilities(&self, marks: &[i64]) -> Result<bool> {
        let Some(mapping) = &self.mapping else { return Ok(false) };
        let changed = mapping.mirror(&self.pool, None).await?;
        marks::forget(&self.pool, marks).await?;
        Ok(changed)
    }

    async fn take_spare_marks(&self) -> Result<()> {
        marks::take_spare(&self.pool).await
    }

    async fn marks(&self, limit: usize) -> Result<Marks> {
        marks::oldest(&self.pool, limit).await
    }

    fn join_stream(&self) {
        self.registry.join_stream();
    }

    async fn audit(&self, keys: &[DayKey]) -> Result<Vec<Difference>> {
        stored_days::audit(&self.pool, &self.statements, keys).await
    }

    async fn store_watermark(&self, watermark: &Watermark, epoch: &Epoch) -> Result<bool> {
        let stored = self
            .registry
            .write(async |connection| epoch::store_watermark(connection, watermark, epoch).await)
            .await?;
        Ok(stored.unwrap_or(false))
    }

    async fn begin_generation(&self, after: i64) -> Result<i64> {
        epoch::begin_generation(&self.pool, after).await
    }

    async fn begin_epoch(&self, old: &Epoch) -> Result<()> {
        epoch::begin_epoch(&self.pool, old).await
    }

    async fn forget_published(&self, outbox: &[i64], facilities: &[i64]) -> Result<bool> {
        let forget = async |connection: &mut PgConnection| {
            epoch::forget_published(connection, outbox, facilities).await
        };
        Ok(self.registry.write(forget).await?.is_some())
    }

    async fn compact_outbox(&self) -> Result<()> {
        sqlx::query(include_str!("../../../sql/postgres/compact_outbox.sql"))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn note_triggers(&self, fingerprint: Option<&str>) -> Result<()> {
        triggers::note(&self.pool, fingerprint).await
    }

    async fn restore_triggers(&self) -> Result<bool> {
        triggers::restore(&self.pool).await
    }

    async fn prune(&self, tombstones_before_ms: i64, runs_before_ms: i64) -> Result<()> {
        sqlx::query(
            "DELETE FROM tombstones WHERE event_time < to_timestamp($1::bigint::float8 / \
             1000.0::float8)",
        )
        .bind(tombstones_before_ms)
        .execute(&self.pool)
        .await?;
        runs::prune(&self.pool, runs_before_ms).await
    }

    async fn begin(&self, lock_timeout: Duration) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(transaction::PostgresTransaction::begin(self, lock_timeout).await?))
    }

    async fn source_state(&self) -> Result<SourceState> {
        match &self.mapping {
            Some(mapping) => {
                sources::state(&mut *self.pool.driver().acquire().await?, mapping).await
            }
            None => Ok(SourceState::default()),
        }
    }

    async fn owners_check(
        &self,
        day: &(dyn Fn(Uuid, Date) -> Option<DayKey> + Sync),
    ) -> Result<CheckReport> {
        let mut connection = self.pool.driver().acquire().await?;
        sources::owners_check(&mut connection, &self.statements, &self.checks, day).await
    }

    fn connections(&self) -> Vec<(&'static str, Connections)> {
        let read = self.read_pool.connections().map(|connections| ("read", connections));
        [("primary", connect::connections(self.pool.driver()))].into_iter().chain(read).collect()
    }

    fn writers(&self) -> usize {
        2 // While one waits for its sync or its figures, another reads and writes its rows.
    }

    fn odd_rows(&self) -> Vec<OddRow> {
        self.statements.odd_rows.all()
    }

    fn limits(&self) -> &[String] {
        &self.limits
    }

    fn dialect(&self) -> &'static str {
        "postgres"
    }

    async fn close(&self) {
        self.registry.end().await;
        self.read_pool.close().await;
        self.kept.give_back();
        self.pool.close().await;
    }
}

fn date(row: &PgRow) -> Result<Date> {
    let text: &str = row.try_get("date")?;
    text.parse().map_err(|_| StoreError::Unreadable(format!("the date {text:?}")))
}

/// A facility and a date; an error names the facility.
fn day(row: &PgRow) -> Result<Key> {
    let facility_id: Uuid = row.try_get("facility_id")?;
    let date = date(row)
        .map_err(|error| StoreError::Unreadable(format!("facility {facility_id}: {error}")))?;
    Ok(Key { facility_id, date })
}

/// The keys as the two arrays that statements unnest: facility ids and dates.
fn columns(keys: &[Key]) -> (Vec<Uuid>, Vec<String>) {
    keys.iter().map(|key| (key.facility_id, key.date.to_string())).unzip()
}

/// A text of a row, which may consist of any bytes. The statement returns it as bytes.
fn text(row: &PgRow, column: &str, table: &'static str, id: Uuid) -> Result<String> {
    Ok(unreadable::text(row.try_get(column)?, table, id))
}

fn json<T: serde::de::DeserializeOwned>(row: &PgRow, column: &str) -> Result<T> {
    let text: &str = row.try_get(column)?;
    serde_json::from_str(text).map_err(|e| StoreError::Unreadable(format!("{column}: {e}")))
}

fn day_bounds(row: &PgRow) -> Result<Option<Bounds>> {
    let (start_ms, end_ms) = (floor_ms(row, "day_start")?, floor_ms(row, "day_end")?);
    Ok(start_ms.zip(end_ms).map(|(start_ms, end_ms)| Bounds { start_ms, end_ms }))
}

fn summary_row(row: &PgRow) -> Result<SummaryRow> {
    Ok(SummaryRow {
        summary: Summary {
            facility_id: row.try_get("facility_id")?,
            date: date(row)?,
            total_stock: row.try_get("total_stock")?,
            total_transferred: row.try_get("total_transferred")?,
            total_requests: row.try_get("total_requests")?,
            by_blood_type: json(row, "by_blood_type")?,
            updated_at: Some(some_floor_ms(row, "updated_at")?),
            version: row.try_get("version")?,
        },
        as_of_ms: some_floor_ms(row, "as_of")?,
        next_expires_at_ms: ceil_ms(row, "next_expires_at")?,
        bounds: day_bounds(row)?,
    })
}
