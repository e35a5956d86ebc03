//! Facilities that are removed by SQL, and registered again with the same id: they begin with nothing, and lose nothing of what is new.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use super::{Fleet, claims::claimed};
use crate::{
    steps::{DAY_MS, Plain, date_in, distribution, get, inventory, noon_zone, now_ms, path, post},
    support::{events::event, site::Site, wait_until},
};

/// All that there is of a facility, in one transaction.
fn removal(facility: &str) -> String {
    format!(
        "BEGIN; DELETE FROM blood_inventory WHERE blood_bank_id IN (SELECT id FROM blood_banks WHERE facility_id = {facility});
         DELETE FROM blood_banks WHERE facility_id = {facility}; DELETE FROM blood_distributions WHERE dispatched_to_id = {facility};
         DELETE FROM blood_requests WHERE facility_id = {facility}; DELETE FROM facilities WHERE id = {facility}; COMMIT"
    )
}

/// While the drain deals with the removal it is registered again by an event, with a bank and a unit.
#[tokio::test]
async fn what_is_registered_again_at_once_is_not_removed_with_what_was_there_before() {
    const FACILITIES: usize = 24;
    let fleet = Fleet::of(2).await;
    let mut sites = Vec::new();
    for _ in 0..FACILITIES {
        sites.push(Site::register(&fleet[0], &noon_zone()).await);
    }
    let mut plains = Vec::new();
    for _ in 0..FACILITIES {
        plains.push(Plain::beside(&fleet[0]).await);
    }
    for round in 1..=10u64 {
        let coming_back = sites.iter().zip(&mut plains).enumerate().map(|(at, (site, plain))| {
            let (fleet, site) = (&fleet, *site);
            async move {
                let facility = plain.id(site.facility);
                plain.run(&removal(&facility)).await;
                tokio::time::sleep(Duration::from_millis((at as u64 * 23 + round * 7) % 550)).await;
                let events = [
                    event("facility.registered", json!({"facility_id": site.facility, "name": "Phoenix", "timezone": noon_zone()})),
                    event("blood_bank.registered", json!({"blood_bank_id": site.bank, "facility_id": site.facility, "name": "Ward"})),
                    inventory(Uuid::from_u128(site.bank.as_u128() ^ 1), site.bank, "O+", round as i64),
                ];
                post(&fleet[at % 2], &events).await;
            }
        });
        join_all(coming_back).await;
        let written_ms = now_ms();
        for replica in &fleet.replicas {
            let read = sites.iter().map(|site| async { claimed(replica, &path(site.facility, "today"), "", written_ms).await });
            for claim in join_all(read).await {
                assert_eq!((claim.status, &claim.body["total_stock"]), (200, &json!(round)), "{}", claim.told);
            }
        }
    }
}

#[tokio::test]
async fn a_facility_that_comes_back_shows_no_figure_from_before_it_went() {
    let fleet = Fleet::of(3).await;
    let zone = noon_zone();
    let site = Site::register(&fleet[0], &zone).await;
    let (yesterday, mut plain) = (date_in(&zone, -1), Plain::beside(&fleet[0]).await);
    let facility = plain.id(site.facility);
    post(&fleet[0], &[distribution(Uuid::new_v4(), site.facility, 9, now_ms() - DAY_MS)]).await;
    let past = path(site.facility, yesterday);
    for replica in &fleet.replicas {
        assert_eq!(claimed(replica, &past, "", now_ms()).await.body["total_transferred"], 9);
    }
    plain.run(&removal(&facility)).await;
    for replica in &fleet.replicas {
        wait_until("the replica knows that it is gone", async || {
            replica.get(&format!("/v1/facilities/{}", site.facility)).await.status() == 404
        })
        .await;
    }
    plain.run(&format!("INSERT INTO facilities (id, name, timezone) VALUES ({facility}, 'Phoenix', '{zone}')")).await;
    let written_ms = now_ms();
    for replica in &fleet.replicas {
        wait_until("the replica knows that it is back", async || {
            replica.get(&format!("/v1/facilities/{}", site.facility)).await.status() == 200
        })
        .await;
        let claim = claimed(replica, &past, "", written_ms).await;
        assert_eq!(claim.body["total_transferred"], 0, "{}", claim.told);
        let range = get(replica, &format!("/v1/facilities/{}/summaries?from={yesterday}&to={yesterday}", site.facility)).await;
        assert_eq!(range["items"][0]["total_transferred"], 0, "{range}");
    }
}
