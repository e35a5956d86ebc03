//! Each scheduled tick runs once, and a crashed run is taken up.

use std::{sync::Arc, time::Duration};

use facility_summary::store::{JobRun, Store};
use uuid::Uuid;

use super::TestDb;

const ABANDONED: Duration = Duration::from_secs(60);

/// How many of sixteen callers at once get the tick.
async fn claims(store: Arc<dyn Store>) -> Vec<Uuid> {
    let claim = |store: Arc<dyn Store>| async move {
        let run = Uuid::new_v4();
        store.claim_run(run, "rebuild", 5_000, ABANDONED).await.unwrap().then_some(run)
    };
    let callers: Vec<_> = (0..16).map(|_| tokio::spawn(claim(store.clone()))).collect();
    let mut won = Vec::new();
    for caller in callers {
        won.extend(caller.await.unwrap());
    }
    won
}

pub async fn a_tick_is_claimed_exactly_once_by_many_at_once(db: &dyn TestDb) {
    let won = claims(db.store()).await;
    assert_eq!(won.len(), 1);
    assert_eq!(db.store().job_run(won[0]).await.unwrap().unwrap().state, "running");
    assert!(db.store().claim_run(Uuid::new_v4(), "rebuild", 6_000, ABANDONED).await.unwrap(), "another tick");
    assert!(db.store().claim_run(Uuid::new_v4(), "midnight", 5_000, ABANDONED).await.unwrap(), "another job");
}

pub async fn an_abandoned_run_is_taken_over_by_exactly_one(db: &dyn TestDb) {
    let crashed = claims(db.store()).await[0];
    db.plain(&format!("UPDATE job_runs SET heartbeat_at = {}, done = 5", db.at(1_000))).await;
    let won = claims(db.store()).await;
    assert_eq!(won.len(), 1);
    assert!(db.store().job_run(crashed).await.unwrap().is_none());
    let run = db.store().job_run(won[0]).await.unwrap().unwrap();
    assert_eq!((run.state.as_str(), run.done), ("running", 0));
    assert_eq!(db.number("SELECT count(*) FROM job_runs").await, 1);
}

pub async fn a_beating_or_finished_run_is_left_alone(db: &dyn TestDb) {
    let run = claims(db.store()).await[0];
    let old = format!("UPDATE job_runs SET heartbeat_at = {}", db.at(1_000));
    db.plain(&old).await;
    let mut progress = db.store().job_run(run).await.unwrap().unwrap();
    db.store().update_run(&progress).await.unwrap();
    assert!(claims(db.store()).await.is_empty(), "progress beats the heart");
    progress.state = "failed".into();
    db.store().update_run(&progress).await.unwrap();
    db.plain(&old).await;
    assert!(claims(db.store()).await.is_empty(), "a finished run is not run again");
}

pub async fn progress_comes_back_as_it_was_stored(db: &dyn TestDb) {
    let id = claims(db.store()).await[0];
    let started_at_ms = db.store().job_run(id).await.unwrap().unwrap().started_at_ms;
    let run = JobRun {
        id,
        job: "rebuild".into(),
        state: "failed".into(),
        started_at_ms,
        finished_at_ms: Some(started_at_ms + 7),
        total: 10,
        done: 9,
        changed: 8,
        drift: 7,
        error: Some("the database cannot be reached".into()),
        verified_through_ms: None,
    };
    db.store().update_run(&run).await.unwrap();
    assert_eq!(db.store().job_run(id).await.unwrap(), Some(run));
    assert_eq!(db.store().job_run(Uuid::new_v4()).await.unwrap(), None);
}

pub async fn the_last_rebuild_that_was_done_says_what_is_verified(db: &dyn TestDb) {
    let store = db.store();
    let verified = async || store.observe(0).await.unwrap().verified_through_ms;
    assert_eq!(verified().await, None);
    let runs = [
        ("rebuild", "done", Some(3_001), Some(3_001)),
        ("rebuild", "failed", Some(9_000), Some(3_001)),
        ("requested_rebuild", "done", Some(9_000), Some(3_001)),
        ("rebuild", "running", None, Some(3_001)),
        ("full_rebuild", "done", Some(5_000), Some(5_000)),
        ("rebuild", "done", Some(4_000), Some(5_000)),
    ];
    for (tick, (job, state, verified_through_ms, expected)) in (0..).zip(runs) {
        let id = Uuid::new_v4();
        assert!(store.claim_run(id, job, tick, ABANDONED).await.unwrap());
        let run = JobRun { state: state.into(), verified_through_ms, ..store.job_run(id).await.unwrap().unwrap() };
        store.update_run(&run).await.unwrap();
        assert_eq!(store.job_run(id).await.unwrap(), Some(run));
        assert_eq!(verified().await, expected);
    }
}
