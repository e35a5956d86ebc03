//! A connection to one server or to a cluster. Both take the same commands.

use deadpool_redis::{
    PoolError, cluster,
    redis::{
        AsyncConnectionConfig, Cmd, RedisError, RedisResult, Value, aio::MultiplexedConnection, cmd,
    },
};

use super::CommandError;
use crate::config::redis_url::RedisUrl;

/// Makes connections. The caller keeps the connection that it gets and never returns it; the
/// documentation of `redis` says why.
#[derive(Clone)]
pub enum RedisPool {
    /// Connections to one server.
    Single(deadpool_redis::Pool),
    /// Connections to the nodes of a cluster.
    Cluster(cluster::Pool),
}

/// Clones share the connection, and their commands run concurrently.
#[derive(Clone)]
pub enum Connection {
    /// A connection to one server.
    Single(MultiplexedConnection),
    /// Connections to the nodes of a cluster, which count as one.
    Cluster(cluster::ClusterConnection),
}

/// Connections that may be made at the same time: the one for commands, and those that follow a
/// stream.
const AT_ONCE: usize = 4;

/// A key that never exists.
const PROBE: &str = "facility-summary:probe";

impl RedisPool {
    /// A pool for the server or cluster at this URL. It connects to nothing yet.
    pub fn new(target: &RedisUrl) -> RedisPool {
        const CHECKED: &str = "RedisUrl::parse has tried it";
        const NO_RUNTIME: &str = "a pool without time-outs of its own needs no runtime";
        match target.0.as_slice() {
            [server] => {
                // No time-outs in the driver: each command has ours, and a blocking command may
                // wait longer.
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(None)
                    .set_response_timeout(None);
                let manager = deadpool_redis::Manager::new_with_config(server.clone(), config)
                    .expect(CHECKED);
                RedisPool::Single(
                    deadpool_redis::Pool::builder(manager)
                        .max_size(AT_ONCE)
                        .build()
                        .expect(NO_RUNTIME),
                )
            }
            nodes => {
                let manager = cluster::Manager::new(nodes.to_vec(), false).expect(CHECKED);
                RedisPool::Cluster(
                    cluster::Pool::builder(manager).max_size(AT_ONCE).build().expect(NO_RUNTIME),
                )
            }
        }
    }

    /// A new connection to a server that answers and takes writes. A replica of a Redis server
    /// takes none. There is no time-out here: the caller sets one.
    pub async fn connect(&self) -> Result<Connection, CommandError> {
        match self {
            RedisPool::Single(pool) => {
                let mut connection = Connection::Single(deadpool_redis::Connection::take(
                    pool.get().await.map_err(failed)?,
                ));
                connection.query(&cmd("PING")).await?;
                // This write needs no memory and changes nothing. A refusal for another reason than
                // read-only does not concern the connection.
                match connection.query(cmd("DEL").arg(PROBE)).await.map_err(CommandError::from) {
                    Err(error) if error.ends_the_connection() => Err(error),
                    _ => Ok(connection),
                }
            }
            // The connection has asked for the slots, and sends writes to primaries only. A PING
            // would go to all nodes, and would fail where one node of several is down.
            RedisPool::Cluster(pool) => Ok(Connection::Cluster(cluster::Connection::take(
                pool.get().await.map_err(failed)?,
            ))),
        }
    }
}

impl Connection {
    /// Runs one command, without a time-out.
    pub async fn query(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Connection::Single(connection) => command.query_async(connection).await,
            Connection::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

fn failed(error: PoolError) -> CommandError {
    match error {
        PoolError::Backend(error) => CommandError::from(error),
        other => CommandError::Lost(RedisError::from(std::io::Error::other(other))),
    }
}
