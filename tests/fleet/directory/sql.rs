//! Plain SQL about the world, past the service.

use std::{sync::atomic::Ordering, time::Duration};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::world::World;

/// A database that does not answer for so long is left.
const PATIENCE: Duration = Duration::from_secs(6);

/// A writer's connection, made anew where it is lost.
#[derive(Default)]
pub struct Plain {
    held: Option<PgConnection>,
}

impl Plain {
    /// Runs statements; answers whether all succeeded. What is refused for want of a row that
    /// somebody removed is no fault.
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

/// A connection of one's own, which waits for no lock for long.
pub async fn connect(world: &World) -> sqlx::Result<PgConnection> {
    let mut connection = PgConnection::connect(&world.places.primary).await?;
    connection.execute("SET lock_timeout = '3s'; SET statement_timeout = '5s'").await?;
    Ok(connection)
}

/// The test's own mistakes are told at once.
pub fn complain_of_syntax(error: &sqlx::Error, statements: &str) {
    let code =
        error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
    assert!(!code.starts_with("42"), "{statements}: {error}");
}
