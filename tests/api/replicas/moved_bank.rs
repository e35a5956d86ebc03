//! Banks that move to another facility while a transaction on their units is open.

use serde_json::json;
use uuid::Uuid;

use super::{Fleet, claims::claimed, today};
use crate::{
    steps::{Plain, noon_zone, now_ms, post},
    support::{events::event, site::Site, wait_until},
};

async fn a_unit_follows_its_bank(by_event: bool) {
    let fleet = Fleet::of(2).await;
    let (from, to) = (
        Site::register(&fleet[0], &noon_zone()).await,
        Site::register(&fleet[0], &noon_zone()).await,
    );
    let (mut plain, mut held) = (Plain::beside(&fleet[0]).await, Plain::beside(&fleet[0]).await);
    let (bank, facility) = (plain.id(from.bank), plain.id(to.facility));
    held.run(&format!(
        "INSERT INTO blood_inventory (id, blood_bank_id, quantity) VALUES (gen_random_uuid(), \
         {bank}, 2)"
    ))
    .await;
    held.run(&format!(
        "BEGIN; UPDATE blood_inventory SET quantity = 7 WHERE blood_bank_id = {bank}"
    ))
    .await;
    if by_event {
        let data = json!({"blood_bank_id": from.bank, "facility_id": to.facility, "name": "Ward"});
        post(&fleet[1], &[event("blood_bank.registered", data)]).await;
    } else {
        plain
            .run(&format!("UPDATE blood_banks SET facility_id = {facility} WHERE id = {bank}"))
            .await;
    }
    wait_until("the move is drained", async || {
        plain.number("SELECT count(*) FROM summary_marks").await == 0
    })
    .await;
    held.run("COMMIT").await;
    let written_ms = now_ms();
    for replica in &fleet.replicas {
        for (site, stock) in [(to, 7), (from, 0)] {
            let claim = claimed(replica, &today(site), "", written_ms).await;
            assert_eq!(claim.body["total_stock"], stock, "{}", claim.told);
        }
    }
}

#[tokio::test]
async fn a_unit_committed_after_its_bank_was_moved_by_sql_is_in_the_new_facility() {
    a_unit_follows_its_bank(false).await;
}

#[tokio::test]
async fn a_unit_committed_after_its_bank_was_moved_by_an_event_is_in_the_new_facility() {
    a_unit_follows_its_bank(true).await;
}

/// The same for an acknowledged unit: its event waits for the lock of the facility that the bank
/// leaves.
#[tokio::test]
async fn a_unit_acknowledged_beside_the_move_of_its_bank_is_in_the_new_facility() {
    let fleet = Fleet::patient(2, |launch| launch.env("FACILITY_SUMMARY__REFRESH__CHUNK", 1)).await;
    let (from, to) = (
        Site::register(&fleet[0], &noon_zone()).await,
        Site::register(&fleet[0], &noon_zone()).await,
    );
    let mut plain = Plain::beside(&fleet[0]).await;
    let (bank, old, new) = (plain.id(from.bank), plain.id(from.facility), plain.id(to.facility));
    for quantity in 1..=4 {
        let [(site, leaves, goes_to), (other, ..)] = if quantity % 2 == 1 {
            [(to, &old, &new), (from, &new, &old)]
        } else {
            [(from, &new, &old), (to, &old, &new)]
        };
        let mut holder = Plain::beside(&fleet[0]).await;
        holder
            .run(&format!(
                "BEGIN; SELECT FROM facility_state WHERE facility_id = {leaves} FOR UPDATE"
            ))
            .await;
        let set = event(
            "inventory.set",
            json!({
                "inventory_id": Uuid::from_u128(5),
                "blood_bank_id": from.bank,
                "quantity": quantity,
            }),
        );
        let acknowledged = post(&fleet[1], std::slice::from_ref(&set));
        let moving = async {
            holder.until_waiting(1).await;
            plain
                .run(&format!("UPDATE blood_banks SET facility_id = {goes_to} WHERE id = {bank}"))
                .await;
            let marks = format!("SELECT count(*) FROM summary_marks WHERE facility_id = {goes_to}");
            wait_until("the new facility of the bank is refreshed", async || {
                plain.number(&marks).await == 0
            })
            .await;
            holder.run("ROLLBACK").await;
        };
        futures_util::future::join(acknowledged, moving).await;
        let written_ms = now_ms();
        for replica in &fleet.replicas {
            for (site, stock) in [(site, quantity), (other, 0)] {
                let claim = claimed(replica, &today(site), "", written_ms).await;
                assert_eq!(claim.body["total_stock"], stock, "{}", claim.told);
            }
        }
    }
}
