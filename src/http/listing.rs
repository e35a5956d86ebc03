//! The routes that answer with many summaries: a range of a facility's days, and one day of all
//! facilities. `service/lists` reads the summaries.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
    web::Data,
};
use jiff::civil::Date;
use serde::Serialize;
use uuid::Uuid;

use super::{
    parameters::{self, MOST_DAYS},
    problem::Problem,
    query, request_headers,
    response_headers::{CACHE_STATUS, cache_control, list_status, seconds_value},
    state::{AppState, DirectoryDemand},
    summaries::{asked_date, begun_day, freshness_wish},
};
use crate::{
    directory::{Directory, Located},
    domain::{
        blood_type::BloodType,
        day::Day,
        facility::Facility,
        summary::{DayKey, Figures, Summary},
    },
    service::{
        lists::{List, ListError, Selected, Source},
        reads::freshness_request::FreshnessRequest,
    },
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
    let requested = freshness_wish(&request, &app, 0);
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

/// Reads a list in a task of its own, away from the HTTP worker: the read goes on when its client
/// disconnects.
async fn read(
    app: &AppState,
    requested: FreshnessRequest,
    select: impl Fn(&Directory, i64) -> Result<Selected, Problem> + Send + Sync + 'static,
) -> Result<List, Problem> {
    let lists = app.lists.clone();
    app.detached(async move { lists.read(requested, select).await }).await.map_err(|error| {
        match error {
            ListError::Selection(problem) => problem,
            ListError::NotCached => Problem::gateway_timeout(
                "The request said only-if-cached, and memory does not hold all of it fresh enough.",
            ),
            ListError::Unavailable => Problem::unavailable(
                "The source cannot be asked now, and nothing held is fresh enough for this \
                 request.",
                2,
            ),
            ListError::Locked => Problem::unavailable(
                "What other programs wrote could not be dealt with in time, or is older by now \
                 than was asked for; one of them may hold a lock.",
                1,
            ),
        }
    })
}

/// Sums over all facilities of a listing.
#[derive(Serialize, Default, utoipa::ToSchema)]
pub struct Totals {
    /// How many facilities the sums are of.
    pub facilities: usize,
    /// Units in stock; a null stock counts as 0.
    pub total_stock: i64,
    /// Units delivered on the day.
    pub total_transferred: i64,
    /// Requests made on the day.
    pub total_requests: i64,
    /// The sums by blood type.
    #[schema(value_type = HashMap<String, Figures>)]
    pub by_blood_type: BTreeMap<BloodType, Figures>,
}

/// A page of facilities' summaries of one day, with the totals of all of them.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Listing {
    /// The summaries of this page.
    pub items: Vec<Summary>,
    /// The sums over all facilities, not only over this page.
    pub totals: Totals,
    /// The `cursor` of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// One day of all facilities where that day has begun. With `today`, each facility's own current
/// day.
#[utoipa::path(
    get, path = "/v1/summaries/{date}", tag = "read", operation_id = "all_summaries",
    params(
        ("date" = String, Path, description = "`YYYY-MM-DD` or `today`"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query),
        (
            "sort" = Option<String>, Query,
            description = "`name` (default), `total_stock`, `total_transferred` or \
                `total_requests`; with `-` the greatest first"
        ),
    ),
    responses(
        (status = 200, body = Listing),
        (status = 304, description = "As `If-None-Match` has it"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn all(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    let asked = parameters::ListingParameters::read(request.query_string())?;
    let date = asked_date(request.match_info().get("date").unwrap_or_default())?;
    let select = move |directory: &Directory, now_ms: i64| day_of_all(directory, date, now_ms);
    let mut list = read(&app, freshness_wish(&request, &app, 0), select).await?;
    let totals = totals(list.summaries.iter().map(|(_, summary)| summary));
    sort_entries(&mut list.summaries, asked.sort);
    let start = match asked.cursor {
        None => 0,
        Some(id) => list
            .summaries
            .iter()
            .position(|(key, _)| key.facility.id == id)
            .ok_or_else(|| query::invalid("cursor", id, "the next_cursor of the page before"))?,
    };
    let now_ms = app.clock.now_ms();
    let until_ms =
        list.summaries.iter().map(|(key, _)| key.facility.zone.today(now_ms).end_ms).min();
    let next_cursor =
        list.summaries.get(start + asked.limit).map(|(key, _)| key.facility.id.to_string());
    let items = list
        .summaries
        .into_iter()
        .skip(start)
        .take(asked.limit)
        .map(|(_, summary)| summary)
        .collect();
    Ok(respond(
        &request,
        &app,
        &Listing { items, totals, next_cursor },
        list.age_ms,
        list.source,
        until_ms,
    ))
}

/// Selects each facility's day with that date, when it has begun there, in the order of the
/// directory. Without a date it selects each facility's own current day. 404 when no facility has
/// such a day.
fn day_of_all(directory: &Directory, date: Option<Date>, now_ms: i64) -> Result<Selected, Problem> {
    let (facilities, directory_ms) = directory.all();
    let keys: Vec<DayKey> = facilities
        .iter()
        .filter_map(|facility| {
            let today = facility.zone.today(now_ms);
            let day = date.map_or(Some(today), |date| begun_day(facility, date, &today).ok())?;
            Some(DayKey { facility: facility.clone(), day })
        })
        .collect();
    let todays =
        facilities.iter().map(|facility| (facility.zone.today(now_ms).date, &facility.zone.name));
    if let Some(date) = date.filter(|_| keys.is_empty())
        && let Some((latest, zone)) = todays.max()
    {
        return Err(Problem::not_found(if date > latest {
            format!(
                "{date} has not begun at any facility; today is {latest} where it is latest, in \
                 {zone}."
            )
        } else {
            format!("There was no {date} at any facility.")
        }));
    }
    Ok(Selected { keys, directory_ms })
}

fn sort_entries(entries: &mut [(DayKey, Summary)], sort: &str) {
    let (column, descending) =
        sort.strip_prefix('-').map_or((sort, false), |column| (column, true));
    let figure = |s: &Summary| match column {
        "total_stock" => s.total_stock.unwrap_or(-1),
        "total_transferred" => s.total_transferred,
        "total_requests" => s.total_requests,
        _ => 0,
    };
    // The sort is stable: facilities with equal figures stay in the order of names.
    match (column, descending) {
        ("name", false) => {}
        ("name", true) => entries.reverse(),
        (_, false) => entries.sort_by_key(|(_, s)| figure(s)),
        (_, true) => entries.sort_by_key(|(_, s)| std::cmp::Reverse(figure(s))),
    }
}

fn totals<'a>(summaries: impl Iterator<Item = &'a Summary>) -> Totals {
    let mut totals = Totals::default();
    for s in summaries {
        totals.facilities += 1;
        totals.total_stock += s.total_stock.unwrap_or(0);
        totals.total_transferred += s.total_transferred;
        totals.total_requests += s.total_requests;
        for (blood_type, figures) in &s.by_blood_type {
            let sum = totals.by_blood_type.entry(*blood_type).or_default();
            sum.stock = Some(sum.stock.unwrap_or(0) + figures.stock.unwrap_or(0));
            sum.transferred += figures.transferred;
            sum.requests += figures.requests;
        }
    }
    totals
}

fn respond(
    request: &HttpRequest,
    app: &AppState,
    body: &impl Serialize,
    age_ms: i64,
    source: Source,
    until_ms: Option<i64>,
) -> HttpResponse {
    let body =
        serde_json::to_vec(body).expect("summaries have string keys and finite numbers only");
    let etag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&body));
    let unchanged = request_headers::if_none_match(request.headers(), &etag);
    let mut response =
        HttpResponseBuilder::new(if unchanged { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    response
        .insert_header((header::ETAG, etag))
        .insert_header((header::AGE, seconds_value(age_ms)))
        .insert_header((header::CACHE_CONTROL, cache_control(app, app.clock.now_ms(), until_ms)))
        .insert_header((CACHE_STATUS, list_status(source)));
    if unchanged { response.finish() } else { response.content_type("application/json").body(body) }
}
