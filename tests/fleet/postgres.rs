//! Postgres stops, is cut off, is slow, hands over to a standby, and is restored from what somebody kept.

use std::time::{Duration, Instant};

use crate::{
    history::Loss,
    load::Load,
    parts::{Fleet, socket, through},
    proxy::Proxy,
    support::{plain_sql, postgres::Postgres, wait_until},
    verdict::{nothing_is_wrong, survived},
};

/// How long a fault lasts.
const A_WHILE: Duration = Duration::from_secs(4);

async fn fleet(postgres: &Postgres) -> (Fleet, Load) {
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

/// The standby takes over, as soon as the primary has died.
async fn promote(standby: &Postgres) {
    plain_sql::execute(standby.url(), "SELECT pg_promote(true, 60)").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_takes_over() {
    let primary = Postgres::start(&[]);
    let standby = Postgres::start_standby(primary.url());
    plain_sql::execute(primary.url(), "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
    plain_sql::execute(primary.url(), "SELECT pg_reload_conf()").await;
    wait_until("the standby is synchronous", async || {
        plain_sql::number(primary.url(), "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").await == 1
    })
    .await;
    let (fleet, load) = fleet(&primary).await;
    primary.crash();
    load.flows_for(A_WHILE / 2).await;
    promote(&standby).await;
    fleet.follows(&standby);
    fleet.is_back("a synchronous standby", Instant::now()).await;
    load.flows(400).await;
    nothing_is_wrong(&fleet, load, None).await;
}

/// The fleet goes on with what that server has, which lacks some of what was acknowledged.
async fn goes_on_with_less(fleet: &Fleet, load: &Load, server: &Postgres, what: &str) -> Loss {
    let loss = survived(&fleet.database_on(server)).await;
    fleet.follows(server);
    fleet.is_back(what, Instant::now()).await;
    load.begins_a_new_history();
    load.flows(400).await;
    loss
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asynchronous_standby_takes_over_with_less() {
    let primary = Postgres::start(&[]);
    let network = Proxy::to(socket(primary.url()));
    let standby = Postgres::start_standby(&through(primary.url(), &network));
    let (fleet, load) = fleet(&primary).await;
    network.refuse();
    load.flows(400).await;
    fleet.loses_its_database();
    primary.crash();
    promote(&standby).await;
    let loss = goes_on_with_less(&fleet, &load, &standby, "an asynchronous standby").await;
    nothing_is_wrong(&fleet, load, Some(loss)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_backup_is_restored() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    postgres.back_up();
    load.flows(400).await;
    let loss = restore(&fleet, &load, &postgres).await;
    nothing_is_wrong(&fleet, load, Some(loss)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_files_is_restored() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    postgres.stop();
    postgres.copy();
    postgres.start_again();
    fleet.is_back("Postgres that was copied", Instant::now()).await;
    load.flows(400).await;
    let loss = restore(&fleet, &load, &postgres).await;
    nothing_is_wrong(&fleet, load, Some(loss)).await;
}

async fn restore(fleet: &Fleet, load: &Load, postgres: &Postgres) -> Loss {
    fleet.loses_its_database();
    postgres.stop();
    postgres.restore();
    postgres.start_again();
    goes_on_with_less(fleet, load, postgres, "a backup").await
}
