//! What every resource is wrapped in: its metrics, a request id, the containment of panics, and the
//! end of its connection while the service drains, so that no balancer sends another request over
//! one that is about to close. A memory hit comes through here too, so the cells that it counts in
//! are looked up once per worker, not per request.

use std::{
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Instant,
};

use actix_web::{
    Error, HttpRequest, Resource, ResponseError, Route,
    body::MessageBody,
    dev::{HttpServiceFactory, Service, ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, Method, StatusCode,
        header::{HeaderName, HeaderValue},
    },
    web,
};
use futures_util::FutureExt;
use prometheus::{Histogram, IntCounter};

use super::problem::Problem;
use crate::{
    metrics::Metrics,
    telemetry::log_repeats::{LogRepeats, Tell},
};

/// The route of readiness.
pub const READY: &str = "/health/ready";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the wrappers of all routes share.
#[derive(Clone)]
pub struct Watch {
    pub metrics: Arc<Metrics>,
    /// The service was told to stop.
    pub draining: Arc<AtomicBool>,
    /// Requests that were not served, by route and status.
    pub refused: Arc<LogRepeats<(&'static str, u16)>>,
}

/// The cells of one route. The two that nearly all requests count in are held.
struct RouteCells {
    watch: Watch,
    route: &'static str,
    get_ok: (IntCounter, Histogram),
    get_not_modified: (IntCounter, Histogram),
}

impl RouteCells {
    fn new(watch: &Watch, route: &'static str) -> Rc<Self> {
        Rc::new(RouteCells {
            route,
            get_ok: cells(&watch.metrics, &[route, "GET", "200"]),
            get_not_modified: cells(&watch.metrics, &[route, "GET", "304"]),
            watch: watch.clone(),
        })
    }

    fn count(&self, method: &Method, status: StatusCode, seconds: f64) {
        let looked_up;
        let (requests, duration) = match status {
            StatusCode::OK if *method == Method::GET => &self.get_ok,
            StatusCode::NOT_MODIFIED if *method == Method::GET => &self.get_not_modified,
            _ => {
                looked_up = cells(
                    &self.watch.metrics,
                    &[self.route, known_method(method), status.as_str()],
                );
                &looked_up
            }
        };
        requests.inc();
        duration.observe(seconds);
    }

    /// What is wrong with a request, or could not be had as it has it, is its client's business.
    /// What the service fails at is told when it begins, and then with its number: an outage
    /// must not write a line a request.
    fn log(&self, response: &ServiceResponse, seconds: f64) {
        let (route, status) = (self.route, response.status());
        let method = response.request().method();
        let problem = response.response().error().and_then(|error| error.as_error::<Problem>());
        let (detail, cause) =
            (problem.map_or("", Problem::detail), problem.and_then(Problem::cause));
        let (request_id, duration_ms) = (response.headers().get(REQUEST_ID), seconds * 1000.0);
        // Nor has anything failed where readiness says that the service is not ready: each start is
        // asked until it is.
        let is_not_ready = route == READY && status == StatusCode::SERVICE_UNAVAILABLE;
        let is_wished =
            is_not_ready || status.is_client_error() || status == StatusCode::GATEWAY_TIMEOUT;
        let tell = if is_wished {
            Tell::Nothing
        } else {
            self.watch.refused.happens((route, status.as_u16()))
        };
        match tell {
            Tell::Begins => tracing::warn!(
                route, %method, status = status.as_u16(), detail, cause, duration_ms, ?request_id,
                "request failed; more of this route and status are counted, and told once a minute"
            ),
            Tell::GoesOn(count) => tracing::warn!(
                route, %method, status = status.as_u16(), detail, cause, duration_ms, ?request_id,
                requests = count.times, within_seconds = count.within.as_secs(), "requests go on to fail"
            ),
            Tell::Nothing => {
                tracing::debug!(route, %method, status = status.as_u16(), detail, cause, duration_ms, ?request_id, "request not served");
            }
        }
    }
}

fn cells(metrics: &Metrics, labels: &[&str; 3]) -> (IntCounter, Histogram) {
    (
        metrics.http_requests.with_label_values(labels),
        metrics.http_duration.with_label_values(labels),
    )
}

/// Clients invent methods; a label takes only known ones.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// A resource at `path`, wrapped.
pub fn observed(
    watch: &Watch,
    path: &'static str,
    build: fn(Resource) -> Resource,
) -> impl HttpServiceFactory + use<> {
    let cells = RouteCells::new(watch, path);
    build(web::resource(path))
        .wrap_fn(move |request, service| around(cells.clone(), request, service))
}

/// Whatever matches no route.
pub fn default_service(metrics: &Arc<Metrics>) -> Route {
    let metrics = metrics.clone();
    web::to(move |request: HttpRequest| {
        metrics
            .http_requests
            .with_label_values(&["unmatched", known_method(request.method()), "404"])
            .inc();
        async move { Problem::not_found("There is nothing at this path; /docs shows what there is.") }
    })
}

fn around<S, B>(
    cells: Rc<RouteCells>,
    request: ServiceRequest,
    service: &S,
) -> impl Future<Output = Result<ServiceResponse<actix_web::body::BoxBody>, Error>> + use<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    let started = Instant::now();
    let sent = request.request().clone();
    let handling = service.call(request);
    async move {
        let mut response = match AssertUnwindSafe(handling).catch_unwind().await {
            Ok(Ok(response)) => response.map_into_boxed_body(),
            Ok(Err(error)) => ServiceResponse::new(sent, error.error_response()),
            Err(_) => {
                cells.watch.metrics.panics.inc();
                tracing::error!(
                    route = cells.route,
                    "a handler panicked; the request is answered 500"
                );
                ServiceResponse::new(sent, Problem::internal().error_response())
            }
        };
        if !response.headers().contains_key(REQUEST_ID) {
            let id = request_id(response.request());
            response.headers_mut().insert(REQUEST_ID, id);
        }
        if cells.watch.draining.load(Ordering::Relaxed) {
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        let seconds = started.elapsed().as_secs_f64();
        cells.count(response.request().method(), response.status(), seconds);
        if response.status().is_client_error() || response.status().is_server_error() {
            cells.log(&response, seconds);
        }
        for ((route, status), count) in cells.watch.refused.over() {
            tracing::info!(
                route,
                status,
                requests = count.times,
                within_seconds = count.within.as_secs(),
                "no request fails so any more"
            );
        }
        Ok(response)
    }
}

/// The client's own `X-Request-Id` where it is a plain word of at most 128 characters, else a new
/// one.
pub fn request_id(request: &HttpRequest) -> HeaderValue {
    match request.headers().get(REQUEST_ID) {
        Some(id)
            if (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic) =>
        {
            id.clone()
        }
        _ => new_request_id(),
    }
}

/// Eight digits that tell this process from others, eight that count.
fn new_request_id() -> HeaderValue {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    static PROCESS: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let process = PROCESS.get_or_init(|| uuid::Uuid::new_v4().as_fields().0);
    let mut text = [0u8; 16];
    for (half, number) in [(0, *process), (8, COUNTER.fetch_add(1, Ordering::Relaxed))] {
        for digit in 0..8 {
            text[half + digit] = b"0123456789abcdef"[(number >> (28 - 4 * digit)) as usize & 15];
        }
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::{App, HttpResponse, body::to_bytes, test};

    async fn with_a_bug(request: HttpRequest) -> HttpResponse {
        assert!(request.query_string().is_empty(), "a bug");
        HttpResponse::Ok().finish()
    }

    #[actix_web::test]
    async fn a_handler_that_panics_is_a_500_is_counted_and_serves_the_next_request() {
        let watch = Watch {
            metrics: Arc::new(Metrics::new().unwrap()),
            draining: Arc::default(),
            refused: Arc::default(),
        };
        let metrics = watch.metrics.clone();
        let app = test::init_service(
            App::new().service(observed(&watch, "/r", |r| r.route(web::get().to(with_a_bug)))),
        )
        .await;
        let response =
            test::call_service(&app, test::TestRequest::get().uri("/r?x").to_request()).await;
        assert_eq!(response.status(), 500);
        assert!(response.headers().contains_key(REQUEST_ID));
        let body =
            String::from_utf8(to_bytes(response.into_body()).await.unwrap().to_vec()).unwrap();
        assert!(body.contains("\"status\":500") && !body.contains("bug"), "{body}");
        assert_eq!(metrics.panics.get(), 1);
        assert_eq!(metrics.http_requests.with_label_values(&["/r", "GET", "500"]).get(), 1);
        let next = test::call_service(&app, test::TestRequest::get().uri("/r").to_request()).await;
        assert_eq!((next.status().as_u16(), metrics.panics.get()), (200, 1));
    }
}
