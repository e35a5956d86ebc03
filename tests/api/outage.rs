//! The database goes away and comes back. What is held is served with its age. Requests that cannot
//! be answered truly are refused.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use reqwest::{Method, Response};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::{
    steps::{
        Scrape, age, bank, batch, date_in, distribution, facility, get, header, inventory,
        noon_zone, now_ms, path, post, read,
    },
    support::{Service, postgres::Postgres, problem::problem, service::Launch, wait_until},
};

const LOST: &str = "facility-summary; fwd=stale; detail=source-unavailable";

fn launch(url: String) -> Launch {
    Service::on(url)
        .env("FACILITY_SUMMARY__FRESHNESS__MAX_AGE_SECONDS", 1)
        .env("FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS", 1_000)
        .env("FACILITY_SUMMARY__DATABASE__ACQUIRE_TIMEOUT_MS", 1_000)
        .env("FACILITY_SUMMARY__DATABASE__MIN_CONNECTIONS", 2)
}

/// A 503 that says when to come again.
#[track_caller]
fn assert_unavailable(response: Response, what: &str) -> impl Future<Output = Value> {
    assert!(
        header(&response, "retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0),
        "{what}: {:?}",
        response.headers()
    );
    problem(response, 503)
}

async fn ready(service: &Service) -> Value {
    get(service, "/health/ready").await
}

async fn wait_until_recovered(service: &Service, today: &str) {
    wait_until("the service is ready again", async || ready(service).await["status"] == "ready")
        .await;
    wait_until("figures are fresh again", async || {
        let response = read(service, today, "no-cache").await;
        response.status() == 200 && age(&response) == 0
    })
    .await;
}

#[tokio::test]
async fn without_its_database_it_serves_what_it_has_and_refuses_what_it_cannot_know() {
    let postgres = Postgres::start(&[]);
    let service = launch(postgres.fresh_database().await).start().await;
    let zone = noon_zone();
    let id = facility(&service, "North", &zone).await;
    let bank = bank(&service, id).await;
    post(&service, &[inventory(Uuid::new_v4(), bank, "O+", 5)]).await;
    let today = path(id, "today");
    let etag = header(&service.get(&today).await, "etag");
    assert_eq!(ready(&service).await["status"], "ready");

    let stopped_ms = now_ms();
    postgres.stop();
    wait_until("the figures are beyond the default bound", async || {
        header(&service.get(&today).await, "cache-status") == LOST
    })
    .await;
    single_reads_are_served_from_memory_or_refused(&service, id, &zone, &etag, stopped_ms).await;
    lists_are_served_from_memory_or_refused(&service, id, &zone, stopped_ms).await;

    let degraded = ready(&service).await;
    assert_eq!(
        (&degraded["status"], &degraded["dependencies"][0]["state"]),
        (&json!("degraded"), &json!("down")),
        "{degraded}"
    );
    assert!(degraded["dependencies"][0]["last_error"].is_string());
    for path in ["/health/live", "/metrics", "/v1/facilities"] {
        assert_eq!(service.get(path).await.status(), 200, "{path}");
    }
    writes_are_refused(&service, id).await;
    // Nothing verifies the directory any more, so that a 404 might be wrong.
    wait_until("an unknown facility is answered with 503 instead of 404", async || {
        service.get(&path(Uuid::new_v4(), "today")).await.status() == 503
    })
    .await;
    assert_unavailable(service.get(&path(Uuid::new_v4(), "today")).await, "an unknown facility")
        .await;

    postgres.start_again();
    wait_until_recovered(&service, &today).await;
    problem(service.get(&path(Uuid::new_v4(), "today")).await, 404).await;
    post(&service, &[distribution(Uuid::new_v4(), id, 6, now_ms())]).await;
    let body: Value = service.get(&today).await.json().await.unwrap();
    assert_eq!(
        (&body["total_stock"], &body["total_transferred"]),
        (&json!(5), &json!(6)),
        "refused events have changed nothing"
    );
    assert_eq!(get(&service, &format!("/v1/facilities/{id}")).await["name"], "North");
}

/// Asserts that an answer is as old as the outage. Before the outage the watermark rose every half
/// second. The test and the service use the same clock.
#[track_caller]
fn assert_is_as_old_as_the_outage(held: &Response, stopped_ms: i64, what: &str) {
    let least = (now_ms() - stopped_ms) / 1000 - 1;
    assert!(
        (least..=least + 4).contains(&age(held)),
        "{what}: Age {}, at least {least} s after the stop",
        age(held)
    );
}

async fn single_reads_are_served_from_memory_or_refused(
    service: &Service,
    id: Uuid,
    zone: &str,
    etag: &str,
    stopped_ms: i64,
) {
    let today = path(id, "today");
    for _ in 0..20 {
        let held = service.get(&today).await;
        assert_eq!(
            (
                held.status().as_u16(),
                header(&held, "etag").as_str(),
                header(&held, "cache-status").as_str()
            ),
            (200, etag, LOST)
        );
        assert_is_as_old_as_the_outage(&held, stopped_ms, &today);
    }
    let loose = read(service, &today, "max-age=1000").await;
    assert_eq!(header(&loose, "cache-status"), "facility-summary; hit; detail=memory");
    for directives in ["max-age=1", "no-cache", "max-age=0"] {
        assert_unavailable(read(service, &today, directives).await, directives).await;
    }
    assert_unavailable(service.get(&path(id, date_in(zone, -3))).await, "a day that is not held")
        .await;
    assert_unavailable(
        service.get(&format!("{today}?min_version=1000")).await,
        "a version that is not held",
    )
    .await;
}

async fn lists_are_served_from_memory_or_refused(
    service: &Service,
    id: Uuid,
    zone: &str,
    stopped_ms: i64,
) {
    let range = format!("/v1/facilities/{id}/summaries?from={}", date_in(zone, 0));
    for list in ["/v1/summaries/today", &range] {
        let held = service.get(list).await;
        assert_eq!(
            (held.status().as_u16(), header(&held, "cache-status").as_str()),
            (200, LOST),
            "{list}"
        );
        assert_is_as_old_as_the_outage(&held, stopped_ms, list);
        assert_eq!(held.json::<Value>().await.unwrap()["items"][0]["total_stock"], 5);
        assert_unavailable(read(service, list, "no-cache").await, list).await;
    }
    let longer = format!("/v1/facilities/{id}/summaries?from={}", date_in(zone, -3));
    assert_unavailable(service.get(&longer).await, "days that are not held").await;
}

async fn writes_are_refused(service: &Service, id: Uuid) {
    let sent =
        batch(service, &[distribution(Uuid::new_v4(), id, 1, now_ms())]).send().await.unwrap();
    assert_unavailable(sent, "events").await;
    for (method, path, body) in [
        (Method::PUT, format!("/v1/facilities/{id}"), json!({"name": "South", "timezone": "UTC"})),
        (Method::POST, format!("/v1/facilities/{id}/refresh"), Value::Null),
        (Method::POST, "/v1/rebuild".into(), Value::Null),
        (Method::GET, format!("/v1/runs/{id}"), Value::Null),
    ] {
        assert_unavailable(service.request(method, &path).json(&body).send().await.unwrap(), &path)
            .await;
    }
}

#[tokio::test]
async fn a_job_that_fails_says_so_once_for_each_error_and_when_it_works_again() {
    let postgres = Postgres::start(&[]);
    let service = launch(postgres.fresh_database().await).start().await;
    let failed = async || {
        Scrape::of(&service).await.sum("job_runs_total", &[("job", "drain"), ("outcome", "failed")])
    };
    postgres.stop();
    wait_until("the drain has failed again and again", async || failed().await >= 8.0).await;
    let of_drain = |message: &str| -> Vec<String> {
        let entries = service.logged(message).into_iter().filter(|entry| entry["job"] == "drain");
        entries.map(|entry| entry["error"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let said = of_drain(
        "the job failed; it is tried again at each run, and will say so when it works again",
    );
    let different: BTreeSet<&String> = said.iter().collect();
    assert!(!said.is_empty() && said.len() == different.len() && said.len() < 8, "{said:?}");
    assert!(of_drain("the job works again").is_empty());
    postgres.start_again();
    wait_until("the log says that the job works", async || {
        of_drain("the job works again").len() == 1
    })
    .await;
}

#[tokio::test]
async fn figures_are_not_served_beyond_stale_if_error() {
    let postgres = Postgres::start(&[]);
    let launch = launch(postgres.fresh_database().await)
        .env("FACILITY_SUMMARY__FRESHNESS__STALE_IF_ERROR_SECONDS", 4);
    let service = launch.start().await;
    let id = facility(&service, "North", &noon_zone()).await;
    let today = path(id, "today");
    assert_eq!(service.get(&today).await.status(), 200);
    postgres.crash();
    let mut served_stale = false;
    wait_until("the figures are too old even for an outage", async || {
        let response = service.get(&today).await;
        served_stale |= header(&response, "cache-status") == LOST;
        match response.status().as_u16() {
            200 => {
                assert!(age(&response) <= 4);
                false
            }
            status => status == 503,
        }
    })
    .await;
    assert!(served_stale, "before that, the figures were served");
    assert_eq!(
        read(&service, &today, "max-age=3600").await.status(),
        200,
        "a reader that accepts an hour gets these figures"
    );
    postgres.start_again();
    wait_until_recovered(&service, &today).await;
}

#[tokio::test]
async fn while_the_database_hangs_no_reader_waits_longer_than_the_refresh_timeout() {
    let postgres = Postgres::start(&[]);
    let service = launch(postgres.fresh_database().await).start().await;
    let id = facility(&service, "North", &noon_zone()).await;
    let bank = bank(&service, id).await;
    let today = path(id, "today");
    assert_eq!(service.get(&today).await.status(), 200);
    postgres.freeze();
    wait_until("the figures are beyond the default bound", async || {
        header(&service.get(&today).await, "cache-status") == LOST
    })
    .await;
    let started = Instant::now();
    let held = service.get(&today).await;
    assert_eq!((held.status().as_u16(), header(&held, "cache-status").as_str()), (200, LOST));
    assert!(age(&held) >= 1);
    assert_unavailable(read(&service, &today, "max-age=0").await, "a tight bound").await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let sent = batch(&service, &[inventory(Uuid::new_v4(), bank, "O+", 5)]);
    let refused = tokio::time::timeout(Duration::from_secs(25), sent.send())
        .await
        .expect("an answer in time")
        .unwrap();
    assert_unavailable(refused, "events").await;
    wait_until("it is degraded", async || ready(&service).await["status"] == "degraded").await;

    postgres.thaw();
    wait_until_recovered(&service, &today).await;
    post(&service, &[inventory(Uuid::new_v4(), bank, "O+", 7)]).await;
}

#[tokio::test]
async fn while_the_database_hangs_one_reader_per_second_waits_and_the_others_do_not() {
    let postgres = Postgres::start(&[]);
    // Only readers notice the outage: the next pass of the drain begins after the end of the test.
    let launch = launch(postgres.fresh_database().await)
        .env("FACILITY_SUMMARY__DATABASE__ACQUIRE_TIMEOUT_MS", 60_000);
    let service = launch.env("FACILITY_SUMMARY__INGEST__TIMEOUT_MS", 60_000).start().await;
    let id = facility(&service, "North", &noon_zone()).await;
    let today = path(id, "today");
    assert_eq!(service.get(&today).await.status(), 200);
    postgres.freeze();
    wait_until("the figures are beyond the default bound", async || {
        header(&service.get(&today).await, "cache-status") == LOST
    })
    .await;
    let (started, mut waited, mut answered) = (Instant::now(), 0, 0);
    while started.elapsed() < Duration::from_secs(4) {
        let asked = Instant::now();
        let held = service.get(&today).await;
        assert_eq!((held.status().as_u16(), header(&held, "cache-status").as_str()), (200, LOST));
        assert!(age(&held) >= 1);
        waited += usize::from(asked.elapsed() >= Duration::from_millis(900));
        answered += 1;
    }
    assert!(waited <= 5 && answered > 20 * waited, "{waited} of {answered} waited");
    let ready = ready(&service).await;
    assert_eq!(
        (&ready["status"], &ready["dependencies"][0]["last_error"]),
        (&json!("degraded"), &json!("timeout")),
        "{ready}"
    );
    assert_eq!(service.logged("the database answers nobody; readers get what is held").len(), 1);

    postgres.thaw();
    wait_until_recovered(&service, &today).await;
}

#[tokio::test]
async fn a_reader_that_times_out_at_a_lock_causes_no_outage_for_the_others() {
    let url = crate::support::postgres::fresh_database().await;
    let service =
        launch(url.clone()).env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 30_000).start().await;
    let (locked, free) = (
        facility(&service, "North", &noon_zone()).await,
        facility(&service, "South", &noon_zone()).await,
    );
    for id in [locked, free] {
        assert_eq!(service.get(&path(id, "today")).await.status(), 200);
    }
    let mut holder = PgConnection::connect(&url).await.unwrap();
    let lock =
        format!("BEGIN; SELECT * FROM facility_state WHERE facility_id = '{locked}' FOR UPDATE");
    holder.execute(AssertSqlSafe(lock)).await.unwrap();
    for _ in 0..2 {
        assert_unavailable(
            read(&service, &path(locked, "today"), "no-cache").await,
            "a key whose lock is held",
        )
        .await;
        assert_eq!(ready(&service).await["status"], "ready");
        assert_eq!(
            read(&service, &path(free, "today"), "no-cache").await.status(),
            200,
            "a key that is not locked"
        );
    }
}

/// No event comes and no job runs, so only a reader can find that the database is back. Reads
/// `path` until it is answered.
async fn a_read_ends_the_outage(path: impl Fn(Uuid) -> String, directives: &str) {
    let postgres = Postgres::start(&[]);
    let launch = launch(postgres.fresh_database().await)
        .env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 3_600_000);
    let service = launch.env("FACILITY_SUMMARY__REBUILD__CRON", "off").start().await;
    let id = facility(&service, "North", &noon_zone()).await;
    wait_until("the one pass of the drain is over", async || {
        Scrape::of(&service).await.sum("job_runs_total", &[("job", "drain"), ("outcome", "done")])
            == 1.0
    })
    .await;
    let path = path(id);
    postgres.stop();
    assert_unavailable(read(&service, &path, directives).await, directives).await;
    assert_eq!(ready(&service).await["status"], "degraded");
    postgres.start_again();
    wait_until("a reader is answered", async || {
        read(&service, &path, directives).await.status() == 200
    })
    .await;
    let now = ready(&service).await;
    assert_eq!(
        (&now["status"], &now["dependencies"][0]["last_error"]),
        (&json!("ready"), &Value::Null),
        "{now}"
    );
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(
            read(&service, &path, "no-cache").await.status(),
            200,
            "readers ask the database again"
        );
    }
    assert!(started.elapsed() < crate::support::PATIENCE);
}

#[tokio::test]
async fn a_read_of_the_source_alone_ends_an_outage() {
    a_read_ends_the_outage(|id| path(id, "today"), "no-cache").await;
}

#[tokio::test]
async fn a_read_of_the_table_alone_ends_an_outage() {
    a_read_ends_the_outage(|id| path(id, date_in(&noon_zone(), -3)), "max-age=1000").await;
}
