//! The route that tells who one is.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use serde::Serialize;
use uuid::Uuid;

use super::{
    entrance::{has_no_sign_in, who},
    problem::Problem,
    query,
    state::AppState,
};
use crate::{
    access::{Visible, sign_in::Begun},
    domain::access::Principal,
};

/// Who sent the request.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Me {
    /// As the audit log names it; null where there is no sign-in.
    pub id: Option<String>,
    /// A name for people.
    pub name: Option<String>,
    /// What it may do; without sign-in everybody is `admin`.
    pub role: &'static str,
    /// The facilities that it may see; null: all.
    pub facilities: Option<Vec<Uuid>>,
    /// The session by which the request was signed in; null: by a key or a token, or not.
    pub session: Option<String>,
}

impl Me {
    /// Whoever has just begun a session.
    pub fn of_session(app: &AppState, begun: Begun) -> Self {
        let visible = Visible::of(&begun.principal.facilities, &app.directory);
        Me::of(&begun.principal, &visible, Some(begun.id))
    }

    fn of(principal: &Principal, visible: &Visible, session: Option<String>) -> Self {
        let ids = visible.ids().map(|ids| {
            let mut ids: Vec<Uuid> = ids.iter().copied().collect();
            ids.sort_unstable();
            ids
        });
        Me {
            id: Some(principal.id.clone()),
            name: Some(principal.name.clone()),
            role: principal.role.as_str(),
            facilities: ids,
            session,
        }
    }
}

/// Tells who one is, and what one may see.
#[utoipa::path(
    get, path = "/v1/auth/me", tag = "access", operation_id = "me",
    responses((status = 200, body = Me))
)]
pub async fn show(request: HttpRequest, _app: Data<AppState>) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let me = match who(&request) {
        None if !has_no_sign_in(&request) => return Err(Problem::internal()),
        None => Me { id: None, name: None, role: "admin", facilities: None, session: None },
        Some(who) => Me::of(&who.principal, &who.visible, who.session_id().map(str::to_owned)),
    };
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(me))
}
