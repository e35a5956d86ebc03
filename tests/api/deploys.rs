//! A service that is told to stop first reports that it is not ready, then answers the requests
//! that it took, and leaves nothing behind.

use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use serde_json::Value;
use uuid::Uuid;

use crate::support::{
    Service,
    outside::Outside,
    postgres::Postgres,
    service::Launch,
    site::{Site, a_zone_at_noon, acknowledged},
    wait_until,
};

const DRAINING: &str = "not ready any more, and still answering";
const STOPPING: &str = "stopping";
const NO_REQUEST_LEFT: &str =
    "no request is left; events that were taken are committed, and then jobs end";

/// Connections of the service that wait for a lock of another program.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'facility-summary' AND wait_event_type = 'Lock' AND datname = \
                       current_database()";

/// A service that waits long for locks, so that a test can keep a request in flight.
fn patient(launch: Launch) -> Launch {
    launch.env("FACILITY_SUMMARY__INGEST__LOCK_TIMEOUT_MS", 60_000)
}

/// An event that waits for a facility's lock, and the connection that holds this lock.
async fn event_in_flight(
    service: &Service,
    site: Site,
) -> (tokio::task::JoinHandle<reqwest::Result<reqwest::Response>>, Outside) {
    let mut holder = Outside::connect(service.database_url()).await;
    holder
        .run(format!(
            "BEGIN; SELECT 1 FROM facility_state WHERE facility_id = {} FOR UPDATE",
            holder.id(site.facility)
        ))
        .await;
    let posting = tokio::spawn(
        service.request(Method::POST, "/v1/events").json(&site.stock(Uuid::new_v4(), 5)).send(),
    );
    let mut watcher = Outside::connect(service.database_url()).await;
    wait_until("the event waits for the lock", async || watcher.number(WAITING).await > 0).await;
    (posting, holder)
}

#[tokio::test]
async fn a_stopping_service_is_not_ready_first_and_still_answers_everything() {
    let service = Service::on_postgres()
        .await
        .env("FACILITY_SUMMARY__SERVER__DRAIN_DELAY_MS", 3_000)
        .start()
        .await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let today =
        format!("http://{}/v1/facilities/{}/summaries/today", service.address, site.facility);
    // A pooled connection of a balancer, opened before the stop.
    let pooled = Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(1)
        .build()
        .expect("a client needs nothing");
    let before = pooled.get(&today).send().await.expect("an answer");
    assert!(before.headers().get("connection").is_none(), "{:?}", before.headers());
    before.bytes().await.expect("a body");

    let told = Instant::now();
    service.signal(libc::SIGTERM);
    wait_until("the service is not ready", async || {
        service.get("/health/ready").await.status() == 503
    })
    .await;
    let ready: Value = service.get("/health/ready").await.json().await.expect("it is JSON");
    assert_eq!(ready["status"], "draining", "{ready}");
    assert_eq!(service.get("/health/live").await.status(), 200);
    let held = pooled.get(&today).send().await.expect("an answer");
    assert_eq!(
        (held.status().as_u16(), held.headers()["connection"].as_bytes()),
        (200, &b"close"[..]),
        "the service closes the connection"
    );
    acknowledged(&service, &site.stock(Uuid::new_v4(), 3)).await;
    assert!(
        service.logged(STOPPING).is_empty(),
        "the delay was over too early, {:?} after the signal",
        told.elapsed()
    );

    let (exited, launch) = service.ended().await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    assert!(told.elapsed() >= Duration::from_secs(3));
    assert_eq!(site.summary(&launch.start().await, "today").await["total_stock"], 3);
}

#[tokio::test]
async fn the_watermark_rises_while_requests_are_still_answered() {
    for launch in [Service::on_sqlite(), Service::on_postgres().await] {
        // Longer than any test. The service is told to stop before it ends.
        let service =
            launch.env("FACILITY_SUMMARY__SERVER__DRAIN_DELAY_MS", 3_600_000).start().await;
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        site.shows(&service, (0, 0, 0)).await;
        service.signal(libc::SIGTERM);
        wait_until("the service is draining", async || !service.logged(DRAINING).is_empty()).await;
        // A mark brings another program's write to the reader. After that, only the watermark
        // keeps the reader's answers recent.
        let mut sql = Outside::connect(service.database_url()).await;
        let (row, facility) = (sql.id(Uuid::new_v4()), sql.id(site.facility));
        sql.run(format!("INSERT INTO blood_requests (id, facility_id) VALUES ({row}, {facility})"))
            .await;
        site.shows(&service, (0, 0, 1)).await;
        let draining_since = Instant::now();
        wait_until("the figures would be old without the watermark", async || {
            draining_since.elapsed() > Duration::from_secs(3)
        })
        .await;
        let today = format!("/v1/facilities/{}/summaries/today", site.facility);
        wait_until("the figures are recent", async || {
            let held = service
                .request(Method::GET, &today)
                .header("cache-control", "max-age=2, only-if-cached")
                .send()
                .await;
            held.is_ok_and(|held| held.status() == 200)
        })
        .await;
        assert!(service.logged(STOPPING).is_empty());
    }
}

/// The events of a client that has closed its connection are applied nevertheless. The drain runs
/// until they are.
#[tokio::test]
async fn the_event_of_a_client_that_went_away_is_committed_before_the_service_ends() {
    let service = patient(Service::on_postgres().await)
        .env("FACILITY_SUMMARY__SERVER__DRAIN_DELAY_MS", 0)
        .start()
        .await;
    let (zone, _) = a_zone_at_noon();
    let (site, other) =
        (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
    let (posting, mut holder) = event_in_flight(&service, site).await;
    posting.abort();
    posting.await.expect_err("the client has gone away");
    service.signal(libc::SIGTERM);
    wait_until("no request is left", async || !service.logged(NO_REQUEST_LEFT).is_empty()).await;
    let mut sql = Outside::connect(service.database_url()).await;
    sql.run(format!(
        "INSERT INTO blood_requests (id, facility_id) VALUES (gen_random_uuid(), {})",
        sql.id(other.facility)
    ))
    .await;
    wait_until("the drain takes the mark", async || {
        sql.number("SELECT count(*) FROM summary_marks").await == 0
    })
    .await;
    holder.run("ROLLBACK").await;
    let (exited, launch) = service.ended().await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    let counted = format!(
        "SELECT total_stock FROM dashboard_daily_summary WHERE facility_id = {}",
        sql.id(site.facility)
    );
    assert_eq!(sql.number(counted).await, 5, "the events are stored when the service has ended");
    assert_eq!(site.summary(&launch.start().await, "today").await["total_stock"], 5);
}

#[tokio::test]
async fn each_job_ends_after_its_current_step() {
    let launch = Service::on_postgres().await.env("FACILITY_SUMMARY__SERVER__DRAIN_DELAY_MS", 0);
    let service = launch.env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 600_000).start().await;
    let (zone, _) = a_zone_at_noon();
    let (site, other) =
        (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
    let mut holder = Outside::connect(service.database_url()).await;
    holder
        .run(format!(
            "BEGIN; SELECT 1 FROM facility_state WHERE facility_id = {} FOR UPDATE",
            holder.id(site.facility)
        ))
        .await;
    let mut sql = Outside::connect(service.database_url()).await;
    // Marks of two facilities, which the drain handles in one step.
    let ids = [site, other]
        .map(|site| format!("(gen_random_uuid(), {})", sql.id(site.facility)))
        .join(", ");
    sql.run(format!("INSERT INTO blood_requests (id, facility_id) VALUES {ids}")).await;
    wait_until("the drain waits for the lock", async || sql.number(WAITING).await > 0).await;
    service.signal(libc::SIGTERM);
    wait_until("no request is left", async || !service.logged(NO_REQUEST_LEFT).is_empty()).await;
    holder.run("ROLLBACK").await;
    let (exited, _) = service.ended().await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    assert_eq!(sql.number("SELECT count(*) FROM summary_marks").await, 0, "{}", exited.output);
    assert_eq!(
        sql.number("SELECT sum(total_requests)::bigint FROM dashboard_daily_summary").await,
        2
    );
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_service_ends() {
    let service = patient(Service::on_postgres().await).start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let (posting, mut holder) = event_in_flight(&service, site).await;
    service.signal(libc::SIGTERM);
    wait_until("the service is stopping", async || !service.logged(STOPPING).is_empty()).await;
    holder.run("ROLLBACK").await;
    let answer = posting.await.expect("the task runs").expect("an answer comes");
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
    let (exited, launch) = service.ended().await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    assert_eq!(site.summary(&launch.start().await, "today").await["total_stock"], 5);
}

#[tokio::test]
async fn a_service_that_ended_leaves_no_lock_no_connection_and_no_running_job() {
    let service = Service::on_postgres().await.start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    acknowledged(&service, &site.stock(Uuid::new_v4(), 3)).await;
    let (exited, launch) = service.terminate().await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    let mut sql = Outside::connect(launch.database_url()).await;
    let here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    wait_until("the service's locks are released", async || {
        sql.number(format!("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND {here}"))
            .await
            == 0
    })
    .await;
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = \
                       'facility-summary' AND datname = current_database()";
    wait_until("the service's connections are closed", async || sql.number(connections).await == 0)
        .await;
    assert_eq!(sql.number("SELECT count(*) FROM job_runs WHERE state = 'running'").await, 0);
}

#[tokio::test]
async fn a_service_ends_though_the_database_hangs_within_a_transaction() {
    let postgres = Postgres::start(&[]);
    let launch = Service::on(postgres.fresh_database().await)
        .env("FACILITY_SUMMARY__SERVER__DRAIN_DELAY_MS", 0);
    let service =
        patient(launch).env("FACILITY_SUMMARY__SERVER__SHUTDOWN_TIMEOUT_SECONDS", 2).start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let (posting, holder) = event_in_flight(&service, site).await;
    postgres.freeze();
    service.signal(libc::SIGTERM);
    let (exited, launch) = service.ended().await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    assert!(
        posting.await.expect("the task runs").is_err(),
        "an event whose commit is uncertain is not acknowledged"
    );
    postgres.thaw();
    drop(holder);
    assert_eq!(site.summary(&launch.start().await, "today").await["total_stock"], 0);
}

#[tokio::test]
async fn ctrl_c_does_not_wait_for_any_balancer() {
    let service = Service::on_sqlite()
        .env("FACILITY_SUMMARY__SERVER__DRAIN_DELAY_MS", 3_600_000)
        .start()
        .await;
    service.signal(libc::SIGINT);
    let (exited, _) = service.ended().await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    assert!(!exited.output.contains(DRAINING), "{}", exited.output);
}

#[tokio::test]
async fn a_drain_delay_of_zero_is_allowed() {
    let service =
        Service::on_sqlite().env("FACILITY_SUMMARY__SERVER__DRAIN_DELAY_MS", 0).start().await;
    let (exited, _) = service.terminate().await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    assert!(!exited.output.contains(DRAINING), "{}", exited.output);
}

async fn stops_at_the_second(first: i32, second: i32) {
    let launch =
        patient(Service::on_postgres().await).env("FACILITY_SUMMARY__SERVER__DRAIN_DELAY_MS", 0);
    let service =
        launch.env("FACILITY_SUMMARY__SERVER__SHUTDOWN_TIMEOUT_SECONDS", 3_600).start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    acknowledged(&service, &site.stock(Uuid::new_v4(), 2)).await;
    let (posting, mut holder) = event_in_flight(&service, site).await;
    service.signal(first);
    wait_until("the service waits for the request in flight", async || {
        !service.logged(STOPPING).is_empty()
    })
    .await;
    service.signal(second);
    let (exited, launch) = service.ended().await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    assert!(exited.output.contains("told to stop a second time"), "{}", exited.output);
    posting.await.expect("the task runs").expect_err("the connection ends without an answer");
    holder.run("ROLLBACK").await;
    assert_eq!(
        site.summary(&launch.start().await, "today").await["total_stock"],
        2,
        "the event that was not acknowledged is not stored"
    );
}

#[tokio::test]
async fn a_second_sigterm_stops_at_once() {
    stops_at_the_second(libc::SIGTERM, libc::SIGTERM).await;
}

#[tokio::test]
async fn a_second_ctrl_c_stops_at_once() {
    stops_at_the_second(libc::SIGINT, libc::SIGINT).await;
}

#[tokio::test]
async fn a_service_that_stops_leaves_a_large_backlog_to_the_next_start() {
    let launch = Service::on_postgres().await.env("FACILITY_SUMMARY__SERVER__DRAIN_DELAY_MS", 0);
    let (_, launch) = launch.start().await.terminate().await;
    let mut writer = Outside::connect(launch.database_url()).await;
    // Work for minutes, in short steps: days to open, and marks to drain.
    let register = "INSERT INTO facilities (id, name, timezone) SELECT gen_random_uuid(), 'F' || \
                    n, 'UTC' FROM generate_series(1, 30000) n";
    writer.run(register).await;
    let service = launch.env("FACILITY_SUMMARY__REFRESH__CHUNK", 1).start_to_listen().await;
    let marks = "SELECT count(*) FROM summary_marks";
    wait_until("the drain is at work", async || writer.number(marks).await < 29_900).await;
    let told = Instant::now();
    let (exited, _) = service.terminate().await;
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    assert!(exited.output.contains(r#""message":"stopped""#), "{}", exited.output);
    assert!(writer.number(marks).await > 100, "marks were left when the service stopped");
}
