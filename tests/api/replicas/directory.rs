//! Which facilities exist, and in which zone, is as fresh as the figures. Lists and single reads
//! are made from the directory as of the instant for which they are verified.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Fleet, set_stock, wait_until, wait_until_whole};
use crate::{
    proxy::Proxy,
    steps::{Plain, date_in, facility, inventory, noon_zone, path, post, read},
    support::{Service, events::event, site::Site},
};

const ROUNDS: usize = 20;

async fn afresh(replica: &Service, path: &str) -> (u16, Value) {
    let response = read(replica, path, "no-cache").await;
    (response.status().as_u16(), response.json().await.unwrap())
}

fn shows(list: &Value, facility: Uuid) -> bool {
    list["items"].as_array().unwrap().iter().any(|item| item["facility_id"] == facility.to_string())
}

#[tokio::test]
async fn a_no_cache_list_has_every_facility_that_was_acknowledged_before() {
    let fleet = Fleet::of(3).await;
    facility(&fleet[0], "First", &noon_zone()).await;
    for round in 0..ROUNDS {
        let id = Uuid::new_v4();
        let registered = event(
            "facility.registered",
            json!({"facility_id": id, "name": "New", "timezone": noon_zone()}),
        );
        post(&fleet[round % 3], &[registered]).await;
        let (status, list) = afresh(&fleet[(round + 1) % 3], "/v1/summaries/today?limit=500").await;
        assert!(status == 200 && shows(&list, id), "round {round}: {status} {list}");
    }
}

#[tokio::test]
async fn a_no_cache_today_is_the_date_of_the_zone_that_was_committed_before() {
    let fleet = Fleet::of(3).await;
    let site = Site::register(&fleet[0], "Etc/GMT+12").await;
    let mut plain = Plain::beside(&fleet[0]).await;
    let facility = plain.id(site.facility);
    for round in 0..ROUNDS {
        // The two zones are a day apart, at any time of the day.
        let zone = ["Pacific/Kiritimati", "Etc/GMT+12"][round % 2];
        plain
            .run(&format!("UPDATE facilities SET timezone = '{zone}' WHERE id = {facility}"))
            .await;
        let replica = &fleet[round % 3];
        let (status, today) = afresh(replica, &path(site.facility, "today")).await;
        assert_eq!(
            (status, &today["date"]),
            (200, &json!(date_in(zone, 0))),
            "round {round}: {today}"
        );
        let (status, list) = afresh(replica, "/v1/summaries/today").await;
        assert_eq!(
            (status, &list["items"][0]["date"]),
            (200, &json!(date_in(zone, 0))),
            "round {round}: {list}"
        );
    }
}

#[tokio::test]
async fn a_facility_that_was_removed_before_is_in_no_no_cache_answer() {
    let fleet = Fleet::of(3).await;
    facility(&fleet[0], "First", &noon_zone()).await;
    let mut plain = Plain::beside(&fleet[0]).await;
    for round in 0..ROUNDS {
        let gone = facility(&fleet[0], "Gone", &noon_zone()).await;
        let id = plain.id(gone);
        for replica in &fleet.replicas {
            super::wait_until("the replica knows it", async || {
                replica.get(&path(gone, "today")).await.status() == 200
            })
            .await;
        }
        let replica = &fleet[round % 3];
        // First a list of a past day, which has no row: it shows a facility as empty if the
        // facility exists.
        plain.run(&format!("DELETE FROM facilities WHERE id = {id}")).await;
        for day in [date_in(&noon_zone(), -1).to_string(), "today".to_owned()] {
            let (status, list) = afresh(replica, &format!("/v1/summaries/{day}?limit=500")).await;
            assert!(status == 200 && !shows(&list, gone), "round {round}, {day}: {status} {list}");
        }
        let (status, today) = afresh(replica, &path(gone, "today")).await;
        assert_eq!(status, 404, "round {round}: {today}");
    }
}

/// A replica of the fleet whose every round trip to the database takes a while.
async fn with_a_slow_database(fleet: &Fleet) -> (Service, Proxy) {
    let url = fleet.launch.database_url();
    let (rest, name) = url.rsplit_once('/').unwrap();
    let (user, server) = rest.rsplit_once('@').unwrap();
    let proxy = Proxy::to(server.parse::<SocketAddr>().unwrap());
    let through = format!("{user}@{}/{name}", proxy.address);
    let replica = fleet.launch.clone().env("DATABASE_URL", through).start().await;
    wait_until_whole(&replica).await;
    proxy.delay(Duration::from_millis(300));
    (replica, proxy)
}

#[tokio::test]
async fn a_facility_of_a_received_message_is_asked_for_before_it_is_read() {
    let fleet = Fleet::of(1).await;
    let known = Site::register(&fleet[0], &noon_zone()).await;
    let (slow, _proxy) = with_a_slow_database(&fleet).await;
    let item = Uuid::new_v4();
    set_stock(&fleet[0], known, item, 1).await;
    known.shows(&slow, (1, 0, 0)).await;
    for quantity in 2..12 {
        let new = Uuid::new_v4();
        let registered = event(
            "facility.registered",
            json!({"facility_id": new, "name": "New", "timezone": noon_zone()}),
        );
        // Both are in one message: when a replica shows the one, it has received the other.
        let stocked = inventory(item, known.bank, "O+", quantity);
        post(&fleet[0], &[registered, stocked]).await;
        wait_until("the message is received", async || {
            known.summary(&slow, "today").await["total_stock"] == quantity
        })
        .await;
        let status = slow.get(&path(new, "today")).await.status();
        assert_eq!(status, 200, "round {quantity}");
    }
}
