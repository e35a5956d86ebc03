//! The migrations. One process at a time applies all that are missing, or none. None is applied to
//! a schema that belongs to another program.

use std::sync::LazyLock;

use sqlx::{
    Connection, PgConnection, Row,
    migrate::{Migrate, MigrateError, Migrator},
};

use super::{
    requirements::{check_columns, check_encoding, check_row_security},
    session::BEGIN,
};
use crate::store::{Result, StoreError, migrate_error, tables};

/// The driver's own lock is off: this module takes that lock and holds it until the transaction has
/// ended.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("migrations/postgres");
    migrations.set_locking(false);
    migrations
});

/// Brings the tables up to date. The statements over this connection must have no time-out.
///
/// # Errors
/// `Migration` when the database cannot hold our texts, belongs to another program, or was migrated
/// by a newer release. Nothing is changed then.
pub(crate) async fn migrate(connection: &mut PgConnection) -> Result<()> {
    // The driver uses the same lock, so a release that leaves locking to the driver waits as well.
    // The lock is held beyond the commit, because the next process has to see all of it.
    connection.lock().await.map_err(migrate_error)?;
    let migrated = apply(connection).await;
    match connection.unlock().await {
        // The server releases the lock when the connection closes.
        Err(error) => migrated.and(Err(migrate_error(error))),
        Ok(()) => migrated,
    }
}

async fn apply(connection: &mut PgConnection) -> Result<()> {
    let found = existing_tables(connection).await?;
    check_encoding(connection, found.applied.as_ref().is_some_and(|applied| !applied.is_empty()))
        .await?;
    found.refuse_foreign_tables(&MIGRATIONS)?;
    let mut transaction = connection.begin_with(BEGIN).await?;
    let applied = MIGRATIONS.run_direct(None, &mut *transaction, false).await;
    applied.map_err(|error| in_the_way(&found.place, error))?;
    transaction.commit().await?;
    check_columns(connection).await?;
    check_row_security(connection, &tables::created(&MIGRATIONS)).await
}

async fn existing_tables(connection: &mut PgConnection) -> Result<tables::ExistingTables> {
    let look = "SELECT coalesce(current_schema()::text, '') AS schema, current_database()::text \
                AS database,
                       EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = space.oid AND relname = \
                '_sqlx_migrations'::name) AS has_record,
                       (SELECT coalesce(pg_catalog.array_agg(name::text ORDER BY name), '{}')
                          FROM (SELECT relname FROM pg_class WHERE relnamespace = space.oid
                                UNION SELECT typname FROM pg_type WHERE typnamespace = space.oid) \
                AS there (name)
                         WHERE name::text = ANY ($1::text[])) AS taken
                FROM (VALUES (true)) AS one LEFT JOIN pg_namespace space ON space.nspname = \
                current_schema()";
    let row =
        sqlx::query(look).bind(tables::created(&MIGRATIONS)).fetch_one(&mut *connection).await?;
    let (schema, database): (String, String) = (row.try_get("schema")?, row.try_get("database")?);
    let applied = match row.try_get("has_record")? {
        true => Some(
            sqlx::query_scalar("SELECT version FROM _sqlx_migrations")
                .fetch_all(&mut *connection)
                .await?,
        ),
        false => None,
    };
    Ok(tables::ExistingTables {
        place: format!("the schema {schema:?} of the database {database:?}"),
        applied,
        taken: row.try_get("taken")?,
        remedy: "give the service a database of its own (CREATE DATABASE), or a schema of its \
                 own, and name it in database.url with ?options=-csearch_path%3DNAME",
    })
}

/// Adds what the server says: it names what stands in the way of a migration, a function for
/// example.
fn in_the_way(place: &str, error: MigrateError) -> StoreError {
    match migrate_error(error) {
        StoreError::Migration(words) => {
            StoreError::Migration(format!("{words}; nothing was changed in {place}"))
        }
        other => other,
    }
}
