//! The migrations. One process at a time applies all that are missing, or none. None is applied to
//! a schema that belongs to another program.

use std::sync::LazyLock;

use sqlx::{
    Connection, PgConnection, Row,
    migrate::{Migrate, MigrateError, Migrator},
};

use super::session::BEGIN;
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
    check_row_security(connection).await
}

/// The columns of the source tables that events read and write. A column's type is checked when
/// values of another type cannot be read. Another program that writes these tables may have changed
/// them.
const COLUMNS: &str = "
    SELECT pg_catalog.concat_ws(' '::text, need.tab || '.'::text || need.name, CASE WHEN a.attnum \
     IS NULL THEN 'is missing'::text
               ELSE 'is ' || pg_catalog.format_type(a.atttypid, NULL::integer) END, 'and should be \
     ' || pg_catalog.format_type(need.type::regtype::oid, NULL::integer))
    FROM (VALUES ('facilities', 'id', 'uuid'), ('facilities', 'name', 'text'), ('facilities', \
     'timezone', 'text'), ('facilities', 'event_time', 'timestamptz'),
                 ('blood_banks', 'id', 'uuid'), ('blood_banks', 'facility_id', 'uuid'), \
     ('blood_banks', 'name', 'text'), ('blood_banks', 'event_time', 'timestamptz'),
                 ('blood_inventory', 'id', 'uuid'), ('blood_inventory', 'blood_bank_id', 'uuid'), \
     ('blood_inventory', 'blood_type', 'text'),
                 ('blood_inventory', 'quantity', 'int4'), ('blood_inventory', 'expires_at', \
     'timestamptz'), ('blood_inventory', 'event_time', 'timestamptz'),
                 ('blood_distributions', 'id', 'uuid'), ('blood_distributions', \
     'dispatched_to_id', 'uuid'), ('blood_distributions', 'blood_type', 'text'),
                 ('blood_distributions', 'quantity', 'int4'), ('blood_distributions', \
     'date_delivered', 'timestamptz'), ('blood_distributions', 'event_time', 'timestamptz'),
                 ('blood_requests', 'id', 'uuid'), ('blood_requests', 'facility_id', 'uuid'), \
     ('blood_requests', 'blood_type', 'text'),
                 ('blood_requests', 'quantity', 'int4'), ('blood_requests', 'created_at', \
     'timestamptz'), ('blood_requests', 'event_time', 'timestamptz'))
        AS need (tab, name, type)
    LEFT JOIN pg_attribute a ON a.attrelid = to_regclass(need.tab)::oid AND a.attname = \
     need.name::name AND NOT a.attisdropped
    -- A column that is read as text may have any similar type.
    WHERE a.attnum IS NULL OR (need.type <> 'text' AND a.atttypid <> need.type::regtype::oid)
    ORDER BY need.tab, need.name";

async fn check_columns(connection: &mut PgConnection) -> Result<()> {
    let wrong: Vec<String> = sqlx::query_scalar(COLUMNS).fetch_all(connection).await?;
    if wrong.is_empty() {
        return Ok(());
    }
    let wrong = wrong.join("; ");
    Err(StoreError::Migration(format!(
        "{wrong}: events could not be written; put it back with ALTER TABLE"
    )))
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

/// Names of facilities may contain any letter. Not every encoding can hold that: `LATIN1` cannot
/// store some names, and `SQL_ASCII` takes any bytes from other programs, which may then be
/// unreadable. A database that is in use already is not refused.
async fn check_encoding(connection: &mut PgConnection, is_in_use: bool) -> Result<()> {
    let (encoding, database): (String, String) =
        sqlx::query_as("SELECT current_setting('server_encoding'), current_database()::text")
            .fetch_one(&mut *connection)
            .await?;
    if encoding == "UTF8" {
        return Ok(());
    }
    let advice = "create one with CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0 (and \
                  LOCALE 'C.UTF-8', where the server's own locale does not go with it)";
    if is_in_use {
        tracing::warn!(
            database,
            encoding,
            "the database is not encoded in UTF8: names that it cannot hold are refused, and rows \
             that cannot be read are left out; {advice}, and move the tables there"
        );
        return Ok(());
    }
    Err(StoreError::Migration(format!(
        "the database {database:?} is encoded in {encoding}, and UTF8 is needed; {advice}; \
         nothing was changed"
    )))
}

/// A policy for our own role would hide rows, and the figures would be wrong. With `row_security`
/// off each statement would fail instead.
async fn check_row_security(connection: &mut PgConnection) -> Result<()> {
    let hidden: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM pg_catalog.unnest($1::text[]) AS t (name) WHERE to_regclass(name) IS \
         NOT NULL AND row_security_active(to_regclass(name)::oid)",
    )
    .bind(tables::created(&MIGRATIONS))
    .fetch_all(connection)
    .await?;
    if hidden.is_empty() {
        return Ok(());
    }
    let tables = hidden.join(", ");
    Err(StoreError::Migration(format!(
        "row-level security would hide rows of {tables} from the service, and its figures would \
         lack them: give its role BYPASSRLS, or ALTER TABLE … NO FORCE ROW LEVEL SECURITY where \
         it owns them"
    )))
}
