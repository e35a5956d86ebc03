//! Reads from real standbys: an answer is true as of the instant that the standby has replayed, and
//! a standby that fails is not asked for a while.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use facility_summary::{
    config::DatabaseSettings,
    domain::{facility::Facility, summary::Key},
    protocol::{Position, Watermark},
    store::{Store, StoreError, TableRead, postgres::PostgresStore},
};
use sqlx::{Connection, PgConnection};

use super::{
    TestDb,
    postgres_db::PostgresDb,
    setup::{facility, key, now_ms, refresh},
};
use crate::support::{
    plain_sql::number,
    postgres::{Postgres, fresh_database},
    wait_until,
};

/// A reader waits for a standby no longer than this.
const READ_TIMEOUT: Duration = Duration::from_millis(300);

/// A primary, its standby, and a store that reads from both.
struct Pair {
    db: PostgresDb,
    standby: Postgres,
    primary: Postgres,
}

impl Pair {
    async fn start() -> Pair {
        let primary = Postgres::start(&[]);
        let standby = primary.standby(&[]);
        let url = primary.fresh_database().await;
        let read_url = url.replace(host(primary.url()), host(standby.url()));
        let settings = DatabaseSettings {
            read_url,
            read_timeout_ms: READ_TIMEOUT.as_millis() as u64,
            min_connections: 0,
            max_connections: 4,
            acquire_timeout_ms: 2_000,
            ..DatabaseSettings::default()
        };
        let pair = Pair {
            db: PostgresDb::with(DatabaseSettings { url, ..settings }).await,
            standby,
            primary,
        };
        pair.prove(1_000).await;
        pair
    }

    fn store(&self) -> Arc<dyn Store> {
        self.db.store()
    }

    async fn prove(&self, at_ms: i64) {
        let epoch = self.store().drain_snapshot(0).await.unwrap().epoch;
        assert!(self.store().store_watermark(&watermark(at_ms), &epoch).await.unwrap());
    }

    /// The answer of the standby, once its watermark is this one.
    async fn replayed(&self, facility: &Facility, at_ms: i64) -> TableRead {
        wait_until("the replica has replayed", async || {
            let read = self.standby(facility).await;
            read.is_some_and(|read| read.watermark == Some(watermark(at_ms)))
        })
        .await;
        self.standby(facility).await.unwrap()
    }

    async fn standby(&self, facility: &Facility) -> Option<TableRead> {
        let today = facility.zone.today(now_ms(&self.db).await).date;
        self.store().summaries_on_standby(&[Key { facility_id: facility.id, date: today }]).await
    }
}

/// Runs a statement as the server's superuser.
async fn run(server: &Postgres, sql: &'static str) {
    let mut connection = PgConnection::connect(server.url()).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
}

const fn watermark(at_ms: i64) -> Watermark {
    Watermark { at_ms, position: Position { generation: 1, number: at_ms } }
}

/// The host and port of a URL.
fn host(url: &str) -> &str {
    url.rsplit_once('@')
        .and_then(|(_, rest)| rest.split_once('/'))
        .expect("a URL has a host and a path")
        .0
}

#[tokio::test]
async fn a_lagging_standby_answers_with_its_own_watermark_and_the_rows_of_that_instant() {
    let pair = Pair::start().await;
    let north = super::setup::facility(&pair.db, "UTC").await;
    let today = key(&north, now_ms(&pair.db).await, 0);
    let first = refresh(&pair.db, std::slice::from_ref(&today)).await;
    pair.prove(2_000).await;
    let read = pair.replayed(&north, 2_000).await;
    assert_eq!(
        (read.rows.as_slice(), &read.epoch),
        (first.as_slice(), &pair.store().drain_snapshot(0).await.unwrap().epoch)
    );

    run(&pair.standby, "SELECT pg_wal_replay_pause()").await;
    super::setup::request(&pair.db, &north, now_ms(&pair.db).await).await;
    let second = refresh(&pair.db, std::slice::from_ref(&today)).await;
    pair.prove(3_000).await;
    for _ in 0..20 {
        let standby = pair.standby(&north).await.expect("it answers");
        assert_eq!(
            (standby.rows.as_slice(), standby.watermark),
            (first.as_slice(), Some(watermark(2_000)))
        );
    }
    let primary = pair.store().summaries(&[today.id()]).await.unwrap();
    assert_eq!(
        (primary.rows.as_slice(), primary.watermark),
        (second.as_slice(), Some(watermark(3_000)))
    );
    run(&pair.standby, "SELECT pg_wal_replay_resume()").await;
    assert_eq!(pair.replayed(&north, 3_000).await.rows, second);
}

#[tokio::test]
async fn a_standby_at_another_epoch_says_so() {
    let pair = Pair::start().await;
    let north = facility(&pair.db, "UTC").await;
    pair.prove(2_000).await;
    let old = pair.replayed(&north, 2_000).await.epoch;
    run(&pair.standby, "SELECT pg_wal_replay_pause()").await;
    pair.store().begin_epoch(&old).await.unwrap();
    let new = pair.store().drain_snapshot(0).await.unwrap().epoch;
    assert_eq!(pair.standby(&north).await.unwrap().epoch, old);
    run(&pair.standby, "SELECT pg_wal_replay_resume()").await;
    wait_until("the new epoch arrives, without a watermark", async || {
        pair.standby(&north)
            .await
            .is_some_and(|read| (read.epoch, read.watermark) == (new.clone(), None))
    })
    .await;
}

#[tokio::test]
async fn a_standby_that_is_down_or_hangs_costs_few_readers_a_timeout_and_is_used_again_later() {
    let pair = Pair::start().await;
    let north = facility(&pair.db, "UTC").await;
    pair.prove(2_000).await;
    pair.replayed(&north, 2_000).await;
    for (fail, mend) in [
        (Postgres::freeze as fn(&Postgres), Postgres::thaw as fn(&Postgres)),
        (Postgres::stop, Postgres::start_again),
    ] {
        fail(&pair.standby);
        let (started, mut slow, mut reads) = (Instant::now(), 0, 0);
        while started.elapsed() < Duration::from_millis(2_500) {
            let asked = Instant::now();
            assert_eq!(pair.standby(&north).await, None);
            assert!(
                asked.elapsed() < READ_TIMEOUT + Duration::from_millis(500),
                "{:?}",
                asked.elapsed()
            );
            (slow, reads) = (slow + usize::from(asked.elapsed() > READ_TIMEOUT / 2), reads + 1);
            tokio::task::yield_now().await;
        }
        assert!(slow <= 3 && reads > 100, "{slow} of {reads} reads were slow");
        mend(&pair.standby);
        pair.replayed(&north, 2_000).await;
    }
}

#[tokio::test]
async fn of_many_readers_only_one_tries_a_standby_that_failed() {
    let pair = Pair::start().await;
    let north = facility(&pair.db, "UTC").await;
    pair.prove(2_000).await;
    pair.replayed(&north, 2_000).await;
    pair.standby.freeze();
    assert_eq!(pair.standby(&north).await, None);
    let failed = Instant::now();
    wait_until("the standby is tried again", async || {
        let asked = Instant::now();
        let readers = (0..50).map(|_| async {
            pair.store().summaries_on_standby(&[]).await;
            asked.elapsed() > READ_TIMEOUT / 2
        });
        let waited = futures_util::future::join_all(readers)
            .await
            .into_iter()
            .filter(|waited| *waited)
            .count();
        assert!(waited <= 1, "{waited} readers waited");
        waited == 1
    })
    .await;
    assert!(failed.elapsed() > Duration::from_millis(900), "{:?}", failed.elapsed());
    pair.standby.thaw();
}

#[tokio::test]
async fn while_one_of_two_standbys_is_down_the_other_answers() {
    let url = fresh_database().await;
    let down = url.replace(host(&url), "127.0.0.1:1");
    // Any server may be in the list. The primary serves as well as a standby.
    let settings = DatabaseSettings {
        read_url: format!("{down}, {url}"),
        url,
        min_connections: 0,
        ..DatabaseSettings::default()
    };
    let store = PostgresStore::open(&settings, None).await.unwrap();
    let (started, mut answers, mut gaps) = (Instant::now(), 0, 0);
    while started.elapsed() < Duration::from_millis(2_500) {
        match store.summaries_on_standby(&[]).await {
            Some(_) => answers += 1,
            None => gaps += 1,
        }
    }
    assert!(
        answers > 100 && gaps <= 3,
        "the primary had to answer {gaps} readers, the servers of the list {answers}"
    );
    store.close().await;
}

#[tokio::test]
async fn a_promoted_standby_is_at_another_epoch_and_the_watermark_before_does_not_count() {
    let pair = Pair::start().await;
    let north = facility(&pair.db, "UTC").await;
    pair.prove(2_000).await;
    let old = pair.replayed(&north, 2_000).await.epoch;
    pair.primary.crash();
    pair.standby.promote();
    // This is a host name that always leads to the current primary.
    wait_until("the promoted standby is known as the primary", async || {
        pair.store()
            .summaries_on_standby(&[])
            .await
            .is_some_and(|read| read.epoch != old && read.watermark.is_none())
    })
    .await;
}

#[tokio::test]
async fn a_demoted_server_is_unavailable_and_says_so_until_it_is_promoted() {
    let primary = Postgres::start(&[]);
    let url = primary.fresh_database().await;
    let settings = DatabaseSettings {
        url,
        min_connections: 0,
        max_connections: 2,
        acquire_timeout_ms: 700,
        ..DatabaseSettings::default()
    };
    let db = PostgresDb::with(settings.clone()).await;
    let store = db.store();
    store.drain_snapshot(1).await.unwrap();
    primary.demote();
    for _ in 0..3 {
        let began = store.begin(Duration::from_secs(1)).await.map(drop);
        let errors = [
            store.drain_snapshot(1).await.map(drop),
            store.summaries(&[]).await.map(drop),
            store.now_ms().await.map(drop),
            began,
        ]
        .map(Result::unwrap_err);
        assert!(
            errors.iter().all(|error| matches!(error, StoreError::Unavailable(_))),
            "{errors:?}"
        );
    }
    let words = "is a standby (it is in recovery) and should be the primary";
    let seen = store.drain_snapshot(1).await.unwrap_err().to_string();
    assert!(seen.contains(words), "{seen}");
    let started = PostgresStore::open(&settings, None).await.err().unwrap().to_string();
    assert!(started.contains(words), "{started}");
    primary.promote();
    wait_until("the server is used again", async || store.drain_snapshot(1).await.is_ok()).await;
    store.summaries(&[]).await.unwrap();
    let begun = store.begin(Duration::from_secs(1)).await.unwrap();
    begun.commit().await.unwrap();
}

#[tokio::test]
async fn a_write_to_a_standby_is_refused_as_unavailable() {
    let primary = Postgres::start(&[]);
    let standby = primary.standby(&[]);
    let mut connection = PgConnection::connect(standby.url()).await.unwrap();
    let error = sqlx::query("CREATE TABLE anything ()").execute(&mut connection).await.unwrap_err();
    assert!(matches!(StoreError::from(error), StoreError::Unavailable(_)));
}

/// The statement that makes the function with which a server tells its timeline.
fn timeline_function() -> &'static str {
    let migration = include_str!("../../../migrations/postgres/0014_adoption.sql");
    let begin = migration.find("CREATE FUNCTION server_timeline").expect("it is made there");
    let (function, _) = migration[begin..].split_once("CREATE OR REPLACE").expect("it has an end");
    function
}

/// The store asks this about a commit whose answer was lost. By then a host name that leads to the
/// primary leads to the promoted standby.
#[tokio::test]
async fn a_promoted_standby_does_not_mistake_another_transaction_for_a_lost_one() {
    let primary = Postgres::start(&[]);
    let standby = primary.standby(&[]);
    run(&primary, timeline_function()).await;
    run(&primary, "CREATE TABLE work (who text)").await;
    wait_until("the standby has it", async || {
        number(standby.url(), "SELECT count(*) FROM pg_class WHERE relname = 'work'").await == 1
    })
    .await;
    standby.freeze();
    run(&primary, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication").await;
    wait_until("the standby is cut off", async || {
        number(primary.url(), "SELECT count(*) FROM pg_stat_replication").await == 0
    })
    .await;
    let ours = "WITH work AS (INSERT INTO work VALUES ('we') RETURNING pg_current_xact_id() AS \
                number)
                SELECT number::text, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, \
                left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM work";
    let mut connection = PgConnection::connect(primary.url()).await.unwrap();
    let (transaction, at_ms, timeline): (String, i64, String) =
        sqlx::query_as(ours).fetch_one(&mut connection).await.unwrap();
    primary.crash();
    standby.thaw();
    standby.promote();
    let mut connection = PgConnection::connect(standby.url()).await.unwrap();
    let status = include_str!("../../../sql/postgres/commit_status.sql");
    wait_until("another transaction has its number", async || {
        sqlx::query("INSERT INTO work VALUES ('another')").execute(&mut connection).await.unwrap();
        let asked: sqlx::Result<(Option<String>, bool)> = sqlx::query_as(status)
            .bind(&transaction)
            .bind(at_ms)
            .bind(&timeline)
            .fetch_one(&mut connection)
            .await;
        match asked {
            Ok((status, is_ours)) => {
                assert_eq!((status.as_deref(), is_ours), (Some("committed"), false));
                true
            }
            Err(error) => {
                let code = error
                    .as_database_error()
                    .and_then(|error| error.code())
                    .map(|code| code.into_owned());
                assert_eq!(
                    code.as_deref(),
                    Some("22023"),
                    "the server has given this number to no transaction yet: {error}"
                );
                false
            }
        }
    })
    .await;
    assert_eq!(number(standby.url(), "SELECT count(*) FROM work WHERE who = 'we'").await, 0);
}
