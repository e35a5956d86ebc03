//! What a session must be for the statements to mean what they say. A server, a database and a role
//! may each set every setting to another default (`ALTER ROLE … SET`, `ALTER DATABASE … SET`,
//! `postgresql.conf`), so nothing that decides anything is left to them:
//!
//! | setting | what another value would do | what is done |
//! |---|---|---|
//! | `default_transaction_isolation` | a statement behind a lock would not see what was committed while it waited | set, and said by each BEGIN |
//! | `default_transaction_read_only` | nothing could be written | set, and said by each BEGIN |
//! | `default_transaction_deferrable` | a transaction could wait for others before its snapshot | set |
//! | `session_replication_role` | `replica`: no trigger and no foreign key works for what we write | refused: only a superuser may set it |
//! | `synchronous_commit` | below `on`: what was acknowledged could be lost with the server | raised to `on`; `remote_apply` stays |
//! | `facility_summary.refreshes` | the number of a transaction: our triggers leave no marks of it | set; our own transactions set it for themselves |
//! | `row_security` | `on`: a policy would hide source rows from the sums, unnoticed | set: a hidden row is an error; looked at when the service starts |
//! | `lock_timeout`, `transaction_timeout` (17) | statements end before the time that they were given | set; each BEGIN sets its own lock time-out |
//! | `statement_timeout`, `idle_in_transaction_session_timeout` | the same, or none at all | set, from the settings `database.*_timeout_ms` |
//! | `idle_session_timeout` | the server closes what is kept open, with the lock that says who serves | set |
//! | `IntervalStyle`, `DateStyle`, `TimeZone`, `client_encoding` | dates and texts in another form | set; the last three by the driver, in its first message |
//! | `standard_conforming_strings` | `off`: a backslash in a literal means something | set |
//! | `plan_cache_mode`, `jit` | slower, never another figure | set |
//! | `server_encoding` | names of facilities that cannot be stored, or read | looked at when the service starts |
//! | `search_path` | other tables; a stranger's operators and functions, with our rights | set, to the schema of our tables: `home.rs` finds it |
//! | `role` | other rights | left: whoever runs the service says with it whose they are |
//! | `enable_*`, `work_mem`, `*_cost` and others of the planner | slower, never another figure | left |
//! | `extra_float_digits`, `bytea_output`, `array_nulls`, `lc_messages` | the form of texts that no statement here sends or reads | left |
//! | `transform_null_equals` | `= NULL` would mean `IS NULL`; no statement has it | left |
//! | `client_min_messages`, `log_*`, `track_*`, `temp_*`, `default_table*` | nothing of what is answered | left |
//!
//! The start options that set them (but `search_path`) are those of every connection. A proxy may
//! drop them (PgBouncer does, with `ignore_startup_parameters = options`): each BEGIN says what
//! matters most again, and the start of the service warns.

use sqlx::{
    PgConnection, Row,
    postgres::{PgConnectOptions, PgRow},
};

/// How each transaction begins.
pub const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// Start options of every connection, as the server prints them.
const SETTINGS: [(&str, &str); 11] = [
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    ("facility_summary.refreshes", "off"),
    ("row_security", "off"),
    ("lock_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("IntervalStyle", "postgres"),
    ("standard_conforming_strings", "on"),
    // Statements of a millisecond gain nothing from compiling, and everything from planning once.
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];

/// The options of a connection, with what is the same for all of them. Later options of the same
/// name count.
pub fn options(options: PgConnectOptions) -> PgConnectOptions {
    options.options(SETTINGS)
}

/// What start options cannot say. Also where the value is right already: what a session was set to
/// outlasts a change of the server's own. The path is yet to be set, so that nothing here is looked
/// up by it. The parameter is its value.
const SETTLE: &str = "
    SELECT NOT pg_catalog.pg_is_in_recovery() AS is_primary,
           pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.=) \
                      'replica'::pg_catalog.text AS is_replica,
           pg_catalog.set_config('search_path', $1::pg_catalog.text, false),
           pg_catalog.set_config('synchronous_commit',
               CASE WHEN pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) \
                      'remote_apply'::pg_catalog.text
                    THEN 'remote_apply' ELSE 'on' END, false),
           CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4 \
                      OPERATOR(pg_catalog.>=) 170000
                THEN pg_catalog.set_config('transaction_timeout', '0', false) END";

/// The same as a statement by itself, for what has to be done in one round trip.
pub(super) fn settle_statement(path: &str) -> String {
    // Escaped so that it means the same whatever standard_conforming_strings is.
    SETTLE.replace("$1", &format!("E'{}'", path.replace('\\', "\\\\").replace('\'', "''")))
}

/// Sets the rest in a session that was just opened, and answers whether it is the primary's. One
/// round trip.
///
/// # Errors
/// `Configuration` where the role's triggers are switched off.
pub(super) async fn settle(connection: &mut PgConnection, path: &str) -> sqlx::Result<bool> {
    let row: PgRow = sqlx::query(SETTLE).bind(path).fetch_one(connection).await?;
    if row.try_get("is_replica")? {
        return Err(sqlx::Error::Configuration(TRIGGERS_ARE_OFF.into()));
    }
    row.try_get("is_primary")
}

const TRIGGERS_ARE_OFF: &str = "the server sets session_replication_role = replica for this role \
                                or database, which switches off the triggers and foreign keys \
                                that the figures rely on: ALTER ROLE … RESET \
                                session_replication_role, or ALTER DATABASE … RESET it";

/// The settings that are not what the start options said: something between the service and the
/// server has dropped these.
pub async fn dropped(connection: &mut PgConnection) -> sqlx::Result<Vec<&'static str>> {
    let names: Vec<String> = SETTINGS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let values: Vec<Option<String>> = sqlx::query_scalar(
        "SELECT current_setting(name, true) FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS \
         s (name, nth) ORDER BY nth",
    )
    .bind(names)
    .fetch_all(connection)
    .await?;
    let pairs = SETTINGS.iter().zip(values);
    Ok(pairs
        .filter(|((_, want), have)| have.as_deref() != Some(*want))
        .map(|((name, _), _)| *name)
        .collect())
}
