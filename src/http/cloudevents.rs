//! Reads CloudEvents 1.0 over HTTP into events of the domain, in all three forms: structured,
//! batch, and binary (`ce-` headers). The answer names all faults of all events, each by a pointer
//! into the body as the client sent it.

use actix_web::http::header::HeaderMap;
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    event_data::{self, EventType},
    event_schema, field_rules,
    fields::{self, EventFields, Faults, Place},
    json::{self, Json, Object, Shown},
    percent,
    problem::{InputError, Problem},
};
use crate::domain::event::Event;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
const JSON: &str = "application/json";

/// The limits for an event's time and for the length of a batch.
#[derive(Debug, Clone, Copy)]
pub struct EventLimits {
    /// The database's clock, in milliseconds since 1970.
    pub now_ms: i64,
    /// How far ahead of `now_ms` an event's time may be.
    pub max_clock_skew_ms: i64,
    /// How far behind `now_ms` an event's time may be.
    pub max_event_age_ms: i64,
    /// The most events in one batch.
    pub max_events: usize,
}

/// The events of one request, in the order in which they were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// How the request carried them.
    pub form: Form,
    /// The events; never empty.
    pub events: Vec<Event>,
}

/// Reads the body of `POST /v1/events`. It returns all events or an error: 400 when the body is not
/// JSON, 413 for more than `max_events` events, 415 for another content type, 422 with every fault.
pub fn parse(
    content_type: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
    limits: &EventLimits,
) -> Result<Posted, Problem> {
    let form = form(content_type, headers)?;
    let body = json::parse(body)?;
    let events = match form {
        Form::Structured => structured(&body, limits),
        Form::Batch => batch(&body, limits),
        Form::Binary => binary(headers, &body, limits),
    }?;
    Ok(Posted { form, events })
}

/// How a request carries its events. Only `form` below decides it, once for each request. Code that
/// needs a place in the body asks this value, and does not read the headers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One event, which is the body.
    Structured,
    /// A list of events.
    Batch,
    /// One event: its attributes are headers, and the body is its data.
    Binary,
}

impl Form {
    /// The RFC 6901 pointer to the data of the event at `index`; empty when the data is the whole
    /// body.
    pub fn data_pointer(self, index: usize) -> String {
        match self {
            Form::Structured => "/data".to_owned(),
            Form::Batch => format!("/{index}/data"),
            Form::Binary => String::new(),
        }
    }
}

/// The content type decides between structured and batch. With `ce-` headers, the body of a plain
/// JSON type is the `data` of a binary event.
fn form(content_type: Option<&str>, headers: &HeaderMap) -> Result<Form, Problem> {
    let unsupported = |got: &str| {
        Problem::unsupported_media_type(format!(
            "The content type is {got}; expected {STRUCTURED} or {JSON} for one event, {BATCH} \
             for several, or {JSON} with ce- headers for one in binary mode, all of them in UTF-8."
        ))
    };
    let Some(sent) = content_type else { return Err(unsupported("missing")) };
    let Some(essence) = utf8_essence(sent) else {
        return Err(unsupported(&Shown(sent).to_string()));
    };
    match essence.as_str() {
        STRUCTURED => Ok(Form::Structured),
        BATCH => Ok(Form::Batch),
        JSON if !is_binary(headers) => Ok(Form::Structured),
        _ if is_binary(headers) && is_json(&essence) => Ok(Form::Binary),
        _ => Err(unsupported(&Shown(sent).to_string())),
    }
}

/// Requires `application/json`, with or without `; charset=utf-8`, as `PUT` requests must send it.
/// Any other content type is 415.
pub fn require_json(content_type: Option<&str>) -> Result<(), Problem> {
    match content_type.and_then(utf8_essence) {
        Some(essence) if essence == JSON => Ok(()),
        _ => {
            let got =
                content_type.map_or_else(|| "missing".to_owned(), |sent| Shown(sent).to_string());
            Err(Problem::unsupported_media_type(format!(
                "The content type is {got}; expected {JSON} in UTF-8."
            )))
        }
    }
}

fn is_binary(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        matches!(name.as_str(), "ce-specversion" | "ce-id" | "ce-type" | "ce-source" | "ce-time")
    })
}

fn is_json(essence: &str) -> bool {
    !essence.starts_with("application/cloudevents")
        && (essence == JSON || essence == "text/json" || essence.ends_with("+json"))
}

/// The media type in lower case, without its parameters. `None` when a parameter names an encoding
/// other than UTF-8.
fn utf8_essence(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';');
    let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_utf8 = |charset: &str| {
        ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
    };
    let readable = parts.filter_map(|part| part.split_once('=')).all(|(name, value)| {
        !name.trim().eq_ignore_ascii_case("charset") || is_utf8(value.trim().trim_matches('"'))
    });
    readable.then_some(essence)
}

fn structured(body: &Json, limits: &EventLimits) -> Result<Vec<Event>, Problem> {
    let mut faults = Vec::new();
    let what = format!("one event as a JSON object (a list of events is sent as {BATCH})");
    let event = match field_rules::object_of(body, "", &what) {
        Ok(object) => envelope(object, "", limits, &mut faults),
        Err(fault) => return Err(Problem::invalid(vec![fault])),
    };
    answer(event.into_iter().collect(), faults)
}

fn batch(body: &Json, limits: &EventLimits) -> Result<Vec<Event>, Problem> {
    let fault =
        |detail: String| Problem::invalid(vec![InputError { pointer: String::new(), detail }]);
    let Json::List(list) = body else {
        return Err(fault(format!(
            "expected a list of events, got {body} (one event is sent as {STRUCTURED})"
        )));
    };
    if list.is_empty() {
        return Err(fault("the batch is empty; expected at least one event".into()));
    }
    if list.len() > limits.max_events {
        let detail = format!(
            "The batch holds {} events; at most {} are taken at once.",
            list.len(),
            limits.max_events
        );
        return Err(Problem::too_large(detail));
    }
    let (mut events, mut faults) = (Vec::with_capacity(list.len()), Vec::new());
    for (index, item) in list.iter().enumerate() {
        let pointer = format!("/{index}");
        match field_rules::object_of(item, &pointer, "an event as a JSON object") {
            Ok(object) => events.extend(envelope(object, &pointer, limits, &mut faults)),
            Err(fault) => faults.push(fault),
        }
    }
    answer(events, faults)
}

fn binary(headers: &HeaderMap, body: &Json, limits: &EventLimits) -> Result<Vec<Event>, Problem> {
    let mut faults = Vec::new();
    let attributes = header_attributes(headers, &mut faults);
    let event = event(&attributes, Place::Headers, Some(body), String::new(), limits, &mut faults);
    answer(event.into_iter().collect(), faults)
}

fn answer(events: Vec<Event>, faults: Vec<InputError>) -> Result<Vec<Event>, Problem> {
    if faults.is_empty() { Ok(events) } else { Err(Problem::invalid(faults)) }
}

/// The `ce-` headers as attributes. Characters outside plain ASCII are percent-encoded in their
/// values.
fn header_attributes<'h>(headers: &'h HeaderMap, faults: &mut Vec<InputError>) -> Object<'h> {
    let mut attributes = Object::new();
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        let text =
            value.to_str().map_err(|_| "expected printable ASCII, anything else percent-encoded");
        match text.and_then(|text| percent::decode(text, false)) {
            Ok(text) if !attributes.contains_key(attribute) => {
                attributes.insert(attribute.into(), Json::Text(text));
            }
            Ok(_) => faults.push(InputError {
                pointer: String::new(),
                detail: format!("header ce-{attribute}: was sent twice"),
            }),
            Err(wrong) => faults.push(InputError {
                pointer: String::new(),
                detail: format!("header ce-{attribute}: {wrong}"),
            }),
        }
    }
    attributes
}

/// Reads one event in the JSON format; `pointer` is its place in the body.
fn envelope(
    object: &Object,
    pointer: &str,
    limits: &EventLimits,
    faults: &mut Vec<InputError>,
) -> Option<Event> {
    let data = object.get("data").filter(|data| **data != Json::Null);
    event(object, Place::Body(pointer.to_owned()), data, format!("{pointer}/data"), limits, faults)
}

/// Reads one event from its attributes and its data, and notes its faults, up to the limit of
/// [`Faults`].
fn event(
    attributes: &Object,
    place: Place,
    data: Option<&Json>,
    data_pointer: String,
    limits: &EventLimits,
    faults: &mut Vec<InputError>,
) -> Option<Event> {
    let mut own = Faults::default();
    let time_and_type = read_attributes(EventFields::new(attributes, place, &mut own), limits);
    let event = read_data(time_and_type, data, &data_pointer, limits, &mut own);
    faults.append(&mut own.into_list(&data_pointer));
    event
}

/// Reads time and type; each is `None` when it is not valid. Extension attributes are allowed and
/// ignored.
fn read_attributes(mut f: EventFields, limits: &EventLimits) -> (Option<i64>, Option<EventType>) {
    f.required("specversion", specversion);
    f.required("id", field_rules::text);
    f.required("source", field_rules::text);
    f.optional("subject", field_rules::text);
    f.optional("dataschema", field_rules::text);
    f.optional("datacontenttype", json_content_type);
    f.optional("data_base64", |_| Err::<(), _>("the data as a JSON object in `data`".into()));
    (f.required("time", |value| event_time(value, limits)), f.required("type", EventType::rule))
}

/// Reads the data. It notes the faults of the data even when the time is not valid.
fn read_data(
    (time_ms, event_type): (Option<i64>, Option<EventType>),
    data: Option<&Json>,
    pointer: &str,
    limits: &EventLimits,
    faults: &mut Faults,
) -> Option<Event> {
    let what = "the fields of the event as a JSON object";
    let missing = || InputError {
        pointer: pointer.to_owned(),
        detail: format!("is missing; expected {what}"),
    };
    let object = data
        .ok_or_else(missing)
        .and_then(|data| field_rules::object_of(data, pointer, what))
        .map_err(|fault| faults.note(|| fault))
        .ok()?;
    let data = EventFields::new(object, Place::Body(pointer.to_owned()), faults);
    let event = event_data::read(event_type?, time_ms.unwrap_or(limits.now_ms), data);
    time_ms.and(event)
}

fn specversion(value: &Json) -> Result<(), fields::Expected> {
    if field_rules::text_of(value) == Some("1.0") { Ok(()) } else { Err("\"1.0\"".into()) }
}

fn json_content_type(value: &Json) -> Result<(), fields::Expected> {
    let essence = field_rules::text_of(value).and_then(utf8_essence);
    if essence.is_some_and(|essence| is_json(&essence)) {
        Ok(())
    } else {
        Err("\"application/json\"".into())
    }
}

fn event_time(value: &Json, limits: &EventLimits) -> Result<i64, fields::Expected> {
    let time_ms = field_rules::instant(value)?;
    let shown = |at_ms| {
        Timestamp::from_millisecond(at_ms)
            .map_or_else(|_| "its limits".to_owned(), |at| at.to_string())
    };
    let (earliest, latest) =
        (limits.now_ms - limits.max_event_age_ms, limits.now_ms + limits.max_clock_skew_ms);
    if time_ms > latest {
        let seconds = limits.max_clock_skew_ms / 1000;
        return Err(format!(
            "a time at most {seconds} s ahead of the service's clock, which allows {} at the \
             latest",
            shown(latest)
        )
        .into());
    }
    if time_ms < earliest {
        let days = limits.max_event_age_ms / 86_400_000;
        return Err(format!(
            "a time at most {days} days ago, which is {} at the earliest",
            shown(earliest)
        )
        .into());
    }
    Ok(time_ms)
}

/// An event in the CloudEvents 1.0 JSON format. Extension attributes are allowed.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct CloudEvent {
    /// The version of CloudEvents.
    #[schema(pattern = r"^1\.0$", example = "1.0")]
    pub specversion: String,
    /// The sender's id of the event.
    #[schema(min_length = 1)]
    pub id: String,
    /// The service that sends the event.
    #[schema(min_length = 1, example = "/inventory-service")]
    pub source: String,
    /// What the event says; it decides which fields `data` has.
    #[serde(rename = "type")]
    #[schema(
        pattern = "^(facility\\.registered|blood_bank\\.registered|\
            (inventory|distribution|request)\\.(set|removed)|summary\\.touched)$",
        example = "inventory.set"
    )]
    pub event_type: String,
    /// The time at which the stated fact became true. The newest statement about an entity wins.
    /// Kept to the millisecond.
    #[schema(format = DateTime)]
    pub time: String,
    /// A JSON media type, when it is given.
    #[schema(example = "application/json")]
    pub datacontenttype: Option<String>,
    /// Not used.
    #[schema(min_length = 1)]
    pub subject: Option<String>,
    /// Not used.
    #[schema(min_length = 1)]
    pub dataschema: Option<String>,
    /// The fields of the event.
    pub data: event_schema::EventData,
}

#[cfg(test)]
#[path = "cloudevents_tests.rs"]
mod tests;
