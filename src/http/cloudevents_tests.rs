use actix_web::http::header::{HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

#[path = "cloudevents_any_event.rs"]
mod any_event;

use any_event::{any_event, written};

use super::*;

/// 2026-11-21T10:00:00Z
const NOW_MS: i64 = 1_795_255_200_000;
const LIMITS: EventLimits = EventLimits {
    now_ms: NOW_MS,
    max_clock_skew_ms: 300_000,
    max_event_age_ms: 90 * 86_400_000,
    max_events: 100,
};
const ID: &str = "0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d";

fn inventory() -> Value {
    json!({
        "specversion": "1.0",
        "id": "1",
        "source": "/test",
        "type": "inventory.set",
        "time": "2026-11-21T10:00:00Z",
        "data": {"inventory_id": ID, "blood_bank_id": ID, "blood_type": "O+", "quantity": 5}
    })
}

/// The event with the value at `pointer` replaced, or removed when `value` is `None`.
fn with(pointer: &str, value: impl Into<Option<Value>>) -> Value {
    let mut event = inventory();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let object = event.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value.into() {
        Some(value) => object.insert(field.into(), value),
        None => object.remove(field),
    };
    event
}

fn post(content_type: &str, body: &Value) -> Result<Vec<Event>, Problem> {
    read(content_type, &HeaderMap::new(), body)
}

fn read(content_type: &str, headers: &HeaderMap, body: &Value) -> Result<Vec<Event>, Problem> {
    parse(Some(content_type), headers, body.to_string().as_bytes(), &LIMITS)
        .map(|posted| posted.events)
}

fn ce_headers(event: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in event.as_object().unwrap().iter().filter(|(name, _)| *name != "data") {
        let name = HeaderName::from_bytes(format!("ce-{name}").as_bytes()).unwrap();
        headers.insert(name, HeaderValue::from_str(value.as_str().unwrap()).unwrap());
    }
    headers
}

fn binary_post(event: &Value) -> Result<Vec<Event>, Problem> {
    read(JSON, &ce_headers(event), &event["data"])
}

fn faults(result: Result<Vec<Event>, Problem>) -> Vec<(String, String)> {
    let problem = result.unwrap_err();
    assert_eq!(problem.status(), 422, "{problem}");
    problem.errors().iter().map(|fault| (fault.pointer.clone(), fault.detail.clone())).collect()
}

#[test]
fn every_fault_has_a_pointer_to_itself() {
    let text = |t: &str| Some(json!(t));
    let long = "x".repeat(501);
    for (pointer, value) in [
        ("/specversion", text("0.3")),
        ("/specversion", None),
        ("/specversion", Some(json!(1.0))),
        ("/id", text("")),
        ("/id", None),
        ("/source", Some(json!({}))),
        ("/type", text("inventory.created")),
        ("/type", None),
        ("/time", None),
        ("/time", Some(Value::Null)),
        ("/time", text("yesterday")),
        ("/time", text("2026-11-21T10:00:00")),
        ("/time", text("2016-12-31T23:59:60Z")),
        ("/time", text("2026-11-21T10:05:00.001Z")),
        ("/time", text("2026-08-23T09:59:59.999Z")),
        ("/datacontenttype", text("text/xml")),
        ("/data_base64", text("e30=")),
        ("/data", None),
        ("/data", Some(Value::Null)),
        ("/data", text("{}")),
        ("/data", Some(json!([]))),
        ("/data/inventory_id", text("7")),
        ("/data/inventory_id", None),
        ("/data/blood_bank_id", text("00000000-0000-0000-0000-000000000000")),
        ("/data/blood_type", text("0 Rh+")),
        ("/data/blood_type", text("unknown")),
        ("/data/quantity", None),
        ("/data/quantity", Some(Value::Null)),
        ("/data/quantity", Some(json!(-1))),
        ("/data/quantity", Some(json!(5.5))),
        ("/data/quantity", Some(json!(2_147_483_648_i64))),
        ("/data/quantity", Some(json!(u64::MAX))),
        ("/data/quantity", text("5")),
        ("/data/expires_at", text("2026-11-21")),
        ("/data/expires_at", text("2200-01-01T00:00:00Z")),
        ("/data/quantitty", Some(json!(1))),
        ("/data/name", text(&long)),
    ] {
        let event = with(pointer, value);
        assert_eq!(faults(post(STRUCTURED, &event))[0].0, pointer, "{event}");
        let in_batch = faults(post(BATCH, &json!([inventory(), event])));
        assert_eq!(in_batch[0].0, format!("/1{pointer}"), "{event}");
        if let Some(field) = pointer.strip_prefix("/data/") {
            assert_eq!(faults(binary_post(&event))[0].0, format!("/{field}"));
        }
    }
}

#[test]
fn all_faulty_events_of_a_batch_are_named_with_all_their_faults() {
    let mut twice = with("/data/quantity", json!(-3));
    twice["time"] = json!("now");
    let batch = json!([inventory(), twice, 7, inventory(), with("/type", json!("x"))]);
    let faults = faults(post(BATCH, &batch));
    let pointers: Vec<&str> = faults.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(pointers, ["/1/time", "/1/data/quantity", "/2", "/4/type"]);
    assert_eq!(faults[1].1, "expected a whole number from 0 to 2147483647, got -3");
    assert!(
        faults[3].1.contains("facility.registered, blood_bank.registered, inventory.set"),
        "{}",
        faults[3].1
    );
}

#[test]
fn a_delivery_of_nothing_and_a_request_without_its_time_are_faults() {
    let mut event = inventory();
    event["type"] = json!("distribution.set");
    event["data"] = json!({
        "distribution_id": ID,
        "dispatched_to_id": ID,
        "quantity": 0,
        "date_delivered": null,
    });
    assert_eq!(faults(post(STRUCTURED, &event))[0].0, "/data/quantity");
    event["type"] = json!("request.set");
    event["data"] = json!({"request_id": ID, "facility_id": ID});
    assert_eq!(
        faults(post(STRUCTURED, &event)),
        [("/data/created_at".to_owned(), {
            let detail = "is missing; expected an RFC 3339 date and time with its offset such as \
                          \"2026-11-21T10:04:11.123Z\"";
            format!("{detail}, in the years 1900 to 2199, without leap seconds")
        })]
    );
}

#[test]
fn header_faults_name_the_header() {
    let mut event = inventory();
    event.as_object_mut().unwrap().remove("source");
    event["time"] = json!("now");
    let details: Vec<String> =
        faults(binary_post(&event)).into_iter().map(|(_, detail)| detail).collect();
    assert!(details[0].starts_with("header ce-source: is missing; expected"), "{details:?}");
    assert!(
        details[1].starts_with("header ce-time: expected") && details[1].ends_with("got \"now\""),
        "{details:?}"
    );
    let mut headers = ce_headers(&inventory());
    headers.append(HeaderName::from_static("ce-id"), HeaderValue::from_static("2"));
    headers.append(HeaderName::from_static("ce-extra"), HeaderValue::from_static("100%"));
    let faults = faults(read(JSON, &headers, &inventory()["data"]));
    let mut details: Vec<&str> = faults.iter().map(|(_, detail)| detail.as_str()).collect();
    details.sort_unstable();
    assert_eq!(
        details,
        [
            "header ce-extra: a % needs two hexadecimal digits behind it",
            "header ce-id: was sent twice"
        ]
    );
}

#[test]
fn the_content_type_decides_the_form() {
    let one = inventory();
    for content_type in [
        STRUCTURED,
        JSON,
        "Application/JSON ; Charset=\"UTF-8\"",
        "application/cloudevents+json; charset=utf-8; x=y",
    ] {
        assert_eq!(post(content_type, &one).map(|events| events.len()), Ok(1), "{content_type}");
    }
    for content_type in [
        "text/plain",
        "",
        "application/cloudevents+xml",
        "application/json; charset=utf-16",
        "text/json",
        "application/x-json",
    ] {
        let problem = post(content_type, &one).unwrap_err();
        assert_eq!(problem.status(), 415, "{content_type}");
        assert!(problem.detail().contains(BATCH), "{problem}");
    }
    assert_eq!(parse(None, &HeaderMap::new(), b"{}", &LIMITS).unwrap_err().status(), 415);
    // The standard lets the structured form win over additional ce- headers.
    assert!(read(STRUCTURED, &ce_headers(&one), &one).is_ok());
    assert!(faults(post(JSON, &json!([one])))[0].1.contains(BATCH));
    assert!(faults(post(BATCH, &one))[0].1.contains(STRUCTURED));
}

#[test]
fn the_form_alone_says_where_the_data_is() {
    let one = inventory();
    let (batch, data) = (json!([one, one]), one["data"].clone());
    for (content_type, headers, body, pointer) in [
        (STRUCTURED, HeaderMap::new(), &one, "/data"),
        (STRUCTURED, ce_headers(&one), &one, "/data"),
        ("Application/CloudEvents+JSON", ce_headers(&one), &one, "/data"),
        (JSON, HeaderMap::new(), &one, "/data"),
        ("application/json; profile=batch", HeaderMap::new(), &one, "/data"),
        (BATCH, HeaderMap::new(), &batch, "/1/data"),
        ("Application/CloudEvents-BATCH+JSON", ce_headers(&one), &batch, "/1/data"),
        (JSON, ce_headers(&one), &data, ""),
        ("text/JSON", ce_headers(&one), &data, ""),
        ("application/batch+json", ce_headers(&one), &data, ""),
    ] {
        let posted =
            parse(Some(content_type), &headers, body.to_string().as_bytes(), &LIMITS).unwrap();
        assert_eq!(posted.form.data_pointer(1), pointer, "{content_type}");
    }
}

#[test]
fn an_empty_or_too_long_batch_is_refused() {
    assert_eq!(faults(post(BATCH, &json!([])))[0].0, "");
    assert_eq!(post(BATCH, &json!(vec![inventory(); 100])).map(|events| events.len()), Ok(100));
    assert_eq!(post(BATCH, &json!(vec![inventory(); 101])).unwrap_err().status(), 413);
}

#[test]
fn the_limits_of_an_events_time_belong_to_it() {
    for time in ["2026-11-21T10:05:00Z", "2026-08-23T10:00:00Z"] {
        assert!(post(STRUCTURED, &with("/time", json!(time))).is_ok(), "{time}");
    }
}

#[test]
fn extensions_are_allowed_and_times_are_kept_to_the_millisecond() {
    let mut event = with("/time", json!("2026-11-21T11:00:00.1239+01:00"));
    event["traceparent"] = json!("00-ab");
    event["myextension"] = json!({"any": [1]});
    event["datacontenttype"] = json!("application/json; charset=utf-8");
    event["subject"] = Value::Null;
    let events = post(STRUCTURED, &event).unwrap();
    let Event::Statement(statement) = &events[0] else { panic!() };
    assert_eq!(statement.record.event_time_ms, NOW_MS + 123);
}

#[test]
fn a_thousand_unknown_fields_get_a_short_answer() {
    let mut event = inventory();
    for i in 0..1000 {
        event["data"][format!("f{i}")] = json!(i);
    }
    let faults = faults(post(STRUCTURED, &event));
    assert_eq!(
        (faults.len(), faults[20].1.as_str()),
        (21, "has 980 more faults, here or beside it")
    );
}

#[test]
fn the_schema_allows_the_types_that_are_known() {
    use utoipa::PartialSchema;
    let schema = serde_json::to_value(CloudEvent::schema()).unwrap();
    let mut required: Vec<&str> =
        schema["required"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
    required.sort_unstable();
    assert_eq!(required, ["data", "id", "source", "specversion", "time", "type"]);
    let pattern = schema["properties"]["type"]["pattern"].as_str().unwrap();
    let words = [
        "facility",
        "registered",
        "blood_bank",
        "inventory",
        "distribution",
        "request",
        "set",
        "removed",
        "summary",
        "touched",
    ];
    assert!(EventType::ALL.iter().all(|t| {
        t.as_str().split('.').all(|word| words.contains(&word) && pattern.contains(word))
    }));
}

proptest! {
    #[test]
    fn a_valid_event_reads_the_same_in_all_three_forms((time_ms, event) in any_event()) {
        let sent = written(time_ms, &event);
        let want = Ok(vec![event.clone()]);
        prop_assert_eq!(&post(STRUCTURED, &sent), &want);
        prop_assert_eq!(&binary_post(&sent), &want);
        prop_assert_eq!(post(BATCH, &json!([sent, sent])), Ok(vec![event.clone(), event]));
    }

    #[test]
    fn random_bytes_are_answered_as_a_fault_of_the_sender(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            r#"[\[\]{}",:0-9a-z\\ ]{0,60}"#.prop_map(String::into_bytes),
        ],
        content_type in prop::option::of(prop_oneof![
            Just(STRUCTURED.to_owned()),
            Just(BATCH.to_owned()),
            Just(JSON.to_owned()),
            any::<String>(),
        ]),
        headers in prop::collection::vec(
            (
                "ce-[a-z]{1,8}|ce-id|ce-type|ce-time",
                prop::collection::vec(32u8..=255, 0..20),
            ),
            0..4,
        ),
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in &headers {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
            }
        }
        let problem = parse(content_type.as_deref(), &map, &body, &LIMITS).unwrap_err();
        prop_assert!(problem.status().is_client_error(), "{}", problem);
    }

    #[test]
    fn a_valid_event_with_a_flipped_byte_never_panics(
        (time_ms, event) in any_event(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = written(time_ms, &event).to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        if let Err(problem) = parse(Some(STRUCTURED), &HeaderMap::new(), &body, &LIMITS) {
            prop_assert!(problem.status().is_client_error(), "{}", problem);
        }
    }
}
