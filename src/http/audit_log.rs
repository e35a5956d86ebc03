//! The route of the audit log, for admins.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use serde::Serialize;

use super::{parameters, problem::Problem, state::AppState};
use crate::{
    domain::summary::rfc3339,
    store::access::{AuditEntry, AuditFilter},
};

/// A change of who may do what, or of what the service works with.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AuditLogEntry {
    /// Its number; later entries have greater ones.
    pub id: i64,
    /// When it was done.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who did it.
    pub actor: String,
    /// What was done, such as `key.added`.
    pub action: String,
    /// What it was done to, such as the id of a key.
    pub subject: String,
    /// What was changed, without secrets.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
    /// From which address; null for a command.
    pub address: Option<String>,
}

/// A page of the audit log.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AuditLogPage {
    /// The newest first.
    pub items: Vec<AuditLogEntry>,
    /// The cursor of the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// Lists the audit log, the newest entry first. Of several filters all must fit.
#[utoipa::path(
    get, path = "/v1/audit-log", tag = "access", operation_id = "audit_log",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query),
        (
            "action" = Option<String>, Query,
            description = "only what was done so, such as `key.added`"
        ),
        ("actor" = Option<String>, Query, description = "only what was done by this one"),
        ("subject" = Option<String>, Query, description = "only what was done to this one")
    ),
    responses(
        (status = 200, body = AuditLogPage),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    let asked = parameters::AuditLog::read(request.query_string())?;
    let (store, before) = (app.store.clone(), asked.cursor.unwrap_or(i64::MAX));
    let parameters::AuditLog { limit, action, actor, subject, .. } = asked;
    let filter = AuditFilter { action, actor, subject };
    let reading = async move { store.audit_log(&filter, before, limit + 1).await };
    let mut entries = app.detached(reading).await?;
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let last = entries.last().map(|entry| entry.id.to_string());
    let next_cursor = last.filter(|_| has_more);
    let items = entries.into_iter().map(shown).collect();
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(AuditLogPage { items, next_cursor }))
}

fn shown(entry: AuditEntry) -> AuditLogEntry {
    let detail = serde_json::from_str(&entry.detail).unwrap_or(serde_json::Value::Null);
    AuditLogEntry {
        id: entry.id,
        at: rfc3339(entry.at_ms),
        actor: entry.actor,
        action: entry.action,
        subject: entry.subject,
        detail,
        address: entry.address,
    }
}
