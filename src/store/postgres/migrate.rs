//! The migrations. One process at a time applies all that are missing, or none. None is applied to
//! a schema that belongs to another program. A schema that does not exist is created.

use std::sync::LazyLock;

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, Row,
    migrate::{Migrate, MigrateError, Migrator},
};

use super::{
    home::quoted,
    requirements::{check_columns, check_encoding, check_row_security},
    server_history,
    session::BEGIN,
    sources::notice::RECORD,
};
use crate::store::{Result, StoreError, migrate_error, tables};

/// The driver's own lock is off: this module takes that lock and holds it until the transaction has
/// ended.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("migrations/postgres");
    migrations.set_locking(false);
    migrations
});

/// Brings the tables in this schema, which the session uses, up to date. The statements over this
/// connection must have no time-out. Returns what the service does without on this server.
///
/// # Errors
/// `Migration` when the database cannot hold our texts, belongs to another program, or was migrated
/// by a newer release. Nothing is changed then.
pub(crate) async fn migrate(connection: &mut PgConnection, schema: &str) -> Result<Vec<String>> {
    // The driver uses the same lock, so a release that leaves locking to the driver waits as well.
    // The lock is held beyond the commit, because the next process has to see all of it.
    connection.lock().await.map_err(migrate_error)?;
    let migrated = async {
        apply(connection, schema).await?;
        server_history::settle(connection).await
    };
    let migrated = migrated.await;
    match connection.unlock().await {
        // The server releases the lock when the connection closes.
        Err(error) => migrated.and_then(|_| Err(migrate_error(error))),
        Ok(()) => migrated,
    }
}

async fn apply(connection: &mut PgConnection, schema: &str) -> Result<()> {
    let found = existing_tables(connection, schema).await?;
    check_encoding(connection, found.applied.as_ref().is_some_and(|applied| !applied.is_empty()))
        .await?;
    found.refuse_foreign_tables(&MIGRATIONS)?;
    let mut transaction = connection.begin_with(BEGIN).await?;
    create_schema(&mut transaction, schema).await?;
    let applied = MIGRATIONS.run_direct(None, &mut *transaction, false).await;
    applied.map_err(|error| in_the_way(&found.place, error))?;
    transaction.commit().await?;
    check_columns(connection).await?;
    check_row_security(connection, &tables::created(&MIGRATIONS)).await
}

/// Creates the schema, unless it exists. (With `IF NOT EXISTS` the server would ask for the right
/// to create one even where it exists.)
pub(super) async fn create_schema(connection: &mut PgConnection, schema: &str) -> Result<()> {
    let (exists, may_use, may_create, role, database): (bool, bool, bool, String, String) =
        sqlx::query_as(
            "SELECT space.oid IS NOT NULL, coalesce(has_schema_privilege(space.oid, \
             'USAGE'::text), false), has_database_privilege(current_database()::text, \
             'CREATE'::text), \
             current_user::text, current_database()::text FROM (VALUES ($1::text)) AS one (name) \
             LEFT JOIN pg_namespace space ON space.nspname = one.name::name",
        )
        .bind(schema)
        .fetch_one(&mut *connection)
        .await?;
    let (name, role, database) = (quoted(schema), quoted(&role), quoted(&database));
    match (exists, may_use, may_create) {
        (true, true, _) => Ok(()),
        (true, false, _) => Err(StoreError::Migration(format!(
            "the role {role} may not use the schema {name} of the database {database}: ALTER \
            SCHEMA \
             {name} OWNER TO {role}, or GRANT USAGE, CREATE ON SCHEMA {name} TO {role}, or name \
             another schema in database.schema; nothing was changed"
        ))),
        (false, _, false) => Err(StoreError::Migration(format!(
            "the schema {name} does not exist, and the role {role} may not create schemas in the \
             database {database}: CREATE SCHEMA {name} AUTHORIZATION {role}, or name another \
             schema in database.schema; nothing was changed"
        ))),
        (false, _, true) => {
            let create = format!("CREATE SCHEMA {name}");
            sqlx::query(AssertSqlSafe(create)).execute(connection).await?;
            Ok(())
        }
    }
}

async fn existing_tables(
    connection: &mut PgConnection,
    schema: &str,
) -> Result<tables::ExistingTables> {
    let look = "SELECT current_database()::text AS database,
                       EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = space.oid AND relname = \
                '_sqlx_migrations'::name) AS has_record,
                       (SELECT coalesce(pg_catalog.array_agg(name::text ORDER BY name), '{}')
                          FROM (SELECT relname FROM pg_class WHERE relnamespace = space.oid
                                UNION SELECT typname FROM pg_type WHERE typnamespace = space.oid) \
                AS there (name)
                         WHERE name::text = ANY ($1::text[])) AS taken
                FROM (VALUES ($2::text)) AS one (name) LEFT JOIN pg_namespace space ON \
                space.nspname = one.name::name";
    let row = sqlx::query(look)
        .bind(tables::created(&MIGRATIONS))
        .bind(schema)
        .fetch_one(&mut *connection)
        .await?;
    let database: String = row.try_get("database")?;
    let applied = match row.try_get("has_record")? {
        true => Some(applied_versions(connection, schema).await?),
        false => None,
    };
    Ok(tables::ExistingTables {
        place: format!("the schema {schema:?} of the database {database:?}"),
        applied,
        taken: row.try_get("taken")?,
        remedy: "name another schema in database.schema, or give the service a database of its \
                 own (CREATE DATABASE)",
    })
}

/// The migrations on record. Where it belongs to another role, that is said with the remedy.
async fn applied_versions(connection: &mut PgConnection, schema: &str) -> Result<Vec<i64>> {
    let read = sqlx::query_scalar("SELECT version FROM _sqlx_migrations");
    let error = match read.fetch_all(&mut *connection).await {
        Ok(versions) => return Ok(versions),
        Err(error) => error,
    };
    let code = error.as_database_error().and_then(|error| error.code());
    if code.as_deref() != Some("42501") {
        return Err(error.into());
    }
    let (owner, role): (String, String) = sqlx::query_as(
        "SELECT pg_get_userbyid(c.relowner)::text, current_user::text FROM pg_class c JOIN \
         pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1::text::name AND c.relname = \
         '_sqlx_migrations'::name",
    )
    .bind(schema)
    .fetch_one(connection)
    .await?;
    let (schema, owner, role) = (quoted(schema), quoted(&owner), quoted(&role));
    Err(StoreError::Migration(format!(
        "the tables in the schema {schema} belong to the role {owner}, and {role}, which serves, \
         may not read them: somebody has made them as {owner}. Serve as {owner}; or, as an \
         owner of the database, run adopt remove, and then adopt install --role {role} (what \
         adopt sql --role {role} prints makes them for {role} as well, whoever runs it); \
         nothing was changed"
    )))
}

/// The tables, types and views that the migrations create, and the driver's record of them.
pub(super) fn created_tables() -> Vec<String> {
    // sqlx makes the first one, a mapping the second, and `adopt install` the third.
    let others = ["_sqlx_migrations", "facility_key", RECORD].map(str::to_owned);
    tables::created(&MIGRATIONS).into_iter().chain(others).collect()
}

/// The migrations that the schema lacks, each with its name and statements, and what the driver
/// records of it: for somebody who runs them by hand.
pub(super) async fn missing(
    connection: &mut PgConnection,
    schema: &str,
) -> Result<Vec<(String, String)>> {
    let found = existing_tables(connection, schema).await?;
    found.refuse_foreign_tables(&MIGRATIONS)?;
    let applied = found.applied.unwrap_or_default();
    let mut missing = Vec::new();
    if applied.is_empty() {
        let record = "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT \
                      NOT NULL, installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), success BOOLEAN \
                      NOT NULL, checksum BYTEA NOT NULL, execution_time BIGINT NOT NULL);";
        missing.push(("The record of the migrations.".to_owned(), record.to_owned()));
    }
    for migration in MIGRATIONS.iter().filter(|migration| !applied.contains(&migration.version)) {
        let checksum: String =
            migration.checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        let (version, description) = (migration.version, &migration.description);
        missing.push((
            format!("Migration {version}: {description}."),
            format!(
                "{}\nINSERT INTO _sqlx_migrations (version, description, success, checksum, \
                 execution_time) VALUES ({version}, '{description}', true, '\\x{checksum}', 0);",
                migration.sql.as_str()
            ),
        ));
    }
    Ok(missing)
}

/// The statements that drop all objects of ours in the schema, in their order: views,
/// functions whose body names tables, tables, their triggers' functions, domains. None drops what
/// depends on these: the server refuses then.
pub(super) async fn drop_statements(
    connection: &mut PgConnection,
    schema: &str,
) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "SELECT pg_catalog.concat('DROP '::text, kind, ' '::text, pg_catalog.string_agg(name, ', \
         '::text ORDER BY name)) FROM (\
         SELECT CASE WHEN c.relkind = 'v'::\"char\" THEN 1 ELSE 3 END AS nth, \
         CASE WHEN c.relkind = 'v'::\"char\" THEN 'VIEW' ELSE 'TABLE' END AS kind, \
         c.oid::regclass::text AS name \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1::text::name AND c.relname::text = ANY ($2::text[]) \
           AND c.relkind::text = ANY (ARRAY['r', 'v', 'p']::text[]) \
         UNION ALL \
         SELECT CASE WHEN p.prosqlbody IS NULL THEN 4 ELSE 2 END, 'FUNCTION', \
         p.oid::regprocedure::text \
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
         WHERE n.nspname = $1::text::name AND (p.proname::text = ANY ($3::text[]) OR \
         starts_with(p.proname::text, 'notice_'::text)) \
         UNION ALL \
         SELECT 5, 'DOMAIN', t.oid::regtype::text \
         FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace \
         WHERE n.nspname = $1::text::name AND t.typtype = 'd'::\"char\" AND t.typname::text = ANY \
         ($2::text[])) AS ours (nth, kind, name) GROUP BY nth, kind ORDER BY nth",
    )
    .bind(schema)
    .bind(created_tables())
    .bind(created_functions())
    .fetch_all(connection)
    .await?)
}

/// The functions that the migrations create.
pub(super) fn created_functions() -> Vec<String> {
    tables::names(&MIGRATIONS, &["CREATE FUNCTION ", "CREATE OR REPLACE FUNCTION "])
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
