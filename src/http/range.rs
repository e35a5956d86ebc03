//! The route of a range of one facility's days.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{self, Data},
};
use jiff::civil::Date;
use serde::Serialize;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    coded_body::{self, is_long_work},
    instrumentation::request_span,
    parameters::{self, MOST_DAYS},
    problem::Problem,
    query, request_headers,
    response_headers::{CACHE_STATUS, cache_control, range_status, seconds_value},
    state::{AppState, DirectoryDemand},
    summaries::{freshness_request, not_fresh_enough},
};
use crate::{
    cache::page::{Page, Span},
    domain::{day::Day, facility::Facility, summary::ShownSummary},
    service::{
        freshness_request::FreshnessRequest,
        ranges::{RangeAnswer, RangeError, Select},
    },
};

/// A page of a facility's days, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RangePage {
    /// The summaries of this page.
    pub items: Vec<ShownSummary>,
    /// The `cursor` of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// A facility's days, newest first. Both ends are included; without `to` the range ends today, and
/// without `from` it has seven days.
#[utoipa::path(
    get, path = "/v1/facilities/{facility_id}/summaries", tag = "read", operation_id = "summaries",
    params(
        ("facility_id" = Uuid, Path),
        ("from" = Option<String>, Query, format = Date),
        ("to" = Option<String>, Query, format = Date, description = "clipped to today"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 400),
        ("cursor" = Option<String>, Query),
        (
            "min_version" = Option<i64>, Query, minimum = 0,
            description = "everything of the facility up to that version: read your own writes"
        ),
    ),
    responses(
        (status = 200, body = RangePage),
        (status = 304, description = "As `If-None-Match` has it"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn range(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    let asked = asked_range(request.query_string())?;
    let requested = freshness_request(&request, &app, asked.min_version);
    let demand = match asked.min_version {
        0 => DirectoryDemand::Of(requested.max_age_ms),
        _ => DirectoryDemand::Exactly,
    };
    let located = app.facility(&request, demand).await?;
    let now_ms = app.clock.now_ms();
    let span = span_of(&located.facility, &asked, now_ms)?;
    let answer = match app.ranges.read_memory(&located, &span, &requested, now_ms) {
        Some(answer) => answer,
        None => {
            let id = located.facility.id;
            let reading = past_memory(&app, id, asked, requested);
            // In a box, as it would make this future larger, which is moved for every request.
            Box::pin(reading.instrument(request_span(&request))).await?
        }
    };
    if is_long_work(&request, &answer.page.forms) {
        compress(&request, &answer.page).await;
    }
    let now_ms = app.clock.now_ms();
    let today = located.facility.zone.today(now_ms);
    let until_ms = asked.to.is_none_or(|to| to >= today.date).then_some(today.end_ms);
    Ok(coded_body::respond(&request, &answer.page.forms, |response| {
        response
            .insert_header((header::AGE, seconds_value(answer.age_ms)))
            .insert_header((header::CACHE_CONTROL, cache_control(&app, now_ms, until_ms)))
            .insert_header((CACHE_STATUS, range_status(&answer)));
    }))
}

/// What a query asks for. Dashboards repeat a few texts, so each worker remembers what it has read.
fn asked_range(text: &str) -> Result<parameters::Range, Problem> {
    const MOST_TEXTS: usize = 64;
    const LONGEST_TEXT: usize = 128;
    thread_local! {
        static READ: RefCell<HashMap<Box<str>, parameters::Range>> = RefCell::default();
    }
    if let Some(known) = READ.with_borrow(|read| read.get(text).copied()) {
        return Ok(known);
    }
    let asked = parameters::Range::read(text)?;
    if text.len() <= LONGEST_TEXT {
        READ.with_borrow_mut(|read| {
            if read.len() >= MOST_TEXTS {
                read.clear();
            }
            read.insert(text.into(), asked);
        });
    }
    Ok(asked)
}

/// Reads the range in a task of its own, away from the HTTP worker: the read goes on when its
/// client disconnects.
async fn past_memory(
    app: &Data<AppState>,
    id: Uuid,
    asked: parameters::Range,
    requested: FreshnessRequest,
) -> Result<RangeAnswer, Problem> {
    let (ranges, state) = (app.ranges.clone(), app.clone().into_inner());
    let select: Select<Problem> = Arc::new(move || {
        let located = state.directory.locate(id).ok_or_else(|| not_registered(id))?;
        let span = span_of(&located.facility, &asked, state.clock.now_ms())?;
        Ok((located, span))
    });
    let read = app.detached(async move { ranges.read(requested, select).await }).await;
    read.map_err(|error| match error {
        RangeError::Selection(problem) => problem,
        RangeError::NotCached => Problem::gateway_timeout(
            "The request said only-if-cached, and memory and Redis do not hold all of it fresh \
             enough.",
        ),
        RangeError::Unavailable => not_fresh_enough(app),
        RangeError::VersionNotReached => {
            Problem::unavailable("The version asked for by min_version was not reached in time.", 1)
        }
    })
}

/// Compresses a large page away from the HTTP worker, which has other requests to answer.
async fn compress(request: &HttpRequest, page: &Arc<Page>) {
    let (page, form) = (page.clone(), request_headers::best_encoding(request.headers()));
    // Where it fails, the answer compresses.
    let _ = web::block(move || coded_body::CodedBody::form(&page.forms, form)).await;
}

fn not_registered(id: Uuid) -> Problem {
    Problem::not_found(format!("Facility {id} is not registered."))
}

/// The days that are asked for, up to today. 400 for more than `MOST_DAYS`, and where the first one
/// is after the last one.
fn span_of(facility: &Facility, asked: &parameters::Range, now_ms: i64) -> Result<Span, Problem> {
    let today = facility.zone.today(now_ms).date;
    let to = asked.to.unwrap_or(today).min(today);
    let from = match asked.from {
        Some(from) => from,
        None => to
            .checked_sub(jiff::Span::new().days(6))
            .map_err(|_| query::invalid("to", to, "a later date"))?,
    };
    if asked.to.is_some_and(|to| from > to) {
        return Err(query::invalid("from", from, format!("a date not after to={to}")));
    }
    if dates_between(from, to) > MOST_DAYS && days_between(facility, from, to) > MOST_DAYS {
        return Err(query::invalid("from", from, format!("at most {MOST_DAYS} days up to {to}")));
    }
    let newest = asked.cursor.map_or(to, |cursor| cursor.min(to));
    Ok(Span { newest, oldest: from, limit: asked.limit })
}

fn dates_between(from: Date, to: Date) -> usize {
    let days = (to - from).get_days();
    usize::try_from(days + 1).unwrap_or(0)
}

/// The days that exist in the facility's zone, counted no further than is needed.
fn days_between(facility: &Facility, from: Date, to: Date) -> usize {
    let back = std::iter::successors(Some(to), |date| date.yesterday().ok());
    let dates = back.take_while(|date| *date >= from);
    dates.filter(|date| Day::named(&facility.zone.tz, *date).is_some()).take(MOST_DAYS + 1).count()
}
