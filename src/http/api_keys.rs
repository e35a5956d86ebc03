//! The routes of API keys, for admins.

use std::{borrow::Cow, collections::BTreeSet, str::FromStr};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{self, Data},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    cloudevents::require_json,
    content_type,
    entrance::actor,
    field_rules::{self, text_of},
    fields::{EventFields, Expected, Faults, Place},
    json::{self, Json},
    problem::{InputError, Problem},
    query,
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
    /// Only these facilities; of `viewer` and `operator` only.
    pub facilities: Option<BTreeSet<Uuid>>,
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
    Ok(not_stored(StatusCode::OK).json(ApiKeys { items }))
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
    require_json(content_type(&request))?;
    let wish = wish(&body, app.clock.latest_ms())?;
    let (store, by) = (app.store.clone(), actor(&request));
    let (row, key) = app.detached(async move { key_ring::add(&*store, wish, by).await }).await?;
    let made = MadeApiKey { key: key.text, shown: shown(row) };
    Ok(not_stored(StatusCode::CREATED).json(made))
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
    // Of any other text there is none, and not each text can be asked for in each database.
    let is_id = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let ending = async move { key_ring::revoke(&*store, &id, by).await };
    if !is_id || !app.detached(ending).await? {
        return Err(unknown());
    }
    if let Some(guard) = app.guard.clone() {
        // This server does not wait for its next look. The others look each half second.
        app.detached(async move { guard.follow().await }).await?;
    }
    Ok(not_stored(StatusCode::NO_CONTENT).finish())
}

fn not_stored(status: StatusCode) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response
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

/// Reads what a new key is to be. 400 for what is no JSON, 422 for each fault in it.
fn wish(body: &[u8], now_ms: i64) -> Result<KeyWish, Problem> {
    let body = json::parse(body)?;
    let object = field_rules::object_of(&body, "", "a JSON object")
        .map_err(|fault| Problem::invalid(vec![fault]))?;
    let mut faults = Faults::default();
    let mut f = EventFields::new(object, Place::Body(String::new()), &mut faults);
    let name = f.required("name", |value| {
        let text = text_of(value).map(str::to_owned);
        text.ok_or(Cow::Borrowed("a text that says what the key is for"))
    });
    let role = f.required("role", |value| {
        let role = text_of(value).and_then(|text| Role::from_str(text).ok());
        role.ok_or_else(|| format!("one of {}", Role::ALL.map(Role::as_str).join(", ")).into())
    });
    let facilities = f.optional("facilities", ids);
    let may_read = match object.contains_key("may_read") {
        true => f.required("may_read", switch),
        false => f.optional("may_read", switch).map(|_| false),
    };
    let expires_ms = f.optional("expires_at", field_rules::instant);
    f.finish();
    let faults = faults.into_list("");
    let (Some(name), Some(role), Some(facilities), Some(may_read), Some(expires_ms), true) =
        (name, role, facilities, may_read, expires_ms, faults.is_empty())
    else {
        return Err(Problem::invalid(faults));
    };
    let wish = KeyWish { name, role, facilities, may_read, expires_ms };
    match wish.fault(now_ms) {
        None => Ok(wish),
        Some((field, detail)) => {
            Err(Problem::invalid(vec![InputError { pointer: format!("/{field}"), detail }]))
        }
    }
}

fn switch(value: &Json) -> Result<bool, Expected> {
    match value {
        Json::Bool(value) => Ok(*value),
        _ => Err(Cow::Borrowed("true or false")),
    }
}

/// The ids of facilities. The nil UUID is taken, too: other programs may have written it into the
/// table.
fn ids(value: &Json) -> Result<BTreeSet<Uuid>, Expected> {
    let id = |value: &Json| {
        let text = text_of(value)?;
        Uuid::try_parse(text).ok().filter(|id| id.is_nil()).or(field_rules::parse_id(text))
    };
    let ids = match value {
        Json::List(list) => list.iter().map(id).collect(),
        _ => None,
    };
    ids.ok_or(Cow::Borrowed("a list of UUIDs such as \"0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d\""))
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
