//! A disk that gets full under SQLite, or under Postgres. It is a real file system of a few
//! megabytes, in a mount namespace of its own, which ends with the process that holds it.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use jiff::{Timestamp, ToSpan};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::{
    Service,
    events::event,
    postgres::Postgres,
    site::{Site, a_zone_at_noon, audited},
    wait_until,
};

/// Room for the database and its log, and for some seconds of events.
const MEGABYTES: u32 = 8;

/// A file system of its own at a folder, visible to the processes in its namespace.
struct SmallDisk {
    folder: TempDir,
    holder: Child,
}

impl SmallDisk {
    fn new() -> SmallDisk {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a folder can be made under target");
        let script =
            format!("mount -t tmpfs -o size={MEGABYTES}m none \"$0\" && echo mounted && exec cat");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .arg(folder.path())
            .stdin(Stdio::piped()) // it ends when this process closes the pipe
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is installed");
        let mut line = String::new();
        let output = holder.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("it is text");
        assert_eq!(
            line.trim(),
            "mounted",
            "no file system could be mounted in a separate namespace; the error is above"
        );
        SmallDisk { folder, holder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The same folder, as other processes reach it.
    fn seen_from_outside(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.holder.id(), self.path().display()))
    }

    /// Fills the file system.
    fn fill(&self) {
        fill(&self.seen_from_outside());
    }

    fn make_room(&self) {
        make_room(&self.seen_from_outside());
    }
}

/// Fills the file system of this folder.
fn fill(folder: &Path) {
    let block = vec![0; 4096];
    let mut ballast = std::fs::File::create(folder.join("ballast")).expect("a file can be made");
    while std::io::Write::write_all(&mut ballast, &block).is_ok() {}
}

fn make_room(folder: &Path) {
    std::fs::remove_file(folder.join("ballast")).expect("it is there");
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = (self.holder.kill(), self.holder.wait()); // a drop cannot report an error
    }
}

#[tokio::test]
async fn on_a_full_disk_whole_requests_are_refused_and_figures_are_served() {
    let disk = SmallDisk::new();
    let url = format!("sqlite://{}/facility-summary.db", disk.path().display());
    let service = Service::on(url).inside(disk.holder.id()).start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let mut acknowledged = 0;
    // One request of two events, of which both are applied or neither is. Returns whether they were
    // applied.
    let post = async |number: u128| {
        let stock = event(
            "inventory.set",
            json!({
                "inventory_id": Uuid::from_u128(1 + number),
                "blood_bank_id": site.bank,
                "quantity": 1,
            }),
        );
        let events =
            json!([stock, site.request(Uuid::from_u128(1 + number), jiff::Timestamp::now())]);
        let request = service
            .request(reqwest::Method::POST, "/v1/events")
            .header("content-type", "application/cloudevents-batch+json");
        let answer = request.body(events.to_string()).send().await.expect("the service answers");
        let (status, text) = (answer.status().as_u16(), answer.text().await.expect("it is text"));
        assert!(
            status == 200 || status == 503 && text.contains("Nothing "),
            "events were answered {status}: {text}"
        );
        status == 200
    };
    for number in 0..50 {
        assert!(post(number).await, "the events are applied while the disk has room");
        acknowledged += 1;
    }
    disk.fill();
    let (mut number, mut refused) = (50, 0);
    wait_until("the disk is full", async || {
        number += 1;
        let is_taken = post(number).await;
        (acknowledged, refused) =
            (acknowledged + i64::from(is_taken), refused + u32::from(!is_taken));
        refused >= 20
    })
    .await;
    let shown = site.summary(&service, "today").await;
    assert_eq!(
        (shown["total_stock"].as_i64(), shown["total_requests"].as_i64()),
        (Some(acknowledged), Some(acknowledged))
    );
    disk.make_room();
    wait_until("events are taken again", async || {
        number += 1;
        let is_taken = post(number).await;
        acknowledged += i64::from(is_taken);
        is_taken
    })
    .await;
    site.shows(&service, (acknowledged, 0, acknowledged)).await;
    audited(service.launch()).await;
    let again = service.kill_9().await.start().await;
    site.shows(&again, (acknowledged, 0, acknowledged)).await;
}

/// One request of every kind, reads and writes.
fn requests(service: &Service, site: Site, number: u128) -> Vec<(&'static str, RequestBuilder)> {
    let facility = site.facility;
    let date = (Timestamp::now() - (24 * (2 + number as i64 % 300)).hours())
        .in_tz("UTC")
        .expect("it is a zone")
        .date();
    let get = |path: String| service.request(Method::GET, &path);
    let json = |method: Method, path: String, body: serde_json::Value| {
        service.request(method, &path).json(&body)
    };
    // Each has a long name, so that what is written takes room.
    let (id, name) = (Uuid::new_v4(), "North ".repeat(30));
    vec![
        (
            "event",
            json(Method::POST, "/v1/events".into(), site.request(Uuid::new_v4(), Timestamp::now())),
        ),
        ("stock", json(Method::POST, "/v1/events".into(), site.stock(Uuid::new_v4(), 1))),
        (
            "registration",
            json(
                Method::PUT,
                format!("/v1/facilities/{id}"),
                json!({"name": name, "timezone": "Etc/UTC"}),
            ),
        ),
        (
            "bank",
            json(
                Method::PUT,
                format!("/v1/blood-banks/{id}"),
                json!({"name": name, "facility_id": facility}),
            ),
        ),
        ("single", get(format!("/v1/facilities/{facility}/summaries/today"))),
        (
            "source",
            get(format!("/v1/facilities/{facility}/summaries/today"))
                .header("cache-control", "no-cache"),
        ),
        ("past", get(format!("/v1/facilities/{facility}/summaries/{date}"))),
        (
            "range",
            get(format!("/v1/facilities/{facility}/summaries")).header("cache-control", "no-cache"),
        ),
        ("listing", get("/v1/summaries/today".into()).header("cache-control", "no-cache")),
        ("facilities", get("/v1/facilities".into())),
        ("unknown", get(format!("/v1/facilities/{id}"))),
        ("refresh", service.request(Method::POST, &format!("/v1/facilities/{facility}/refresh"))),
        ("rebuild", service.request(Method::POST, "/v1/rebuild")),
        ("run", get(format!("/v1/runs/{id}"))),
        ("ready", get("/health/ready".into())),
    ]
}

/// Sends all requests once. Returns how many were refused as they should be, and which were
/// answered in another way.
async fn ask_all(service: &Service, site: Site, number: u128) -> (u32, Vec<String>) {
    let asked = requests(service, site, number).into_iter().map(|(what, request)| async move {
        let answer = request.send().await.expect("the service answers");
        let (status, retry) =
            (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
        let text = answer.text().await.expect("it is text");
        match status {
            200 | 202 | 404 => Ok(0),
            503 if retry => Ok(1),
            _ => Err(format!("{what} was answered {status}: {text}")),
        }
    });
    let (mut refused, mut wrong) = (0, Vec::new());
    for outcome in futures_util::future::join_all(asked).await {
        match outcome {
            Ok(one) => refused += one,
            Err(error) => wrong.push(error),
        }
    }
    (refused, wrong)
}

#[tokio::test]
async fn on_a_full_disk_under_postgres_every_request_is_answered_or_asked_to_retry() {
    let folder =
        TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made under target");
    let settings = [
        "max_connections=40",
        "max_wal_size=32MB",
        "min_wal_size=32MB",
        "shared_buffers=1MB",
        "autovacuum=off",
    ];
    let (postgres, holder) = Postgres::start_on_small_disk(folder.path(), 160, &settings);
    let disk = PathBuf::from(format!("/proc/{holder}/root{}", folder.path().display()));
    let service = Service::on(postgres.fresh_database().await)
        .env("FACILITY_SUMMARY__REBUILD__CRON", "*/2 * * * * *")
        .start()
        .await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let mut number = 0;
    for round in 0..3 {
        fill(&disk);
        let mut refused = 0;
        wait_until("the disk is full", async || {
            number += 1;
            let (now, wrong) = ask_all(&service, site, number).await;
            assert!(wrong.is_empty(), "round {round}, on a full disk: {wrong:#?}");
            refused += now;
            refused >= 100
        })
        .await;
        make_room(&disk);
        wait_until("every request is served again", async || {
            number += 1;
            let (refused, wrong) = ask_all(&service, site, number).await;
            assert!(wrong.is_empty(), "round {round}, with room on the disk again: {wrong:#?}");
            refused == 0
        })
        .await;
    }
    audited(service.launch()).await;
}
