//! The server registry. Each server keeps one connection that holds a shared advisory lock for as
//! long as the server serves. Drain snapshots use this connection, so none is taken without the
//! lock, and each counts the other holders of the lock. One of these connections holds a second
//! lock: its server leads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::sync::Mutex;

use super::{
    advisory_locks::Lock,
    epoch,
    home::Home,
    liveness::{Deadline, Liveness, given_up},
    session,
};
use crate::{
    protocol::{Epoch, Watermark},
    store::Result,
};

/// The server's code for a connection more than a limit allows.
const TOO_MANY_CONNECTIONS: &str = "53300";
/// How long to wait before another try then.
const AGAIN: Duration = Duration::from_millis(100);

pub(super) struct ServerRegistry {
    options: PgConnectOptions,
    home: Arc<Home>,
    /// The most time to connect, or to find out whether the connection still works.
    timeout: Duration,
    liveness: Arc<Liveness>,
    /// Whether this server publishes into the stream between replicas.
    is_on_stream: AtomicBool,
    may_lead: AtomicBool,
    held: Mutex<Option<RegistryConnection>>,
}

/// The connection, with its locks.
struct RegistryConnection {
    connection: PgConnection,
    deadline: Deadline,
    /// The class of the locks.
    class: i32,
    leads: bool,
}

/// One drain snapshot.
pub(super) struct SnapshotAnswer {
    /// The row of `drain_snapshot.sql`.
    pub row: PgRow,
    /// The rows of the statement that resolves marks, in the same snapshot. `None` where there was
    /// none, or it failed.
    pub resolved: Option<Vec<PgRow>>,
    /// The epoch of the database.
    pub epoch: Epoch,
    /// The stored watermark, if it was stored in this epoch.
    pub watermark: Option<Watermark>,
    /// The shared lock was taken for this snapshot, so it is not known which other servers came and
    /// went before.
    pub arrived: bool,
    /// This server leads.
    pub leads: bool,
}

impl ServerRegistry {
    pub(super) fn new(
        options: PgConnectOptions,
        home: Arc<Home>,
        timeout: Duration,
        liveness: Arc<Liveness>,
    ) -> Self {
        // When the network drops the connection, its lock would otherwise count as another server
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
            may_lead: AtomicBool::new(true),
            held: Mutex::default(),
        }
    }

    /// States, before the first drain snapshot, that this server publishes into the stream between
    /// replicas.
    pub(super) fn join_stream(&self) {
        self.is_on_stream.store(true, Ordering::Relaxed);
    }

    /// Whether this server may lead. One that may not releases that lock with the next snapshot.
    pub(super) fn let_lead(&self, may_lead: bool) {
        self.may_lead.store(may_lead, Ordering::Relaxed);
    }

    /// Takes a drain snapshot on the primary. `noticed`: with what triggers on mapped tables noted.
    pub(super) async fn drain_snapshot(
        &self,
        limit: i64,
        noticed: Option<Noticed<'_>>,
    ) -> Result<SnapshotAnswer> {
        let mut place = self.held.lock().await;
        // Taken out while it is in use: an error, or a caller that is dropped, drops the
        // connection, and the next snapshot connects and locks again.
        let held = place.take();
        let arrived = held.is_none();
        let deadline =
            held.as_ref().map_or_else(|| self.liveness.deadline(), |held| held.deadline.clone());
        let prepared = deadline.within(self.timeout, self.prepare(held, deadline.clone())).await;
        let mut held = prepared.ok_or_else(given_up)??;
        // A network that drops the connection reports nothing, so the next snapshot must not wait
        // for this one.
        let look = look(&mut held.connection, (limit, held.class), noticed);
        let (row, resolved) = deadline.within(self.timeout, look).await.ok_or_else(given_up)??;
        let row = row.ok_or_else(epoch::no_row)?;
        let (epoch, watermark) = epoch::of_primary(epoch::agreed(&row)?)?;
        let leads = held.leads;
        held.deadline = self.liveness.deadline(); // it has answered
        *place = Some(held);
        Ok(SnapshotAnswer { row, resolved, epoch, watermark, arrived, leads })
    }

    /// Writes what a drain snapshot has proven, over the connection of that snapshot. When the
    /// connection was lost, an earlier state of the server may have replaced the server since, and
    /// the snapshot says nothing about that state. Then nothing is written, and the result is
    /// `None`.
    pub(super) async fn write<T>(
        &self,
        statement: impl AsyncFnOnce(&mut PgConnection) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut place = self.held.lock().await;
        let Some(mut held) = place.take() else { return Ok(None) };
        let written = held.deadline.within(self.timeout, statement(&mut held.connection)).await;
        let written = written.ok_or_else(given_up)??;
        *place = Some(held);
        Ok(Some(written))
    }

    /// Connects. Where the role has as many connections as it may, it is tried again for a moment:
    /// the server may still be ending one that was just closed.
    async fn connect(&self) -> sqlx::Result<PgConnection> {
        let begun = Instant::now();
        loop {
            match self.options.connect().await {
                Err(sqlx::Error::Database(error))
                    if error.code().as_deref() == Some(TOO_MANY_CONNECTIONS)
                        && begun.elapsed() < self.timeout / 2 =>
                {
                    tokio::time::sleep(AGAIN).await;
                }
                connected => return connected,
            }
        }
    }

    /// A connection that answers and holds its locks. Locks of one session stack, so each is taken
    /// only once.
    async fn prepare(
        &self,
        held: Option<RegistryConnection>,
        deadline: Deadline,
    ) -> Result<RegistryConnection, sqlx::Error> {
        let mut held = match held {
            Some(held) => held,
            None => {
                let mut connection = self.connect().await?;
                // The lock of the stream is taken first, so that no snapshot counts this server as
                // one that does not publish. Both are taken in one round trip, because there is
                // only the time of one connection.
                let locks = [Lock::Publishes, Lock::Serves];
                let locks = &locks[usize::from(!self.is_on_stream.load(Ordering::Relaxed))..];
                let class = self.home.lock_class(&mut connection).await?;
                let take: String = locks
                    .iter()
                    .map(|lock| format!("SELECT pg_advisory_lock_shared({class}, {});", lock.id()))
                    .collect();
                let settle = session::settle_statement(&self.home.path(&mut connection).await?);
                sqlx::raw_sql(AssertSqlSafe(format!("{settle};{take}")))
                    .execute(&mut connection)
                    .await?;
                RegistryConnection { connection, deadline, class, leads: false }
            }
        };
        let ask = match (held.leads, self.may_lead.load(Ordering::Relaxed)) {
            (false, true) => Some("SELECT pg_try_advisory_lock($1, $2)"),
            (true, false) => Some("SELECT NOT pg_advisory_unlock($1, $2)"),
            _ => None,
        };
        match ask {
            None => held.connection.ping().await?,
            Some(ask) => {
                let leads = sqlx::query_scalar(ask).bind(held.class).bind(Lock::Leads.id());
                held.leads = leads.fetch_one(&mut held.connection).await?;
            }
        }
        Ok(held)
    }

    /// Releases the locks.
    pub(super) async fn end(&self) {
        if let Some(held) = self.held.lock().await.take() {
            // The server releases the locks when the connection ends, in whatever way.
            let _ = tokio::time::timeout(self.timeout, held.connection.close()).await;
        }
    }
}

/// What a drain snapshot looks at beside our own tables.
#[derive(Clone, Copy)]
pub(super) struct Noticed<'s> {
    /// The statement that resolves marks of mapped tables.
    pub resolve: Option<&'s str>,
}

/// The row of a drain snapshot, and those that resolve marks in the same snapshot.
type Look = (Option<PgRow>, Option<Vec<PgRow>>);

/// How often a snapshot is begun again because another server has moved the same rows.
const MOST_TRIES: usize = 10;

/// Takes a drain snapshot. `noticed`: with what triggers on mapped tables noted.
async fn look(
    connection: &mut PgConnection,
    (limit, class): (i64, i32),
    noticed: Option<Noticed<'_>>,
) -> sqlx::Result<Look> {
    let Some(noticed) = noticed else {
        let look = sqlx::query(DRAIN_SNAPSHOT).bind(limit).bind(class);
        return Ok((look.fetch_optional(connection).await?, None));
    };
    for _ in 1..MOST_TRIES {
        match look_noticed(connection, (limit, class), noticed).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("40001") => {}
            looked => return looked,
        }
    }
    look_noticed(connection, (limit, class), noticed).await
}

/// The same in one transaction, and so in one snapshot: what triggers noted becomes marks, and the
/// marks are resolved.
async fn look_noticed(
    connection: &mut PgConnection,
    (limit, class): (i64, i32),
    noticed: Noticed<'_>,
) -> sqlx::Result<Look> {
    let mut tx = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE").await?;
    sqlx::query(include_str!("../../../sql/postgres/move_noticed_rows.sql"))
        .bind(limit)
        .execute(&mut *tx)
        .await?;
    let look = sqlx::query(DRAIN_SNAPSHOT).bind(limit).bind(class);
    let row = look.fetch_optional(&mut *tx).await?;
    let Some(resolve) = noticed.resolve else {
        tx.commit().await?;
        return Ok((row, None));
    };
    let mut resolving = tx.begin().await?;
    let resolve = sqlx::query(AssertSqlSafe(resolve.to_owned())).bind(limit);
    let resolved = match resolve.fetch_all(&mut *resolving).await {
        Ok(rows) => Some(rows),
        // A table or a column has another name now. Where marks lead is then not known.
        Err(error @ sqlx::Error::Database(_)) => {
            tracing::debug!(%error, "marks of mapped tables cannot be resolved");
            None
        }
        Err(error) => return Err(error),
    };
    resolving.rollback().await?;
    tx.commit().await?;
    Ok((row, resolved))
}

const DRAIN_SNAPSHOT: &str = include_str!("../../../sql/postgres/drain_snapshot.sql");
