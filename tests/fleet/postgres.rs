//! Postgres stops, is cut off, is slow, and is replaced by a standby that lacks nothing.

use std::time::{Duration, Instant};

use facility_summary::config::DatabaseSettings;

use crate::{
    load::Load,
    parts::{Fleet, socket, through},
    proxy::Proxy,
    support::{plain_sql, postgres::Postgres, wait_until},
    verdict::{Damage, nothing_is_wrong},
};

/// How long a fault lasts.
pub const A_WHILE: Duration = Duration::from_secs(4);

/// Three replicas under load, which may read from a standby.
pub async fn fleet(postgres: &Postgres) -> (Fleet, Load) {
    fleet_with(postgres, Some(postgres.standby(&[]))).await
}

pub async fn fleet_with(postgres: &Postgres, standby: Option<Postgres>) -> (Fleet, Load) {
    let fleet = Fleet::start(3, postgres, standby, |_, launch| launch).await;
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
    nothing_is_wrong(&fleet, load, Damage::NONE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_cut_in_mid_statement() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    for round in 0..15 {
        for (at, replica) in fleet.replicas.iter().enumerate() {
            match (round + at) % 3 {
                0 => replica.database.tear_a_request(),
                1 => replica.database.tear_an_answer(),
                _ => replica.database.cut(),
            }
            wait_until("something was torn", async || replica.database.is_torn()).await;
        }
        load.flows(50).await;
    }
    fleet.is_back("a network that tears", Instant::now()).await;
    nothing_is_wrong(&fleet, load, Damage::NONE).await;
}

/// Some commits are refused after all statements succeeded, as on a disk without room for the
/// commit.
const REFUSES_COMMITS: &str = "CREATE FUNCTION refuse_some() RETURNS trigger LANGUAGE plpgsql AS \
                               $$
    BEGIN IF random() < 0.15 THEN RAISE EXCEPTION 'no room for this commit' USING ERRCODE = \
                               'disk_full'; END IF; RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER refuse_some AFTER INSERT ON blood_requests DEFERRABLE INITIALLY \
                               DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse_some()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_refused_every_now_and_then() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    plain_sql::execute(&fleet.places.primary, REFUSES_COMMITS).await;
    load.flows(1_500).await;
    plain_sql::execute(&fleet.places.primary, "DROP FUNCTION refuse_some CASCADE").await;
    fleet.is_back("Postgres that refused commits", Instant::now()).await;
    nothing_is_wrong(&fleet, load, Damage::NONE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_slow_for_a_while() {
    let postgres = Postgres::start(&[]);
    let (mut fleet, load) = fleet(&postgres).await;
    for delay_ms in [20, 100] {
        fleet
            .replicas
            .iter()
            .for_each(|replica| replica.database.delay(Duration::from_millis(delay_ms)));
        load.flows_for(A_WHILE).await;
    }
    // The replica learns the database's time from slow answers only.
    fleet.replicas[0].database.delay(Duration::from_millis(20));
    fleet.terminate(0).await;
    fleet.start_again(0).await;
    load.flows_for(A_WHILE).await;
    fleet.replicas.iter().for_each(|replica| replica.database.delay(Duration::ZERO));
    fleet.is_back("a slow database", Instant::now()).await;
    load.flows(200).await;
    nothing_is_wrong(&fleet, load, Damage::NONE).await;
}

/// From now on each commit waits until a standby has it.
pub async fn waits_for_its_standby(primary: &Postgres) {
    plain_sql::execute(primary.url(), "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
    plain_sql::execute(primary.url(), "SELECT pg_reload_conf()").await;
    wait_until("the standby is synchronous", async || {
        plain_sql::number(
            primary.url(),
            "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'",
        )
        .await
            == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_takes_over() {
    let primary = Postgres::start(&[]);
    let standby = primary.standby(&[]);
    waits_for_its_standby(&primary).await;
    let (fleet, load) = fleet_with(&primary, Some(standby)).await;
    primary.crash();
    load.flows_for(A_WHILE / 2).await;
    fleet.standby().promote();
    fleet.follows(fleet.standby());
    fleet.is_back("a synchronous standby", Instant::now()).await;
    load.flows(400).await;
    nothing_is_wrong(&fleet, load, Damage::NEW_EPOCH).await;
}

/// Commits hang: they are neither acknowledged nor lost. Then the standby, which never received
/// them, gives the numbers of their transactions to other transactions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_that_was_cut_off_takes_over() {
    let primary = Postgres::start(&[]);
    let link = Proxy::to(socket(primary.url()));
    let standby = Postgres::start(&["--standby-of", &through(primary.url(), &link)]);
    waits_for_its_standby(&primary).await;
    let (fleet, load) = fleet_with(&primary, Some(standby)).await;
    link.refuse();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND \
                   application_name = 'facility-summary'";
    wait_until("commits of every replica hang", async || {
        plain_sql::number(primary.url(), waiting).await >= 3
    })
    .await;
    load.flows_for(A_WHILE).await;
    fleet.loses_its_database();
    primary.crash();
    fleet.standby().promote();
    fleet.follows(fleet.standby());
    fleet.is_back("a synchronous standby that was cut off", Instant::now()).await;
    load.flows(400).await;
    nothing_is_wrong(&fleet, load, Damage::NEW_EPOCH).await;
}

/// The caller of a store may go away at any moment, for example when its time-out passes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_a_caller_that_went_away_is_not_left_open() {
    let postgres = Postgres::start(&[]);
    let url = postgres.fresh_database().await;
    let network = Proxy::to(socket(&url));
    let settings = DatabaseSettings {
        url: through(&url, &network),
        min_connections: 2,
        max_connections: 2,
        ..DatabaseSettings::default()
    };
    let store =
        facility_summary::store::open(&settings, None).await.expect("the database can be used");
    network.delay(Duration::from_millis(30));
    let all_are_back = async || {
        wait_until("all connections are back", async || {
            store.connections().iter().all(|(_, pool)| pool.in_use == 0)
        })
        .await
    };
    // An answer takes 60 ms: one to the check of the connection, and one to BEGIN.
    for given_up_ms in (65..125).step_by(10) {
        store.now_ms().await.expect("the database answers");
        all_are_back().await;
        drop(
            tokio::time::timeout(
                Duration::from_millis(given_up_ms),
                store.begin(Duration::from_secs(1)),
            )
            .await,
        );
    }
    all_are_back().await;
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'facility-summary' \
                AND state LIKE 'idle in transaction%'";
    wait_until("none is open", async || plain_sql::number(&url, open).await == 0).await;
    store.close().await;
}
