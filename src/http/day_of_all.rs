//! The route of one day of all facilities, with totals. The page comes from a view, as bytes.

use std::{borrow::Cow, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data},
};
use jiff::{civil::Date, tz::TimeZone};
use serde::Serialize;
use tracing::Instrument;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use super::{
    coded_body::{self, CodedBody},
    day_parameters::{ListingParameters, unknown_cursor},
    entrance::{count_denied, visible},
    instrumentation::request_span,
    list_answer::problem_of,
    problem::Problem,
    query, request_headers,
    request_headers::Encoding,
    response_headers::{CACHE_STATUS, cache_control, list_status, seconds_value},
    state::AppState,
    summaries::{asked_date, begun_day, freshness_request},
};
use crate::{
    access::Visible,
    cache::views::{DayQuery, Form, Page},
    directory::Directory,
    domain::{facility::Facility, summary::ShownSummary, totals::Totals},
    service::{
        freshness_request::FreshnessRequest,
        lists::day_of_all::{DayPage, DayRequest},
    },
};

/// A page of facilities' summaries of one day, with the totals of all of them.
#[derive(Serialize, ToSchema)]
pub struct Listing {
    /// The summaries of this page.
    #[schema(value_type = Vec<ListedSummary>)]
    pub items: Vec<ShownSummary>,
    /// The sums over all facilities that the filters leave, not only over this page.
    pub totals: Totals,
    /// The `cursor` of the next page; null on the last page.
    pub next_cursor: Option<String>,
    /// The version of the day in whose order the page is. The same figures of the same facilities
    /// have the same version. All pages of one reader have the version of the first one; another
    /// one says that the changes since then are not remembered here, and the page is in the present
    /// order.
    pub day_version: String,
}

/// A summary in a day of all facilities: the same as elsewhere, but `fields=totals` leaves out
/// `by_blood_type`, and a day that cannot be counted has no figures, and says so.
struct ListedSummary;

impl PartialSchema for ListedSummary {
    fn schema() -> RefOr<Schema> {
        let mut schema = ShownSummary::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.required.retain(|name| name != "by_blood_type");
            let cannot_be_counted = ObjectBuilder::new()
                .schema_type(Type::Boolean)
                .description(Some(
                    "Only there, and true, where the figures are null because an expression of \
                     the mapping fails on a row of the day: `totals.cannot_be_counted` says where \
                     that is named.",
                ))
                .build();
            object.properties.insert("cannot_be_counted".into(), cannot_be_counted.into());
        }
        schema
    }
}

impl ToSchema for ListedSummary {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ShownSummary::schemas(schemas);
    }
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
        ("q" = Option<String>, Query, description = "a part of the name; case does not matter"),
        (
            "facility_id" = Option<Vec<Uuid>>, Query, explode = true, style = Form,
            description = "only these facilities; sent once for each"
        ),
        (
            "blood_type" = Option<String>, Query,
            description = "only the figures of this type; `+` is written `%2B`"
        ),
        (
            "below" = Option<String>, Query,
            description = "only facilities below a bound, such as `stock:20`: of `stock`, \
                `transferred` or `requests`; of `blood_type`, where that is given"
        ),
        ("above" = Option<String>, Query, description = "the same for facilities above a bound"),
        (
            "fields" = Option<String>, Query,
            description = "`totals` leaves out `by_blood_type`"
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
    let date = asked_date(request.match_info().get("date").unwrap_or_default())?;
    let requested = freshness_request(&request, &app, 0);
    let form = preferred_form(&request);
    let visible = visible(&request);
    let text = text_for(request.query_string(), &visible);
    // A page that is held was asked for by this very text, which was read then.
    let held = app.lists.held_page(date, &text, &requested, app.clock.now_ms());
    if let Some(held) = held
        && let Some(response) = respond(&request, &app, &held, form)
    {
        return Ok(response);
    }
    let (span, text) = (request_span(&request), text.into_owned());
    let asked = Asked { date, text, visible, requested, form };
    Box::pin(past_pages(request, app, asked).instrument(span)).await
}

/// What a reader asked for.
struct Asked {
    date: Option<Date>,
    text: String,
    visible: Visible,
    requested: FreshnessRequest,
    form: Form,
}

/// The text by which pages are held. Readers who may see the same facilities share their pages; a
/// query never has a space.
fn text_for<'a>(query: &'a str, visible: &Visible) -> Cow<'a, str> {
    match visible {
        Visible::All => Cow::Borrowed(query),
        Visible::Only(only) => Cow::Owned(format!("{} {query}", only.name)),
    }
}

/// The query of a reader who may see only some facilities: 403 where it names another one.
fn limited(query: DayQuery, visible: &Visible) -> Result<DayQuery, Problem> {
    let Visible::Only(only) = visible else { return Ok(query) };
    let facilities = match query.facilities {
        Some(named) if !named.is_subset(&only.ids) => {
            return Err(Problem::forbidden(
                "facility_id names a facility that is not among those that you may see.",
            ));
        }
        Some(named) => named,
        None => only.ids.clone(),
    };
    Ok(DayQuery { facilities: Some(facilities), has_own_version: true, ..query })
}

/// Puts the page together in a task of its own, away from the HTTP worker: that goes on when its
/// client disconnects.
async fn past_pages(
    request: HttpRequest,
    app: Data<AppState>,
    asked: Asked,
) -> Result<HttpResponse, Problem> {
    let Asked { date, text, visible, requested, form } = asked;
    let query = ListingParameters::read(request.query_string())?.into_query();
    let query = limited(query, &visible).inspect_err(|_| count_denied(&app, "facility"))?;
    let wrong = query.cursor.as_ref().map(unknown_cursor);
    let sees_all = matches!(visible, Visible::All);
    let day = DayRequest { date, text, query, form, sees_all };
    let lists = app.lists.clone();
    let reading = async move {
        let begins = |directory: &Directory, now_ms: i64| begins(directory, &visible, date, now_ms);
        let unknown = || wrong.clone().unwrap_or_else(|| query::invalid("cursor", "", "none"));
        lists.day_of_all(&day, requested, begins, unknown).await
    };
    let page = app.detached(reading).await.map_err(problem_of)?;
    Ok(respond(&request, &app, &page, form)
        .expect("a page is made together with the form that was asked for"))
}

/// 404 when the date has not begun at any facility that the reader may see, or was at none.
fn begins(
    directory: &Directory,
    visible: &Visible,
    date: Option<Date>,
    now_ms: i64,
) -> Result<(), Problem> {
    let Some(date) = date else { return Ok(()) };
    let facilities: Vec<Arc<Facility>> = match visible.ids() {
        None => directory.all().0.to_vec(),
        Some(ids) => ids.iter().filter_map(|id| directory.get(*id)).collect(),
    };
    let has_begun =
        |facility: &Arc<Facility>| begun_day(facility, date, &facility.zone.today(now_ms)).is_ok();
    if facilities.iter().any(has_begun) {
        return Ok(());
    }
    let todays =
        facilities.iter().map(|facility| (facility.zone.today(now_ms).date, &facility.zone.name));
    let Some((latest, zone)) = todays.max() else { return begins_on_earth(date, now_ms) };
    Err(Problem::not_found(if date > latest {
        format!(
            "{date} has not begun at any facility; today is {latest} where it is latest, in \
             {zone}."
        )
    } else {
        format!("There was no {date} at any facility.")
    }))
}

/// While there is no facility, a date has begun once it has begun where days begin first. Then the
/// list is empty; a later date is 404, as everywhere.
fn begins_on_earth(date: Date, now_ms: i64) -> Result<(), Problem> {
    /// The greatest offset of a zone that is in use, of Pacific/Kiritimati, in milliseconds.
    const FIRST_OFFSET_MS: i64 = 14 * 3_600_000;
    let latest = jiff::Timestamp::from_millisecond(now_ms.saturating_add(FIRST_OFFSET_MS))
        .map_or(Date::MAX, |instant| TimeZone::UTC.to_datetime(instant).date());
    if date <= latest {
        return Ok(());
    }
    Err(Problem::not_found(format!(
        "{date} has not begun anywhere on earth, where today is {latest} at the latest; no \
         facility is registered."
    )))
}

fn preferred_form(request: &HttpRequest) -> Form {
    if !request.headers().contains_key(header::ACCEPT_ENCODING) {
        return Form::Plain;
    }
    form_of(request_headers::best_encoding(request.headers()))
}

fn form_of(encoding: Encoding) -> Form {
    match encoding {
        Encoding::Identity => Form::Plain,
        Encoding::Gzip => Form::Gzip,
        Encoding::Brotli => Form::Brotli,
    }
}

impl CodedBody for Page {
    fn etag(&self) -> Bytes {
        Page::etag(self).clone()
    }

    fn form(&self, form: Encoding) -> Option<Bytes> {
        match form {
            Encoding::Identity => Some(self.body.clone()),
            form => Page::form(self, form_of(form)),
        }
    }
}

/// The page with the headers of its freshness, or 304; `None` where its form is yet to be made,
/// which takes longer than an HTTP worker may be held up.
fn respond(
    request: &HttpRequest,
    app: &AppState,
    answer: &DayPage,
    form: Form,
) -> Option<HttpResponse> {
    let page = &*answer.page;
    let headers = request.headers();
    let is_known = || {
        headers.contains_key(header::IF_NONE_MATCH)
            && std::str::from_utf8(page.etag())
                .is_ok_and(|etag| request_headers::if_none_match(headers, etag).is_some())
    };
    if !page.has(form) && !is_known() {
        return None;
    }
    Some(coded_body::respond(request, page, |response| {
        let now_ms = app.clock.now_ms();
        response
            .insert_header((header::AGE, seconds_value(answer.age_ms)))
            .insert_header((header::CACHE_CONTROL, cache_control(app, now_ms, answer.until_ms)))
            .insert_header((CACHE_STATUS, list_status(answer)));
    }))
}
