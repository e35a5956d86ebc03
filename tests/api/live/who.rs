//! Who may have live updates, and for how long.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::{Events, Live};
use crate::{
    access::{
        forged::Signer,
        key_of,
        people::{session, with_anna},
        signed_in,
    },
    on_both_stores,
    steps::{bank, facility, get, inventory, post},
    support::{Service, service::Launch, wait_until},
};

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

/// The stock of each facility in a message of the subject of all.
fn stocks(message: &Value) -> Vec<i64> {
    let items = message["summaries"].as_array().into_iter().flatten();
    items.map(|item| item["summary"]["total_stock"].as_i64().unwrap_or(0)).collect()
}

async fn ended(service: &Service, key: &str) {
    let id = key.split('_').nth(1).unwrap();
    let answer = service.request(reqwest::Method::DELETE, &format!("/v1/api-keys/{id}")).send();
    assert_eq!(answer.await.unwrap().status(), 204);
}

on_both_stores! {
    async fn whoever_may_see_some_facilities_gets_those_and_no_others(launch: Launch) {
        // One worker has all of them, so that they share what is the same for both.
        let service = signed_in(launch.env("FACILITY_SUMMARY__SERVER__WORKERS", 1)).await;
        let (a, b) = (facility(&service, "A", "UTC").await, facility(&service, "B", "UTC").await);
        let (bank_a, bank_b) = (bank(&service, a).await, bank(&service, b).await);
        let key = key_of(&service, "viewer", &[a]).await;
        let all = key_of(&service, "viewer", &[]).await;
        let (mut wide, _) = Live::connect(&service, &[("authorization", &bearer(&all))]).await;
        for subject in ["all", "totals"] {
            wide.send(json!({"type": "subscribe", "subject": subject})).await;
        }
        while wide.until("totals").await["totals"]["facilities"] != 2 {}
        let (mut live, _) = Live::connect(&service, &[("authorization", &bearer(&key))]).await;
        let subscribed = live.subscribe(&[a, b, Uuid::new_v4()]).await;
        assert_eq!(subscribed["facilities"], json!([a]));
        let refused = subscribed["refused"].as_array().unwrap();
        assert!(refused.len() == 2 && refused.iter().all(|one| one["reason"] == "forbidden"));
        live.until("summary").await;
        live.send(json!({"type": "subscribe", "subject": "all"})).await;
        let all = live.until("summaries").await;
        let items = all["summaries"].as_array().unwrap();
        assert!(items.len() == 1 && items[0]["summary"]["facility_id"] == json!(a), "{all}");
        live.send(json!({"type": "subscribe", "subject": "totals"})).await;
        assert_eq!(live.until("totals").await["totals"]["facilities"], 1);
        // What changes is put together once for all that may see the same, and for nobody else.
        for (bank, units) in [(bank_b, 5), (bank_a, 7)] {
            post(&service, &[inventory(Uuid::new_v4(), bank, "O+", units)]).await;
            while !stocks(&wide.until("summaries").await).contains(&units) {}
        }
        let mut seen = Vec::new();
        while !seen.contains(&7) {
            let next = live.news().await;
            assert!(next["totals"].is_null() || next["totals"]["facilities"] == 1, "{next}");
            seen.extend(stocks(&next));
        }
        assert!(!seen.contains(&5), "{seen:?}");
        let path = format!("/v1/stream?facility_id={b}");
        let request = service.request_as(Some(&key), reqwest::Method::GET, &path);
        let mut events = Events::of(request.send().await.unwrap());
        let subscribed = events.until("subscribed").await.data;
        assert_eq!(subscribed["refused"][0]["reason"], "forbidden");
    }

    async fn a_key_that_is_revoked_ends_its_live_clients_and_they_are_told(launch: Launch) {
        let service = signed_in(launch).await;
        let a = facility(&service, "A", "UTC").await;
        let key = key_of(&service, "viewer", &[]).await;
        let (mut live, _) = Live::connect(&service, &[("authorization", &bearer(&key))]).await;
        live.subscribe(&[a]).await;
        let path = format!("/v1/stream?facility_id={a}");
        let request = service.request_as(Some(&key), reqwest::Method::GET, &path);
        let mut events = Events::of(request.send().await.unwrap());
        events.until("summary").await;
        ended(&service, &key).await;
        let (before, code) = live.end().await;
        assert_eq!(before.last().unwrap()["code"], "expired");
        assert_eq!(code, Some(1008));
        assert!(events.until("expired").await.retry.is_some());
        assert!(events.next().await.is_none());
    }

    async fn a_client_may_sign_in_by_its_first_message_and_has_to_in_time(launch: Launch) {
        let service = signed_in(launch).await;
        let a = facility(&service, "A", "UTC").await;
        let key = key_of(&service, "viewer", &[]).await;
        let (mut live, _) = Live::connect(&service, &[]).await;
        live.send(json!({"type": "subscribe", "facilities": [a]})).await;
        assert_eq!(live.until("error").await["code"], "unauthorized");
        live.send(json!({"type": "auth", "token": key})).await;
        live.until("authenticated").await;
        live.subscribe(&[a]).await;
        live.until("summary").await;
        // Once more to renew; another one may not take the connection over.
        live.send(json!({"type": "auth", "token": key})).await;
        live.until("authenticated").await;
        let other = key_of(&service, "viewer", &[]).await;
        live.send(json!({"type": "auth", "token": other})).await;
        assert_eq!(live.until("error").await["code"], "other_principal");
        let (mut late, _) = Live::connect(&service, &[]).await;
        let (before, code) = late.end().await;
        assert_eq!(before.last().unwrap()["code"], "unauthorized");
        assert_eq!(code, Some(1008));
        let (mut wrong, _) = Live::connect(&service, &[]).await;
        wrong.send(json!({"type": "auth", "token": "fs_nothing"})).await;
        let (before, code) = wrong.end().await;
        let detail = before.last().unwrap()["detail"].as_str().unwrap();
        assert!(detail.contains("not valid here") && code == Some(1008), "{before:?} {code:?}");
        // Who may read nothing over HTTP may not do it so, either.
        let metrics = key_of(&service, "metrics", &[]).await;
        let (mut reader, _) = Live::connect(&service, &[]).await;
        reader.send(json!({"type": "auth", "token": metrics})).await;
        assert_eq!(reader.until("error").await["code"], "forbidden");
        assert_eq!(reader.end().await.1, Some(1008));
        let session = format!("Bearer ss_{}_{}", "0".repeat(12), "A".repeat(43));
        for wrong in ["Bearer fs_no", &session] {
            assert!(Live::try_connect(&service, &[("authorization", wrong)]).await.is_err());
        }
        let path = "/v1/stream?subject=all";
        let request = service.request_as(Some("fs_no"), reqwest::Method::GET, path);
        let mut events = Events::of(request.send().await.unwrap());
        assert_eq!(events.next().await.unwrap().name, "expired");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_gets_no_websocket() {
    let service = Service::on_sqlite().start().await;
    let own = format!("http://{}", service.address);
    assert!(Live::try_connect(&service, &[("origin", &own)]).await.is_ok());
    for other in ["https://evil.example", "null", "http://localhost:1"] {
        assert!(Live::try_connect(&service, &[("origin", other)]).await.is_err(), "{other}");
    }
    assert!(Live::try_connect(&service, &[("host", "evil.example")]).await.is_err());
}

#[tokio::test]
async fn a_page_of_another_site_gets_nothing_by_the_cookie_of_this_one() {
    let service = with_anna(Service::on_sqlite(), &["--role", "viewer"]).await;
    let cookie = session(&service, "anna").await;
    let own = format!("http://{}", service.address);
    for (origin, is_own) in [
        (Some(own.as_str()), true),
        (Some("https://evil.example"), false),
        (Some("null"), false),
        (None, false),
    ] {
        let sent = [Some(("cookie", cookie.as_str())), origin.map(|origin| ("origin", origin))];
        let sent: Vec<_> = sent.into_iter().flatten().collect();
        assert_eq!(Live::try_connect(&service, &sent).await.is_ok(), is_own, "{origin:?}");
        let stream = service.request_as(None, Method::GET, "/v1/stream?subject=totals");
        let stream =
            sent.iter().fold(stream, |request, (name, value)| request.header(*name, *value));
        let first = Events::of(stream.send().await.unwrap()).next().await.unwrap();
        assert_eq!(first.name, if is_own { "hello" } else { "forbidden" }, "{origin:?}");
    }
}

#[tokio::test]
async fn a_token_for_fewer_facilities_takes_the_others_away() {
    let signer = Signer::new();
    let service = signed_in(signer.accepted_by(Service::on_sqlite())).await;
    let (a, b) = (facility(&service, "A", "UTC").await, facility(&service, "B", "UTC").await);
    let (bank_a, bank_b) = (bank(&service, a).await, bank(&service, b).await);
    let token = |facilities: &[Uuid]| {
        signer.token(json!({"roles": ["viewer"], "sub": "ann", "facilities": facilities}))
    };
    let both = bearer(&token(&[a, b]));
    let (mut live, _) = Live::connect(&service, &[("authorization", &both)]).await;
    assert_eq!(live.subscribe(&[a, b]).await["facilities"], json!([a, b]));
    for _ in 0..2 {
        live.until("summary").await;
    }
    live.send(json!({"type": "auth", "token": token(&[a])})).await;
    let told = live.until("error").await;
    assert_eq!((&told["code"], &told["facilities"]), (&json!("forbidden"), &json!([b])));
    live.until("authenticated").await;
    assert_eq!(live.subscribe(&[b]).await["refused"][0]["reason"], "forbidden");
    for bank in [bank_b, bank_a] {
        post(&service, &[inventory(Uuid::new_v4(), bank, "O+", 5)]).await;
    }
    assert_eq!(live.until("summary").await["summary"]["facility_id"], json!(a), "nothing of b");
}

#[tokio::test]
async fn a_principal_and_an_address_have_so_many_clients_and_too_many_at_once_wait() {
    let live = |launch: Launch, key: &str, value: u32| {
        launch.env(&format!("FACILITY_SUMMARY__LIVE__{key}"), value)
    };
    let launch = live(Service::on_sqlite(), "CLIENTS_PER_PRINCIPAL", 1);
    let service = signed_in(live(launch, "CLIENTS_PER_ADDRESS", 3)).await;
    let mut keys = Vec::new();
    for _ in 0..3 {
        keys.push(key_of(&service, "viewer", &[]).await);
    }
    let connect =
        async |key: &str| Live::connect(&service, &[("authorization", &bearer(key))]).await.0;
    let is_refused = async |mut live: Live| {
        let (before, code) = live.end().await;
        let last = before.last().unwrap();
        assert!(last["retry_ms"].as_u64().unwrap() > 0, "{last}");
        assert_eq!((&last["code"], code), (&json!("too_many_of_one"), Some(1013)), "{before:?}");
    };
    let _one = connect(&keys[0]).await;
    is_refused(connect(&keys[0]).await).await;
    let (mut by_message, _) = Live::connect(&service, &[]).await;
    by_message.send(json!({"type": "auth", "token": keys[0]})).await;
    is_refused(by_message).await;
    wait_until("its place is free", async || get(&service, "/health/ready").await["clients"] == 1)
        .await;
    let _others = [connect(&keys[1]).await, connect(&keys[2]).await];
    is_refused(Live::connect(&service, &[]).await.0).await;
    // They may come at a rate, and 200 of them at once.
    let service = live(Service::on_sqlite(), "CONNECTS_PER_SECOND", 1).start().await;
    let mut came = 0;
    let told = loop {
        let (mut next, _) = Live::connect(&service, &[]).await;
        next.send(json!({"type": "ping"})).await;
        let told = next.news().await;
        if told["type"] != "pong" {
            break told;
        }
        came += 1;
        assert!(came < 400, "nobody is sent away");
    };
    assert!(told["code"] == "busy" && came >= 200, "{told} after {came}");
}

#[tokio::test]
async fn a_client_is_sent_away_after_a_time_so_that_servers_even_out() {
    let launch = Service::on_sqlite().env("FACILITY_SUMMARY__LIVE__MAX_AGE_SECONDS", 1);
    let service = launch.start().await;
    let (mut live, _) = Live::connect(&service, &[]).await;
    let (before, code) = live.end().await;
    assert_eq!(before.last().unwrap()["reason"], "max_age");
    assert_eq!(code, Some(1012));
    let mut events = Events::open(&service, "subject=totals", None).await;
    let event = events.until("draining").await;
    assert_eq!((&event.data["reason"], event.retry), (&json!("max_age"), Some(1_000)));
    assert!(events.next().await.is_none(), "it ends, and comes back");
}
