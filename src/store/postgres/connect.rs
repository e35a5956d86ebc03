//! The pools: their limits, the settings of each connection, and the checks before the service
//! starts and before each use of a connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, try_join_all};
use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool,
    pool::PoolConnectionMetadata,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    connection_limit,
    epoch::{IS_A_STANDBY, in_recovery},
    home::Home,
    liveness::Liveness,
    meaning::Meaning,
    migrate::migrate,
    pool::PrimaryPool,
    requirements::check_server,
    session,
};
use crate::{
    config::{DatabaseSettings, redacted},
    store::{Cause, Connections, Result, StoreError, kept_connection},
};

/// A connection that was used within this time is not tested again.
const MOMENT: Duration = kept_connection::REST;

/// How long a failed start may look for the reason.
const EXPLAINED_WITHIN: Duration = Duration::from_secs(3);

/// The options of every connection; [`session`] says why.
pub(super) fn options(settings: &DatabaseSettings, url: &str) -> Result<PgConnectOptions> {
    let options: PgConnectOptions = url.parse().map_err(|e: sqlx::Error| {
        StoreError::Migration(format!("the database URL {} cannot be read: {e}", redacted(url)))
    })?;
    Ok(session::options(options)
        .application_name("facility-summary")
        .options([
            ("statement_timeout", settings.statement_timeout_ms.to_string()),
            // A replica that hangs in a transaction loses its locks.
            (
                "idle_in_transaction_session_timeout",
                settings.idle_transaction_timeout_ms.to_string(),
            ),
        ])
        .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(5)))
}

/// Connects, checks the server, and migrates. Also returns what the service does without there.
pub(super) async fn connect(
    settings: &DatabaseSettings,
    home: &Arc<Home>,
    is_mapped: bool,
) -> Result<(PrimaryPool, Vec<String>)> {
    let options = options(settings, &settings.url)?;
    let acquire_timeout = Duration::from_millis(settings.acquire_timeout_ms);
    // Both at the same time, since the server may be far away.
    let (fitted, liveness) = tokio::join!(
        connection_limit::fitted(settings, &options, acquire_timeout.min(EXPLAINED_WITHIN)),
        Liveness::start(options.clone(), home.clone(), acquire_timeout)
    );
    let ((settings, narrow), liveness) = (&fitted?, Arc::new(liveness));
    let regained = liveness.regained();
    let meaning = Arc::new(Meaning::default());
    let settled = meaning.clone();
    // Behind a proxy or a host name, a connection may lead to a demoted server, or to one that
    // never was the primary.
    let pool = limits(settings)
        .acquire_timeout(acquire_timeout)
        .after_connect(settle(home, true, is_mapped))
        .before_acquire(move |connection, meta| {
            let outlived = meta.age > regained.borrow().elapsed().min(settled.age());
            Box::pin(async move {
                // The network may have dropped the connection silently. The test gets only a part
                // of the time, so that the rest is enough for another connection.
                let asked = tokio::time::timeout(acquire_timeout / 4, is_primary(connection));
                Ok(!outlived && (meta.idle_for < MOMENT || matches!(asked.await, Ok(Ok(true)))))
            })
        })
        .connect_lazy_with(options.clone());
    // Opened at the same time: one after the other would take too long when the server is far away.
    let first = settings.min_connections.clamp(1, settings.max_connections.max(1));
    if let Err(error) = try_join_all((0..first).map(|_| pool.acquire())).await {
        return Err(explained(error, &options, home, settings).await);
    }
    let pool = PrimaryPool::new(pool, liveness, meaning, settings);
    check_server(&pool, settings).await?;
    // An index on a large table may take any time.
    let mut connection = pool.driver().acquire().await?;
    sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0")
        .execute(&mut *connection)
        .await?;
    let schema = home.schema(&mut connection).await?;
    let migrated = migrate(&mut connection, &schema).await;
    home.warn_of_other_creators(&mut connection).await?;
    // Closed, not given back, because it has other time-outs than the other connections.
    connection.close().await?;
    let lacking = migrated?;
    pool.fill().await;
    Ok((pool, narrow.iter().cloned().chain(lacking).collect()))
}

/// A pool for a standby. It connects when it is first used; each use may take `timeout` at most.
pub(super) fn lazy(
    settings: &DatabaseSettings,
    home: &Arc<Home>,
    url: &str,
    timeout: Duration,
) -> Result<PgPool> {
    let statement_timeout = timeout.min(Duration::from_millis(settings.statement_timeout_ms));
    let options = options(settings, url)?
        .options([("statement_timeout", statement_timeout.as_millis().to_string())]);
    let pool = limits(settings)
        .acquire_timeout(timeout)
        .after_connect(settle(home, false, false))
        // A reader may go away before the answer arrives. The driver would wait for that answer
        // without limit.
        .after_release(move |connection, _| {
            Box::pin(async move { Ok(is_alive(connection, timeout).await) })
        })
        .before_acquire(|connection, meta| {
            Box::pin(async move { Ok(meta.idle_for < MOMENT || connection.ping().await.is_ok()) })
        });
    Ok(pool.connect_lazy_with(options))
}

/// Prepares each session of a pool. A pool of the primary refuses every other server. `is_mapped`:
/// its statements read tables of an owner.
fn settle(
    home: &Arc<Home>,
    of_primary: bool,
    is_mapped: bool,
) -> impl Fn(&mut PgConnection, PoolConnectionMetadata) -> BoxFuture<'_, sqlx::Result<()>> + use<> {
    let home = home.clone();
    move |connection, _| {
        let home = home.clone();
        Box::pin(async move {
            if !home.settle(connection).await? && of_primary {
                // The driver's pool takes no other type of error from here.
                return Err(sqlx::Error::Configuration(IS_A_STANDBY.into()));
            }
            if is_mapped {
                sqlx::raw_sql(session::WAIT_LITTLE).execute(connection).await?;
            }
            Ok(())
        })
    }
}

fn limits(settings: &DatabaseSettings) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .max_lifetime(Duration::from_secs(settings.max_lifetime_seconds))
        .test_before_acquire(false) // each pool has its own test
}

pub(super) fn connections(pool: &PgPool) -> Connections {
    let (size, idle) = (pool.size(), u32::try_from(pool.num_idle()).unwrap_or(u32::MAX));
    Connections {
        in_use: size.saturating_sub(idle),
        idle,
        max: pool.options().get_max_connections(),
    }
}

/// Whether the connection has answered everything that it was asked.
async fn is_alive(connection: &mut PgConnection, timeout: Duration) -> bool {
    tokio::time::timeout(timeout, connection.ping()).await.is_ok_and(|answer| answer.is_ok())
}

/// Whether the server is the primary. An answer also proves that the connection works, in the one
/// round trip that a ping would take.
pub(super) async fn is_primary(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT NOT pg_is_in_recovery()").fetch_one(connection).await
}

/// The reason for a failed start. The pool only reports a time-out, and does not say whether the
/// server is a standby, is not there, or is too far away.
async fn explained(
    error: sqlx::Error,
    options: &PgConnectOptions,
    home: &Home,
    settings: &DatabaseSettings,
) -> StoreError {
    if !matches!(error, sqlx::Error::PoolTimedOut) {
        return error.into();
    }
    let asked = Instant::now();
    let ask = async { home.settle(&mut options.connect().await?).await };
    match tokio::time::timeout(EXPLAINED_WITHIN, ask).await {
        Ok(Ok(false)) => in_recovery(),
        Ok(Ok(true)) => too_far(asked.elapsed(), settings),
        Ok(Err(reason)) => reason.into(),
        Err(_) => error.into(),
    }
}

fn too_far(took: Duration, settings: &DatabaseSettings) -> StoreError {
    let DatabaseSettings { min_connections, acquire_timeout_ms, .. } = settings;
    let (took_ms, short) =
        (took.as_millis(), "the server answers, and is too far away or too busy");
    let advice = "raise database.acquire_timeout_ms, or lower database.min_connections";
    StoreError::Unavailable(Cause::found(format!(
        "{short} to open {min_connections} connections within {acquire_timeout_ms} ms (one took \
         {took_ms} ms now): {advice}"
    )))
}
