//! The routes of sessions: everybody's own, and all for admins.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use serde::{Deserialize, Serialize};

use super::{
    entrance::{actor, who},
    problem::Problem,
    query,
    sign_in::OFF,
    state::AppState,
};
use crate::{
    domain::{access::Role, summary::rfc3339},
    store::people::SessionRow,
};

/// A session of a browser, without its secret.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Session {
    /// The part of it that is no secret.
    pub id: String,
    /// Whose it is, as the audit log names it.
    pub principal: String,
    /// A name for people.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// Whether this request came by it.
    pub is_this: bool,
    /// When it was started.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// When it was used last, to the minute.
    #[schema(format = DateTime)]
    pub last_used_at: String,
    /// When it ends in any case.
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// The provider at which somebody signed in; null: by a password.
    pub issuer: Option<String>,
    /// The address that it was started from.
    pub address: Option<String>,
    /// The program that started it, as it names itself.
    pub agent: Option<String>,
}

/// Sessions that go on.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Sessions {
    /// Those that were used last first.
    pub items: Vec<Session>,
    /// There are more than the 1,000 that are listed.
    pub has_more: bool,
}

/// Whose sessions are asked for.
#[derive(Deserialize, Default)]
struct Asked {
    of: Option<String>,
}

/// The most sessions that are listed.
const LISTED: usize = 1_000;

/// Lists the sessions that go on: one's own, or all for an admin.
#[utoipa::path(
    get, path = "/v1/auth/sessions", tag = "access", operation_id = "sessions",
    params((
        "of" = Option<String>, Query,
        description = "`me` (also where it is missing), or `all`, for admins"
    )),
    responses(
        (status = 200, body = Sessions),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    let asked: Asked = query::parse(request.query_string(), &["of"])?;
    let (Some(who), Some(people)) = (who(&request), app.people.clone()) else {
        return Err(Problem::not_found(OFF));
    };
    let of = match asked.of.as_deref() {
        None | Some("me") => Some(who.principal.id.clone()),
        Some("all") if who.principal.role == Role::Admin => None,
        Some("all") => return Err(Problem::forbidden("Only admin may list everybody's sessions.")),
        Some(other) => return Err(query::invalid("of", other, "me or all")),
    };
    let reading = async move { people.sign_in.sessions(of.as_deref(), LISTED + 1).await };
    let mut rows = app.detached(reading).await?;
    let has_more = rows.len() > LISTED;
    rows.truncate(LISTED);
    let this = who.session_id();
    let items = rows.into_iter().map(|row| shown(row, this)).collect();
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(Sessions { items, has_more }))
}

/// Ends a session: within two seconds no server takes it any more. An admin may end everybody's.
#[utoipa::path(
    delete, path = "/v1/auth/sessions/{id}", tag = "access", operation_id = "end_session",
    params(("id" = String, Path)),
    responses(
        (status = 204, description = "Ended"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn end(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let (Some(who), Some(people)) = (who(&request), app.people.clone()) else {
        return Err(Problem::not_found(OFF));
    };
    let id = request.match_info().get("id").unwrap_or_default().to_owned();
    let own = (who.principal.role != Role::Admin).then(|| who.principal.id.clone());
    let by = actor(&request);
    let ending = async move { people.sign_in.end(&id, own.as_deref(), by).await };
    if app.detached(ending).await?.is_none() {
        return Err(Problem::not_found(
            "No session of yours has this id, or it has ended; GET /v1/auth/sessions lists them.",
        ));
    }
    Ok(HttpResponse::NoContent().insert_header((header::CACHE_CONTROL, "no-store")).finish())
}

fn shown(row: SessionRow, this: Option<&str>) -> Session {
    Session {
        is_this: this == Some(row.id.as_str()),
        started_at: rfc3339(row.created_ms),
        last_used_at: rfc3339(row.used_ms),
        expires_at: rfc3339(row.expires_ms),
        id: row.id,
        principal: row.principal,
        name: row.name,
        role: row.role,
        issuer: row.issuer,
        address: row.address,
        agent: row.agent,
    }
}
