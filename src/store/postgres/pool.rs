//! Connections to the primary, and the one place that bounds whatever is asked over them. Who waits
//! for an answer longer than the server may take, or for one that [`super::liveness`] knows will
//! not come, gets an error, and the connection is closed for good: neither its place in the pool
//! nor whoever waited stays behind.

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

use super::liveness::{Deadline, Liveness, silent};
use crate::config::DatabaseSettings;

/// By how much an answer may be later than the server's own time-out, which says more.
const LATE: Duration = Duration::from_secs(5);
/// How long a commit whose answer nobody waits for any more keeps its connection: one that waits
/// for a standby goes on doing so in the server, and closing it would only make room for more of
/// them.
const COMMIT_WAITS: Duration = Duration::from_secs(300);
/// That part of all connections is never in a transaction.
const READERS_PART: u32 = 4;
/// How often the connections that are kept open are counted.
const COUNTED_EVERY: Duration = Duration::from_secs(10);

/// A handle to the connections; clones share them. Statements over it take a connection each.
#[derive(Clone)]
pub(super) struct Pool {
    pool: PgPool,
    liveness: Arc<Liveness>,
    /// Transactions that may be open at once: where commits wait for a standby that is gone, the
    /// rest is left to readers.
    places: Arc<Semaphore>,
    limits: Limits,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Of waiting for a connection.
    acquire: Duration,
    /// Of one statement.
    statement: Duration,
    /// Connections kept open.
    kept: u32,
}

impl Pool {
    pub fn new(pool: PgPool, liveness: Arc<Liveness>, settings: &DatabaseSettings) -> Self {
        let limits = Limits {
            statement: Duration::from_millis(settings.statement_timeout_ms) + LATE,
            acquire: Duration::from_millis(settings.acquire_timeout_ms),
            kept: settings.min_connections.min(settings.max_connections),
        };
        let places = (settings.max_connections - settings.max_connections / READERS_PART).max(1);
        Pool { pool, liveness, places: Arc::new(Semaphore::new(places as usize)), limits }
    }

    /// A connection, within the pool's own time-out.
    pub async fn acquire(&self) -> sqlx::Result<Borrowed> {
        let asked = Instant::now();
        loop {
            let deadline = self.liveness.deadline();
            // Whoever connects to a server that has vanished would wait for it until the time-out,
            // though another has taken its place.
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
            state: State::Free,
            deadline,
            limit: self.limits.statement,
            place: None,
        }
    }

    /// A transaction, opened by that statement, and undone if it is dropped without
    /// [`Borrowed::commit`].
    pub async fn begin(&self, statement: String) -> sqlx::Result<Borrowed> {
        let place =
            tokio::time::timeout(self.limits.acquire, self.places.clone().acquire_owned()).await;
        let place =
            place.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let mut borrowed = self.acquire().await?;
        borrowed.place = Some(place);
        // Before it is: the caller may go away between the statement and its answer, and what
        // others then wrote over the connection would be committed by chance.
        borrowed.state = State::InTransaction;
        borrowed.execute(AssertSqlSafe(statement)).await?;
        Ok(borrowed)
    }

    /// Keeps as many connections open as are to be kept, until the handle is dropped. The driver's
    /// own way waits for each of them for five minutes, in which one to a server that has
    /// vanished takes up the place of others.
    pub fn stay_filled(&self) -> AbortOnDropHandle<()> {
        let (pool, mut regained) = (self.clone(), self.liveness.regained());
        AbortOnDropHandle::new(tokio::spawn(async move {
            // Sooner where those that were open have just been given up.
            while !matches!(
                tokio::time::timeout(COUNTED_EVERY, regained.changed()).await,
                Ok(Err(_))
            ) {
                pool.fill().await;
            }
        }))
    }

    /// Opens what is missing of the connections that are to be kept.
    pub async fn fill(&self) {
        let missing = self.limits.kept.saturating_sub(self.pool.size());
        if missing == 0 {
            return;
        }
        // Those that are idle would be had first. They are held for as long as it takes to ask, and
        // not until the others are there.
        let idle: Vec<_> = std::iter::from_fn(|| self.pool.try_acquire())
            .map(|idle| self.lend(idle, self.liveness.deadline()))
            .collect();
        let mut opening: FuturesUnordered<_> = (0..missing).map(|_| self.acquire()).collect();
        let first = opening.next().now_or_never();
        drop(idle);
        drop(first);
        while opening.next().await.is_some() {}
    }

    /// For what is not bounded here.
    pub fn driver(&self) -> &PgPool {
        &self.pool
    }

    /// What tells that an answer will not come, for connections beside the pool.
    pub fn liveness(&self) -> Arc<Liveness> {
        self.liveness.clone()
    }

    /// Closes all connections. Those that are still in use are waited for as long as for a free
    /// one.
    pub async fn close(&self) {
        let _ = tokio::time::timeout(self.limits.acquire, self.pool.close()).await;
    }
}

/// A connection, given back when it is dropped; within a transaction, that is undone first.
#[derive(Debug)]
pub(super) struct Borrowed {
    /// `None` once it was given up.
    connection: Option<PoolConnection<Postgres>>,
    state: State,
    deadline: Deadline,
    /// Of one statement.
    limit: Duration,
    /// Of a transaction, until it is over.
    place: Option<OwnedSemaphorePermit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    InTransaction,
    /// Its commit was sent.
    Committing,
}

impl Borrowed {
    /// Commits within `limit`. After an error that says that the connection was lost, it may have
    /// taken place.
    pub async fn commit(mut self, limit: Duration) -> sqlx::Result<()> {
        self.state = State::Committing;
        tokio::time::timeout(limit, self.execute("COMMIT")).await.map_err(|_| silent())??;
        self.state = State::Free;
        Ok(())
    }

    fn parts(&mut self) -> sqlx::Result<(&mut PgConnection, &Deadline, Duration)> {
        let connection = self.connection.as_mut().ok_or_else(silent)?;
        Ok((connection, &self.deadline, self.limit))
    }

    /// Gives the connection up where nothing was heard.
    fn unless_silent<T>(&mut self, heard: Option<sqlx::Result<T>>) -> sqlx::Result<T> {
        heard.unwrap_or_else(|| {
            if let Some(mut connection) = self.connection.take() {
                connection.close_on_drop();
            }
            Err(silent())
        })
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let (deadline, place) = (self.deadline.clone(), self.place.take());
        let (is_open, limit) = match self.state {
            State::Free => (false, self.limit),
            State::InTransaction => (true, self.limit),
            State::Committing => (true, COMMIT_WAITS),
        };
        tokio::spawn(async move {
            let _place = place;
            if is_open
                && !matches!(
                    deadline.hear(limit, connection.execute("ROLLBACK")).await,
                    Some(Ok(_))
                )
            {
                return connection.close_on_drop();
            }
            // What the connection's own drop does, which would wait without end for the answer to
            // what was asked last.
            let _ = deadline.hear(limit, connection.return_to_pool()).await;
        });
    }
}

/// What a statement brings: rows, and how many it wrote.
type Step = Either<PgQueryResult, PgRow>;

impl<'c> Executor<'c> for &'c mut Borrowed {
    type Database = Postgres;

    /// All of it at once: nobody here reads a result while it arrives.
    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Step>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let all = async move {
            let (connection, deadline, limit) = self.parts()?;
            let heard =
                deadline.hear(limit, connection.fetch_many(query).try_collect::<Vec<Step>>()).await;
            self.unless_silent(heard)
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
            let heard = deadline.hear(limit, connection.fetch_optional(query)).await;
            self.unless_silent(heard)
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
            let heard = deadline.hear(limit, connection.prepare_with(sql, parameters)).await;
            self.unless_silent(heard)
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let (connection, deadline, limit) = self.parts()?;
            let heard = deadline.hear(limit, connection.describe(sql)).await;
            self.unless_silent(heard)
        })
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl<'c> Executor<'c> for &'c Pool {
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
