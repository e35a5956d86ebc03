//! Moves everything that the service has made to another schema of the same database: for an
//! installation of an earlier release, which has it in `public`.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{
    advisory_locks::{Lock, class_of},
    connect,
    home::{Home, quoted},
    migrate::{self, create_schema},
    session::BEGIN,
};
use crate::{
    config::DatabaseSettings,
    store::{Result, StoreError},
};

/// What was moved, and from where.
#[derive(Debug)]
pub struct Moved {
    /// The schema that the objects were in.
    pub from: String,
    /// The number of tables, types, views and functions. 0 where they were there already.
    pub objects: usize,
}

/// One `ALTER … SET SCHEMA` for each object of ours in the schema `$1`. `$2`: the names of our
/// tables, types and views; `$3`: those of our functions, without those of triggers on mapped
/// tables; `$4`: the new schema, quoted. Indexes and sequences move with their tables.
const STATEMENTS: &str = "
    SELECT pg_catalog.concat_ws(' '::text, 'ALTER'::text, object.kind,
        coalesce(object.signature, pg_catalog.concat_ws('.'::text,
            pg_catalog.quote_ident($1::text), pg_catalog.quote_ident(object.name))),
        'SET SCHEMA'::text, $4::text)
    FROM pg_namespace home
    CROSS JOIN LATERAL (
        SELECT CASE WHEN relkind = 'v'::\"char\" THEN 'VIEW' ELSE 'TABLE' END AS kind,
               relname::text AS name, NULL::text AS signature
        FROM pg_class
        WHERE relnamespace = home.oid AND relname::text = ANY ($2::text[])
          AND relkind::text = ANY (ARRAY['r', 'v', 'p']::text[])
        UNION ALL
        SELECT 'DOMAIN', typname::text, NULL::text FROM pg_type
        WHERE typnamespace = home.oid AND typname::text = ANY ($2::text[])
          AND typtype = 'd'::\"char\"
        UNION ALL
        SELECT 'FUNCTION', proname::text, oid::regprocedure::text FROM pg_proc
        WHERE pronamespace = home.oid
          AND (proname::text = ANY ($3::text[]) OR starts_with(proname::text, 'notice_'::text))
    ) AS object
    WHERE home.nspname = $1::text::name
    ORDER BY object.kind, object.name";

/// Moves everything into the schema `to`, which is created if it does not exist. All of it moves,
/// or nothing.
///
/// # Errors
/// `Migration` when a service runs on this database, when there is nothing to move, when `to` has
/// objects under our names, or when a right is missing.
pub async fn move_schema(settings: &DatabaseSettings, to: &str) -> Result<Moved> {
    let options = connect::options(settings, &settings.url)?;
    let mut connection = PgConnection::connect_with(&options).await?;
    let home = Home::new(settings);
    home.settle(&mut connection).await?;
    sqlx::query("SET statement_timeout = 0").execute(&mut connection).await?;
    let from = home.schema(&mut connection).await?;
    let objects = if from == to { 0 } else { move_objects(&mut connection, &from, to).await? };
    connection.close().await?;
    Ok(Moved { from, objects })
}

async fn move_objects(connection: &mut PgConnection, from: &str, to: &str) -> Result<usize> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    // A server holds this lock, shared, for as long as it serves.
    let is_alone: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1, $2)")
        .bind(class_of(from))
        .bind(Lock::Serves.id())
        .fetch_one(&mut *transaction)
        .await?;
    if !is_alone {
        return Err(StoreError::Migration(
            "a service runs on this database: stop every replica first, as each of them uses the \
             schema that it found at its start; nothing was moved"
                .into(),
        ));
    }
    create_schema(&mut transaction, to).await?;
    let statements: Vec<String> = sqlx::query_scalar(STATEMENTS)
        .bind(from)
        .bind(migrate::created_tables())
        .bind(migrate::created_functions())
        .bind(quoted(to))
        .fetch_all(&mut *transaction)
        .await?;
    if statements.is_empty() {
        return Err(StoreError::Migration(format!(
            "the schema {} has nothing of this service: name the schema that has it in \
             database.schema; nothing was moved",
            quoted(from)
        )));
    }
    for statement in &statements {
        sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut *transaction).await.map_err(
            |error| match error {
                sqlx::Error::Database(error) => {
                    StoreError::Migration(format!("{statement}: {error}; nothing was moved"))
                }
                other => other.into(),
            },
        )?;
    }
    transaction.commit().await?;
    Ok(statements.len())
}
