//! Postgres hangs. Replicas serve the figures that memory and Redis hold, refuse requests that need
//! the database in time, and answer every request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use tokio::task::JoinSet;

use crate::{
    load::{Load, client},
    parts::{FACILITIES, Fleet, Places},
    support::postgres::Postgres,
    verdict::{Damage, nothing_is_wrong},
};

/// How long Postgres hangs.
const FROZEN: Duration = Duration::from_secs(8);
/// `ingest.timeout_ms` of the replicas.
const INGEST: Duration = Duration::from_secs(2);
/// The time that a busy machine may add to a time-out.
const SLACK: Duration = Duration::from_millis(1_500);
/// The pause between two requests of a client.
const PACE: Duration = Duration::from_millis(50);

/// The answers to one client.
#[derive(Default)]
struct Seen {
    /// The longest time that a request took.
    slowest: Duration,
    answered: usize,
    refused: usize,
    wrong: Vec<String>,
}

impl Seen {
    fn take(&mut self, asked: Instant, outcome: Result<StatusCode, String>) {
        self.slowest = self.slowest.max(asked.elapsed());
        match outcome {
            Ok(StatusCode::OK) => self.answered += 1,
            Ok(StatusCode::SERVICE_UNAVAILABLE) => self.refused += 1,
            other => self.wrong.push(format!("{other:?}")),
        }
    }

    fn merge(mut self, other: Seen) -> Seen {
        self.wrong.extend(other.wrong);
        let (answered, refused) = (self.answered + other.answered, self.refused + other.refused);
        Seen { slowest: self.slowest.max(other.slowest), answered, refused, wrong: self.wrong }
    }
}

/// Reads one facility at one replica, with the default bound.
async fn reads(
    places: Arc<Places>,
    replica: usize,
    facility: usize,
    stop: Arc<AtomicBool>,
) -> Seen {
    let (client, mut seen, mut pace) = (client(), Seen::default(), tokio::time::interval(PACE));
    let url = format!(
        "http://{}/v1/facilities/{}/summaries/today",
        places.address(replica).expect("it runs"),
        places.sites[facility].facility
    );
    while !stop.load(Ordering::Acquire) {
        pace.tick().await;
        let asked = Instant::now();
        let answer = client.get(&url).send().await;
        seen.take(asked, answer.map(|answer| answer.status()).map_err(|error| error.to_string()));
    }
    seen
}

/// Posts requests without a blood type, which are in no lane.
async fn posts(places: Arc<Places>, replica: usize, stop: Arc<AtomicBool>) -> Seen {
    let (client, mut seen, mut pace) = (client(), Seen::default(), tokio::time::interval(PACE));
    let (url, site) = (
        format!("http://{}/v1/events", places.address(replica).expect("it runs")),
        places.sites[0],
    );
    while !stop.load(Ordering::Acquire) {
        pace.tick().await;
        let event = site.request(uuid::Uuid::new_v4(), jiff::Timestamp::now());
        let asked = Instant::now();
        let answer = client.post(&url).json(&event).send().await;
        let told = answer.map_err(|error| error.to_string()).and_then(|answer| {
            match answer.headers().contains_key("retry-after") {
                false if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    Err("503 without Retry-After".to_owned())
                }
                _ => Ok(answer.status()),
            }
        });
        seen.take(asked, told);
    }
    seen
}

async fn all(clients: JoinSet<Seen>) -> Seen {
    clients.join_all().await.into_iter().fold(Seen::default(), Seen::merge)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_hangs_for_seconds() {
    let postgres = Postgres::start(&[]);
    let standby = Some(postgres.standby(&[]));
    let ingest_ms = INGEST.as_millis();
    let fleet = Fleet::start(3, &postgres, standby, |_, launch| {
        launch.env("FACILITY_SUMMARY__INGEST__TIMEOUT_MS", ingest_ms)
    })
    .await;
    let load = Load::start(&fleet);
    load.flows(600).await;
    postgres.freeze();
    let (stop, mut readers, mut writers) =
        (Arc::<AtomicBool>::default(), JoinSet::new(), JoinSet::new());
    for replica in 0..fleet.replicas.len() {
        // A replica without memory has its figures from Redis. On a busy machine the time-out of
        // Redis may pass.
        if fleet.replicas[replica].remembers {
            (0..FACILITIES).for_each(|facility| {
                drop(readers.spawn(reads(fleet.places.clone(), replica, facility, stop.clone())))
            });
        }
        writers.spawn(posts(fleet.places.clone(), replica, stop.clone()));
    }
    load.flows_for(FROZEN).await;
    for replica in &fleet.replicas {
        assert_eq!(replica.readiness().await, ("degraded".to_owned(), vec!["postgres".to_owned()]));
    }
    postgres.thaw();
    fleet.is_back("Postgres that hung", Instant::now()).await;
    load.flows(400).await;
    stop.store(true, Ordering::Release);
    let (read, posted) = (all(readers).await, all(writers).await);
    for (seen, what) in [(&read, "reads"), (&posted, "events")] {
        eprintln!(
            "{what}: {} answered, {} refused, each within {} ms",
            seen.answered,
            seen.refused,
            seen.slowest.as_millis()
        );
        assert!(seen.wrong.is_empty(), "{what}: {:#?}", &seen.wrong[..seen.wrong.len().min(5)]);
    }
    assert_eq!(read.refused, 0, "reads of figures in memory or Redis were refused");
    assert!(
        posted.refused > 0 && posted.slowest <= INGEST + SLACK,
        "an event waited for {:?}",
        posted.slowest
    );
    nothing_is_wrong(&fleet, load, Damage::NONE).await;
}
