//! The routes of live clients: a WebSocket, and server-sent events.

mod requests;
mod socket;
pub mod sse;
pub mod subscription;
pub mod takeover;

use std::rc::Rc;

use actix_http::ws;
use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    web::Data,
};
use bytes::BytesMut;
use serde::Deserialize;

use super::{
    entrance::{Credential, client_address, visible, who},
    problem::Problem,
    query,
    state::AppState,
};
use crate::live::{
    connection::Connection,
    hub::{Full, Seat},
    shard::Shard,
    wire::Transport,
};
use requests::Requests;
use socket::{Io, Socket, Writing};
use subscription::{Asked, subscribe};
use takeover::{CanLeave, Ticket};

/// The route of the WebSocket.
pub const LIVE: &str = "/v1/live";
/// The route of server-sent events.
pub const STREAM: &str = "/v1/stream";
/// The subprotocol.
pub const PROTOCOL: &str = "facility-summary.v1";

/// The parameters of `GET /v1/stream`.
#[derive(Debug, Deserialize)]
pub struct StreamParameters {
    /// The facilities, as the client wrote them, with commas between them.
    facility_id: Option<String>,
    /// `all` or `totals`.
    subject: Option<String>,
}

/// Changes of facilities as they happen, over a WebSocket.
#[utoipa::path(
    get, path = "/v1/live", tag = "live", operation_id = "live_updates",
    responses(
        (status = 101, description = "A WebSocket with the subprotocol `facility-summary.v1`"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (
            status = 426, body = Problem, content_type = "application/problem+json",
            description = "The request is no handshake of a WebSocket"
        ),
    )
)]
pub async fn live(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    ws::verify_handshake(request.head()).map_err(|error| no_handshake(&error))?;
    let protocol = protocol(&request)?;
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    let accept = ws::hash_key(key.map_or(b"", HeaderValue::as_bytes));
    let seat = admit(&request, &app, Transport::Websocket);
    let requests = Requests::new(app.edge.clone(), client_address(&request));
    let (guest, app) = (Guest::of(&request), app.into_inner());
    let serve = move |socket: Socket, received: BytesMut| {
        let shard = Shard::of_this_thread(&app.live);
        let (seat, full) = match seat {
            Ok(seat) => (seat, None),
            Err(full) => (Seat::none(&app.live), Some(full)),
        };
        let io = Io::new(socket);
        let wire = Box::new(Writing(io.clone()));
        let connection = guest.connect(Transport::Websocket, Some(wire), seat);
        shard.add(&connection);
        match full {
            Some(full) => shard.refuse(&connection, full),
            None if guest.has_to_sign_in => shard.awaits_sign_in(&connection),
            None => {}
        }
        actix_web::rt::spawn(socket::serve(shard, connection, io, Some(requests), received));
    };
    let mut response = HttpResponse::build(StatusCode::SWITCHING_PROTOCOLS);
    response.upgrade("websocket").insert_header((
        header::SEC_WEBSOCKET_ACCEPT,
        HeaderValue::from_bytes(&accept).ok().unwrap_or(HeaderValue::from_static("")),
    ));
    if let Some(protocol) = protocol {
        response.insert_header((header::SEC_WEBSOCKET_PROTOCOL, protocol));
    }
    let mut response = response.finish();
    response.extensions_mut().insert(Ticket(Box::new(serve)));
    Ok(response)
}

/// Changes of facilities as they happen, as server-sent events. Always 200: what is refused is an
/// event.
#[utoipa::path(
    get, path = "/v1/stream", tag = "live", operation_id = "event_stream",
    params(
        (
            "facility_id" = Option<Vec<uuid::Uuid>>, Query, explode = true, style = Form,
            description = "these facilities; sent once for each"
        ),
        (
            "subject" = Option<String>, Query,
            description = "`all`: every facility that one may see; `totals`: their totals"
        ),
        (
            "Last-Event-ID" = Option<String>, Header,
            description = "the id of the last event that was seen: only what has changed since"
        ),
    ),
    responses((status = 200, content_type = "text/event-stream", body = String))
)]
pub async fn stream(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    let known = ["facility_id", "subject"];
    let asked: StreamParameters =
        query::parse_with_lists(request.query_string(), &known, &["facility_id"])?;
    if asked.facility_id.is_none() && asked.subject.is_none() {
        let detail = "Say what to follow: facility_id, once for each, or subject=all or totals.";
        return Err(Problem::bad_request(detail));
    }
    let seat = admit(&request, &app, Transport::Sse);
    let guest = Guest::of(&request);
    let last = request.headers().get("last-event-id");
    let resume = last.and_then(|id| id.to_str().ok()).map(str::to_owned);
    let StreamParameters { facility_id, subject } = asked;
    let facilities = facility_id.iter().flat_map(|list| list.split(','));
    let facilities = facilities.map(str::to_owned).collect();
    let asked = Asked { facilities, subject, resume, ..Asked::default() };
    let can_leave = request.extensions().contains::<CanLeave>();
    let app = app.into_inner();
    let begin = move |wire| {
        let shard = Shard::of_this_thread(&app.live);
        let (seat, full) = match seat {
            Ok(seat) => (seat, None),
            Err(full) => (Seat::none(&app.live), Some(full)),
        };
        let connection = guest.connect(Transport::Sse, wire, seat);
        shard.add(&connection);
        match full {
            Some(full) => shard.refuse(&connection, full),
            None => {
                let subscribing = subscribe(shard.clone(), connection.clone(), asked);
                actix_web::rt::spawn(subscribing);
            }
        }
        (shard, connection)
    };
    if !can_leave {
        let (shard, connection) = begin(None);
        return Ok(sse::response().body(sse::Events { shard, connection }));
    }
    let serve = move |socket: Socket, _received: BytesMut| {
        let io = Io::new(socket);
        let (shard, connection) = begin(Some(Box::new(Writing(io.clone()))));
        actix_web::rt::spawn(socket::serve(shard, connection, io, None, BytesMut::new()));
    };
    let mut response = sse::response().finish();
    response.extensions_mut().insert(Ticket(Box::new(serve)));
    Ok(response)
}

/// Whoever comes, as the entrance knows it.
struct Guest {
    who: Option<std::sync::Arc<crate::access::SignedIn>>,
    credential: Box<str>,
    visible: crate::access::Visible,
    has_to_sign_in: bool,
}

impl Guest {
    fn of(request: &HttpRequest) -> Self {
        let who = who(request);
        let credential = request.extensions().get::<Credential>().map(|sent| sent.0.clone());
        let has_to_sign_in = who.is_none() && !super::entrance::has_no_sign_in(request);
        Guest {
            visible: visible(request),
            who,
            credential: credential.unwrap_or_default(),
            has_to_sign_in,
        }
    }

    fn connect(
        &self,
        transport: Transport,
        wire: Option<Box<dyn crate::live::connection::Wire>>,
        seat: Seat,
    ) -> Rc<Connection> {
        let connection = Connection::new(transport, wire, seat, self.visible.clone());
        {
            let mut state = connection.state();
            state.who = self.who.clone();
            state.credential = self.credential.clone();
        }
        connection
    }
}

/// A place for whoever comes, and counts what becomes of it.
fn admit(request: &HttpRequest, app: &AppState, transport: Transport) -> Result<Seat, Full> {
    let mut seat = app.live.admit(client_address(request));
    if let (Ok(place), Some(who)) = (&mut seat, who(request))
        && let Err(full) = place.count_for_principal(&who.principal.id)
    {
        seat = Err(full);
    }
    let outcome = seat.as_ref().map_or_else(|full| full.name(), |_| "opened");
    app.metrics.live_connections.with_label_values(&[transport.name(), outcome]).inc();
    seat
}

fn no_handshake(error: &ws::HandshakeError) -> Problem {
    let detail = format!(
        "This resource is a WebSocket (RFC 6455), and the request is no handshake for it: {error}. \
         Without WebSocket, read GET /v1/stream."
    );
    match error {
        ws::HandshakeError::GetMethodRequired => Problem::method_not_allowed("GET"),
        ws::HandshakeError::NoWebsocketUpgrade => Problem::upgrade_required("websocket", detail),
        _ => Problem::bad_request(detail),
    }
}

/// The subprotocol, where the client names some.
fn protocol(request: &HttpRequest) -> Result<Option<&'static str>, Problem> {
    let mut named = request
        .headers()
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim);
    let first = named.next();
    match first {
        None => Ok(None),
        Some(first) if first == PROTOCOL || named.any(|name| name == PROTOCOL) => {
            Ok(Some(PROTOCOL))
        }
        Some(_) => Err(Problem::bad_request(format!(
            "No subprotocol that the client names is spoken here; expected {PROTOCOL}."
        ))),
    }
}
