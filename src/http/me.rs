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
        None => Me { id: None, name: None, role: "admin", facilities: None },
        Some(who) => {
            let ids = who.visible.ids().map(|ids| {
                let mut ids: Vec<Uuid> = ids.iter().copied().collect();
                ids.sort_unstable();
                ids
            });
            Me {
                id: Some(who.principal.id.clone()),
                name: Some(who.principal.name.clone()),
                role: who.principal.role.as_str(),
                facilities: ids,
            }
        }
    };
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(me))
}
