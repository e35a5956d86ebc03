//! The most connections that the role, or the database, may have (`CONNECTION LIMIT`). A pool that
//! tried to open more would let its callers wait for connections that never open, although others
//! come back meanwhile. So it is made as small as the limit asks for, and that is said.

use std::time::Duration;

use sqlx::{ConnectOptions, Connection, Row, postgres::PgConnectOptions};

use crate::{
    config::DatabaseSettings,
    store::{MORE_CONNECTIONS, Result, StoreError},
};

/// The fewest connections of a pool: some transactions ask for a second one.
const FEWEST: u32 = 2;

/// The name of the role and the most connections of the role and of the database; null where there
/// is no limit. None counts for a superuser.
const LIMITS: &str = "
    SELECT current_user::text, CASE WHEN NOT rolsuper AND rolconnlimit >= 0 THEN rolconnlimit END,
           (SELECT CASE WHEN NOT rolsuper AND datconnlimit >= 0 THEN datconnlimit END
            FROM pg_database WHERE datname = current_database())
    FROM pg_roles WHERE rolname = current_user";

/// The settings with a pool that fits the limits of the role and of the database, and the words
/// about it where it is smaller than asked for.
///
/// # Errors
/// `Migration` where even the smallest pool does not fit.
pub(super) async fn fitted(
    settings: &DatabaseSettings,
    options: &PgConnectOptions,
    patience: Duration,
) -> Result<(DatabaseSettings, Option<String>)> {
    // Where the server cannot be asked, the pool cannot connect either, and says why.
    let limit = tokio::time::timeout(patience, limit(options)).await.ok().and_then(Result::ok);
    let mut fitted = settings.clone();
    let Some((whose, limit)) = limit.flatten() else { return Ok((fitted, None)) };
    if limit < FEWEST + MORE_CONNECTIONS {
        return Err(StoreError::Migration(format!(
            "{whose} may have {limit} connections, and each server of this service needs at least \
             {}: raise the CONNECTION LIMIT",
            FEWEST + MORE_CONNECTIONS
        )));
    }
    let most = limit - MORE_CONNECTIONS;
    if settings.max_connections <= most {
        return Ok((fitted, None));
    }
    fitted.max_connections = most;
    fitted.min_connections = settings.min_connections.min(most);
    let words = format!(
        "{whose} may have {limit} connections, so the pool has {most} and not {}: a server of this \
         service opens database.max_connections + {MORE_CONNECTIONS}; raise the CONNECTION LIMIT, \
         also for other replicas, or lower database.max_connections",
        settings.max_connections
    );
    tracing::warn!("{words}");
    Ok((fitted, Some(words)))
}

/// The lower of both limits, with whose it is.
async fn limit(options: &PgConnectOptions) -> Result<Option<(String, u32)>> {
    let mut connection = options.connect().await?;
    // Without a parameter, so in one round trip.
    let row = sqlx::raw_sql(LIMITS).fetch_one(&mut connection).await?;
    let (role, of_role, of_database): (String, Option<i32>, Option<i32>) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    connection.close().await?;
    let limits = [(format!("the role {role}"), of_role), ("the database".to_owned(), of_database)];
    let limits = limits.into_iter().filter_map(|(whose, limit)| Some((whose, limit?)));
    Ok(limits
        .filter_map(|(whose, limit)| Some((whose, u32::try_from(limit).ok()?)))
        .min_by_key(|(_, limit)| *limit))
}
