//! The OpenAPI document, and pages that show it without internet access.

use std::sync::{Arc, LazyLock};

use actix_web::{HttpRequest, HttpResponse, http::header, web::Bytes};
use utoipa::{
    Modify, OpenApi,
    openapi::{Content, PathItem, Ref, ResponseBuilder, path::Operation},
};
use utoipa_swagger_ui::Config;

use super::{
    event_schema,
    problem::{self, Problem},
    query,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "facility-summary",
        description = "One fresh summary per blood-bank facility and local day.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        super::summaries::one, super::range::range, super::day_of_all::all, super::facilities::list,
        super::facilities::one, super::facilities::register, super::facilities::register_blood_bank,
        super::refreshes::refresh, super::events::post, super::rebuilds::start,
        super::rebuilds::run, super::health::live, super::health::ready, super::health::metrics,
        document,
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
        (name = "write", description = "Events, registrations, refreshes"),
        (name = "watch", description = "Health and metrics"),
    ),
    modifiers(&EveryOperation),
)]
struct Document;

/// The document as indented JSON, as `facility-summary openapi` prints it.
pub fn json() -> String {
    Document::openapi().to_pretty_json().expect("the document has string keys only")
}

static JSON: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(json()));

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "watch", operation_id = "openapi",
    responses((status = 200, content_type = "application/json", body = Object))
)]
pub async fn document(request: HttpRequest) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    Ok(HttpResponse::Ok().content_type("application/json").body(JSON.clone()))
}

/// Adds to each operation the answers that any request may get, so that no operation has to name
/// them.
struct EveryOperation;

impl Modify for EveryOperation {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            let takes_body = operation.request_body.is_some();
            let common = [
                (
                    "400",
                    "It cannot be read: an unknown or repeated query parameter, an id or a date \
                     that is none",
                    true,
                ),
                ("405", "Another method than those of this path, which `Allow` lists", true),
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

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post].into_iter().filter_map(Option::as_mut)
}

/// `/docs/`: pages to read the document and to try requests, with all files that they need.
pub async fn page(request: HttpRequest) -> Result<HttpResponse, Problem> {
    static CONFIG: LazyLock<Arc<Config<'static>>> =
        LazyLock::new(|| Arc::new(Config::from("/openapi.json")));
    let name = request.match_info().get("file").unwrap_or_default();
    let Ok(Some(file)) = utoipa_swagger_ui::serve(name, CONFIG.clone()) else {
        return Err(Problem::not_found("There is no such page; /docs/ is the first one."));
    };
    let mut response = HttpResponse::Ok();
    if file.gzpipped {
        response.insert_header((header::CONTENT_ENCODING, "gzip"));
    }
    Ok(response.content_type(file.content_type).body(file.bytes.into_owned()))
}
