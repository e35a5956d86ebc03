//! The route table.

use std::sync::Arc;

use actix_web::{
    Resource,
    guard::{Any, Get, Head},
    web,
};

use super::{
    api_keys, audit_log, day_of_all, denied_principals,
    edge::Edge,
    entrance::{Needs, Rule},
    events, facilities, health, instrumentation,
    instrumentation::{RouteInstruments, observed},
    live, me, openapi,
    problem::Problem,
    provider, range, rebuilds, refreshes, resource_metadata, sessions, sign_in,
    state::AppState,
    summaries,
};
use crate::config::server::MetricsAccess;

/// The route table. Routes are tried in order, so the most frequent ones are first. What only those
/// need who watch the service is left out where they have a listener of their own.
pub fn routes(config: &mut web::ServiceConfig, app: &web::Data<AppState>) {
    let m = &instruments(app, &app.edge);
    figures(config, m);
    live_clients(config, m);
    access(config, m);
    people(config, m);
    if app.settings.server.internal_bind.is_none() {
        watch(config, m, app.settings.server.metrics);
    }
    config.default_service(instrumentation::default_service(m));
}

/// The routes of the internal listener.
pub fn internal_routes(
    config: &mut web::ServiceConfig,
    app: &web::Data<AppState>,
    edge: &Arc<Edge>,
) {
    let m = &instruments(app, edge);
    watch(config, m, app.settings.server.metrics);
    config.default_service(instrumentation::default_service(m));
}

fn instruments(app: &AppState, edge: &Arc<Edge>) -> RouteInstruments {
    RouteInstruments {
        metrics: app.metrics.clone(),
        guard: app.guard.clone(),
        edge: edge.clone(),
        draining: app.draining.clone(),
        refused: app.refused.clone(),
    }
}

/// Reads of figures and of facilities, and writes.
fn figures(config: &mut web::ServiceConfig, m: &RouteInstruments) {
    config
        .service(observed(m, instrumentation::HOT, Needs::to_read(Rule::Read), |r| {
            only(r, "GET, HEAD").route(read().to(summaries::one))
        }))
        .service(observed(m, instrumentation::RANGE, Needs::to_read(Rule::Read), |r| {
            only(r, "GET, HEAD").route(read().to(range::range))
        }))
        .service(observed(m, instrumentation::DAY_OF_ALL, Needs::to_read(Rule::Read), |r| {
            only(r, "GET, HEAD").route(read().to(day_of_all::all))
        }))
        .service(observed(
            m,
            "/v1/facilities/{facility_id}/refresh",
            Needs::to_change(Rule::Operate),
            |r| only(r, "POST").route(web::post().to(refreshes::refresh)),
        ))
        .service(observed(
            m,
            "/v1/facilities/{facility_id}",
            Needs::to_read_and_change(Rule::Read, Rule::Operate),
            |r| {
                only(r, "GET, HEAD, PUT")
                    .route(read().to(facilities::one))
                    .route(web::put().to(facilities::register))
            },
        ))
        .service(observed(m, "/v1/facilities", Needs::to_read(Rule::Read), |r| {
            only(r, "GET, HEAD").route(read().to(facilities::list))
        }))
        .service(observed(
            m,
            "/v1/blood-banks/{blood_bank_id}",
            Needs::to_change(Rule::Operate),
            |r| only(r, "PUT").route(web::put().to(facilities::register_blood_bank)),
        ))
        .service(observed(m, "/v1/events", Needs::to_change(Rule::Post), |r| {
            only(r, "POST").route(web::post().to(events::post))
        }))
        .service(observed(m, "/v1/rebuild", Needs::to_change(Rule::Admin), |r| {
            only(r, "POST").route(web::post().to(rebuilds::start))
        }))
        .service(observed(m, "/v1/runs/{run_id}", Needs::to_read(Rule::Admin), |r| {
            only(r, "GET, HEAD").route(read().to(rebuilds::run))
        }));
}

/// Clients that get changes as they happen.
fn live_clients(config: &mut web::ServiceConfig, m: &RouteInstruments) {
    config
        .service(observed(m, live::LIVE, Needs::to_read(Rule::Live), |r| {
            only(r, "GET").route(web::get().to(live::live))
        }))
        .service(observed(m, live::STREAM, Needs::to_read(Rule::Stream), |r| {
            only(r, "GET").route(web::get().to(live::stream))
        }));
}

/// Who may do what.
fn access(config: &mut web::ServiceConfig, m: &RouteInstruments) {
    config
        .service(observed(m, "/v1/auth/me", Needs::to_read(Rule::SignedIn), |r| {
            only(r, "GET, HEAD").route(read().to(me::show))
        }))
        .service(observed(m, "/v1/api-keys", Needs::to_change(Rule::Admin), |r| {
            only(r, "GET, HEAD, POST")
                .route(read().to(api_keys::list))
                .route(web::post().to(api_keys::add))
        }))
        .service(observed(m, "/v1/api-keys/{id}", Needs::to_change(Rule::Admin), |r| {
            only(r, "DELETE").route(web::delete().to(api_keys::revoke))
        }))
        .service(observed(m, "/v1/denied-principals", Needs::to_change(Rule::Admin), |r| {
            only(r, "GET, HEAD, POST")
                .route(read().to(denied_principals::list))
                .route(web::post().to(denied_principals::deny))
        }))
        .service(observed(m, "/v1/denied-principals/{id}", Needs::to_change(Rule::Admin), |r| {
            only(r, "DELETE").route(web::delete().to(denied_principals::allow))
        }))
        .service(observed(m, "/v1/audit-log", Needs::to_read(Rule::Admin), |r| {
            only(r, "GET, HEAD").route(read().to(audit_log::list))
        }))
        .service(observed(m, resource_metadata::PATH, Needs::to_read(Rule::Open), |r| {
            only(r, "GET, HEAD").route(read().to(resource_metadata::show))
        }));
}

/// Sign-in of people, and their sessions.
fn people(config: &mut web::ServiceConfig, m: &RouteInstruments) {
    config
        .service(observed(m, "/v1/auth/login", Needs::to_change(Rule::Open), |r| {
            only(r, "POST").route(web::post().to(sign_in::login))
        }))
        .service(observed(m, "/v1/auth/setup", Needs::to_change(Rule::Open), |r| {
            only(r, "POST").route(web::post().to(sign_in::setup))
        }))
        .service(observed(m, "/v1/auth/logout", Needs::to_change(Rule::SignedIn), |r| {
            only(r, "POST").route(web::post().to(sign_in::logout))
        }))
        .service(observed(m, "/v1/auth/sign-in", Needs::to_read(Rule::Open), |r| {
            only(r, "GET, HEAD").route(read().to(provider::begin))
        }))
        .service(observed(m, "/v1/auth/callback", Needs::to_read(Rule::Open), |r| {
            only(r, "GET, HEAD").route(read().to(provider::callback))
        }))
        .service(observed(m, "/v1/auth/backchannel-logout", Needs::to_change(Rule::Open), |r| {
            only(r, "POST").route(web::post().to(provider::logout))
        }))
        .service(observed(m, "/v1/auth/sessions", Needs::to_read(Rule::SignedIn), |r| {
            only(r, "GET, HEAD").route(read().to(sessions::list))
        }))
        .service(observed(m, "/v1/auth/sessions/{id}", Needs::to_change(Rule::SignedIn), |r| {
            only(r, "DELETE").route(web::delete().to(sessions::end))
        }));
}

/// Health, metrics, and the documents.
fn watch(config: &mut web::ServiceConfig, m: &RouteInstruments, metrics: MetricsAccess) {
    let metrics = match metrics {
        MetricsAccess::Open => Rule::Open,
        MetricsAccess::SignedIn => Rule::Metrics,
    };
    config
        .service(observed(m, "/health/live", Needs::to_read(Rule::Health), |r| {
            only(r, "GET, HEAD").route(read().to(health::live))
        }))
        .service(observed(m, instrumentation::READY, Needs::to_read(Rule::Health), |r| {
            only(r, "GET, HEAD").route(read().to(health::ready))
        }))
        .service(observed(m, "/metrics", Needs::to_read(metrics), |r| {
            only(r, "GET, HEAD").route(read().to(health::metrics))
        }))
        .service(observed(m, "/openapi.json", Needs::to_read(Rule::Open), |r| {
            only(r, "GET, HEAD").route(read().to(openapi::document))
        }))
        .service(observed(m, "/", Needs::to_read(Rule::Open), |r| {
            only(r, "GET, HEAD").route(read().to(openapi::to_docs))
        }))
        .service(observed(m, "/docs", Needs::to_read(Rule::Open), |r| {
            only(r, "GET, HEAD").route(read().to(openapi::to_docs))
        }))
        .service(observed(m, "/docs/{file:.*}", Needs::to_read(Rule::Open), |r| {
            only(r, "GET, HEAD").route(read().to(openapi::page))
        }));
}

fn read() -> actix_web::Route {
    web::route().guard(Any(Get()).or(Head()))
}

/// Answers any other method with 405 and the methods of the resource.
fn only(resource: Resource, methods: &'static str) -> Resource {
    resource.default_service(web::to(move || async move { Problem::method_not_allowed(methods) }))
}
