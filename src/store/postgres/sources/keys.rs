//! The table of keys: the owner's key of each facility, in a type of the server's own. So no type
//! of the owner's hangs on our table, two keys are one where the server's own operators say so, and
//! an index of the owner's on the key serves: whole numbers of any size are kept as `bigint`, texts
//! of any kind as `text`, a domain as what it is made of, and no length is kept.
//!
//! An enum is kept as it is, since the server's own operators compare it with nothing else.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::misfit;
use crate::{
    config::sources::{FacilitySource, SourcesSettings},
    store::{
        Result, StoreError,
        postgres::{pool::Borrowed, session::BEGIN},
        said,
    },
};

/// The type in which keys of the mapping are to be kept, as SQL names it. `{keys}`: a SELECT of one
/// key, or of none.
const WANTED: &str = "
    WITH RECURSIVE facility_summary_type AS (
        SELECT t.oid, t.typbasetype, t.typnamespace FROM pg_type t
        WHERE t.oid = pg_catalog.pg_typeof(({keys}))::oid
        UNION ALL
        SELECT t.oid, t.typbasetype, t.typnamespace
        FROM facility_summary_type of_it JOIN pg_type t ON t.oid = of_it.typbasetype
    )
    SELECT CASE
        WHEN one.oid = ANY (ARRAY['smallint'::regtype::oid, 'integer'::regtype::oid,
                                  'bigint'::regtype::oid]) THEN 'bigint'
        WHEN one.oid = ANY (ARRAY['character varying'::regtype::oid, 'text'::regtype::oid])
            OR (one.typnamespace <> 'pg_catalog'::regnamespace::oid AND EXISTS (
                SELECT 1 FROM pg_cast c
                WHERE c.castsource = one.oid AND c.casttarget = 'text'::regtype::oid
                  AND c.castmethod = 'b'::\"char\")) THEN 'text'
        ELSE format_type(one.oid, -1) END
    FROM facility_summary_type one WHERE one.typbasetype = 0::oid";

/// The type in which they are kept, and whether its texts are compared as usual.
const KEPT: &str = "
    SELECT format_type(a.atttypid, a.atttypmod), a.attcollation = t.typcollation
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = 'facility_key'::regclass::oid AND a.attname = 'key'::name";

/// Removes the keys that are none in another type, with their facilities: no row of the owner's has
/// them any more. Of several keys that are one in it, one stays. Should a facility come back, it
/// gets the same id: that is made of the key.
const REMOVE_STRANGE: &str = "
    DO $keys$
    DECLARE
        one record;
    BEGIN
        FOR one IN SELECT k.facility_id, k.key::text AS key FROM facility_key k LOOP
            BEGIN
                PERFORM one.key::{wanted};
            EXCEPTION WHEN data_exception THEN
                DELETE FROM facility_key k WHERE k.facility_id = one.facility_id;
            END;
        END LOOP;
        DELETE FROM facility_key k USING (
            SELECT held.facility_id, row_number() OVER (
                PARTITION BY held.key::text::{wanted}
                ORDER BY (f.id IS NULL)::integer, held.facility_id) AS nth
            FROM facility_key held LEFT JOIN facilities f ON f.id = held.facility_id) AS doubled
        WHERE k.facility_id = doubled.facility_id AND doubled.nth > 1::bigint;
        DELETE FROM facilities f WHERE NOT EXISTS (
            SELECT 1 FROM facility_key k WHERE k.facility_id = f.id);
    END $keys$";

/// The type in which keys are kept, as SQL names it.
pub(super) async fn kept(connection: &mut PgConnection) -> sqlx::Result<String> {
    sqlx::query_scalar(KEPT).fetch_one(connection).await
}

/// The same, over a connection of the pool.
pub(super) async fn kept_now(connection: &mut Borrowed) -> sqlx::Result<String> {
    sqlx::query_scalar(KEPT).fetch_one(connection).await
}

/// The statements that make the table of keys for this mapping.
///
/// # Errors
/// `Mapping`: the facilities do not fit the database.
pub(super) async fn statement(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
) -> Result<String> {
    let wanted = wanted(connection, sources).await?;
    Ok(format!("CREATE TABLE facility_key (facility_id uuid PRIMARY KEY, key {wanted} UNIQUE)"))
}

/// Makes the table of keys. Another server that starts now may be first.
pub(super) async fn make(connection: &mut PgConnection, sources: &SourcesSettings) -> Result<()> {
    let make = statement(connection, sources).await?;
    match sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *connection).await {
        Err(sqlx::Error::Database(error)) if is_taken(error.code().as_deref()) => Ok(()),
        Err(error) => Err(misfit::error(connection, sources, "sources.facilities", &error).await),
        Ok(_) => Ok(()),
    }
}

/// Whether the error says that a table or a type of this name is there already.
fn is_taken(code: Option<&str>) -> bool {
    matches!(code, Some("42P07" | "42710" | "23505"))
}

async fn wanted(connection: &mut PgConnection, sources: &SourcesSettings) -> Result<String> {
    let FacilitySource { from, key, .. } = &sources.facilities;
    let keys = format!("SELECT ({key}) FROM {from} LIMIT 0");
    let wanted = sqlx::query_scalar(AssertSqlSafe(WANTED.replace("{keys}", &keys)))
        .fetch_one(&mut *connection)
        .await;
    match wanted {
        Err(error @ sqlx::Error::Database(_)) => {
            Err(misfit::error(connection, sources, "sources.facilities", &error).await)
        }
        wanted => Ok(wanted?),
    }
}

/// Another type for the keys.
pub(super) struct Change {
    /// In words.
    pub words: String,
    /// The statements, for one transaction. The session uses the schema of our tables.
    pub sql: String,
}

/// What keeps the keys in the type that the mapping needs now; `None` where they are.
///
/// # Errors
/// `Mapping`: the facilities do not fit the database.
pub(super) async fn change(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
) -> Result<Option<Change>> {
    let wanted = wanted(connection, sources).await?;
    let (kept, is_usual): (String, bool) = sqlx::query_as(KEPT).fetch_one(connection).await?;
    let change = Change {
        words: format!("the keys of facilities, which were kept as {kept}, are kept as {wanted}"),
        sql: format!(
            "{};\nALTER TABLE facility_key ALTER COLUMN key TYPE {wanted} USING \
             key::text::{wanted};",
            REMOVE_STRANGE.trim().replace("{wanted}", &wanted)
        ),
    };
    Ok((kept != wanted || !is_usual).then_some(change))
}

/// Keeps the keys in the type that the mapping needs now. Returns what was changed, in words.
///
/// # Errors
/// `Mapping`: the facilities do not fit the database, or the keys cannot be kept in that type.
pub(super) async fn fit(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
) -> Result<Option<String>> {
    let Some(Change { words, sql }) = change(connection, sources).await? else { return Ok(None) };
    let mut tx = connection.begin_with(BEGIN).await?;
    let sql = format!("SET LOCAL lock_timeout = '2s'; {sql}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.map_err(|error| {
        StoreError::Mapping(format!(
            "the type of the keys of sources.facilities has changed, and our table facility_key \
             cannot follow: {}; run this again when it can, as the role that serves",
            said(&error)
        ))
    })?;
    tx.commit().await?;
    Ok(Some(words))
}

/// Whether the error is about the values of a row: they are none of their types, or a constraint
/// or a trigger refuses them.
pub(super) fn is_of_a_row(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| ["22", "23", "P0"].iter().any(|class| code.starts_with(class)))
}

/// An expression that gives the same text for all texts that are one key of this type.
pub(super) fn normal(kept: &str, text: &str) -> String {
    match kept {
        "bigint" | "numeric" => format!(
            "pg_catalog.regexp_replace({text}, '^(-?[0-9]+)([.]0*|([.][0-9]*[1-9])0*)$'::text, \
             '\\1\\3'::text)"
        ),
        "uuid" => format!("lower({text} COLLATE pg_catalog.\"C\")"),
        _ => text.to_owned(),
    }
}
