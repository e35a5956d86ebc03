//! Who may use which route. Each route names what it needs when it is registered
//! (`routes.rs`); this file asks the guard before the handler runs, so before anything of the
//! request is validated.

use std::{net::IpAddr, sync::Arc};

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderMap, HeaderValue},
    middleware::Next,
};

use super::{cookies, field_rules, problem::Problem, same_origin};
use crate::{
    access::{Denial, Guard, SignedIn, Visible, key_ring::Actor, sessions},
    domain::access::{Principal, Role},
};

/// What a route needs of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing: it shows no facility's figures.
    Open,
    /// Somebody, whoever it is.
    SignedIn,
    /// The right to read figures; of the facility in the path, where there is one.
    Read,
    /// The right to refresh, and to register, the facility in the path.
    Operate,
    /// The right to post events. Of which facilities, the ingest finds out.
    Post,
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
            (Rule::Open | Rule::SignedIn, _) | (_, Role::Admin) => true,
            (Rule::Read, Role::Viewer | Role::Operator) => true,
            (Rule::Read, Role::Service) => who.may_read,
            (Rule::Operate, Role::Operator) => true,
            (Rule::Post, Role::Operator | Role::Service) => true,
            _ => false,
        }
    }
}

/// Lets a request through to its handler, or answers 401, 403 or 503. Without a guard there is no
/// sign-in, and every request is let through.
pub async fn enter(
    guard: Option<Arc<Guard>>,
    needs: Needs,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody + 'static>, Error> {
    let rule = needs.of(&request);
    let Some(guard) = guard.filter(|_| rule != Rule::Open) else { return next.call(request).await };
    let sent = Sent::of(request.headers())?;
    let who = match guard.remembered(sent.credential) {
        Some(who) => who,
        None => guard.verify(sent.credential).await.map_err(|denial| sent.denied(denial))?,
    };
    if sent.is_cookie && !request.method().is_safe() {
        same_origin::check(request.headers(), guard.own_origin())?;
    }
    if !rule.allows(&who.principal) {
        return Err(Problem::forbidden(format!(
            "The role {} may not do this; {}.",
            who.principal.role,
            may(rule)
        ))
        .into());
    }
    let facility = request.match_info().get("facility_id").and_then(field_rules::parse_id);
    if facility.is_some_and(|id| !who.visible.has(id)) {
        return Err(Problem::forbidden("This facility is not among those that you may see.").into());
    }
    request.extensions_mut().insert(who);
    let mut response = next.call(request).await?;
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Cookie, Authorization"));
    Ok(response)
}

/// Who may what a rule asks for, in words.
fn may(rule: Rule) -> &'static str {
    match rule {
        Rule::Open | Rule::SignedIn => "everybody who is signed in may",
        Rule::Read => "viewer, operator and admin may, and a service that was told so",
        Rule::Operate => "operator and admin may",
        Rule::Post => "operator, service and admin may",
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

impl<'a> Sent<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, Problem> {
        let mut sent = headers.get_all(header::AUTHORIZATION);
        let text = match (sent.next(), sent.next()) {
            (None, _) => return Sent::of_cookie(headers),
            (Some(one), None) => one.to_str().unwrap_or_default(),
            (Some(_), Some(_)) => return Err(denied(Denial::Invalid)),
        };
        match text.split_once(' ') {
            Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => {
                let credential = credential.trim_start_matches(' ');
                // A session is for browsers, which cannot send it so.
                match sessions::id_of(credential) {
                    None => Ok(Sent { credential, is_cookie: false }),
                    Some(_) => Err(denied(Denial::Invalid)),
                }
            }
            _ => Err(denied(Denial::Invalid)),
        }
    }

    fn of_cookie(headers: &'a HeaderMap) -> Result<Self, Problem> {
        match cookies::sent(headers, cookies::SESSION) {
            cookies::Sent::Nothing => Err(denied(Denial::Missing)),
            cookies::Sent::One(credential) if sessions::id_of(credential).is_some() => {
                Ok(Sent { credential, is_cookie: true })
            }
            cookies::Sent::One(_) | cookies::Sent::Several => Err(session_over()),
        }
    }

    fn denied(self, denial: Denial) -> Problem {
        match denial {
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

fn denied(denial: Denial) -> Problem {
    match denial {
        Denial::Missing => Problem::unauthorized(
            "Sign in: send an API key or a token in the header Authorization, as in \
             `Authorization: Bearer fs_…`, or the cookie of a session.",
            "Bearer realm=\"facility-summary\"",
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

/// Who sent the request; `None` where there is no sign-in.
pub(super) fn who(request: &HttpRequest) -> Option<Arc<SignedIn>> {
    request.extensions().get::<Arc<SignedIn>>().cloned()
}

/// Who sent the request and from where, as the audit log names it.
pub(super) fn actor(request: &HttpRequest) -> Actor {
    let address = client_address(request).map(|address| address.to_string());
    match who(request) {
        Some(who) => Actor { id: who.principal.id.clone(), address },
        None => Actor { id: "anybody, as there is no sign-in".to_owned(), address },
    }
}

/// The address that a request comes from.
pub(super) fn client_address(request: &HttpRequest) -> Option<IpAddr> {
    request.peer_addr().map(|address| address.ip())
}

/// The facilities that whoever sent the request may see.
pub(super) fn visible(request: &HttpRequest) -> Visible {
    who(request).map_or(Visible::All, |who| who.visible.clone())
}
