//! Events add what they change to the stored row, where that is known to be right. Where it may not
//! be, the row is derived. The drain stands still in most of these tests, so that marks and expired
//! units stay for the event to find.

mod between;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::now_ms,
    support::{
        Service,
        events::event,
        outside::Outside,
        service::Launch,
        site::{Site, a_zone_at_noon, acknowledged, audited, metric},
        wait_until,
    },
};

/// How many facility-days were touched in this way, and for this reason.
async fn days(service: &Service, by: &str, reason: &str) -> f64 {
    let text = service.get("/metrics").await.text().await.expect("it is text");
    let series = format!("summary_event_days_total{{by=\"{by}\",reason=\"{reason}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or(0.0)
}

/// With a drain that stands still after the start, and no scheduled rebuild.
fn quiet(launch: Launch) -> Launch {
    launch
        .env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 86_400_000)
        .env("FACILITY_SUMMARY__REBUILD__CRON", "off")
}

/// The service again, with a drain that stands still.
async fn again_quiet(service: Service) -> Service {
    let (_, launch) = service.terminate().await;
    quiet(launch).start().await
}

/// A facility whose day is open, with 10 units in its bank.
async fn open_site(service: &Service) -> Site {
    let site = Site::register(service, &a_zone_at_noon().0).await;
    acknowledged(service, &site.stock(Uuid::new_v4(), 10)).await;
    site
}

/// The stock in the stored row of the site's only day.
async fn stored(sql: &mut Outside, site: Site) -> i64 {
    let facility = sql.id(site.facility);
    sql.number(format!(
        "SELECT total_stock FROM dashboard_daily_summary WHERE facility_id = {facility}"
    ))
    .await
}

/// Units that another program writes.
fn units(sql: &Outside, site: Site, quantity: i64) -> String {
    let (row, bank) = (sql.id(Uuid::new_v4()), sql.id(site.bank));
    format!(
        "INSERT INTO blood_inventory (id, blood_bank_id, quantity) VALUES ({row}, {bank}, \
         {quantity})"
    )
}

/// The figures of the stored row as another program would alter them, without contradiction.
fn tampered(sql: &Outside, site: Site, quantity: i64) -> String {
    format!(
        "UPDATE dashboard_daily_summary SET total_stock = {quantity}, by_blood_type = \
         '{{\"unknown\":{{\"stock\":{quantity},\"transferred\":0,\"requests\":0}}}}' WHERE \
         facility_id = {}",
        sql.id(site.facility)
    )
}

on_both_stores! {
    async fn an_event_adds_its_difference_and_one_that_changes_nothing_writes_nothing(
        service: Service
    ) {
        let site = open_site(&service).await;
        let before = days(&service, "difference", "none").await;
        let item = Uuid::new_v4();
        let set = site.stock(item, 5);
        let first = acknowledged(&service, &set).await;
        acknowledged(&service, &site.stock(item, 8)).await;
        let request = site.request(Uuid::new_v4(), jiff::Timestamp::now());
        acknowledged(&service, &request).await;
        assert_eq!(days(&service, "difference", "none").await, before + 3.0);
        site.shows(&service, (18, 0, 1)).await;
        let removed = event("inventory.removed", json!({"inventory_id": item}));
        let last = acknowledged(&service, &removed).await;
        site.shows(&service, (10, 0, 1)).await;
        let version = |answer: &Value| answer["summaries"][0]["version"].as_i64().unwrap();
        assert_eq!(version(&last), version(&first) + 3, "each change has a version");

        let mut sql = Outside::connect(service.database_url()).await;
        let row = sql.fingerprint("dashboard_daily_summary").await;
        let repeated = acknowledged(&service, &set).await;
        assert_eq!((&repeated["applied"], version(&repeated)), (&json!(0), version(&last)));
        assert_eq!(sql.fingerprint("dashboard_daily_summary").await, row);
        audited(service.launch()).await;
    }

    async fn a_day_that_another_program_has_changed_is_derived(service: Service) {
        let service = again_quiet(service).await;
        let site = open_site(&service).await;
        let mut sql = Outside::connect(service.database_url()).await;
        let insert = units(&sql, site, 7);
        sql.run(insert).await;
        acknowledged(&service, &site.stock(Uuid::new_v4(), 5)).await;
        assert_eq!(stored(&mut sql, site).await, 22, "the answer is exact as of the event");
        assert_eq!(days(&service, "derived", "marked").await, 1.0);
    }

    async fn units_that_have_expired_leave_the_row_with_the_next_event(service: Service) {
        let service = again_quiet(service).await;
        let site = open_site(&service).await;
        let mut unit = site.stock(Uuid::new_v4(), 4);
        let expires_ms = now_ms() + 1_500;
        unit["data"]["expires_at"] = json!(crate::steps::instant(expires_ms));
        acknowledged(&service, &unit).await;
        let mut sql = Outside::connect(service.database_url()).await;
        assert_eq!(stored(&mut sql, site).await, 14);
        wait_until("they have expired", async || now_ms() > expires_ms + 50).await;
        acknowledged(&service, &site.stock(Uuid::new_v4(), 1)).await;
        assert_eq!(stored(&mut sql, site).await, 11);
        assert_eq!(days(&service, "derived", "expiry").await, 1.0);
    }

    async fn what_was_written_past_the_triggers_is_in_the_figures_of_the_next_event(
        service: Service
    ) {
        let service = again_quiet(service).await;
        let site = open_site(&service).await;
        let mut sql = Outside::connect(service.database_url()).await;
        let insert = units(&sql, site, 7);
        let off = match sql.is_postgres() {
            true => format!(
                "ALTER TABLE blood_inventory DISABLE TRIGGER USER; {insert}; ALTER TABLE \
                 blood_inventory ENABLE TRIGGER USER"
            ),
            false => format!("DROP TRIGGER blood_inventory_mark_insert; {insert}"),
        };
        sql.run(off).await;
        acknowledged(&service, &site.stock(Uuid::new_v4(), 5)).await;
        assert_eq!(stored(&mut sql, site).await, 22);
        assert_eq!(days(&service, "derived", "unwatched").await, 1.0);
    }

    async fn a_trigger_of_another_program_leaves_the_figures_to_the_sources(service: Service) {
        let mut sql = Outside::connect(service.database_url()).await;
        let doubles = match sql.is_postgres() {
            true => "CREATE FUNCTION double() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     NEW.quantity := 2 * NEW.quantity; RETURN NEW; END $$;
                     CREATE TRIGGER double BEFORE INSERT ON blood_inventory FOR EACH ROW EXECUTE \
                     FUNCTION double()",
            false => "CREATE TRIGGER double AFTER INSERT ON blood_inventory BEGIN UPDATE \
                      blood_inventory SET quantity = 2 * quantity WHERE id = NEW.id; END",
        };
        sql.run(doubles).await;
        let service = again_quiet(service).await;
        let site = open_site(&service).await;
        acknowledged(&service, &site.stock(Uuid::new_v4(), 5)).await;
        assert_eq!(stored(&mut sql, site).await, 30);
        assert_eq!(days(&service, "difference", "none").await, 0.0);
    }

    async fn a_wrong_difference_is_refused_said_and_counted(service: Service) {
        let site = open_site(&service).await;
        let mut sql = Outside::connect(service.database_url()).await;
        let tampering = tampered(&sql, site, 500);
        sql.run(tampering).await;
        let answer = service.post("/v1/events", &site.stock(Uuid::new_v4(), 5)).await;
        assert_eq!(answer.status(), 503);
        assert_eq!(sql.number("SELECT count(*) FROM blood_inventory").await, 1);
        assert_eq!(metric(&service, "summary_wrong_differences_total").await, 1.0);
        let said = "a difference that was added gives other figures than the sources; nothing of \
                    its transaction is applied";
        wait_until("it is said", async || service.logged(said).len() == 1).await;
    }

    async fn the_sample_audit_counts_a_wrong_difference_as_drift_of_its_own_kind(
        service: Service
    ) {
        let (_, launch) = service.terminate().await;
        let launch = launch.env("FACILITY_SUMMARY__REFRESH__VERIFY_DIFFERENCES", "off");
        let launch = launch.env("FACILITY_SUMMARY__REBUILD__CRON", "off");
        let service = launch.start().await;
        let site = open_site(&service).await;
        let mut sql = Outside::connect(service.database_url()).await;
        let tampering = tampered(&sql, site, 500);
        sql.run(tampering).await;
        acknowledged(&service, &site.stock(Uuid::new_v4(), 5)).await;
        assert_eq!(stored(&mut sql, site).await, 505, "nothing says that the row is wrong");
        let (_, launch) = service.terminate().await;
        let service = launch.env("FACILITY_SUMMARY__AUDIT__INTERVAL_MS", 100).start().await;
        wait_until("it is counted", async || {
            metric(&service, "summary_drift_by_difference_rows_total").await == 1.0
        })
        .await;
        site.shows(&service, (15, 0, 0)).await;
        let tampering = tampered(&sql, site, 500);
        sql.run(tampering).await;
        wait_until("what was derived last is drift of the other kind", async || {
            metric(&service, "summary_drift_rows_total").await == 2.0
        })
        .await;
        assert_eq!(metric(&service, "summary_drift_by_difference_rows_total").await, 1.0);
    }
}
