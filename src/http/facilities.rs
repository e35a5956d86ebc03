//! The routes that list, show and register facilities and blood banks.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::header, web, web::Data};
use jiff::civil::Date;
use serde::Serialize;
use uuid::Uuid;

use super::{
    content_type,
    entrance::visible,
    events::{AppliedEvents, apply},
    list_answer,
    parameters::{self, FacilityCursor},
    problem::Problem,
    query, registrations,
    response_headers::{cache_control, seconds_value},
    state::{AppState, DirectoryDemand, path_id},
    summaries::freshness_request,
};
use crate::domain::{event::Event, facility::Facility, names::sought};

/// A facility in a list.
#[derive(Serialize, utoipa::ToSchema)]
pub struct FacilityItem {
    /// Its id.
    pub facility_id: Uuid,
    /// Only present where `[sources]` maps facilities: the owner's key, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub key: Option<String>,
    /// Its name.
    pub name: String,
    /// The name of its time zone, as registered.
    pub timezone: String,
    /// Only present when no time zone has that name: what is wrong, and what would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub timezone_error: Option<String>,
}

/// A facility with its local date.
#[derive(Serialize, utoipa::ToSchema)]
pub struct FacilityDetail {
    /// Its id.
    pub facility_id: Uuid,
    /// Only present where `[sources]` maps facilities: the owner's key, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub key: Option<String>,
    /// Its name.
    pub name: String,
    /// The name of its time zone, as registered.
    pub timezone: String,
    /// Only present when no time zone has that name: what is wrong, and what would be right.
    /// `today` and the facility's days are then those of UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub timezone_error: Option<String>,
    /// The facility's current local date.
    #[schema(value_type = String, format = Date)]
    pub today: Date,
    /// How many clients of live updates follow it by its id, on all servers: about, since servers
    /// tell each other every few seconds. Null while that cannot be found out. The entity tag does
    /// not count it.
    pub viewers: Option<usize>,
}

/// A page of facilities, in the order of their names.
#[derive(Serialize, utoipa::ToSchema)]
pub struct FacilityPage {
    /// The facilities of this page.
    pub items: Vec<FacilityItem>,
    /// The cursor of the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// Lists facilities by name. `q` selects those with a name that contains it. The comparison ignores
/// case, invisible characters, and the way in which accents are composed. `key` selects the one
/// with this key in the owner's tables, where `[sources]` maps facilities.
#[utoipa::path(
    get, path = "/v1/facilities", tag = "read", operation_id = "facilities",
    params(
        ("q" = Option<String>, Query),
        ("key" = Option<String>, Query),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query)
    ),
    responses(
        (status = 200, body = FacilityPage),
        (status = 304, description = "As `If-None-Match` has it"),
        (status = 400, body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn list(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    let asked = parameters::Facilities::read(request.query_string())?;
    app.read_directory(&freshness_request(&request, &app, 0)).await?;
    let (facilities, as_of_ms) = app.directory.all();
    let start = match &asked.cursor {
        None => 0,
        Some(after) => facilities
            .partition_point(|f| (f.name.as_str(), f.id) < (after.name.as_str(), after.id)),
    };
    let visible = visible(&request);
    let wanted = asked.q.map(|q| sought(&q));
    let mut found = facilities[start..]
        .iter()
        .filter(|f| visible.has(f.id))
        .filter(|f| wanted.as_ref().is_none_or(|q| sought(&f.name).contains(q)))
        .filter(|f| asked.key.is_none() || f.key == asked.key);
    let items = found.by_ref().take(asked.limit).map(|f| item(f)).collect();
    let next_cursor =
        found.next().map(|f| FacilityCursor { name: f.name.clone(), id: f.id }.to_string());
    Ok(list_answer::json(&request, &FacilityPage { items, next_cursor }, |response| {
        response.insert_header(age(&app, as_of_ms)).insert_header(lifetime(&app, None));
    }))
}

/// The `Age` header: seconds since the directory was last known to be exact.
fn age(app: &AppState, as_of_ms: i64) -> (header::HeaderName, header::HeaderValue) {
    (header::AGE, seconds_value(app.clock.now_ms().saturating_sub(as_of_ms)))
}

/// The `Cache-Control` header; at `until_ms` the answer ends to be right.
fn lifetime(app: &AppState, until_ms: Option<i64>) -> (header::HeaderName, header::HeaderValue) {
    (header::CACHE_CONTROL, cache_control(app, app.clock.now_ms(), until_ms))
}

fn item(facility: &Facility) -> FacilityItem {
    FacilityItem {
        facility_id: facility.id,
        key: facility.key.clone(),
        name: facility.name.clone(),
        timezone: facility.zone.shown().into_owned(),
        timezone_error: facility.zone.error().map(str::to_owned),
    }
}

/// Shows one facility.
#[utoipa::path(
    get, path = "/v1/facilities/{facility_id}", tag = "read", operation_id = "facility",
    params(("facility_id" = Uuid, Path)),
    responses(
        (status = 200, body = FacilityDetail),
        (status = 304, description = "As `If-None-Match` has it"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn one(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let requested = freshness_request(&request, &app, 0);
    app.read_directory(&requested).await?;
    let located = app.facility(&request, DirectoryDemand::Of(requested.max_age_ms)).await?;
    let viewers = app.viewers.of(located.facility.id).await;
    let until_ms = located.facility.zone.today(app.clock.now_ms()).end_ms;
    let tagged = detail(&located.facility, &app);
    // The tag is that of the facility, whoever looks at it: so it is a weak one (RFC 9110, 8.8.1).
    let etag = format!("W/{}", list_answer::tag_of(&list_answer::bytes_of(&tagged)));
    let shown = FacilityDetail { viewers, ..tagged };
    Ok(list_answer::tagged(&request, list_answer::bytes_of(&shown), etag, |response| {
        response
            .insert_header(age(&app, located.as_of_ms))
            .insert_header(lifetime(&app, Some(until_ms)));
    }))
}

fn detail(facility: &Arc<Facility>, app: &AppState) -> FacilityDetail {
    FacilityDetail {
        facility_id: facility.id,
        key: facility.key.clone(),
        name: facility.name.clone(),
        timezone: facility.zone.shown().into_owned(),
        timezone_error: facility.zone.error().map(str::to_owned),
        today: facility.zone.today(app.clock.now_ms()).date,
        viewers: None,
    }
}

/// Registers a facility, renames it, or moves it to another time zone, as of now.
#[utoipa::path(
    put, path = "/v1/facilities/{facility_id}", tag = "write", operation_id = "register_facility",
    params(("facility_id" = Uuid, Path)),
    request_body = registrations::FacilityRegistration,
    responses(
        (status = 200, body = AppliedEvents),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn register(
    request: HttpRequest,
    app: Data<AppState>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let id = path_id(&request, "facility_id")?;
    let body = super::events::body(&request, payload, &app).await?;
    let statement = registrations::facility(id, app.clock.now_ms(), content_type(&request), &body)?;
    apply(&app, &request, vec![Event::Statement(statement)], |_| String::new()).await
}

/// Registers a blood bank, or moves it to another facility, as of now.
#[utoipa::path(
    put, path = "/v1/blood-banks/{blood_bank_id}", tag = "write",
    operation_id = "register_blood_bank",
    params(("blood_bank_id" = Uuid, Path)),
    request_body = registrations::BloodBankRegistration,
    responses(
        (status = 200, body = AppliedEvents),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn register_blood_bank(
    request: HttpRequest,
    app: Data<AppState>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let id = path_id(&request, "blood_bank_id")?;
    let body = super::events::body(&request, payload, &app).await?;
    let statement =
        registrations::blood_bank(id, app.clock.now_ms(), content_type(&request), &body)?;
    apply(&app, &request, vec![Event::Statement(statement)], |_| String::new()).await
}
