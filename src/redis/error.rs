//! The errors of commands to Redis.

use std::time::Duration;

use deadpool_redis::redis::{ErrorKind, RedisError, RetryMethod, ServerErrorKind};

/// Why a command has no answer. The command may have been carried out, except after
/// [`CommandError::Refused`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommandError {
    /// The breaker stopped the command; the class of the last failure.
    #[error("Redis is left alone until it answers a probe (last failure: {0})")]
    Down(&'static str),
    /// Redis did not answer within this time.
    #[error("Redis did not answer within {0:?}")]
    TimedOut(Duration),
    /// The connection failed.
    #[error("the connection to Redis failed: {0}")]
    Lost(RedisError),
    /// Redis answered with an error, so the command was not carried out.
    #[error("Redis refused: {0}{remedy}", remedy = remedy(.0))]
    Refused(RedisError),
}

impl CommandError {
    /// The class of the error, as metrics and `/health/ready` show it.
    pub fn class(&self) -> &'static str {
        match self {
            CommandError::Down(_) => "down",
            CommandError::TimedOut(_) => "timeout",
            CommandError::Lost(error) if error.is_timeout() => "timeout",
            CommandError::Lost(error) if is_read_only(error) => "read_only",
            CommandError::Lost(error) if error.kind() == ErrorKind::AuthenticationFailed => {
                "authentication"
            }
            CommandError::Lost(_) => "connection",
            CommandError::Refused(_) => "refused",
        }
    }

    /// Whether the connection cannot be used any more. A server that refused one command still
    /// answers the next.
    pub(super) const fn ends_the_connection(&self) -> bool {
        matches!(self, CommandError::TimedOut(_) | CommandError::Lost(_))
    }

    /// Whether the server does not know a script by its hash, so that its text must be sent.
    pub(super) fn is_unknown_script(&self) -> bool {
        let unknown = ErrorKind::Server(ServerErrorKind::NoScript);
        matches!(self, CommandError::Refused(error) if error.kind() == unknown)
    }
}

impl From<RedisError> for CommandError {
    fn from(error: RedisError) -> Self {
        // A server that is no longer the primary refuses every write. A new connection finds the
        // new primary.
        let demoted = is_read_only(&error);
        let broken = matches!(
            error.retry_method(),
            RetryMethod::Reconnect | RetryMethod::ReconnectFromInitialConnections
        );
        if error.is_timeout() || error.is_io_error() || broken || demoted {
            CommandError::Lost(error)
        } else {
            CommandError::Refused(error)
        }
    }
}

/// What an operator must do about a refusal that does not end by itself.
fn remedy(error: &RedisError) -> &'static str {
    match error.kind() {
        // A client that knows all nodes of a cluster never gets these errors.
        ErrorKind::Server(
            ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot,
        ) => {
            "; redis.url (REDIS_URL) leads to one node of a cluster, and should name its nodes, \
             with commas between them"
        }
        ErrorKind::Server(ServerErrorKind::NoPerm) => {
            "; the user of redis.url needs all commands on the keys facility-summary:* (ACL \
             SETUSER)"
        }
        _ => "",
    }
}

fn is_read_only(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}
