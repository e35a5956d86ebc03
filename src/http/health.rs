//! The routes that say whether the process runs and whether it can serve, and the metrics.

use std::sync::{Arc, OnceLock};

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use serde::Serialize;

use super::{problem::Problem, query, state::AppState};
use crate::{
    access::tokens::IssuerState,
    changes::{Attachment, AttachmentStage},
    domain::facility::Facility,
    store::{SourceState, unreadable},
};

/// The process runs and answers.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Alive {
    /// Always `alive`.
    pub status: &'static str,
}

/// The state of the service and of what it depends on.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Readiness {
    /// `ready`, or `degraded` while a dependency is lost. With 503 it is `starting` or `draining`.
    pub status: &'static str,
    /// What the service depends on.
    pub dependencies: Vec<Dependency>,
    /// Registered facilities.
    pub facilities: usize,
    /// Clients that get changes as they happen.
    pub clients: usize,
    /// How full the memory tier is.
    pub memory: MemoryUse,
    /// Seconds since the process started.
    pub uptime_seconds: u64,
    /// Seconds since the watermark of the drain; null before the first one.
    pub watermark_age_seconds: Option<f64>,
}

/// Something that the service depends on.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Dependency {
    /// What it is, such as `postgres`, `redis` or `change_stream`.
    pub name: &'static str,
    /// `up` or `down`.
    pub state: &'static str,
    /// The class of the current failure; null while it is up.
    pub last_error: Option<&'static str>,
    /// What exactly is wrong and how to repair it, where that is known: triggers, zones, an SQLite
    /// file that was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Of the database: what the service does without on this server, and what is lost by it. Of
    /// `sources`: the subscriptions that fill mapped tables, and how far each is behind.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub limits: Vec<String>,
    /// Only of `change_stream`: the stage of this replica's attachment, with the names of the
    /// metric `change_stream_state`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<&'static str>,
    /// Only of `issuer`: whose tokens are verified, and with how many keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<IssuerKeys>,
}

impl Dependency {
    /// Nothing but its name, and the class of its failure; `None`: it is up.
    fn named(name: &'static str, last_error: Option<&'static str>) -> Self {
        let state = if last_error.is_some() { "down" } else { "up" };
        let (remedy, limits, stage, issuer) = (None, vec![], None, None);
        Dependency { name, state, last_error, remedy, limits, stage, issuer }
    }
}

/// The keys of an issuer of tokens.
#[derive(Serialize, utoipa::ToSchema)]
pub struct IssuerKeys {
    /// The issuer, as in the claim `iss`.
    pub name: String,
    /// How many keys of it are known.
    pub keys: usize,
    /// Seconds since they were fetched; null: never, or they stand in the settings.
    pub fetched_seconds_ago: Option<u64>,
}

/// How full the memory tier is.
#[derive(Serialize, utoipa::ToSchema)]
pub struct MemoryUse {
    /// Summaries that it holds.
    pub entries: u64,
    /// Bytes that they take, overhead included.
    pub bytes: u64,
    /// Bytes that it may take (setting `cache.memory_bytes`).
    pub max_bytes: u64,
}

/// Says that the process runs.
#[utoipa::path(
    get, path = "/health/live", tag = "watch", operation_id = "live",
    responses((status = 200, body = Alive))
)]
pub async fn live(request: HttpRequest) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(Alive { status: "alive" }))
}

/// Says whether the service can serve. It answers 503 only while it starts or drains. It starts
/// until two things are done: the directory is loaded once, and the drain has processed what other
/// programs wrote while no replica ran (for two minutes at most). When a dependency is lost the
/// answer is 200 and `degraded`.
#[utoipa::path(
    get, path = "/health/ready", tag = "watch", operation_id = "ready",
    responses(
        (status = 200, body = Readiness),
        (status = 503, body = Readiness, description = "Starting or draining")
    )
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
        clients: app.live.clients(),
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

/// The state of each dependency: the database; Redis and its change stream, when replicas share a
/// Redis; the triggers, which record what other programs write; the drain, while it fails. Without
/// the change stream, an entry in memory counts as fresh for `cache.memory_fresh_seconds` at most.
fn dependencies(app: &AppState) -> Vec<Dependency> {
    let named = Dependency::named;
    let unwatched = app.drain.watch.unwatched();
    let triggers = named("triggers", unwatched.as_ref().map(|unwatched| unwatched.class));
    let triggers =
        Dependency { remedy: unwatched.map(|unwatched| unwatched.remedy.clone()), ..triggers };
    let remedy = app.store.remedy();
    let failure = app.outage.last_error().or(remedy.as_ref().map(|_| "unavailable"));
    let limits = app.store.limits().to_vec();
    let mut all = vec![Dependency { remedy, limits, ..named(app.store.dialect(), failure) }];
    if let (Some(redis), Some(attachment)) = (&app.redis, app.changes.attachment()) {
        all.push(named("redis", redis.last_error()));
        let stage = attachment.stage();
        all.push(Dependency { stage: Some(stage.name()), ..named("change_stream", stage.error()) });
    }
    all.push(triggers);
    all.extend(app.comparison.as_ref().map(|comparison| sources(&comparison.state.load())));
    let is_explained = app.outage.last_error().is_some()
        || all.iter().any(|one| one.name == "sources" && one.last_error == Some("broken"));
    // Only while it fails, and neither the database nor the mapped tables explain it.
    if let Some(class) = app.drain.failing.class().filter(|_| !is_explained) {
        let remedy = "nothing is proven, and answers grow old, while the job drain fails: its log \
                      entries say at what; where a mapped column has another type (see sources), \
                      run facility-summary adopt accept; where a right is missing, the service's \
                      role needs SELECT, INSERT, UPDATE and DELETE on all of its tables, and no \
                      row-level security";
        all.push(Dependency { remedy: Some(remedy.into()), ..named("drain", Some(class)) });
    }
    all.extend(certificate(app));
    all.extend(issuers(app));
    all.extend(odd_rows(app));
    all.extend(failing_days(app));
    // Listed only when there are such facilities. Every replica finds the same ones.
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

/// The certificate of TLS, where there is one.
fn certificate(app: &AppState) -> Option<Dependency> {
    let fault = app.certificate.as_ref()?.fault();
    let last_error = fault.is_some().then_some("unusable");
    let remedy = fault.map(|fault| {
        format!("{fault}; the certificate before is kept until the files can be used")
    });
    Some(Dependency { remedy, ..Dependency::named("tls_certificate", last_error) })
}

/// The issuers of tokens. Where a provider is away, the last keys go on to count.
fn issuers(app: &AppState) -> Vec<Dependency> {
    let states = app.guard.as_ref().map(|guard| guard.tokens().state()).unwrap_or_default();
    states.into_iter().map(issuer).collect()
}

fn issuer(state: IssuerState) -> Dependency {
    let IssuerState { issuer: name, is_fetched, keys } = state;
    let fetched = keys.fetched_ago.map(|ago| ago.as_secs());
    let last_error = match (is_fetched, keys.keys, keys.last_error) {
        (true, 0, None) => Some("not_fetched"),
        (.., error) => error,
    };
    let remedy = last_error.map(|error| {
        let what = in_words(error);
        match keys.keys {
            0 => format!(
                "{what}: the keys of {name} have never been got, and its tokens are answered 503 \
                 until they are"
            ),
            known => format!(
                "{what}: the last {known} keys of {name} go on to count; a token with a newer key \
                 is answered 503"
            ),
        }
    });
    let issuer = IssuerKeys { name, keys: keys.keys, fetched_seconds_ago: fetched };
    Dependency { remedy, issuer: Some(issuer), ..Dependency::named("issuer", last_error) }
}

/// Why the last fetch of a provider's keys failed.
fn in_words(error: &str) -> &'static str {
    match error {
        "not_fetched" => "the first fetch is under way",
        "connect" => "the provider cannot be reached",
        "timeout" => "the provider does not answer in time",
        "tls" => "the certificate of the provider is not trusted (SSL_CERT_FILE)",
        "redirect" => "the provider redirects to another scheme, or in a circle",
        "status" => "the provider answers another status than 200",
        "too_large" => "the answer of the provider is larger than 1 MiB",
        "discovery" => "the discovery document of the provider is not one of this issuer",
        "keys" => "the provider's answer has no key that can be used",
        _ => "the answer of the provider cannot be read",
    }
}

/// The mapped tables of another program.
fn sources(state: &SourceState) -> Dependency {
    let SourceState { changes, lags } = state;
    let limits = lags.iter().map(ToString::to_string).collect();
    let breaks = changes.iter().any(|change| change.breaks);
    let last_error = match changes.is_empty() {
        true => None,
        false if breaks => Some("broken"),
        false => Some("changed"),
    };
    let texts: Vec<&str> = changes.iter().map(|change| &*change.text).collect();
    let what_to_do = match breaks {
        true => {
            "no figure is read anew until the tables are as before, or the service is started with \
             a mapping that fits (where this one does, facility-summary adopt accept is enough); \
             the last figures are served with their age"
        }
        false => {
            "check that the mapping still means what it should, then run facility-summary adopt \
             accept, or start the service with a changed mapping"
        }
    };
    let remedy = (!changes.is_empty()).then(|| format!("{}: {what_to_do}", texts.join("; ")));
    Dependency { remedy, limits, ..Dependency::named("sources", last_error) }
}

/// Rows of mapped tables that do not count, where this process met some.
fn odd_rows(app: &AppState) -> Option<Dependency> {
    let odd = app.store.odd_rows();
    let first = odd.first()?;
    let rows: i64 = odd.iter().map(|odd| odd.rows).sum();
    let remedy = format!(
        "{rows} rows of mapped tables have a quantity that is not a number, or beyond a billion, \
         and do not count: {} of {} for one, of the facility {}; correct them, or leave them out \
         by `where`",
        first.rows, first.list, first.facility_id
    );
    let rows = Dependency::named("source_rows", Some("odd_quantity"));
    Some(Dependency { remedy: Some(remedy), ..rows })
}

/// Days whose mapped rows cannot be counted.
fn failing_days(app: &AppState) -> Option<Dependency> {
    let failing = app.store.failing();
    let named = failing.first.iter().map(|day| {
        let facility = app.directory.get(day.facility_id);
        let key = facility.and_then(|facility| facility.key.clone());
        let key = key.map_or(String::new(), |key| format!(" (key {key})"));
        let date = day.date.map_or("all days".to_owned(), |date| date.to_string());
        format!("facility {}{key}, {date}: {}", day.facility_id, day.words)
    });
    let named = named.collect::<Vec<_>>().join("; ");
    let remedy = format!(
        "{} days of {} facilities cannot be counted, as an expression of the mapping fails on one \
         of their rows; {named}; their figures stay as they were, with their age, and lists show \
         none, and say so: correct the rows, or let the mapping leave them out",
        failing.days, failing.facilities
    );
    let days = Dependency::named("source_days", Some("cannot_be_counted"));
    (failing.days > 0).then_some(Dependency { remedy: Some(remedy), ..days })
}

/// How many facilities have a zone that does not exist, and the first of them by name.
fn strange_zones(app: &AppState) -> Option<(usize, Arc<Facility>)> {
    let facilities = app.directory.by_name();
    let mut strange = facilities.iter().filter(|facility| facility.zone.is_unknown);
    let first = strange.next()?;
    Some((1 + strange.count(), first.clone()))
}

/// The age of the watermark in seconds; `None` before the first watermark.
fn watermark_age(app: &AppState) -> Option<f64> {
    let watermark_ms = app.memory.watermark_ms();
    (watermark_ms != i64::MIN).then(|| (app.clock.now_ms() - watermark_ms).max(0) as f64 / 1000.0)
}

/// The metrics in the text format of Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "watch", operation_id = "metrics",
    responses((status = 200, content_type = "text/plain", body = String))
)]
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
    // The gauge is set here and not by the drain, because the drain may hang or may run in another
    // replica.
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
    app.metrics.clients.set(i64::try_from(app.edge.clients()).unwrap_or(i64::MAX));
    let (entries, bytes) = app.memory.size();
    app.metrics.cache_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    app.metrics.cache_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    let views = app.memory.views().size();
    app.metrics.views.set(i64::try_from(views.views).unwrap_or(i64::MAX));
    app.metrics.view_bytes.set(i64::try_from(views.bytes).unwrap_or(i64::MAX));
    app.metrics
        .unknown_zones
        .set(i64::try_from(strange_zones(&app).map_or(0, |(count, _)| count)).unwrap_or(i64::MAX));
    app.metrics.source_odd_rows.reset();
    for odd in app.store.odd_rows() {
        app.metrics.source_odd_rows.with_label_values(&[&odd.list]).add(odd.rows);
    }
    app.metrics.source_failing_days.set(app.store.failing().days);
    app.metrics.unreadable_rows.set(i64::try_from(unreadable::met()).unwrap_or(i64::MAX));
    let (waiting, _) = app.ingest.backlog();
    app.metrics.ingest_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    let content_type = CONTENT_TYPE.get_or_init(|| prometheus::TEXT_FORMAT.to_owned());
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type(content_type.as_str())
        .body(app.metrics.render()))
}
