//! The rights that the role that serves needs, and lacks: to read the mapped columns. What is
//! granted is recorded, so that `adopt remove` takes that back, and nothing else.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection, FromRow, PgConnection};

use super::script::{Parties, Step, as_role, as_user};
use crate::{
    config::sources::SourcesSettings,
    store::{
        Result, StoreError,
        postgres::{
            home::quoted,
            session::BEGIN,
            sources::{figures::literal, lists, misfit},
        },
        said,
    },
};

/// A column that the mapping reads.
#[derive(Debug, FromRow)]
struct Column {
    schema: String,
    name: String,
    column: String,
    /// Whether the role may use the schema.
    may_use: bool,
    /// Whether the role may read the column, once it may use the schema.
    may_read: bool,
}

/// The name of the table of rights that `install` has granted. It is there once something was
/// granted.
pub(in crate::store::postgres) const RECORD: &str = "granted_rights";

/// The columns on which the view depends, without those that the role `$2` may read.
const MISSING: &str = "
    SELECT DISTINCT space.nspname::text AS schema, c.relname::text AS name, \
                       a.attname::text AS column,
           has_schema_privilege($2::text::name, space.oid, 'USAGE'::text) AS may_use,
           has_column_privilege($2::text::name, c.oid, a.attnum, 'SELECT'::text) AS may_read
    FROM pg_rewrite rule
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass::oid AND d.objid = rule.oid
        AND d.refclassid = 'pg_class'::regclass::oid
    JOIN pg_class c ON c.oid = d.refobjid
    JOIN pg_namespace space ON space.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum::integer = d.refobjsubid
    WHERE rule.ev_class = $1::text::regclass::oid AND c.oid <> rule.ev_class
      AND NOT (has_schema_privilege($2::text::name, space.oid, 'USAGE'::text)
               AND has_column_privilege($2::text::name, c.oid, a.attnum, 'SELECT'::text))
    ORDER BY 1, 2, 3";

/// The steps that give the role the rights that it lacks. The server itself finds the columns: of a
/// view that is rolled back.
pub(super) async fn missing(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
    parties: &Parties,
) -> Result<Vec<Step>> {
    let mut missing: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let mut schemas: Vec<String> = Vec::new();
    for (name, select) in lists::selects(sources) {
        let mut tx = connection.begin_with(BEGIN).await?;
        let make = format!("CREATE TEMPORARY VIEW facility_summary_probe AS {select}");
        if let Err(error) = sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *tx).await {
            tx.rollback().await?;
            return Err(match lacks_temporary(&error) {
                true => needs_temporary(&error, &parties.user),
                false => misfit::error(connection, sources, &name, &error).await,
            });
        }
        let columns: Vec<Column> = sqlx::query_as(MISSING)
            .bind("pg_temp.facility_summary_probe")
            .bind(&parties.role)
            .fetch_all(&mut *tx)
            .await?;
        tx.rollback().await?;
        for Column { schema, name, column, may_use, may_read } in columns {
            if !may_use {
                schemas.push(schema.clone());
            }
            if may_read {
                continue;
            }
            let columns = missing.entry((schema, name)).or_default();
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
    }
    schemas.sort_unstable();
    schemas.dedup();
    let role = quoted(&parties.role);
    let usage =
        schemas.iter().map(|schema| format!("GRANT USAGE ON SCHEMA {} TO {role};", quoted(schema)));
    let select = missing.iter().map(|((schema, name), columns)| {
        let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let (table, columns) = (format!("{}.{}", quoted(schema), quoted(name)), columns.join(", "));
        format!("GRANT SELECT ({columns}) ON {table} TO {role};")
    });
    let mut all: Vec<String> = usage.chain(select).collect();
    if all.is_empty() {
        return Ok(vec![]);
    }
    all.push(record(parties, &schemas, &missing));
    let comment = format!("The role {} may read the mapped columns.", parties.role);
    Ok(vec![Step::new(comment, all.join("\n"))])
}

/// Whether the view could not be made since the right to make a temporary one is missing, and not
/// since the mapping does not fit.
fn lacks_temporary(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.code().as_deref() == Some("42501") && error.message().contains("temporary")
    })
}

fn needs_temporary(error: &sqlx::Error, user: &str) -> StoreError {
    StoreError::Mapping(format!(
        "{}: install finds the columns of the mapping by a temporary view, which is rolled back: \
         GRANT TEMPORARY ON DATABASE … TO {}; nothing was made",
        said(error),
        quoted(user)
    ))
}

/// The step that makes the record, where nothing had to be granted so far: it says that `install`
/// has given nothing. An installation that was made before there was a record gets none.
pub(super) async fn empty_record(
    connection: &mut PgConnection,
    parties: &Parties,
) -> sqlx::Result<Option<Step>> {
    let (has_record, may_have_watches): (bool, bool) = sqlx::query_as(
        "SELECT to_regclass($1::text) IS NOT NULL, to_regclass('mapped_watch') IS NOT NULL",
    )
    .bind(format!("{}.{RECORD}", quoted(&parties.schema)))
    .fetch_one(&mut *connection)
    .await?;
    let has_watches = may_have_watches
        && sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM mapped_watch)")
            .fetch_one(connection)
            .await?;
    let sql = format!("{}\n{}{}", as_role(parties), table_of(parties), as_user());
    let comment = "The record of the rights that were given: none so far.";
    let step = Step::new(comment, sql).said_as("A record of the rights that are given.");
    Ok((!has_record && !has_watches).then_some(step))
}

/// The statements that make the record. A publication of all tables lets nothing be deleted from a
/// table whose rows have no identity.
fn table_of(parties: &Parties) -> String {
    let table = format!("{}.{RECORD}", quoted(&parties.schema));
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (home oid NOT NULL, grantee oid NOT NULL, \
         grantee_name text NOT NULL, space oid NOT NULL, schema_name text NOT NULL, rel oid, tab \
         text, attnum smallint, col text);\nALTER TABLE {table} REPLICA IDENTITY FULL;"
    )
}

/// Records what is granted, in one transaction with it. `home` is the table itself: where it is
/// another one, this was restored from a dump, and the names count instead of the ids.
fn record(
    parties: &Parties,
    schemas: &[String],
    columns: &BTreeMap<(String, String), Vec<String>>,
) -> String {
    let table = format!("{}.{RECORD}", quoted(&parties.schema));
    let mut wanted: Vec<String> =
        schemas.iter().map(|schema| format!("({}, NULL, NULL)", literal(schema))).collect();
    for ((schema, name), columns) in columns {
        let (schema, name) = (literal(schema), literal(name));
        wanted.extend(columns.iter().map(|of| format!("({schema}, {name}, {})", literal(of))));
    }
    format!(
        "{}\n{}\nINSERT INTO {table} SELECT \
         {home}::pg_catalog.regclass, r.oid, r.rolname, n.oid, n.nspname, c.oid, c.relname, \
         a.attnum, a.attname FROM (VALUES {wanted}) AS wanted (schema_name, tab, col) JOIN \
         pg_catalog.pg_namespace n ON n.nspname = wanted.schema_name::text JOIN \
         pg_catalog.pg_roles r ON r.rolname = {role} LEFT JOIN pg_catalog.pg_class c ON \
         c.relnamespace = n.oid AND c.relname = wanted.tab::text LEFT JOIN \
         pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = wanted.col::text;{}",
        as_role(parties),
        table_of(parties),
        as_user(),
        home = literal(&table),
        role = literal(&parties.role),
        wanted = wanted.join(", "),
    )
}
