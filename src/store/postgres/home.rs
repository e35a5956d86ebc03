//! The schema that holds our tables. It is found once, by the `search_path` that the service's role
//! has. After that, each session uses only this schema, the server's own catalogue, and, last,
//! temporary tables. A schema named like the role (`"$user"`) is not used, because everyone with
//! the CREATE right on the database can make it.
//!
//! Other roles may be able to create objects in our schema: up to Postgres 14 every role could do
//! that in `public`, and an upgraded cluster keeps this right. The server calls another role's
//! operator or function when it fits a statement's types better than the server's own. So every
//! statement fits the server's own operators and functions exactly, and another role gains nothing
//! (`tests/api/outside_writers/strangers.rs` creates functions that would fit better). What remains
//! are triggers of other programs on our tables; they use the search path of our sessions.
//!
//! The service does not refuse such a schema. That would stop installations that share the schema
//! with programs that make their tables there, although the service itself is not in danger. It
//! logs a warning with the roles and the REVOKE. Readiness does not show it, because it would be
//! degraded for ever.

use std::sync::OnceLock;

use sqlx::PgConnection;

use super::session;

/// Found by the first session, for all sessions.
#[derive(Debug, Default)]
pub(crate) struct Home(OnceLock<String>);

/// Finds our schema among those that the session's own path names: the one with our tables, or the
/// first when none has them yet. When several have such tables, a schema where they belong to a
/// role with our rights comes first, because other roles may create tables of the same names in a
/// schema that is earlier in the path. This statement looks nothing up by that path.
const FIND: &str = "
    SELECT place.name::pg_catalog.text
    FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS place (name, nth)
    LEFT JOIN pg_catalog.pg_namespace space ON space.nspname OPERATOR(pg_catalog.=) place.name
    LEFT JOIN pg_catalog.pg_class record
        ON record.relnamespace OPERATOR(pg_catalog.=) space.oid AND record.relname \
                    OPERATOR(pg_catalog.=) '_sqlx_migrations'::pg_catalog.name
    LEFT JOIN pg_catalog.pg_class facilities
        ON facilities.relnamespace OPERATOR(pg_catalog.=) space.oid AND facilities.relname \
                    OPERATOR(pg_catalog.=) 'facilities'::pg_catalog.name
    LEFT JOIN pg_catalog.pg_roles owner ON owner.oid OPERATOR(pg_catalog.=) facilities.relowner
    CROSS JOIN (SELECT rolname, rolsuper FROM pg_catalog.pg_roles WHERE rolname \
                    OPERATOR(pg_catalog.=) current_user) AS me
    WHERE NOT pg_catalog.starts_with(place.name::pg_catalog.text, 'pg_'::pg_catalog.text)
    ORDER BY (record.oid IS NULL OR facilities.oid IS NULL),
             NOT (owner.rolsuper OR owner.rolname OPERATOR(pg_catalog.=) me.rolname
                  OR (NOT me.rolsuper AND pg_catalog.pg_has_role(owner.oid, \
                    'USAGE'::pg_catalog.text))) NULLS LAST,
             place.nth
    LIMIT 1";

/// The roles that may create objects in the schema and do not have the rights of the tables' owner,
/// of the service's role or of the database's owner.
const OTHER_CREATORS: &str = "
    SELECT CASE WHEN grantee = 0::oid THEN 'PUBLIC' ELSE grantee::regrole::text END
    FROM pg_namespace space, aclexplode(coalesce(space.nspacl, acldefault('n'::\"char\", \
                         space.nspowner)))
    WHERE space.nspname = $1::text::name AND privilege_type = 'CREATE'
      AND (grantee = 0::oid OR NOT EXISTS (
          SELECT 1 FROM (SELECT relowner FROM pg_class WHERE relnamespace = space.oid AND relname \
                         = 'facilities'
                         UNION ALL SELECT oid FROM pg_roles WHERE rolname = current_user
                         UNION ALL SELECT datdba FROM pg_database WHERE datname = \
                         current_database()) AS ours (role)
          WHERE pg_catalog.pg_has_role(grantee, ours.role, 'USAGE'::text)))
      AND NOT EXISTS (SELECT 1 FROM pg_roles WHERE oid = grantee AND rolname = 'pg_database_owner')
    ORDER BY 1";

impl Home {
    /// The value of `search_path` for each session. The server searches its catalogue first without
    /// being told. Our tables are created in the first schema that the path names.
    pub async fn path(&self, connection: &mut PgConnection) -> sqlx::Result<String> {
        let name = match self.0.get() {
            Some(name) => name.clone(),
            None => {
                let found: Option<String> =
                    sqlx::query_scalar(FIND).fetch_optional(connection).await?;
                let found = found.ok_or_else(|| sqlx::Error::Configuration(NOWHERE.into()))?;
                self.0.get_or_init(|| found).clone()
            }
        };
        Ok(format!("\"{}\", pg_temp", name.replace('"', "\"\"")))
    }

    /// Applies to a newly opened session what start options cannot set; see [`session::settle`].
    pub async fn settle(&self, connection: &mut PgConnection) -> sqlx::Result<bool> {
        let path = self.path(connection).await?;
        session::settle(connection, &path).await
    }

    /// Logs the other roles that may create objects in our schema, and the statement that ends it.
    pub async fn warn_of_other_creators(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let Some(schema) = self.0.get() else { return Ok(()) };
        let strangers: Vec<String> =
            sqlx::query_scalar(OTHER_CREATORS).bind(schema).fetch_all(connection).await?;
        if !strangers.is_empty() {
            let roles = strangers.join(", ");
            tracing::warn!(
                schema,
                roles,
                remedy = format!("REVOKE CREATE ON SCHEMA \"{schema}\" FROM {roles}"),
                "others than the owner of the tables may create objects in their schema, which is \
                 taken for as safe as its owner: revoke that, or give the service a schema of its \
                 own"
            );
        }
        Ok(())
    }
}

const NOWHERE: &str = "none of the schemas that search_path names for this role exists and may be \
                       used: create one, or name another in database.url with \
                       ?options=-csearch_path%3DNAME";
