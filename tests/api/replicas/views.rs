//! Views and ranges of several replicas: where each is filled from, and what that costs the fleet.

use futures_util::future::join_all;
use jiff::civil::Date;
use serde_json::Value;
use uuid::Uuid;

use super::{Fleet, read_pool::Pair, set_stock};
use crate::{
    steps::{
        Plain, Scrape, at, date_in, distribution, facility, noon_zone, now_ms, path, post, read,
    },
    support::{Service, plain_sql, service::Launch, site::Site, wait_until},
};

const READERS: usize = 1_000;
const TODAY: &str = "/v1/summaries/today";
const DAY_MS: i64 = 86_400_000;

/// Has this facility receive units on a past day.
async fn delivered(service: &Service, facility: Uuid, days_ago: i64, quantity: i64) {
    let ms = now_ms() - days_ago * DAY_MS;
    let event = distribution(Uuid::new_v4(), facility, quantity, ms);
    post(service, &[at(event, now_ms())]).await;
}

/// Reads the day of all facilities. Answers what was transferred on it, and the days that the
/// table was read for meanwhile: at standbys, and at the primary.
async fn day(service: &Service, date: Date, directives: &str) -> (i64, [f64; 2]) {
    let before = table_reads(service).await;
    let response = read(service, &format!("/v1/summaries/{date}"), directives).await;
    let status = response.status();
    let page: Value = response.json().await.unwrap();
    assert_eq!(status, 200, "{page}");
    let after = table_reads(service).await;
    let transferred = page["totals"]["total_transferred"].as_i64().unwrap();
    (transferred, [after[0] - before[0], after[1] - before[1]])
}

async fn table_reads(service: &Service) -> [f64; 2] {
    let scrape = Scrape::of(service).await;
    ["standby", "primary"]
        .map(|server| scrape.sum("summary_table_read_days_total", &[("server", server)]))
}

/// Waits until the standby has what the primary has by now, and a watermark of after that.
async fn replayed(pair: &Pair) {
    let primary = pair.fleet[0].database_url().to_owned();
    let watermark = "SELECT (extract(epoch FROM watermark_at) * 1000)::bigint FROM fleet";
    let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let now_ms = plain_sql::number(&primary, now).await;
    wait_until("the standby has a later watermark", async || {
        plain_sql::number(&pair.there, watermark).await > now_ms
    })
    .await;
}

#[tokio::test]
async fn a_view_is_filled_at_the_standby_as_far_as_that_is_fresh_enough() {
    let pair = Pair::start().await;
    let (writer, reader, zone) = (&pair.fleet[0], &pair.fleet[1], noon_zone());
    let north = facility(writer, "North", &zone).await;
    let south = facility(writer, "South", &zone).await;
    for days_ago in 2..8 {
        delivered(writer, north, days_ago, days_ago).await;
        delivered(writer, south, days_ago, 10).await;
    }
    delivered(writer, north, 8, 8).await;
    replayed(&pair).await;
    let date = |days_ago: i64| date_in(&zone, -days_ago);
    wait_until("the reader has both facilities", async || {
        let status = async |id| reader.get(&path(id, "today")).await.status();
        status(north).await == 200 && status(south).await == 200
    })
    .await;
    assert_eq!(day(reader, date(2), "").await, (12, [2.0, 0.0]), "the standby has both");
    assert_eq!(day(reader, date(2), "").await, (12, [0.0, 0.0]), "memory has both");
    assert_eq!(day(reader, date(8), "").await, (8, [2.0, 1.0]), "the standby has one");
    assert_eq!(
        day(reader, date(3), "no-cache").await,
        (13, [0.0, 2.0]),
        "no standby is asked for figures that are proven after the request"
    );
    pair.replay(false).await;
    delivered(writer, north, 4, 100).await;
    wait_until("the change has come", async || {
        let path = format!("/v1/facilities/{north}/summaries/{}", date(4));
        let one: Value = read(reader, &path, "").await.json().await.unwrap();
        one["total_transferred"] == 104
    })
    .await;
    assert_eq!(
        day(reader, date(4), "").await,
        (114, [2.0, 1.0]),
        "the standby lacks a change that the reader's replica knows of"
    );
    wait_until("the standby's rows are too old", async || {
        let behind = "SELECT (extract(epoch FROM clock_timestamp() - watermark_at) * \
                      1000)::bigint FROM fleet";
        plain_sql::number(&pair.there, behind).await > 2_500
    })
    .await;
    assert_eq!(day(reader, date(5), "max-age=2").await, (15, [2.0, 2.0]), "they are not used");
    assert_eq!(day(reader, date(6), "").await, (16, [2.0, 0.0]), "they are fresh enough");
    pair.standby.stop();
    let (transferred, [_, primary]) = day(reader, date(7), "").await;
    assert_eq!((transferred, primary), (17, 2.0), "the primary answers instead of the standby");
}

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

#[tokio::test]
async fn a_day_that_cold_views_of_three_replicas_lack_is_refreshed_once() {
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
    let past = format!("/v1/summaries/{}", date_in(&noon_zone(), -9));
    tokio::join!(
        stampede(&fleet, &past, "", |page| page["items"][0]["version"] == 0),
        unlock(&fleet, held, &leases)
    );
    assert_eq!(refreshes().await - before, 1.0);
}

#[tokio::test]
async fn a_day_that_ranges_of_three_replicas_lack_is_refreshed_once() {
    let fleet = Fleet::with(3, patient).await;
    let id = facility(&fleet[0], "North", &noon_zone()).await;
    for replica in &fleet.replicas {
        wait_until("the replica has the facility", async || {
            replica.get(&path(id, "today")).await.status() == 200
        })
        .await;
    }
    let held = lock(&fleet, id).await;
    let mut plain = Plain::beside(&fleet[0]).await;
    plain.run(&format!("UPDATE facilities SET name = 'Far North' WHERE id = '{id}'")).await;
    let refreshes = async || fleet.sum("summary_refreshes_total", &[("trigger", "read")]).await;
    let (before, leases) = (refreshes().await, leases_of(&fleet).await);
    let (first, last) = (date_in(&noon_zone(), -9), date_in(&noon_zone(), -8));
    let range = format!("/v1/facilities/{id}/summaries?from={first}&to={last}");
    tokio::join!(
        stampede(&fleet, &range, "", |page| page["items"][1]["version"] == 0),
        unlock(&fleet, held, &leases)
    );
    assert_eq!(refreshes().await - before, 2.0, "each of the two days once");
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
