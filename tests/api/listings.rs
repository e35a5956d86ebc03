//! Many summaries in one answer: all figures were derived, and none is older than the request
//! accepts.

use reqwest::Response;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{age, bank, date_in, facility, get, header, inventory, noon_zone, path, post, read},
    support::{
        Service,
        outside::Outside,
        problem::problem,
        service::Launch,
        site::{Site, a_zone_at_noon, metric},
        wait_until,
    },
};

/// The two listings that contain today of this facility.
fn listings(facility: Uuid) -> [String; 2] {
    ["/v1/summaries/today".to_owned(), format!("/v1/facilities/{facility}/summaries?limit=1")]
}

/// Asserts a 503 that says when to ask again.
#[track_caller]
fn refused(response: Response) -> impl Future<Output = Value> {
    assert_ne!(header(&response, "retry-after"), "", "{response:?}");
    problem(response, 503)
}

/// A service on Postgres with short time-outs.
async fn impatient() -> Launch {
    Service::on_postgres().await.env("FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS", 700)
}

/// Locks the row that every refresh of the facility needs, until the connection runs `ROLLBACK`.
async fn hold(launch: &Launch, facility: Uuid) -> Outside {
    let mut holder = Outside::connect(launch.database_url()).await;
    holder
        .run(format!(
            "BEGIN; SELECT 1 FROM facility_state WHERE facility_id = {} FOR UPDATE",
            holder.id(facility)
        ))
        .await;
    holder
}

/// Leaves a mark of the facility, as the write of another program does.
async fn leave_a_mark(launch: &Launch, facility: Uuid) {
    let mut writer = Outside::connect(launch.database_url()).await;
    writer
        .run(format!(
            "INSERT INTO blood_requests (id, facility_id) VALUES (gen_random_uuid(), {})",
            writer.id(facility)
        ))
        .await;
}

on_both_stores! {
    async fn a_list_of_nothing_is_an_answer_with_an_age(service: Service) {
        for directives in ["", "max-age=600", "no-cache", "max-stale", "only-if-cached"] {
            let response = read(&service, "/v1/summaries/today", directives).await;
            let (status, age) = (response.status().as_u16(), age(&response));
            let listing: Value = response.json().await.unwrap();
            assert!(
                status == 200 && age < 60 && listing["items"] == json!([]),
                "{directives}: {status}, Age {age}, {listing}"
            );
        }
        let id = facility(&service, "North", "UTC").await;
        let tomorrow = date_in("UTC", 1);
        let days = get(
            &service,
            &format!("/v1/facilities/{id}/summaries?from={tomorrow}&to={}", date_in("UTC", 3)),
        )
        .await;
        assert_eq!(days["items"], json!([]), "none of the days has begun");
    }

    async fn a_today_that_is_not_opened_is_derived_and_not_taken_for_empty(service: Service) {
        let (open, closed) = (
            facility(&service, "Open", &noon_zone()).await,
            facility(&service, "Shut", &noon_zone()).await,
        );
        for (id, stock) in [(open, 5), (closed, 7)] {
            let bank = bank(&service, id).await;
            post(&service, &[inventory(Uuid::new_v4(), bank, "O+", stock)]).await;
        }
        let mut sql = Outside::connect(service.database_url()).await;
        let id = sql.id(closed);
        for path in listings(closed) {
            sql.run(format!("DELETE FROM dashboard_daily_summary WHERE facility_id = {id}")).await;
            let listing = get(&service, &path).await;
            let item = listing["items"]
                .as_array()
                .unwrap()
                .iter()
                .find(|item| item["facility_id"] == json!(closed))
                .unwrap();
            assert_eq!(item["total_stock"], 7, "{path}: {listing}");
            assert!(item["version"].as_i64() > Some(0), "{path}: {listing}");
        }
        assert_eq!(get(&service, "/v1/summaries/today").await["totals"]["total_stock"], 12);
    }
}

#[tokio::test]
async fn a_facility_that_moved_while_its_lock_was_held_has_no_today_until_it_can_be_derived() {
    // The zones are 25 hours apart, and never on the same date.
    const ZONES: [&str; 2] = ["Pacific/Pago_Pago", "Pacific/Kiritimati"];
    let service = impatient().await.start().await;
    let id = facility(&service, "North", ZONES[0]).await;
    let bank = bank(&service, id).await;
    post(&service, &[inventory(Uuid::new_v4(), bank, "O+", 7)]).await;
    let mut holder = hold(service.launch(), id).await;
    let mut sql = Outside::connect(service.database_url()).await;
    sql.run(format!("UPDATE facilities SET timezone = '{}' WHERE id = {}", ZONES[1], sql.id(id)))
        .await;
    let registered = format!("/v1/facilities/{id}");
    wait_until("the move is known", async || {
        get(&service, &registered).await["timezone"] == ZONES[1]
    })
    .await;

    for path in listings(id) {
        refused(service.get(&path).await).await;
    }
    // The service does not know either which past days have figures in this zone. So it shows no
    // past day as empty.
    let past = date_in(ZONES[1], -40);
    refused(service.get(&format!("/v1/facilities/{id}/summaries?to={past}")).await).await;
    refused(service.get(&path(id, past)).await).await;
    holder.run("ROLLBACK").await;
    for path in [format!("/v1/facilities/{id}/summaries?to={past}&limit=1"), path(id, past)] {
        wait_until("the day is derived", async || service.get(&path).await.status() == 200).await;
    }
    for path in listings(id) {
        let today = date_in(ZONES[1], 0).to_string();
        let item = get(&service, &path).await["items"][0].take();
        assert!(
            item["date"].as_str() >= Some(&today) && item["total_stock"] == 7,
            "{path}: {item}"
        );
    }
}

#[tokio::test]
async fn a_listing_follows_max_stale() {
    let service = impatient().await.start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    site.shows(&service, (0, 0, 0)).await;
    wait_until("there is a watermark", async || {
        service.get("/v1/summaries/today").await.status() == 200
    })
    .await;
    let mut holder = hold(service.launch(), site.facility).await;
    leave_a_mark(service.launch(), site.facility).await;
    wait_until("what is proven is old", async || {
        metric(&service, "summary_watermark_age_seconds").await > 3.0
    })
    .await;

    for path in listings(site.facility) {
        refused(read(&service, &path, "max-age=1, max-stale=1").await).await;
        refused(read(&service, &path, "no-cache, max-stale=2").await).await;
        problem(read(&service, &path, "max-age=1, max-stale=1, only-if-cached").await, 504).await;
        for welcome in [
            "max-age=1, max-stale=3600",
            "max-age=1, max-stale",
            "no-cache, max-stale",
            "max-stale=1",
        ] {
            let response = read(&service, &path, welcome).await;
            assert_eq!(response.status(), 200, "{path}: {welcome}");
            assert!((3..60).contains(&age(&response)), "{path}: {welcome}: {response:?}");
        }
    }
    holder.run("ROLLBACK").await;
    for path in listings(site.facility) {
        let response = read(&service, &path, "no-cache, max-stale=2").await;
        assert_eq!(
            (
                response.status().as_u16(),
                response.json::<Value>().await.unwrap()["items"][0]["total_requests"].take()
            ),
            (200, json!(1))
        );
    }
}

#[tokio::test]
async fn before_the_first_proof_nothing_has_an_age_and_nothing_is_taken_for_empty() {
    let service = impatient().await.start().await;
    let (zone, _) = a_zone_at_noon();
    let (locked, other) =
        (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
    let (_, launch) = service.terminate().await;
    let mut holder = hold(&launch, locked.facility).await;
    leave_a_mark(&launch, locked.facility).await;
    let service = launch.start().await;

    let past = date_in(&zone, -40);
    refused(service.get(&path(locked.facility, past)).await).await;
    // The lock of the other facility is free. Its day comes from the source, with any directive.
    for directives in ["max-stale", ""] {
        let response = read(&service, &path(other.facility, past), directives).await;
        assert_eq!(response.status(), 200);
        assert!(age(&response) < 60, "{response:?}");
        assert_eq!(response.json::<Value>().await.unwrap()["total_stock"], Value::Null);
    }
    for path in listings(other.facility) {
        for directives in ["", "max-stale", "max-age=3600, max-stale=3600"] {
            refused(read(&service, &path, directives).await).await;
        }
        problem(read(&service, &path, "max-stale, only-if-cached").await, 504).await;
    }
    holder.run("ROLLBACK").await;
    for path in listings(other.facility) {
        let response = read(&service, &path, "max-stale").await;
        assert_eq!(response.status(), 200, "the request itself causes the proof: {response:?}");
        assert!(age(&response) < 60, "{response:?}");
    }
    let response = service.get(&path(locked.facility, past)).await;
    assert_eq!((response.status().as_u16(), age(&response) < 60), (200, true));
}
