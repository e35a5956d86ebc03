//! Somebody may see other facilities than before, on a connection that is open or on the next one.

use std::{collections::BTreeSet, time::Duration};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::{Events, Live};
use crate::{
    steps::{bank, facility, inventory, now_ms, post},
    support::{PATIENCE, Service},
};

const SECRET: &str = "a secret of the tests, which is long enough";

/// A token of a role; of these facilities, where it is one of a viewer.
fn token(role: &str, facilities: &[Uuid]) -> String {
    let claims = json!({
        "iss": "test", "aud": "facility-summary", "sub": role, "exp": now_ms() / 1_000 + 600,
        "roles": [role], "facilities": facilities,
    });
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// A service that takes tokens, with two facilities that have 10 and 1000 units.
async fn with_two() -> (Service, Uuid, Uuid) {
    let service = Service::on_sqlite()
        .env("FACILITY_SUMMARY__AUTH__ISSUER", "test")
        .env("FACILITY_SUMMARY__AUTH__KEYS", SECRET)
        .env("FACILITY_SUMMARY__AUTH__ALGORITHMS", "HS256")
        .env("FACILITY_SUMMARY__LIVE__HEARTBEAT_SECONDS", 1)
        .credential(&token("admin", &[]))
        .start()
        .await;
    let (a, b) = (facility(&service, "A", "UTC").await, facility(&service, "B", "UTC").await);
    for (id, quantity) in [(a, 10), (b, 1_000)] {
        let bank = bank(&service, id).await;
        post(&service, &[inventory(Uuid::new_v4(), bank, "O+", quantity)]).await;
    }
    (service, a, b)
}

/// What comes until totals of so many facilities are there.
async fn until_totals(live: &mut Live, facilities: u64) -> (Vec<Value>, Value) {
    let mut before = Vec::new();
    let reading = async {
        loop {
            let message = live.next().await.expect("the connection goes on");
            if message["totals"]["facilities"] == facilities {
                return message["totals"].clone();
            }
            before.push(message);
        }
    };
    let totals = tokio::time::timeout(PATIENCE, reading).await;
    let totals = totals.expect("they come, whatever heartbeats do");
    (before, totals)
}

/// The facilities of messages `summaries`.
fn shown(messages: &[Value]) -> BTreeSet<String> {
    let items = messages.iter().filter_map(|message| message["summaries"].as_array()).flatten();
    items.map(|item| item["summary"]["facility_id"].as_str().unwrap().to_owned()).collect()
}

/// The first message is `auth`, and what follows it in the same write counts.
#[tokio::test]
async fn a_renewed_credential_changes_what_all_and_the_totals_are_made_of() {
    let (service, a, b) = with_two().await;
    let (mut live, _) = Live::connect(&service, &[]).await;
    let auth = |facilities: &[Uuid]| json!({"type": "auth", "token": token("viewer", facilities)});
    live.send_at_once(&[
        auth(&[a, b]),
        json!({"type": "subscribe", "id": 1, "subject": "all"}),
        json!({"type": "subscribe", "id": 2, "subject": "totals"}),
    ])
    .await;
    assert_eq!(live.news().await["type"], "authenticated");
    let (mut first, totals) = until_totals(&mut live, 2).await;
    assert_eq!(totals["total_stock"], 1_010);
    while shown(&first).len() < 2 {
        first.push(live.news().await);
    }
    // Narrowed.
    live.send(auth(&[a])).await;
    let told = live.until("error").await;
    assert_eq!((&told["code"], &told["facilities"]), (&json!("forbidden"), &json!([b])));
    let (before, totals) = until_totals(&mut live, 1).await;
    assert_eq!(totals["total_stock"], 10);
    let mut beats = before.iter().filter(|message| message["type"] == "heartbeat");
    assert!(beats.all(|beat| beat["exact_as_of"].is_null()), "nothing proves the ones before");
    while live.until("heartbeat").await["exact_as_of"].is_null() {}
    // Widened.
    live.send(auth(&[a, b])).await;
    let (mut after, totals) = until_totals(&mut live, 2).await;
    assert_eq!(totals["total_stock"], 1_010);
    while !shown(&after).contains(&b.to_string()) {
        after.push(live.news().await);
    }
}

/// The one before was refused a facility, so its ids say nothing about that.
#[tokio::test]
async fn an_id_vouches_for_the_facilities_that_were_sent_and_for_no_others() {
    let (service, a, b) = with_two().await;
    let open = async |credential: &str, last: Option<&str>| {
        let path = format!("/v1/stream?facility_id={a}&facility_id={b}");
        let request = service.request_as(Some(credential), reqwest::Method::GET, &path);
        let request = last.iter().fold(request, |request, id| request.header("Last-Event-ID", *id));
        Events::of(request.send().await.unwrap())
    };
    let (narrow, wide) = (token("viewer", &[a]), token("viewer", &[a, b]));
    let mut events = open(&narrow, None).await;
    assert_eq!(events.until("subscribed").await.data["refused"][0]["reason"], "forbidden");
    let id = events.until("summary").await.id.expect("it has all that it may see");
    let mut events = open(&wide, Some(&id)).await;
    let subscribed = events.until("subscribed").await.data;
    assert_eq!(
        (&subscribed["resumed"], &subscribed["reason"]),
        (&json!(false), &json!("facilities"))
    );
    let (mut seen, mut last) = (BTreeSet::new(), None);
    while seen.len() < 2 {
        let event = events.until("summary").await;
        seen.insert(event.data["summary"]["facility_id"].as_str().unwrap().to_owned());
        last = event.id;
    }
    let id = last.expect("it has both");
    let mut events = open(&wide, Some(&id)).await;
    assert_eq!(events.until("subscribed").await.data["resumed"], true);
    assert!(events.is_quiet(Duration::from_millis(300)).await);
}
