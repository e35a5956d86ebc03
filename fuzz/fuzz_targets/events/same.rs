//! The same event in the three forms, and after canonical writing.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use facility_summary::{
    domain::event::{Event, Statement},
    http::{
        cloudevents::{Form, Posted},
        problem::Problem,
    },
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{LIMITS, parse, refused, request::Request};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

/// Tries the body in the forms that can carry it.
pub fn in_all_forms(request: &Request) {
    let structured = parse(STRUCTURED, &HeaderMap::new(), &request.body);
    in_a_batch_of_one(&request.body, &structured);
    if let Ok(Value::Object(event)) = serde_json::from_slice(&request.body) {
        in_binary_mode(&event, &structured);
        if let Ok(posted) = &structured {
            at_the_same_time(&event, &posted.events[0]);
        }
    }
    if let Ok(posted) = request.parse()
        && posted.form == Form::Binary
    {
        let structured = structured_from(request);
        assert_eq!(
            parse(STRUCTURED, &HeaderMap::new(), structured.to_string().as_bytes())
                .map(|p| p.events),
            Ok(posted.events)
        );
    }
}

fn in_a_batch_of_one(body: &[u8], structured: &Result<Posted, Problem>) {
    let batch = [b"[", body, b"]"].concat();
    let in_batch = parse(BATCH, &HeaderMap::new(), &batch);
    match (structured, in_batch) {
        (Ok(one), Ok(batch)) => assert_eq!(one.events, batch.events),
        // The brackets are one level more than a body may have.
        (_, Err(problem)) if problem.detail().contains("recursion limit") => {}
        (Ok(_), Err(problem)) => panic!("refused in a batch: {problem}"),
        (Err(problem), batch) if problem.status() == 422 => {
            let in_batch = batch.expect_err("refused in a batch too");
            refused(&[b"[", body, b"]"].concat(), &in_batch, 1);
            let pointers = |problem: &Problem, of: &str| {
                problem.errors().iter().map(|f| format!("{of}{}", f.pointer)).collect::<Vec<_>>()
            };
            assert_eq!(pointers(problem, "/0"), pointers(&in_batch, ""));
        }
        // Not JSON, while `1,2` in brackets is.
        (Err(_), _) => {}
    }
}

/// The event with its attributes as headers, where headers can carry them.
fn in_binary_mode(event: &Map<String, Value>, structured: &Result<Posted, Problem>) {
    let (Some(data), None | Some(Value::Null)) =
        (event.get("data").filter(|data| !data.is_null()), event.get("data_base64"))
    else {
        return;
    };
    let mut headers = HeaderMap::new();
    let mut content_type = "application/json";
    for (name, value) in event.iter().filter(|(name, value)| *name != "data" && !value.is_null()) {
        let is_read = matches!(
            name.as_str(),
            "specversion"
                | "id"
                | "source"
                | "time"
                | "type"
                | "subject"
                | "dataschema"
                | "datacontenttype"
        );
        match value.as_str() {
            Some(text) if name == "datacontenttype" => content_type = text,
            Some(text) => {
                let name = HeaderName::from_bytes(format!("ce-{name}").as_bytes())
                    .ok()
                    .filter(|header| header.as_str()[3..] == **name);
                if let Some(name) = name {
                    headers
                        .insert(name, HeaderValue::from_str(&encoded(text)).expect("it is ASCII"));
                }
            }
            None if is_read => return,
            None => {}
        }
    }
    // Without a specversion it is not known to be an event. A content type of the data that is not
    // JSON is a 415.
    if !headers.contains_key("ce-specversion") || HeaderValue::from_str(content_type).is_err() {
        return;
    }
    let body = data.to_string();
    let binary = parse(content_type, &headers, body.as_bytes());
    match (structured, binary) {
        (Ok(one), Ok(binary)) => assert_eq!(one.events, binary.events),
        (Ok(_), Err(problem)) => panic!("refused in binary mode: {problem}"),
        (Err(problem), Err(binary)) if problem.status() == 422 && binary.status() == 422 => {
            refused(body.as_bytes(), &binary, 1);
            assert_eq!(data_faults(problem, "/data"), data_faults(&binary, ""));
            assert_eq!(problem.errors().len(), binary.errors().len());
        }
        (Err(problem), Err(binary)) if problem.status() == 422 => {
            assert!(
                binary.status() == 415
                    && problem.errors().iter().any(|f| f.pointer == "/datacontenttype"),
                "{problem}; {binary}"
            );
        }
        (Err(problem), Err(_)) => assert_eq!(problem.status(), 400),
        (Err(problem), Ok(_)) => assert_eq!(problem.status(), 400, "accepted in binary mode"),
    }
}

/// The faults of the data, by their places in it.
fn data_faults<'p>(problem: &'p Problem, data: &str) -> Vec<(&'p str, &'p str)> {
    let faults = problem.errors().iter().filter(|fault| !fault.detail.starts_with("header ce-"));
    faults
        .filter_map(|fault| {
            Some((
                fault
                    .pointer
                    .strip_prefix(data)
                    .filter(|rest| rest.is_empty() || rest.starts_with('/'))?,
                &*fault.detail,
            ))
        })
        .collect()
}

/// Percent-encoded as the HTTP binding of CloudEvents has it.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_graphic() && !matches!(b, b'"' | b'%') {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

/// The event of a request in binary mode that was accepted.
fn structured_from(request: &Request) -> Value {
    let mut event = Map::new();
    for (name, value) in &request.headers {
        if let Some(attribute) = name.as_str().strip_prefix("ce-") {
            event.insert(attribute.to_owned(), decoded(value.as_bytes()).into());
        }
    }
    event
        .insert("data".to_owned(), serde_json::from_slice(&request.body).expect("it was accepted"));
    event.into()
}

fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        let (byte, behind) = match (first, behind) {
            (b'%', [high, low, behind @ ..]) => {
                let pair = String::from_utf8(vec![*high, *low]).expect("two digits");
                (u8::from_str_radix(&pair, 16).expect("two digits"), behind)
            }
            _ => (*first, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// The event's time, by jiff's own reading of it, to the millisecond.
fn at_the_same_time(event: &Map<String, Value>, read: &Event) {
    let Event::Statement(statement) = read else { return };
    let text = event["time"].as_str().expect("it was accepted");
    let fraction = text
        .find('.')
        .map_or("", |point| text[point + 1..].trim_start_matches(|c: char| !c.is_ascii_digit()));
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let text =
        text.replacen(&fraction[..digits], &fraction[..digits.min(9)], usize::from(digits > 9));
    let at: Timestamp = text.parse().expect("jiff reads all of RFC 3339");
    let ms = i64::try_from(at.as_nanosecond().div_euclid(1_000_000)).expect("it is in range");
    assert_eq!(ms, statement.record.event_time_ms, "{text}");
}

/// Asserts that the event, written by its canonical values, is read as the same statement.
pub fn again(event: &Event) {
    let text =
        |ms: i64| Timestamp::from_millisecond(ms).expect("an answer can carry it").to_string();
    let (time_ms, data) = match event {
        Event::Touched { facility_id, date } => (
            LIMITS.now_ms,
            json!({"facility_id": facility_id.to_string(), "date": date.map(|d| d.to_string())}),
        ),
        Event::Statement(Statement { kind, id, record }) => {
            let mut data = serde_json::to_value(&record.entity).expect("plain values");
            if data.is_null() {
                data = json!({});
            }
            for (canonical, field) in [
                ("expires_at_ms", "expires_at"),
                ("date_delivered_ms", "date_delivered"),
                ("created_at_ms", "created_at"),
            ] {
                if let Some(ms) = data.as_object_mut().and_then(|object| object.remove(canonical)) {
                    data[field] = ms.as_i64().map(text).into();
                }
            }
            data[format!("{}_id", kind.as_str())] = id.to_string().into();
            (record.event_time_ms, data)
        }
    };
    let written = json!({
        "specversion": "1.0",
        "id": "1",
        "source": "/again",
        "type": event.type_name(),
        "time": text(time_ms),
        "data": data,
    });
    let read = parse(STRUCTURED, &HeaderMap::new(), written.to_string().as_bytes());
    assert_eq!(read.map(|posted| posted.events).as_deref(), Ok(&[event.clone()][..]), "{written}");
}
