//! What `adopt install` would disturb: another installation in the same database, and the
//! subscribers of publications.

use sqlx::PgConnection;

use super::{Plan, grants::RECORD, script::Parties};
use crate::store::{Result, StoreError};

/// Mapped tables, and parts of them, with triggers of another installation, and the schema of that
/// one. The name of a trigger depends on its table alone, so a table can have those of one
/// installation.
const TRIGGERS: &str = "
    WITH RECURSIVE part AS (
        SELECT c.oid AS rel FROM unnest($1::text[], $2::text[]) AS named (schema_name, tab)
        JOIN pg_namespace n ON n.nspname = named.schema_name::name
        JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = named.tab::name
        UNION
        SELECT below.inhrelid FROM part JOIN pg_inherits below ON below.inhparent = part.rel
    )
    SELECT DISTINCT part.rel::regclass::text, space.nspname::text
    FROM part JOIN pg_trigger t ON t.tgrelid = part.rel
    JOIN pg_proc p ON p.oid = t.tgfoid
    JOIN pg_namespace space ON space.oid = p.pronamespace
    WHERE starts_with(t.tgname::text, 'facility_summary_'::text)
      AND starts_with(p.proname::text, 'notice_'::text) AND space.nspname::text <> $3::text
    ORDER BY 1, 2";

/// Schemas of other installations in which the role serves.
const SERVES: &str = "
    SELECT n.nspname::text FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = $3::text::name
    WHERE r.rolname = $1::text::name AND n.nspname::text <> $2::text
    ORDER BY 1";

/// Refuses what would take the triggers or the rights of another installation over.
pub(super) async fn refuse_others(
    connection: &mut PgConnection,
    plan: &Plan,
    parties: &Parties,
) -> Result<()> {
    let Parties { schema, role, user } = parties;
    let (schemas, tables): (Vec<&str>, Vec<&str>) =
        plan.watches.keys().map(|name| (&*name.schema, &*name.name)).unzip();
    let watched: Option<(String, String)> = sqlx::query_as(TRIGGERS)
        .bind(schemas)
        .bind(tables)
        .bind(schema)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some((table, other)) = watched {
        return Err(StoreError::Mapping(format!(
            "{table} has the triggers of another installation, of the schema {other}, and a table \
             can have those of one: run adopt remove with database.schema = {other:?} first, or \
             serve without triggers here (notice = \"rebuild\"); nothing was made"
        )));
    }
    let served: Option<String> = sqlx::query_scalar(SERVES)
        .bind(role)
        .bind(schema)
        .bind(RECORD)
        .fetch_optional(connection)
        .await?;
    match served.filter(|_| role != user) {
        Some(other) => Err(StoreError::Mapping(format!(
            "the role {role} serves another installation, of the schema {other}: removal of one \
             would take rights of the other, so name a role of its own with --role; nothing was \
             made"
        ))),
        None => Ok(()),
    }
}

/// The publications that would publish our tables, in words that say what to do.
pub(in crate::store::postgres) async fn publications(
    connection: &mut PgConnection,
    schema: &str,
) -> sqlx::Result<Vec<String>> {
    let mut names: Vec<String> = sqlx::query_scalar(
        "SELECT quote_ident(pubname::text) FROM pg_publication WHERE puballtables ORDER BY 1",
    )
    .fetch_all(&mut *connection)
    .await?;
    // Postgres 14 knows no publications of schemas.
    let of_schemas: bool = sqlx::query_scalar(
        "SELECT to_regclass('pg_catalog.pg_publication_namespace'::text) IS NOT NULL",
    )
    .fetch_one(&mut *connection)
    .await?;
    if of_schemas {
        let more: Vec<String> = sqlx::query_scalar(
            "SELECT quote_ident(p.pubname::text) FROM pg_publication p JOIN \
             pg_publication_namespace of ON of.pnpubid = p.oid JOIN pg_namespace n ON n.oid = \
             of.pnnspid WHERE n.nspname = $1::text::name ORDER BY 1",
        )
        .bind(schema)
        .fetch_all(connection)
        .await?;
        names.extend(more);
    }
    let words = |name| {
        format!(
            "the publication {name} publishes all that is made in the schema {schema}, and a \
             subscriber that lacks these tables stops: make the schema and its tables there first, \
             too, and after each upgrade, or publish named tables or other schemas instead"
        )
    };
    Ok(names.into_iter().map(words).collect())
}
