//! Redis, which replicas share: one server, or a cluster. Nothing is stored in Redis alone, and no
//! command waits long for it.
//!
//! The pool makes connections. A checkout from it would send a PING, a round trip more than the
//! command itself needs. So one connection is taken out of the pool and never returned; it carries
//! all commands concurrently until it fails. Each HTTP worker has a connection of its own beside
//! it, and so has each blocking command.

mod breaker;
mod connection;
mod error;
mod stream;
mod worker;

use std::{sync::Arc, time::Duration};

use deadpool_redis::redis::{Cmd, FromRedisValue, Script, Value};
use prometheus::IntCounterVec;
use tokio::{
    task::JoinHandle,
    time::{error::Elapsed, timeout},
};

use crate::{config::redis_url::RedisUrl, metrics::Metrics};
use breaker::Breaker;
use connection::{Connection, RedisPool};

pub use error::CommandError;
pub use stream::{READ_AT_ONCE, RedisStream, StreamEntry, StreamRead, StreamStart, Tail};

/// Time to poll a socket once.
const A_LOOK: Duration = Duration::from_millis(1);
/// Time-out for connecting to a server, or to all nodes of a cluster. Only the probe waits for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The connection to Redis. Dropping it closes the connections and ends the probing.
pub struct Link {
    pool: RedisPool,
    timeout: Duration,
    breaker: Arc<Breaker<Connection>>,
    probing: JoinHandle<()>,
    requests: IntCounterVec,
}

impl Link {
    /// Connects, for at most 3 s. A Redis that is out of reach is no error: it is probed every
    /// second from then on. `timeout` bounds each command.
    pub async fn open(target: &RedisUrl, timeout: Duration, metrics: &Metrics) -> Arc<Link> {
        let pool = RedisPool::new(target);
        let breaker =
            Arc::new(Breaker::new(metrics.redis_up.with_label_values(&[target.topology()])));
        let probing = tokio::spawn({
            let (pool, breaker) = (pool.clone(), breaker.clone());
            async move { breaker.probe(|| connect(&pool)).await }
        });
        breaker.tried().await;
        Arc::new(Link { pool, timeout, breaker, probing, requests: metrics.redis_requests.clone() })
    }

    /// The class of the last failure: `timeout`, `connection`, `authentication`, `read_only` or
    /// `refused`; `None` while Redis answers.
    pub fn last_error(&self) -> Option<&'static str> {
        self.breaker.last_error()
    }

    /// Waits until Redis is connected, without a time limit.
    pub async fn up(&self) {
        self.breaker.closed().await;
    }

    /// Runs a command, and counts it under `name`. A command that failed may have been carried out;
    /// it is not tried again.
    pub async fn query<T: FromRedisValue>(
        &self,
        name: &'static str,
        command: &Cmd,
    ) -> Result<T, CommandError> {
        let answer = self.attempt(command).await;
        self.counted(name, answer)
    }

    /// Runs a script on the node of its one key: by its hash, or with its text where that node does
    /// not know the hash.
    pub async fn eval<T: FromRedisValue>(
        &self,
        name: &'static str,
        script: &Script,
        text: &str,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<T, CommandError> {
        let command = |verb: &str, what: &str| {
            let mut command = deadpool_redis::redis::cmd(verb);
            command.arg(what).arg(1).arg(key).arg(arguments);
            command
        };
        let answer = match self.attempt(&command("EVALSHA", script.get_hash())).await {
            Err(error) if error.is_unknown_script() => self.attempt(&command("EVAL", text)).await,
            answer => answer,
        };
        self.counted(name, answer)
    }

    async fn attempt(&self, command: &Cmd) -> Result<Value, CommandError> {
        let held = self.breaker.held()?;
        let own = worker::own_connection(&held, &self.pool);
        let is_own = own.is_some();
        let mut connection = own.unwrap_or_else(|| held.connection.clone());
        let answer = tokio::select! {
            biased;
            answer = within(self.timeout, connection.query(command)) => answer,
            () = held.lost() => return Err(CommandError::Down("connection")),
        };
        let error = match answer {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => CommandError::from(error),
            Err(_) => CommandError::TimedOut(self.timeout),
        };
        if is_own && matches!(error, CommandError::Lost(_)) {
            // Servers close connections that were idle for long. The shared connection is never
            // idle, and shows whether Redis itself has failed.
            worker::forget_own_connection();
            return Err(error);
        }
        Err(if error.ends_the_connection() { self.breaker.trip(&held, error) } else { error })
    }

    fn counted<T: FromRedisValue>(
        &self,
        name: &'static str,
        answer: Result<Value, CommandError>,
    ) -> Result<T, CommandError> {
        let answer = answer.and_then(|value| {
            T::from_redis_value(value).map_err(|error| CommandError::Refused(error.into()))
        });
        let outcome = answer.as_ref().err().map_or("ok", CommandError::class);
        self.count(name, outcome);
        answer
    }

    /// Counts the outcome of a command where the answer itself does not show it.
    pub fn count(&self, name: &'static str, outcome: &'static str) {
        self.requests.with_label_values(&[name, outcome]).inc();
    }

    /// A connection for blocking commands. Fails while the breaker is open, so that a hung Redis is
    /// tried once a second at most.
    async fn own_connection(&self) -> Result<Connection, CommandError> {
        self.breaker.held()?;
        connect(&self.pool).await
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.probing.abort();
    }
}

/// Waits this long for the answer. An answer that has arrived counts, even after the time-out: when
/// a thread was not scheduled for a while, the time may be over and the answer still unread in the
/// socket.
async fn within<T>(time: Duration, answer: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut answer = std::pin::pin!(answer);
    match timeout(time, &mut answer).await {
        Err(_) => timeout(A_LOOK, answer).await,
        answer => answer,
    }
}

async fn connect(pool: &RedisPool) -> Result<Connection, CommandError> {
    timeout(CONNECT_TIMEOUT, pool.connect())
        .await
        .unwrap_or(Err(CommandError::TimedOut(CONNECT_TIMEOUT)))
}
