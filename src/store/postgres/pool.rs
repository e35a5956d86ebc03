//! Connections to the primary, and the one place that limits how long an answer is awaited. A
//! caller gets an error when the answer is later than the server's own time-out allows, or when
//! [`super::liveness`] knows that no answer will come. The connection is then closed for good, so
//! neither its place in the pool nor a waiting caller stays blocked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream, FuturesUnordered},
};
use sqlx::{
    AssertSqlSafe, Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr,
    pool::PoolConnection,
    postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use super::{
    liveness::{Deadline, Liveness, given_up},
    meaning::Meaning,
};
use crate::config::DatabaseSettings;

/// How much later than the server's own time-out an answer may be. The server's error comes first,
/// because it says more.
const LATE: Duration = Duration::from_secs(5);
/// How long a commit keeps its connection when no caller waits for its answer any more. A commit
/// that waits for a standby goes on in the server; closing its connection would only make room for
/// more such commits.
const COMMIT_WAITS: Duration = Duration::from_secs(300);
/// One connection in this many is never in a transaction, and at least one. Some transactions ask
/// for a second connection, to read beside what they have locked. If all connections were in such
/// transactions, each would wait for another one.
const READERS_PART: u32 = 4;
/// How often the open connections are counted.
const COUNTED_EVERY: Duration = Duration::from_secs(10);

/// A handle to the connections; clones share them. Each statement over it takes a connection.
#[derive(Clone)]
pub(super) struct PrimaryPool {
    pool: PgPool,
    liveness: Arc<Liveness>,
    /// Permits for open transactions. Their number is bounded, so that readers still get
    /// connections while commits wait for a standby that is gone.
    places: Arc<Semaphore>,
    limits: Limits,
    meaning: Arc<Meaning>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The most time to wait for a connection.
    acquire: Duration,
    /// The most time for one statement.
    statement: Duration,
    /// The number of connections that are kept open.
    kept: u32,
}

/// How many of so many connections may be in transactions at once.
fn places(connections: u32) -> u32 {
    let for_reads = (connections / READERS_PART).max(1);
    connections.saturating_sub(for_reads).max(1)
}

impl PrimaryPool {
    /// Wraps the driver's pool. `settings` gives the limits.
    pub fn new(
        pool: PgPool,
        liveness: Arc<Liveness>,
        meaning: Arc<Meaning>,
        settings: &DatabaseSettings,
    ) -> Self {
        let limits = Limits {
            statement: Duration::from_millis(settings.statement_timeout_ms) + LATE,
            acquire: Duration::from_millis(settings.acquire_timeout_ms),
            kept: settings.min_connections.min(settings.max_connections),
        };
        let places = Arc::new(Semaphore::new(places(settings.max_connections) as usize));
        PrimaryPool { pool, liveness, places, limits, meaning }
    }

    /// What prepared statements over these connections mean.
    pub fn meaning(&self) -> &Meaning {
        &self.meaning
    }

    /// Takes a connection, within the pool's own time-out.
    pub async fn acquire(&self) -> sqlx::Result<Borrowed> {
        let asked = Instant::now();
        loop {
            let deadline = self.liveness.deadline();
            // A connection attempt to a server that has vanished would last until the time-out,
            // even when another server has taken its place.
            if let Some(connection) = deadline.expect(self.pool.acquire()).await {
                return Ok(self.lend(connection?, deadline));
            }
            if asked.elapsed() >= self.limits.acquire {
                return Err(sqlx::Error::PoolTimedOut);
            }
        }
    }

    fn lend(&self, connection: PoolConnection<Postgres>, deadline: Deadline) -> Borrowed {
        Borrowed {
            connection: Some(connection),
            state: BorrowedState::Free,
            deadline,
            limit: self.limits.statement,
            place: None,
        }
    }

    /// Opens a transaction with that statement. It is rolled back when it is dropped without
    /// [`Borrowed::commit`].
    pub async fn begin(&self, statement: String) -> sqlx::Result<Borrowed> {
        let place =
            tokio::time::timeout(self.limits.acquire, self.places.clone().acquire_owned()).await;
        let place =
            place.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let mut borrowed = self.acquire().await?;
        borrowed.place = Some(place);
        // Set before the statement runs: the caller may be dropped between the statement and its
        // answer. Statements that later callers send over the connection would then be part of this
        // transaction.
        borrowed.state = BorrowedState::InTransaction;
        borrowed.execute(AssertSqlSafe(statement)).await?;
        Ok(borrowed)
    }

    /// Keeps the configured number of connections open, until the handle is dropped. The driver's
    /// own way waits up to five minutes for each connection, and an attempt to reach a server that
    /// has vanished takes up a place in that time.
    pub fn stay_filled(&self) -> AbortOnDropHandle<()> {
        let (pool, mut regained) = (self.clone(), self.liveness.regained());
        AbortOnDropHandle::new(tokio::spawn(async move {
            // Sooner than the period when the open connections have just been given up.
            while !matches!(
                tokio::time::timeout(COUNTED_EVERY, regained.changed()).await,
                Ok(Err(_))
            ) {
                pool.fill().await;
            }
        }))
    }

    /// Opens the connections that are missing from those to be kept.
    pub async fn fill(&self) {
        let missing = self.limits.kept.saturating_sub(self.pool.size());
        if missing == 0 {
            return;
        }
        // `acquire` would return the idle connections first. They are held only until each new
        // connection was asked for, not until it is open.
        let idle: Vec<_> = std::iter::from_fn(|| self.pool.try_acquire())
            .map(|idle| self.lend(idle, self.liveness.deadline()))
            .collect();
        let mut opening: FuturesUnordered<_> = (0..missing).map(|_| self.acquire()).collect();
        let first = opening.next().now_or_never();
        drop(idle);
        drop(first);
        while opening.next().await.is_some() {}
    }

    /// The driver's pool, for work that has no time limit here.
    pub fn driver(&self) -> &PgPool {
        &self.pool
    }

    /// The liveness, for connections that are not in the pool.
    pub fn liveness(&self) -> Arc<Liveness> {
        self.liveness.clone()
    }

    /// Whether somebody who asks now gets a connection at once.
    pub fn has_spare(&self) -> bool {
        self.pool.num_idle() > 0 || self.pool.size() < self.pool.options().get_max_connections()
    }

    /// Closes all connections. Waits for those in use as long as for a free connection.
    pub async fn close(&self) {
        let _ = tokio::time::timeout(self.limits.acquire, self.pool.close()).await;
    }
}

/// A borrowed connection. Dropping it gives it back; a transaction is rolled back first.
#[derive(Debug)]
pub(super) struct Borrowed {
    /// `None` after it was given up.
    connection: Option<PoolConnection<Postgres>>,
    state: BorrowedState,
    deadline: Deadline,
    /// The most time for one statement.
    limit: Duration,
    /// The permit of a transaction, until that is over.
    place: Option<OwnedSemaphorePermit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BorrowedState {
    Free,
    InTransaction,
    /// The commit was sent.
    Committing,
}

impl Borrowed {
    /// Commits within `limit`. When the error says that the connection was lost, the commit may
    /// have taken place.
    pub async fn commit(mut self, limit: Duration) -> sqlx::Result<()> {
        self.state = BorrowedState::Committing;
        tokio::time::timeout(limit, self.execute("COMMIT")).await.map_err(|_| given_up())??;
        self.state = BorrowedState::Free;
        Ok(())
    }

    /// Whether the server was lost and found again since the connection was borrowed.
    pub fn is_outlived(&self) -> bool {
        self.deadline.is_outlived()
    }

    fn parts(&mut self) -> sqlx::Result<(&mut PgConnection, &Deadline, Duration)> {
        let connection = self.connection.as_mut().ok_or_else(given_up)?;
        Ok((connection, &self.deadline, self.limit))
    }

    /// Gives the connection up when no answer came.
    fn unless_given_up<T>(&mut self, answer: Option<sqlx::Result<T>>) -> sqlx::Result<T> {
        answer.unwrap_or_else(|| {
            if let Some(mut connection) = self.connection.take() {
                connection.close_on_drop();
            }
            Err(given_up())
        })
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let (deadline, place) = (self.deadline.clone(), self.place.take());
        let (is_open, limit) = match self.state {
            BorrowedState::Free => (false, self.limit),
            BorrowedState::InTransaction => (true, self.limit),
            BorrowedState::Committing => (true, COMMIT_WAITS),
        };
        tokio::spawn(async move {
            let _place = place;
            if is_open
                && !matches!(
                    deadline.within(limit, connection.execute("ROLLBACK")).await,
                    Some(Ok(_))
                )
            {
                return connection.close_on_drop();
            }
            // The driver's drop would do the same, but would wait without limit for the answer to
            // the last statement.
            let _ = deadline.within(limit, connection.return_to_pool()).await;
        });
    }
}

/// What a statement returns: rows, and the number of rows that it wrote.
type Step = Either<PgQueryResult, PgRow>;

impl<'c> Executor<'c> for &'c mut Borrowed {
    type Database = Postgres;

    /// Fetches all rows at once: no caller reads a result while it arrives.
    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Step>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let all = async move {
            let (connection, deadline, limit) = self.parts()?;
            let answer = deadline
                .within(limit, connection.fetch_many(query).try_collect::<Vec<Step>>())
                .await;
            self.unless_given_up(answer)
        };
        stream::once(all).map_ok(|all| stream::iter(all.into_iter().map(Ok))).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let (connection, deadline, limit) = self.parts()?;
            let answer = deadline.within(limit, connection.fetch_optional(query)).await;
            self.unless_given_up(answer)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let (connection, deadline, limit) = self.parts()?;
            let answer = deadline.within(limit, connection.prepare_with(sql, parameters)).await;
            self.unless_given_up(answer)
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let (connection, deadline, limit) = self.parts()?;
            let answer = deadline.within(limit, connection.describe(sql)).await;
            self.unless_given_up(answer)
        })
    }
}

impl std::fmt::Debug for PrimaryPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl<'c> Executor<'c> for &'c PrimaryPool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Step>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let all =
            async move { self.acquire().await?.fetch_many(query).try_collect::<Vec<Step>>().await };
        stream::once(all).map_ok(|all| stream::iter(all.into_iter().map(Ok))).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move { self.acquire().await?.fetch_optional(query).await })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        Box::pin(async move { self.acquire().await?.prepare_with(sql, parameters).await })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'c: 'e,
    {
        Box::pin(async move { self.acquire().await?.describe(sql).await })
    }
}
