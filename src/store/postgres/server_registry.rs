//! That a server is there: one connection of its own, which holds a shared advisory lock for as
//! long as it serves. The looks go over it, so that none is taken without the lock, and each counts
//! who else holds it. One of these connections has a second lock: its server leads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::sync::Mutex;

use super::{
    epoch,
    home::Home,
    liveness::{Deadline, Liveness, silent},
    session,
};
use crate::{
    protocol::{Epoch, Watermark},
    store::Result,
};

/// `classid` and `objid` of the lock; `drain_snapshot.sql` counts the same.
const LOCK: (i32, i32) = (0x6674, 1);
/// The lock of the one that leads.
const LEADER: (i32, i32) = (0x6674, 2);
/// The shared lock of those that publish into the stream between replicas. (3 is the line of runs.)
const STREAM: (i32, i32) = (0x6674, 4);

pub(super) struct ServerRegistry {
    options: PgConnectOptions,
    home: Arc<Home>,
    /// How long connecting may take, and finding out whether the connection is still there.
    timeout: Duration,
    liveness: Arc<Liveness>,
    /// Whether this server publishes into the stream between replicas.
    is_on_stream: AtomicBool,
    held: Mutex<Option<Held>>,
}

/// The connection, with its locks.
struct Held {
    connection: PgConnection,
    deadline: Deadline,
    leads: bool,
}

/// One look.
pub(super) struct Look {
    pub row: PgRow,
    pub epoch: Epoch,
    pub watermark: Option<Watermark>,
    /// The shared lock was taken for it: nobody can tell who else served before.
    pub arrived: bool,
    pub leads: bool,
}

impl ServerRegistry {
    pub(super) fn new(
        options: PgConnectOptions,
        home: Arc<Home>,
        timeout: Duration,
        liveness: Arc<Liveness>,
    ) -> Self {
        // Where the network swallowed the connection, its lock must not look like another server's
        // for hours.
        let options = options.options([
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
        ]);
        ServerRegistry {
            options,
            home,
            timeout,
            liveness,
            is_on_stream: AtomicBool::new(false),
            held: Mutex::default(),
        }
    }

    /// Before the first look: this server publishes into the stream between replicas.
    pub(super) fn join_stream(&self) {
        self.is_on_stream.store(true, Ordering::Relaxed);
    }

    /// One look at the primary.
    pub(super) async fn drain_snapshot(&self, limit: i64) -> Result<Look> {
        let mut place = self.held.lock().await;
        // Taken out while it is in use: an error, or a caller that goes away, drops it, and the
        // next look connects and locks anew.
        let held = place.take();
        let arrived = held.is_none();
        let deadline =
            held.as_ref().map_or_else(|| self.liveness.deadline(), |held| held.deadline.clone());
        let prepared = deadline.hear(self.timeout, self.prepare(held, deadline.clone())).await;
        let mut held = prepared.ok_or_else(silent)??;
        let look =
            sqlx::query(include_str!("../../../sql/postgres/drain_snapshot.sql")).bind(limit);
        // A network that swallowed the connection tells nobody: the next look must not wait for
        // that.
        let looked = deadline.hear(self.timeout, look.fetch_optional(&mut held.connection)).await;
        let row = looked.ok_or_else(silent)??.ok_or_else(epoch::no_row)?;
        let (epoch, watermark) = epoch::of_primary(epoch::agreed(&row)?)?;
        let leads = held.leads;
        held.deadline = self.liveness.deadline(); // it has answered
        *place = Some(held);
        Ok(Look { row, epoch, watermark, arrived, leads })
    }

    /// Writes what a look has proven, over the very connection that looked: where that was lost,
    /// the server may have been replaced by an earlier state of itself meanwhile, of which the
    /// look says nothing. Then nothing is written, and `None` answered.
    pub(super) async fn write<T>(
        &self,
        statement: impl AsyncFnOnce(&mut PgConnection) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut place = self.held.lock().await;
        let Some(mut held) = place.take() else { return Ok(None) };
        let written = held.deadline.hear(self.timeout, statement(&mut held.connection)).await;
        let written = written.ok_or_else(silent)??;
        *place = Some(held);
        Ok(Some(written))
    }

    /// A connection that answers and has its locks. Locks stack, so each is taken once.
    async fn prepare(&self, held: Option<Held>, deadline: Deadline) -> Result<Held, sqlx::Error> {
        let mut held = match held {
            Some(held) => held,
            None => {
                let mut connection = self.options.connect().await?;
                // First the one that says more, so that no look counts this server as one that
                // publishes nothing. In one round trip: all of this has the time of
                // one connection.
                let locks = [STREAM, LOCK];
                let locks = &locks[usize::from(!self.is_on_stream.load(Ordering::Relaxed))..];
                let take: String = locks
                    .iter()
                    .map(|lock| format!("SELECT pg_advisory_lock_shared({}, {});", lock.0, lock.1))
                    .collect();
                let settle = session::settle_statement(&self.home.path(&mut connection).await?);
                sqlx::raw_sql(AssertSqlSafe(format!("{settle};{take}")))
                    .execute(&mut connection)
                    .await?;
                Held { connection, deadline, leads: false }
            }
        };
        if held.leads {
            held.connection.ping().await?;
        } else {
            let lead = sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)")
                .bind(LEADER.0)
                .bind(LEADER.1);
            held.leads = lead.fetch_one(&mut held.connection).await?;
        }
        Ok(held)
    }

    /// Gives the locks back.
    pub(super) async fn end(&self) {
        if let Some(held) = self.held.lock().await.take() {
            // The server lets go of the locks with the connection, however that ends.
            let _ = tokio::time::timeout(self.timeout, held.connection.close()).await;
        }
    }
}
