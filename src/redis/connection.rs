//! A connection to a server or to a cluster: to whoever sends commands there is no difference.

use deadpool_redis::{
    PoolError, cluster,
    redis::{
        AsyncConnectionConfig, Cmd, RedisError, RedisResult, Value, aio::MultiplexedConnection, cmd,
    },
};

use super::Error;
use crate::config::redis_url::RedisUrl;

/// Makes connections. What it made belongs to whoever asked: see the module's words on why none
/// comes back.
#[derive(Clone)]
pub enum Pool {
    Single(deadpool_redis::Pool),
    Cluster(cluster::Pool),
}

/// Its clones share it, and their commands go side by side.
#[derive(Clone)]
pub enum Connection {
    Single(MultiplexedConnection),
    Cluster(cluster::ClusterConnection),
}

/// Connections that may be made at the same time: the one for commands, those that follow a stream.
const AT_ONCE: usize = 4;

/// A key that never exists.
const PROBE: &str = "facility-summary:probe";

impl Pool {
    pub fn new(target: &RedisUrl) -> Pool {
        const CHECKED: &str = "RedisUrl::parse has tried it";
        const NO_RUNTIME: &str = "a pool without time-outs of its own needs no runtime";
        match target.0.as_slice() {
            [server] => {
                // No bounds but our own: what blocks may wait for longer than a command.
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(None)
                    .set_response_timeout(None);
                let manager = deadpool_redis::Manager::new_with_config(server.clone(), config)
                    .expect(CHECKED);
                Pool::Single(
                    deadpool_redis::Pool::builder(manager)
                        .max_size(AT_ONCE)
                        .build()
                        .expect(NO_RUNTIME),
                )
            }
            nodes => {
                let manager = cluster::Manager::new(nodes.to_vec(), false).expect(CHECKED);
                Pool::Cluster(
                    cluster::Pool::builder(manager).max_size(AT_ONCE).build().expect(NO_RUNTIME),
                )
            }
        }
    }

    /// A new connection to a server that answers, and is not a replica, which refuses all writes.
    /// To be given a bound by the caller.
    pub async fn connect(&self) -> Result<Connection, Error> {
        match self {
            Pool::Single(pool) => {
                let mut connection = Connection::Single(deadpool_redis::Connection::take(
                    pool.get().await.map_err(failed)?,
                ));
                connection.query(&cmd("PING")).await?;
                // A write that needs no memory and leaves nothing. One that is refused for another
                // reason is no matter of the connection.
                match connection.query(cmd("DEL").arg(PROBE)).await.map_err(Error::from) {
                    Err(error) if error.ends_the_connection() => Err(error),
                    _ => Ok(connection),
                }
            }
            // It has asked for the slots, and sends writes to primaries only. A PING would go to
            // all nodes, and one that is down would hide the others.
            Pool::Cluster(pool) => Ok(Connection::Cluster(cluster::Connection::take(
                pool.get().await.map_err(failed)?,
            ))),
        }
    }
}

impl Connection {
    pub async fn query(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Connection::Single(connection) => command.query_async(connection).await,
            Connection::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

fn failed(error: PoolError) -> Error {
    match error {
        PoolError::Backend(error) => Error::from(error),
        other => Error::Lost(RedisError::from(std::io::Error::other(other))),
    }
}
