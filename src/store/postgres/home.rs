//! The schema that our tables are in. It is found once, by whatever `search_path` the service's
//! role is given; from then on each session looks there and in the server's own catalogue, and
//! nowhere else: not in a schema named like the role (`"$user"`), which whoever may CREATE in the
//! database can make, and in temporary tables last.
//!
//! Others may be able to create objects in that very schema: up to Postgres 14 everybody could, in
//! `public`, and a cluster that was upgraded keeps that. An operator or a function of theirs is
//! called where it fits a statement's types better than the server's own. So every statement fits
//! the server's own exactly (`tests/api/outside_writers/strangers.rs` plants what would fit
//! better), and nobody gains anything by theirs. What is left are triggers of other programs on our
//! tables, which look where our sessions do. A start that refused would stop installations that
//! share the schema with programs that make their tables there, for a danger that the service
//! itself does not have; so it warns, and names who it is and the REVOKE. Readiness does not show
//! it: it would be degraded for ever.

use std::sync::OnceLock;

use sqlx::PgConnection;

use super::session;

/// ExistingTables by the first session, for all.
#[derive(Debug, Default)]
pub(crate) struct Home(OnceLock<String>);

/// Of the schemas that the session's own path names, the one with our tables; the first of all
/// where none has them yet. Among several, one whose tables belong to somebody who has our rights
/// anyway: others may make tables of the same names in a schema that comes first. Nothing here is
/// looked up by that path.
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

/// Who may create objects in the schema, and has not the rights of the tables' owner, of the
/// service's role or of the database's owner.
const STRANGERS: &str = "
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
    /// The value of `search_path` for each session. The server's catalogue comes first without
    /// being named; our tables are made in the first schema that is.
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

    /// Sets in a session that was just opened what start options cannot say; see
    /// [`session::settle`].
    pub async fn settle(&self, connection: &mut PgConnection) -> sqlx::Result<bool> {
        let path = self.path(connection).await?;
        session::settle(connection, &path).await
    }

    /// Says who else may create objects in our schema, and how that ends.
    pub async fn warn_of_strangers(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let Some(schema) = self.0.get() else { return Ok(()) };
        let strangers: Vec<String> =
            sqlx::query_scalar(STRANGERS).bind(schema).fetch_all(connection).await?;
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
