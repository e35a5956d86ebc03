//! `POST /v1/events` in its three forms, and the two registrations. An input is a request as text:
//! header lines, an empty line, a body.
//!
//! - An event that is accepted is sane: its type is known, its ids are not nil, its instants can be
//!   written in an answer, and it is found where its pointer says.
//! - A refusal says why. It names a place that exists in the body that was sent, or what is
//!   missing. The answer is bounded.
//! - The three forms accept the same events and refuse the same events.
//! - An accepted event that is written by its canonical values and read again is the same
//!   statement.

#![no_main]

#[path = "events/mutate.rs"]
mod mutate;
#[path = "events/request.rs"]
mod request;
#[path = "events/same.rs"]
mod same;

use facility_summary::{
    domain::{
        event::{Entity, EntityKind, Event, Statement},
        facility::Zone,
    },
    http::{
        cloudevents::{self, EventLimits, Form, Posted},
        event_data::EventType,
        json::{self, Json},
        problem::{InputError, Problem},
        registrations,
    },
};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use request::Request;
use serde_json::{Map, Value};
use uuid::Uuid;

/// 2026-11-21T10:00:00Z
const NOW_MS: i64 = 1_795_255_200_000;
pub const LIMITS: EventLimits = EventLimits {
    now_ms: NOW_MS,
    max_clock_skew_ms: 300_000,
    max_event_age_ms: 90 * 86_400_000,
    max_events: 100,
};

/// The years 1900 to 2199.
const INSTANTS_MS: std::ops::Range<i64> = -2_208_988_800_000..7_258_118_400_000;

fuzz_target!(|input: &[u8]| {
    let request = Request::read(input);
    json_is_read_as_it_is_written(&request.body);
    match request.parse() {
        Ok(posted) => accepted(&request, &posted),
        Err(problem) => refused(&request.body, &problem, LIMITS.max_events),
    }
    same::in_all_forms(&request);
    for read in [registrations::facility, registrations::blood_bank] {
        match read(Uuid::from_u128(7), NOW_MS, Some("application/json"), &request.body) {
            Ok(statement) => sane(&Event::Statement(statement)),
            Err(problem) => refused(&request.body, &problem, 1),
        }
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::request(data, size, max_size, seed)
});

fn accepted(request: &Request, posted: &Posted) {
    let body: Value = serde_json::from_slice(&request.body).expect("what was accepted is JSON");
    let sent = if posted.form == Form::Batch { body.as_array().map_or(0, Vec::len) } else { 1 };
    assert_eq!(posted.events.len(), sent, "one statement for each event");
    assert!(sent <= LIMITS.max_events);
    for (index, event) in posted.events.iter().enumerate() {
        sane(event);
        let data = body
            .pointer(&posted.form.data_pointer(index))
            .and_then(Value::as_object)
            .expect("the data is where its pointer says");
        let field = match event {
            Event::Touched { .. } => "facility_id".to_owned(),
            Event::Statement(statement) => format!("{}_id", statement.kind.as_str()),
        };
        let id = event.ids().next().expect("an event is about something");
        assert!(
            data[&field].as_str().is_some_and(|text| text.eq_ignore_ascii_case(&id.to_string())),
            "{field} is not {id}"
        );
        same::again(event);
        registered_as_by_put(event, data);
    }
}

/// Asserts what the later parts of the service rely on.
fn sane(event: &Event) {
    assert!(EventType::ALL.iter().any(|known| known.as_str() == event.type_name()));
    assert!(event.ids().all(|id| !id.is_nil()), "{event:?}");
    let Event::Statement(Statement { kind, record, .. }) = event else { return };
    assert!(
        (NOW_MS - LIMITS.max_event_age_ms..=NOW_MS + LIMITS.max_clock_skew_ms)
            .contains(&record.event_time_ms),
        "{event:?}"
    );
    let Some(entity) = &record.entity else { return };
    assert_eq!(entity.kind(), *kind);
    let (name, instant, least, quantity) = match entity {
        Entity::Facility { name, timezone } => {
            assert_eq!(Zone::canonical_name(timezone).as_deref(), Some(timezone.as_str()));
            (Some(name), None, 0, None)
        }
        Entity::BloodBank { name, .. } => (Some(name), None, 0, None),
        Entity::Inventory { expires_at_ms, quantity, .. } => {
            (None, *expires_at_ms, 0, Some(*quantity))
        }
        Entity::Distribution { date_delivered_ms, quantity, .. } => {
            (None, *date_delivered_ms, 1, Some(*quantity))
        }
        Entity::Request { created_at_ms, quantity, .. } => {
            (None, Some(*created_at_ms), 0, *quantity)
        }
    };
    if let Some(name) = name {
        assert!(
            !name.is_empty()
                && name.trim() == name
                && name.chars().count() <= 500
                && !name.chars().any(char::is_control),
            "{name:?}"
        );
    }
    assert!(instant.is_none_or(|ms| INSTANTS_MS.contains(&ms)), "{entity:?}");
    assert!(quantity.is_none_or(|units| units >= least), "{entity:?}");
}

/// Checks a refusal of a body with at most so many events.
pub fn refused(body: &[u8], problem: &Problem, events: usize) {
    let status = problem.status().as_u16();
    assert!(!problem.detail().is_empty() && problem.detail().len() < 1000, "{problem}");
    if status != 422 {
        assert!(matches!(status, 400 | 413 | 415) && problem.errors().is_empty(), "{problem}");
        return;
    }
    let body_value: Value = serde_json::from_slice(body).expect("a body that is not JSON is 400");
    let faults = problem.errors();
    assert!(!faults.is_empty() && faults.len() <= 21 * events, "{} faults", faults.len());
    faults.iter().for_each(|fault| stands_in(&body_value, fault));
    let answered: usize = faults.iter().map(|fault| fault.pointer.len() + fault.detail.len()).sum();
    assert!(answered <= 2 * body.len() + 900 * faults.len(), "{answered} bytes for {}", body.len());
}

/// Asserts that the pointer leads to the value at fault, or to the place of the missing one.
fn stands_in(body: &Value, fault: &InputError) {
    let InputError { pointer, detail } = fault;
    assert!(!detail.is_empty() && !detail.contains('\n'), "{fault:?}");
    if let Some(header) = detail.strip_prefix("header ce-") {
        assert!(pointer.is_empty() && header.contains(": "), "{fault:?}");
        return;
    }
    let is_missing = detail.starts_with("is missing");
    let Some(value) = body.pointer(pointer) else {
        let parent = pointer.rsplit_once('/').and_then(|(parent, _)| body.pointer(parent));
        assert!(
            is_missing && parent.is_some_and(Value::is_object) || detail.starts_with("has "),
            "no such place: {fault:?}"
        );
        return;
    };
    assert!(!is_missing || value.is_null(), "{fault:?} is {value}");
    let got = match value {
        _ if !detail.contains(", got ") => return,
        Value::Null => ", got null",
        Value::Bool(true) => ", got true",
        Value::Bool(false) => ", got false",
        Value::Number(number) if number.is_i64() => &format!(", got {number}"),
        Value::Array(_) => ", got a list",
        Value::Object(_) => ", got an object",
        Value::String(_) => return assert!(detail.contains(", got \""), "{fault:?} is {value}"),
        Value::Number(_) => return,
    };
    assert!(detail.contains(got), "{fault:?} is {value}");
}

fn json_is_read_as_it_is_written(body: &[u8]) {
    let plain = serde_json::from_slice::<Value>(body);
    match json::parse(body) {
        Ok(json) => assert_eq!(Some(value(&json)), plain.ok().map(numbers)),
        Err(problem) => {
            assert!(plain.is_err() || problem.detail().contains("stands twice"), "{problem}")
        }
    }
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => (*value).into(),
        Json::Integer(value) => (*value).into(),
        Json::Number(value) => (*value).into(),
        Json::Text(text) => text.as_ref().into(),
        Json::List(list) => list.iter().map(value).collect(),
        Json::Object(object) => Value::Object(
            object
                .iter()
                .map(|(name, json)| (name.to_string(), value(json)))
                .collect::<Map<_, _>>(),
        ),
    }
}

/// Replaces numbers beyond 64 bits with a sign by what the service reads them as.
fn numbers(value: Value) -> Value {
    match value {
        Value::Number(number) if !number.is_i64() => number.as_f64().into(),
        Value::Array(list) => list.into_iter().map(numbers).collect(),
        Value::Object(object) => {
            Value::Object(object.into_iter().map(|(name, value)| (name, numbers(value))).collect())
        }
        value => value,
    }
}

/// Asserts that a registration reads the same as the body of a `PUT`.
fn registered_as_by_put(event: &Event, data: &Map<String, Value>) {
    let Event::Statement(statement @ Statement { kind, id, record }) = event else { return };
    let (read, own) = match kind {
        EntityKind::Facility => (registrations::facility as fn(_, _, _, &[u8]) -> _, "facility_id"),
        EntityKind::BloodBank => {
            (registrations::blood_bank as fn(_, _, _, &[u8]) -> _, "blood_bank_id")
        }
        _ => return,
    };
    let body: Map<String, Value> = data
        .iter()
        .filter(|(name, _)| *name != own)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let put: Result<Statement, Problem> = read(
        *id,
        record.event_time_ms,
        Some("application/json"),
        Value::Object(body).to_string().as_bytes(),
    );
    assert_eq!(put.as_ref(), Ok(statement));
}

pub fn parse(
    content_type: &str,
    headers: &actix_web::http::header::HeaderMap,
    body: &[u8],
) -> Result<Posted, Problem> {
    cloudevents::parse(Some(content_type), headers, body, &LIMITS)
}
