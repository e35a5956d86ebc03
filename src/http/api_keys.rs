//! The routes of API keys, for admins.

use std::{borrow::Cow, collections::BTreeSet, str::FromStr};

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    content_type,
    entrance::actor,
    field_rules::{self, text_of},
    fields::{self, Expected},
    json::Json,
    problem::Problem,
    query,
    response_headers::no_store,
    state::AppState,
};
use crate::{
    access::{
        api_keys,
        key_ring::{self, KeyWish},
    },
    domain::{access::Role, summary::rfc3339},
    store::access::ApiKeyRow,
};

/// An API key, without its secret.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ApiKey {
    /// The part of the key between its first two underscores.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// `viewer`, `operator`, `admin`, `service` or `metrics`.
    pub role: String,
    /// The facilities that it is limited to; null: all.
    pub facilities: Option<Vec<Uuid>>,
    /// A service that may also read figures.
    pub may_read: bool,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Who made it.
    pub created_by: String,
    /// When it ends; null: never.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// When it was used last, to the minute; null: not yet.
    #[schema(format = DateTime)]
    pub last_used_at: Option<String>,
    /// When it was revoked.
    #[schema(format = DateTime)]
    pub revoked_at: Option<String>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
}

/// A new key, with its text, which is never shown again.
#[derive(Serialize, utoipa::ToSchema)]
pub struct MadeApiKey {
    /// The whole key, for the header `Authorization: Bearer`.
    #[schema(example = "fs_0a1b2c3d4e5f_…")]
    pub key: String,
    /// What it may do.
    #[serde(flatten)]
    pub shown: ApiKey,
}

/// All keys, also those that have ended.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ApiKeys {
    /// The newest first.
    pub items: Vec<ApiKey>,
}

/// The facilities that a new key is to see.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum SeenFacilities {
    /// Every facility: the text `all`.
    All(AllFacilities),
    /// These.
    Only(BTreeSet<Uuid>),
}

/// Every facility.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AllFacilities {
    /// Every facility.
    All,
}

/// What a new key is to be.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyWish {
    /// What it is for.
    #[schema(min_length = 1, max_length = 200, example = "lab system")]
    pub name: String,
    /// `viewer`, `operator`, `admin`, `service` or `metrics`.
    #[schema(example = "viewer")]
    pub role: String,
    /// Which facilities it sees: a list of ids, or `all`. Required of `viewer` and `operator`; the
    /// other roles are not limited to facilities.
    pub facilities: Option<SeenFacilities>,
    /// A `service` that may also read figures.
    #[serde(default)]
    pub may_read: bool,
    /// When it ends; never where it is missing.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

/// Lists the keys.
#[utoipa::path(
    get, path = "/v1/api-keys", tag = "access", operation_id = "api_keys",
    responses(
        (status = 200, body = ApiKeys),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let store = app.store.clone();
    let rows = app.detached(async move { store.api_keys().await }).await?;
    let items = rows.into_iter().map(shown).collect();
    Ok(no_store(StatusCode::OK).json(ApiKeys { items }))
}

/// Makes a key. The answer shows it once; only its hash is stored.
#[utoipa::path(
    post, path = "/v1/api-keys", tag = "access", operation_id = "make_api_key",
    request_body = ApiKeyWish,
    responses(
        (status = 201, body = MadeApiKey),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (
            status = 409, body = Problem, content_type = "application/problem+json",
            description = "There is no sign-in; keys are then made by the command"
        ),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn add(
    request: HttpRequest,
    app: Data<AppState>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let body = super::events::body(&request, payload, &app).await?;
    by_the_command_only(&app)?;
    // What ends earlier than that would never count on this server.
    let now_ms = app.clock.latest_ms().max(app.clock.never_back_ms());
    let wish = wish(content_type(&request), &body, now_ms)?;
    let (store, by) = (app.store.clone(), actor(&request));
    let (row, key) = app.detached(async move { key_ring::add(&*store, wish, by).await }).await?;
    let made = MadeApiKey { key: key.text, shown: shown(row) };
    Ok(no_store(StatusCode::CREATED).json(made))
}

/// Revokes a key: within two seconds no server takes it any more.
#[utoipa::path(
    delete, path = "/v1/api-keys/{id}", tag = "access", operation_id = "revoke_api_key",
    params(("id" = String, Path)),
    responses(
        (status = 204, description = "Revoked"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (
            status = 409, body = Problem, content_type = "application/problem+json",
            description = "There is no sign-in; keys are then revoked by the command"
        ),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn revoke(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    by_the_command_only(&app)?;
    let unknown = || {
        Problem::not_found(
            "No API key has this id, or it was revoked before; GET /v1/api-keys lists them.",
        )
    };
    let named = request.match_info().get("id").unwrap_or_default();
    let id = api_keys::id_within(named).ok_or_else(unknown)?.to_owned();
    let (store, by) = (app.store.clone(), actor(&request));
    if !app.detached(async move { key_ring::revoke(&*store, &id, by).await }).await? {
        return Err(unknown());
    }
    app.follow_access().await?;
    Ok(no_store(StatusCode::NO_CONTENT).finish())
}

/// 409 where there is no sign-in. A key that anybody made would count from the day on which sign-in
/// is switched on.
fn by_the_command_only(app: &AppState) -> Result<(), Problem> {
    match app.guard {
        Some(_) => Ok(()),
        None => Err(Problem::new(
            StatusCode::CONFLICT,
            "There is no sign-in here, so nobody knows who asks for this. Make and revoke keys by \
             the command: facility-summary key add, facility-summary key revoke.",
        )),
    }
}

/// Reads what a new key is to be.
fn wish(content_type: Option<&str>, body: &[u8], now_ms: i64) -> Result<KeyWish, Problem> {
    let (wish, said) = fields::of_body(content_type, body, |f| {
        let name = f.required("name", |value| {
            let text = text_of(value).map(str::to_owned);
            text.ok_or(Cow::Borrowed("a text that says what the key is for"))
        });
        let role = f.required("role", |value| {
            let role = text_of(value).and_then(|text| Role::from_str(text).ok());
            role.ok_or_else(|| format!("one of {}", Role::ALL.map(Role::as_str).join(", ")).into())
        });
        let said = f.optional("facilities", facilities);
        let may_read = f.defaulted("may_read", false, switch);
        let expires_ms = f.optional("expires_at", field_rules::instant);
        let (said, name, role) = (said?, name?, role?);
        let facilities = said.clone().flatten();
        let wish = KeyWish { name, role, facilities, may_read: may_read?, expires_ms: expires_ms? };
        Some((wish, said))
    })?;
    if said.is_none() && wish.role.is_of_facilities() {
        let detail = format!("is missing; expected {FACILITIES} for the role {}", wish.role);
        return Err(fields::fault("facilities", detail));
    }
    match wish.fault(now_ms) {
        None => Ok(wish),
        Some((field, detail)) => Err(fields::fault(field, detail)),
    }
}

fn switch(value: &Json) -> Result<bool, Expected> {
    match value {
        Json::Bool(value) => Ok(*value),
        _ => Err(Cow::Borrowed("true or false")),
    }
}

const FACILITIES: &str = "a list of UUIDs such as \"0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d\", or \
                          \"all\" for every facility,";

/// The ids of facilities; `None`: all. The nil UUID is taken, too: other programs may have written
/// it into the table.
fn facilities(value: &Json) -> Result<Option<BTreeSet<Uuid>>, Expected> {
    let id = |value: &Json| {
        let text = text_of(value)?;
        Uuid::try_parse(text).ok().filter(|id| id.is_nil()).or(field_rules::parse_id(text))
    };
    let facilities = match value {
        Json::Text(text) if text == "all" => Some(None),
        Json::List(list) => list.iter().map(id).collect::<Option<_>>().map(Some),
        _ => None,
    };
    facilities.ok_or(Cow::Borrowed(FACILITIES.trim_end_matches(',')))
}

fn shown(row: ApiKeyRow) -> ApiKey {
    ApiKey {
        facilities: row.facilities.and_then(|ids| serde_json::from_str(&ids).ok()),
        created_at: rfc3339(row.created_ms),
        expires_at: row.expires_ms.map(rfc3339),
        last_used_at: row.used_ms.map(rfc3339),
        revoked_at: row.revoked_ms.map(rfc3339),
        id: row.id,
        name: row.name,
        role: row.role,
        may_read: row.may_read,
        created_by: row.created_by,
        revoked_by: row.revoked_by,
    }
}
