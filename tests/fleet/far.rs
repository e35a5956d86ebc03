//! A replica whose database is far away: each round trip takes a third of a second. There is no
//! other fault.

use std::time::Duration;

use crate::{
    parts::{socket, through},
    proxy::Proxy,
    support::{Service, postgres::Postgres, site::Site},
};

const EACH_WAY: Duration = Duration::from_millis(150);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_far_from_its_database_starts_and_serves() {
    let postgres = Postgres::start(&[]);
    let url = postgres.fresh_database().await;
    let network = Proxy::to(socket(&url));
    let migrated = Service::on(&url).run(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.output);
    network.delay(EACH_WAY);
    // A transaction takes many round trips, and the first one over a connection takes the most.
    let launch =
        Service::on(through(&url, &network)).env("FACILITY_SUMMARY__INGEST__TIMEOUT_MS", 60_000);
    let impatient = launch.clone().env("FACILITY_SUMMARY__DATABASE__ACQUIRE_TIMEOUT_MS", 1_000);
    let exited = impatient.run(&["serve"]).await;
    assert!(
        exited
            .output
            .contains("raise database.acquire_timeout_ms, or lower database.min_connections"),
        "{}",
        exited.output
    );

    let service = launch.start().await;
    let site = Site::register(&service, "UTC").await;
    assert_eq!(site.summary(&service, "today").await["version"], 1);
}
