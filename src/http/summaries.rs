//! The routes of one summary, with the hot path, and of a refresh on demand.

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use jiff::civil::Date;
use tracing::Instrument;

use super::{
    coded_body, field_rules,
    instrumentation::request_span,
    json::Shown,
    parameters,
    problem::Problem,
    request_headers,
    response_headers::{CACHE_STATUS, cache_control, cache_status, seconds_value},
    state::{AppState, DirectoryDemand},
};
use crate::{
    directory::Located,
    domain::{day::Day, facility::Facility, summary::ShownSummary},
    service::freshness_request::FreshnessRequest,
    service::reads::{
        answer::{Answer, ReadError},
        redis_rung::FromRedis,
    },
};

/// Answers one day's summary; `today` is the facility's current local day.
#[utoipa::path(
    get, path = "/v1/facilities/{facility_id}/summaries/{date}", tag = "read",
    operation_id = "summary",
    params(
        ("facility_id" = uuid::Uuid, Path),
        (
            "date" = String, Path,
            description = "`YYYY-MM-DD` or `today`, in the facility's own zone"
        ),
        (
            "min_version" = Option<i64>, Query, minimum = 0,
            description = "at least that version: read your own writes"
        ),
        (
            "Cache-Control" = Option<String>, Header,
            description = "`max-age=N`, `no-cache`, `max-stale[=N]`, `only-if-cached`; malformed \
                directives are ignored"
        ),
        (
            "If-None-Match" = Option<String>, Header,
            description = "the `ETag` of the body that one has"
        ),
    ),
    responses(
        (status = 200, body = ShownSummary, description = "The figures"),
        (status = 304, description = "As `If-None-Match` has it"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (
            status = 503, body = Problem, content_type = "application/problem+json",
            description = "Nothing fresh enough can be had now"
        ),
        (
            status = 504, body = Problem, content_type = "application/problem+json",
            description = "`only-if-cached`, and nothing fresh enough in memory or Redis"
        ),
    )
)]
pub async fn one(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    let started = Instant::now();
    let requested = requested(&request, &app)?;
    let known = if requested.min_version > 0 {
        DirectoryDemand::Exactly
    } else {
        DirectoryDemand::Of(requested.max_age_ms)
    };
    let mut located = app.facility(&request, known).await?;
    let now_ms = app.clock.now_ms();
    let (day, until_ms) = match asked_day(&request, &located.facility, now_ms) {
        Err(problem) if problem.is_not_found() => {
            located = Box::pin(app.facility_again(located, known)).await?;
            asked_day(&request, &located.facility, now_ms)?
        }
        asked => asked?,
    };
    if let Some(answer) = app.reads.read_memory(&located, &day, &requested, now_ms) {
        tracing::debug!(
            facility_id = %located.facility.id,
            date = %day.date,
            outcome = "fresh",
            tier = "memory",
            age_seconds = answer.age_ms / 1000,
            "summary read"
        );
        let response = respond(&request, &app, &answer, now_ms, until_ms);
        app.metrics.read_duration.observe(started.elapsed().as_secs_f64());
        return Ok(response);
    }
    // This future has a box of its own. Otherwise it would make the future of the handler larger,
    // which is moved for every request, memory hits included.
    Box::pin(past_memory(request, app, located, day, until_ms, requested, started)).await
}

/// Answers from Redis, or from the tiers below it. The latter are read in a task that goes on when
/// its client disconnects.
async fn past_memory(
    request: HttpRequest,
    app: Data<AppState>,
    mut located: Located,
    mut day: Day,
    mut until_ms: Option<i64>,
    requested: FreshnessRequest,
    started: Instant,
) -> Result<HttpResponse, Problem> {
    // Redis is asked on the worker's thread: two changes of thread would take longer than the round
    // trip.
    let found = match app.reads.read_redis(&located, &day, &requested).await {
        FromRedis::Answer(answer) => {
            tracing::debug!(
                facility_id = %located.facility.id,
                date = %day.date,
                outcome = "fresh",
                tier = "redis",
                age_seconds = answer.age_ms / 1000,
                "summary read"
            );
            let response = respond(&request, &app, &answer, app.clock.now_ms(), until_ms);
            app.metrics.read_duration.observe(started.elapsed().as_secs_f64());
            return Ok(response);
        }
        found => found.too_old(),
    };
    let answer = loop {
        let span = request_span(&request);
        let (reads, asked, found) = (app.reads.clone(), located.clone(), found.clone());
        let reading =
            async move { reads.read(&asked, day, &requested, found).await }.instrument(span);
        let (result, line) = app.carried(reading).await;
        if let Some(line) = line {
            // This thread comes to it once it has sent the answer; another would be woken for it.
            actix_web::rt::spawn(async move { drop(line) });
        }
        match result {
            Err(ReadError::Moved) => {
                located = app.facility(&request, DirectoryDemand::Exactly).await?;
                (day, until_ms) = asked_day(&request, &located.facility, app.clock.now_ms())?;
            }
            result => {
                break result
                    .map_err(|error| read_problem(error, &app, &located.facility, day.date))?;
            }
        }
    };
    let response = respond(&request, &app, &answer, app.clock.now_ms(), until_ms);
    app.metrics.read_duration.observe(started.elapsed().as_secs_f64());
    Ok(response)
}

/// The day that the path names, in the facility's zone, and the end of that day when the path says
/// `today`.
fn asked_day(
    request: &HttpRequest,
    facility: &Facility,
    now_ms: i64,
) -> Result<(Day, Option<i64>), Problem> {
    let text = request.match_info().get("date").unwrap_or_default();
    let today = facility.zone.today(now_ms);
    match asked_date(text)? {
        None => Ok((today, Some(today.end_ms))),
        Some(date) => Ok((begun_day(facility, date, &today)?, None)),
    }
}

/// The date that a path names; `None` for `today`. 400 when it cannot be read.
pub(super) fn asked_date(text: &str) -> Result<Option<Date>, Problem> {
    if text == "today" {
        return Ok(None);
    }
    match field_rules::parse_asked_date(text) {
        Some(date) if date.year() < field_rules::FIRST_YEAR => Err(Problem::bad_request(format!(
            "The date {date} is too early; expected one from 1900-01-01 on, or today."
        ))),
        Some(date) => Ok(Some(date)),
        None => Err(Problem::bad_request(format!(
            "The date {} cannot be read; expected YYYY-MM-DD or today.",
            Shown(text)
        ))),
    }
}

/// The day with that date in the facility's zone. 404 when the zone skipped it or when it has not
/// begun.
pub(super) fn begun_day(facility: &Facility, date: Date, today: &Day) -> Result<Day, Problem> {
    if date == today.date {
        return Ok(*today);
    }
    if date > today.date {
        return Err(Problem::not_found(format!(
            "{date} has not begun in {}; today is {} there.",
            facility.zone.shown(),
            today.date
        )));
    }
    Day::named(&facility.zone.tz, date).ok_or_else(|| {
        Problem::not_found(format!("There was no {date} in {}.", facility.zone.shown()))
    })
}

/// What the request says about freshness, in its headers and its query.
fn requested(request: &HttpRequest, app: &AppState) -> Result<FreshnessRequest, Problem> {
    let min_version = match request.query_string() {
        "" => 0,
        text => parameters::OneDay::read(text)?.min_version,
    };
    Ok(freshness_request(request, app, min_version))
}

/// What the headers of the request say about freshness.
pub(super) fn freshness_request(
    request: &HttpRequest,
    app: &AppState,
    min_version: i64,
) -> FreshnessRequest {
    let directives = request_headers::directives(request.headers());
    let ms = |d: std::time::Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    FreshnessRequest {
        max_age_ms: ms(directives.max_age.unwrap_or_else(|| app.settings.freshness.max_age())),
        explicit: directives.max_age.is_some(),
        max_stale_ms: directives.max_stale.map(|limit| limit.map_or(i64::MAX, ms)),
        only_if_cached: directives.only_if_cached,
        min_version,
    }
}

pub(super) fn read_problem(
    error: ReadError,
    app: &AppState,
    facility: &Facility,
    date: Date,
) -> Problem {
    match error {
        ReadError::NotFound => Problem::not_found(format!(
            "There is no {date} at facility {}: it has not begun, or the facility was removed.",
            facility.id
        )),
        ReadError::NotCached => Problem::gateway_timeout(
            "The request said only-if-cached, and neither memory nor Redis holds anything fresh \
             enough.",
        ),
        ReadError::Unavailable => not_fresh_enough(app),
        ReadError::Moved => Problem::unavailable(
            "The facility was moved to another time zone meanwhile; ask again.",
            1,
        ),
        ReadError::VersionNotReached => {
            Problem::unavailable("The version asked for by min_version was not reached in time.", 1)
        }
    }
}

/// 503, as figures cannot be read anew, and nothing is held that is fresh enough.
pub(super) fn not_fresh_enough(app: &AppState) -> Problem {
    let why = match app.store.failing().days {
        0 => "The source cannot be asked now",
        _ => {
            "The source cannot be asked now, or the figures of this day cannot be counted \
             (source_days in /health/ready names such days)"
        }
    };
    Problem::unavailable(format!("{why}, and nothing held is fresh enough for this request."), 2)
}

/// The answer with its freshness headers, or 304 when the client already has this body. `until_ms`
/// is when a name such as `today` gets another meaning.
pub(super) fn respond(
    request: &HttpRequest,
    app: &AppState,
    answer: &Answer,
    now_ms: i64,
    until_ms: Option<i64>,
) -> HttpResponse {
    coded_body::respond(request, &*answer.entry, |response| {
        response
            .insert_header((header::AGE, seconds_value(answer.age_ms)))
            .insert_header((header::CACHE_CONTROL, cache_control(app, now_ms, until_ms)))
            .insert_header((CACHE_STATUS, cache_status(answer)));
    })
}
