//! Several servers on one database: they migrate it once, and one of them leads.

use facility_summary::{
    config::DatabaseSettings,
    store::{Store, postgres::PostgresStore},
};
use futures_util::future::join_all;

use super::{TestDb, postgres_db::PostgresDb};
use crate::support::{postgres::fresh_database, wait_until};

async fn settings() -> DatabaseSettings {
    DatabaseSettings {
        url: fresh_database().await,
        min_connections: 0,
        max_connections: 2,
        ..DatabaseSettings::default()
    }
}

#[tokio::test]
async fn several_that_start_at_once_on_an_empty_database_migrate_it_once() {
    let settings = settings().await;
    let started = join_all((0..6).map(|_| PostgresStore::open(&settings, None))).await;
    let mut epochs = Vec::new();
    for store in started {
        let store = store.unwrap();
        epochs.push(store.drain_snapshot(0).await.unwrap().epoch);
        store.close().await;
    }
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "one salt: {epochs:?}");
    let db = PostgresDb::with(settings).await;
    let migrations = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres"))
        .unwrap()
        .count();
    assert_eq!(
        db.number("SELECT count(*) FROM _sqlx_migrations WHERE success").await,
        migrations as i64
    );
}

#[tokio::test]
async fn installations_in_two_schemas_of_a_database_each_have_their_leader() {
    let one = settings().await;
    for (schema, other) in [("public", "facility_summary"), ("facility_summary", "mapped")] {
        let in_schema =
            |name: &str| DatabaseSettings { schema: Some(name.to_owned()), ..one.clone() };
        let first = PostgresStore::open(&in_schema(schema), None).await.unwrap();
        let second = PostgresStore::open(&in_schema(other), None).await.unwrap();
        for store in [&first, &second] {
            let seen = store.drain_snapshot(0).await.unwrap();
            assert!(seen.leads, "{schema} and {other}");
            assert_eq!(seen.servers, 1, "{schema} and {other}");
        }
        first.close().await;
        second.close().await;
    }
}

#[tokio::test]
async fn one_of_several_servers_leads_and_another_takes_over() {
    let settings = settings().await;
    let (db, second, third) = (
        PostgresDb::with(settings.clone()).await,
        PostgresStore::open(&settings, None).await.unwrap(),
        PostgresStore::open(&settings, None).await.unwrap(),
    );
    let first = db.store();
    for _ in 0..3 {
        let leads = [
            first.drain_snapshot(0).await,
            second.drain_snapshot(0).await,
            third.drain_snapshot(0).await,
        ]
        .map(|seen| seen.unwrap().leads);
        assert_eq!(leads, [true, false, false]);
    }
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid <= 4 \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(db.number(locks).await, 4, "three locks say who serves, and one says who leads");

    // The connection of the leader is cut, and its lock ends with it.
    let holder = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = \
                  'advisory' AND objid = 2 AND database = (SELECT oid FROM \
                  pg_database WHERE datname = current_database())";
    assert_eq!(db.number(holder).await, 1);
    wait_until("another leads", async || second.drain_snapshot(0).await.unwrap().leads).await;
    first.drain_snapshot(0).await.unwrap_err();
    let again = first.drain_snapshot(0).await.unwrap();
    assert!(again.arrived && !again.leads);
    second.close().await;
    wait_until("the next leads", async || third.drain_snapshot(0).await.unwrap().leads).await;
    assert!(!first.drain_snapshot(0).await.unwrap().leads);
    third.close().await;
    first.close().await;
}

#[tokio::test]
async fn a_user_without_special_rights_can_tell_the_epoch() {
    let db = PostgresDb::open().await;
    let plain = format!("plain_{}", uuid::Uuid::new_v4().simple());
    db.plain(&format!(
        "CREATE ROLE {plain}; GRANT USAGE ON SCHEMA facility_summary TO {plain}; GRANT SELECT ON \
        ALL TABLES IN SCHEMA facility_summary TO {plain}; SET ROLE \
         {plain}"
    ))
    .await;
    assert_eq!(db.number("SELECT count(fleet_epoch(salt)) FROM fleet").await, 1);
    db.plain(&format!("RESET ROLE; DROP OWNED BY {plain}; DROP ROLE {plain}")).await;
    db.store().close().await;
}
