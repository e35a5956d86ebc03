//! A rolling restart behind a balancer that retries once: no client notices it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, RequestBuilder, StatusCode};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    load::{Load, client},
    parts::{FACILITIES, Fleet, Places},
    support::{postgres::Postgres, site::Site},
    verdict::{Damage, nothing_is_wrong},
};

/// The number of clients behind the balancer, and how long each waits between two requests.
const CLIENTS: usize = 6;
const PACE: Duration = Duration::from_millis(20);

/// Sends each request to the next replica. It sends the request once more, to the replica after
/// that, if the first does not answer, or answers 502, 503 or 504.
struct Balancer {
    places: Arc<Places>,
    next: AtomicUsize,
    client: Client,
    retries: AtomicUsize,
}

impl Balancer {
    /// The status that the client sees.
    async fn send(
        &self,
        request: impl Fn(&Client, &str) -> RequestBuilder,
    ) -> Result<StatusCode, String> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        let first = self.ask(at, &request).await;
        if matches!(&first, Ok(status) if !status.is_server_error()) {
            return first;
        }
        self.retries.fetch_add(1, Ordering::Relaxed);
        self.ask(at + 1, &request).await.map_err(|error| format!("{first:?}, and then {error}"))
    }

    async fn ask(
        &self,
        turn: usize,
        request: &impl Fn(&Client, &str) -> RequestBuilder,
    ) -> Result<StatusCode, String> {
        let at = turn % self.places.replicas();
        let address = self.places.address(at).ok_or("the replica is down")?;
        let sent = request(&self.client, &format!("http://{address}")).send().await;
        let answer = sent.map_err(|error| format!("replica {at}: {error:?}"))?;
        let status = answer.status();
        answer.bytes().await.map_err(|error| format!("replica {at}: {error:?}"))?;
        Ok(status)
    }
}

/// Until `stop` is set, reads and posts requests without a blood type, in turn. Such requests
/// belong to no lane. Returns the number of requests sent, and the failed ones.
async fn use_it(
    balancer: Arc<Balancer>,
    site: Site,
    stop: Arc<AtomicBool>,
) -> (usize, Vec<String>) {
    let (mut count, mut failed) = (0, Vec::new());
    let mut pace = tokio::time::interval(PACE);
    while !stop.load(Ordering::Acquire) {
        pace.tick().await;
        count += 1;
        let outcome = if count % 3 == 0 {
            let event = site.request(Uuid::new_v4(), jiff::Timestamp::now());
            balancer.send(|client, url| client.post(format!("{url}/v1/events")).json(&event)).await
        } else {
            balancer
                .send(|client, url| {
                    client.get(format!("{url}/v1/facilities/{}/summaries/today", site.facility))
                })
                .await
        };
        if outcome != Ok(StatusCode::OK) {
            failed.push(format!("{outcome:?}"));
        }
    }
    (count, failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_request() {
    let postgres = Postgres::start(&[]);
    let mut fleet =
        Fleet::start(3, &postgres, Some(postgres.standby(&[])), |_, launch| launch).await;
    let load = Load::start(&fleet);
    let (places, stop) = (fleet.places.clone(), Arc::<AtomicBool>::default());
    let balancer = Arc::new(Balancer {
        places,
        next: AtomicUsize::default(),
        client: client(),
        retries: AtomicUsize::default(),
    });
    let mut clients = JoinSet::new();
    for at in 0..CLIENTS {
        clients.spawn(use_it(balancer.clone(), fleet.places.sites[at % FACILITIES], stop.clone()));
    }
    for replica in 0..fleet.replicas.len() {
        load.flows(300).await;
        let told = Instant::now();
        fleet.terminate(replica).await;
        eprintln!("replica {replica}: stopped within {} ms", told.elapsed().as_millis());
        fleet.start_again(replica).await;
        fleet.is_back("a replica that was replaced", Instant::now()).await;
    }
    load.flows(300).await;
    stop.store(true, Ordering::Release);
    let (mut requests, mut failed) = (0, Vec::new());
    while let Some(ended) = clients.join_next().await {
        let (count, failures) = ended.expect("a client does not panic");
        requests += count;
        failed.extend(failures);
    }
    eprintln!(
        "{requests} requests by the balancer, {} of them again",
        balancer.retries.load(Ordering::Relaxed)
    );
    assert!(
        failed.is_empty(),
        "{} of {requests} failed: {:#?}",
        failed.len(),
        &failed[..failed.len().min(5)]
    );
    nothing_is_wrong(&fleet, load, Damage::NONE).await;
}
