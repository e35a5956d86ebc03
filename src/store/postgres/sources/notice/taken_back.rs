//! The rights that `adopt remove` takes back: those that `install` has granted and recorded, and
//! that are still there. What the owner gave the role on other occasions stays.

use sqlx::{AssertSqlSafe, PgConnection};

use super::{grants::RECORD, kept};
use crate::store::{
    Result,
    postgres::{
        home::quoted,
        sources::{figures::literal, plain::one_line},
    },
};

/// The rights of a role to objects of others.
pub(super) struct Rights {
    /// A statement that takes back each right that `install` gave.
    pub ours: Vec<String>,
    /// The other rights, and default privileges, as statements that would take them back.
    others: Vec<String>,
    /// Whether there is a record of what `install` gave.
    has_record: bool,
    /// What else keeps the role from being dropped, in words.
    objects: Vec<String>,
}

/// What is granted on schemas, tables and columns of others: the objects by their ids, the grantee,
/// the right, and the statement that would take it back.
const HELD: &str = "
    WITH held AS (
        SELECT n.oid AS space, NULL::oid AS rel, NULL::smallint AS attnum, a.grantee,
               a.privilege_type AS may, pg_catalog.concat_ws(' '::text, 'SCHEMA'::text, \
                    n.oid::regnamespace::text) AS object, NULL::text AS col, n.nspowner AS owner
        FROM pg_namespace n, aclexplode(n.nspacl) AS a
        UNION ALL
        SELECT c.relnamespace, c.oid, NULL, a.grantee, a.privilege_type,
               pg_catalog.concat(CASE WHEN c.relkind = 'S'::\"char\" THEN 'SEQUENCE ' END, \
                    c.oid::regclass::text), NULL, c.relowner
        FROM pg_class c, aclexplode(c.relacl) AS a
        UNION ALL
        SELECT c.relnamespace, c.oid, t.attnum, a.grantee, a.privilege_type, \
                    c.oid::regclass::text,
               pg_catalog.concat('('::text, quote_ident(t.attname::text), ')'::text), c.relowner
        FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid, aclexplode(t.attacl) AS a
        WHERE NOT t.attisdropped
    ), revoke AS (
        SELECT held.*, pg_catalog.concat_ws(' '::text, 'REVOKE'::text, may, col, 'ON'::text, \
                    object, 'FROM'::text, quote_ident(r.rolname::text)) AS statement
        FROM held JOIN pg_roles r ON r.oid = held.grantee
        JOIN pg_namespace n ON n.oid = held.space
        WHERE held.grantee <> held.owner AND n.nspname::text <> $1::text
    )";

/// Those of them that the record has.
const OURS: &str = "
    SELECT DISTINCT statement FROM revoke WHERE EXISTS (
        SELECT 1 FROM {record} AS ours
        LEFT JOIN pg_namespace n ON n.nspname = ours.schema_name::name
        LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = ours.tab::name
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = ours.col::name
        LEFT JOIN pg_roles r ON r.rolname = ours.grantee_name::name
        WHERE CASE WHEN ours.home = {home}::regclass::oid
                   THEN revoke.grantee = ours.grantee
                        AND CASE WHEN ours.rel IS NULL
                                 THEN revoke.rel IS NULL AND revoke.space = ours.space
                                 ELSE revoke.rel = ours.rel AND revoke.attnum = ours.attnum END
                   ELSE revoke.grantee = r.oid
                        AND CASE WHEN ours.rel IS NULL
                                 THEN revoke.rel IS NULL AND revoke.space = n.oid
                                 ELSE revoke.rel = c.oid AND revoke.attnum = a.attnum END END
          AND revoke.may = CASE WHEN ours.rel IS NULL THEN 'USAGE'::text ELSE 'SELECT'::text END)
    ORDER BY 1";

/// Looks the rights of the role that serves up, and those of a role that served before.
pub(super) async fn rights(
    connection: &mut PgConnection,
    schema: &str,
    role: &str,
) -> Result<Rights> {
    let record = format!("{}.{RECORD}", quoted(schema));
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass($1::text) IS NOT NULL")
        .bind(&record)
        .fetch_one(&mut *connection)
        .await?;
    let mut ours: Vec<String> = Vec::new();
    if is_there {
        let home = literal(&record);
        let look = OURS.replace("{record}", &record).replace("{home}", &home);
        ours = sqlx::query_scalar(AssertSqlSafe(format!("{HELD}{look}")))
            .bind(schema)
            .fetch_all(&mut *connection)
            .await?;
    }
    let all = "SELECT DISTINCT statement FROM revoke WHERE grantee = (SELECT oid FROM pg_roles \
               WHERE rolname = $2::text::name) ORDER BY 1";
    let mut others: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("{HELD}{all}")))
        .bind(schema)
        .bind(role)
        .fetch_all(&mut *connection)
        .await?;
    others.retain(|statement| !ours.contains(statement));
    let kept = kept::by(connection, schema, role).await?;
    others.extend(kept.defaults);
    Ok(Rights { ours, others, has_record: is_there, objects: kept.objects })
}

impl Rights {
    /// What is left of the role, in words. It was there before `install`, which makes no role.
    /// `was_installed`: whether `install` has run, and so has perhaps given rights.
    pub fn of_role(&self, role: &str, was_installed: bool) -> String {
        let Rights { others, objects, has_record, .. } = self;
        let mut words = match (others.is_empty(), *has_record || !was_installed) {
            (true, _) if objects.is_empty() => format!(
                "the role {role}, which was not made by install; if nothing else needs it: DROP \
                 ROLE {}",
                quoted(role)
            ),
            (true, _) => format!("the role {role}, which was not made by install"),
            (false, true) => format!("the role {role}, with the rights that others gave it"),
            (false, false) => format!(
                "the role {role}, with its rights: nothing is recorded of which of them install \
                 gave, as earlier versions of install kept no record"
            ),
        };
        if !others.is_empty() {
            words += &format!("; to take these back, too: {}", one_line(&others.join("; ")));
        }
        if !objects.is_empty() {
            let objects = one_line(&objects.join(", "));
            words += &format!("; before it can be dropped, these have to let go of it: {objects}");
        }
        words
    }
}
