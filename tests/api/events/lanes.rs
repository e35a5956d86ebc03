//! Groups of events that are under way at the same time.

use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::support::{
    Service,
    outside::Outside,
    site::{Site, a_zone_at_noon, acknowledged},
    wait_until,
};

fn post(service: &Service, event: &Value) -> JoinHandle<u16> {
    let request = service.request(Method::POST, "/v1/events").json(event);
    tokio::spawn(async move { request.send().await.expect("an answer comes").status().as_u16() })
}

/// How many of the other sessions of this database are in this state.
async fn sessions(sql: &mut Outside, which: &str) -> i64 {
    let of_others = "datname = current_database() AND pid <> pg_backend_pid()";
    sql.number(format!("SELECT count(*) FROM pg_stat_activity WHERE {of_others} AND {which}")).await
}

/// The second group writes its source rows while the first holds the facility, and asks for the
/// facility only afterwards. At the lock it would run into its time-out.
#[tokio::test]
async fn a_group_waits_for_one_of_the_same_facility_before_its_lock_and_not_at_it() {
    let launch = Service::on_postgres().await.env("FACILITY_SUMMARY__REBUILD__CRON", "off");
    let service = launch
        .env("FACILITY_SUMMARY__DATABASE__IDLE_TRANSACTION_TIMEOUT_MS", 60_000)
        .env("FACILITY_SUMMARY__INGEST__GROUP_LOCK_TIMEOUT_MS", 30_000)
        .env("FACILITY_SUMMARY__INGEST__LOCK_TIMEOUT_MS", 30_000)
        .env("FACILITY_SUMMARY__INGEST__TIMEOUT_MS", 60_000)
        .start()
        .await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let item = Uuid::new_v4();
    acknowledged(&service, &site.stock(item, 1)).await;
    let mut sql = Outside::connect(service.database_url()).await;
    let mut holder = Outside::connect(service.database_url()).await;
    let facility = sql.id(site.facility);
    holder
        .run(format!(
            "BEGIN; SELECT 1 FROM dashboard_daily_summary WHERE facility_id = {facility} FOR UPDATE"
        ))
        .await;
    let first = post(&service, &site.stock(Uuid::new_v4(), 10));
    let at_a_lock = "wait_event_type = 'Lock'";
    wait_until("the first has the facility, and waits for its row", async || {
        sessions(&mut sql, at_a_lock).await == 1
    })
    .await;
    let second = post(&service, &site.stock(item, 100));
    wait_until("the second has written its source row, and waits for the first", async || {
        let has_written = "state = 'idle in transaction' AND query LIKE '%INTO blood_inventory%'";
        sessions(&mut sql, has_written).await == 1
    })
    .await;
    assert_eq!(sessions(&mut sql, at_a_lock).await, 1);
    holder.run("COMMIT").await;
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (200, 200));
    site.shows(&service, (110, 0, 0)).await;
}
