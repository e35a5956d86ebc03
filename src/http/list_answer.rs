//! What the routes that answer with many things share: the problem where there is no list, and the
//! response with its validators.

use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use serde::Serialize;

use super::{coded_body, problem::Problem};
use crate::{cache::forms::Forms, service::lists::ListError};

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
             than was asked for. One of them may hold a lock; where something else stands in \
             the way, /health/ready says what.",
            1,
        ),
    }
}

/// A value as JSON, or 304, with a tag that is made of its bytes. `add` adds the other headers.
pub(super) fn json(
    request: &HttpRequest,
    value: &impl Serialize,
    add: impl FnOnce(&mut HttpResponseBuilder),
) -> HttpResponse {
    let body = bytes_of(value);
    let etag = tag_of(&body);
    tagged(request, body, etag, add)
}

/// A body with its tag, or 304.
pub(super) fn tagged(
    request: &HttpRequest,
    body: Vec<u8>,
    etag: String,
    add: impl FnOnce(&mut HttpResponseBuilder),
) -> HttpResponse {
    coded_body::respond(request, &Forms::new(body.into(), etag), add)
}

/// A value as JSON.
pub(super) fn bytes_of(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("answers have string keys and finite numbers only")
}

/// The tag of these bytes.
pub(super) fn tag_of(body: &[u8]) -> String {
    format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(body))
}
