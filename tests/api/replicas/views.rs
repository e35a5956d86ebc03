//! Views and ranges of several replicas: what they cost the fleet.

use futures_util::future::join_all;
use serde_json::Value;
use uuid::Uuid;

use super::{Fleet, set_stock};
use crate::{
    steps::{Plain, Scrape, date_in, facility, noon_zone, path, read},
    support::{Service, service::Launch, site::Site, wait_until},
};

const READERS: usize = 1_000;
const TODAY: &str = "/v1/summaries/today";

/// Asks for a page at all replicas at once, with many readers at each. Each page has to satisfy
/// `check`.
async fn stampede(fleet: &Fleet, path: &str, directives: &str, check: impl Fn(&Value) -> bool) {
    let ask = async |i: usize| {
        let response = read(&fleet[i % fleet.len()], path, directives).await;
        (response.status(), response.json::<Value>().await.unwrap())
    };
    for (status, page) in join_all((0..READERS).map(ask)).await {
        assert!(status == 200 && check(&page), "{status} {page}");
    }
}

/// Another program locks a facility until `ROLLBACK`.
async fn lock(fleet: &Fleet, facility: Uuid) -> Plain {
    let mut plain = Plain::beside(&fleet[0]).await;
    let lock = "SELECT 1 FROM facility_state WHERE facility_id =";
    plain.run(&format!("BEGIN; {lock} '{facility}' FOR UPDATE")).await;
    plain
}

/// Ends the lock once each replica has asked for a lease more often than before.
async fn unlock(fleet: &Fleet, mut lock: Plain, before: &[f64]) {
    for (replica, before) in fleet.replicas.iter().zip(before) {
        wait_until("the replica asks for a lease", async || leases(replica).await > *before).await;
    }
    lock.run("ROLLBACK").await;
}

async fn leases(replica: &Service) -> f64 {
    Scrape::of(replica).await.sum("redis_requests_total", &[("command", "lease")])
}

async fn leases_of(fleet: &Fleet) -> Vec<f64> {
    join_all(fleet.replicas.iter().map(leases)).await
}

fn patient(launch: Launch) -> Launch {
    launch
        .env("FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS", 60_000)
        .env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 60_000)
        .env("FACILITY_SUMMARY__REDIS__TIMEOUT_MS", 5_000)
}

/// How many refreshes three replicas need for a thousand readers of what none of them has, with
/// pages that satisfy `check`. `ask` gives the path for a facility.
async fn refreshes_of_cold_readers(
    ask: impl Fn(Uuid) -> String,
    check: impl Fn(&Value) -> bool,
) -> f64 {
    let fleet = Fleet::with(3, patient).await;
    let id = facility(&fleet[0], "North", &noon_zone()).await;
    for replica in &fleet.replicas {
        wait_until("the replica has the facility", async || {
            replica.get(&path(id, "today")).await.status() == 200
        })
        .await;
    }
    // As long as a change of a facility is not processed, a past day without a row is derived.
    let held = lock(&fleet, id).await;
    let mut plain = Plain::beside(&fleet[0]).await;
    plain.run(&format!("UPDATE facilities SET name = 'Far North' WHERE id = '{id}'")).await;
    let refreshes = async || fleet.sum("summary_refreshes_total", &[("trigger", "read")]).await;
    let (before, leases) = (refreshes().await, leases_of(&fleet).await);
    let asked = ask(id);
    tokio::join!(stampede(&fleet, &asked, "", check), unlock(&fleet, held, &leases));
    refreshes().await - before
}

#[tokio::test]
async fn a_day_that_cold_views_of_three_replicas_lack_is_refreshed_once() {
    let day = format!("/v1/summaries/{}", date_in(&noon_zone(), -9));
    let check = |page: &Value| page["items"][0]["version"] == 0;
    assert_eq!(refreshes_of_cold_readers(|_| day.clone(), check).await, 1.0);
}

#[tokio::test]
async fn a_day_that_ranges_of_three_replicas_lack_is_refreshed_once() {
    let (first, last) = (date_in(&noon_zone(), -9), date_in(&noon_zone(), -8));
    let range = |id| format!("/v1/facilities/{id}/summaries?from={first}&to={last}");
    let check = |page: &Value| page["items"][1]["version"] == 0;
    let refreshes = refreshes_of_cold_readers(range, check).await;
    assert_eq!(refreshes, 2.0, "each of the two days once");
}

#[tokio::test]
async fn what_a_thousand_readers_at_three_replicas_take_no_older_is_refreshed_once_for_all() {
    let mut fleet = Fleet::with(1, patient).await;
    // The first one leads, and drains by the clock. The readers are at the others.
    fleet.launch = fleet.launch.env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 3_000);
    for _ in 0..3 {
        fleet.join().await;
    }
    let site = Site::register(&fleet[0], &noon_zone()).await;
    let item = Uuid::new_v4();
    set_stock(&fleet[0], site, item, 5).await;
    let leader = fleet.replicas.remove(0);
    stampede(&fleet, TODAY, "no-cache", |page| page["totals"]["total_stock"] == 5).await;
    let held = lock(&fleet, site.facility).await;
    let mut plain = Plain::beside(&fleet[0]).await;
    plain.run(&format!("UPDATE blood_inventory SET quantity = 7 WHERE id = '{item}'")).await;
    let refreshes = async || fleet.sum("summary_refreshes_total", &[("trigger", "event")]).await;
    let (before, leases) = (refreshes().await, leases_of(&fleet).await);
    tokio::join!(
        stampede(&fleet, TODAY, "no-cache", |page| page["totals"]["total_stock"] == 7),
        unlock(&fleet, held, &leases)
    );
    let refreshed = refreshes().await - before;
    assert!(refreshed <= 1.0, "one of the three or the leader refreshes it, not {refreshed}");
    drop(leader);
}
