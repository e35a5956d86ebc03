//! A change at one replica reaches the memory of every other replica without a request there.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Fleet, holds, set_stock};
use crate::{
    steps::{Plain, get, noon_zone, path, post},
    support::{Service, events::event, plain_sql::number, site::Site, wait_until},
};

/// What every replica says of a facility: its name and zone, as a JSON array; null where it is not
/// listed.
async fn listed(replica: &Service, id: Uuid) -> Value {
    let all = get(replica, "/v1/facilities?limit=500").await;
    let found = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["facility_id"] == id.to_string())
        .cloned();
    found.map_or(Value::Null, |item| json!([item["name"], item["timezone"]]))
}

/// Waits until every replica shows the facility with this name and zone, in the listing and alone.
async fn all_list(fleet: &Fleet, id: Uuid, name: &str, zone: &str) {
    for replica in &fleet.replicas {
        wait_until("the replica shows the name and zone", async || {
            listed(replica, id).await == json!([name, zone])
        })
        .await;
        let own = get(replica, &format!("/v1/facilities/{id}")).await;
        assert_eq!((&own["name"], &own["timezone"]), (&json!(name), &json!(zone)));
    }
}

#[tokio::test]
async fn an_event_shows_in_the_memory_of_every_replica_without_a_refresh_there() {
    let fleet = Fleet::of(3).await;
    let site = Site::register(&fleet[0], &noon_zone()).await;
    let item = Uuid::new_v4();
    for quantity in 1..=20 {
        set_stock(&fleet[quantity as usize % 3], site, item, quantity).await;
        for replica in &fleet.replicas {
            holds(replica, site, quantity).await;
        }
    }
    for trigger in ["read", "schedule", "request"] {
        assert_eq!(
            fleet.sum("summary_refreshes_total", &[("trigger", trigger)]).await,
            0.0,
            "{trigger}"
        );
    }
    assert_eq!(fleet.sum("summary_reads_total", &[("tier", "table")]).await, 0.0);
    assert_eq!(fleet.sum("stream_gaps_total", &[]).await, 0.0);
}

#[tokio::test]
async fn what_another_program_writes_shows_in_the_memory_of_every_replica() {
    let fleet = Fleet::of(3).await;
    let site = Site::register(&fleet[0], &noon_zone()).await;
    let item = Uuid::new_v4();
    set_stock(&fleet[0], site, item, 1).await;
    let mut plain = Plain::beside(&fleet[0]).await;
    for quantity in 2..6 {
        plain
            .run(&format!("UPDATE blood_inventory SET quantity = {quantity} WHERE id = '{item}'"))
            .await;
        for replica in &fleet.replicas {
            holds(replica, site, quantity).await;
        }
    }
    assert_eq!(fleet.sum("summary_refreshes_total", &[("trigger", "read")]).await, 0.0);
    plain.run("DELETE FROM blood_inventory").await;
    for replica in &fleet.replicas {
        holds(replica, site, 0).await;
    }
}

#[tokio::test]
async fn an_event_about_a_facility_shows_at_every_replica() {
    let fleet = Fleet::of(3).await;
    let id = Uuid::new_v4();
    for (writer, name, zone) in [
        (0, "North", "UTC"),
        (1, "Far North", "UTC"),
        (2, "Far East", "Pacific/Kiritimati"),
        (1, "West", "Etc/GMT+12"),
    ] {
        let data = json!({"facility_id": id, "name": name, "timezone": zone});
        post(&fleet[writer], &[event("facility.registered", data)]).await;
        all_list(&fleet, id, name, zone).await;
    }
}

#[tokio::test]
async fn another_programs_change_of_a_facility_shows_at_every_replica() {
    let fleet = Fleet::of(3).await;
    let (id, mut plain) = (Uuid::new_v4(), Plain::beside(&fleet[0]).await);
    plain
        .run(&format!(
            "INSERT INTO facilities (id, name, timezone) VALUES ('{id}', 'North', 'UTC')"
        ))
        .await;
    all_list(&fleet, id, "North", "UTC").await;
    plain.run(&format!("UPDATE facilities SET name = 'South' WHERE id = '{id}'")).await;
    all_list(&fleet, id, "South", "UTC").await;
    for replica in &fleet.replicas {
        assert_eq!(get(replica, &path(id, "today")).await["total_requests"], 0);
    }
    for zone in ["Pacific/Kiritimati", "Etc/GMT+12"] {
        plain.run(&format!("UPDATE facilities SET timezone = '{zone}' WHERE id = '{id}'")).await;
        all_list(&fleet, id, "South", zone).await;
        let today = crate::steps::date_in(zone, 0).to_string();
        for replica in &fleet.replicas {
            assert_eq!(get(replica, &path(id, "today")).await["date"], today);
        }
    }
    plain.run(&format!("DELETE FROM facilities WHERE id = '{id}'")).await;
    for replica in &fleet.replicas {
        wait_until("the facility is unknown", async || {
            replica.get(&path(id, "today")).await.status() == 404
        })
        .await;
        assert_eq!(listed(replica, id).await, Value::Null);
        assert_eq!(replica.get(&format!("/v1/facilities/{id}")).await.status(), 404);
    }
}

/// Otherwise the old figures would be shown as fresh when the id is registered again.
#[tokio::test]
async fn a_facility_that_is_removed_leaves_nothing_in_the_memory_of_any_replica() {
    let fleet = Fleet::of(3).await;
    let (stays, goes) = (
        Site::register(&fleet[0], &noon_zone()).await,
        Site::register(&fleet[0], &noon_zone()).await,
    );
    let entries =
        async |replica: &Service| get(replica, "/health/ready").await["memory"]["entries"].as_u64();
    for replica in &fleet.replicas {
        for site in [stays, goes] {
            holds(replica, site, 0).await;
        }
        assert_eq!(entries(replica).await, Some(2));
    }
    let mut plain = Plain::beside(&fleet[0]).await;
    let id = plain.id(goes.facility);
    plain
        .run(&format!(
            "BEGIN; DELETE FROM blood_banks WHERE facility_id = {id}; DELETE FROM facilities \
             WHERE id = {id}; COMMIT"
        ))
        .await;
    for replica in &fleet.replicas {
        wait_until("the facility is unknown", async || {
            replica.get(&path(goes.facility, "today")).await.status() == 404
        })
        .await;
        wait_until("the facility's figures are gone", async || entries(replica).await == Some(1))
            .await;
        holds(replica, stays, 0).await;
    }
}

#[tokio::test]
async fn a_removal_shows_at_every_replica_while_another_mark_waits_for_a_lock() {
    // Longer than any wait of this test.
    let fleet =
        Fleet::with(2, |launch| launch.env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 60_000))
            .await;
    let (locked, removed) = (Uuid::new_v4(), Uuid::new_v4());
    let mut plain = Plain::beside(&fleet[0]).await;
    for id in [locked, removed] {
        plain
            .run(&format!(
                "INSERT INTO facilities (id, name, timezone) VALUES ('{id}', 'North', 'UTC')"
            ))
            .await;
        all_list(&fleet, id, "North", "UTC").await;
    }
    let waiting = "SELECT (SELECT count(*) FROM summary_marks) + (SELECT count(*) FROM outbox) + \
                   (SELECT count(*) FROM facility_outbox)";
    wait_until("all earlier changes are published", async || {
        number(fleet[0].database_url(), waiting).await == 0
    })
    .await;
    let told = async || fleet.sum("stream_publications_total", &[("outcome", "published")]).await;
    let before = told().await;
    let mut holder = Plain::beside(&fleet[0]).await;
    holder
        .run(&format!(
            "BEGIN; SELECT 1 FROM facility_state WHERE facility_id = '{locked}' FOR UPDATE"
        ))
        .await;
    // Both are in one transaction, so that one pass of the drain sees both.
    plain
        .run(&format!(
            "INSERT INTO blood_requests (id, facility_id) VALUES (gen_random_uuid(), '{locked}'); \
             DELETE FROM facilities WHERE id = '{removed}'"
        ))
        .await;
    // The replica that removes the facility must publish it. A replica that does not know of the
    // removal lists the facility without rows, so it is not enough that others find it later.
    wait_until("the removal is published", async || told().await > before).await;
    for replica in &fleet.replicas {
        wait_until("the facility is unknown", async || {
            replica.get(&format!("/v1/facilities/{removed}")).await.status() == 404
        })
        .await;
    }
    holder.run("ROLLBACK").await;
    for replica in &fleet.replicas {
        wait_until("the mark of the other facility is processed", async || {
            get(replica, &path(locked, "today")).await["total_requests"] == 1
        })
        .await;
    }
}
