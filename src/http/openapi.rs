//! The interface as an OpenAPI document, and pages that show it without the internet.

use std::sync::LazyLock;

use actix_web::{HttpResponse, web::Bytes};
use utoipa::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::event_data::schema;

#[derive(OpenApi)]
#[openapi(
    info(title = "facility-summary", description = "One fresh summary per blood-bank facility and local day.", license(name = "MIT OR Apache-2.0")),
    paths(
        super::summaries::one, super::listing::range, super::listing::all, super::facilities::list, super::facilities::one,
        super::facilities::register, super::facilities::register_blood_bank, super::summaries::refresh, super::events::post,
        super::rebuilds::start, super::rebuilds::run, super::health::live, super::health::ready, super::health::metrics, document,
    ),
    components(schemas(
        super::cloudevents::CloudEvent, schema::EventData, schema::NamedBloodType, schema::FacilityRegistered, schema::BloodBankRegistered,
        schema::InventorySet, schema::InventoryRemoved, schema::DistributionSet, schema::DistributionRemoved, schema::RequestSet,
        schema::RequestRemoved, schema::SummaryTouched,
    )),
    tags(
        (name = "read", description = "Summaries, each with its age"), (name = "write", description = "Events, registrations, refreshes"),
        (name = "watch", description = "Health and metrics"),
    )
)]
struct Document;

/// The document as indented JSON, as `facility-summary openapi` prints it.
pub fn json() -> String {
    Document::openapi().to_pretty_json().expect("the document has string keys only")
}

static JSON: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(json()));

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "watch", operation_id = "openapi", responses((status = 200, content_type = "application/json", body = Object)))]
pub async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(JSON.clone())
}

/// `/docs/`: the document as pages to read and try.
pub fn pages() -> SwaggerUi {
    SwaggerUi::new("/docs/{_:.*}").config(Config::from("/openapi.json"))
}
