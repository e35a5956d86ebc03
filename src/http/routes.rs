//! The route table.

use actix_web::{
    Resource,
    guard::{Any, Get, Head},
    web,
};

use super::{
    day_of_all, events, facilities, health, instrumentation,
    instrumentation::{RouteInstruments, observed},
    openapi,
    problem::Problem,
    range, rebuilds, refreshes,
    state::AppState,
    summaries,
};

/// The route table. Routes are tried in order, so the most frequent ones are first.
pub fn routes(config: &mut web::ServiceConfig, app: &web::Data<AppState>) {
    let m = &RouteInstruments {
        metrics: app.metrics.clone(),
        draining: app.draining.clone(),
        refused: app.refused.clone(),
    };
    config
        .service(observed(m, instrumentation::HOT, |r| {
            only(r, "GET, HEAD").route(read().to(summaries::one))
        }))
        .service(observed(m, instrumentation::RANGE, |r| {
            only(r, "GET, HEAD").route(read().to(range::range))
        }))
        .service(observed(m, instrumentation::DAY_OF_ALL, |r| {
            only(r, "GET, HEAD").route(read().to(day_of_all::all))
        }))
        .service(observed(m, "/v1/facilities/{facility_id}/refresh", |r| {
            only(r, "POST").route(web::post().to(refreshes::refresh))
        }))
        .service(observed(m, "/v1/facilities/{facility_id}", |r| {
            only(r, "GET, HEAD, PUT")
                .route(read().to(facilities::one))
                .route(web::put().to(facilities::register))
        }))
        .service(observed(m, "/v1/facilities", |r| {
            only(r, "GET, HEAD").route(read().to(facilities::list))
        }))
        .service(observed(m, "/v1/blood-banks/{blood_bank_id}", |r| {
            only(r, "PUT").route(web::put().to(facilities::register_blood_bank))
        }))
        .service(observed(m, "/v1/events", |r| only(r, "POST").route(web::post().to(events::post))))
        .service(observed(m, "/v1/rebuild", |r| {
            only(r, "POST").route(web::post().to(rebuilds::start))
        }))
        .service(observed(m, "/v1/runs/{run_id}", |r| {
            only(r, "GET, HEAD").route(read().to(rebuilds::run))
        }))
        .service(observed(m, "/health/live", |r| {
            only(r, "GET, HEAD").route(read().to(health::live))
        }))
        .service(observed(m, instrumentation::READY, |r| {
            only(r, "GET, HEAD").route(read().to(health::ready))
        }))
        .service(observed(m, "/metrics", |r| {
            only(r, "GET, HEAD").route(read().to(health::metrics))
        }))
        .service(observed(m, "/openapi.json", |r| {
            only(r, "GET, HEAD").route(read().to(openapi::document))
        }))
        .service(web::redirect("/", "/docs/"))
        .service(web::redirect("/docs", "/docs/"))
        .service(observed(m, "/docs/{file:.*}", |r| {
            only(r, "GET, HEAD").route(read().to(openapi::page))
        }))
        .default_service(instrumentation::default_service(&app.metrics));
}

fn read() -> actix_web::Route {
    web::route().guard(Any(Get()).or(Head()))
}

/// Answers any other method with 405 and the methods of the resource.
fn only(resource: Resource, methods: &'static str) -> Resource {
    resource.default_service(web::to(move || async move { Problem::method_not_allowed(methods) }))
}
