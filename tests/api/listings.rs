//! Many summaries in one answer: never figures that nobody derived.

use reqwest::Response;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{bank, date_in, facility, get, header, inventory, noon_zone, post},
    support::{Service, outside::Outside, problem::problem, service::Launch, wait_until},
};

/// Both listings that today of this facility is in.
fn listings(facility: Uuid) -> [String; 2] {
    ["/v1/summaries/today".to_owned(), format!("/v1/facilities/{facility}/summaries?limit=1")]
}

/// The service cannot say for now, and says when to ask again.
#[track_caller]
fn refused(response: Response) -> impl Future<Output = Value> {
    assert_ne!(header(&response, "retry-after"), "", "{response:?}");
    problem(response, 503)
}

/// A service on Postgres that does not wait long.
async fn impatient() -> Launch {
    Service::on_postgres().await.env("FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS", 700)
}

/// Locks what every refresh of the facility needs, until the connection is told to `ROLLBACK`.
async fn hold(launch: &Launch, facility: Uuid) -> Outside {
    let mut holder = Outside::connect(launch.database_url()).await;
    holder.run(format!("BEGIN; SELECT 1 FROM facility_state WHERE facility_id = {} FOR UPDATE", holder.id(facility))).await;
    holder
}

on_both_stores! {
    async fn a_today_that_is_not_opened_is_derived_and_not_taken_for_empty(service: Service) {
        let (open, closed) = (facility(&service, "Open", &noon_zone()).await, facility(&service, "Shut", &noon_zone()).await);
        for (id, stock) in [(open, 5), (closed, 7)] {
            let bank = bank(&service, id).await;
            post(&service, &[inventory(Uuid::new_v4(), bank, "O+", stock)]).await;
        }
        let mut sql = Outside::connect(service.database_url()).await;
        let id = sql.id(closed);
        for path in listings(closed) {
            sql.run(format!("DELETE FROM dashboard_daily_summary WHERE facility_id = {id}")).await;
            let listing = get(&service, &path).await;
            let item = listing["items"].as_array().unwrap().iter().find(|item| item["facility_id"] == json!(closed)).unwrap();
            assert_eq!(item["total_stock"], 7, "{path}: {listing}");
            assert!(item["version"].as_i64() > Some(0), "{path}: {listing}");
        }
        assert_eq!(get(&service, "/v1/summaries/today").await["totals"]["total_stock"], 12);
    }
}

#[tokio::test]
async fn a_facility_that_moved_while_its_lock_was_held_has_no_today_until_it_can_be_derived() {
    // 25 hours apart: never the same date.
    const ZONES: [&str; 2] = ["Pacific/Pago_Pago", "Pacific/Kiritimati"];
    let service = impatient().await.start().await;
    let id = facility(&service, "North", ZONES[0]).await;
    let bank = bank(&service, id).await;
    post(&service, &[inventory(Uuid::new_v4(), bank, "O+", 7)]).await;
    let mut holder = hold(service.launch(), id).await;
    let mut sql = Outside::connect(service.database_url()).await;
    sql.run(format!("UPDATE facilities SET timezone = '{}' WHERE id = {}", ZONES[1], sql.id(id))).await;
    let registered = format!("/v1/facilities/{id}");
    wait_until("the move is known", async || get(&service, &registered).await["timezone"] == ZONES[1]).await;

    for path in listings(id) {
        refused(service.get(&path).await).await;
    }
    let past = format!("/v1/facilities/{id}/summaries?to={}", date_in(ZONES[1], -40));
    assert_eq!(get(&service, &past).await["items"][0]["version"], 0, "who does not ask for that day is not refused");
    holder.run("ROLLBACK").await;
    for path in listings(id) {
        let today = date_in(ZONES[1], 0).to_string();
        let item = get(&service, &path).await["items"][0].take();
        assert!(item["date"].as_str() >= Some(&today) && item["total_stock"] == 7, "{path}: {item}");
    }
}
