//! Another program moved a facility to another zone, and this process does not know it yet.
//! Requests are answered with the new zone, and are not refused until the process knows it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Service,
    events::event,
    outside::Outside,
    service::Launch,
    site::{Site, acknowledged, audited},
};

/// A service whose drain runs once, at the start. It notices no later change by itself.
async fn deaf(launch: Launch) -> Service {
    launch
        .env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", Duration::from_secs(3600).as_millis())
        .start()
        .await
}

/// Two zones that are on different dates at any instant.
const ZONES: [&str; 2] = ["Pacific/Kiritimati", "Pacific/Pago_Pago"];

async fn events_are_taken(service: Service) {
    let site = Site::register(&service, ZONES[0]).await;
    let item = Uuid::new_v4();
    acknowledged(&service, &site.stock(item, 1)).await;
    let mut sql = Outside::connect(service.database_url()).await;
    let now = Timestamp::now();
    let delivery = json!({
        "distribution_id": Uuid::new_v4(),
        "dispatched_to_id": site.facility,
        "quantity": 3,
        "date_delivered": now.to_string(),
    });
    let kinds: [(&str, Value); 5] = [
        ("request", site.request(Uuid::new_v4(), now)),
        ("stock", site.stock(item, 2)),
        ("delivery", event("distribution.set", delivery)),
        ("removal", event("inventory.removed", json!({"inventory_id": item}))),
        ("touch", event("summary.touched", json!({"facility_id": site.facility}))),
    ];
    for (at, (what, event)) in kinds.into_iter().enumerate() {
        let zone = ZONES[(at + 1) % 2];
        sql.run(format!(
            "UPDATE facilities SET timezone = '{zone}' WHERE id = {}",
            sql.id(site.facility)
        ))
        .await;
        let applied = acknowledged(&service, &event).await;
        let today = now.in_tz(zone).expect("it is a zone").date().to_string();
        let touched = applied["summaries"].as_array().expect("it names them");
        assert!(
            touched.iter().any(|summary| summary["date"] == today),
            "{what} in {zone}: {applied}"
        );
    }
    let heard = service
        .kill_9()
        .await
        .env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 50)
        .start()
        .await;
    site.shows(&heard, (0, 3, 1)).await;
    audited(heard.launch()).await;
}

#[tokio::test]
async fn events_are_taken_right_after_another_program_moved_their_facility_on_postgres() {
    events_are_taken(deaf(Service::on_postgres().await).await).await;
}

#[tokio::test]
async fn events_are_taken_right_after_another_program_moved_their_facility_on_sqlite() {
    events_are_taken(deaf(Service::on_sqlite()).await).await;
}
