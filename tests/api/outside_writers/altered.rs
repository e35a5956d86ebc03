//! Triggers, functions or tables that have the right names, but are not those that the migrations
//! made. The service names them, and repairs them.

use serde_json::Value;
use uuid::Uuid;

use super::held::several_drains;
use crate::{
    steps::get,
    support::{
        Service,
        outside::Outside,
        service::Launch,
        site::{Site, a_zone_at_noon, acknowledged, audited},
        wait_until,
    },
};

async fn dependency(service: &Service, name: &str) -> Value {
    let ready = get(service, "/health/ready").await;
    let dependencies = ready["dependencies"].as_array().expect("they are listed").clone();
    dependencies.into_iter().find(|dependency| dependency["name"] == name).unwrap_or_default()
}

async fn is_ready(service: &Service) -> bool {
    get(service, "/health/ready").await["status"] == "ready"
}

fn request(site: Site) -> String {
    format!(
        "INSERT INTO blood_requests (id, facility_id) VALUES (gen_random_uuid(), '{}')",
        site.facility
    )
}

#[tokio::test]
async fn any_change_of_a_trigger_or_its_function_is_named_and_put_right() {
    let service = Service::on_postgres().await.start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let mut sql = Outside::connect(service.database_url()).await;
    let insert = "CREATE OR REPLACE TRIGGER mark_insert AFTER INSERT ON blood_requests \
                  REFERENCING NEW TABLE AS touched FOR EACH STATEMENT";
    let arguments = "mark_touched('activity', 'facility_id', 'created_at')";
    let changes = [
        format!("{insert} WHEN (false) EXECUTE FUNCTION {arguments}"),
        format!(
            "CREATE OR REPLACE TRIGGER mark_update_new AFTER UPDATE OF event_time ON \
             blood_requests FOR EACH STATEMENT EXECUTE FUNCTION {arguments}"
        ),
        format!("{insert} EXECUTE FUNCTION mark_touched('activity', 'facility_id', 'event_time')"),
        format!("{insert} EXECUTE FUNCTION mark_all('activity')"),
        "CREATE OR REPLACE TRIGGER mark_delete AFTER INSERT ON blood_requests FOR EACH STATEMENT \
         EXECUTE FUNCTION mark_all('activity')"
            .into(),
        "CREATE OR REPLACE FUNCTION mark_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
         SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN NULL; END'"
            .into(),
        "ALTER FUNCTION mark_touched() SECURITY INVOKER".into(),
        "ALTER FUNCTION mark_touched() RESET search_path".into(),
    ];
    let mut requests = 0;
    for change in changes {
        sql.run(change.as_str()).await;
        wait_until(&change, async || {
            dependency(&service, "triggers").await["last_error"] == "altered"
        })
        .await;
        sql.run(request(site)).await;
        requests += 1;
        sql.run("SELECT watch_sources()").await;
        wait_until("the service is ready", async || is_ready(&service).await).await;
        site.shows(&service, (0, 0, requests)).await;
    }
    audited(service.launch()).await;
}

#[tokio::test]
async fn a_table_that_cannot_be_watched_as_a_whole_is_named() {
    let service = Service::on_postgres().await.start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let mut sql = Outside::connect(service.database_url()).await;
    sql.run("CREATE TABLE more_requests () INHERITS (blood_requests)").await;
    wait_until("the table is named", async || {
        dependency(&service, "triggers").await["last_error"] == "unsuitable_table"
    })
    .await;
    sql.run("DROP TABLE more_requests").await;
    wait_until("the service is ready", async || is_ready(&service).await).await;
    sql.run(
        "ALTER TABLE blood_requests RENAME TO old_requests; CREATE TABLE blood_requests (LIKE \
         old_requests INCLUDING DEFAULTS) PARTITION BY RANGE (created_at);
             CREATE TABLE this_part PARTITION OF blood_requests DEFAULT; SELECT watch_sources()",
    )
    .await;
    wait_until("the table is named", async || {
        dependency(&service, "triggers").await["last_error"] == "unsuitable_table"
    })
    .await;
    let remedy =
        dependency(&service, "triggers").await["remedy"].as_str().expect("there is one").to_owned();
    assert!(
        remedy.starts_with("blood_requests is no ordinary table")
            && !remedy.contains("watch_sources"),
        "{remedy}"
    );
    sql.run("DROP TABLE blood_requests; ALTER TABLE old_requests RENAME TO blood_requests").await;
    wait_until("the service is ready", async || is_ready(&service).await).await;
    site.shows(&service, (0, 0, 0)).await;
    audited(service.launch()).await;
}

#[tokio::test]
async fn a_table_that_was_rewritten_is_checked_once_more_and_only_once() {
    let service = Service::on_postgres().await.start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    acknowledged(&service, &site.stock(Uuid::new_v4(), 7)).await;
    site.shows(&service, (7, 0, 0)).await;
    let told = || {
        service
            .logged(
                "the source tables or their triggers were changed, or rewritten, since they were \
                 last looked at: everything is looked at once more",
            )
            .len()
    };
    let mut sql = Outside::connect(service.database_url()).await;
    several_drains(&service).await;
    assert_eq!(told(), 0);
    sql.run("ALTER TABLE blood_inventory ALTER quantity TYPE integer USING (quantity * 2)").await;
    site.shows(&service, (14, 0, 0)).await;
    sql.run("VACUUM FULL blood_inventory").await;
    wait_until("the service checks everything after VACUUM FULL, too", async || told() == 2).await;
    sql.run("ALTER TABLE blood_inventory DROP quantity, ADD quantity integer NOT NULL DEFAULT 5")
        .await;
    site.shows(&service, (5, 0, 0)).await;
    several_drains(&service).await;
    several_drains(&service).await;
    assert_eq!(told(), 3);
    audited(service.launch()).await;
}

#[tokio::test]
async fn a_writer_leaves_marks_with_any_setting_made_before() {
    let service = Service::on_postgres().await.start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let mut owner = Outside::connect(service.database_url()).await;
    let database = service.database_url().rsplit('/').next().expect("a path").to_owned();
    let marked = format!("activity {} 1;", site.facility);
    owner
        .run(format!(
            "ALTER DATABASE {database} SET facility_summary.refreshes = 'on'; ALTER DATABASE \
             {database} SET facility_summary.marked = '{marked}'"
        ))
        .await;
    let mut sql = Outside::connect(service.database_url()).await;
    sql.run(request(site)).await;
    site.shows(&service, (0, 0, 1)).await;
    // The writer sets it to the number of its own previous transaction.
    sql.run("SELECT set_config('facility_summary.refreshes', pg_current_xact_id()::text, false)")
        .await;
    sql.run(request(site)).await;
    site.shows(&service, (0, 0, 2)).await;
    sql.run(format!("SET session_replication_role = replica; {}", request(site))).await;
    site.shows(&service, (0, 0, 3)).await;
    let day = "extract(epoch FROM date_bin('1 day', now(), 'epoch'))";
    sql.run(format!(
        "SELECT set_config('facility_summary.marked', 'activity {} ' || {day} || ';', false)",
        site.facility
    ))
    .await;
    sql.run(request(site)).await;
    site.shows(&service, (0, 0, 4)).await;
    audited(service.launch()).await;
}

#[tokio::test]
async fn rows_with_instants_outside_the_calendar_are_written_like_others() {
    let service = Service::on_postgres().await.start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let mut sql = Outside::connect(service.database_url()).await;
    let facility = site.facility;
    for role in ["origin", "replica"] {
        sql.run(format!("SET session_replication_role = {role}")).await;
        for at in [
            "294270-01-01+00",
            "294276-12-31 23:59:59.999999+00",
            "4714-11-24 00:00:00+00 BC",
            "infinity",
            "-infinity",
        ] {
            sql.run(format!(
                "INSERT INTO blood_distributions (id, dispatched_to_id, quantity, date_delivered) \
                 VALUES (gen_random_uuid(), '{facility}', 1, '{at}')"
            ))
            .await;
            sql.run(format!(
                "INSERT INTO blood_requests (id, facility_id, created_at) VALUES \
                 (gen_random_uuid(), '{facility}', '{at}')"
            ))
            .await;
            sql.run(format!(
                "INSERT INTO blood_inventory (id, blood_bank_id, quantity, expires_at) VALUES \
                 (gen_random_uuid(), '{}', 0, '{at}')",
                site.bank
            ))
            .await;
            sql.run(format!(
                "UPDATE blood_requests SET event_time = '{at}'; UPDATE facilities SET event_time \
                 = '{at}'; UPDATE blood_banks SET event_time = '{at}'"
            ))
            .await;
        }
        // The rows move from that instant into a day, and back.
        sql.run("UPDATE blood_requests SET created_at = now()").await;
        let requests = if role == "origin" { 5 } else { 10 };
        site.shows(&service, (0, 0, requests)).await;
        sql.run("UPDATE blood_requests SET created_at = '294276-01-01+00'").await;
        site.shows(&service, (0, 0, 0)).await;
    }
    wait_until("all marks are processed", async || {
        sql.number("SELECT count(*) FROM summary_marks").await == 0
    })
    .await;
    audited(service.launch()).await;
}

#[tokio::test]
async fn a_renamed_schema_is_found_by_the_next_start_and_its_triggers_go_on() {
    let service = Service::on_postgres().await.start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let (_, launch) = service.terminate().await;
    let mut sql = Outside::connect(launch.database_url()).await;
    sql.run("ALTER SCHEMA facility_summary RENAME TO app; SET search_path = app").await;
    sql.run(request(site)).await;
    let url = format!("{}?options=-csearch_path%3Dapp", launch.database_url());
    let service = Launch::clone(&launch).env("DATABASE_URL", &url).start().await;
    site.shows(&service, (0, 0, 1)).await;
    sql.run(request(site)).await;
    sql.run(format!("SET session_replication_role = replica; {}", request(site))).await;
    site.shows(&service, (0, 0, 3)).await;
    sql.run(
        "SET session_replication_role = origin; ALTER TABLE blood_requests DISABLE TRIGGER \
         mark_insert",
    )
    .await;
    wait_until("the trigger is named", async || {
        dependency(&service, "triggers").await["last_error"] == "disabled"
    })
    .await;
    let expected = "blood_requests: mark_insert disabled; SELECT app.watch_sources() puts it right";
    assert_eq!(dependency(&service, "triggers").await["remedy"], expected);
    sql.run("SELECT app.watch_sources()").await;
    wait_until("the service is ready", async || is_ready(&service).await).await;
    sql.run(request(site)).await;
    site.shows(&service, (0, 0, 4)).await;
}

#[tokio::test]
async fn readiness_names_a_right_or_a_row_that_the_proof_lacks() {
    let (launch, mut sql, role) = crate::server_settings::owned().await;
    let service = launch.start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let cases = [
        (
            format!("REVOKE SELECT ON blood_requests FROM {role}"),
            format!("GRANT SELECT ON blood_requests TO {role}"),
            "failed",
        ),
        (
            "ALTER TABLE blood_requests ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY".into(),
            "ALTER TABLE blood_requests DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY"
                .into(),
            "failed",
        ),
        (
            "CREATE TABLE kept AS SELECT * FROM fleet; DELETE FROM fleet".into(),
            "INSERT INTO fleet SELECT * FROM kept; DROP TABLE kept".into(),
            "unreadable",
        ),
    ];
    for (breaks, mends, class) in cases {
        sql.run(breaks.as_str()).await;
        sql.run(request(site)).await;
        wait_until(&breaks, async || dependency(&service, "drain").await["last_error"] == class)
            .await;
        let ready = get(&service, "/health/ready").await;
        assert_eq!(ready["status"], "degraded", "{ready}");
        sql.run(mends.as_str()).await;
        wait_until(&mends, async || is_ready(&service).await).await;
    }
    site.shows(&service, (0, 0, 3)).await;
}
