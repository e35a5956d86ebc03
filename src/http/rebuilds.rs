//! The routes that start a full rebuild and show its progress.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use serde::Serialize;
use uuid::Uuid;

use super::{
    entrance::actor,
    problem::Problem,
    query,
    state::{AppState, path_id},
};
use crate::{domain::summary::rfc3339, store::JobRun};

/// A run of a job.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Run {
    /// Its id.
    pub run_id: Uuid,
    /// Which job it is a run of.
    pub job: String,
    /// `waiting` (until a replica starts it, or starts it again after another one gave it back),
    /// `running`, `done` or `failed`.
    pub state: String,
    /// When it was requested or started.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// When it ended; null before that.
    #[schema(format = DateTime)]
    pub finished_at: Option<String>,
    /// Facilities that the run has to check.
    pub facilities: i64,
    /// Facilities that it has checked so far.
    pub done: i64,
    /// Rows that it changed.
    pub changed: i64,
    /// Changed rows with a difference that no mark and no expiry explains.
    pub drift: i64,
    /// Why it failed: the class of the error, and what was left undone.
    pub error: Option<String>,
}

/// Requests a rebuild of every day of every facility; it starts when no other run is active. When a
/// requested run already waits, the answer is that run.
#[utoipa::path(
    post, path = "/v1/rebuild", tag = "write", operation_id = "rebuild",
    responses(
        (status = 202, body = Run, description = "`Location` names the run"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn start(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let (rebuild, by) = (app.rebuild.clone(), actor(&request));
    let run = app.detached(async move { rebuild.request(by).await }).await?;
    Ok(HttpResponse::Accepted()
        .insert_header((header::LOCATION, format!("/v1/runs/{}", run.id)))
        .json(shown(run)))
}

/// Shows the progress of a run.
#[utoipa::path(
    get, path = "/v1/runs/{run_id}", tag = "write", operation_id = "run",
    params(("run_id" = Uuid, Path)),
    responses(
        (status = 200, body = Run),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn run(request: HttpRequest, app: Data<AppState>) -> Result<HttpResponse, Problem> {
    query::none(request.query_string())?;
    let id = path_id(&request, "run_id")?;
    let store = app.store.clone();
    let run = app.detached(async move { store.job_run(id).await }).await?.ok_or_else(|| {
        Problem::not_found(format!("There is no run {id}; runs are kept for a week."))
    })?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(shown(run)))
}

fn shown(run: JobRun) -> Run {
    Run {
        run_id: run.id,
        job: run.job,
        state: run.state,
        started_at: rfc3339(run.started_at_ms),
        finished_at: run.finished_at_ms.map(rfc3339),
        facilities: run.total,
        done: run.done,
        changed: run.changed,
        drift: run.drift,
        error: run.error,
    }
}
