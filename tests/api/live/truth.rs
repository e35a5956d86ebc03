//! No heartbeat claims more than is true, and no facility is shown that was removed.

use serde_json::{Value, json};
use uuid::Uuid;

use super::client::{Events, Live};
use crate::{
    access::{key_of, signed_in},
    on_both_stores,
    steps::{Plain, bank, facility, inventory, now_ms, post},
    support::Service,
};

on_both_stores! {
    async fn a_facility_that_is_removed_is_told_to_all_that_were_shown_it(launch: Launch) {
        let service = signed_in(launch).await;
        let (a, b) = (facility(&service, "A", "UTC").await, facility(&service, "B", "UTC").await);
        let bank_b = bank(&service, b).await;
        let connect = async |key: &str, subscribe: Value| {
            let key = format!("Bearer {key}");
            let (mut live, _) = Live::connect(&service, &[("authorization", &key)]).await;
            live.send(subscribe).await;
            live
        };
        let everything = key_of(&service, "viewer", &[]).await;
        let of_b = key_of(&service, "viewer", &[b]).await;
        let all = json!({"type": "subscribe", "subject": "all"});
        let mut followers = vec![
            connect(&everything, json!({"type": "subscribe", "facilities": [a, b]})).await,
            connect(&everything, all.clone()).await,
        ];
        let mut shown = 0;
        while shown < 2 {
            let message = followers[1].until("summaries").await;
            shown += message["summaries"].as_array().unwrap().len();
        }
        followers[0].until("summary").await;
        let mut narrow = connect(&of_b, all).await;
        narrow.until("summaries").await;
        let subject = json!({"type": "subscribe", "subject": "totals"});
        let mut totals = connect(&everything, subject).await;
        while totals.until("totals").await["totals"]["facilities"] != 2 {}
        let path = "/v1/stream?subject=all";
        let request = service.request_as(Some(&everything), reqwest::Method::GET, path);
        let mut events = Events::of(request.send().await.unwrap());
        events.until("summaries").await;

        let mut sql = Plain::beside(&service).await;
        let id = sql.id(a);
        sql.run(&format!("DELETE FROM facilities WHERE id = {id}")).await;
        for live in &mut followers {
            let told = live.until("error").await;
            assert_eq!(told["code"], "unknown_facility");
            assert_eq!(told["facility_id"], json!(a));
        }
        assert_eq!(events.until("error").await.data["facility_id"], json!(a));
        // Without another change.
        while totals.until("totals").await["totals"]["facilities"] != 1 {}
        post(&service, &[inventory(Uuid::new_v4(), bank_b, "O+", 3)]).await;
        let next = narrow.news().await;
        assert_eq!(next["summaries"][0]["summary"]["total_stock"], 3, "not told of the other one");
        // Nobody is told twice.
        for live in &mut followers {
            assert_ne!(live.news().await["type"], "error");
        }
    }
}

/// Totals are put together for all changes of a quarter of a second; a heartbeat may come between.
#[tokio::test]
async fn a_heartbeat_claims_no_totals_that_lack_a_change_from_before() {
    let launch = Service::on_sqlite().env("FACILITY_SUMMARY__LIVE__HEARTBEAT_SECONDS", 1);
    let service = launch.start().await;
    let a = facility(&service, "A", "UTC").await;
    let (bank, unit) = (bank(&service, a).await, Uuid::new_v4());
    let mut clients = Vec::new();
    // Each has its heartbeat at another time.
    for _ in 0..8 {
        let (mut live, _) = Live::connect(&service, &[]).await;
        live.send(json!({"type": "subscribe", "subject": "totals"})).await;
        live.until("totals").await;
        clients.push(live);
    }
    let reading = clients.into_iter().map(async |mut live| {
        let (mut beats, mut shown) = (Vec::new(), 0);
        while beats.len() < 4 {
            let message = live.next().await.unwrap();
            match message["type"].as_str() {
                Some("totals") => shown = message["totals"]["total_stock"].as_i64().unwrap(),
                Some("heartbeat") => beats.push((message["exact_as_of"].clone(), shown)),
                _ => {}
            }
        }
        beats
    });
    let reading = futures_util::future::join_all(reading);
    let mut over = vec![(0, 0)];
    let writing = async {
        for quantity in 1.. {
            post(&service, &[inventory(unit, bank, "O+", quantity)]).await;
            over.push((now_ms(), quantity));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let beats = tokio::select! {
        beats = reading => beats,
        () = writing => unreachable!(),
    };
    for (exact, shown) in beats.into_iter().flatten() {
        let Some(exact) = exact.as_str() else { continue };
        let exact_ms = exact.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let due = over[over.partition_point(|(at_ms, _)| *at_ms < exact_ms) - 1].1;
        assert!(shown >= due, "{shown} is shown, and {due} was over before {exact}");
    }
}
