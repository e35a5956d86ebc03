//! There is one refresh of a key across all replicas, with any number of readers, and also when the
//! replica that refreshes is killed.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Response;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use uuid::Uuid;

use super::{Fleet, set_stock, source, today};
use crate::{
    steps::{Plain, Scrape, header, noon_zone, read},
    support::{Service, service::Launch, site::Site, wait_until},
};

const READERS: usize = 3_000;
const MAX_AGE_SECONDS: u64 = 4;
const REFRESH_TIMEOUT: Duration = Duration::from_secs(4);

/// Another session holds the lock of a facility that has a mark. As long as it does, the watermark
/// does not rise, and every figure gets older.
struct Ageing {
    _lock: Plain,
}

impl Ageing {
    async fn begin(fleet: &Fleet) -> Ageing {
        let other = Site::register(&fleet[0], &noon_zone()).await;
        let item = Uuid::new_v4();
        set_stock(&fleet[0], other, item, 1).await;
        let lock = lock(fleet, other).await;
        Plain::beside(&fleet[0])
            .await
            .run(&format!("UPDATE blood_inventory SET quantity = 2 WHERE id = '{item}'"))
            .await;
        Ageing { _lock: lock }
    }
}

/// Locks a facility until `ROLLBACK`, as another program does. Until then no refresh of it can end.
async fn lock(fleet: &Fleet, site: Site) -> Plain {
    let mut plain = Plain::beside(&fleet[0]).await;
    plain
        .run(&format!(
            "BEGIN; SELECT 1 FROM facility_state WHERE facility_id = '{}' FOR UPDATE",
            site.facility
        ))
        .await;
    plain
}

/// Waits until no replica has figures of today that are at most this old.
async fn stale(fleet: &Fleet, site: Site, seconds: u64) {
    for replica in &fleet.replicas {
        let requested = format!("max-age={seconds}, only-if-cached");
        wait_until("the figures are too old", async || {
            read(replica, &today(site), &requested).await.status() == 504
        })
        .await;
    }
}

async fn refreshes(fleet: &Fleet) -> f64 {
    fleet.sum("summary_refreshes_total", &[("trigger", "read")]).await
}

/// Opens a bare connection and sends a request without directives.
async fn ask(service: &Service, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(60), stream.read_to_string(&mut text))
        .await
        .expect("an answer comes")
        .unwrap();
    text
}

fn patient(launch: Launch) -> Launch {
    launch
        .env("FACILITY_SUMMARY__FRESHNESS__MAX_AGE_SECONDS", MAX_AGE_SECONDS)
        .env("FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS", 60_000)
        .env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 60_000)
        // A busy machine must not count as a lost Redis.
        .env("FACILITY_SUMMARY__REDIS__TIMEOUT_MS", 5_000)
}

#[tokio::test]
async fn three_thousand_readers_at_three_replicas_of_one_stale_key_cost_one_refresh() {
    let fleet = Fleet::with(3, patient).await;
    let site = Site::register(&fleet[0], &noon_zone()).await;
    set_stock(&fleet[0], site, Uuid::new_v4(), 5).await;
    let _ageing = Ageing::begin(&fleet).await;
    stale(&fleet, site, MAX_AGE_SECONDS).await;
    let before = refreshes(&fleet).await;
    let mut lock = lock(&fleet, site).await;
    let path = today(site);
    let asked = Instant::now();
    let readers = join_all((0..READERS).map(|i| ask(&fleet[i % fleet.len()], &path))).await;
    // The result of a refresh is exact as of when the refresh got its lock, after any wait. So it
    // is fresh enough for all readers.
    wait_until("the refresh has waited for longer than the readers' bound", async || {
        asked.elapsed() > Duration::from_secs(MAX_AGE_SECONDS + 1)
    })
    .await;
    lock.run("ROLLBACK").await;
    let answers = join_all(readers.into_iter().map(answer)).await;
    let tag = |text: &str| text.lines().find(|line| line.starts_with("etag: ")).map(str::to_owned);
    let first = tag(&answers[0]);
    assert!(first.is_some(), "{}", answers[0]);
    for text in &answers {
        assert!(
            text.starts_with("HTTP/1.1 200")
                && tag(text) == first
                && text.contains(r#""total_stock":5"#),
            "{text}"
        );
    }
    assert_eq!(refreshes(&fleet).await - before, 1.0);
    let count = |what: &str| answers.iter().filter(|text| text.contains(what)).count();
    let (alone, collapsed) = (count("detail=source\r\n"), count("; collapsed"));
    let later = count("hit; detail=memory") + count("detail=redis");
    assert_eq!(
        (alone, collapsed + later),
        (1, READERS - 1),
        "one reader starts the refresh, the others share it or come later"
    );
    assert!(collapsed > READERS / 2, "{collapsed} readers shared the refresh, {later} came later");
}

/// A reader that accepts figures of up to one second.
fn reading(service: &Service, site: Site) -> JoinHandle<(Response, Duration)> {
    reading_with(service, site, "max-age=1")
}

fn reading_with(
    service: &Service,
    site: Site,
    directives: &'static str,
) -> JoinHandle<(Response, Duration)> {
    let request =
        service.request(reqwest::Method::GET, &today(site)).header("cache-control", directives);
    tokio::spawn(async move {
        let started = Instant::now();
        let response = request.send().await.expect("an answer");
        (response, started.elapsed())
    })
}

/// A fleet whose first replica refreshes a key, and has to wait for a lock of another session. The
/// other replicas wait for the first one.
async fn one_refreshes_and_two_wait()
-> (Fleet, Site, Ageing, Plain, Vec<JoinHandle<(Response, Duration)>>) {
    let brief = |launch: Launch| {
        launch
            .env("FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS", REFRESH_TIMEOUT.as_millis())
            .env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 60_000)
    };
    let fleet = Fleet::with(3, brief).await;
    let site = Site::register(&fleet[0], &noon_zone()).await;
    set_stock(&fleet[0], site, Uuid::new_v4(), 5).await;
    let ageing = Ageing::begin(&fleet).await;
    stale(&fleet, site, 1).await;
    let lock = lock(&fleet, site).await;
    drop(reading(&fleet[0], site));
    let leases = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM \
                  pg_stat_activity WHERE datname = current_database())";
    let mut plain = Plain::beside(&fleet[0]).await;
    // One more session waits all the time: the drain, for the facility that [`Ageing`] has locked.
    wait_until("the first replica refreshes", async || {
        fleet
            .redis
            .ask::<Vec<String>>(deadpool_redis::redis::cmd("KEYS").arg("*:lease"))
            .await
            .len()
            == 1
    })
    .await;
    wait_until("the refresh waits for the lock", async || plain.number(leases).await >= 1).await;
    let others = vec![reading(&fleet[1], site), reading(&fleet[2], site)];
    (fleet, site, ageing, lock, others)
}

/// Asserts that the others were answered, all within the time.
async fn answered(others: Vec<JoinHandle<(Response, Duration)>>) {
    for other in others {
        let (response, took) = other.await.unwrap();
        assert_eq!(response.status(), 200, "{:?} after {took:?}", response.headers());
        assert!(took < REFRESH_TIMEOUT + Duration::from_secs(1), "{took:?}, {}", source(&response));
        assert!(header(&response, "age").parse::<i64>().unwrap() <= 1);
    }
}

#[tokio::test]
async fn a_replica_killed_while_it_refreshes_frees_the_others_within_the_refresh_timeout() {
    let (mut fleet, _site, _ageing, mut lock, others) = one_refreshes_and_two_wait().await;
    fleet.replicas.remove(0).kill_9().await;
    lock.run("ROLLBACK").await;
    answered(others).await;
}

#[tokio::test]
async fn a_replica_that_hangs_while_it_refreshes_frees_the_others_within_the_refresh_timeout() {
    let (fleet, _site, _ageing, mut lock, others) = one_refreshes_and_two_wait().await;
    fleet[0].signal(libc::SIGSTOP);
    lock.run("ROLLBACK").await;
    answered(others).await;
}

/// How often this replica has asked for the lease of a key.
async fn leases_asked_for(replica: &Service) -> f64 {
    Scrape::of(replica).await.sum("redis_requests_total", &[("command", "lease")])
}

#[tokio::test]
async fn a_no_cache_read_is_answered_once_another_replicas_refresh_is_over() {
    let (fleet, site, _ageing, mut lock, others) = one_refreshes_and_two_wait().await;
    let onlooker = &fleet[1];
    let looks_on = async |before: f64| {
        wait_until("the reader waits for the other replica", async || {
            leases_asked_for(onlooker).await >= before
        })
        .await
    };
    looks_on(2.0).await;
    // This reader does not accept a refresh that began before its request, and no request comes
    // after it.
    let late = reading_with(onlooker, site, "no-cache");
    looks_on(leases_asked_for(onlooker).await + 20.0).await;
    lock.run("ROLLBACK").await;
    answered(others).await;
    let (response, took) = late.await.unwrap();
    assert_eq!(
        (response.status().as_u16(), source(&response).as_str()),
        (200, "facility-summary; fwd=request; detail=source"),
        "after {took:?}"
    );
}
