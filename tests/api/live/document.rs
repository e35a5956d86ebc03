//! docs/live.asyncapi.json against what the service sends: each message that a test of this folder
//! receives must be one of its schemas, member for member, and one test has each of them sent.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::{Value, json};
use uuid::Uuid;

use super::client::{Events, Live};
use crate::{
    access::{key_of, signed_in},
    steps::{bank, facility, inventory, post},
    support::{Service, postgres::Postgres},
};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../../docs/live.asyncapi.json");
    serde_json::from_str(text).expect("the document is JSON")
});

fn schemas() -> &'static Value {
    &DOCUMENT["components"]["schemas"]
}

/// Panics where a message is none that this channel has (`live` or `stream`).
pub fn check(message: &Value, channel: &str) {
    let kind = message["type"].as_str().unwrap_or_else(|| panic!("no type: {message}"));
    let names = DOCUMENT["channels"][channel]["messages"].as_object().expect("a list");
    let of_kind = |name: &&String| schemas()[name.as_str()]["properties"]["type"]["const"] == kind;
    let name = names.keys().find(of_kind);
    let name = name.unwrap_or_else(|| panic!("{channel} has no {kind} in the document: {message}"));
    if let Err(wrong) = fits(message, &schemas()[name.as_str()], name) {
        panic!("{wrong}; the message is {message}");
    }
}

/// Whether a value is of a schema, as far as the document uses JSON Schema. What the other
/// document says is tested with the reads.
fn fits(value: &Value, schema: &Value, at: &str) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        return match name.strip_prefix("#/components/schemas/") {
            Some(name) => fits(value, &schemas()[name], at),
            None if value.is_object() => Ok(()),
            None => Err(format!("{at} is no object")),
        };
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let found = choices.iter().filter(|choice| fits(value, choice, at).is_ok()).count();
        return if found == 1 { Ok(()) } else { Err(format!("{at} is {found} of oneOf")) };
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Err(format!("{at} is not {}", schema["const"]));
    }
    if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
        return Err(format!("{at} is none of {}", schema["enum"]));
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        Value::Null => vec![],
        one => vec![one.clone()],
    };
    if !types.is_empty() && !types.iter().any(|name| is_a(value, name.as_str().unwrap())) {
        return Err(format!("{at} is none of {types:?}"));
    }
    let is_instant = schema["format"] == "date-time";
    if is_instant && value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_err()) {
        return Err(format!("{at} is no instant"));
    }
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        items.iter().try_for_each(|item| fits(item, schema, &format!("an item of {at}")))?;
    }
    let (Some(members), Some(known)) = (value.as_object(), schema["properties"].as_object()) else {
        return Ok(());
    };
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(lacking) = required.into_iter().find(|name| !members.contains_key(*name)) {
        return Err(format!("{at} lacks {lacking}"));
    }
    for (name, member) in members {
        let Some(schema) = known.get(name) else { return Err(format!("{at} has {name}, too")) };
        fits(member, schema, &format!("{name} of {at}"))?;
    }
    Ok(())
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        other => panic!("the document has a type {other}, which this test does not know"),
    }
}

#[test]
fn a_message_that_differs_from_the_document_is_found() {
    let now = "2026-11-21T10:00:00.000Z";
    let heartbeat = json!({"type": "heartbeat", "exact_as_of": null, "now": now});
    check(&heartbeat, "live");
    for (wrong, what) in [
        (json!({"type": "heartbeat", "now": now}), "lacks exact_as_of"),
        (json!({"type": "heartbeat", "exact_as_of": 7, "now": now}), "none of"),
        (json!({"type": "heartbeat", "exact_as_of": "now", "now": now}), "no instant"),
        (json!({"type": "heartbeat", "exact_as_of": null, "now": now, "age": 7}), "has age, too"),
        (
            json!({"type": "subscribed", "id": 1, "facilities": [], "subject": "some",
            "refused": []}),
            "0 of oneOf",
        ),
    ] {
        let name = if wrong["type"] == "heartbeat" { "Heartbeat" } else { "Subscribed" };
        let found = fits(&wrong, &schemas()[name], name).expect_err("it differs");
        assert!(found.contains(what), "{found}");
    }
}

/// The types that a channel of the document has, of what the service sends.
fn types_of(operation: &str) -> BTreeSet<String> {
    let messages = DOCUMENT["operations"][operation]["messages"].as_array().expect("a list");
    let name = |at: &Value| at["$ref"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let kind = |name: String| schemas()[name]["properties"]["type"]["const"].clone();
    messages.iter().map(|at| kind(name(at)).as_str().unwrap().to_owned()).collect()
}

async fn events(service: &Service, key: &str, query: &str) -> Events {
    let path = format!("/v1/stream?{query}");
    let request = service.request_as(Some(key), reqwest::Method::GET, &path);
    Events::of(request.send().await.unwrap())
}

/// The answers to what a client may ask for.
async fn each_answer(live: &mut Live, facility: Uuid, key: &str) {
    live.send(json!({"type": "auth", "token": key})).await;
    live.until("authenticated").await;
    live.subscribe(&[facility, Uuid::new_v4()]).await;
    live.until("summary").await;
    for (message, answer) in [
        (json!({"type": "subscribe", "subject": "all"}), "summaries"),
        (json!({"type": "subscribe", "subject": "totals"}), "totals"),
        (
            json!({"type": "unsubscribe", "id": {"of": "any"}, "facilities": [facility]}),
            "unsubscribed",
        ),
        (json!({"type": "ping"}), "pong"),
        (json!({"type": "dance"}), "error"),
    ] {
        live.send(message).await;
        live.until(answer).await;
    }
}

/// `epoch` is sent where a backup is restored; resume.rs has that, and checks it the same way. A
/// database that was stopped may begin another epoch, too.
#[tokio::test]
async fn the_service_sends_each_message_of_its_document() {
    let postgres = Postgres::start(&[]);
    let launch = Service::on(postgres.fresh_database().await)
        .env("FACILITY_SUMMARY__LIVE__HEARTBEAT_SECONDS", 1)
        .env("FACILITY_SUMMARY__LIVE__CLIENTS_PER_PRINCIPAL", 1);
    let service = signed_in(launch).await;
    let a = facility(&service, "A", "UTC").await;
    let bank = bank(&service, a).await;
    post(&service, &[inventory(Uuid::new_v4(), bank, "O+", 5)]).await;
    let mut seen = BTreeSet::new();
    let (viewer, all) =
        (key_of(&service, "viewer", &[]).await, format!("facility_id={a}&subject=all"));
    let mut held = events(&service, &viewer, &all).await;
    held.until("summaries").await;
    let (other, writer) =
        (key_of(&service, "viewer", &[]).await, key_of(&service, "service", &[]).await);
    let once = "subject=all&subject=all";
    for (key, query, name) in [
        (viewer.as_str(), all.as_str(), "full"),
        (&other, "subject=totals", "totals"),
        ("fs_nothing", &all, "expired"),
        (&writer, &all, "forbidden"),
        (&key_of(&service, "viewer", &[]).await, once, "error"),
    ] {
        let mut events = events(&service, key, query).await;
        events.until(name).await;
        seen.extend(events.seen);
    }
    let (mut live, _) = Live::connect(&service, &[]).await;
    each_answer(&mut live, a, &key_of(&service, "viewer", &[]).await).await;
    live.until("heartbeat").await;

    postgres.stop();
    live.until("stalled").await;
    held.until("stalled").await;
    postgres.start_again();
    live.until("resumed").await;
    held.until("resumed").await;
    held.until("heartbeat").await;
    let ended = async {
        live.end().await;
        held.until("draining").await;
    };
    tokio::join!(service.terminate(), ended);
    seen.extend(held.seen);

    let without = |operation: &str, rare: &[&str]| {
        let mut types = types_of(operation);
        rare.iter().for_each(|name| assert!(types.remove(*name), "{name}"));
        types
    };
    live.seen.remove("epoch");
    seen.remove("epoch");
    assert_eq!(live.seen, without("tell", &["epoch"]));
    assert_eq!(seen, without("stream", &["epoch", "unavailable"]));
}
