//! Who may use which route. Each route names what it needs when it is registered
//! (`routes.rs`); this file asks the guard before the handler runs, so before anything of the
//! request is validated.

use std::{net::IpAddr, sync::Arc};

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
    middleware::Next,
    web::Data,
};

use super::{
    cookies, cross_site, edge::Edge, field_rules, limits::UnderWay, problem::Problem,
    state::AppState,
};
use crate::{
    access::{Denial, Guard, SignedIn, Visible, audit::Actor, sessions},
    domain::access::{Principal, Role},
};

/// What a route needs of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing: it shows no facility's figures.
    Open,
    /// Nothing, and it is answered whatever its client has used up.
    Health,
    /// Somebody, whoever it is.
    SignedIn,
    /// The right to read figures; of the facility in the path, where there is one.
    Read,
    /// The same, for a WebSocket: a client without a credential may send it in its first message.
    Live,
    /// The same, for server-sent events.
    Stream,
    /// The right to refresh, and to register, the facility in the path.
    Operate,
    /// The right to post events. Of which facilities, the ingest finds out.
    Post,
    /// The right to read metrics.
    Metrics,
    /// The right to everything.
    Admin,
}

/// What a resource needs: for `GET` and `HEAD`, and for the other methods.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    read: Rule,
    change: Rule,
}

impl Needs {
    /// A resource that is only read.
    pub const fn to_read(read: Rule) -> Self {
        Needs { read, change: read }
    }

    /// A resource that is only changed.
    pub const fn to_change(change: Rule) -> Self {
        Needs { read: change, change }
    }

    /// A resource that is read and changed.
    pub const fn to_read_and_change(read: Rule, change: Rule) -> Self {
        Needs { read, change }
    }

    fn of(self, request: &ServiceRequest) -> Rule {
        match request.method().is_safe() {
            true => self.read,
            false => self.change,
        }
    }
}

impl Rule {
    /// Whether this role may, before any facility is looked at.
    fn allows(self, who: &Principal) -> bool {
        match (self, who.role) {
            (Rule::Open | Rule::Health | Rule::SignedIn, _) | (_, Role::Admin) => true,
            (Rule::Read | Rule::Live | Rule::Stream, _) => who.reads_figures(),
            (Rule::Operate, Role::Operator) => true,
            (Rule::Post, Role::Operator | Role::Service) => true,
            (Rule::Metrics, Role::Metrics) => true,
            _ => false,
        }
    }
}

/// The credential of a live client, which is verified again and again. In the extensions of its
/// request.
pub struct Credential(pub Box<str>);

/// In the extensions of each request where there is no sign-in, so that everybody may do
/// everything. Without it, and without somebody who is signed in, nothing is visible.
struct NoSignIn;

/// Lets a request through to its handler, or answers 401, 403, 421, 429 or 503. Without a guard
/// there is no sign-in, and every request of this machine is let through that the limits of its
/// address allow.
pub async fn enter(
    guard: Option<Arc<Guard>>,
    edge: Arc<Edge>,
    needs: Needs,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody + 'static>, Error> {
    let rule = needs.of(&request);
    let admitted = match guard {
        Some(guard) => admit(&guard, &edge, rule, &request).await,
        None => admit_without_sign_in(&edge, rule, &request),
    };
    let Admitted { who, under_way: _under_way } = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => {
            edge.pause(&refusal).await;
            return Err(refusal.into());
        }
    };
    let Some(who) = who else { return next.call(request).await };
    request.extensions_mut().insert(who);
    let mut response = next.call(request).await?;
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Cookie, Authorization"));
    Ok(response)
}

/// A request that may go on to its handler.
struct Admitted {
    /// Who sent it; `None` where the route is open, or there is no sign-in.
    who: Option<Arc<SignedIn>>,
    /// Its place among the requests of its client.
    under_way: Option<UnderWay>,
}

fn admit_without_sign_in(
    edge: &Edge,
    rule: Rule,
    request: &ServiceRequest,
) -> Result<Admitted, Problem> {
    cross_site::refuse_without_sign_in(request)?;
    if rule == Rule::Live && cross_site::is_of_another_origin(request.headers()) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "A page of another origin asked for this WebSocket (Origin). While there is no \
             sign-in, only programs and pages of this service itself may have one.",
        ));
    }
    let under_way = match rule {
        Rule::Health => None,
        _ => edge.admit_address(request.request())?,
    };
    request.extensions_mut().insert(NoSignIn);
    Ok(Admitted { who: None, under_way })
}

/// Lets in who may use a route with this rule. A request whose credential is not known counts for
/// its address, before anything is verified.
async fn admit(
    guard: &Arc<Guard>,
    edge: &Edge,
    rule: Rule,
    request: &ServiceRequest,
) -> Result<Admitted, Problem> {
    match rule {
        Rule::Health => return Ok(Admitted { who: None, under_way: None }),
        Rule::Open => {
            let under_way = edge.admit_address(request.request())?;
            return Ok(Admitted { who: None, under_way });
        }
        _ => {}
    }
    let counted = |refused: Refused| {
        guard.count_denied(refused.denial.kind());
        refused.problem()
    };
    let sent = match Sent::of(request.headers()) {
        Ok(sent) => sent,
        Err(refused) => {
            let _under_way = edge.admit_address(request.request())?;
            let may_follow = rule == Rule::Live && request.request().head().upgrade();
            if may_follow && refused.denial == Denial::Missing {
                // It has to sign in by its first message.
                return Ok(Admitted { who: None, under_way: None });
            }
            return Err(counted(refused));
        }
    };
    let is_live = matches!(rule, Rule::Live | Rule::Stream);
    let remembered = match is_live {
        true => guard.remembered_watching(sent.credential),
        false => guard.remembered(sent.credential),
    };
    let who = match remembered {
        Some(who) => who,
        None => {
            let _under_way = edge.admit_address(request.request())?;
            let verified = match is_live {
                true => guard.verify_watching(sent.credential).await,
                false => guard.verify(sent.credential).await,
            };
            verified.map_err(|denial| counted(sent.denied(denial)))?
        }
    };
    let under_way = edge.admit(request.request(), &who)?;
    // A page of another site could open a WebSocket with the cookies of this one.
    if sent.is_cookie && (is_live || !request.method().is_safe()) {
        cross_site::require_own_page(request.headers(), guard.own_origin())?;
    }
    if is_live {
        request.extensions_mut().insert(Credential(sent.credential.into()));
    }
    if !rule.allows(&who.principal) {
        guard.count_denied("role");
        return Err(Problem::forbidden(format!(
            "The role {} may not do this; {}.",
            who.principal.role,
            may(rule)
        )));
    }
    let facility = request.match_info().get("facility_id").and_then(field_rules::parse_id);
    if facility.is_some_and(|id| !who.visible.has(id)) {
        guard.count_denied("facility");
        return Err(Problem::forbidden("This facility is not among those that you may see."));
    }
    Ok(Admitted { who: Some(who), under_way })
}

/// Who may what a rule asks for, in words.
fn may(rule: Rule) -> &'static str {
    match rule {
        Rule::Open | Rule::Health | Rule::SignedIn => "everybody who is signed in may",
        Rule::Read | Rule::Live | Rule::Stream => {
            "viewer, operator and admin may, and a service that was told so"
        }
        Rule::Operate => "operator and admin may",
        Rule::Post => "operator, service and admin may",
        Rule::Metrics => "metrics and admin may",
        Rule::Admin => "only admin may",
    }
}

/// The credential of a request: that of the header, or else that of the cookie. Where there are
/// both, the header counts, whatever it is: no page of another site can set it.
#[derive(Clone, Copy)]
struct Sent<'a> {
    credential: &'a str,
    is_cookie: bool,
}

/// Why there is no access.
#[derive(Clone, Copy)]
struct Refused {
    denial: Denial,
    is_cookie: bool,
}

impl<'a> Sent<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, Refused> {
        let mut sent = headers.get_all(header::AUTHORIZATION);
        let text = match (sent.next(), sent.next()) {
            (None, _) => return Sent::of_cookie(headers),
            (Some(one), None) => one.to_str().unwrap_or_default(),
            (Some(_), Some(_)) => return Err(refused(Denial::Invalid)),
        };
        match text.split_once(' ') {
            Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => {
                let credential = credential.trim_start_matches(' ');
                // A session is for browsers, which cannot send it so.
                match sessions::id_of(credential) {
                    None => Ok(Sent { credential, is_cookie: false }),
                    Some(_) => Err(refused(Denial::Invalid)),
                }
            }
            // RFC 6750, 3.1: no error code where no bearer credential was sent.
            _ => Err(refused(Denial::Missing)),
        }
    }

    fn of_cookie(headers: &'a HeaderMap) -> Result<Self, Refused> {
        match cookies::sent(headers, cookies::SESSION) {
            cookies::Sent::Nothing => Err(refused(Denial::Missing)),
            cookies::Sent::One(credential) if sessions::id_of(credential).is_some() => {
                Ok(Sent { credential, is_cookie: true })
            }
            cookies::Sent::One(_) | cookies::Sent::Several => {
                Err(Refused { denial: Denial::Invalid, is_cookie: true })
            }
        }
    }

    fn denied(self, denial: Denial) -> Refused {
        Refused { denial, is_cookie: self.is_cookie }
    }
}

fn refused(denial: Denial) -> Refused {
    Refused { denial, is_cookie: false }
}

impl Refused {
    /// What the client is told.
    fn problem(self) -> Problem {
        match self.denial {
            Denial::Missing | Denial::Invalid if self.is_cookie => session_over(),
            denial => denied(denial),
        }
    }
}

fn session_over() -> Problem {
    Problem::unauthorized(
        "The session of this browser has ended, or belongs elsewhere: sign in anew.",
        "Session realm=\"facility-summary\"",
    )
}

const CHALLENGE: &str = "Bearer realm=\"facility-summary\"";

fn denied(denial: Denial) -> Problem {
    match denial {
        Denial::Missing => Problem::unauthorized(
            "Sign in: send an API key or a token in the header Authorization, as in \
             `Authorization: Bearer fs_…`, or the cookie of a session.",
            CHALLENGE,
        ),
        Denial::Invalid => Problem::unauthorized(
            "The credential in the header Authorization is not valid here: it is incomplete, has \
             ended, was revoked, or belongs elsewhere.",
            "Bearer realm=\"facility-summary\", error=\"invalid_token\"",
        ),
        Denial::Unavailable => Problem::unavailable(
            "Whether this credential is valid cannot be found out now; try again shortly.",
            2,
        ),
    }
}

/// Whether everybody may do everything, because there is no sign-in.
pub(super) fn has_no_sign_in(request: &HttpRequest) -> bool {
    request.extensions().contains::<NoSignIn>()
}

/// Who sent the request; `None` where there is no sign-in, or nobody was asked for.
pub(super) fn who(request: &HttpRequest) -> Option<Arc<SignedIn>> {
    request.extensions().get::<Arc<SignedIn>>().cloned()
}

/// Who sent the request and from where, as the audit log names it.
pub(super) fn actor(request: &HttpRequest) -> Actor {
    let address = client_address(request).map(|address| address.to_string());
    match who(request) {
        Some(who) => Actor { id: who.principal.id.clone(), address },
        None if has_no_sign_in(request) => {
            Actor { id: "anybody, as there is no sign-in".to_owned(), address }
        }
        None => Actor { id: "nobody who was asked for".to_owned(), address },
    }
}

/// The address that a request comes from.
pub(super) fn client_address(request: &HttpRequest) -> Option<IpAddr> {
    request.app_data::<Data<AppState>>()?.edge.client_address(request)
}

/// Counts a request that asks for a facility that it may not see, where there is sign-in.
pub(super) fn count_denied(app: &AppState, kind: &str) {
    app.guard.iter().for_each(|guard| guard.count_denied(kind));
}

/// The facilities that whoever sent the request may see. None at all where nobody asked who it is.
pub(super) fn visible(request: &HttpRequest) -> Visible {
    match who(request) {
        Some(who) => who.visible.clone(),
        None if has_no_sign_in(request) => Visible::All,
        None => Visible::nothing(),
    }
}

#[cfg(test)]
#[path = "entrance_tests.rs"]
mod tests;
