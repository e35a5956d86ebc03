//! The routes of denied principals, for admins: tokens that do not count any more.

use std::borrow::Cow;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data},
};
use serde::{Deserialize, Serialize};

use super::{
    content_type,
    entrance::actor,
    field_rules::{self, text_of},
    fields,
    json::Json,
    problem::Problem,
    query,
    response_headers::no_store,
    state::AppState,
};
use crate::{
    access::denials::{self, DenialWish},
    domain::summary::rfc3339,
    store::access::DenialRow,
};

/// Tokens that do not count any more, although they may not have ended.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DeniedPrincipal {
    /// Names this denial, for taking it back.
    pub id: String,
    /// The claim `iss` of the tokens.
    pub issuer: String,
    /// The claim `sub` of the tokens.
    pub subject: String,
    /// The claim `jti` of the only token that is meant; null: all tokens of the subject.
    pub token_id: Option<String>,
    /// From then on the tokens count again; null: until it is taken back.
    #[schema(format = DateTime)]
    pub until: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Who made it.
    pub created_by: String,
}

/// All denials, also those that are over.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DeniedPrincipals {
    /// The newest first.
    pub items: Vec<DeniedPrincipal>,
}

/// Which tokens are not to count any more.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DenialRequest {
    /// The claim `iss` of the tokens, character by character.
    #[schema(min_length = 1, max_length = 1000, example = "https://login.example/realms/blood")]
    pub issuer: String,
    /// The claim `sub` of the tokens.
    #[schema(min_length = 1, max_length = 1000, example = "5b1f0c7e-ann")]
    pub subject: String,
    /// The claim `jti` of one token; all tokens of the subject where it is missing.
    #[schema(min_length = 1, max_length = 1000)]
    pub token_id: Option<String>,
    /// From then on the tokens count again; never where it is missing.
    #[schema(format = DateTime)]
    pub until: Option<String>,
}

/// Lists the denials.
#[utoipa::path(
    get, path = "/v1/denied-principals", tag = "access", operation_id = "denied_principals",
    responses(
        (status = 200, body = DeniedPrincipals),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let store = app.store.clone();
    let rows = app.detached(async move { store.denials().await }).await?;
    let items = rows.into_iter().map(shown).collect();
    Ok(no_store(StatusCode::OK).json(DeniedPrincipals { items }))
}

/// Ends a token, or all tokens of a subject: within two seconds no server takes them any more. The
/// same denial again takes the place of the one before.
#[utoipa::path(
    post, path = "/v1/denied-principals", tag = "access", operation_id = "deny_principal",
    request_body = DenialRequest,
    responses(
        (status = 201, body = DeniedPrincipal),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn deny(
    request: HttpRequest,
    app: Data<AppState>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let body = super::events::body(&request, payload, &app).await?;
    let wish = wish(content_type(&request), &body, app.clock.latest_ms())?;
    known(&wish, &app)?;
    let (store, by) = (app.store.clone(), actor(&request));
    let row = app.detached(async move { denials::deny(&*store, wish, by).await }).await?;
    app.follow_access().await?;
    Ok(no_store(StatusCode::CREATED).json(shown(row)))
}

/// Takes a denial back: tokens that have not ended count again.
#[utoipa::path(
    delete, path = "/v1/denied-principals/{id}", tag = "access", operation_id = "allow_principal",
    params(("id" = String, Path)),
    responses(
        (status = 204, description = "Taken back"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn allow(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let id = request.match_info().get("id").unwrap_or_default().to_owned();
    let (store, by) = (app.store.clone(), actor(&request));
    // Of any other text there is none, and not each text can be asked for in each database.
    let is_id = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let ending = async move { denials::allow(&*store, &id, by).await };
    if !is_id || !app.detached(ending).await? {
        return Err(Problem::not_found(
            "No denial has this id, or it was taken back before; GET /v1/denied-principals lists \
             them.",
        ));
    }
    app.follow_access().await?;
    Ok(no_store(StatusCode::NO_CONTENT).finish())
}

fn wish(content_type: Option<&str>, body: &[u8], now_ms: i64) -> Result<DenialWish, Problem> {
    let text = |value: &Json| text_of(value).map(str::to_owned).ok_or(Cow::Borrowed("a text"));
    let wish = fields::of_body(content_type, body, |f| {
        let (issuer, subject) = (f.required("issuer", text), f.required("subject", text));
        let token_id = f.optional("token_id", text);
        let until_ms = f.optional("until", field_rules::instant);
        let (issuer, subject) = (issuer?, subject?);
        Some(DenialWish { issuer, subject, token_id: token_id?, until_ms: until_ms? })
    })?;
    match wish.fault(now_ms) {
        Some((field, detail)) => Err(fields::fault(field, detail)),
        None => Ok(wish),
    }
}

/// 422 where no issuer has this name: the denial would deny nothing.
fn known(wish: &DenialWish, app: &AppState) -> Result<(), Problem> {
    let Some(guard) = &app.guard else { return Ok(()) };
    let issuers = guard.tokens().names();
    if issuers.contains(&wish.issuer.as_str()) {
        return Ok(());
    }
    let detail = match issuers.is_empty() {
        true => "no issuer is configured, so that no token counts anyway".to_owned(),
        false => format!("must be a configured issuer: {}", issuers.join(", ")),
    };
    Err(fields::fault("issuer", detail))
}

fn shown(row: DenialRow) -> DeniedPrincipal {
    let DenialRow { id, issuer, subject, token_id, until_ms, created_ms, created_by } = row;
    let (until, created_at) = (until_ms.map(rfc3339), rfc3339(created_ms));
    DeniedPrincipal { id, issuer, subject, token_id, until, created_at, created_by }
}
