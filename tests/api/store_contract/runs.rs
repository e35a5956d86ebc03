//! Each scheduled tick runs once, no two runs are in progress at the same time, and a run that was
//! abandoned or given back is taken up again.

use std::{sync::Arc, time::Duration};

use facility_summary::store::{JobRun, Store};
use uuid::Uuid;

use super::TestDb;

const ABANDONED: Duration = Duration::from_secs(60);
const APART: [&str; 2] = ["rebuild", "full_rebuild"];

async fn enqueue(db: &dyn TestDb, job: &str, tick_ms: i64) -> Uuid {
    let run = Uuid::new_v4();
    assert!(
        db.store().enqueue_run(run, job, tick_ms).await.unwrap(),
        "{job} at {tick_ms} is not there yet"
    );
    run
}

async fn take(db: &dyn TestDb) -> Option<JobRun> {
    db.store().take_run(&APART, &APART, None, ABANDONED).await.unwrap()
}

/// The answers to sixteen concurrent callers.
async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    db: &dyn TestDb,
    call: fn(Arc<dyn Store>) -> F,
) -> Vec<T> {
    let callers: Vec<_> = (0..16).map(|_| tokio::spawn(call(db.store()))).collect();
    let mut answers = Vec::new();
    for caller in callers {
        answers.push(caller.await.unwrap());
    }
    answers
}

async fn taken_at_once(db: &dyn TestDb) -> Vec<JobRun> {
    let taken = at_once(db, |store| async move {
        store.take_run(&APART, &APART, None, ABANDONED).await.unwrap()
    })
    .await;
    taken.into_iter().flatten().collect()
}

async fn stop_all_hearts(db: &dyn TestDb) {
    db.plain(&format!("UPDATE job_runs SET heartbeat_at = {}", db.at(1_000))).await;
}

async fn state(db: &dyn TestDb, run: Uuid) -> String {
    db.store().job_run(run).await.unwrap().unwrap().state
}

pub async fn a_tick_is_queued_once_by_many_at_once(db: &dyn TestDb) {
    let won = at_once(db, |store| async move {
        store.enqueue_run(Uuid::new_v4(), "rebuild", 5_000).await.unwrap()
    })
    .await;
    assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
    assert!(
        !db.store().enqueue_run(Uuid::new_v4(), "rebuild", 4_000).await.unwrap(),
        "an earlier tick is not queued after a later one"
    );
    enqueue(db, "rebuild", 6_000).await;
    enqueue(db, "full_rebuild", 5_000).await;
}

pub async fn a_tick_of_a_clock_that_was_ahead_does_not_stop_the_schedule(db: &dyn TestDb) {
    let in_a_year_ms = db.store().now_ms().await.unwrap() + 365 * 86_400_000;
    enqueue(db, "rebuild", in_a_year_ms).await;
    enqueue(db, "rebuild", 5_000).await;
    assert!(!db.store().enqueue_run(Uuid::new_v4(), "rebuild", in_a_year_ms).await.unwrap());
}

pub async fn a_run_is_taken_by_exactly_one_caller_and_no_other_run_begins(db: &dyn TestDb) {
    assert!(taken_at_once(db).await.is_empty(), "no run is waiting");
    let (first, second) =
        (enqueue(db, "rebuild", 5_000).await, enqueue(db, "full_rebuild", 6_000).await);
    let taken = taken_at_once(db).await;
    assert_eq!(
        taken.iter().map(|run| (run.id, run.state.as_str())).collect::<Vec<_>>(),
        [(first, "running")]
    );
    let done = JobRun {
        state: "done".into(),
        finished_at_ms: Some(taken[0].started_at_ms),
        ..taken[0].clone()
    };
    assert!(db.store().update_run(&done).await.unwrap());
    let taken = taken_at_once(db).await;
    assert_eq!(
        taken.iter().map(|run| run.id).collect::<Vec<_>>(),
        [second],
        "the run with the next tick is taken"
    );
}

pub async fn an_abandoned_run_is_taken_over_by_exactly_one_caller_and_the_first_loses_it(
    db: &dyn TestDb,
) {
    let id = enqueue(db, "rebuild", 5_000).await;
    let first = JobRun { done: 5, ..take(db).await.unwrap() };
    assert!(db.store().update_run(&first).await.unwrap());
    assert!(taken_at_once(db).await.is_empty(), "a run with a recent heartbeat is not taken");
    stop_all_hearts(db).await;
    let taken = taken_at_once(db).await;
    assert_eq!(taken.iter().map(|run| (run.id, run.done)).collect::<Vec<_>>(), [(id, 0)]);
    assert!(!db.store().beat_run(&first).await.unwrap(), "the run belongs to another attempt now");
    assert!(!db.store().update_run(&JobRun { state: "done".into(), ..first }).await.unwrap());
    assert!(db.store().beat_run(&taken[0]).await.unwrap());
    assert_eq!(state(db, id).await, "running");
}

pub async fn a_run_that_is_alive_or_ended_is_left_alone(db: &dyn TestDb) {
    enqueue(db, "rebuild", 5_000).await;
    let run = take(db).await.unwrap();
    stop_all_hearts(db).await;
    assert!(db.store().beat_run(&run).await.unwrap());
    assert!(taken_at_once(db).await.is_empty(), "after another heartbeat the run is not taken");
    assert!(
        db.store().update_run(&JobRun { state: "failed".into(), ..run.clone() }).await.unwrap()
    );
    stop_all_hearts(db).await;
    assert!(taken_at_once(db).await.is_empty(), "a run that has ended is not taken again");
    assert!(!db.store().update_run(&run).await.unwrap(), "a run that has ended is not updated");
}

pub async fn a_run_that_is_given_back_is_taken_up_at_once(db: &dyn TestDb) {
    let id = enqueue(db, "rebuild", 5_000).await;
    let run = take(db).await.unwrap();
    assert!(db.store().update_run(&JobRun { state: "waiting".into(), ..run }).await.unwrap());
    assert_eq!(taken_at_once(db).await.iter().map(|run| run.id).collect::<Vec<_>>(), [id]);
}

pub async fn earlier_ticks_that_no_server_carries_out_are_given_up(db: &dyn TestDb) {
    let store = db.store();
    let command = enqueue(db, "command", 1).await;
    let dead = enqueue(db, "rebuild", 5_000).await;
    take(db).await.unwrap();
    stop_all_hearts(db).await;
    let skipped = enqueue(db, "rebuild", 6_000).await;
    let asked_for = enqueue(db, "full_rebuild", 1).await;
    let due = enqueue(db, "rebuild", 7_000).await;
    store.give_up_runs("rebuild", 7_000, "command", ABANDONED).await.unwrap();
    for (run, expected, error) in [
        (command, "failed", Some("skipped")),
        (dead, "failed", Some("abandoned")),
        (skipped, "failed", Some("skipped")),
        (asked_for, "waiting", None),
        (due, "waiting", None),
    ] {
        let run = store.job_run(run).await.unwrap().unwrap();
        assert_eq!((run.state.as_str(), run.error.as_deref()), (expected, error), "{run:?}");
        assert_eq!(run.finished_at_ms.is_some(), expected == "failed");
    }
    let alive = take(db).await.unwrap();
    store.give_up_runs("rebuild", 8_000, "command", ABANDONED).await.unwrap();
    assert_eq!(state(db, alive.id).await, "running", "a run with a heartbeat is not ended");
}

pub async fn a_command_takes_up_its_own_run_only(db: &dyn TestDb) {
    let (mine, other) = (enqueue(db, "command", 1).await, enqueue(db, "command", 2).await);
    let store = db.store();
    let apart = ["command", "rebuild"];
    assert!(take(db).await.is_none(), "no server takes a run of a command");
    let taken =
        store.take_run(&apart, &["command"], Some(other), ABANDONED).await.unwrap().unwrap();
    assert_eq!(taken.id, other);
    assert!(
        store.take_run(&apart, &["command"], Some(mine), ABANDONED).await.unwrap().is_none(),
        "a second run is not taken at the same time"
    );
    assert!(store.waiting_run("command").await.unwrap().is_some_and(|run| run.id == mine));
    assert!(store.waiting_run("rebuild").await.unwrap().is_none());
}

pub async fn progress_comes_back_as_it_was_stored(db: &dyn TestDb) {
    let id = enqueue(db, "rebuild", 5_000).await;
    let started_at_ms = take(db).await.unwrap().started_at_ms;
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
    assert!(db.store().update_run(&run).await.unwrap());
    assert_eq!(db.store().job_run(id).await.unwrap(), Some(run));
    assert_eq!(db.store().job_run(Uuid::new_v4()).await.unwrap(), None);
}

pub async fn the_last_rebuild_that_was_done_says_what_is_verified(db: &dyn TestDb) {
    let store = db.store();
    let verified = async || store.drain_snapshot(0).await.unwrap().verified_through_ms;
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
        assert!(store.enqueue_run(id, job, tick).await.unwrap());
        let run = JobRun {
            state: state.into(),
            verified_through_ms,
            ..store.job_run(id).await.unwrap().unwrap()
        };
        store.update_run(&run).await.unwrap();
        assert_eq!(store.job_run(id).await.unwrap(), Some(run));
        assert_eq!(verified().await, expected);
    }
}
