//! The one place where errors become HTTP responses: RFC 9457 problem documents. What the database
//! said goes only to the log (`instrumentation.rs` writes it), and to no client.

use std::fmt;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, Responder, ResponseError,
    body::BoxBody,
    error::PayloadError,
    http::{StatusCode, header},
};
use serde::Serialize;

use crate::store::StoreError;

/// The media type of problem documents.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// An error as a client sees it. The `type` is always `about:blank`: the status says what kind of
/// error it is, `detail` and `errors` say the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what kind of error it is.
    #[serde(rename = "type")]
    #[schema(value_type = String, format = "uri-reference", example = "about:blank")]
    kind: &'static str,
    /// The status in words.
    #[schema(value_type = String, example = "Unprocessable Entity")]
    title: &'static str,
    #[schema(minimum = 400, maximum = 599, example = 422)]
    status: u16,
    /// What was wrong, and what would be right.
    detail: String,
    /// Each fault in the body, when fields of it are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<InputError>,
    #[serde(skip)]
    header: Option<Header>,
    /// The error that caused it, for the log.
    #[serde(skip)]
    cause: Option<Box<LoggedCause>>,
}

/// The text of a cause. It is boxed in `Problem` to keep the result type of the handlers small:
/// every result takes the space of its largest variant, on the hot path too.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LoggedCause(String);

/// A header that goes with the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    Allow(&'static str),
    RetryAfterSeconds(u32),
    Authenticate(&'static str),
    Upgrade(&'static str),
}

/// One fault in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct InputError {
    /// RFC 6901 pointer into the body as the client sent it; empty for the whole body. Empty also
    /// for a header, which `detail` then names.
    #[schema(example = "/3/data/quantity")]
    pub pointer: String,
    /// What was expected, and what was found.
    #[schema(example = "expected a whole number from 0 to 2147483647, got -3")]
    pub detail: String,
}

impl Problem {
    /// A problem with this status. `detail` says what was wrong, and what would be right.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            header: None,
            cause: None,
        }
    }

    /// 400: the request cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401 with a `WWW-Authenticate` header: nobody is signed in.
    pub fn unauthorized(detail: impl Into<String>, challenge: &'static str) -> Self {
        let problem = Self::new(StatusCode::UNAUTHORIZED, detail);
        Problem { header: Some(Header::Authenticate(challenge)), ..problem }
    }

    /// 403 with a `WWW-Authenticate` header: whoever is signed in may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        const CHALLENGE: &str = "Bearer realm=\"facility-summary\", error=\"insufficient_scope\"";
        let problem = Self::new(StatusCode::FORBIDDEN, detail);
        Problem { header: Some(Header::Authenticate(CHALLENGE)), ..problem }
    }

    /// This problem with the parts of the request that are at fault.
    pub fn at(self, errors: Vec<InputError>) -> Self {
        Problem { errors, ..self }
    }

    /// 404: there is nothing with this name.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// Whether the status is 404.
    pub fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND.as_u16()
    }

    /// 405 with an `Allow` header: the methods that the resource has, as in `GET, PUT`.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("This resource answers {allow} only."),
        );
        Problem { header: Some(Header::Allow(allow)), ..problem }
    }

    /// 426 with an `Upgrade` header: the protocol that the resource has.
    pub fn upgrade_required(protocol: &'static str, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::UPGRADE_REQUIRED, detail);
        Problem { header: Some(Header::Upgrade(protocol)), ..problem }
    }

    /// 408: the request took too long to arrive.
    pub fn request_timeout(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, detail)
    }

    /// 413: the request exceeds a limit, which `detail` names.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 415: `detail` lists what is accepted.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// 429 with a `Retry-After` header: the client has used up a budget, which `detail` names.
    pub fn too_many_requests(detail: impl Into<String>, retry_after_seconds: u32) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, detail);
        Problem { header: Some(Header::RetryAfterSeconds(retry_after_seconds)), ..problem }
    }

    /// 422: the request could be read, but these parts of it are not valid. Nothing of it was
    /// applied.
    pub fn invalid(errors: Vec<InputError>) -> Self {
        let detail = match errors.len() {
            1 => "The request has a fault, and nothing of it was applied.".to_owned(),
            n => format!("The request has {n} faults, and nothing of it was applied."),
        };
        Problem { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// 500, without the cause: that is in the log.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The service failed on this request. Its log says why.",
        )
    }

    /// 503 with a `Retry-After` header.
    pub fn unavailable(detail: impl Into<String>, retry_after_seconds: u32) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        Problem { header: Some(Header::RetryAfterSeconds(retry_after_seconds)), ..problem }
    }

    /// 504: the answer was not available in time, or `only-if-cached` forbade asking the database.
    pub fn gateway_timeout(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, detail)
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The faults in the body, if fields of it are wrong.
    pub fn errors(&self) -> &[InputError] {
        &self.errors
    }

    /// What was wrong, and what would be right.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// This problem with the error that caused it, which is only logged.
    pub fn caused_by(self, error: &StoreError) -> Self {
        Problem {
            cause: Some(Box::new(LoggedCause(format!("{}: {error}", error.class())))),
            ..self
        }
    }

    /// The error that caused it, for the log; no client sees it.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_ref().map(|cause| cause.0.as_str())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let problem = match &error {
            StoreError::Unavailable(_) => Problem::unavailable(
                "The database cannot be reached. Nothing was changed; try again shortly.",
                2,
            ),
            StoreError::InDoubt(_) => Problem::unavailable(
                "The database was lost at the last moment, and whether this request was applied \
                 is not known. Send it again: once more does no harm.",
                2,
            ),
            StoreError::Locked(_) => Problem::unavailable(
                "Another program holds a lock on what this request needs; try again shortly.",
                1,
            ),
            StoreError::Conflict => Problem::unavailable(
                "Other writes kept interfering with this request; try again shortly.",
                1,
            ),
            StoreError::OtherEpoch => Problem::unavailable(
                "The database has just failed over, or was restored. Nothing was changed; try \
                 again shortly.",
                1,
            ),
            StoreError::Superseded => Problem::unavailable(
                "This server has other settings of its sources than one that was started later, \
                 and reads nothing anew until it is started again.",
                30,
            ),
            StoreError::Full(_) => Problem::unavailable(
                "The database cannot write at the moment. Nothing was changed; try again later.",
                30,
            ),
            StoreError::Internal(_) => Problem::unavailable(
                "The database failed at this request. Nothing was changed; try again later.",
                30,
            ),
            StoreError::Refused(_) => {
                let detail = "A value is out of range, or refers to something that is not \
                              registered. Nothing was changed.";
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            }
            StoreError::Migration(_)
            | StoreError::Mapping(_)
            | StoreError::NotDone(_)
            | StoreError::Unreadable(_)
            | StoreError::WrongDifference { .. }
            | StoreError::Panicked
            | StoreError::Failed(_) => Problem::internal(),
        };
        problem.caused_by(&error)
    }
}

/// Errors that reading the body of a request may end with.
impl From<PayloadError> for Problem {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::Overflow => Problem::too_large(
                "The body is larger than the service takes (setting server.max_body).",
            ),
            PayloadError::EncodingCorrupted => Problem::bad_request(
                "The body is not in the encoding that its Content-Encoding names.",
            ),
            PayloadError::UnknownLength => Problem::bad_request(
                "The length of the body cannot be read from its Content-Length.",
            ),
            _ => Problem::bad_request("The body ended before it was complete."),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.title, self.detail)?;
        self.errors.iter().try_for_each(|fault| write!(f, "; {:?} {}", fault.pointer, fault.detail))
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.status());
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        match self.header {
            Some(Header::Allow(methods)) => response.insert_header((header::ALLOW, methods)),
            Some(Header::RetryAfterSeconds(seconds)) => {
                response.insert_header((header::RETRY_AFTER, seconds))
            }
            Some(Header::Upgrade(protocol)) => response
                .insert_header((header::UPGRADE, protocol))
                .insert_header((header::CONNECTION, "upgrade")),
            Some(Header::Authenticate(challenge)) => {
                response.insert_header((header::WWW_AUTHENTICATE, challenge))
            }
            None => &mut response,
        };
        if matches!(self.status(), StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
            // The service does not read the rest of the body, so it cannot tell where the next
            // request on this connection begins.
            response.force_close();
        }
        let body = serde_json::to_vec(self).expect("a problem has string keys only");
        response.content_type(CONTENT_TYPE).body(body)
    }
}

impl Responder for Problem {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.error_response()
    }
}

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;
