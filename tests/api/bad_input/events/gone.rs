//! Events that refer to what another program has deleted a moment ago, before the service knows.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::post_batch;
use crate::{
    on_both_stores,
    support::{
        events::event,
        outside::Outside,
        site::{Site, a_zone_at_noon, acknowledged},
    },
};

on_both_stores! {
    async fn an_event_about_a_facility_that_was_just_deleted_is_named_by_its_index(
        service: Service
    ) {
        let (_, launch) = service.terminate().await;
        // The drain stands still after the start, so that the directory hears of no deletion.
        let still = launch.env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 86_400_000);
        let service = still.env("FACILITY_SUMMARY__REBUILD__CRON", "off").start().await;
        let zone = a_zone_at_noon().0;
        let whole = Site::register(&service, &zone).await;
        let mut sql = Outside::connect(service.database_url()).await;
        let now = Timestamp::now();
        for field in ["/data/facility_id", "/data/dispatched_to_id"] {
            let gone = Site::register(&service, &zone).await;
            let (facility, bank) = (sql.id(gone.facility), sql.id(gone.bank));
            sql.run(format!(
                "DELETE FROM blood_banks WHERE id = {bank}; DELETE FROM facilities WHERE id = \
                 {facility}"
            ))
            .await;
            let faulty = match field {
                "/data/facility_id" => gone.request(Uuid::new_v4(), now),
                _ => event(
                    "distribution.set",
                    json!({
                        "distribution_id": Uuid::new_v4(),
                        "dispatched_to_id": gone.facility,
                        "quantity": 3,
                        "date_delivered": now.to_string(),
                    }),
                ),
            };
            let batch = json!([whole.stock(Uuid::new_v4(), 5), faulty]);
            let answer = post_batch(&service, &batch).await;
            assert_eq!(answer.status(), 422);
            let answer: Value = answer.json().await.expect("it is JSON");
            let pointers: Vec<&Value> =
                answer["errors"].as_array().into_iter().flatten().map(|e| &e["pointer"]).collect();
            assert_eq!(pointers, [&json!(format!("/1{field}"))], "{answer}");
        }
        assert_eq!(sql.number("SELECT count(*) FROM blood_inventory").await, 0);
        acknowledged(&service, &whole.stock(Uuid::new_v4(), 5)).await;
    }
}
