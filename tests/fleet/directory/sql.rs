//! Plain SQL of the round, which does not go through the service.

use std::{sync::atomic::Ordering, time::Duration};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::world::World;

/// A database that does not answer for this time is given up.
const PATIENCE: Duration = Duration::from_secs(6);

/// A writer's connection, which is opened again when it is lost.
#[derive(Default)]
pub struct Plain {
    held: Option<PgConnection>,
}

impl Plain {
    /// Runs statements; returns whether all succeeded. A statement may be refused since another
    /// writer removed a row that it refers to. This is no fault.
    pub async fn run(&mut self, world: &World, statements: &str) -> bool {
        let running = async {
            let mut connection = match self.held.take() {
                Some(connection) => connection,
                None => connect(world).await?,
            };
            let done = connection.execute(AssertSqlSafe(statements)).await.map(drop);
            if let Err(error) = &done {
                complain_of_syntax(error, statements);
                let _ = connection.execute("ROLLBACK").await;
            }
            self.held = Some(connection);
            done
        };
        let done = tokio::time::timeout(PATIENCE, running).await.is_ok_and(|done| done.is_ok());
        world.sql.fetch_add(usize::from(done), Ordering::Relaxed);
        done
    }
}

/// Opens a new connection, whose waits for locks are short.
pub async fn connect(world: &World) -> sqlx::Result<PgConnection> {
    let mut connection = PgConnection::connect(&world.places.primary).await?;
    connection.execute("SET lock_timeout = '3s'; SET statement_timeout = '5s'").await?;
    Ok(connection)
}

/// Panics on a mistake of the test itself.
pub fn complain_of_syntax(error: &sqlx::Error, statements: &str) {
    let code =
        error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
    assert!(!code.starts_with("42"), "{statements}: {error}");
}
