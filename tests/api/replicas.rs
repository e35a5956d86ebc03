//! Several replicas of the service on one Postgres and one Redis. Every replica gives the same
//! answers, also when a dependency is missing.

mod asked_age;
mod came_back;
mod changes;
mod claims;
mod company;
mod diary;
mod directory;
mod epochs;
mod gaps;
mod joining;
mod leader;
mod moved_bank;
mod moved_zone;
mod one_refresh;
mod own_writes;
mod read_pool;
mod redis_lost;
mod redis_rung;
mod unwatched;
mod views;

use std::{net::SocketAddr, ops::Index};

use reqwest::Response;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    steps::{Scrape, get, header, read},
    support::{
        PATIENCE, Service,
        postgres::Postgres,
        redis::Redis,
        service::Launch,
        site::{Site, acknowledged},
        wait_until,
    },
};

const HIT: &str = "facility-summary; hit; detail=memory";

/// Replicas and their Redis. The first replica has started before the others.
struct Fleet {
    replicas: Vec<Service>,
    launch: Launch,
    redis: Redis,
}

impl Fleet {
    /// With the default settings.
    async fn of(count: usize) -> Fleet {
        Fleet::with(count, |launch| launch).await
    }

    /// With settings of its own, on an empty database of the shared Postgres.
    async fn with(count: usize, settings: impl FnOnce(Launch) -> Launch) -> Fleet {
        Fleet::on(settings(Service::on_postgres().await), count, Redis::start()).await
    }

    /// With settings by which an event waits for a lock as long as a test holds it, already in its
    /// first try, and keeps its place in the queue.
    async fn patient(count: usize, settings: impl FnOnce(Launch) -> Launch) -> Fleet {
        let patience = PATIENCE.as_millis();
        let patient = |launch: Launch| {
            launch
                .env("FACILITY_SUMMARY__INGEST__GROUP_LOCK_TIMEOUT_MS", patience)
                .env("FACILITY_SUMMARY__INGEST__TIMEOUT_MS", 2 * patience)
        };
        Fleet::with(count, |launch| patient(settings(launch))).await
    }

    async fn on(launch: Launch, count: usize, redis: Redis) -> Fleet {
        let launch = launch
            .env("REDIS_URL", redis.url())
            // A rebuild would repair what a test looks for.
            .env("FACILITY_SUMMARY__REBUILD__CRON", "off")
            .env("FACILITY_SUMMARY__DATABASE__MIN_CONNECTIONS", 2);
        let mut fleet = Fleet { replicas: Vec::new(), launch, redis };
        for _ in 0..count {
            fleet.join().await;
        }
        fleet
    }

    /// Starts one more replica.
    async fn join(&mut self) {
        self.replicas.push(self.launch.clone().start().await);
        wait_until_whole(self.replicas.last().expect("it was just pushed")).await;
    }

    fn len(&self) -> usize {
        self.replicas.len()
    }

    /// All replicas but this one.
    fn others(&self, than: usize) -> impl Iterator<Item = &Service> {
        self.replicas
            .iter()
            .enumerate()
            .filter(move |(index, _)| *index != than)
            .map(|(_, replica)| replica)
    }

    /// The sum of a metric over all replicas.
    async fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let mut sum = 0.0;
        for replica in &self.replicas {
            sum += Scrape::of(replica).await.sum(name, labels);
        }
        sum
    }
}

impl Index<usize> for Fleet {
    type Output = Service;

    fn index(&self, index: usize) -> &Service {
        &self.replicas[index]
    }
}

/// Waits until all dependencies of the replica are up.
async fn wait_until_whole(replica: &Service) {
    wait_until("all dependencies of the replica are up", async || {
        get(replica, "/health/ready").await["status"] == "ready"
    })
    .await;
}

/// What `/health/ready` says: its status, and the state of this dependency.
async fn state(replica: &Service, dependency: &str) -> (String, String) {
    let response = replica.get("/health/ready").await;
    assert_eq!(response.status(), 200, "a replica stays ready when it has lost a dependency");
    let ready: Value = response.json().await.unwrap();
    let dependencies = ready["dependencies"].as_array().unwrap();
    let found = dependencies
        .iter()
        .find(|found| found["name"] == dependency)
        .unwrap_or_else(|| panic!("no {dependency} in {ready}"));
    assert_eq!(found["last_error"].is_string(), found["state"] == "down", "{ready}");
    (ready["status"].as_str().unwrap().to_owned(), found["state"].as_str().unwrap().to_owned())
}

/// The tier that an answer came from.
fn source(response: &Response) -> String {
    header(response, "cache-status")
}

fn today(site: Site) -> String {
    crate::steps::path(site.facility, "today")
}

/// Waits until this replica's memory shows the stock. The reads use no other tier.
#[track_caller]
fn holds(replica: &Service, site: Site, stock: i64) -> impl Future<Output = ()> {
    wait_until("the replica's memory shows the stock", async move || {
        let response = read(replica, &today(site), "only-if-cached").await;
        response.status() == 200
            && source(&response) == HIT
            && response.json::<Value>().await.unwrap()["total_stock"] == stock
    })
}

/// Sets the stock of an item, and returns the version that the facility's day has then.
async fn set_stock(replica: &Service, site: Site, item: Uuid, quantity: i64) -> i64 {
    let applied = acknowledged(replica, &site.stock(item, quantity)).await;
    applied["summaries"][0]["version"].as_i64().unwrap_or_else(|| panic!("no version in {applied}"))
}

/// The host and port of a server.
fn authority(server: &Postgres) -> &str {
    server
        .url()
        .rsplit_once('@')
        .and_then(|(_, rest)| rest.split_once('/'))
        .expect("a URL has a host and a path")
        .0
}

/// The host and port of a single Redis.
fn authority_of(redis_url: &str) -> SocketAddr {
    redis_url.trim_start_matches("redis://").parse().expect("the script prints an address")
}
