//! Tests of the parts that the other tests rely on.

use std::time::Duration;

use deadpool_redis::redis::cmd;
use jiff::Timestamp;
use sqlx::{Connection, PgConnection};

use crate::support::{
    faketime::FakeClock,
    postgres::{Postgres, fresh_database},
    redis::Redis,
    wait_until_within,
};

async fn setting(connection: &mut PgConnection, name: &'static str) -> String {
    sqlx::query_scalar("SELECT current_setting($1)")
        .bind(name)
        .fetch_one(connection)
        .await
        .expect("a setting can be read")
}

#[tokio::test]
async fn each_test_gets_a_database_of_its_own() {
    let (one, other) = (fresh_database().await, fresh_database().await);
    assert_ne!(one, other);
    let mut connection = PgConnection::connect(&one).await.expect("it exists");
    assert_eq!(setting(&mut connection, "fsync").await, "off");
}

#[tokio::test]
async fn a_private_postgres_has_its_own_settings_survives_a_crash_and_goes_on_drop() {
    let postgres = Postgres::start(&["fsync=on", "max_connections=20"]);
    let database = postgres.fresh_database().await;
    let mut connection = PgConnection::connect(&database).await.expect("it accepts connections");
    assert_eq!(setting(&mut connection, "fsync").await, "on");
    assert_eq!(setting(&mut connection, "max_connections").await, "20");

    postgres.crash();
    PgConnection::connect(&database).await.expect_err("nothing listens");
    postgres.start_again();
    PgConnection::connect(&database).await.expect("same data, same port");

    drop(postgres);
    PgConnection::connect(&database).await.expect_err("it is gone");
}

#[tokio::test]
async fn a_frozen_server_takes_connections_and_answers_only_once_it_is_thawed() {
    let postgres = Postgres::start(&[]);
    postgres.freeze();
    let asked =
        tokio::time::timeout(Duration::from_millis(200), PgConnection::connect(postgres.url()))
            .await;
    assert!(asked.is_err(), "a server that hangs has answered or refused");
    postgres.thaw();
    PgConnection::connect(postgres.url()).await.expect("it answers again");
}

/// A helper that waits for any answer on its port could take another test's server for its own, for
/// example a node of a cluster, or a server that is about to be frozen.
#[tokio::test]
async fn a_private_redis_is_never_another_tests_server_on_the_same_port() {
    let first = Redis::start();
    let port = first
        .url()
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok())
        .expect("a URL ends with a port");
    let second = Redis::start_at(port);
    assert_ne!(first.url(), second.url());
    second.tell("SET mine 1").await;
    assert_eq!(first.ask::<i64>(cmd("EXISTS").arg("mine")).await, 0);
}

#[tokio::test]
async fn a_clock_can_be_set_under_a_running_server() {
    let new_year: Timestamp = "2030-12-31T23:59:50Z".parse().expect("a timestamp");
    let clock = FakeClock::at(new_year);
    let postgres = Postgres::start_in_environment(&[], &clock.environment());
    let mut connection =
        PgConnection::connect(postgres.url()).await.expect("it accepts connections");
    let year = "SELECT extract(year FROM now() - interval '1 minute')::int";
    let before: i32 =
        sqlx::query_scalar(year).fetch_one(&mut connection).await.expect("it tells the time");
    clock.set(new_year + jiff::Span::new().minutes(5));
    let after: i32 =
        sqlx::query_scalar(year).fetch_one(&mut connection).await.expect("it tells the time");
    assert_eq!((before, after), (2030, 2031));
}

#[tokio::test]
#[should_panic(expected = "tests/api/harness.rs")]
async fn a_wait_that_fails_names_its_caller() {
    wait_until_within(Duration::ZERO, "pigs fly", async || false).await;
}
