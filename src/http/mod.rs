//! HTTP: `routes` has the route table, and each resource has a file. The handlers check
//! everything that a request brings, once. Every error becomes a problem document.

pub mod api_keys;
pub mod audit_log;
pub mod client_address;
pub mod cloudevents;
mod coded_body;
mod cookies;
pub mod cross_site;
pub mod day_of_all;
mod day_parameters;
pub mod denied_principals;
pub mod edge;
mod entrance;
pub mod event_data;
pub mod event_schema;
pub mod events;
pub mod facilities;
pub mod field_rules;
pub mod fields;
pub mod health;
pub mod instrumentation;
pub mod json;
mod limits;
mod list_answer;
pub mod live;
pub mod me;
pub mod openapi;
pub mod parameters;
pub mod percent;
pub mod problem;
pub mod provider;
pub mod query;
pub mod range;
pub mod rebuilds;
pub mod refreshes;
pub mod registrations;
pub mod request_headers;
mod resource_metadata;
mod response_headers;
mod routes;
pub mod sessions;
pub mod sign_in;
pub mod state;
pub mod summaries;
pub mod tls;
mod unread_body;

use actix_web::http::header;

pub use routes::{internal_routes, routes};

/// The content type of a request; `None` when it is missing or not readable.
fn content_type(request: &actix_web::HttpRequest) -> Option<&str> {
    request.headers().get(header::CONTENT_TYPE)?.to_str().ok()
}
