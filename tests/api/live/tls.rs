//! The same with TLS: its WebSockets are taken out of HTTP, too, and are written by another way.

use std::collections::BTreeSet;

use serde_json::json;
use uuid::Uuid;

use super::client::{Events, Live};
use crate::{
    edge::tls::{Files, certificate, started, trusting},
    support::{Service, plain_sql::execute, wait_until},
};

/// More than a socket takes at once: the first messages are 300 KB.
const FACILITIES: usize = 500;

#[tokio::test]
async fn everything_comes_over_tls_in_order_and_to_a_reader_that_waits() {
    let launch = Service::on_sqlite().env("FACILITY_SUMMARY__LIVE__HEARTBEAT_SECONDS", 1);
    let (files, pem) = (Files::at(&launch), certificate(2100));
    files.replace(&pem.chain, &pem.key);
    assert_eq!(launch.run(&["migrate"]).await.code, Some(0));
    let sql = format!(
        "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {FACILITIES}) \
         INSERT INTO facilities (id, name) SELECT unhex(printf('%032X', n)), 'F' || n FROM n; \
         INSERT INTO blood_banks (id, facility_id, name) SELECT id, id, name FROM facilities"
    );
    execute(launch.database_url(), &sql).await;
    let client = trusting(&[&pem]).build().unwrap();
    let service = started(files.set(launch), &client).await;
    let url = format!("https://{}", service.address);
    let mut live = Live::over(&client, &format!("{url}/v1/live")).await;
    assert_eq!(live.next().await.unwrap()["type"], "hello");
    let mut waits = Live::over(&client, &format!("{url}/v1/live")).await;
    for live in [&mut live, &mut waits] {
        live.send(json!({"type": "subscribe", "id": 1, "subject": "all"})).await;
        live.until("subscribed").await;
    }
    let mut seen = BTreeSet::new();
    while seen.len() < FACILITIES {
        let message = live.until("summaries").await;
        let items = message["summaries"].as_array().unwrap();
        let ids = items.iter().map(|item| item["summary"]["facility_id"].to_string());
        seen.extend(ids);
    }
    let a = Uuid::from_u128(1);
    let path = format!("{url}/v1/stream?facility_id={a}");
    let mut events = Events::of(client.get(path).send().await.unwrap());
    events.until("summary").await;
    for quantity in 1..=20 {
        let data = json!({
            "inventory_id": a, "blood_bank_id": a, "blood_type": "O+", "quantity": quantity,
        });
        let event = crate::support::events::event("inventory.set", data);
        let posted = client.post(format!("{url}/v1/events")).json(&event).send().await.unwrap();
        assert_eq!(posted.status(), 200);
        assert_eq!(events.until("summary").await.data["summary"]["total_stock"], quantity);
    }
    for live in [&mut live, &mut waits] {
        let (mut stock, mut versions) = (json!(null), Vec::new());
        while stock != 20 {
            let message = live.until("summaries").await;
            let items = message["summaries"].as_array().unwrap();
            let mut of_a = items.iter().filter(|item| item["summary"]["facility_id"] == json!(a));
            if let Some(item) = of_a.next() {
                stock = item["summary"]["total_stock"].clone();
                versions.push(item["summary"]["version"].as_i64().unwrap());
            }
        }
        assert!(versions.is_sorted(), "{versions:?}");
        live.until("heartbeat").await;
        live.send(json!({"type": "ping", "id": 7})).await;
        assert_eq!(live.until("pong").await["id"], 7);
    }
    drop((live, waits, events));
    wait_until("their places are free", async || {
        let ready = client.get(format!("{url}/health/ready")).send().await.unwrap();
        ready.json::<serde_json::Value>().await.unwrap()["clients"] == 0
    })
    .await;
}
