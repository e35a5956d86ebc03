//! What the routes that answer with many summaries share: reading them, by `service/lists`, and the
//! response with its validators.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
};
use serde::Serialize;

use super::{
    problem::Problem,
    request_headers,
    response_headers::{CACHE_STATUS, cache_control, list_status, seconds_value},
    state::AppState,
};
use crate::{
    directory::Directory,
    service::{
        lists::{List, ListError, Selected, Source},
        reads::freshness_request::FreshnessRequest,
    },
};

/// Reads a list in a task of its own, away from the HTTP worker: the read goes on when its client
/// disconnects.
pub(super) async fn read(
    app: &AppState,
    requested: FreshnessRequest,
    select: impl Fn(&Directory, i64) -> Result<Selected, Problem> + Send + Sync + 'static,
) -> Result<List, Problem> {
    let lists = app.lists.clone();
    app.detached(async move { lists.read(requested, select).await }).await.map_err(problem_of)
}

/// The answer where there is no list.
pub(super) fn problem_of(error: ListError<Problem>) -> Problem {
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
}

/// The list as JSON, or 304, with the headers of its freshness. At `until_ms` the requested names
/// begin to mean other days.
pub(super) fn respond(
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
