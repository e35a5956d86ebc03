//! The OpenAPI document, and pages that show it without internet access.

use std::{
    collections::BTreeMap,
    io::Read,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
    web::{self, Bytes},
};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Content, HeaderBuilder, Object, PathItem, Ref, RefOr, ResponseBuilder, Type,
        path::Operation,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_swagger_ui::Config;

use super::{
    coded_body, event_schema,
    problem::{self, Problem},
    query, request_headers,
};
use crate::cache::forms::Forms;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "facility-summary",
        description = "One fresh summary per blood-bank facility and local day.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        super::summaries::one, super::range::range, super::day_of_all::all,
        super::live::live, super::live::stream,
        super::facilities::list, super::facilities::one, super::facilities::register,
        super::facilities::register_blood_bank, super::refreshes::refresh, super::events::post,
        super::rebuilds::start, super::rebuilds::run, super::me::show, super::api_keys::list,
        super::api_keys::add, super::api_keys::revoke, super::denied_principals::list,
        super::denied_principals::deny, super::denied_principals::allow, super::audit_log::list,
        super::resource_metadata::show,
        super::sign_in::login, super::sign_in::setup, super::sign_in::logout,
        super::provider::begin, super::provider::callback, super::provider::logout,
        super::sessions::list, super::sessions::end,
        super::health::live, super::health::ready, super::health::metrics, document,
    ),
    components(
        schemas(
            super::cloudevents::CloudEvent, event_schema::EventData, event_schema::NamedBloodType,
            event_schema::FacilityRegistered, event_schema::BloodBankRegistered,
            event_schema::InventorySet,
            event_schema::InventoryRemoved, event_schema::DistributionSet,
            event_schema::DistributionRemoved,
            event_schema::RequestSet, event_schema::RequestRemoved, event_schema::SummaryTouched,
        )
    ),
    tags(
        (name = "read", description = "Summaries, each with its age"),
        (name = "live", description = "Changes as they happen"),
        (name = "write", description = "Events, registrations, refreshes"),
        (name = "access", description = "Who may do what, and who changed that"),
        (name = "watch", description = "Health and metrics"),
    ),
    modifiers(&EveryOperation, &FreshnessHeaders, &Credentials),
)]
struct Document;

/// The document as indented JSON, as `facility-summary openapi` prints it.
pub fn json() -> String {
    Document::openapi().to_pretty_json().expect("the document has string keys only")
}

/// A file of the documentation, which changes with a release only.
struct DocumentFile {
    forms: Forms,
    content_type: HeaderValue,
}

impl DocumentFile {
    fn new(body: Bytes, content_type: &str) -> Self {
        let etag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&body));
        let content_type = HeaderValue::from_str(content_type)
            .unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"));
        DocumentFile { forms: Forms::new(body, etag), content_type }
    }

    /// The file, or 304. A client may keep it for an hour.
    fn respond(&self, request: &HttpRequest) -> HttpResponse {
        coded_body::respond_as(request, &self.forms, self.content_type.clone(), |response| {
            response.insert_header((header::CACHE_CONTROL, "max-age=3600"));
        })
    }
}

static JSON: LazyLock<DocumentFile> =
    LazyLock::new(|| DocumentFile::new(Bytes::from(json()), "application/json"));

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "watch", operation_id = "openapi",
    responses((status = 200, content_type = "application/json", body = Object))
)]
pub async fn document(request: HttpRequest) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    Ok(JSON.respond(&request))
}

/// Adds to each operation the answers that any request may get, so that no operation has to name
/// them.
struct EveryOperation;

impl Modify for EveryOperation {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let all = document.paths.paths.iter_mut();
        let all = all.flat_map(|(path, item)| {
            let (is_guarded, is_health) = (path.starts_with("/v1/"), path.starts_with("/health/"));
            operations(item).map(move |operation| (is_guarded, is_health, operation))
        });
        for (is_guarded, is_health, operation) in all {
            let takes_body = operation.request_body.is_some();
            let common = [
                ("401", "Sign-in is on, and the credential is missing or not valid", is_guarded),
                ("403", "Sign-in is on, and this is not allowed with this credential", is_guarded),
                (
                    "400",
                    "It cannot be read: an unknown or repeated query parameter, an id or a date \
                     that is none",
                    true,
                ),
                ("405", "Another method than those of this path, which `Allow` lists", true),
                ("414", "Path and query are longer than the service takes", true),
                (
                    "429",
                    "The client has used up a budget; `Retry-After` says for how long",
                    !is_health,
                ),
                ("408", "The body did not arrive in time", takes_body),
                ("500", "A fault of the service; its log says more", true),
            ];
            for (status, what, _) in common.into_iter().filter(|(.., applies)| *applies) {
                operation.responses.responses.entry(status.to_owned()).or_insert_with(|| {
                    let content = Content::new(Some(Ref::from_schema_name("Problem")));
                    ResponseBuilder::new()
                        .description(what)
                        .content(problem::CONTENT_TYPE, content)
                        .build()
                        .into()
                });
            }
        }
    }
}

/// Names how a request is signed in, where sign-in is on.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("an API key; docs/security.md says how one is made"));
        let schemes = document.components.get_or_insert_default();
        schemes.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        let session = ApiKeyValue::with_description(
            super::cookies::SESSION,
            "the session of a browser: POST /v1/auth/login, or GET /v1/auth/sign-in",
        );
        schemes.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
    }
}

/// Adds the headers of freshness and of validators to the operations whose answers carry them.
struct FreshnessHeaders;

/// Operations whose figures come from the tiers.
const OF_FIGURES: [&str; 3] = ["summary", "summaries", "all_summaries"];
/// Operations that answer from the directory.
const OF_FACILITIES: [&str; 2] = ["facilities", "facility"];

impl Modify for FreshnessHeaders {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let text = || Object::with_type(Type::String);
        let seconds = Object::builder().schema_type(Type::Integer).minimum(Some(0)).build();
        let headers = [
            ("Age", seconds, "Seconds since the answer was last known to be exact"),
            (
                "Cache-Control",
                text(),
                "How long a client may keep it; for `today`, up to the next midnight at most",
            ),
            ("Cache-Status", text(), "Where the figures come from (RFC 9211)"),
            ("ETag", text(), "A strong tag of the body and its encoding"),
            ("Vary", text(), "`Accept-Encoding`"),
        ];
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            let id = operation.operation_id.as_deref().unwrap_or_default();
            let is_of_figures = OF_FIGURES.contains(&id);
            if !is_of_figures && !OF_FACILITIES.contains(&id) {
                continue;
            }
            for status in ["200", "304"] {
                let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) else {
                    continue;
                };
                for (name, schema, description) in &headers {
                    if is_of_figures || *name != "Cache-Status" {
                        let header = HeaderBuilder::new()
                            .schema(Some(schema.clone()))
                            .description(Some(*description));
                        response.headers.insert((*name).to_owned(), header.build().into());
                    }
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
    all.into_iter().filter_map(Option::as_mut)
}

/// Leads to the pages of the documentation.
pub async fn to_docs() -> HttpResponse {
    HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, "/docs/")).finish()
}

/// `/docs/`: pages to read the document and to try requests, with all files that they need.
pub async fn page(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let name = request.match_info().get("file").unwrap_or_default().to_owned();
    let file = web::block(move || docs_file(&name)).await.ok().flatten();
    let file =
        file.ok_or_else(|| Problem::not_found("There is no such page; /docs/ is the first one."))?;
    if coded_body::is_long_work(&request, &file.forms) {
        let (file, form) = (file.clone(), request_headers::best_encoding(request.headers()));
        // Where it fails, the answer compresses.
        let _ = web::block(move || coded_body::CodedBody::form(&file.forms, form)).await;
    }
    Ok(file.respond(&request))
}

/// The file of that name, unpacked when it is asked for first.
fn docs_file(name: &str) -> Option<Arc<DocumentFile>> {
    static CONFIG: LazyLock<Arc<Config<'static>>> =
        LazyLock::new(|| Arc::new(Config::from("/openapi.json")));
    static FILES: Mutex<BTreeMap<String, Arc<DocumentFile>>> = Mutex::new(BTreeMap::new());
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = files.get(name) {
        return Some(file.clone());
    }
    let file = utoipa_swagger_ui::serve(name, CONFIG.clone()).ok()??;
    let mut body = file.bytes.into_owned();
    if file.gzpipped {
        let packed = std::mem::take(&mut body);
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut body).ok()?;
    }
    let file = Arc::new(DocumentFile::new(body.into(), &file.content_type));
    files.insert(name.to_owned(), file.clone());
    Some(file)
}
