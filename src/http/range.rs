//! The route of a range of one facility's days.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use jiff::civil::Date;
use serde::Serialize;
use uuid::Uuid;

use super::{
    list_answer::{read, respond},
    parameters::{self, MOST_DAYS},
    problem::Problem,
    query,
    state::{AppState, DirectoryDemand},
    summaries::{begun_day, freshness_request},
};
use crate::{
    directory::{Directory, Located},
    domain::{
        day::Day,
        facility::Facility,
        summary::{DayKey, Summary},
    },
    service::lists::Selected,
};

/// A page of a facility's days, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Page {
    /// The summaries of this page.
    pub items: Vec<Summary>,
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
    ),
    responses(
        (status = 200, body = Page),
        (status = 304, description = "As `If-None-Match` has it"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn range(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    let asked = parameters::Range::read(request.query_string())?;
    let limit = asked.limit;
    let requested = freshness_request(&request, &app, 0);
    let id = app.facility(&request, DirectoryDemand::Of(requested.max_age_ms)).await?.facility.id;
    let select = move |directory: &Directory, now_ms: i64| {
        let located = directory.locate(id).ok_or_else(|| not_registered(id))?;
        range_of(&located, &asked, now_ms)
    };
    let list = read(&app, requested, select).await?;
    let until_ms = list
        .summaries
        .iter()
        .map(|(key, _)| key.facility.zone.today(app.clock.now_ms()).end_ms)
        .next();
    let mut items: Vec<Summary> = list.summaries.into_iter().map(|(_, summary)| summary).collect();
    let next_cursor = items.get(limit).map(|summary| summary.date.to_string());
    items.truncate(limit);
    Ok(respond(&request, &app, &Page { items, next_cursor }, list.age_ms, list.source, until_ms))
}

fn not_registered(id: Uuid) -> Problem {
    Problem::not_found(format!("Facility {id} is not registered."))
}

/// The days of the requested page, and the first day of the next page if there is one.
fn range_of(
    located: &Located,
    asked: &parameters::Range,
    now_ms: i64,
) -> Result<Selected, Problem> {
    let facility = &located.facility;
    let today = facility.zone.today(now_ms);
    let to = asked.to.unwrap_or(today.date).min(today.date);
    let from = match asked.from {
        Some(from) => from,
        None => to
            .checked_sub(jiff::Span::new().days(6))
            .map_err(|_| query::invalid("to", to, "a later date"))?,
    };
    if asked.to.is_some_and(|to| from > to) {
        return Err(query::invalid("from", from, format!("a date not after to={to}")));
    }
    let days = days_between(facility, from, to, &today)?;
    let page = days
        .into_iter()
        .filter(|day| asked.cursor.is_none_or(|cursor| day.date <= cursor))
        .take(asked.limit + 1);
    let keys = page.map(|day| DayKey { facility: facility.clone(), day }).collect();
    Ok(Selected { keys, directory_ms: located.as_of_ms })
}

/// The days from `from` to `to` that exist and have begun, newest first. 400 for more than
/// `MOST_DAYS` dates.
fn days_between(
    facility: &Facility,
    from: Date,
    to: Date,
    today: &Day,
) -> Result<Vec<Day>, Problem> {
    let mut days = Vec::new();
    let mut date = to;
    while date >= from {
        if days.len() == MOST_DAYS {
            return Err(query::invalid(
                "from",
                from,
                format!("at most {MOST_DAYS} days up to {to}"),
            ));
        }
        if let Ok(day) = begun_day(facility, date, today) {
            days.push(day);
        }
        match date.yesterday() {
            Ok(before) => date = before,
            Err(_) => break,
        }
    }
    Ok(days)
}
