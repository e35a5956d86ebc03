//! Whether the process lives, whether it can serve, and what it measures.

use std::sync::{Arc, OnceLock};

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use serde::Serialize;

use super::{problem::Problem, query, state::AppState};
use crate::{
    changes::{Attachment, AttachmentStage},
    domain::facility::Facility,
    store::unreadable,
};

/// The process answers.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Alive {
    /// Always `alive`.
    pub status: &'static str,
}

/// What the service depends on, and how it is.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Readiness {
    /// `ready`; `degraded` while a dependency is lost; with 503 `starting` or `draining`.
    pub status: &'static str,
    pub dependencies: Vec<Dependency>,
    pub facilities: usize,
    /// Live clients; none until there are any.
    pub clients: usize,
    pub memory: MemoryUse,
    pub uptime_seconds: u64,
    /// Age of what the drain proves; null before the first proof.
    pub watermark_age_seconds: Option<f64>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Dependency {
    pub name: &'static str,
    /// `up` or `down`.
    pub state: &'static str,
    /// The class of the last failure, while it lasts.
    pub last_error: Option<&'static str>,
    /// What exactly is wrong, and what puts it right, where that is known: triggers, zones, an
    /// SQLite file that was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Of `change_stream`: how far this replica has come with it, as the metric
    /// `change_stream_state` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<&'static str>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct MemoryUse {
    pub entries: u64,
    pub bytes: u64,
    pub max_bytes: u64,
}

#[utoipa::path(get, path = "/health/live", tag = "watch", operation_id = "live", responses((status = 200, body = Alive)))]
pub async fn live(request: HttpRequest) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(Alive { status: "alive" }))
}

/// 503 only while draining, or starting: before the directory was ever loaded, and until what was
/// written while nobody served has been dealt with, or two minutes are over. A lost dependency is
/// 200 and `degraded`.
#[utoipa::path(
    get, path = "/health/ready", tag = "watch", operation_id = "ready",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness, description = "Starting or draining"))
)]
pub async fn ready(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let dependencies = dependencies(&app);
    let is_whole = dependencies.iter().all(|dependency| dependency.state == "up");
    let status = match () {
        _ if app.is_draining() => "draining",
        _ if !app.directory.is_loaded() || !app.drain.has_started() => "starting",
        _ if !is_whole => "degraded",
        _ => "ready",
    };
    let (entries, bytes) = app.memory.size();
    let readiness = Readiness {
        status,
        dependencies,
        facilities: app.directory.by_name().len(),
        clients: 0,
        memory: MemoryUse { entries, bytes, max_bytes: app.settings.cache.memory_bytes },
        uptime_seconds: app.started.elapsed().as_secs(),
        watermark_age_seconds: watermark_age(&app),
    };
    let mut response = match status {
        "draining" | "starting" => HttpResponse::ServiceUnavailable(),
        _ => HttpResponse::Ok(),
    };
    if status == "draining" || status == "starting" {
        response.insert_header((header::RETRY_AFTER, 1));
    }
    Ok(response.insert_header((header::CACHE_CONTROL, "no-store")).json(readiness))
}

/// The database; the triggers by which it is noticed what other programs write; the drain, while it
/// fails; where replicas share Redis that, too, and the stream of changes in it: without it, what
/// memory holds counts as fresh for `cache.memory_fresh_seconds` at most.
fn dependencies(app: &AppState) -> Vec<Dependency> {
    let named = |name, last_error: Option<&'static str>| {
        let state = if last_error.is_some() { "down" } else { "up" };
        Dependency { name, state, last_error, remedy: None, stage: None }
    };
    let unwatched = app.drain.watch.unwatched();
    let triggers = named("triggers", unwatched.as_ref().map(|unwatched| unwatched.class));
    let triggers =
        Dependency { remedy: unwatched.map(|unwatched| unwatched.remedy.clone()), ..triggers };
    let remedy = app.store.remedy();
    let failure = app.outage.last_error().or(remedy.as_ref().map(|_| "unavailable"));
    let mut all = vec![Dependency { remedy, ..named(app.store.dialect(), failure) }];
    if let (Some(redis), Some(attachment)) = (&app.redis, app.changes.attachment()) {
        all.push(named("redis", redis.last_error()));
        let stage = attachment.stage();
        all.push(Dependency { stage: Some(stage.name()), ..named("change_stream", stage.error()) });
    }
    all.push(triggers);
    // Only while it fails, and the database itself does not.
    if let Some(class) = app.drain.failing.class().filter(|_| app.outage.last_error().is_none()) {
        let remedy = "nothing is proven, and answers grow old, while the job drain fails: its log \
                      entries say at what; where a right is missing, the service's role needs \
                      SELECT, INSERT, UPDATE and DELETE on all of its tables, and no row-level \
                      security";
        all.push(Dependency { remedy: Some(remedy.into()), ..named("drain", Some(class)) });
    }
    // Only where there are such, as every replica of the fleet finds alike.
    all.extend(strange_zones(app).map(|(count, first)| Dependency {
        remedy: Some(format!(
            "{count} facilities are in zones that do not exist, and their days are counted in \
             UTC; facility {} for one: {}",
            first.id,
            first.zone.error().unwrap_or_default()
        )),
        ..named("time_zones", Some("unknown_zone"))
    }));
    all
}

/// How many facilities are in zones that do not exist, and the first of them by name.
fn strange_zones(app: &AppState) -> Option<(usize, Arc<Facility>)> {
    let facilities = app.directory.by_name();
    let mut strange = facilities.iter().filter(|facility| facility.zone.is_unknown);
    let first = strange.next()?;
    Some((1 + strange.count(), first.clone()))
}

/// In seconds; none before the first proof.
fn watermark_age(app: &AppState) -> Option<f64> {
    let watermark_ms = app.memory.watermark_ms();
    (watermark_ms != i64::MIN).then(|| (app.clock.now_ms() - watermark_ms).max(0) as f64 / 1000.0)
}

/// The exposition that Prometheus scrapes.
#[utoipa::path(get, path = "/metrics", tag = "watch", operation_id = "metrics", responses((status = 200, content_type = "text/plain", body = String)))]
pub async fn metrics(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    static CONTENT_TYPE: OnceLock<String> = OnceLock::new();
    for (pool, connections) in app.store.connections() {
        for (state, count) in
            [("in_use", connections.in_use), ("idle", connections.idle), ("max", connections.max)]
        {
            app.metrics.connections.with_label_values(&[pool, state]).set(count.into());
        }
    }
    // By whoever asks, not by the drain: that may hang, or be another replica's.
    let age = watermark_age(&app).unwrap_or_else(|| app.started.elapsed().as_secs_f64());
    app.metrics.watermark_age.set(age);
    if let Some(now) = app.changes.attachment().map(Attachment::stage) {
        for name in AttachmentStage::NAMES {
            app.metrics
                .change_stream_state
                .with_label_values(&[name])
                .set(i64::from(name == now.name()));
        }
        let left = if let AttachmentStage::Reading { left } = now { left } else { 0 };
        app.metrics.change_stream_left.set(left);
    }
    let (entries, bytes) = app.memory.size();
    app.metrics.cache_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    app.metrics.cache_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    app.metrics
        .unknown_zones
        .set(i64::try_from(strange_zones(&app).map_or(0, |(count, _)| count)).unwrap_or(i64::MAX));
    app.metrics.unreadable_rows.set(i64::try_from(unreadable::met()).unwrap_or(i64::MAX));
    let (waiting, _) = app.ingest.backlog();
    app.metrics.ingest_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    let content_type = CONTENT_TYPE.get_or_init(|| prometheus::TEXT_FORMAT.to_owned());
    Ok(HttpResponse::Ok().content_type(content_type.as_str()).body(app.metrics.render()))
}
