//! `adopt remove`: takes away all that the service has made. It is found in the server's catalogue,
//! so it does not matter what has another name or another schema now.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{
    dependents::{dependents, others},
    script::Step,
    taken_back,
};
use crate::{
    config::DatabaseSettings,
    store::{
        Result, StoreError,
        postgres::{
            advisory_locks::{Lock, class_of},
            connect,
            home::{Home, quoted},
            migrate,
            session::BEGIN,
        },
    },
};

/// What `adopt remove` has taken away.
#[derive(Debug)]
pub struct Removed {
    /// The steps, in words. Empty where nothing was there.
    pub removed: Vec<String>,
    /// What is left, in words.
    pub left: Vec<String>,
}

/// Triggers on tables of other schemas that call a function of ours: one in our schema, or one that
/// writes into it, wherever it is. `$2`: what stands in the text of such a function.
const TRIGGERS: &str = "
    SELECT pg_catalog.concat_ws(' '::text, 'DROP TRIGGER'::text, quote_ident(t.tgname::text),
                                'ON'::text, t.tgrelid::regclass::text)
    FROM pg_trigger t
    JOIN pg_proc p ON p.oid = t.tgfoid
    JOIN pg_namespace space ON space.oid = p.pronamespace
    JOIN pg_class c ON c.oid = t.tgrelid
    WHERE t.tgparentid = 0::oid AND NOT t.tgisinternal
      AND (space.nspname = $1::text::name AND c.relnamespace <> space.oid
               AND starts_with(p.proname::text, 'notice_'::text)
           OR starts_with(t.tgname::text, 'facility_summary_'::text)
              AND pg_catalog.strpos(p.prosrc, $2::text) > 0::integer)
    ORDER BY t.tgrelid, t.tgname";

/// Functions of these triggers that are in another schema now, with that schema.
const FUNCTIONS: &str = "
    SELECT pg_catalog.concat_ws(' '::text, 'DROP FUNCTION'::text, p.oid::regprocedure::text),
           space.nspname::text
    FROM pg_proc p JOIN pg_namespace space ON space.oid = p.pronamespace
    WHERE space.nspname <> $1::text::name AND p.prorettype = 'trigger'::regtype::oid
      AND pg_catalog.strpos(p.prosrc, $2::text) > 0::integer
      AND EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgfoid = p.oid
                     AND starts_with(t.tgname::text, 'facility_summary_'::text))
    ORDER BY 1";

/// Why nothing is removed.
const RUNS: &str = "a service runs on this database: stop every replica first; nothing was removed";

/// Takes everything away, or nothing.
///
/// # Errors
/// `NotDone`: a service runs, a table was locked for too long, a right is missing, or an object of
/// others needs one of ours.
pub async fn remove(settings: &DatabaseSettings) -> Result<Removed> {
    let (mut connection, schema) = open(settings).await?;
    let mut tx = connection.begin_with(BEGIN).await?;
    let is_alone: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1, $2)")
        .bind(class_of(&schema))
        .bind(Lock::Serves.id())
        .fetch_one(&mut *tx)
        .await?;
    if !is_alone {
        return Err(StoreError::NotDone(RUNS.into()));
    }
    let (steps, left) = steps(&mut tx, &schema).await?;
    for Step { comment, sql, .. } in &steps {
        sqlx::raw_sql(AssertSqlSafe(sql.clone()))
            .execute(&mut *tx)
            .await
            .map_err(|error| not_removed(comment, error))?;
    }
    tx.commit().await?;
    let removed = steps.into_iter().filter_map(|step| step.made).collect();
    Ok(Removed { removed, left })
}

/// What `remove` would run, for `psql`.
///
/// # Errors
/// As those of [`remove`].
pub async fn print(settings: &DatabaseSettings) -> Result<String> {
    let (mut connection, schema) = open(settings).await?;
    let (mut steps, left) = steps(&mut connection, &schema).await?;
    let refuse = format!(
        "DO $$ BEGIN IF NOT pg_catalog.pg_try_advisory_xact_lock({}, {}) THEN RAISE EXCEPTION \
         '{RUNS}'; END IF; END $$;",
        class_of(&schema),
        Lock::Serves.id()
    );
    steps.insert(0, Step::new("Nothing is removed while a service runs.", refuse));
    steps.extend(left.into_iter().map(|left| Step::new(format!("Left: {left}."), "")));
    Ok(super::printed(&steps))
}

async fn open(settings: &DatabaseSettings) -> Result<(PgConnection, String)> {
    let options = connect::options(settings, &settings.url)?;
    let mut connection = PgConnection::connect_with(&options).await?;
    let home = Home::new(settings);
    let schema = home.schema(&mut connection).await?;
    // So that the server writes each name with its schema.
    sqlx::query("SET search_path = pg_catalog, pg_temp").execute(&mut connection).await?;
    Ok((connection, schema))
}

async fn steps(connection: &mut PgConnection, schema: &str) -> Result<(Vec<Step>, Vec<String>)> {
    let dependents = dependents(&mut *connection, schema).await?;
    if !dependents.is_empty() {
        return Err(StoreError::NotDone(format!(
            "these objects of others need what is to be removed: {}; drop them, or change them so \
             that they need it no more (another type, NO INHERIT), and run this again; nothing was \
             removed",
            dependents.join("; ")
        )));
    }
    let (user, role): (String, Option<String>) = sqlx::query_as(
        "SELECT current_user::text, (SELECT r.rolname::text FROM pg_namespace n JOIN pg_roles r \
         ON r.oid = n.nspowner WHERE n.nspname = $1::text::name)",
    )
    .bind(schema)
    .fetch_one(&mut *connection)
    .await?;
    let mut steps = vec![Step::unsaid(
        "Waits for nobody's transaction longer than this.",
        "SET LOCAL lock_timeout = '2s';",
    )];
    let mut left = Vec::new();
    let text = format!("INTO {}.spare_marks", quoted(schema));
    let triggers: Vec<String> =
        sqlx::query_scalar(TRIGGERS).bind(schema).bind(&text).fetch_all(&mut *connection).await?;
    let moved: Vec<(String, String)> =
        sqlx::query_as(FUNCTIONS).bind(schema).bind(&text).fetch_all(&mut *connection).await?;
    add(&mut steps, "The triggers on mapped tables.", &triggers);
    let (functions, spaces): (Vec<String>, BTreeSet<String>) = moved.into_iter().unzip();
    add(&mut steps, "Their functions, which are in another schema now.", &functions);
    let Some(role) = role else {
        left.extend(spaces.iter().map(|space| {
            format!(
                "the schema {space}, in which those functions were: where it is the service's own \
                 under another name, run adopt remove with database.schema = {space:?}"
            )
        }));
        return Ok((steps, left));
    };
    let given = taken_back::rights(&mut *connection, schema, &role).await?;
    add(&mut steps, "The rights that were given to the role that serves.", &given.ours);
    if role != user && !role.starts_with("pg_") {
        left.push(given.of_role(&role, !triggers.is_empty()));
    }
    // Nothing is dropped with what depends on it: what came after this look is refused, too.
    let mut drop = migrate::drop_statements(&mut *connection, schema).await?;
    let others = others(&mut *connection, schema).await?;
    if others.is_empty() {
        drop.push(format!("DROP SCHEMA {}", quoted(schema)));
        add(&mut steps, &format!("The schema {schema}, with all that is in it."), &drop);
    } else {
        add(&mut steps, &format!("All that the service made in the schema {schema}."), &drop);
        let others = others.join("; ");
        left.push(format!("the schema {schema}, which has objects of others: {others}"));
    }
    Ok((steps, left))
}

fn add(steps: &mut Vec<Step>, comment: &str, statements: &[String]) {
    if !statements.is_empty() {
        steps.push(Step::new(comment, statements.join(";\n") + ";"));
    }
}

/// Why a step failed, and what to do.
fn not_removed(comment: &str, error: sqlx::Error) -> StoreError {
    let sqlx::Error::Database(error) = &error else { return error.into() };
    let what_to_do = match error.code().as_deref() {
        Some("55P03") => {
            "another transaction has held a lock on one of the tables for more than 2 seconds \
             (pg_stat_activity shows which): run this again when it has ended"
        }
        Some("42501") => {
            "this needs the rights of the owner of the mapped tables and of the role that serves, \
             or a superuser: name such a role in DATABASE_URL"
        }
        Some("2BP01") => "an object of others needs it: run this again, which names it",
        _ => "run this again when that is put right",
    };
    StoreError::NotDone(format!("{comment} {}; {what_to_do}; nothing was removed", error.message()))
}
