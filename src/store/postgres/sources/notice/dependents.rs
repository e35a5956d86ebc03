//! What `adopt remove` would take away from others: objects of theirs that need one of ours. The
//! server records each such need, of whatever kind: a view, a foreign key, a table that inherits, a
//! column of one of our types, a function whose body it has parsed.

use sqlx::{AssertSqlSafe, PgConnection};

use crate::store::{Result, postgres::migrate};

/// What is ours in the schema `$1`, as pairs of catalogue and `oid`: relations, functions and
/// domains by their names, with all that is a part of them.
const OURS: &str = "
    WITH rel AS (
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1::text::name AND c.relname::text = ANY ($2::text[])
          AND c.relkind::text = ANY (ARRAY['r', 'v', 'p']::text[])
    ), fn AS (
        SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = $1::text::name AND (p.proname::text = ANY ($3::text[])
          OR starts_with(p.proname::text, 'notice_'::text))
    ), dom AS (
        SELECT t.oid FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname = $1::text::name AND t.typtype = 'd'::\"char\"
          AND t.typname::text = ANY ($2::text[])
    ), typ AS (
        SELECT oid FROM dom UNION SELECT t.oid FROM pg_type t JOIN rel ON t.typrelid = rel.oid
    ), part AS (
        SELECT 'pg_class'::regclass::oid AS cat, oid FROM rel
        UNION SELECT 'pg_proc'::regclass::oid, oid FROM fn
        UNION SELECT 'pg_type'::regclass::oid, oid FROM typ
        UNION SELECT 'pg_type'::regclass::oid, t.oid FROM pg_type t JOIN typ ON t.typelem = typ.oid
              AND t.typarray = 0::oid
        UNION SELECT 'pg_class'::regclass::oid, i.indexrelid FROM pg_index i JOIN rel
              ON i.indrelid = rel.oid
        UNION SELECT 'pg_class'::regclass::oid, d.objid FROM pg_depend d JOIN rel
              ON d.refclassid = 'pg_class'::regclass::oid AND d.refobjid = rel.oid
              JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'::\"char\"
              WHERE d.classid = 'pg_class'::regclass::oid
                AND d.deptype::text = ANY (ARRAY['a', 'i']::text[])
        UNION SELECT 'pg_constraint'::regclass::oid, k.oid FROM pg_constraint k
              WHERE k.conrelid IN (SELECT oid FROM rel) OR k.contypid IN (SELECT oid FROM dom)
        UNION SELECT 'pg_attrdef'::regclass::oid, a.oid FROM pg_attrdef a JOIN rel
              ON a.adrelid = rel.oid
        UNION SELECT 'pg_rewrite'::regclass::oid, r.oid FROM pg_rewrite r JOIN rel
              ON r.ev_class = rel.oid
        UNION SELECT 'pg_trigger'::regclass::oid, t.oid FROM pg_trigger t
              WHERE t.tgrelid IN (SELECT oid FROM rel) OR t.tgfoid IN (SELECT oid FROM fn)
        UNION SELECT 'pg_policy'::regclass::oid, p.oid FROM pg_policy p JOIN rel
              ON p.polrelid = rel.oid
        UNION SELECT 'pg_statistic_ext'::regclass::oid, s.oid FROM pg_statistic_ext s JOIN rel
              ON s.stxrelid = rel.oid
        UNION SELECT 'pg_publication_rel'::regclass::oid, p.oid FROM pg_publication_rel p JOIN rel
              ON p.prrelid = rel.oid
    )";

/// Objects that need a part of ours. Of a rule its view is named, and of the triggers of a foreign
/// key that key.
const DEPENDENTS: &str = "
    SELECT DISTINCT CASE
        WHEN d.classid = 'pg_rewrite'::regclass::oid
        THEN pg_describe_object('pg_class'::regclass::oid, (SELECT r.ev_class FROM pg_rewrite r
                                WHERE r.oid = d.objid), 0)
        ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END
    FROM pg_depend d JOIN part ON part.cat = d.refclassid AND part.oid = d.refobjid
    WHERE NOT EXISTS (SELECT 1 FROM part own WHERE own.cat = d.classid AND own.oid = d.objid)
      AND NOT (d.classid = 'pg_trigger'::regclass::oid AND EXISTS (SELECT 1 FROM pg_trigger t
               WHERE t.oid = d.objid AND t.tgisinternal))
      AND NOT (d.classid = 'pg_class'::regclass::oid AND EXISTS (SELECT 1 FROM pg_class c
               WHERE c.oid = d.objid AND c.relkind::text = ANY (ARRAY['t', 'i', 'I']::text[])
                 AND d.deptype = 'i'::\"char\"))
    ORDER BY 1";

/// Objects in the schema that are not ours, of whatever kind.
const OTHERS: &str = "
    SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0)
    FROM pg_depend d JOIN pg_namespace n ON n.oid = d.refobjid
    WHERE d.refclassid = 'pg_namespace'::regclass::oid AND n.nspname = $1::text::name
      AND d.deptype = 'n'::\"char\"
      AND NOT EXISTS (SELECT 1 FROM part WHERE part.cat = d.classid AND part.oid = d.objid)
    ORDER BY 1";

/// The objects of others that need one of ours in this schema, as the server describes them.
pub(super) async fn dependents(connection: &mut PgConnection, schema: &str) -> Result<Vec<String>> {
    look(connection, schema, format!("{OURS}{DEPENDENTS}")).await
}

/// The objects in this schema that are not ours, as the server describes them.
pub(super) async fn others(connection: &mut PgConnection, schema: &str) -> Result<Vec<String>> {
    look(connection, schema, format!("{OURS}{OTHERS}")).await
}

async fn look(
    connection: &mut PgConnection,
    schema: &str,
    statement: String,
) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(AssertSqlSafe(statement))
        .bind(schema)
        .bind(migrate::created_tables())
        .bind(migrate::created_functions())
        .fetch_all(connection)
        .await?)
}
