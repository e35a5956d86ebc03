//! Postgres with as few connections as the settings allow. Some transactions of events read over a
//! second connection, beside what they have locked.

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use crate::support::{
    Service,
    events::event,
    site::{Site, a_zone_at_noon},
};

const SITES: usize = 8;
const EVENTS: usize = 25;

/// Posts events that each need the second connection: of tomorrow, which looks for rows that an
/// earlier zone has left, and of a facility that the directory has to look for.
async fn write(service: &Service, site: Site) {
    let tomorrow = Timestamp::now() + SignedDuration::from_hours(24);
    for _ in 0..EVENTS {
        let answer = service.post("/v1/events", &site.request(Uuid::new_v4(), tomorrow)).await;
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
        let unknown = event(
            "request.set",
            json!({
                "request_id": Uuid::new_v4(),
                "facility_id": Uuid::new_v4(),
                "created_at": tomorrow.to_string(),
            }),
        );
        let answer = service.post("/v1/events", &unknown).await;
        assert_eq!(answer.status(), 422, "{}", answer.text().await.unwrap_or_default());
    }
}

async fn read(service: &Service, site: Site) {
    let path = format!("/v1/facilities/{}/summaries/today", site.facility);
    for _ in 0..EVENTS {
        let request = service.request(reqwest::Method::GET, &path);
        let answer = request.header("cache-control", "no-cache").send().await.expect("it answers");
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
    }
}

async fn goes_on_with(connections: u32) {
    let launch = Service::on_postgres().await;
    let launch = launch.env("FACILITY_SUMMARY__DATABASE__MAX_CONNECTIONS", connections);
    let service = launch.env("FACILITY_SUMMARY__DATABASE__MIN_CONNECTIONS", 2).start().await;
    let mut sites = Vec::new();
    for _ in 0..SITES {
        sites.push(Site::register(&service, &a_zone_at_noon().0).await);
    }
    tokio::join!(
        join_all(sites.iter().map(|site| write(&service, *site))),
        join_all(sites.iter().map(|site| read(&service, *site))),
    );
}

#[tokio::test]
async fn events_and_reads_go_on_with_two_connections() {
    goes_on_with(2).await;
}

#[tokio::test]
async fn events_and_reads_go_on_with_three_connections() {
    goes_on_with(3).await;
}
