//! Tests of a pass, on a real database.

use sqlx::{Connection, SqliteConnection};

use super::*;
use crate::{config::DatabaseSettings, protocol::Position};

async fn drain(url: &str) -> Arc<Drain> {
    let settings = DatabaseSettings { url: url.to_owned(), ..Default::default() };
    let store = store::open(&settings, None).await.unwrap();
    let memory = Arc::new(Memory::new(1 << 20, 16, Position { generation: 1, number: 0 }));
    let directory = Arc::new(Directory::new(memory.clone(), false));
    let served = directory.served().clone();
    let changes = Arc::new(Changes::new(memory.clone(), served, None, false));
    let (clock, outage): (Arc<Clock>, Arc<Outage>) = (Arc::new(Clock::new()), Arc::default());
    let metrics = Arc::new(Metrics::new().unwrap());
    let refresher = Arc::new(Refresher {
        store: store.clone(),
        directory: directory.clone(),
        changes: changes.clone(),
        clock: clock.clone(),
        outage: outage.clone(),
        metrics: metrics.clone(),
        lock_timeout: Duration::from_secs(60),
        waiting: LogThrottle::default(),
        verify_differences: true,
    });
    Arc::new(Drain {
        store,
        refresher,
        changes,
        directory,
        memory,
        clock,
        outage,
        metrics,
        batch: 100,
        chunk: 8,
        leads: Arc::default(),
        begun: AtomicI64::default(),
        stop: CancellationToken::new(),
        throttle: LogThrottle::default(),
        watch: TriggerWatch::default(),
        are_unwatched: Arc::default(),
        tracker: tokio::sync::Mutex::default(),
        start: FirstPass::default(),
        failing: Failing::default(),
        tries: Tries::default(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_proves_nothing_if_everything_was_dropped_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    let drain = drain(&url).await;
    assert_eq!(drain.run_passes().await.unwrap(), Pass::Proven);
    let mut sql = SqliteConnection::connect(&url).await.unwrap();
    let write = "INSERT INTO facilities (id, name, timezone) VALUES (randomblob(16), '', 'UTC')";
    sqlx::raw_sql(write).execute(&mut sql).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut sql).await.unwrap();
    drain.metrics.marks_visible.set(0);
    let pass = tokio::spawn({
        let drain = drain.clone();
        async move { drain.run_pass().await }
    });
    while drain.metrics.marks_visible.get() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The pass waits for the lock. As when a row is read that is older than a known version.
    drain.changes.start_over();
    sqlx::raw_sql("COMMIT").execute(&mut sql).await.unwrap();
    assert_eq!(pass.await.unwrap().unwrap(), Pass::More);
    assert_eq!(drain.memory.table_ms(), i64::MIN, "the first snapshot was before the drop");
    assert_eq!(drain.run_passes().await.unwrap(), Pass::Proven);
    assert!(drain.memory.table_ms() > i64::MIN);
}
