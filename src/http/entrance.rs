//! Who may use which route. Each route names what it needs when it is registered
//! (`routes.rs`); this file asks the guard before the handler runs, so before anything of the
//! request is validated.

use std::sync::Arc;

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderMap, HeaderValue},
    middleware::Next,
};

use super::{field_rules, problem::Problem, state::AppState};
use crate::{
    access::{Denial, Guard, SignedIn, Visible, key_ring::Actor},
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
    let counted = |denial: Denial| {
        guard.count_denied(denial.kind());
        denied(denial)
    };
    let credential = credential(request.headers()).map_err(counted)?;
    let who = match guard.remembered(credential) {
        Some(who) => who,
        None => guard.verify(credential).await.map_err(counted)?,
    };
    if !rule.allows(&who.principal) {
        guard.count_denied("role");
        return Err(Problem::forbidden(format!(
            "The role {} may not do this; {}.",
            who.principal.role,
            may(rule)
        ))
        .into());
    }
    let facility = request.match_info().get("facility_id").and_then(field_rules::parse_id);
    if facility.is_some_and(|id| !who.visible.has(id)) {
        guard.count_denied("facility");
        return Err(Problem::forbidden("This facility is not among those that you may see.").into());
    }
    request.extensions_mut().insert(who);
    let mut response = next.call(request).await?;
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Authorization"));
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

/// The credential of a request.
fn credential(headers: &HeaderMap) -> Result<&str, Denial> {
    let mut sent = headers.get_all(header::AUTHORIZATION);
    let (first, more) = (sent.next(), sent.next());
    let text = match (first, more) {
        (None, _) => return Err(Denial::Missing),
        (Some(one), None) => one.to_str().unwrap_or_default(),
        (Some(_), Some(_)) => return Err(Denial::Invalid),
    };
    match text.split_once(' ') {
        Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(credential.trim_start_matches(' '))
        }
        _ => Err(Denial::Invalid),
    }
}

fn denied(denial: Denial) -> Problem {
    match denial {
        Denial::Missing => Problem::unauthorized(
            "Sign in: send an API key or a token in the header Authorization, as in \
             `Authorization: Bearer fs_…`.",
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
    let address = request.peer_addr().map(|address| address.ip().to_string());
    match who(request) {
        Some(who) => Actor { id: who.principal.id.clone(), address },
        None => Actor { id: "anybody, as there is no sign-in".to_owned(), address },
    }
}

/// Counts a request that asks for a facility that it may not see, where there is sign-in.
pub(super) fn count_denied(app: &AppState, kind: &str) {
    app.guard.iter().for_each(|guard| guard.count_denied(kind));
}

/// The facilities that whoever sent the request may see.
pub(super) fn visible(request: &HttpRequest) -> Visible {
    who(request).map_or(Visible::All, |who| who.visible.clone())
}
