//! The rights that the role that serves needs, and lacks: to read the mapped columns.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection, FromRow, PgConnection};

use super::script::Step;
use crate::{
    config::sources::SourcesSettings,
    store::{
        Result,
        postgres::{
            home::quoted,
            session::BEGIN,
            sources::{lists, mapping::does_not_fit},
        },
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
}

/// The columns on which the view depends, without those that the role `$2` may read.
const MISSING: &str = "
    SELECT DISTINCT space.nspname::text AS schema, c.relname::text AS name, \
                       a.attname::text AS column,
           has_schema_privilege($2::text::name, space.oid, 'USAGE'::text) AS may_use
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
    role: &str,
) -> Result<Vec<Step>> {
    let mut missing: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let mut schemas: Vec<String> = Vec::new();
    for (name, select) in lists::selects(sources) {
        let mut tx = connection.begin_with(BEGIN).await?;
        let make = format!("CREATE TEMPORARY VIEW facility_summary_probe AS {select}");
        sqlx::raw_sql(AssertSqlSafe(make))
            .execute(&mut *tx)
            .await
            .map_err(|error| does_not_fit(&name, &error))?;
        let columns: Vec<Column> = sqlx::query_as(MISSING)
            .bind("pg_temp.facility_summary_probe")
            .bind(role)
            .fetch_all(&mut *tx)
            .await?;
        tx.rollback().await?;
        for Column { schema, name, column, may_use } in columns {
            if !may_use {
                schemas.push(schema.clone());
            }
            let columns = missing.entry((schema, name)).or_default();
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
    }
    schemas.sort_unstable();
    schemas.dedup();
    let role = quoted(role);
    let usage =
        schemas.iter().map(|schema| format!("GRANT USAGE ON SCHEMA {} TO {role};", quoted(schema)));
    let select = missing.iter().map(|((schema, name), columns)| {
        let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let (table, columns) = (format!("{}.{}", quoted(schema), quoted(name)), columns.join(", "));
        format!("GRANT SELECT ({columns}) ON {table} TO {role};")
    });
    let all: Vec<String> = usage.chain(select).collect();
    let step = Step::new(format!("The role {role} may read the mapped columns."), all.join("\n"));
    Ok(Some(step).filter(|_| !all.is_empty()).into_iter().collect())
}
