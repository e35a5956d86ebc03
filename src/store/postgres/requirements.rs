//! What the service needs of the server and of the database: the version, the encoding, the columns
//! of the source tables, and that no row-level security hides rows. What is missing is named, with
//! the remedy.

use sqlx::PgConnection;

use super::{pool::PrimaryPool, session};
use crate::{
    config::DatabaseSettings,
    store::{Result, StoreError},
};

/// The oldest server that has everything that the statements use (MERGE-safe transition tables,
/// `date_bin`, `xmax` rules).
const OLDEST_SERVER: i32 = 150_000;

/// Refuses a server that is too old. Warns when the pool may use most of the connections that the
/// server allows.
pub(super) async fn check_server(pool: &PrimaryPool, settings: &DatabaseSettings) -> Result<()> {
    let (version, allowed, reserved): (i32, i32, i32) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::integer, \
         current_setting('max_connections')::integer, \
         current_setting('superuser_reserved_connections')::integer",
    )
    .fetch_one(pool)
    .await?;
    if version < OLDEST_SERVER {
        return Err(StoreError::Migration(format!(
            "the server is Postgres {}, and 15 or later is needed",
            version / 10_000
        )));
    }
    let free = u32::try_from(allowed - reserved).unwrap_or(0);
    let dropped = session::dropped(&mut *pool.driver().acquire().await?).await?;
    if !dropped.is_empty() {
        tracing::warn!(
            settings = dropped.join(", "),
            "start options do not reach the database, so that its own values of these settings \
             hold: a proxy drops them (PgBouncer: ignore_startup_parameters); let it pass them \
             on, or set them with ALTER ROLE"
        );
    }
    if u64::from(settings.max_connections) * 10 > u64::from(free) * 8 {
        tracing::warn!(
            max_connections = settings.max_connections,
            server_max_connections = allowed,
            "database.max_connections comes near the {free} connections that the server grants to \
             all clients: lower it, or raise max_connections there"
        );
    }
    Ok(())
}

/// Names of facilities may contain any letter. Not every encoding can hold that: `LATIN1` cannot
/// store some names, and `SQL_ASCII` takes any bytes from other programs, which may then be
/// unreadable. A database that is in use already is not refused.
pub(super) async fn check_encoding(connection: &mut PgConnection, is_in_use: bool) -> Result<()> {
    let Some((encoding, database)) = other_encoding(connection).await? else { return Ok(()) };
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

/// The same for tables of an owner, before anything is said of them or made beside them.
pub(super) async fn check_mapped_encoding(connection: &mut PgConnection) -> Result<()> {
    let Some((encoding, database)) = other_encoding(connection).await? else { return Ok(()) };
    Err(StoreError::Migration(format!(
        "the database {database:?} is encoded in {encoding}, and the service can stand beside \
         tables in UTF8 only: not every name and notation has a place in {encoding}; nothing was \
         changed"
    )))
}

/// The encoding and the name of the database, where it is not UTF8.
async fn other_encoding(connection: &mut PgConnection) -> Result<Option<(String, String)>> {
    let (encoding, database): (String, String) =
        sqlx::query_as("SELECT current_setting('server_encoding'), current_database()::text")
            .fetch_one(&mut *connection)
            .await?;
    Ok((encoding != "UTF8").then_some((encoding, database)))
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

pub(super) async fn check_columns(connection: &mut PgConnection) -> Result<()> {
    let wrong: Vec<String> = sqlx::query_scalar(COLUMNS).fetch_all(connection).await?;
    if wrong.is_empty() {
        return Ok(());
    }
    let wrong = wrong.join("; ");
    Err(StoreError::Migration(format!(
        "{wrong}: events could not be written; put it back with ALTER TABLE"
    )))
}

/// A policy for our own role would hide rows, and the figures would be wrong. With `row_security`
/// off each statement would fail instead.
pub(super) async fn check_row_security(
    connection: &mut PgConnection,
    tables: &[String],
) -> Result<()> {
    let hidden: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM pg_catalog.unnest($1::text[]) AS t (name) WHERE to_regclass(name) IS \
         NOT NULL AND row_security_active(to_regclass(name)::oid)",
    )
    .bind(tables)
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
