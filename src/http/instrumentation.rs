//! The wrapper of every resource. It counts and times requests, gives each request an id, and turns
//! a panic into a 500. While the service drains, it closes the connection after each answer, so
//! that no balancer sends another request over a connection that is about to close. Memory hits run
//! through this file, too. So each worker looks up the metric cells that they count in once, not
//! for each request.

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
    Error, HttpMessage, HttpRequest, HttpResponse, Resource, ResponseError, Route,
    body::{BoxBody, MessageBody},
    dev::{HttpServiceFactory, Service, ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, Method, StatusCode,
        header::{HeaderName, HeaderValue},
    },
    middleware::from_fn,
    web,
};
use futures_util::FutureExt;
use prometheus::{Histogram, IntCounter};
use tracing::{Instrument, Span};

use super::{
    edge::Edge,
    entrance::{Needs, enter},
    live,
    problem::Problem,
    unread_body,
};
use crate::{
    access::Guard,
    metrics::Metrics,
    telemetry::log_repeats::{LogRepeats, RepeatLog},
};

/// The route of the readiness check.
pub const READY: &str = "/health/ready";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the wrappers of all routes share.
#[derive(Clone)]
pub struct RouteInstruments {
    /// The metrics of the service.
    pub metrics: Arc<Metrics>,
    /// Verifies credentials; `None` where there is no sign-in.
    pub guard: Option<Arc<Guard>>,
    /// What stands before the handlers of this listener.
    pub edge: Arc<Edge>,
    /// Set when the service was told to stop.
    pub draining: Arc<AtomicBool>,
    /// Limits the log of requests that failed, by route and status.
    pub refused: Arc<LogRepeats<(&'static str, u16)>>,
}

/// The metric cells of one route. The cells of the two most frequent results are looked up in
/// advance.
struct RouteCells {
    watch: RouteInstruments,
    route: &'static str,
    is_docs: bool,
    get_ok: (IntCounter, Histogram),
    get_not_modified: (IntCounter, Histogram),
}

impl RouteCells {
    fn new(watch: &RouteInstruments, route: &'static str) -> Rc<Self> {
        Rc::new(RouteCells {
            route,
            is_docs: route.starts_with("/docs/"),
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

    /// Logs a request that failed. The service does not warn of client errors, or of answers that
    /// the client's own conditions made impossible. It warns when its own failures begin, and then
    /// gives their number from time to time: an outage must not write one line for each request.
    fn log(&self, response: &ServiceResponse, seconds: f64) {
        let (route, status) = (self.route, response.status());
        let method = response.request().method();
        let problem = response.response().error().and_then(|error| error.as_error::<Problem>());
        let (detail, cause) =
            (problem.map_or("", Problem::detail), problem.and_then(Problem::cause));
        let duration_ms = seconds * 1000.0;
        let request_id = response.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
        // A 503 of the readiness check is no failure: orchestrators ask for it during each start
        // until it is ready.
        let is_not_ready = route == READY && status == StatusCode::SERVICE_UNAVAILABLE;
        let is_expected =
            is_not_ready || status.is_client_error() || status == StatusCode::GATEWAY_TIMEOUT;
        let tell = if is_expected {
            RepeatLog::Nothing
        } else {
            self.watch.refused.happens((route, status.as_u16()))
        };
        match tell {
            RepeatLog::Begins => tracing::warn!(
                route,
                %method,
                status = status.as_u16(),
                detail,
                cause,
                duration_ms,
                request_id,
                "request failed; more of this route and status are counted, and told once a minute"
            ),
            RepeatLog::GoesOn(count) => tracing::warn!(
                route,
                %method,
                status = status.as_u16(),
                detail,
                cause,
                duration_ms,
                request_id,
                requests = count.times,
                within_seconds = count.within.as_secs(),
                "requests go on to fail"
            ),
            RepeatLog::Nothing => {
                tracing::debug!(
                    route,
                    %method,
                    status = status.as_u16(),
                    detail,
                    cause,
                    duration_ms,
                    request_id,
                    "request not served"
                );
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

/// The label of a method. Clients may send invented methods, and each label value costs memory, so
/// unknown ones share a label.
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

/// The route of one summary.
pub const HOT: &str = "/v1/facilities/{facility_id}/summaries/{date}";
/// The route of a facility's days.
pub const RANGE: &str = "/v1/facilities/{facility_id}/summaries";
/// The route of a day of all facilities.
pub const DAY_OF_ALL: &str = "/v1/summaries/{date}";
/// Routes whose memory hits are answered without a span: one would cost as much as the answer.
/// Where memory does not answer, their handlers make the span.
const WITHOUT_SPAN: [&str; 3] = [HOT, RANGE, DAY_OF_ALL];

/// A resource at `path` for those who have what it `needs`, with the wrapper of this file around
/// it.
pub fn observed(
    watch: &RouteInstruments,
    path: &'static str,
    needs: Needs,
    build: fn(Resource) -> Resource,
) -> impl HttpServiceFactory + use<> {
    let cells = RouteCells::new(watch, path);
    let (guard, edge) = (watch.guard.clone(), watch.edge.clone());
    build(web::resource(path))
        .wrap(from_fn(move |request, next| {
            enter(guard.clone(), edge.clone(), needs, request, next)
        }))
        .wrap_fn(move |request, service| around(cells.clone(), request, service))
}

/// The answer to a request that matches no route: 404, counted.
pub fn default_service(watch: &RouteInstruments) -> Route {
    let watch = watch.clone();
    web::to(move |request: HttpRequest, body: web::Payload| {
        let nothing =
            Problem::not_found("There is nothing at this path; /docs shows what there is.");
        let edge = &watch.edge;
        let admitted = edge.check(&request).and_then(|()| edge.admit_address(&request));
        let problem = admitted.err().unwrap_or(nothing);
        let mut response = problem.error_response();
        edge.finish(&request, false, &mut response);
        let labels = ["unmatched", known_method(request.method()), response.status().as_str()]
            .map(str::to_owned);
        watch.metrics.http_requests.with_label_values(&labels).inc();
        async move {
            unread_body::hang_up_unrouted(body.into_inner()).await;
            response
        }
    })
}

fn around<S, B>(
    cells: Rc<RouteCells>,
    mut request: ServiceRequest,
    service: &S,
) -> impl Future<Output = Result<ServiceResponse<BoxBody>, Error>> + use<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    let started = Instant::now();
    let body = unread_body::hold(&mut request);
    let sent = request.request().clone();
    let span = match WITHOUT_SPAN.contains(&cells.route) {
        true => Span::none(),
        false => request_span(&sent),
    };
    let handling = match cells.watch.edge.check(&sent) {
        Ok(()) => Ok(span.in_scope(|| service.call(request)).instrument(span.clone())),
        Err(refusal) => Err(refusal),
    };
    async move {
        let mut response = match handling {
            Ok(handling) => answered(&cells, sent, handling).await,
            Err(refusal) => {
                let mut refusal = live::sse::answer(cells.route, &refusal);
                refusal.head_mut().set_connection_type(ConnectionType::Close);
                ServiceResponse::new(sent, refusal)
            }
        };
        if !response.headers().contains_key(REQUEST_ID) {
            let given = response.request().extensions().get::<RequestId>().cloned();
            let id = given.map_or_else(|| new_or_own_id(response.request()), |given| given.0);
            response.headers_mut().insert(REQUEST_ID, id);
        }
        let edge = &cells.watch.edge;
        let (asked, mut answer) = response.into_parts();
        edge.finish(&asked, cells.is_docs, &mut answer);
        let mut response = ServiceResponse::new(asked, answer);
        let is_upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if cells.watch.draining.load(Ordering::Relaxed) && !is_upgrade {
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
        let status = response.status();
        body.hang_up(matches!(status.as_u16(), 408 | 413)).await;
        Ok(response)
    }
}

/// What the handler answers. An error becomes its problem, and a panic a 500.
async fn answered<B: MessageBody + 'static>(
    cells: &RouteCells,
    sent: HttpRequest,
    handling: impl Future<Output = Result<ServiceResponse<B>, Error>>,
) -> ServiceResponse<BoxBody> {
    match AssertUnwindSafe(handling).catch_unwind().await {
        Ok(Ok(response)) => live::sse::told(cells.route, response.map_into_boxed_body()),
        Ok(Err(error)) => {
            let response = ServiceResponse::new(sent, HttpResponse::from_error(error));
            live::sse::told(cells.route, response)
        }
        Err(_) => {
            cells.watch.metrics.panics.inc();
            tracing::error!(route = cells.route, "a handler panicked; the request is answered 500");
            ServiceResponse::new(sent, Problem::internal().error_response())
        }
    }
}

/// The id of a request, once something has asked for it.
#[derive(Clone)]
struct RequestId(HeaderValue);

/// The id of a request: the same at each call, in the log and in the answer.
fn request_id(request: &HttpRequest) -> HeaderValue {
    if let Some(RequestId(id)) = request.extensions().get::<RequestId>() {
        return id.clone();
    }
    let id = new_or_own_id(request);
    request.extensions_mut().insert(RequestId(id.clone()));
    id
}

/// The span of a request. Each log line that is written within it carries the request's id.
pub fn request_span(request: &HttpRequest) -> Span {
    tracing::info_span!("request", request_id = request_id(request).to_str().unwrap_or_default())
}

/// The client's own `X-Request-Id` when it has 1 to 128 visible ASCII characters, else a new one.
fn new_or_own_id(request: &HttpRequest) -> HeaderValue {
    match request.headers().get(REQUEST_ID) {
        Some(id)
            if (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic) =>
        {
            id.clone()
        }
        _ => new_request_id(),
    }
}

/// A new id of 16 hexadecimal digits: eight that are random for each process, and eight that count.
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
    use crate::{config::Settings, http::entrance::Rule};
    use actix_web::{App, HttpResponse, body::to_bytes, test};

    async fn with_a_bug(request: HttpRequest) -> HttpResponse {
        assert!(request.query_string().is_empty(), "a bug");
        HttpResponse::Ok().finish()
    }

    #[actix_web::test]
    async fn a_handler_that_panics_is_a_500_is_counted_and_serves_the_next_request() {
        let watch = RouteInstruments {
            metrics: Arc::new(Metrics::new().unwrap()),
            guard: None,
            edge: Arc::new(Edge::internal(&Settings::default()).unwrap()),
            draining: Arc::default(),
            refused: Arc::default(),
        };
        let metrics = watch.metrics.clone();
        let app = test::init_service(App::new().service(observed(
            &watch,
            "/r",
            Needs::to_read(Rule::Open),
            |r| r.route(web::get().to(with_a_bug)),
        )))
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
