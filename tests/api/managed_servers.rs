//! Postgres as a managed server: a role without superuser, limits on connections, and functions of
//! the server that are refused. The service goes on with less, and says what is lost.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    server_settings::owned,
    steps::{Scrape, get},
    support::{
        Service,
        outside::Outside,
        plain_sql,
        postgres::Postgres,
        service::Launch,
        site::{Site, a_zone_at_noon, acknowledged, audited, metric},
        wait_until,
    },
};

/// The functions that some managed servers refuse. Most refuse them in words of their own; that the
/// right is missing has the same effect.
pub const REFUSED: &str = "pg_current_wal_lsn(), pg_walfile_name(pg_lsn), pg_control_system(), \
                       pg_control_checkpoint(), pg_control_init(), pg_control_recovery(), \
                       pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), \
                       pg_last_xact_replay_timestamp(), pg_current_wal_insert_lsn(), \
                       pg_current_wal_flush_lsn()";

/// What `/health/ready` says of the database.
async fn database(service: &Service) -> Value {
    let ready = get(service, "/health/ready").await;
    assert_eq!(ready["status"], "ready", "{ready}");
    ready["dependencies"][0].clone()
}

/// The words of readiness about what the service does without.
async fn limits(service: &Service) -> Vec<String> {
    let database = database(service).await;
    assert_eq!((&database["name"], &database["state"]), (&json!("postgres"), &json!("up")));
    let limits = database["limits"].as_array().cloned().unwrap_or_default();
    limits.iter().map(|words| words.as_str().expect("words").to_owned()).collect()
}

#[tokio::test]
async fn a_server_that_refuses_to_tell_its_history_is_served_and_it_is_said_what_is_lost() {
    let (launch, mut sql, _) = owned().await;
    sql.run(format!("REVOKE EXECUTE ON FUNCTION {REFUSED} FROM PUBLIC")).await;
    let service = launch.start().await;
    let said = limits(&service).await;
    assert_eq!(said.len(), 2, "{said:?}");
    for (words, function) in said.iter().zip(["pg_current_wal_lsn()", "pg_control_system()"]) {
        assert!(words.contains(function), "{words}");
        assert_eq!(service.logged(words).len(), 1, "{words}");
    }
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    acknowledged(&service, &site.stock(Uuid::new_v4(), 5)).await;
    sql.run(format!(
        "INSERT INTO facility_summary.blood_requests (id, facility_id) VALUES \
         (gen_random_uuid(), '{}')",
        site.facility
    ))
    .await;
    site.shows(&service, (5, 0, 1)).await;
    audited(service.launch()).await;
    // A replica of the same database is in the same epoch, and nothing is dropped.
    let (_, launch) = service.terminate().await;
    let service = launch.start().await;
    site.shows(&service, (5, 0, 1)).await;
    assert_eq!(limits(&service).await.len(), 2);
    assert_eq!(metric(&service, "epochs_total").await, 0.0);

    // Where the server answers again, a start finds it.
    let (_, launch) = service.terminate().await;
    sql.run(format!("GRANT EXECUTE ON FUNCTION {REFUSED} TO PUBLIC")).await;
    let service = launch.start().await;
    assert!(limits(&service).await.is_empty());
    let timeline = "SELECT (facility_summary.server_timeline() = left(pg_walfile_name(\
                    pg_current_wal_lsn()), 8))::int::bigint";
    assert_eq!(sql.number(timeline).await, 1);
    acknowledged(&service, &site.stock(Uuid::new_v4(), 2)).await;
    site.shows(&service, (7, 0, 1)).await;
}

/// The epoch that a server says it is in; empty at a standby.
async fn epoch(url: &str) -> String {
    let epoch = "SELECT coalesce(facility_summary.fleet_epoch(salt), '') FROM \
                 facility_summary.fleet";
    plain_sql::texts(url, epoch).await.remove(0)
}

#[tokio::test]
async fn a_failover_begins_another_epoch_also_where_the_timeline_is_refused() {
    let primary = Postgres::start(&[]);
    let standby = primary.standby(&[]);
    let url = primary.fresh_database().await;
    let mut sql = Outside::connect(&url).await;
    let role = "managed";
    let database = url.rsplit('/').next().expect("a path");
    sql.run(format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'postgres'; ALTER DATABASE {database} OWNER TO {role}; \
         REVOKE EXECUTE ON FUNCTION {REFUSED} FROM PUBLIC"
    ))
    .await;
    let owner = url.replacen("postgres:postgres@", &format!("{role}:postgres@"), 1);
    let service = Service::on(&owner).start().await;
    let before = epoch(&url).await;
    drop(service);
    primary.crash();
    primary.start_again();
    let after_crash = epoch(&url).await;
    assert_ne!(after_crash, before, "a server that crashed may have lost something");
    let there = url.replace(address(&primary), address(&standby));
    wait_until("the standby has the epoch's function", async || {
        plain_sql::number(&there, "SELECT count(*) FROM pg_proc WHERE proname = 'server_timeline'")
            .await
            == 1
    })
    .await;
    assert_eq!(epoch(&there).await, "");
    standby.promote();
    let promoted = epoch(&there).await;
    assert!(![before, after_crash, String::new()].contains(&promoted), "{promoted}");
}

/// The host and port of a server.
fn address(server: &Postgres) -> &str {
    let (_, rest) = server.url().split_once('@').expect("a user");
    rest.split_once('/').expect("a path").0
}

/// A service whose role may have so many connections, with a pool of `min` to `max`.
async fn limited(limit: u32, min: u32, max: u32) -> Launch {
    let (launch, mut sql, role) = owned().await;
    sql.run(format!("ALTER ROLE {role} CONNECTION LIMIT {limit}")).await;
    launch
        .env("FACILITY_SUMMARY__DATABASE__MIN_CONNECTIONS", min)
        .env("FACILITY_SUMMARY__DATABASE__MAX_CONNECTIONS", max)
        .env("FACILITY_SUMMARY__DATABASE__ACQUIRE_TIMEOUT_MS", 2_000)
}

/// Serves with a pool of up to 4 connections under load, and asserts how many there are in all.
async fn serves_with(limit: u32, connections: i64) -> Vec<String> {
    let service = limited(limit, 4, 4).await.start().await;
    let (_, rest) = service.database_url().split_once('@').expect("a user");
    let mut sql = Outside::connect(&format!("postgres://postgres:postgres@{rest}")).await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let events = (0..40).map(|_| async {
        acknowledged(&service, &site.stock(Uuid::new_v4(), 1)).await;
    });
    futures_util::future::join_all(events).await;
    site.shows(&service, (40, 0, 0)).await;
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = \
                 'facility-summary' AND datname = current_database()";
    assert_eq!(sql.number(count).await, connections);
    let failed = Scrape::of(&service).await.sum("job_runs_total", &[("outcome", "failed")]);
    assert_eq!(failed, 0.0);
    let said = limits(&service).await;
    for words in &said {
        assert_eq!(service.logged(words).len(), 1, "{words}");
    }
    said
}

#[tokio::test]
async fn a_server_opens_two_connections_beside_its_pool_and_no_more() {
    assert!(serves_with(6, 6).await.is_empty());
}

#[tokio::test]
async fn where_one_connection_is_too_few_the_pool_is_smaller_and_that_is_said() {
    let said = serves_with(5, 5).await;
    assert_eq!(said.len(), 1, "{said:?}");
    for words in ["may have 5 connections, so the pool has 3 and not 4", "CONNECTION LIMIT"] {
        assert!(said[0].contains(words), "{words:?} is not in: {said:?}");
    }
}

#[tokio::test]
async fn a_limit_that_no_pool_fits_stops_the_start_with_the_number_that_is_needed() {
    let exited = limited(3, 4, 4).await.run(&["serve"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    for words in ["may have 3 connections", "at least 4", "CONNECTION LIMIT"] {
        assert!(exited.output.contains(words), "{words:?} is not in: {}", exited.output);
    }
}

/// Another server with the role may have taken what the limit grants.
#[tokio::test]
async fn connections_that_others_have_taken_are_named_where_a_start_lacks_them() {
    let launch = limited(6, 4, 4).await;
    let other = launch.clone().start().await;
    let exited = launch.run(&["serve"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    for words in ["too many connections", "database.max_connections + 2", "CONNECTION LIMIT"] {
        assert!(exited.output.contains(words), "{words:?} is not in: {}", exited.output);
    }
    database(&other).await;
}
