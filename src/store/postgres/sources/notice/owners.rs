//! What our triggers and our schema mean for those who own the mapped tables: they make partitions,
//! and back the database up.

use sqlx::PgConnection;

use super::{Plan, script::Parties};
use crate::store::{Result, postgres::home::quoted};

/// Owners of watched tables with partitions, who may not execute the function of our triggers: the
/// server copies these triggers to each new partition, and asks its maker for that right.
const MAY_NOT_PART: &str = "
    SELECT DISTINCT c.oid::regclass::text, quote_ident(owner.rolname::text)
    FROM mapped_trigger watched
    JOIN pg_class c ON c.oid = watched.rel
    JOIN pg_roles owner ON owner.oid = c.relowner
    JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = watched.name::name
    WHERE watched.event = 'row' AND c.relkind = 'p'::\"char\"
      AND NOT has_function_privilege(owner.oid, t.tgfoid, 'EXECUTE'::text)
    ORDER BY 1, 2";

/// Roles without the rights of the role `$1`, which own the database or a watched table, and so are
/// likely to dump it.
const MAY_NOT_DUMP: &str = "
    SELECT quote_ident(r.rolname::text)
    FROM pg_roles r
    WHERE NOT r.rolsuper
      AND (r.oid = (SELECT datdba FROM pg_database WHERE datname = current_database())
           OR EXISTS (
               SELECT 1 FROM unnest($2::text[], $3::text[]) AS named (schema_name, tab)
               JOIN pg_namespace n ON n.nspname = named.schema_name::name
               JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = named.tab::name
               WHERE c.relowner = r.oid))
      AND NOT pg_catalog.pg_has_role(r.rolname, $1::text::name, 'USAGE'::text)
      AND NOT pg_catalog.pg_has_role(r.rolname, 'pg_read_all_data'::name, 'USAGE'::text)
    ORDER BY 1";

/// The tables whose owners can make no partition because of our triggers, in words.
pub(in crate::store::postgres::sources) async fn may_not_part(
    connection: &mut PgConnection,
) -> Result<Vec<String>> {
    let found: Vec<(String, String)> = sqlx::query_as(MAY_NOT_PART).fetch_all(connection).await?;
    let words = |(table, owner): (String, String)| {
        format!(
            "{table} belongs to {owner}, who can make and attach no partition of it (\"permission \
             denied for function\"; facility-summary adopt install gives the right)"
        )
    };
    Ok(found.into_iter().map(words).collect())
}

/// The roles whose dumps of the database stop at our schema, in words.
pub(super) async fn may_not_dump(
    connection: &mut PgConnection,
    plan: &Plan,
    parties: &Parties,
) -> Result<Vec<String>> {
    let (schemas, tables): (Vec<&str>, Vec<&str>) =
        plan.watches.keys().map(|name| (&*name.schema, &*name.name)).unzip();
    let roles: Vec<String> = sqlx::query_scalar(MAY_NOT_DUMP)
        .bind(&parties.role)
        .bind(schemas)
        .bind(tables)
        .fetch_all(connection)
        .await?;
    let Parties { schema, role, .. } = parties;
    let role = quoted(role);
    let words = |owner: String| {
        format!(
            "pg_dump of this database by {owner} stops now with \"permission denied for schema \
             {schema}\": GRANT {role} TO {owner}; or let it leave the schema out \
             (--exclude-schema={schema}), and run adopt install after a restore"
        )
    };
    Ok(roles.into_iter().map(words).collect())
}
