//! Server-sent events. An EventSource gives up for ever at any answer but 200: what is refused is
//! said in an event of its own, with the time after which the browser comes back.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    Error, HttpResponse, HttpResponseBuilder, ResponseError,
    body::{BodySize, BoxBody, MessageBody},
    dev::ServiceResponse,
    http::{
        StatusCode,
        header::{self, HeaderName},
    },
};
use bytes::Bytes;
use serde_json::json;

use crate::{
    http::problem::Problem,
    live::{connection::Connection, shard::Shard, wire::Transport},
};

/// The events of a client, until it goes away.
pub struct Events {
    /// The shard of this worker.
    pub shard: Rc<Shard>,
    /// The client.
    pub connection: Rc<Connection>,
}

/// An answer that no proxy holds back.
pub fn response() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store, no-transform"))
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"));
    response
}

/// What was refused, as an event, and the end.
pub fn refusal(problem: &Problem) -> HttpResponse {
    let (name, retry_ms) = match problem.status() {
        StatusCode::UNAUTHORIZED => ("expired", 60_000),
        StatusCode::FORBIDDEN => ("forbidden", 60_000),
        StatusCode::TOO_MANY_REQUESTS => ("full", 10_000),
        StatusCode::SERVICE_UNAVAILABLE => ("unavailable", 5_000),
        _ => ("error", 60_000),
    };
    let told = json!({ "code": name, "detail": problem.detail(), "retry_ms": retry_ms });
    let event = Transport::Sse.of(name, told);
    let text = [format!("retry: {retry_ms}\n").as_bytes(), &event].concat();
    response().body(text)
}

/// The answer of a route where it refuses a request.
pub fn answer(route: &str, problem: &Problem) -> HttpResponse {
    if route == super::STREAM { refusal(problem) } else { problem.error_response() }
}

/// The answer of a route. A problem of the stream of events becomes an event.
pub fn told(route: &str, response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let problem = response.response().error().and_then(|error| error.as_error::<Problem>());
    match problem {
        Some(problem) if route == super::STREAM => {
            let event = refusal(problem);
            ServiceResponse::new(response.request().clone(), event)
        }
        _ => response,
    }
}

impl MessageBody for Events {
    type Error = Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match self.connection.pull(&self.shard) {
            Some(bytes) => Poll::Ready(Some(Ok(bytes))),
            None if self.connection.is_over() => Poll::Ready(None),
            None => {
                self.connection.wait(cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.shard.remove(&self.connection);
    }
}
