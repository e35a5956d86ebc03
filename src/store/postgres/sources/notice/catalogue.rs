//! What the server's catalogue says of mapped tables.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, Row};

use super::{column_type::ColumnType, parsed::TableName};
use crate::store::{Result, postgres::json};

/// What is said of a table that is foreign, or has a part that is.
pub(super) const ELSEWHERE: &str = "its rows are on another server";

/// A table as far as noticing needs it.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    /// `relkind`; empty where there is no such table.
    pub kind: String,
    /// Whether it, or a part of it, is emptied by a crash of the server.
    pub is_unlogged: bool,
    /// A part of it that is a foreign table.
    pub foreign_part: Option<String>,
    /// The type of each column.
    pub types: BTreeMap<String, ColumnType>,
    /// The columns of each unique key that holds for all rows.
    pub keys: Vec<BTreeSet<String>>,
}

const LOOK: &str = "
    SELECT named.schema_name, named.tab, coalesce(c.relkind::text, ''::text) AS kind,
           (WITH RECURSIVE part AS (
                SELECT c.oid AS rel UNION SELECT below.inhrelid FROM part
                JOIN pg_inherits below ON below.inhparent = part.rel)
            SELECT coalesce(bool_or(p.relpersistence = 'u'::\"char\"), false) FROM part
            JOIN pg_class p ON p.oid = part.rel) AS is_unlogged,
           (WITH RECURSIVE part AS (
                SELECT below.inhrelid AS rel FROM pg_inherits below WHERE below.inhparent = c.oid
                UNION SELECT below.inhrelid FROM part
                JOIN pg_inherits below ON below.inhparent = part.rel)
            SELECT p.oid::regclass::text FROM part JOIN pg_class p ON p.oid = part.rel
            WHERE p.relkind = 'f'::\"char\" ORDER BY 1 LIMIT 1) AS foreign_part,
           (SELECT coalesce(pg_catalog.jsonb_object_agg(a.attname::text, \
                    pg_catalog.jsonb_build_object(
                'name', format_type(base.oid, -1), 'category', base.typcategory::text,
                'is_builtin', base.typnamespace = 'pg_catalog'::regnamespace::oid,
                'is_deterministic', coalesce(l.collisdeterministic, true),
                'collation', CASE WHEN a.attcollation <> base.typcollation THEN concat_ws('.', \
                    quote_ident(of.nspname::text), quote_ident(l.collname::text)) END)), \
                    '{}'::jsonb)
              FROM pg_attribute a
              CROSS JOIN LATERAL (
                  WITH RECURSIVE under AS (
                      SELECT t.oid, t.typbasetype FROM pg_type t WHERE t.oid = a.atttypid
                      UNION ALL
                      SELECT t.oid, t.typbasetype FROM under JOIN pg_type t
                          ON t.oid = under.typbasetype)
                  SELECT t.* FROM under JOIN pg_type t ON t.oid = under.oid
                   WHERE under.typbasetype = 0::oid) AS base
              LEFT JOIN pg_collation l ON l.oid = a.attcollation
              LEFT JOIN pg_namespace of ON of.oid = l.collnamespace
             WHERE a.attrelid = c.oid AND a.attnum > 0::smallint AND NOT a.attisdropped)::text AS \
                    types,
           (SELECT coalesce(pg_catalog.jsonb_agg((
                    SELECT pg_catalog.jsonb_agg(a.attname::text)
                    FROM pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, nth)
                    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
                    WHERE k.nth <= i.indnkeyatts::bigint)), '[]'::jsonb)
              FROM pg_index i
             WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
               AND i.indexprs IS NULL)::text AS keys
    FROM unnest($1::text[], $2::text[]) AS named (schema_name, tab)
    LEFT JOIN pg_namespace space ON space.nspname = named.schema_name::name
    LEFT JOIN pg_class c ON c.relnamespace = space.oid AND c.relname = named.tab::name";

/// Looks these tables up.
pub(super) async fn look_up(
    connection: &mut PgConnection,
    names: &BTreeSet<TableName>,
) -> Result<BTreeMap<TableName, Table>> {
    let (schemas, tables): (Vec<&str>, Vec<&str>) =
        names.iter().map(|name| (&*name.schema, &*name.name)).unzip();
    let rows = sqlx::query(LOOK).bind(schemas).bind(tables).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let name = TableName { schema: row.try_get("schema_name")?, name: row.try_get("tab")? };
            let keys = json(row, "keys")?;
            let (kind, is_unlogged) = (row.try_get("kind")?, row.try_get("is_unlogged")?);
            let foreign_part = row.try_get("foreign_part")?;
            let types = json(row, "types")?;
            Ok((name, Table { kind, is_unlogged, foreign_part, types, keys }))
        })
        .collect()
}

impl Table {
    /// Why triggers cannot watch it: words that end "triggers cannot notice what changes …".
    pub fn why_not(&self, name: &TableName) -> Option<String> {
        let what = match self.kind.as_str() {
            "r" | "p" => {
                let part = self.foreign_part.as_ref()?;
                return Some(format!(
                    "in {}.{}, since its part {part} is a foreign table: {ELSEWHERE}. Where the \
                     table has our triggers from before, statements that write to that part \
                     through it fail: detach the part, or run adopt remove",
                    name.schema, name.name
                ));
            }
            "" => "which does not exist",
            "v" => "which is a view: name the tables that it reads",
            "m" => "which is a materialized view: name the tables that it reads",
            "f" => &format!("which is a foreign table: {ELSEWHERE}"),
            _ => "which is no table",
        };
        Some(format!("in {}.{}, {what}", name.schema, name.name))
    }
}
