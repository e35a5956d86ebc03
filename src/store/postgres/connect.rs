//! The pool: its limits, what each connection is set to, and what is checked before the service starts.

use std::time::Duration;

use sqlx::{
    ConnectOptions, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::config::{DatabaseSettings, redacted};
use crate::store::{Result, StoreError, migrate_error};

/// The oldest server that has everything the statements use (MERGE-safe transition tables, `date_bin`, `xmax` rules).
const OLDEST_SERVER: i32 = 150_000;

/// What every connection is set to.
pub(super) fn options(settings: &DatabaseSettings) -> Result<PgConnectOptions> {
    let options: PgConnectOptions = settings
        .url
        .parse()
        .map_err(|e: sqlx::Error| StoreError::Migration(format!("database.url {} cannot be read: {e}", redacted(&settings.url))))?;
    Ok(options
        .application_name("facility-summary")
        .options([
            ("statement_timeout", settings.statement_timeout_ms.to_string()),
            // Statements of a millisecond gain nothing from compiling, and everything from planning once.
            ("jit", "off".to_owned()),
            ("plan_cache_mode", "force_generic_plan".to_owned()),
        ])
        .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(5)))
}

pub(super) async fn connect(settings: &DatabaseSettings) -> Result<PgPool> {
    let pool = PgPoolOptions::new()
        .min_connections(settings.min_connections)
        .max_connections(settings.max_connections)
        .max_lifetime(Duration::from_secs(settings.max_lifetime_seconds))
        .acquire_timeout(Duration::from_millis(settings.acquire_timeout_ms))
        .test_before_acquire(true)
        .connect_with(options(settings)?)
        .await?;
    check_server(&pool, settings).await?;
    // An index on a large table takes as long as it takes.
    let mut connection = pool.acquire().await?;
    sqlx::query("SET statement_timeout = 0").execute(&mut *connection).await?;
    let migrated = sqlx::migrate!("migrations/postgres").run(&mut *connection).await.map_err(migrate_error);
    // Closed, not given back: its time-out is not what the others have.
    connection.close().await?;
    migrated?;
    Ok(pool)
}

/// Refuses a server that is too old, and warns where the pool comes near what the server allows.
async fn check_server(pool: &PgPool, settings: &DatabaseSettings) -> Result<()> {
    let (version, allowed, reserved): (i32, i32, i32) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::integer, current_setting('max_connections')::integer, current_setting('superuser_reserved_connections')::integer",
    )
    .fetch_one(pool)
    .await?;
    if version < OLDEST_SERVER {
        return Err(StoreError::Migration(format!("the server is Postgres {}, and 15 or later is needed", version / 10_000)));
    }
    let free = u32::try_from(allowed - reserved).unwrap_or(0);
    if u64::from(settings.max_connections) * 10 > u64::from(free) * 8 {
        tracing::warn!(
            max_connections = settings.max_connections,
            server_max_connections = allowed,
            "database.max_connections comes near the {free} connections that the server grants to all clients: lower it, or raise max_connections there"
        );
    }
    Ok(())
}
