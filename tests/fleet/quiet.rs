//! After a fault is over, every request is served: soon after a dependency was away, and at once
//! after a change of what the figures are about.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{Timestamp, ToSpan};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    load::client,
    parts::{Fleet, Places},
    postgres::A_WHILE,
    support::{postgres::Postgres, wait_until},
};

/// The pause between two requests of a client.
const PACE: Duration = Duration::from_millis(20);

/// How long after a fault requests may still be refused. One request per second tries whether the
/// database is back, and for two seconds no request tries a lock that could not be taken.
const SOON: Duration = Duration::from_secs(3);

/// How many answers each client must have after that.
const ENOUGH: usize = 20;

/// What a client requests, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Event,
    Default,
    NoCache,
    MaxAge,
    PastDay,
    OwnWrite,
    Unknown,
}

const ALL: [Asks; 7] = [
    Asks::Event,
    Asks::Default,
    Asks::NoCache,
    Asks::MaxAge,
    Asks::PastDay,
    Asks::OwnWrite,
    Asks::Unknown,
];

/// A request that was not served.
#[derive(Debug)]
#[allow(dead_code)] // shown where there should be none
struct Refusal {
    asks: Asks,
    replica: usize,
    status: u16,
    detail: String,
    sent: Instant,
}

/// Clients of every kind at each replica, until they are ended.
struct Clients {
    shared: Arc<Shared>,
    tasks: JoinSet<Vec<Refusal>>,
}

struct Shared {
    places: Arc<Places>,
    stop: AtomicBool,
    /// The greatest version that an event was answered with.
    version: AtomicI64,
    /// By client: answers so far.
    answers: Vec<AtomicUsize>,
}

impl Clients {
    fn start(fleet: &Fleet) -> Clients {
        let answers =
            (0..fleet.replicas.len() * ALL.len()).map(|_| AtomicUsize::default()).collect();
        let shared = Arc::new(Shared {
            places: fleet.places.clone(),
            stop: AtomicBool::default(),
            version: AtomicI64::default(),
            answers,
        });
        let mut tasks = JoinSet::new();
        for at in 0..shared.answers.len() {
            tasks.spawn(go_on(shared.clone(), at));
        }
        Clients { shared, tasks }
    }

    /// Waits until each client has had so many more answers of any kind.
    #[track_caller]
    fn go_on(&self) -> impl Future<Output = ()> {
        let count = |shared: &Shared| {
            shared.answers.iter().map(|answers| answers.load(Ordering::Acquire)).collect::<Vec<_>>()
        };
        let before = count(&self.shared);
        wait_until("each client has more answers", async move || {
            count(&self.shared).iter().zip(&before).all(|(now, before)| now - before >= ENOUGH)
        })
    }

    /// Ends the clients once each has had answers after this instant. Asserts that no request that
    /// was sent after it was refused.
    async fn are_served_from(self, what: &str, from: Instant) {
        wait_until("the time has come", async || Instant::now() >= from).await;
        self.go_on().await;
        self.shared.stop.store(true, Ordering::Release);
        let refusals: Vec<Refusal> = self.tasks.join_all().await.into_iter().flatten().collect();
        let late: Vec<&Refusal> = refusals.iter().filter(|refusal| refusal.sent >= from).collect();
        eprintln!("{what}: {} requests refused, {} of them too late", refusals.len(), late.len());
        assert!(
            late.is_empty(),
            "{what}: {} were refused: {:#?}",
            late.len(),
            &late[..late.len().min(5)]
        );
    }
}

/// Runs one client.
async fn go_on(shared: Arc<Shared>, at: usize) -> Vec<Refusal> {
    let (replica, asks) = (at / ALL.len(), ALL[at % ALL.len()]);
    let (client, mut refusals, item, mut number) = (client(), Vec::new(), Uuid::new_v4(), 0);
    while !shared.stop.load(Ordering::Acquire) {
        tokio::time::sleep(PACE).await;
        number += 1;
        let sent = Instant::now();
        let Ok(answer) = request(&client, &shared, replica, asks, item, number).send().await else {
            continue;
        };
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        let own = shared.places.sites[0].facility.to_string();
        for summary in body["summaries"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|summary| summary["facility_id"] == own)
        {
            shared.version.fetch_max(summary["version"].as_i64().unwrap_or(0), Ordering::AcqRel);
        }
        if status != StatusCode::OK && !(asks == Asks::Unknown && status == StatusCode::NOT_FOUND) {
            let detail = body["detail"].as_str().unwrap_or_default().to_owned();
            refusals.push(Refusal { asks, replica, status: status.as_u16(), detail, sent });
        }
        shared.answers[at].fetch_add(1, Ordering::AcqRel);
    }
    refusals
}

fn request(
    client: &Client,
    shared: &Shared,
    replica: usize,
    asks: Asks,
    item: Uuid,
    number: i64,
) -> RequestBuilder {
    let address = shared.places.address(replica).expect("it runs");
    let (written, quiet, past) =
        (shared.places.sites[0], shared.places.sites[1].facility, shared.places.sites[2].facility);
    let get = |path: String| client.request(Method::GET, format!("http://{address}{path}"));
    let today = |facility: Uuid| format!("/v1/facilities/{facility}/summaries/today");
    match asks {
        Asks::Event => {
            client.post(format!("http://{address}/v1/events")).json(&written.stock(item, number))
        }
        Asks::Default => get(today(quiet)),
        Asks::NoCache => get(today(quiet)).header("cache-control", "no-cache"),
        Asks::MaxAge => get(today(quiet)).header("cache-control", "max-age=1"),
        Asks::PastDay => {
            let date = (Timestamp::now() - (24 * (2 + number % 300)).hours())
                .in_tz("UTC")
                .expect("it is a zone")
                .date();
            get(format!("/v1/facilities/{past}/summaries/{date}"))
        }
        Asks::OwnWrite => get(format!(
            "{}?min_version={}",
            today(written.facility),
            shared.version.load(Ordering::Acquire)
        )),
        Asks::Unknown => get(format!("/v1/facilities/{}", Uuid::new_v4())),
    }
}

async fn fleet_on(postgres: &Postgres) -> Fleet {
    Fleet::start(3, postgres, None, |_, launch| launch).await
}

async fn lasts() {
    let begun = Instant::now();
    wait_until("the fault has lasted", async || begun.elapsed() >= A_WHILE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soon_after_a_dependency_is_back_no_request_is_refused() {
    let postgres = Postgres::start(&[]);
    let fleet = fleet_on(&postgres).await;
    let site = fleet.places.sites[1].facility;
    let mut holder =
        PgConnection::connect(&fleet.database_on(&postgres)).await.expect("it accepts connections");
    for what in [
        "a lock",
        "Postgres that hung",
        "a network that refused",
        "a network that fell silent",
        "Redis",
        "a replica that slept",
        "Postgres",
    ] {
        let clients = Clients::start(&fleet);
        clients.go_on().await;
        match what {
            "a lock" => {
                let lock = format!(
                    "BEGIN; SELECT 1 FROM facility_state WHERE facility_id = '{site}' FOR UPDATE"
                );
                sqlx::raw_sql(AssertSqlSafe(lock))
                    .execute(&mut holder)
                    .await
                    .expect("it can be locked");
                lasts().await;
                sqlx::raw_sql("COMMIT").execute(&mut holder).await.expect("it is given back");
            }
            "Postgres that hung" => {
                postgres.freeze();
                lasts().await;
                postgres.thaw();
            }
            "a network that refused" => {
                fleet.loses_its_database();
                lasts().await;
                fleet.follows(&postgres);
            }
            "a network that fell silent" => {
                fleet.loses_its_database_in_silence();
                lasts().await;
                fleet.finds(&postgres);
            }
            "Redis" => {
                fleet.redis.stop();
                lasts().await;
                fleet.redis.start_empty();
            }
            "a replica that slept" => {
                fleet.replicas[0].service().signal(libc::SIGSTOP);
                lasts().await;
                fleet.replicas[0].service().signal(libc::SIGCONT);
            }
            _ => {
                postgres.stop();
                lasts().await;
                postgres.start_again();
            }
        }
        clients.are_served_from(what, Instant::now() + SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_zone_or_of_a_banks_facility_refuses_no_request() {
    let postgres = Postgres::start(&[]);
    let fleet = fleet_on(&postgres).await;
    let [written, quiet] = [fleet.places.sites[0], fleet.places.sites[1]];
    let mut sql =
        PgConnection::connect(&fleet.places.primary).await.expect("it accepts connections");
    let clients = Clients::start(&fleet);
    clients.go_on().await;
    let begun = Instant::now();
    for (at, zone) in [
        "Asia/Kolkata",
        "America/New_York",
        "Pacific/Auckland",
        "Europe/Berlin",
        "Asia/Tokyo",
        "UTC",
    ]
    .iter()
    .enumerate()
    {
        let to = [quiet, written][at % 2].facility;
        let change = format!(
            "UPDATE facilities SET timezone = '{zone}' WHERE id IN ('{}', '{}'); UPDATE \
             blood_banks SET facility_id = '{to}' WHERE id = '{}'",
            written.facility, quiet.facility, written.bank
        );
        sqlx::raw_sql(AssertSqlSafe(change)).execute(&mut sql).await.expect("anybody may write");
        clients.go_on().await;
        for facility in [written.facility, quiet.facility] {
            let body = json!({"name": format!("Site {facility}"), "timezone": "Africa/Nairobi"});
            assert_eq!(
                fleet.replicas[at % 3]
                    .service()
                    .put(&format!("/v1/facilities/{facility}"), &body)
                    .await
                    .status(),
                200
            );
        }
        clients.go_on().await;
    }
    clients.are_served_from("zones and banks that move", begun).await;
}
