//! Who may have live updates, and for how long.

use serde_json::json;
use uuid::Uuid;

use super::client::{Events, Live};
use crate::{
    access::{key_of, signed_in},
    on_both_stores,
    steps::facility,
    support::Service,
};

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

async fn ended(service: &Service, key: &str) {
    let id = key.split('_').nth(1).unwrap();
    let answer = service.request(reqwest::Method::DELETE, &format!("/v1/api-keys/{id}")).send();
    assert_eq!(answer.await.unwrap().status(), 204);
}

on_both_stores! {
    async fn whoever_may_see_some_facilities_gets_those_and_no_others(launch: Launch) {
        let service = signed_in(launch).await;
        let (a, b) = (facility(&service, "A", "UTC").await, facility(&service, "B", "UTC").await);
        let key = key_of(&service, "viewer", &[a]).await;
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
        assert_eq!(wrong.end().await.1, Some(1008));
        assert!(Live::try_connect(&service, &[("authorization", "Bearer fs_no")]).await.is_err());
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
