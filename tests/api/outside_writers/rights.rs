//! Triggers run with the rights of the owner of the tables. A role that may write one table does
//! not gain these rights, and cannot make the triggers use its own objects.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use super::held::several_drains;
use crate::support::{
    Service,
    outside::Outside,
    plain_sql::texts,
    site::{Site, a_zone_at_noon, audited},
};

/// The attacker's tables. They have the names of ours, and one has a trigger that grants the rights
/// of the role that fires it.
const BAIT: &str = "
    CREATE TEMP TABLE summary_marks (kind text, facility_id uuid, first_at timestamptz, last_at \
                    timestamptz, blood_bank_id uuid);
    CREATE FUNCTION pg_temp.take() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        EXECUTE 'GRANT ALL ON ALL TABLES IN SCHEMA facility_summary TO PUBLIC';
        RETURN NULL;
    END $$;
    CREATE TRIGGER take AFTER INSERT ON pg_temp.summary_marks FOR EACH STATEMENT EXECUTE FUNCTION \
                    pg_temp.take();
    CREATE TEMP TABLE blood_banks (id uuid, facility_id uuid);
    CREATE TEMP TABLE touched (id uuid, facility_id uuid, blood_bank_id uuid)";

/// A connection of a role with all rights on one table.
pub(super) struct Intruder {
    pub role: String,
    table: &'static str,
    sql: PgConnection,
}

impl Intruder {
    pub async fn new(service: &Service, table: &'static str) -> Intruder {
        let role = format!("writer_{}", Uuid::new_v4().simple());
        let mut owner = Outside::connect(service.database_url()).await;
        owner
            .run(format!(
                "CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA \
            facility_summary TO {role}; GRANT ALL ON {table} TO {role}"
            ))
            .await;
        let (_, place) = service.database_url().split_once('@').expect("a URL has a host");
        let sql = PgConnection::connect(&format!("postgres://{role}:x@{place}"))
            .await
            .expect("the role may log in");
        Intruder { role, table, sql }
    }

    pub async fn run(&mut self, sql: &str) -> Result<(), String> {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut self.sql)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Counts the rights of the role on tables that are not its own.
    pub async fn rights(&self, service: &Service) -> i64 {
        let count = format!(
            "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = \
             'facility_summary'::regnamespace AND relname <> '{}'
                AND has_table_privilege('{}', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')",
            self.table, self.role
        );
        Outside::connect(service.database_url()).await.number(count).await
    }
}

#[tokio::test]
async fn a_role_that_may_write_one_table_gains_and_hides_nothing_by_own_tables() {
    let service = Service::on_postgres().await.start().await;
    let (zone, _) = a_zone_at_noon();
    let tables = [
        (
            "facilities",
            "INSERT INTO facility_summary.facilities (id, name) VALUES (gen_random_uuid(), \
            'South'); UPDATE \
             facility_summary.facilities SET name = 'North' WHERE id = {F}; DELETE FROM \
             facility_summary.facilities \
             WHERE name = 'South'",
            (0, 0, 0),
        ),
        (
            "blood_banks",
            "INSERT INTO facility_summary.blood_banks (id, facility_id) VALUES \
            (gen_random_uuid(), {F}); \
             UPDATE facility_summary.blood_banks SET name = 'W'; DELETE FROM \
             facility_summary.blood_banks WHERE id <> \
             {B}",
            (0, 0, 0),
        ),
        (
            "blood_inventory",
            "TRUNCATE facility_summary.blood_inventory; INSERT INTO \
            facility_summary.blood_inventory (id, \
             blood_bank_id, quantity) VALUES ({F}, {B}, 4), ({B}, {B}, 9); UPDATE \
             facility_summary.blood_inventory SET quantity = 7 WHERE id = {F}; DELETE FROM \
             facility_summary.blood_inventory WHERE id = {B}",
            (7, 0, 0),
        ),
        (
            "blood_distributions",
            "TRUNCATE facility_summary.blood_distributions; INSERT INTO \
            facility_summary.blood_distributions (id, \
             dispatched_to_id, quantity, date_delivered) VALUES ({F}, {F}, 4, now()), ({B}, {F}, \
             9, now()); UPDATE facility_summary.blood_distributions SET quantity = 5 WHERE id = \
             {F}; DELETE \
             FROM facility_summary.blood_distributions WHERE id = {B}",
            (7, 5, 0),
        ),
        (
            "blood_requests",
            "TRUNCATE facility_summary.blood_requests; INSERT INTO \
            facility_summary.blood_requests (id, facility_id) \
             VALUES ({F}, {F}), ({B}, {F}); UPDATE facility_summary.blood_requests SET quantity \
             = 5 WHERE \
             id = {F}; DELETE FROM facility_summary.blood_requests WHERE id = {B}",
            (7, 5, 1),
        ),
    ];
    let site = Site::register(&service, &zone).await;
    for (table, writes, figures) in tables {
        let mut intruder = Intruder::new(&service, table).await;
        intruder.run(BAIT).await.expect("everybody may have temporary tables");
        let bait =
            format!("INSERT INTO pg_temp.blood_banks VALUES ('{}', gen_random_uuid())", site.bank);
        intruder.run(&bait).await.expect("it is their own");
        let writes = writes
            .replace("{F}", &format!("'{}'", site.facility))
            .replace("{B}", &format!("'{}'", site.bank));
        for write in writes.split("; ") {
            intruder.run(write).await.unwrap_or_else(|error| panic!("{write}: {error}"));
            assert_eq!(intruder.rights(&service).await, 0, "{write}");
        }
        site.shows(&service, figures).await;
    }
    audited(service.launch()).await;
}

#[tokio::test]
async fn only_the_owner_may_make_triggers_of_our_functions() {
    let service = Service::on_postgres().await.start().await;
    let mut intruder = Intruder::new(&service, "blood_requests").await;
    intruder
        .run("CREATE TEMP TABLE bait (id uuid, blood_bank_id uuid)")
        .await
        .expect("everybody may have temporary tables");
    for function in
        texts(service.database_url(), "SELECT oid::regproc::text FROM pg_proc WHERE prosecdef")
            .await
    {
        let attach = format!(
            "CREATE TRIGGER t AFTER INSERT ON bait REFERENCING NEW TABLE AS touched FOR EACH \
             STATEMENT EXECUTE FUNCTION facility_summary.{function}()"
        );
        let refusal = intruder.run(&attach).await.expect_err(&function);
        assert!(refusal.contains("permission denied for function"), "{refusal}");
    }
}

/// The test fails for a function that is added later without this setting.
#[tokio::test]
async fn every_function_of_ours_sets_its_own_search_path() {
    let service = Service::on_postgres().await.start().await;
    let ours = "SELECT concat_ws('|', oid::regproc, CASE WHEN prosecdef THEN 'definer' ELSE \
                'invoker' END,
                       -- The names in a body that was parsed at its making stand for what they \
                meant then.
                       CASE WHEN prosqlbody IS NOT NULL AND NOT prosecdef THEN 'settled'
                            ELSE (SELECT string_agg(setting, ' ') FROM unnest(proconfig) AS \
                setting WHERE setting LIKE 'search_path=%') END)
                FROM pg_proc WHERE pronamespace = 'facility_summary'::regnamespace";
    let found = texts(service.database_url(), ours).await;
    assert!(
        found.iter().filter(|function| function.contains("|definer|")).count() >= 3,
        "{found:?}"
    );
    for function in found {
        assert!(
            function.ends_with("|search_path=pg_catalog, pg_temp")
                || function.ends_with("|invoker|settled"),
            "{function}"
        );
    }
}

#[tokio::test]
async fn a_drain_calls_no_function_that_shadows_one_of_the_servers() {
    let service = Service::on_postgres().await.start().await;
    let mut intruder = Intruder::new(&service, "blood_requests").await;
    let mut owner = Outside::connect(service.database_url()).await;
    owner.run(format!("GRANT CREATE ON SCHEMA facility_summary TO {}", intruder.role)).await;
    // This matches the arguments better than the server's own function, which takes any types.
    intruder
        .run(
            "CREATE FUNCTION facility_summary.concat_ws(text, bigint, text, oid, oid, text) \
            RETURNS text \
             LANGUAGE plpgsql AS $$ BEGIN
                 EXECUTE 'GRANT ALL ON ALL TABLES IN SCHEMA facility_summary TO PUBLIC';
                 RETURN 'another history';
             END $$",
        )
        .await
        .expect("they may make functions there");
    // Earlier sessions have their plans already, so a new session is needed.
    let other = service.launch().run(&["audit"]).await;
    assert_eq!(other.code, Some(0), "{}", other.output);
    several_drains(&service).await;
    owner.number("SELECT count(fleet_epoch(salt)) FROM fleet").await;
    assert_eq!(intruder.rights(&service).await, 0);
}
