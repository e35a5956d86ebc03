//! Who follows today gets the next day at the facility's midnight.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::{Events, Live};
use crate::{
    steps::{at, bank, facility, inventory, post, request},
    support::{Service, faketime::FakeClock},
};

/// Not on the full hour, so that only this zone has its midnight then.
const ZONE: &str = "Asia/Kathmandu";
const CLOSING: &str = "2031-03-14";
const OPENING: &str = "2031-03-15";

fn midnight() -> Timestamp {
    let date: jiff::civil::Date = OPENING.parse().unwrap();
    date.to_zoned(TimeZone::get(ZONE).unwrap()).unwrap().timestamp()
}

/// Whether a message has the next day of a facility; panics where it shows a day before `seen`, or
/// claims to be exact as of the next day without having shown it.
fn is_opened(message: &Value, facility: Uuid, seen: &mut String) -> bool {
    let items = message["summaries"].as_array().cloned().unwrap_or_else(|| vec![message.clone()]);
    let of_it = |item: &&Value| item["summary"]["facility_id"] == json!(facility);
    if let Some(item) = items.iter().find(of_it) {
        let date = item["summary"]["date"].as_str().unwrap();
        assert!(date >= seen.as_str(), "{date} after {seen}");
        date.clone_into(seen);
        let is_opened = date == OPENING;
        assert!(!is_opened || item["summary"]["total_stock"] == 5, "{item}");
        return is_opened;
    }
    let exact = message["exact_as_of"].as_str();
    let is_before = |text: &str| text.parse::<Timestamp>().unwrap() < midnight();
    assert!(exact.is_none_or(is_before), "its figures are of {seen}: {message}");
    false
}

/// The request of the day before is in no totals that are exact as of the next one.
async fn a_claim_of_totals_is_true(followers: &mut [Live]) {
    for live in followers {
        let (mut requests, mut exact_ms) = (json!(1), 0);
        while exact_ms < midnight().as_millisecond() {
            let message = live.next().await.unwrap();
            match message["type"].as_str() {
                Some("totals") => requests = message["totals"]["total_requests"].clone(),
                Some("heartbeat") => {
                    let exact = message["exact_as_of"].as_str();
                    exact_ms =
                        exact.map_or(0, |at| at.parse::<Timestamp>().unwrap().as_millisecond());
                }
                _ => {}
            }
        }
        assert_eq!(requests, 0, "as of {exact_ms}");
    }
}

#[tokio::test]
async fn at_midnight_the_next_day_comes_and_no_heartbeat_claims_it_before() {
    let clock = FakeClock::at(midnight() - jiff::SignedDuration::from_secs(120));
    let launch = Service::on_sqlite().envs(clock.environment());
    // The clients of one worker have their heartbeats one after another, so that some come between
    // midnight and the next day.
    let launch = launch.env("FACILITY_SUMMARY__SERVER__WORKERS", 1);
    let service = launch.env("FACILITY_SUMMARY__LIVE__HEARTBEAT_SECONDS", 1).start().await;
    let (a, other) = (facility(&service, "A", ZONE).await, facility(&service, "B", "UTC").await);
    let bank = bank(&service, a).await;
    let begun_ms = midnight().as_millisecond() - 120_000;
    let made = at(request(Uuid::new_v4(), a, begun_ms), begun_ms);
    post(&service, &[at(inventory(Uuid::new_v4(), bank, "O+", 5), begun_ms), made]).await;
    let mut followers = Vec::new();
    for number in 0..20 {
        let (mut live, _) = Live::connect(&service, &[]).await;
        if number % 4 == 0 {
            live.send(json!({"type": "subscribe", "subject": "all"})).await;
            live.until("summaries").await;
        } else {
            live.subscribe(&[a, other]).await;
            live.until("summary").await;
        }
        followers.push(live);
    }
    let mut totals = Vec::new();
    for _ in 0..20 {
        let (mut live, _) = Live::connect(&service, &[]).await;
        live.send(json!({"type": "subscribe", "subject": "totals"})).await;
        assert_eq!(live.until("totals").await["totals"]["total_requests"], 1);
        totals.push(live);
    }
    let query = format!("facility_id={a}");
    let mut events = Events::open(&service, &query, None).await;
    let before = events.until("summary").await;
    assert_eq!(before.data["summary"]["date"], CLOSING);
    let id = before.id.expect("it has everything");
    drop(events);
    let mut events = Events::open(&service, &query, Some(&id)).await;

    clock.set(midnight() - jiff::SignedDuration::from_secs(1));
    for live in &mut followers {
        let mut seen = CLOSING.to_owned();
        while !is_opened(&live.next().await.unwrap(), a, &mut seen) {}
        while live.until("heartbeat").await["exact_as_of"]
            .as_str()
            .is_none_or(|exact| exact.parse::<Timestamp>().unwrap() < midnight())
        {}
    }
    let mut seen = CLOSING.to_owned();
    while !is_opened(&events.next().await.unwrap().data, a, &mut seen) {}
    a_claim_of_totals_is_true(&mut totals).await;
    // Who was away over midnight has nothing of the new day.
    let mut back = Events::open(&service, &query, Some(&id)).await;
    assert_eq!(back.until("summary").await.data["summary"]["date"], OPENING);
    let (mut knows, _) = Live::connect(&service, &[]).await;
    let known = json!({a.to_string(): before.data["etag"]});
    knows.send(json!({"type": "subscribe", "facilities": [a], "known": known})).await;
    assert_eq!(knows.until("summary").await["summary"]["date"], OPENING);
}
