//! What comes over a WebSocket.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};
use uuid::Uuid;

use super::client::Live;
use crate::{
    on_both_stores,
    steps::{Scrape, bank, date_in, facility, get, header, inventory, path, post, read},
    support::{PATIENCE, Service, wait_until},
};

on_both_stores! {
    async fn a_subscriber_gets_the_summary_as_a_read_has_it_and_then_each_change(
        service: Service,
    ) {
        let a = facility(&service, "A", "UTC").await;
        let bank = bank(&service, a).await;
        let unit = Uuid::new_v4();
        post(&service, &[inventory(unit, bank, "O+", 5)]).await;
        let (mut live, hello) = Live::connect(&service, &[]).await;
        assert!(hello["epoch"].is_string() && hello["now"].is_string(), "{hello}");
        let subscribed = live.subscribe(&[a]).await;
        assert_eq!(subscribed["facilities"], json!([a]));
        assert_eq!(subscribed["refused"], json!([]));
        let first = live.news().await;
        let answer = read(&service, &path(a, "today"), "").await;
        assert_eq!(first["etag"], header(&answer, "etag"));
        assert_eq!(first["summary"], answer.json::<serde_json::Value>().await.unwrap());
        for quantity in [7, 9, 4] {
            post(&service, &[inventory(unit, bank, "O+", quantity)]).await;
            let next = live.news().await;
            assert_eq!(next["type"], "summary");
            assert_eq!(next["summary"]["total_stock"], quantity);
            assert_eq!(next["summary"], get(&service, &path(a, "today")).await);
        }
    }

    async fn what_does_not_exist_is_refused_and_the_rest_is_followed(service: Service) {
        let a = facility(&service, "A", "UTC").await;
        let unknown = Uuid::new_v4();
        let (mut live, _) = Live::connect(&service, &[]).await;
        live.send(json!({
            "type": "subscribe", "facilities": [unknown, a, "nonsense"], "subject": "none",
        })).await;
        let subscribed = live.until("subscribed").await;
        assert_eq!(subscribed["facilities"], json!([a]));
        assert_eq!(subscribed["refused"], json!([
            {"facility_id": unknown, "reason": "unknown"},
            {"facility_id": "nonsense", "reason": "not_an_id"},
            {"subject": "none", "reason": "unknown"},
        ]));
        assert_eq!(live.until("summary").await["summary"]["facility_id"], json!(a));
    }

    async fn whoever_knows_the_state_by_its_tag_gets_only_what_comes_after(service: Service) {
        let a = facility(&service, "A", "UTC").await;
        let bank = bank(&service, a).await;
        let unit = Uuid::new_v4();
        post(&service, &[inventory(unit, bank, "O+", 5)]).await;
        let tag = header(&read(&service, &path(a, "today"), "").await, "etag");
        let (mut live, _) = Live::connect(&service, &[]).await;
        let known = json!({a.to_string(): tag});
        live.send(json!({"type": "subscribe", "facilities": [a], "known": known})).await;
        live.until("subscribed").await;
        live.send(json!({"type": "ping", "id": 7})).await;
        assert_eq!(live.news().await["type"], "pong", "nothing that it has already");
        post(&service, &[inventory(unit, bank, "O+", 6)]).await;
        assert_eq!(live.news().await["summary"]["total_stock"], 6);
    }

    async fn who_follows_all_gets_every_facility_and_the_totals_are_those_of_the_list(
        service: Service,
    ) {
        let mut banks = Vec::new();
        for name in ["A", "B", "C"] {
            let id = facility(&service, name, "UTC").await;
            let bank = bank(&service, id).await;
            post(&service, &[inventory(Uuid::new_v4(), bank, "O+", 2)]).await;
            banks.push((id, bank));
        }
        let (mut live, _) = Live::connect(&service, &[]).await;
        live.send(json!({"type": "subscribe", "subject": "all"})).await;
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 3 {
            let message = live.until("summaries").await;
            for item in message["summaries"].as_array().unwrap() {
                assert_eq!(item["summary"]["total_stock"], 2);
                seen.insert(item["summary"]["facility_id"].as_str().unwrap().to_owned());
            }
        }
        live.send(json!({"type": "subscribe", "subject": "totals"})).await;
        assert_eq!(live.until("totals").await["totals"]["total_stock"], 6);
        post(&service, &[inventory(Uuid::new_v4(), banks[1].1, "A+", 10)]).await;
        let (mut has_summary, mut has_totals) = (false, false);
        while !(has_summary && has_totals) {
            let message = live.news().await;
            has_summary |= message["summaries"][0]["summary"]["total_stock"] == 12;
            has_totals |= message["totals"]["total_stock"] == 16;
        }
        // A facility that is registered later belongs to all, too.
        let late = facility(&service, "D", "UTC").await;
        loop {
            let message = live.until("summaries").await;
            let items = message["summaries"].as_array().unwrap().clone();
            if items.iter().any(|item| item["summary"]["facility_id"] == json!(late)) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_heartbeat_says_as_of_when_everything_was_sent_and_rises() {
    let launch = Service::on_sqlite().env("FACILITY_SUMMARY__LIVE__HEARTBEAT_SECONDS", 1);
    let service = launch.start().await;
    let a = facility(&service, "A", "UTC").await;
    let (mut live, _) = Live::connect(&service, &[]).await;
    live.subscribe(&[a]).await;
    let mut last = String::new();
    for _ in 0..3 {
        let beat = live.until("heartbeat").await;
        let exact = beat["exact_as_of"].as_str().expect("it is proven").to_owned();
        assert!(exact > last, "{last} {exact}");
        assert!(beat["now"].as_str().unwrap() >= exact.as_str());
        last = exact;
    }
}

/// A list that was rendered a moment ago may lack a change; the totals that clients are sent last
/// must not.
#[tokio::test]
async fn the_totals_have_a_change_that_comes_right_after_others() {
    let service = Service::on_sqlite().start().await;
    let a = facility(&service, "A", "UTC").await;
    let b = facility(&service, "B", "UTC").await;
    let (bank, other) = (bank(&service, a).await, bank(&service, b).await);
    let unit = Uuid::new_v4();
    let (mut live, _) = Live::connect(&service, &[]).await;
    for quantity in 1..=5i64 {
        // At another time between two gatherings each time, which are a quarter of a second apart.
        tokio::time::sleep(Duration::from_millis(50 * quantity.unsigned_abs())).await;
        // The totals that come first are rendered now, since there is a change.
        post(&service, &[inventory(Uuid::new_v4(), other, "O+", 1)]).await;
        live.send(json!({"type": "subscribe", "subject": "totals"})).await;
        live.until("totals").await;
        post(&service, &[inventory(unit, bank, "O+", quantity)]).await;
        let newest =
            async { while live.until("totals").await["totals"]["total_stock"] != 2 * quantity {} };
        tokio::time::timeout(PATIENCE, newest).await.expect("the totals with the change come");
        live.send(json!({"type": "unsubscribe", "subject": "totals"})).await;
        live.until("unsubscribed").await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_a_flood_is_the_end() {
    let service = Service::on_sqlite().start().await;
    let (mut live, _) = Live::connect(&service, &[]).await;
    for wrong in [json!({"type": "dance"}), json!(7), json!({"type": "auth"})] {
        live.send(wrong).await;
        assert_eq!(live.until("error").await["code"], "malformed");
    }
    for _ in 0..120 {
        if live.socket.send(Message::text("{\"type\":\"ping\"}")).await.is_err() {
            break;
        }
    }
    let (before, code) = live.end().await;
    assert_eq!(before.last().unwrap()["code"], "too_many_messages");
    assert_eq!(code, Some(1008));
    let (mut live, _) = Live::connect(&service, &[]).await;
    live.send(json!({"type": "auth", "token": "x".repeat(20_000)})).await;
    let (before, code) = live.end().await;
    assert_eq!(before.last().unwrap()["code"], "message_too_large");
    assert_eq!(code, Some(1008));
    // In parts it is as large.
    let (mut live, _) = Live::connect(&service, &[]).await;
    for nth in 0..3 {
        let part = if nth == 0 { Data::Text } else { Data::Continue };
        let frame = Frame::message(vec![b'x'; 8_000], OpCode::Data(part), false);
        live.socket.send(Message::Frame(frame)).await.unwrap();
    }
    let (before, code) = live.end().await;
    assert_eq!(before.last().unwrap()["code"], "message_too_large");
    assert_eq!(code, Some(1008));
}

#[tokio::test]
async fn clients_are_bounded_and_counted_and_a_place_is_free_again_when_one_leaves() {
    let launch = Service::on_sqlite().env("FACILITY_SUMMARY__LIVE__MAX_CLIENTS", 2);
    let service = launch.start().await;
    let (one, _) = Live::connect(&service, &[]).await;
    let (_two, _) = Live::connect(&service, &[]).await;
    assert_eq!(get(&service, "/health/ready").await["clients"], 2);
    let (mut three, _) = Live::connect(&service, &[]).await;
    let (before, code) = three.end().await;
    assert_eq!(before[0]["code"], "full");
    assert!(before[0]["retry_ms"].as_u64().unwrap() > 0);
    assert_eq!(code, Some(1013));
    drop(one);
    wait_until("its place is free", async || get(&service, "/health/ready").await["clients"] == 1)
        .await;
    let (_four, _) = Live::connect(&service, &[]).await;
    let scrape = Scrape::of(&service).await;
    let of = |outcome| [("transport", "websocket"), ("outcome", outcome)];
    assert_eq!(scrape.find("live_connections_total", &of("opened")), Some(3.0));
    assert_eq!(scrape.find("live_connections_total", &of("full")), Some(1.0));
    assert_eq!(scrape.find("live_clients", &[("transport", "websocket")]), Some(2.0));
}

#[tokio::test]
async fn a_service_that_stops_tells_clients_when_to_come_back() {
    let service = Service::on_sqlite().start().await;
    let a = facility(&service, "A", "UTC").await;
    let (mut live, _) = Live::connect(&service, &[]).await;
    live.subscribe(&[a]).await;
    live.until("summary").await;
    let ((exited, _), (before, code)) = tokio::join!(service.terminate(), live.end());
    let last = before.iter().find(|message| message["type"] == "draining").expect("it is told");
    assert!(last["retry_ms"].as_u64().unwrap() <= 20_000);
    assert_eq!(code, Some(1012));
    assert_eq!(exited.code, Some(0));
}

#[tokio::test]
async fn a_client_that_reads_nothing_gets_the_newest_state_and_holds_up_nobody() {
    let service = Service::on_sqlite().start().await;
    let a = facility(&service, "A", "UTC").await;
    let bank = bank(&service, a).await;
    let unit = Uuid::new_v4();
    let (mut slow, _) = Live::connect(&service, &[]).await;
    slow.subscribe(&[a]).await;
    let (mut quick, _) = Live::connect(&service, &[]).await;
    quick.subscribe(&[a]).await;
    let most = 600;
    for quantity in 1..=most {
        post(&service, &[inventory(unit, bank, "O+", quantity)]).await;
        loop {
            let message = quick.until("summary").await;
            if message["summary"]["total_stock"] == quantity {
                break;
            }
        }
    }
    let (mut versions, mut last) = (Vec::new(), 0);
    while last != most {
        let message = slow.until("summary").await;
        versions.push(message["summary"]["version"].as_i64().unwrap());
        last = message["summary"]["total_stock"].as_i64().unwrap_or(0);
    }
    assert!(versions.is_sorted(), "no version goes back");
}

#[tokio::test]
async fn a_request_that_is_no_handshake_is_refused_with_what_would_be_right() {
    let service = Service::on_sqlite().start().await;
    let answer = service.get("/v1/live").await;
    assert_eq!(answer.status(), 426);
    assert_eq!(answer.headers()["upgrade"], "websocket");
    assert!(Live::try_connect(&service, &[("sec-websocket-protocol", "chat")]).await.is_err());
    assert!(
        Live::try_connect(&service, &[("sec-websocket-protocol", "facility-summary.v1")])
            .await
            .is_ok()
    );
    // An upgrade of another resource is answered as if there were none.
    let path = "/health/live";
    let answer = service
        .request(reqwest::Method::GET, path)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["status"], "alive");
}

#[tokio::test]
async fn what_is_asked_for_comes_about_in_its_order_and_asked_again_it_comes_again() {
    let service = Service::on_sqlite().start().await;
    let a = facility(&service, "A", "UTC").await;
    let (mut live, _) = Live::connect(&service, &[]).await;
    let of = |kind: &str| json!({"type": kind, "facilities": [a]});
    // An unknown one is looked up; nothing overtakes that.
    let first = json!({"type": "subscribe", "facilities": [Uuid::new_v4(), a]});
    live.send_at_once(&[first, of("unsubscribe"), json!({"type": "ping"})]).await;
    live.until("subscribed").await;
    assert_eq!(live.until("unsubscribed").await["facilities"], json!([a]));
    live.until("pong").await;
    assert_eq!(get(&service, &format!("/v1/facilities/{a}")).await["viewers"], 0);
    for _ in 0..2 {
        live.subscribe(&[a]).await;
        assert_eq!(live.until("summary").await["summary"]["facility_id"], json!(a));
    }
    for _ in 0..2 {
        live.send(json!({"type": "subscribe", "subject": "all"})).await;
        live.until("subscribed").await;
        assert_eq!(live.until("summaries").await["summaries"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_one_client_claims_to_know_holds_up_no_other() {
    let service = Service::on_sqlite().start().await;
    let mut all = Vec::new();
    for nth in 0..70 {
        all.push(facility(&service, &format!("F{nth}"), "UTC").await);
    }
    let today = date_in("UTC", 0);
    let claimed = |id: &Uuid| (id.to_string(), json!(format!("\"{today}.99999999.aaaaaaaa\"")));
    let known: serde_json::Map<_, _> = all.iter().map(claimed).collect();
    let (mut liar, _) = Live::connect(&service, &[]).await;
    liar.send(json!({"type": "subscribe", "facilities": all, "known": known})).await;
    liar.until("subscribed").await;
    // They are waited for in vain for some seconds, and more than are waited for at once.
    let (mut live, _) = Live::connect(&service, &[]).await;
    live.subscribe(&[all[69]]).await;
    live.until("summary").await;
    liar.send(json!({"type": "ping"})).await;
    while liar.next().await.map(|message| {
        assert_ne!(message["type"], "summary", "the other one waited as long");
        message["type"] != "pong"
    }) == Ok(true)
    {}
    for _ in 0..all.len() {
        liar.until("summary").await;
    }
}
