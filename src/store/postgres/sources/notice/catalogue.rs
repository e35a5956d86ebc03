//! What the server's catalogue says of mapped tables.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{PgConnection, Row};

use super::parsed::TableName;
use crate::store::{Result, postgres::json};

/// A table as far as noticing needs it.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    /// `relkind`; empty where there is no such table.
    pub kind: String,
    /// Whether it, or a part of it, is emptied by a crash of the server.
    pub is_unlogged: bool,
    /// A part of it that is a foreign table.
    pub foreign_part: Option<String>,
    /// The type of each column, as SQL names it.
    pub types: BTreeMap<String, String>,
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
                    format_type(a.atttypid, a.atttypmod)), '{}'::jsonb)
              FROM pg_attribute a
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
                    "in {}.{}, since its part {part} is a foreign table: its rows are on another \
                     server",
                    name.schema, name.name
                ));
            }
            "" => "which does not exist",
            "v" => "which is a view: name the tables that it reads",
            "m" => "which is a materialized view: name the tables that it reads",
            "f" => "which is a foreign table: its rows are on another server",
            _ => "which is no table",
        };
        Some(format!("in {}.{}, {what}", name.schema, name.name))
    }
}
