//! `GET /.well-known/oauth-protected-resource` (RFC 9728): where clients get tokens for this
//! service.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
    web::Data,
};
use serde::Serialize;

use super::{problem::Problem, query, state::AppState};
use crate::config::AuthSettings;

/// The path of the metadata of a resource without a path.
pub const PATH: &str = "/.well-known/oauth-protected-resource";

/// Where clients get tokens for this service.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ResourceMetadata {
    /// The URL under which clients reach the service (setting `auth.public_url`).
    #[schema(example = "https://summary.example")]
    pub resource: String,
    /// The issuers whose tokens are accepted.
    pub authorization_servers: Vec<String>,
    /// How a token is sent: always in the header `Authorization`.
    pub bearer_methods_supported: Vec<&'static str>,
    /// What the resource is called.
    pub resource_name: &'static str,
}

impl ResourceMetadata {
    /// The metadata of these settings; `None` without an issuer that has a URL, or without our own.
    pub fn new(auth: &AuthSettings) -> Option<Self> {
        let public_url = auth.public_url.as_deref().filter(|_| auth.is_on())?;
        let names = auth.all_issuers().filter_map(|(_, issuer)| issuer.issuer.clone());
        let authorization_servers: Vec<String> =
            names.filter(|name| name.starts_with("https://")).collect();
        (!authorization_servers.is_empty()).then(|| ResourceMetadata {
            resource: public_url.trim_end_matches('/').to_owned(),
            authorization_servers,
            bearer_methods_supported: vec!["header"],
            resource_name: "facility-summary",
        })
    }

    /// The challenge of a 401 with the address of the metadata.
    pub fn challenge(&self, challenge: &HeaderValue) -> Option<HeaderValue> {
        let challenge = challenge.to_str().ok()?;
        let text = format!("{challenge}, resource_metadata=\"{}{PATH}\"", self.resource);
        HeaderValue::try_from(text).ok()
    }
}

/// Says where clients get tokens for this service (RFC 9728). Only with an issuer and
/// `auth.public_url`; otherwise 404.
#[utoipa::path(
    get, path = "/.well-known/oauth-protected-resource", tag = "access",
    operation_id = "resource_metadata",
    responses(
        (status = 200, body = ResourceMetadata),
        (
            status = 404, body = Problem, content_type = "application/problem+json",
            description = "No issuer is set, or not auth.public_url"
        )
    )
)]
pub async fn show(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let metadata = app.edge.metadata().ok_or_else(|| {
        Problem::not_found(
            "This service names no authorization server: it accepts no tokens of an issuer, or its \
             own URL is not set (setting auth.public_url).",
        )
    })?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "max-age=3600")).json(metadata))
}
