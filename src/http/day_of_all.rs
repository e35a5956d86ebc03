//! The route of one day of all facilities, with totals.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use jiff::civil::Date;
use serde::Serialize;

use super::{
    list_answer::{read, respond},
    parameters,
    problem::Problem,
    query,
    state::AppState,
    summaries::{asked_date, begun_day, freshness_request},
};
use crate::{
    directory::Directory,
    domain::{
        blood_type::BloodType,
        summary::{DayKey, Figures, Summary},
    },
    service::lists::Selected,
};

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
    let mut list = read(&app, freshness_request(&request, &app, 0), select).await?;
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
