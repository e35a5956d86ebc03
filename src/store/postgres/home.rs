//! The schema that holds our tables: the one that `database.schema` names. Where that is not set,
//! it is the one that has our tables already, and else `facility_summary`. An installation of an
//! earlier release has them in a schema of its role's `search_path`, often `public`; it goes on
//! there, until `facility-summary migrate --to-schema` moves it.
//!
//! The schema is found once. After that, each session uses only this schema, the server's own
//! catalogue, and, last, temporary tables, whatever the role's `search_path` says. A schema named
//! like the role (`"$user"`) is not used, because everyone with the CREATE right on the database
//! can make it.
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

use std::{sync::OnceLock, time::Duration};

use sqlx::{Connection, PgConnection};

use super::{advisory_locks, connect, session};
use crate::{config::DatabaseSettings, store::Result};

/// The schema of an installation that names none.
pub(crate) const DEFAULT: &str = "facility_summary";

/// The schema of our tables. Without the setting, the first session finds it for all.
#[derive(Debug)]
pub(crate) struct Home(OnceLock<String>);

/// Finds the schema that has our tables: `$1`, or one that the session's own path names. When
/// several have such tables, a schema where they belong to a role with our rights comes first,
/// because other roles may create tables of the same names in a schema that is earlier in the path.
/// This statement looks nothing up by that path.
const FIND: &str = "
    SELECT place.name
    FROM (SELECT $1::pg_catalog.text AS name, 0::pg_catalog.int8 AS nth UNION ALL
          SELECT name::pg_catalog.text, nth FROM \
                    pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS p \
                    (name, nth)) AS place
    JOIN pg_catalog.pg_namespace space ON space.nspname OPERATOR(pg_catalog.=) \
                    place.name::pg_catalog.name
    JOIN pg_catalog.pg_class record
        ON record.relnamespace OPERATOR(pg_catalog.=) space.oid AND record.relname \
                    OPERATOR(pg_catalog.=) '_sqlx_migrations'::pg_catalog.name
    JOIN pg_catalog.pg_class marks
        ON marks.relnamespace OPERATOR(pg_catalog.=) space.oid AND marks.relname \
                    OPERATOR(pg_catalog.=) 'summary_marks'::pg_catalog.name
    LEFT JOIN pg_catalog.pg_roles owner ON owner.oid OPERATOR(pg_catalog.=) marks.relowner
    CROSS JOIN (SELECT rolname, rolsuper FROM pg_catalog.pg_roles WHERE rolname \
                    OPERATOR(pg_catalog.=) current_user) AS me
    WHERE NOT pg_catalog.starts_with(place.name, 'pg_'::pg_catalog.text)
    ORDER BY NOT (owner.rolsuper OR owner.rolname OPERATOR(pg_catalog.=) me.rolname
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
    /// The schema that the settings name, or the one that the first session finds.
    pub fn new(settings: &DatabaseSettings) -> Self {
        Home(settings.schema.clone().map(OnceLock::from).unwrap_or_default())
    }

    /// The name of the schema. It may not exist yet.
    pub async fn schema(&self, connection: &mut PgConnection) -> sqlx::Result<String> {
        if let Some(name) = self.0.get() {
            return Ok(name.clone());
        }
        let found: Option<String> =
            sqlx::query_scalar(FIND).bind(DEFAULT).fetch_optional(connection).await?;
        Ok(self.0.get_or_init(|| found.unwrap_or_else(|| DEFAULT.to_owned())).clone())
    }

    /// The `classid` of the advisory locks of this installation.
    pub async fn lock_class(&self, connection: &mut PgConnection) -> sqlx::Result<i32> {
        Ok(advisory_locks::class_of(&self.schema(connection).await?))
    }

    /// The value of `search_path` for each session. The server searches its catalogue first without
    /// being told.
    pub async fn path(&self, connection: &mut PgConnection) -> sqlx::Result<String> {
        Ok(format!("{}, pg_temp", quoted(&self.schema(connection).await?)))
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
                remedy = format!("REVOKE CREATE ON SCHEMA {} FROM {roles}", quoted(schema)),
                "others than the owner of the tables may create objects in their schema, which is \
                 taken for as safe as its owner: revoke that, or give the service a schema of its \
                 own"
            );
        }
        Ok(())
    }
}

/// Whether a schema has our tables: the one that `database.schema` names, or one that would be
/// found.
pub(in crate::store) async fn has_tables(settings: &DatabaseSettings) -> Result<bool> {
    let options = connect::options(settings, &settings.url)?;
    let limit = Duration::from_millis(settings.acquire_timeout_ms);
    let looking = async {
        let mut connection = PgConnection::connect_with(&options).await?;
        let found: bool = match &settings.schema {
            Some(name) => {
                let look = sqlx::query_scalar(HAS_TABLES).bind(name);
                look.fetch_one(&mut connection).await?
            }
            None => {
                let look = sqlx::query_scalar::<_, String>(FIND).bind(DEFAULT);
                look.fetch_optional(&mut connection).await?.is_some()
            }
        };
        connection.close().await?;
        Ok::<bool, sqlx::Error>(found)
    };
    let looked = tokio::time::timeout(limit, looking).await;
    Ok(looked.unwrap_or(Err(sqlx::Error::PoolTimedOut))?)
}

const HAS_TABLES: &str = "
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_namespace space
        JOIN pg_catalog.pg_class marks ON marks.relnamespace OPERATOR(pg_catalog.=) space.oid
        WHERE space.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text::pg_catalog.name
          AND marks.relname OPERATOR(pg_catalog.=) 'summary_marks'::pg_catalog.name)";

/// The name as an identifier in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
