//! Servers, databases and roles with settings that would change what statements mean. None of these
//! settings has an effect.

use serde_json::Value;
use uuid::Uuid;

use crate::support::{
    Service,
    outside::Outside,
    postgres::fresh_database,
    service::Launch,
    site::{Site, a_zone_at_noon, acknowledged, audited, rebuild},
    wait_until,
};

/// What each session must have, and what the role and the database set instead.
const HOSTILE: [(&str, &str, &str); 20] = [
    ("default_transaction_isolation", "serializable", "read committed"),
    ("default_transaction_read_only", "on", "off"),
    ("default_transaction_deferrable", "on", "off"),
    ("synchronous_commit", "off", "on"),
    ("facility_summary.refreshes", "on", "off"),
    ("row_security", "on", "off"),
    ("lock_timeout", "1ms", "0"),
    ("statement_timeout", "1ms", "30s"),
    ("idle_in_transaction_session_timeout", "1ms", "2s"),
    ("idle_session_timeout", "1ms", "0"),
    ("standard_conforming_strings", "off", "on"),
    ("quote_all_identifiers", "on", "off"),
    ("extra_float_digits", "0", "2"),
    ("bytea_output", "escape", "hex"),
    ("xmlbinary", "hex", "base64"),
    ("array_nulls", "off", "on"),
    ("transform_null_equals", "on", "off"),
    ("\"DateStyle\"", "'German, DMY'", "ISO, MDY"),
    ("\"IntervalStyle\"", "sql_standard", "postgres"),
    ("\"TimeZone\"", "'Asia/Kathmandu'", "UTC"),
];

/// A database whose owner is a role of its own, and the superuser's connection to it.
pub async fn owned() -> (Launch, Outside, String) {
    let url = fresh_database().await;
    let database = url.rsplit('/').next().expect("a URL has a path").to_owned();
    let role = format!("owner_of_{database}");
    let mut sql = Outside::connect(&url).await;
    sql.run(format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'postgres'; ALTER DATABASE {database} OWNER TO {role}; \
         ALTER SCHEMA public OWNER TO {role}"
    ))
    .await;
    let launch = Service::on(url.replacen("postgres:postgres@", &format!("{role}:postgres@"), 1));
    (launch, sql, role)
}

/// Records the settings of each session that writes to these tables.
async fn watch(sql: &mut Outside, tables: &[&str]) {
    sql.run(
        "CREATE TABLE seen (place text, name text, value text); GRANT ALL ON seen TO public;
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO seen SELECT TG_TABLE_NAME, name, current_setting(name, true)
             FROM unnest(string_to_array(TG_ARGV[0], ' ')) AS name;
             INSERT INTO seen VALUES (TG_TABLE_NAME, 'transaction_isolation', \
         current_setting('transaction_isolation'));
             RETURN NULL;
         END $$",
    )
    .await;
    let names = HOSTILE.map(|(name, ..)| name.trim_matches('"')).join(" ");
    for table in tables {
        sql.run(format!(
            "CREATE TRIGGER see AFTER INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE \
             FUNCTION see('{names}')"
        ))
        .await;
    }
}

/// Asserts that no session wrote to the table with a wrong setting.
async fn was_right(sql: &mut Outside, place: &str) {
    for (name, _, right) in HOSTILE {
        let name = name.trim_matches('"');
        // The service's own transactions set these for themselves.
        let also = match name {
            "lock_timeout" => "OR value <> '1ms'",
            "facility_summary.refreshes" if place != "blood_inventory" => "OR value ~ '^[0-9]+$'",
            "statement_timeout" | "idle_in_transaction_session_timeout" => "OR value = '0'",
            _ => "",
        };
        let seen = format!("FROM seen WHERE place = '{place}' AND name = '{name}'");
        assert!(
            sql.number(format!("SELECT count(*) {seen}")).await > 0,
            "no session wrote to {place}"
        );
        let wrong =
            sql.number(format!("SELECT count(*) {seen} AND NOT (value = '{right}' {also})")).await;
        assert_eq!(wrong, 0, "{place}: {name} was not {right}");
    }
    let isolation = format!(
        "SELECT count(*) FROM seen WHERE place = '{place}' AND name = 'transaction_isolation' AND \
         value <> 'read committed'"
    );
    assert_eq!(sql.number(isolation).await, 0, "{place}");
}

async fn nothing_is_taken_for_granted(whose: impl Fn(&str, &str) -> String) {
    let (launch, mut sql, role) = owned().await;
    let database = launch.database_url().rsplit('/').next().expect("a URL has a path").to_owned();
    for (name, hostile, _) in HOSTILE {
        sql.run(
            format!("{} SET {name} = {hostile}", whose(&role, &database))
                .replace("= 1ms", "= '1ms'"),
        )
        .await;
    }
    let migrated = launch.run(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.output);
    watch(&mut sql, &["dashboard_daily_summary", "fleet", "job_runs", "blood_inventory"]).await;
    // With a standby for reads, so that the table's own watermark is stored.
    let service = launch.clone().env("DATABASE_READ_URL", launch.database_url()).start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    acknowledged(&service, &site.stock(Uuid::new_v4(), 4)).await;
    site.shows(&service, (4, 0, 0)).await;
    assert_eq!(rebuild(&service).await["state"], "done");
    wait_until("the watermark is stored", async || {
        sql.number("SELECT count(*) FROM seen WHERE place = 'fleet'").await > 0
    })
    .await;
    for place in ["dashboard_daily_summary", "fleet", "job_runs"] {
        was_right(&mut sql, place).await;
    }
    sql.run("DELETE FROM seen").await;
    // COPY by the command leaves its marks, and what it loads is noticed.
    let generated = launch.run(&["generate", "--facilities=3", "--days=2"]).await;
    assert_eq!(generated.code, Some(0), "{}", generated.output);
    was_right(&mut sql, "blood_inventory").await;
    wait_until("what was loaded is shown", async || {
        let ready: Value = service.get("/health/ready").await.json().await.expect("it is JSON");
        ready["facilities"] == 4 && sql.number("SELECT count(*) FROM summary_marks").await == 0
    })
    .await;
    audited(&launch).await;
}

#[tokio::test]
async fn no_setting_of_the_role_decides_anything() {
    nothing_is_taken_for_granted(|role, _| format!("ALTER ROLE {role}")).await;
}

#[tokio::test]
async fn no_setting_of_the_database_decides_anything() {
    nothing_is_taken_for_granted(|_, database| format!("ALTER DATABASE {database}")).await;
}

#[tokio::test]
async fn synchronous_commit_of_the_role_is_not_lowered() {
    let (launch, mut sql, role) = owned().await;
    sql.run(format!("ALTER ROLE {role} SET synchronous_commit = remote_apply")).await;
    launch.run(&["migrate"]).await;
    watch(&mut sql, &["dashboard_daily_summary"]).await;
    let service = launch.start().await;
    Site::register(&service, "UTC").await;
    let lowered =
        "SELECT count(*) FROM seen WHERE name = 'synchronous_commit' AND value <> 'remote_apply'";
    assert_eq!(sql.number(lowered).await, 0);
    assert!(sql.number("SELECT count(*) FROM seen").await > 0);
}

/// A refresh that has waited for a lock shows what was committed during the wait.
async fn a_refresh_sees_what_was_committed_while_it_waited(isolation: &str) {
    let (launch, mut sql, role) = owned().await;
    sql.run(format!("ALTER ROLE {role} SET default_transaction_isolation = '{isolation}'")).await;
    let service = launch.env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 60_000).start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let mut holder = Outside::connect(service.database_url()).await;
    holder
        .run(format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT 1 FROM facility_state WHERE facility_id \
             = '{}' FOR UPDATE",
            site.facility
        ))
        .await;
    let path = format!("/v1/facilities/{}/refresh", site.facility);
    let (answer, ()) = tokio::join!(service.post(&path, &Value::Null), async {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND \
                     wait_event_type = 'Lock' AND query LIKE '%facility_state%'";
        wait_until("the refresh waits", async || sql.number(waits).await > 0).await;
        sql.run(format!(
            "INSERT INTO blood_inventory (id, blood_bank_id, quantity) VALUES (gen_random_uuid(), \
             '{}', 7)",
            site.bank
        ))
        .await;
        holder.run("COMMIT").await;
    });
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.expect("it is JSON");
    assert_eq!(body["total_stock"], 7, "{isolation}: {body}");
}

#[tokio::test]
async fn a_refresh_sees_what_was_committed_while_it_waited_under_repeatable_read() {
    a_refresh_sees_what_was_committed_while_it_waited("repeatable read").await;
}

#[tokio::test]
async fn a_refresh_sees_what_was_committed_while_it_waited_under_serializable() {
    a_refresh_sees_what_was_committed_while_it_waited("serializable").await;
}

#[tokio::test]
async fn a_role_whose_triggers_are_off_is_refused() {
    let (launch, mut sql, role) = owned().await;
    sql.run(format!("ALTER ROLE {role} SET session_replication_role = replica")).await;
    for command in ["serve", "migrate", "audit"] {
        let exited = launch.run(&[command]).await;
        assert_eq!(exited.code, Some(1), "{}", exited.output);
        assert!(
            exited.output.contains("session_replication_role") && exited.output.contains("RESET"),
            "{}",
            exited.output
        );
    }
    assert_eq!(
        sql.number(
            "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('facility_summary')"
        )
        .await,
        0
    );
}

#[tokio::test]
async fn a_role_that_does_not_see_every_row_is_refused() {
    let (launch, mut sql, _) = owned().await;
    assert_eq!(launch.run(&["migrate"]).await.code, Some(0));
    sql.run(
        "ALTER TABLE blood_inventory ENABLE ROW LEVEL SECURITY; ALTER TABLE blood_inventory FORCE \
         ROW LEVEL SECURITY",
    )
    .await;
    let exited = launch.run(&["serve"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    assert!(
        exited.output.contains("blood_inventory") && exited.output.contains("BYPASSRLS"),
        "{}",
        exited.output
    );
}
