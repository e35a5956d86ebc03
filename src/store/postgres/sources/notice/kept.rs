//! What keeps the role that served from being dropped, beside the rights that are listed as
//! statements: the server refuses `DROP ROLE` while anything depends on the role.

use sqlx::PgConnection;

use crate::store::Result;

/// Default privileges that name the role, as statements that take them back. Those in the schema of
/// the service go with it.
const DEFAULTS: &str = "
    SELECT DISTINCT pg_catalog.concat_ws(' '::text, 'ALTER DEFAULT PRIVILEGES FOR ROLE'::text,
               quote_ident(pg_get_userbyid(d.defaclrole)::text),
               CASE WHEN d.defaclnamespace <> 0::oid
                    THEN pg_catalog.concat('IN SCHEMA '::text, d.defaclnamespace::regnamespace) END,
               'REVOKE'::text, a.privilege_type, 'ON'::text,
               CASE d.defaclobjtype WHEN 'r'::\"char\" THEN 'TABLES' WHEN 'S'::\"char\" THEN \
                        'SEQUENCES' WHEN 'f'::\"char\" THEN 'FUNCTIONS' WHEN 'T'::\"char\" THEN \
                        'TYPES' ELSE 'SCHEMAS' END,
               'FROM'::text, CASE a.grantee WHEN 0::oid THEN 'PUBLIC' ELSE quote_ident(
                    pg_get_userbyid(a.grantee)::text) END)
    FROM pg_default_acl d, aclexplode(d.defaclacl) AS a, pg_roles r
    WHERE r.rolname = $2::text::name
      AND (a.grantee = r.oid OR (d.defaclrole = r.oid AND a.grantee <> r.oid))
      AND d.defaclnamespace::regnamespace::text <> quote_ident($1::text)
    ORDER BY 1";

/// Anything else that depends on it: what it owns outside of the schema of the service, rights to
/// other kinds of objects, policies, and other databases.
const OBJECTS: &str = "
    SELECT DISTINCT CASE WHEN d.dbid <> 0::oid AND d.dbid <> here.oid
                         THEN pg_catalog.concat('objects in the database '::text, other.datname)
                         ELSE pg_describe_object(d.classid, d.objid, 0) END
    FROM pg_shdepend d
    JOIN pg_roles r ON r.rolname = $2::text::name
    JOIN pg_database here ON here.datname = current_database()
    LEFT JOIN pg_database other ON other.oid = d.dbid
    WHERE d.refclassid = 'pg_authid'::regclass::oid AND d.refobjid = r.oid
      AND d.classid <> 'pg_default_acl'::regclass::oid
      AND (d.dbid <> here.oid OR NOT (
          d.deptype = 'a'::\"char\" AND d.classid = ANY (ARRAY['pg_class'::regclass::oid,
                    'pg_namespace'::regclass::oid])
          OR EXISTS (SELECT 1 FROM pg_namespace n WHERE n.nspname = $1::text::name AND n.oid =
                CASE d.classid WHEN 'pg_namespace'::regclass::oid THEN d.objid
                     WHEN 'pg_class'::regclass::oid
                         THEN (SELECT relnamespace FROM pg_class WHERE oid = d.objid)
                     WHEN 'pg_proc'::regclass::oid
                         THEN (SELECT pronamespace FROM pg_proc WHERE oid = d.objid)
                     WHEN 'pg_type'::regclass::oid
                         THEN (SELECT typnamespace FROM pg_type WHERE oid = d.objid) END)))
    ORDER BY 1";

/// The most objects that are listed.
const LISTED: usize = 10;

/// What keeps the role.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Statements that take default privileges back.
    pub defaults: Vec<String>,
    /// Other objects, in words.
    pub objects: Vec<String>,
}

/// Looks it up.
pub(super) async fn by(connection: &mut PgConnection, schema: &str, role: &str) -> Result<Kept> {
    let defaults =
        sqlx::query_scalar(DEFAULTS).bind(schema).bind(role).fetch_all(&mut *connection).await?;
    let mut objects: Vec<String> =
        sqlx::query_scalar(OBJECTS).bind(schema).bind(role).fetch_all(connection).await?;
    let more = objects.len().saturating_sub(LISTED);
    objects.truncate(LISTED);
    if more > 0 {
        objects.push(format!("{more} more"));
    }
    Ok(Kept { defaults, objects })
}
