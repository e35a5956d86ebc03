//! Many summaries in one answer: a range of a facility's days, and one day of all facilities. They are read from the table, whose rows
//! are exact as of the drain's watermark; a request that wants them fresher than that has the drain run first.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    web::Data,
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    app::App,
    freshness,
    problem::Problem,
    query,
    summaries::{CACHE_STATUS, begun_day, cache_control, seconds_value},
};
use crate::{
    domain::{
        blood_type::BloodType,
        day::Day,
        facility::Facility,
        summary::{DayKey, Figures, Summary},
    },
    jobs::drain::Pass,
    metrics::Trigger,
    store::StoreError,
};

/// Days that one request may ask for.
const MOST_DAYS: usize = 400;
/// Pause between two tries of the drain while somebody holds a lock that it needs.
const LOCK_POLL: Duration = Duration::from_millis(100);
/// Keys read from the table in one statement.
const CHUNK: usize = 1_000;

/// A page of a facility's days, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Page {
    pub items: Vec<Summary>,
    /// Pass it as `cursor` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct RangeQuery {
    #[serde(default, deserialize_with = "query::date")]
    from: Option<Date>,
    #[serde(default, deserialize_with = "query::date")]
    to: Option<Date>,
    limit: Option<usize>,
    #[serde(default, deserialize_with = "query::date")]
    cursor: Option<Date>,
}

/// A facility's days, newest first; both ends included, the last seven where none are named.
#[utoipa::path(
    get, path = "/v1/facilities/{facility_id}/summaries", tag = "read", operation_id = "summaries",
    params(
        ("facility_id" = Uuid, Path), ("from" = Option<String>, Query, format = Date), ("to" = Option<String>, Query, format = Date, description = "clipped to today"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 400), ("cursor" = Option<String>, Query),
    ),
    responses(
        (status = 200, body = Page), (status = 304, description = "As `If-None-Match` has it"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"), (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn range(request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    let asked: RangeQuery = query::parse(request.query_string(), &["from", "to", "limit", "cursor"])?;
    let limit = limit(asked.limit, MOST_DAYS, MOST_DAYS)?;
    let facility = app.facility(&request, false).await?;
    let now_ms = app.clock.now_ms();
    let today = facility.zone.today(now_ms);
    let to = asked.to.unwrap_or(today.date).min(today.date);
    let from = match asked.from {
        Some(from) => from,
        None => to.checked_sub(jiff::Span::new().days(6)).map_err(|_| query::invalid("to", to, "a later date"))?,
    };
    if asked.to.is_some_and(|to| from > to) {
        return Err(query::invalid("from", from, format!("a date not after to={to}")));
    }
    let days = days_between(&facility, from, to, &today)?;
    let proven_ms = prove(&request, &app).await?;
    let page: Vec<&Day> = days.iter().filter(|day| asked.cursor.is_none_or(|cursor| day.date <= cursor)).take(limit + 1).collect();
    let next_cursor = page.get(limit).map(|day| day.date.to_string());
    let keys: Vec<DayKey> = page.iter().take(limit).map(|day| DayKey { facility: facility.clone(), day: **day }).collect();
    let mut found = summaries(&app, &keys, now_ms).await?;
    let items: Option<Vec<Summary>> = keys.iter().map(|key| found.remove(&key.id())).collect();
    let items = items.ok_or_else(|| Problem::not_found(format!("Facility {} is not registered.", facility.id)))?;
    Ok(respond(&request, &app, &Page { items, next_cursor }, proven_ms, today.end_ms))
}

/// The days that exist, newest first.
fn days_between(facility: &Facility, from: Date, to: Date, today: &Day) -> Result<Vec<Day>, Problem> {
    let mut days = Vec::new();
    let mut date = to;
    while date >= from {
        if days.len() == MOST_DAYS {
            return Err(query::invalid("from", from, format!("at most {MOST_DAYS} days up to {to}")));
        }
        if let Ok(day) = begun_day(facility, &date.to_string(), today) {
            days.push(day);
        }
        match date.yesterday() {
            Ok(before) => date = before,
            Err(_) => break,
        }
    }
    Ok(days)
}

/// Sums over all facilities of a listing.
#[derive(Serialize, Default, utoipa::ToSchema)]
pub struct Totals {
    pub facilities: usize,
    pub total_stock: i64,
    pub total_transferred: i64,
    pub total_requests: i64,
    #[schema(value_type = HashMap<String, Figures>)]
    pub by_blood_type: BTreeMap<BloodType, Figures>,
}

/// A page of facilities' summaries of one day, with the totals of all of them.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Listing {
    pub items: Vec<Summary>,
    pub totals: Totals,
    pub next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct AllQuery {
    limit: Option<usize>,
    cursor: Option<String>,
    sort: Option<String>,
}

const SORTS: [&str; 8] =
    ["name", "-name", "total_stock", "-total_stock", "total_transferred", "-total_transferred", "total_requests", "-total_requests"];

/// One day of all facilities where it has begun; `today` is each one's own.
#[utoipa::path(
    get, path = "/v1/summaries/{date}", tag = "read", operation_id = "all_summaries",
    params(
        ("date" = String, Path, description = "`YYYY-MM-DD` or `today`"), ("limit" = Option<u32>, Query, minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query),
        ("sort" = Option<String>, Query, description = "`name` (default), `total_stock`, `total_transferred` or `total_requests`; with `-` the greatest first"),
    ),
    responses(
        (status = 200, body = Listing), (status = 304, description = "As `If-None-Match` has it"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"), (status = 504, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn all(request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    let asked: AllQuery = query::parse(request.query_string(), &["limit", "cursor", "sort"])?;
    let limit = limit(asked.limit, 100, 500)?;
    let sort = asked.sort.as_deref().unwrap_or("name");
    if !SORTS.contains(&sort) {
        return Err(query::invalid("sort", sort, format!("one of {}", SORTS.join(", "))));
    }
    let (proven_ms, now_ms) = (prove(&request, &app).await?, app.clock.now_ms());
    let text = request.match_info().get("date").unwrap_or_default();
    let mut entries = entries(&app, text, now_ms).await?;
    let totals = totals(entries.iter().map(|(_, summary)| summary));
    sort_entries(&mut entries, sort);
    let start = match &asked.cursor {
        None => 0,
        Some(cursor) => {
            let id = cursor.parse::<Uuid>().map_err(|_| query::invalid("cursor", cursor, "the next_cursor of the page before"))?;
            entries
                .iter()
                .position(|(f, _)| f.id == id)
                .ok_or_else(|| query::invalid("cursor", cursor, "the next_cursor of the page before"))?
        }
    };
    let next_cursor = entries.get(start + limit).map(|(f, _)| f.id.to_string());
    let items = entries.into_iter().skip(start).take(limit).map(|(_, summary)| summary).collect();
    let until_ms = app.directory.by_name().iter().map(|f| f.zone.today(now_ms).end_ms).min().unwrap_or(i64::MAX);
    Ok(respond(&request, &app, &Listing { items, totals, next_cursor }, proven_ms, until_ms))
}

/// Each facility's summary of the day, in the order of the directory.
async fn entries(app: &App, text: &str, now_ms: i64) -> Result<Vec<(Arc<Facility>, Summary)>, Problem> {
    let facilities = app.directory.by_name();
    if text != "today" && super::fields::parse_date(text).is_none() {
        return Err(Problem::bad_request(format!("The date {} cannot be read; expected YYYY-MM-DD or today.", super::json::Shown(text))));
    }
    let keys: Vec<DayKey> = facilities
        .iter()
        .filter_map(|facility| {
            let today = facility.zone.today(now_ms);
            let day = if text == "today" { today } else { begun_day(facility, text, &today).ok()? };
            Some(DayKey { facility: facility.clone(), day })
        })
        .collect();
    if keys.is_empty() && !facilities.is_empty() {
        return Err(Problem::not_found(format!("{text} has not begun at any facility.")));
    }
    let mut found = summaries(app, &keys, now_ms).await?;
    Ok(keys.into_iter().filter_map(|key| found.remove(&key.id()).map(|summary| (key.facility, summary))).collect())
}

fn sort_entries(entries: &mut [(Arc<Facility>, Summary)], sort: &str) {
    let (column, descending) = sort.strip_prefix('-').map_or((sort, false), |column| (column, true));
    let figure = |s: &Summary| match column {
        "total_stock" => s.total_stock.unwrap_or(-1),
        "total_transferred" => s.total_transferred,
        "total_requests" => s.total_requests,
        _ => 0,
    };
    // Stable: equal figures stay in the order of names.
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

/// The summaries of days that have begun by `now_ms`: as stored, and a past day without a row is empty. A today that is yet to be
/// opened, and a day whose row is another zone's of that name, are refreshed; 503 where that cannot be done now. Left out are only days
/// of facilities that are gone.
async fn summaries(app: &App, keys: &[DayKey], now_ms: i64) -> Result<HashMap<(Uuid, Date), Summary>, Problem> {
    let mut rows = HashMap::with_capacity(keys.len());
    for chunk in keys.chunks(CHUNK) {
        let (store, chunk) = (app.store.clone(), chunk.iter().map(DayKey::id).collect::<Vec<_>>());
        let read = app.detached(async move { store.summaries(&chunk).await }).await?;
        rows.extend(read.rows.into_iter().map(|row| ((row.summary.facility_id, row.summary.date), row)));
    }
    let (mut found, mut due) = (HashMap::with_capacity(keys.len()), Vec::new());
    for key in keys {
        let (facility_id, date) = key.id();
        match rows.remove(&key.id()) {
            Some(row) if row.is_of(&key.day) => drop(found.insert(key.id(), row.summary)),
            None if key.day.end_ms <= now_ms => drop(found.insert(key.id(), Summary::empty(facility_id, date, true))),
            _ => due.push(key.clone()),
        }
    }
    if !due.is_empty() {
        found.extend(refreshed(app, due).await?);
    }
    Ok(found)
}

/// Derives these days from their sources, in time or not at all.
async fn refreshed(app: &App, due: Vec<DayKey>) -> Result<Vec<((Uuid, Date), Summary)>, Problem> {
    let (refresher, chunk) = (app.rebuild.refresher.clone(), app.settings.refresh.chunk);
    let ids: Vec<(Uuid, Date)> = due.iter().map(DayKey::id).collect();
    let refreshing = async move {
        let mut found = Vec::with_capacity(due.len());
        for chunk in due.chunks(chunk) {
            let (refreshed, all) = refresher.refresh_each(chunk.to_vec(), Trigger::Read).await;
            all?;
            found.extend(refreshed.into_iter().map(|r| ((r.row.summary.facility_id, r.row.summary.date), r.row.summary)));
        }
        Ok::<_, StoreError>(found)
    };
    let found = match app.detached(tokio::time::timeout(app.settings.freshness.refresh_timeout(), refreshing)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::warn!(%error, "days of a listing could not be refreshed");
            Vec::new()
        }
        Err(_) => Vec::new(),
    };
    let known: HashSet<(Uuid, Date)> = found.iter().map(|(id, _)| *id).collect();
    match ids.iter().find(|id| !known.contains(id) && app.directory.get(id.0).is_some()) {
        None => Ok(found),
        Some((id, date)) => Err(Problem::unavailable(
            format!(
                "{date} of facility {id} could not be summarised in time; another program may hold a lock, or the source is unreachable."
            ),
            1,
        )),
    }
}

/// The instant as of which the table is exact, after a run of the drain where it is older than the request wants. 503 where that cannot be had.
async fn prove(request: &HttpRequest, app: &App) -> Result<i64, Problem> {
    let directives = freshness::directives(request.headers());
    let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    let bound_ms = ms(directives.max_age.unwrap_or_else(|| app.settings.freshness.max_age()));
    let bearable_ms = directives.max_stale.map(|limit| limit.map_or(i64::MAX, |limit| bound_ms.saturating_add(ms(limit))));
    let arrived_ms = app.clock.now_ms();
    let proven_ms = app.memory.table_ms();
    let is_within = |most_ms: i64| age_ms(proven_ms, arrived_ms).is_some_and(|age_ms| age_ms <= most_ms);
    if (bound_ms > 0 && is_within(bound_ms)) || bearable_ms.is_some_and(is_within) {
        return Ok(proven_ms);
    }
    if directives.only_if_cached {
        return Err(Problem::gateway_timeout("The request said only-if-cached, and what is proven is not fresh enough."));
    }
    let (memory, clock, drain) = (app.memory.clone(), app.clock.clone(), app.drain.clone());
    let proving = async move {
        loop {
            // A proof from after the request's arrival is fresh enough for any bound.
            let proven_ms = memory.table_ms();
            let is_fresh = bound_ms > 0 && age_ms(proven_ms, clock.now_ms()).is_some_and(|age_ms| age_ms <= bound_ms);
            if proven_ms > arrived_ms || is_fresh {
                return Ok::<i64, StoreError>(proven_ms);
            }
            if drain.run_once().await? == Pass::Waits {
                tokio::time::sleep(LOCK_POLL).await;
            }
        }
    };
    let timely = app.detached(tokio::time::timeout(app.settings.freshness.refresh_timeout(), proving)).await;
    let stale_if_error_ms = ms(Duration::from_secs(app.settings.freshness.stale_if_error_seconds));
    let last_ms = app.memory.table_ms();
    let last_will_do =
        directives.max_age.is_none() && age_ms(last_ms, app.clock.now_ms()).is_some_and(|age_ms| age_ms <= stale_if_error_ms);
    match timely {
        Ok(Ok(proven_ms)) => Ok(proven_ms),
        _ if last_will_do => Ok(last_ms),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Problem::unavailable("What other programs wrote could not be dealt with in time; one of them may hold a lock.", 1)),
    }
}

/// How old what a watermark proves is; none before the first proof.
fn age_ms(watermark_ms: i64, now_ms: i64) -> Option<i64> {
    (watermark_ms != i64::MIN).then(|| now_ms.saturating_sub(watermark_ms))
}

/// How many items a page may have.
pub(super) fn limit(asked: Option<usize>, default: usize, most: usize) -> Result<usize, Problem> {
    match asked {
        None => Ok(default),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(limit) => Err(query::invalid("limit", limit, format!("a whole number from 1 to {most}"))),
    }
}

fn respond(request: &HttpRequest, app: &App, body: &impl Serialize, proven_ms: i64, until_ms: i64) -> HttpResponse {
    let body = serde_json::to_vec(body).expect("summaries have string keys and finite numbers only");
    let etag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&body));
    let now_ms = app.clock.now_ms();
    let unchanged = freshness::if_none_match(request.headers(), &etag);
    let mut response = HttpResponseBuilder::new(if unchanged { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    response
        .insert_header((header::ETAG, etag))
        .insert_header((header::AGE, seconds_value(now_ms.saturating_sub(proven_ms))))
        .insert_header((header::CACHE_CONTROL, cache_control(app, now_ms, Some(until_ms))))
        .insert_header((CACHE_STATUS, HeaderValue::from_static("facility-summary; fwd=request; detail=table")));
    if unchanged { response.finish() } else { response.content_type("application/json").body(body) }
}
