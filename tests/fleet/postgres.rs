//! Postgres stops, is cut off, is slow, and hands over to a standby that has everything.

use std::time::{Duration, Instant};

use crate::{
    load::Load,
    parts::Fleet,
    support::{plain_sql, postgres::Postgres, wait_until},
    verdict::nothing_is_wrong,
};

/// How long a fault lasts.
const A_WHILE: Duration = Duration::from_secs(4);

/// Three replicas under load.
pub async fn fleet(postgres: &Postgres) -> (Fleet, Load) {
    let fleet = Fleet::start(3, postgres, |_, launch| launch).await;
    let load = Load::start(&fleet);
    load.flows(400).await;
    (fleet, load)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_stops_and_starts() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    for crashes in [false, true] {
        if crashes {
            postgres.crash()
        } else {
            postgres.stop()
        }
        load.flows_for(A_WHILE).await;
        postgres.start_again();
        fleet.is_back("Postgres that stopped", Instant::now()).await;
        load.flows(400).await;
    }
    nothing_is_wrong(&fleet, load, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_cut_in_mid_statement() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    for round in 0..6 {
        for (at, replica) in fleet.replicas.iter().enumerate() {
            match (round + at) % 3 {
                0 => replica.database.tear_a_request(),
                1 => replica.database.tear_an_answer(),
                _ => replica.database.cut(),
            }
            wait_until("something was torn", async || replica.database.is_torn()).await;
        }
        load.flows(100).await;
    }
    fleet.is_back("a network that tears", Instant::now()).await;
    nothing_is_wrong(&fleet, load, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_slow_for_a_while() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    for delay_ms in [20, 150] {
        fleet.replicas.iter().for_each(|replica| replica.database.delay(Duration::from_millis(delay_ms)));
        load.flows_for(2 * A_WHILE).await;
    }
    fleet.replicas.iter().for_each(|replica| replica.database.delay(Duration::ZERO));
    fleet.is_back("a slow database", Instant::now()).await;
    load.flows(200).await;
    nothing_is_wrong(&fleet, load, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_takes_over() {
    let primary = Postgres::start(&[]);
    let standby = primary.standby(&[]);
    plain_sql::execute(primary.url(), "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
    plain_sql::execute(primary.url(), "SELECT pg_reload_conf()").await;
    wait_until("the standby is synchronous", async || {
        plain_sql::number(primary.url(), "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").await == 1
    })
    .await;
    let (fleet, load) = fleet(&primary).await;
    primary.crash();
    load.flows_for(A_WHILE / 2).await;
    standby.promote();
    fleet.follows(&standby);
    fleet.is_back("a synchronous standby", Instant::now()).await;
    load.flows(400).await;
    nothing_is_wrong(&fleet, load, None).await;
}
