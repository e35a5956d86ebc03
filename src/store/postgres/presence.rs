//! That a server is there: one connection of its own, which holds a shared advisory lock for as long as it serves. The looks go over it,
//! so that none is taken without the lock, and each counts who else holds it.

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::sync::Mutex;

use crate::store::Result;

/// `classid` and `objid` of the lock; `observe.sql` counts the same.
const LOCK: (i32, i32) = (0x6674, 1);

pub(super) struct Presence {
    options: PgConnectOptions,
    /// How long connecting may take, and finding out whether the connection is still there.
    timeout: Duration,
    connection: Mutex<Option<PgConnection>>,
}

impl Presence {
    pub(super) fn new(options: PgConnectOptions, timeout: Duration) -> Self {
        // Where the network swallowed the connection, its lock must not look like another server's for hours.
        let options = options.options([("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3")]);
        Presence { options, timeout, connection: Mutex::default() }
    }

    /// One look, and whether the lock was taken for it: nobody can tell who else served before.
    pub(super) async fn observe(&self, limit: i64) -> Result<(PgRow, bool)> {
        let mut place = self.connection.lock().await;
        // Taken out while it is in use: an error, or a caller that goes away, drops it, and the next look connects and locks anew.
        let held = place.take();
        let arrived = held.is_none();
        let prepared = tokio::time::timeout(self.timeout, self.prepare(held)).await;
        let mut connection = prepared.map_err(|_| sqlx::Error::PoolTimedOut)??;
        let row = sqlx::query(include_str!("../../../sql/postgres/observe.sql")).bind(limit).fetch_one(&mut connection).await?;
        *place = Some(connection);
        Ok((row, arrived))
    }

    async fn prepare(&self, held: Option<PgConnection>) -> Result<PgConnection, sqlx::Error> {
        if let Some(mut connection) = held {
            connection.ping().await?;
            return Ok(connection);
        }
        let mut connection = self.options.connect().await?;
        sqlx::query("SELECT pg_advisory_lock_shared($1, $2)").bind(LOCK.0).bind(LOCK.1).execute(&mut connection).await?;
        Ok(connection)
    }

    /// Gives the lock back.
    pub(super) async fn end(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            // The server lets go of the lock with the connection, however that ends.
            let _ = tokio::time::timeout(self.timeout, connection.close()).await;
        }
    }
}
