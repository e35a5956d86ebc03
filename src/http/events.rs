//! `POST /v1/events`: an acknowledged event is durable, and the summaries contain it.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{self, Bytes, BytesMut, Data},
};
use futures_util::StreamExt;
use jiff::civil::Date;
use serde::Serialize;
use uuid::Uuid;

use super::{
    cloudevents::{self, CloudEvent, EventLimits},
    content_type,
    entrance::{actor, count_denied, visible, who},
    problem::{InputError, Problem},
    state::AppState,
};
use crate::{
    domain::{event::Event, summary::Key},
    service::ingest::{IngestError, Ingested, registers},
    store::StoreError,
};

/// A facility-day that the events changed, with its version after them.
#[derive(Serialize, utoipa::ToSchema)]
pub struct TouchedSummary {
    /// The facility.
    pub facility_id: Uuid,
    /// The local day.
    #[schema(value_type = String, format = Date)]
    pub date: Date,
    /// The version of its summary after the events.
    pub version: i64,
    /// Only there, and true, where an expression of the mapping fails on a row of the day: its
    /// figures are as they were. `source_days` in `/health/ready` names such days.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub cannot_be_counted: bool,
}

/// The result for the events of a request.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AppliedEvents {
    /// Events that changed what is known.
    pub applied: usize,
    /// Events about an entity for which a newer statement is already known.
    pub superseded: usize,
    /// The summaries that the events touched.
    pub summaries: Vec<TouchedSummary>,
}

/// Takes one event or a batch, in any of the three HTTP forms of CloudEvents, and applies all
/// events or none.
#[utoipa::path(
    post, path = "/v1/events", tag = "write", operation_id = "post_events",
    request_body(
        content(
            (CloudEvent = "application/cloudevents+json"),
            (CloudEvent = "application/json"),
            (Vec<CloudEvent> = "application/cloudevents-batch+json")
        )
    ),
    responses(
        (status = 200, body = AppliedEvents, description = "Durable and summarised"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (
            status = 422, body = Problem, content_type = "application/problem+json",
            description = "Every fault is named; nothing was applied"
        ),
        (
            status = 503, body = Problem, content_type = "application/problem+json",
            description = "Overloaded, or the database is out of reach"
        ),
    )
)]
pub async fn post(
    request: HttpRequest,
    app: Data<AppState>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    super::query::none(request.query_string())?;
    let announced = announced(&request);
    if let Some(bytes) = announced {
        take_bytes(&request, &app, bytes.min(app.settings.server.max_body as u64))?;
    }
    let body = body(&request, payload, &app).await?;
    if announced.is_none() {
        take_bytes(&request, &app, body.len() as u64)?;
    }
    let settings = &app.settings.ingest;
    let limits = EventLimits {
        now_ms: app.clock.now_ms(),
        max_clock_skew_ms: i64::try_from(settings.max_clock_skew_seconds)
            .unwrap_or(i64::MAX / 1000)
            .saturating_mul(1000),
        max_event_age_ms: i64::from(settings.max_event_age_days) * 86_400_000,
        max_events: settings.group_events,
    };
    let posted = cloudevents::parse(content_type(&request), request.headers(), &body, &limits)
        .inspect_err(|_| app.metrics.events.with_label_values(&["unreadable", "rejected"]).inc())?;
    apply(&app, &request, posted.events, |index| posted.form.data_pointer(index)).await
}

/// 409 for events that state entities, where the figures come from tables of another program.
fn refuse_statements(app: &AppState, events: &[Event]) -> Result<(), Problem> {
    let states = events.iter().any(|event| matches!(event, Event::Statement(_)));
    if app.settings.sources.is_some() && states {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "This service reads its figures from the tables of the operational database ([sources] \
             in its settings), so facilities, stock, deliveries and requests are written there. \
             Post summary.touched for a facility whose figures should be read at once. Nothing was \
             applied.",
        ));
    }
    Ok(())
}

/// The length of the body, as its sender says.
fn announced(request: &HttpRequest) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Takes the bytes of a body from the budget of who sends it: before it is read, where its length
/// is known.
fn take_bytes(request: &HttpRequest, app: &AppState, bytes: u64) -> Result<(), Problem> {
    app.edge.take_event_bytes(request, who(request).as_deref(), bytes)
}

/// Reads the whole body. 413 as soon as the body is known to be too large, 408 when it takes longer
/// than `server.read_timeout_ms`, 415 for a `Content-Encoding`.
pub(super) async fn body(
    request: &HttpRequest,
    mut payload: web::Payload,
    app: &AppState,
) -> Result<Bytes, Problem> {
    if let Some(encoding) = request
        .headers()
        .get(header::CONTENT_ENCODING)
        .filter(|e| !e.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let encoding = encoding.to_str().unwrap_or("unreadable");
        let detail = format!(
            "Content-Encoding {} is not taken; send the body as it is.",
            super::json::Shown(encoding)
        );
        return Err(Problem::unsupported_media_type(detail));
    }
    let settings = &app.settings.server;
    if announced(request).is_some_and(|length| length > settings.max_body as u64) {
        return Err(too_large(settings.max_body));
    }
    match tokio::time::timeout(
        Duration::from_millis(settings.read_timeout_ms),
        collect(&mut payload, settings.max_body),
    )
    .await
    {
        Ok(read) => read,
        Err(_) => Err(Problem::request_timeout(format!(
            "The body did not arrive within {} ms (setting server.read_timeout_ms). Nothing of it \
             was applied.",
            settings.read_timeout_ms
        ))),
    }
}

async fn collect(payload: &mut web::Payload, max_body: usize) -> Result<Bytes, Problem> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk?;
        if body.len() + chunk.len() > max_body {
            return Err(too_large(max_body));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn too_large(max_body: usize) -> Problem {
    Problem::too_large(format!(
        "The body is larger than the {max_body} bytes that are taken (setting server.max_body)."
    ))
}

/// Submits events and answers with the result. `pointer` gives the place of an event's data in the
/// body, by the event's index.
pub(super) async fn apply(
    app: &AppState,
    request: &HttpRequest,
    events: Vec<Event>,
    pointer: impl Fn(usize) -> String,
) -> Result<HttpResponse, Problem> {
    refuse_statements(app, &events)?;
    let by = events.iter().any(registers).then(|| actor(request));
    match app.ingest.submit_within(events, visible(request), by).await {
        Ok(applied) => Ok(HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(answer(applied))),
        Err(IngestError::Forbidden(events)) => {
            count_denied(app, "facility");
            Err(forbidden(events.into_iter().map(pointer)))
        }
        Err(IngestError::Invalid(faults)) => Err(Problem::invalid(
            faults
                .into_iter()
                .map(|f| InputError {
                    pointer: format!("{}/{}", pointer(f.index), f.field),
                    detail: f.detail,
                })
                .collect(),
        )),
        Err(IngestError::Overloaded) => Err(Problem::unavailable(
            "More events are waiting than the queue holds (setting ingest.queue). Nothing of this \
             request was applied.",
            1,
        )),
        Err(IngestError::Unavailable(error @ StoreError::Refused(_))) => Err(error.into()),
        Err(IngestError::Unavailable(error)) => {
            let refused = Problem::unavailable(
                "The events could not be written. Nothing of this request was applied.",
                2,
            )
            .caused_by(&error);
            let problem = Problem::from(error);
            Err(if problem.status().as_u16() == 503 { problem } else { refused })
        }
        Err(IngestError::Crashed) => Err(Problem::internal()),
    }
}

/// 403 for the events at these places.
fn forbidden(pointers: impl Iterator<Item = String>) -> Problem {
    let detail = "is not about a facility of yours";
    let error = |pointer| InputError { pointer, detail: detail.to_owned() };
    Problem::forbidden(
        "Events about facilities that are not among yours, or about something that is not known. \
         Nothing of this request was applied.",
    )
    .at(pointers.map(error).collect())
}

fn answer(applied: Ingested) -> AppliedEvents {
    let uncounted = applied.uncounted;
    AppliedEvents {
        applied: applied.applied,
        superseded: applied.superseded,
        summaries: applied
            .summaries
            .into_iter()
            .map(|(key @ Key { facility_id, date }, version)| TouchedSummary {
                facility_id,
                date,
                version,
                cannot_be_counted: uncounted.contains(&key),
            })
            .collect(),
    }
}
