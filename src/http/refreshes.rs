//! A refresh on request: one day of a facility is derived anew, and answered.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web::Data};

use super::{
    parameters,
    problem::Problem,
    state::{AppState, DirectoryDemand},
    summaries::{begun_day, not_fresh_enough, read_problem, respond},
};
use crate::{
    domain::{
        facility::Facility,
        summary::{DayKey, ShownSummary},
    },
    metrics::RefreshTrigger,
    service::reads::answer::{Answer, Forward, ReadError, ReadOutcome, Tier},
};

/// Recomputes one day now and answers it.
#[utoipa::path(
    post, path = "/v1/facilities/{facility_id}/refresh", tag = "write", operation_id = "refresh",
    params(
        ("facility_id" = uuid::Uuid, Path),
        ("date" = Option<String>, Query, format = Date, description = "today where it is missing")
    ),
    responses(
        (status = 200, body = ShownSummary),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn refresh(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    let date = parameters::Refresh::read(request.query_string())?.date;
    let mut located = app.facility(&request, DirectoryDemand::Exactly).await?;
    let day_of = |facility: &Facility| {
        let today = facility.zone.today(app.clock.now_ms());
        date.map_or(Ok(today), |date| begun_day(facility, date, &today))
    };
    let day = match day_of(&located.facility) {
        Err(problem) if problem.is_not_found() => {
            located = app.facility_again(located, DirectoryDemand::Exactly).await?;
            day_of(&located.facility)?
        }
        day => day?,
    };
    let facility = &located.facility;
    let waiter = app.coalescer.join(
        DayKey { facility: facility.clone(), day },
        None,
        RefreshTrigger::Request,
    );
    let collapsed = waiter.is_shared;
    let result = tokio::time::timeout(app.settings.freshness.refresh_timeout(), waiter.result())
        .await
        .map_err(|_| {
            Problem::unavailable(
                "The refresh did not finish in time; another program may hold a lock.",
                1,
            )
        })?;
    let refreshed = match result {
        Ok(Some(refreshed)) => refreshed,
        Ok(None) => return Err(read_problem(ReadError::NotFound, &app, facility, day.date)),
        Err(error) => return Err(not_fresh_enough(&app).caused_by(&error)),
    };
    if !refreshed.row.is_of(&day) {
        return Err(read_problem(ReadError::Moved, &app, facility, day.date));
    }
    let entry = Arc::new(app.memory.entry_of(&refreshed.row, refreshed.row.as_of_ms, None));
    let now_ms = app.clock.now_ms();
    let answer = Answer {
        age_ms: app.reads.age_ms(&entry, &located, now_ms),
        entry,
        outcome: ReadOutcome::Fresh,
        tier: Tier::Source,
        forward: Some(Forward::Request),
        collapsed,
        source_unavailable: false,
    };
    Ok(respond(&request, &app, &answer, now_ms, None))
}
