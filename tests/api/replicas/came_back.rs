//! Facilities that are removed by SQL, and registered again with the same id. They begin with no
//! figures, and lose none of their new ones.

use futures_util::future::join;
use serde_json::json;
use uuid::Uuid;

use super::{Fleet, claims::claimed};
use crate::{
    steps::{DAY_MS, Plain, date_in, distribution, get, noon_zone, now_ms, path, post},
    support::{events::event, site::Site, wait_until},
};

/// Statements that remove a facility and all its rows in one transaction.
fn removal(facility: &str) -> String {
    format!(
        "BEGIN; DELETE FROM blood_inventory WHERE blood_bank_id IN (SELECT id FROM blood_banks \
         WHERE facility_id = {facility});
         DELETE FROM blood_banks WHERE facility_id = {facility}; DELETE FROM blood_distributions \
         WHERE dispatched_to_id = {facility};
         DELETE FROM blood_requests WHERE facility_id = {facility}; DELETE FROM facilities WHERE \
         id = {facility}; COMMIT"
    )
}

/// Sessions that wait behind a session which has written a facility and waits itself.
const BEHIND_THE_EVENT: &str = "SELECT count(*) FROM pg_locks event JOIN pg_locks behind ON \
                                event.pid = ANY (pg_blocking_pids(behind.pid))
    WHERE event.relation = 'facilities'::regclass AND event.mode = 'RowExclusiveLock' AND NOT \
                                behind.granted";

/// Another session's lock stops both: the event that registers the facility again, and behind it
/// the drain that has found it gone.
#[tokio::test]
async fn a_facility_registered_again_at_once_is_not_removed_with_its_former_rows() {
    let fleet = Fleet::patient(2, |launch| launch).await;
    let zone = noon_zone();
    let (yesterday, mut plain) = (date_in(&zone, -1), Plain::beside(&fleet[0]).await);
    let site = Site::register(&fleet[0], &zone).await;
    let facility = plain.id(site.facility);
    for quantity in 1..=6 {
        let mut holder = Plain::beside(&fleet[0]).await;
        holder
            .run(&format!(
                "BEGIN; SELECT FROM facility_state WHERE facility_id = {facility} FOR UPDATE"
            ))
            .await;
        plain.run(&removal(&facility)).await;
        let events = [
            event(
                "facility.registered",
                json!({"facility_id": site.facility, "name": "Phoenix", "timezone": zone}),
            ),
            distribution(Uuid::new_v4(), site.facility, quantity, now_ms() - DAY_MS),
        ];
        let letting_go = async {
            wait_until("the drain waits behind the event", async || {
                plain.number(BEHIND_THE_EVENT).await > 0
            })
            .await;
            holder.run("ROLLBACK").await;
        };
        join(post(&fleet[1], &events), letting_go).await;
        wait_until("the removal is drained", async || {
            plain.number("SELECT count(*) FROM summary_marks").await == 0
        })
        .await;
        let written_ms = now_ms();
        for replica in &fleet.replicas {
            let claim = claimed(replica, &path(site.facility, yesterday), "", written_ms).await;
            assert_eq!(
                (claim.status, &claim.body["total_transferred"]),
                (200, &json!(quantity)),
                "{}",
                claim.told
            );
            let range = format!(
                "/v1/facilities/{}/summaries?from={yesterday}&to={yesterday}",
                site.facility
            );
            let claim = claimed(replica, &range, "", written_ms).await;
            assert_eq!(
                (claim.status, &claim.body["items"][0]["total_transferred"]),
                (200, &json!(quantity)),
                "{}",
                claim.told
            );
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
    plain
        .run(&format!(
            "INSERT INTO facilities (id, name, timezone) VALUES ({facility}, 'Phoenix', '{zone}')"
        ))
        .await;
    let written_ms = now_ms();
    for replica in &fleet.replicas {
        wait_until("the replica knows that it is back", async || {
            replica.get(&format!("/v1/facilities/{}", site.facility)).await.status() == 200
        })
        .await;
        let claim = claimed(replica, &past, "", written_ms).await;
        assert_eq!(claim.body["total_transferred"], 0, "{}", claim.told);
        let range = get(
            replica,
            &format!("/v1/facilities/{}/summaries?from={yesterday}&to={yesterday}", site.facility),
        )
        .await;
        assert_eq!(range["items"][0]["total_transferred"], 0, "{range}");
    }
}
