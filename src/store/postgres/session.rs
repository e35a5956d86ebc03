//! What a session must be set to, so that the statements mean what they say. A server, a database
//! and a role may each give any setting another default (`ALTER ROLE … SET`, `ALTER DATABASE …
//! SET`, `postgresql.conf`). So no setting that decides anything keeps its default. The list says
//! what another value would do, and what is done about it.
//!
//! Set here or in each BEGIN:
//!
//! - `default_transaction_isolation`: a statement that waited for a lock would not see what was
//!   committed while it waited. Set, and stated in each BEGIN.
//! - `default_transaction_read_only`: nothing could be written. Set, and stated in each BEGIN.
//! - `default_transaction_deferrable`: a transaction could wait for others before its snapshot.
//!   Set.
//! - `synchronous_commit`: below `on`, an acknowledged change could be lost with the server. Raised
//!   to `on`; `remote_apply` stays.
//! - `facility_summary.refreshes`: our triggers leave no marks of the transaction whose number it
//!   holds. Set to `off`; our own transactions set it for themselves.
//! - `row_security`: with `on`, a policy would hide source rows from the sums without an error.
//!   Set, so that a hidden row is an error; checked when the service starts.
//! - `lock_timeout`, `transaction_timeout` (17): statements would end before their time. Set; each
//!   BEGIN sets its own lock time-out. With a mapping, no statement waits for a lock for long
//!   ([`WAIT_LITTLE`]).
//! - `statement_timeout`, `idle_in_transaction_session_timeout`: statements would end early, or
//!   never. Set, from the settings `database.*_timeout_ms`.
//! - `idle_session_timeout`: the server would close connections that are kept open, and with one of
//!   them the lock that says who serves. Set.
//! - `IntervalStyle`, `DateStyle`, `TimeZone`, `client_encoding`: dates and texts would have
//!   another form. Set; the last three by the driver, in its first message.
//! - `standard_conforming_strings`: with `off`, a backslash in a literal would have a meaning. Set.
//! - `quote_all_identifiers`: the names of mapped tables, and the definitions of our triggers,
//!   would be other texts than those that are stored. Set.
//! - `extra_float_digits`, `bytea_output`, `xmlbinary`: a key of a facility, a name or a type of
//!   blood would be another text, if its column has such a type. Set; the first by the driver.
//! - `array_nulls`, `transform_null_equals`: `'{NULL}'` and `= NULL` in a mapping would mean
//!   something else. Set.
//! - `plan_cache_mode`, `jit`: statements would be slower; the figures would be the same. Set.
//! - `search_path`: other tables would be used, and other roles' operators and functions would run
//!   with our rights. Set to the schema of our tables, which `home.rs` finds.
//!
//! Checked when the service starts or a session is opened:
//!
//! - `session_replication_role`: with `replica`, no trigger and no foreign key works for what we
//!   write. Refused, because only a superuser may set it.
//! - `server_encoding`: some names of facilities could not be stored, or read.
//!
//! Left as they are:
//!
//! - `role`: other rights. The operator of the service chooses with it which rights the service
//!   has.
//! - `enable_*`, `work_mem`, `*_cost` and others of the planner: statements are slower; the figures
//!   are the same.
//! - `backslash_quote`: no literal here has a quote behind a backslash.
//! - `lc_messages`: the form of texts that no statement here compares.
//! - `client_min_messages`, `log_*`, `track_*`, `temp_*`, `default_table*`: they change nothing in
//!   an answer.
//!
//! Every connection has the start options that set these, except `search_path`. A proxy may drop
//! start options (PgBouncer does, with `ignore_startup_parameters = options`). So each BEGIN
//! repeats the most important settings, and the service logs a warning when it starts.

use sqlx::{
    PgConnection, Row,
    postgres::{PgConnectOptions, PgRow},
};

/// The statement that begins each transaction.
pub const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// Start options of every connection, spelled as the server prints them.
const SETTINGS: [(&str, &str); 16] = [
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    ("facility_summary.refreshes", "off"),
    ("row_security", "off"),
    ("lock_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("IntervalStyle", "postgres"),
    ("standard_conforming_strings", "on"),
    ("quote_all_identifiers", "off"),
    ("bytea_output", "hex"),
    ("xmlbinary", "base64"),
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
    // A statement takes about a millisecond. It gains nothing from compilation, and much from one
    // plan for all calls.
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];

/// Adds the options that all connections share. When an option occurs twice, the later one counts.
pub fn options(options: PgConnectOptions) -> PgConnectOptions {
    options.options(SETTINGS)
}

/// Sets what start options cannot set. A value that is already right is set, too: a value that a
/// session has set stays when the server's own value changes. The path is not set yet, so this
/// statement looks nothing up by it. The parameter is the path.
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

/// [`SETTLE`] as a statement with the path in its text, for use with others in one round trip.
pub(super) fn settle_statement(path: &str) -> String {
    // Escaped so that it means the same under any value of `standard_conforming_strings`.
    SETTLE.replace("$1", &format!("E'{}'", path.replace('\\', "\\\\").replace('\'', "''")))
}

/// Has a session wait for a lock for a part of the time after which the server looks whether a
/// statement that waits is in a deadlock (`deadlock_timeout`, a second by default), and for 0.4 s
/// at most. A statement of ours may hold a lock on one of the owner's tables while it waits for
/// another one, which the owner's transaction holds. Were it to wait for long, the server would
/// cancel the owner's next statement, which has begun to wait later.
pub(super) const WAIT_LITTLE: &str = "
    SELECT pg_catalog.set_config('lock_timeout', least(400::bigint, greatest(1::bigint,
        floor(extract(epoch FROM current_setting('deadlock_timeout')::interval) * 400.0)::bigint
    ))::text, false)";

/// The same bound for a transaction that derives figures: twice `deadlock_timeout`, in
/// milliseconds. It waits for its first locks on the owner's tables only. So, in a deadlock with a
/// statement of the owner, it is the one that is cancelled, or its wait has ended before the server
/// looks.
pub(super) const MOST_WAIT_MS: &str = "
    SELECT floor(extract(epoch FROM current_setting('deadlock_timeout')::interval)
                 * 2000.0)::bigint";

/// Applies [`SETTLE`] to a newly opened session. Returns whether the server is the primary. One
/// round trip.
///
/// # Errors
/// `Configuration` when triggers are switched off for the role.
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

/// The settings with another value than the start options gave: something between the service and
/// the server has dropped those options.
pub async fn dropped(connection: &mut PgConnection) -> sqlx::Result<Vec<&'static str>> {
    let names: Vec<String> = SETTINGS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let values: Vec<Option<String>> = sqlx::query_scalar(
        "SELECT current_setting(name, true) FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS \
         s (name, nth) ORDER BY nth",
    )
    .bind(names)
    .fetch_all(connection)
    .await?;
    // With a mapping, a session waits less long for locks.
    let pairs = SETTINGS.iter().zip(values).filter(|((name, _), _)| *name != "lock_timeout");
    Ok(pairs
        .filter(|((_, want), have)| have.as_deref() != Some(*want))
        .map(|((name, _), _)| *name)
        .collect())
}
