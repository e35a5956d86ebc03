//! Many readers at once share one refresh, and do not depend on readers that went away.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{
        Plain, Scrape, bank, batch, date_in, distribution, facility, header, inventory, noon_zone,
        now_ms, path, post, read,
    },
    support::{Service, plain_sql, problem::problem, service::Launch, wait_until},
};

const READERS: usize = 2_000;
/// Longer than one stampede takes, so that no reader finds the refreshed figures too old again.
const BOUND_SECONDS: i64 = 10;

/// A service in which only readers and writers cause a refresh. Each wait for a lock may last as
/// long as a test needs.
fn patient(launch: Launch) -> Launch {
    launch
        .env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 3_600_000)
        .env("FACILITY_SUMMARY__REBUILD__CRON", "off")
        .env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 20_000)
        .env("FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS", 20_000)
        .env("FACILITY_SUMMARY__INGEST__GROUP_LOCK_TIMEOUT_MS", 20_000)
        .env("FACILITY_SUMMARY__INGEST__LOCK_TIMEOUT_MS", 20_000)
        .env("FACILITY_SUMMARY__INGEST__QUEUE", 1)
        .env("FACILITY_SUMMARY__DATABASE__MIN_CONNECTIONS", 2)
}

/// Opens a bare connection and sends a request.
async fn ask(service: &Service, path: &str, directives: &str) -> TcpStream {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncache-control: \
         {directives}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads the whole answer: head and body.
async fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut text))
        .await
        .expect("an answer comes")
        .unwrap();
    text
}

async fn refreshes(service: &Service) -> f64 {
    Scrape::of(service).await.sum("summary_refreshes_total", &[("trigger", "read")])
}

async fn stocked(service: &Service) -> (String, Uuid, Uuid) {
    let id = facility(service, "North", &noon_zone()).await;
    let (bank, unit) = (bank(service, id).await, Uuid::new_v4());
    post(service, &[inventory(unit, bank, "O+", 5)]).await;
    (path(id, "today"), bank, unit)
}

/// A lock of another program that stops every refresh.
async fn locked(service: &Service) -> Plain {
    let mut plain = Plain::beside(service).await;
    match plain {
        Plain::Sqlite(_) => plain.run("BEGIN IMMEDIATE").await,
        Plain::Postgres(_) => plain.run("BEGIN; UPDATE facility_state SET version = version").await,
    }
    plain
}

async fn wait_until_somebody_waits_for_the_lock(service: &Service) {
    wait_until("a transaction waits for the lock", async || {
        Scrape::of(service).await.sum("database_connections", &[("state", "in_use")]) >= 1.0
    })
    .await;
}

async fn two_thousand_readers_of_one_stale_key(service: Service) {
    let (today, ..) = stocked(&service).await;
    let bound = format!("max-age={BOUND_SECONDS}");
    wait_until("the figures are too old", async || {
        read(&service, &today, &format!("{bound}, only-if-cached")).await.status() == 504
    })
    .await;
    let before = refreshes(&service).await;
    let readers = join_all((0..READERS).map(|_| ask(&service, &today, &bound))).await;
    let answers = join_all(readers.into_iter().map(answer)).await;
    let tag = |text: &str| text.lines().find(|line| line.starts_with("etag: ")).map(str::to_owned);
    let first = tag(&answers[0]);
    assert!(first.is_some(), "{}", answers[0]);
    for text in &answers {
        assert!(text.starts_with("HTTP/1.1 200") && tag(text) == first, "{text}");
    }
    assert_eq!(refreshes(&service).await - before, 1.0);
    let collapsed = answers.iter().filter(|text| text.contains("; collapsed")).count();
    let alone = answers.iter().filter(|text| text.contains("detail=source\r\n")).count();
    let hits = answers.iter().filter(|text| text.contains("hit; detail=memory")).count();
    assert_eq!(
        (alone, collapsed + hits),
        (1, READERS - 1),
        "one reader starts the refresh, the others share it or come later"
    );
}

#[tokio::test]
async fn two_thousand_readers_of_one_stale_key_cost_one_refresh_on_sqlite() {
    two_thousand_readers_of_one_stale_key(patient(Service::on_sqlite()).start().await).await;
}

#[tokio::test]
async fn two_thousand_readers_of_one_stale_key_cost_one_refresh_on_postgres() {
    two_thousand_readers_of_one_stale_key(patient(Service::on_postgres().await).start().await)
        .await;
}

async fn readers_that_leave(service: Service) {
    let (today, ..) = stocked(&service).await;
    wait_until("the figures have aged", async || {
        read(&service, &today, "max-age=1, only-if-cached").await.status() == 504
    })
    .await;
    let before = refreshes(&service).await;
    let mut lock = locked(&service).await;
    let leader = ask(&service, &today, "max-age=1").await;
    wait_until_somebody_waits_for_the_lock(&service).await;
    let others = join_all((0..400).map(|_| ask(&service, &today, "max-age=1"))).await;
    drop(leader);
    let mut staying = Vec::new();
    for (i, stream) in others.into_iter().enumerate() {
        if i % 2 == 0 {
            staying.push(stream);
        }
    }
    assert_eq!(
        service.get(&today).await.status(),
        200,
        "a reader that accepts the entry in memory is answered at once"
    );
    lock.run("COMMIT").await;
    for text in join_all(staying.into_iter().map(answer)).await {
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    }
    assert!(refreshes(&service).await - before >= 1.0);
}

#[tokio::test]
async fn readers_that_leave_do_not_disturb_those_that_stay_on_sqlite() {
    readers_that_leave(patient(Service::on_sqlite()).start().await).await;
}

#[tokio::test]
async fn readers_that_leave_do_not_disturb_those_that_stay_on_postgres() {
    readers_that_leave(patient(Service::on_postgres().await).start().await).await;
}

on_both_stores! {
    async fn a_no_cache_read_among_many_shows_what_was_committed_before_it(service: Service) {
        let (today, _, unit) = stocked(&service).await;
        let mut plain = Plain::beside(&service).await;
        let row = plain.id(unit);
        let rounds = async {
            for quantity in 100..140 {
                plain
                    .run(&format!(
                        "UPDATE blood_inventory SET quantity = {quantity} WHERE id = {row}"
                    ))
                    .await;
                let body: Value = read(&service, &today, "no-cache").await.json().await.unwrap();
                assert_eq!(
                    body["total_stock"], quantity,
                    "the reader shared a refresh that had begun before the write"
                );
            }
        };
        let hammering = join_all((0..20).map(|_| async {
            loop {
                assert_eq!(read(&service, &today, "no-cache").await.status(), 200);
            }
        }));
        tokio::select! {
            () = rounds => {}
            _ = hammering => unreachable!("it never ends"),
        }
    }
}

async fn a_full_queue(service: Service) {
    let (_, bank, _) = stocked(&service).await;
    let mut lock = locked(&service).await;
    let (refused, mut refusals) = tokio::sync::mpsc::unbounded_channel();
    let submit = || {
        let (refused, event) = (refused.clone(), inventory(Uuid::new_v4(), bank, "O+", 1));
        let request = batch(&service, &[event]);
        async move {
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            if status == 503 {
                assert!(
                    header(&response, "retry-after")
                        .parse::<u32>()
                        .is_ok_and(|seconds| seconds > 0)
                );
                problem(response, 503).await;
                refused.send(()).unwrap();
            }
            status
        }
    };
    let others = async {
        wait_until_somebody_waits_for_the_lock(&service).await;
        join_all((0..9).map(|_| submit())).await
    };
    let releasing = async {
        // One refresh is in its transaction and one waits. With both places taken, further readers
        // are refused at once.
        for _ in 0..8 {
            refusals.recv().await.unwrap();
        }
        lock.run("COMMIT").await;
    };
    let all = async { tokio::join!(submit(), others, releasing) };
    let (first, mut statuses, ()) =
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("in time");
    statuses.push(first);
    let taken = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!((taken, statuses.len()), (2, 10), "{statuses:?}");
    let stored = Plain::beside(&service).await.number("SELECT count(*) FROM blood_inventory").await;
    assert_eq!(stored, 3, "refused events are not stored, and accepted ones are");
    let scrape = Scrape::of(&service).await;
    assert_eq!(
        scrape.sum("events_total", &[("type", "inventory.set"), ("outcome", "rejected")]),
        8.0
    );
    post(&service, &[inventory(Uuid::new_v4(), bank, "O+", 1)]).await;
    assert_eq!(json!(service.get("/health/ready").await.status().as_u16()), 200);
}

#[tokio::test]
async fn a_full_queue_is_a_503_with_retry_after_on_sqlite() {
    a_full_queue(patient(Service::on_sqlite()).start().await).await;
}

#[tokio::test]
async fn a_full_queue_is_a_503_with_retry_after_on_postgres() {
    a_full_queue(patient(Service::on_postgres().await).start().await).await;
}

/// Two facilities with deliveries three days ago, the path of that day, and a launch that holds
/// nothing in memory.
async fn a_cold_view(launch: Launch) -> (Launch, String) {
    let before = launch.start().await;
    let zone = noon_zone();
    let past_ms = now_ms() - 3 * 86_400_000;
    for name in ["North", "South"] {
        let id = facility(&before, name, &zone).await;
        post(&before, &[distribution(Uuid::new_v4(), id, 5, past_ms)]).await;
    }
    (before.terminate().await.1, format!("/v1/summaries/{}", date_in(&zone, -3)))
}

async fn readers_of_a_cold_view(launch: Launch) {
    let (launch, path) = a_cold_view(launch).await;
    let service = launch.start().await;
    for response in join_all((0..READERS).map(|_| read(&service, &path, ""))).await {
        assert_eq!(response.status(), 200);
        assert_eq!(response.json::<Value>().await.unwrap()["totals"]["total_transferred"], 10);
    }
    let scrape = Scrape::of(&service).await;
    let costs = [
        "summary_view_fills_total",
        "summary_table_reads_total",
        "summary_table_read_days_total",
        "summary_view_renders_total",
        "summary_list_proofs_total",
    ];
    assert_eq!(costs.map(|name| scrape.sum(name, &[])), [1.0, 1.0, 2.0, 1.0, 0.0], "{costs:?}");
}

#[tokio::test]
async fn two_thousand_readers_of_a_cold_view_cost_one_fill_on_sqlite() {
    readers_of_a_cold_view(Service::on_sqlite()).await;
}

#[tokio::test]
async fn two_thousand_readers_of_a_cold_view_cost_one_fill_on_postgres() {
    readers_of_a_cold_view(Service::on_postgres().await).await;
}

/// Rounds in which at least one reader must have waited.
const TRIES: usize = 8;

/// Whether readers who waited for another one's fill say that it had to refresh. On a busy machine
/// all of them may come when that fill is over: then they fill the view themselves, from the table.
async fn readers_of_a_view_that_is_refreshed(launch: Launch) -> bool {
    let (launch, path) = a_cold_view(launch).await;
    // The rows are of another zone's day, so that the table alone does not do.
    let url = launch.database_url();
    let hour = if plain_sql::is_postgres(url) { "interval '1 hour'" } else { "3600000" };
    let moved = format!("UPDATE dashboard_daily_summary SET day_end = day_end + {hour}");
    plain_sql::execute(url, &moved).await;
    let service = launch.start().await;
    let readers = join_all((0..64).map(|_| read(&service, &path, "no-cache"))).await;
    let statuses: Vec<_> = readers.iter().map(|read| header(read, "cache-status")).collect();
    let refreshed = statuses.iter().filter(|status| status.contains("detail=source")).count();
    assert!(refreshed > 0, "{statuses:?}");
    refreshed > 1
}

#[tokio::test]
async fn readers_that_wait_for_a_view_say_that_it_was_refreshed_on_sqlite() {
    for _ in 0..TRIES {
        if readers_of_a_view_that_is_refreshed(Service::on_sqlite()).await {
            return;
        }
    }
    panic!("no reader who waited said that the view was refreshed");
}

#[tokio::test]
async fn readers_that_wait_for_a_view_say_that_it_was_refreshed_on_postgres() {
    for _ in 0..TRIES {
        if readers_of_a_view_that_is_refreshed(Service::on_postgres().await).await {
            return;
        }
    }
    panic!("no reader who waited said that the view was refreshed");
}

async fn readers_of_an_old_view(service: Service) {
    stocked(&service).await;
    let all = "/v1/summaries/today";
    read(&service, all, "no-cache").await;
    let bound = format!("max-age={BOUND_SECONDS}");
    wait_until("the figures are too old", async || {
        read(&service, all, &format!("{bound}, only-if-cached")).await.status() == 504
    })
    .await;
    let costs = ["summary_list_proofs_total", "summary_view_fills_total"];
    let before = Scrape::of(&service).await;
    let readers = join_all((0..READERS).map(|_| ask(&service, all, &bound))).await;
    for text in join_all(readers.into_iter().map(answer)).await {
        assert!(text.starts_with("HTTP/1.1 200") && text.contains(r#""total_stock":5"#), "{text}");
    }
    let after = Scrape::of(&service).await;
    let spent = costs.map(|name| after.sum(name, &[]) - before.sum(name, &[]));
    assert_eq!(spent, [1.0, 0.0], "one proof for all, and nothing to read: {costs:?}");
}

#[tokio::test]
async fn two_thousand_readers_of_a_view_that_is_too_old_cost_one_proof_on_sqlite() {
    readers_of_an_old_view(patient(Service::on_sqlite()).start().await).await;
}

#[tokio::test]
async fn two_thousand_readers_of_a_view_that_is_too_old_cost_one_proof_on_postgres() {
    readers_of_an_old_view(patient(Service::on_postgres().await).start().await).await;
}
