//! Groups of events that are under way at the same time.

use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{batch, inventory},
    support::{
        Service,
        events::event,
        outside::Outside,
        site::{Site, a_zone_at_noon, acknowledged, audited},
    },
};

const CLIENTS: usize = 8;
const UNITS: usize = 40;

on_both_stores! {
    /// No other program writes, so nothing is refused: neither by a lock that two groups take in
    /// different orders, nor by one that a group holds while it waits for another.
    async fn batches_that_set_and_remove_beside_each_other_are_all_taken(service: Service) {
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        let client = async |_| {
            let mut present: Vec<Uuid> = Vec::new();
            for _ in 0..6 {
                let removed = present.split_off(present.len() / 2);
                let added: Vec<Uuid> = (0..UNITS - removed.len()).map(|_| Uuid::new_v4()).collect();
                let gone = |id: &Uuid| event("inventory.removed", json!({"inventory_id": id}));
                let there = |id: &Uuid| inventory(*id, site.bank, "O+", 1);
                let events: Vec<_> =
                    removed.iter().map(gone).chain(added.iter().map(there)).collect();
                let response = batch(&service, &events).send().await.unwrap();
                assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
                present.extend(added);
            }
            present.len()
        };
        let left: usize = join_all((0..CLIENTS).map(client)).await.into_iter().sum();
        acknowledged(&service, &site.stock(Uuid::new_v4(), 1)).await;
        site.shows(&service, (left as i64 + 1, 0, 0)).await;
        audited(service.launch()).await;
    }
}

/// A program may commit units of the bank between the snapshot of the event and its commit, and a
/// drain may look in between: only this mark has the new facility derived once more.
#[tokio::test]
async fn an_event_that_moves_a_bank_leaves_a_mark_for_where_it_is_then() {
    let launch = Service::on_postgres().await;
    let launch = launch.env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 86_400_000);
    let service = launch.start().await;
    let zone = a_zone_at_noon().0;
    let (from, to) = (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
    let mut sql = Outside::connect(service.database_url()).await;
    let marks = format!(
        "SELECT count(*) FROM summary_marks WHERE kind = 'stock' AND blood_bank_id = '{}' AND \
         facility_id = '{}'",
        from.bank, to.facility
    );
    assert_eq!(sql.number(marks.as_str()).await, 0);
    let bank = json!({"facility_id": to.facility, "name": "Ward"});
    let moved = service.put(&format!("/v1/blood-banks/{}", from.bank), &bank).await;
    assert_eq!(moved.status(), 200);
    assert_eq!(sql.number(marks.as_str()).await, 1);
}
