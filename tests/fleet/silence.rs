//! The database vanishes: connections stay open, and no byte ever comes back over them.

use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection};

use crate::{
    parts::{socket, through},
    postgres::{A_WHILE, fleet_with, waits_for_its_standby},
    proxy::Proxy,
    support::{
        Service, plain_sql,
        postgres::Postgres,
        site::{Site, a_zone_at_noon},
        wait_until, wait_until_within,
    },
    verdict::{Damage, nothing_is_wrong},
};

/// The machine of the primary loses power, and a standby takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_a_primary_that_vanished_are_given_up() {
    let primary = Postgres::start(&[]);
    let standby = primary.standby(&[]);
    waits_for_its_standby(&primary).await;
    let (fleet, load) = fleet_with(&primary, Some(standby)).await;
    fleet.loses_its_database_in_silence();
    primary.crash();
    load.flows_for(A_WHILE).await;
    fleet.standby().promote();
    fleet.finds(fleet.standby());
    fleet.is_back("a primary that vanished", Instant::now()).await;
    load.flows(400).await;
    nothing_is_wrong(&fleet, load, Damage::NEW_EPOCH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_connections_work_after_a_network_discarded_all_bytes() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet_with(&postgres, None).await;
    fleet.loses_its_database_in_silence();
    load.flows_for(A_WHILE).await;
    fleet.finds(&postgres);
    fleet.is_back("a network that swallowed connections", Instant::now()).await;
    load.flows(400).await;
    nothing_is_wrong(&fleet, load, Damage::NONE).await;
}

/// Longer than any time that this file measures.
const HELD: &str = "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; \
                    BEGIN; SELECT FROM facility_state FOR UPDATE";

/// Statements of every kind wait for a lock when the network stops forwarding. None of them ever
/// gets an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_in_flight_when_the_network_fell_silent_end() {
    let postgres = Postgres::start(&[]);
    let url = postgres.fresh_database().await;
    let network = Proxy::to(socket(&url));
    let service = Service::on(through(&url, &network))
        .env("FACILITY_SUMMARY__REFRESH__LOCK_TIMEOUT_MS", 20_000)
        .start()
        .await;
    let mut sites = Vec::new();
    for _ in 0..4 {
        sites.push(Site::register(&service, &a_zone_at_noon().0).await);
    }
    let today = |site: &Site| format!("/v1/facilities/{}/summaries/today", site.facility);
    let read = async |site: &Site, directives: &str| {
        let read = service
            .request(reqwest::Method::GET, &today(site))
            .header("cache-control", directives)
            .send()
            .await;
        read.expect("it answers").status().as_u16()
    };
    let mut holder = PgConnection::connect(&url).await.expect("the database accepts connections");
    holder.execute(HELD).await.expect("a lock can be held");
    let written = format!(
        "INSERT INTO blood_requests (id, facility_id, quantity) VALUES (gen_random_uuid(), '{}', \
         1)",
        sites[2].facility
    );
    plain_sql::execute(&url, &written).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND \
                   application_name = 'facility-summary'";
    let readers = async {
        let (a, b) = (read(&sites[0], "no-cache"), read(&sites[1], "no-cache"));
        futures_util::future::join(a, b).await
    };
    let (statuses, ()) = futures_util::future::join(readers, async {
        // As many readers as refreshes run at the same time, and the drain.
        wait_until("refreshes wait for the lock", async || {
            plain_sql::number(&url, waiting).await >= 3
        })
        .await;
        network.swallow();
    })
    .await;
    assert_eq!(statuses, (503, 503), "no reader waits longer than the refresh time-out");
    holder.execute("ROLLBACK").await.expect("the lock can be let go");
    network.lead_to(socket(&url));
    let since = Instant::now();
    // The server still holds their locks, until it ends an idle transaction (2 s).
    wait_until_within(Duration::from_secs(10), "all readers get fresh figures", async || {
        for site in &sites {
            if read(site, "no-cache").await != 200 {
                return false;
            }
        }
        true
    })
    .await;
    eprintln!(
        "refreshes that the network swallowed: back to normal after {} ms",
        since.elapsed().as_millis()
    );
}
