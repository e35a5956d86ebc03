//! A hot standby and the service. It writes its figures, so that a standby cannot be its database.
//! It can still take figures from a standby's tables: as foreign tables of a database of its own.

use super::{HOSPITAL, MAPPING, now, run, sources_of, totals};
use crate::support::{
    Service,
    outside::Outside,
    plain_sql,
    postgres::{Postgres, fresh_database},
    service::Launch,
    wait_until,
};

/// The hospital's database on a primary with a standby.
struct Pair {
    primary: Postgres,
    standby: Postgres,
    /// The owner's connection to the primary.
    sql: Outside,
    /// The URL of the database at the standby.
    there: String,
}

impl Pair {
    async fn start() -> Pair {
        let primary = Postgres::start(&[]);
        let standby = primary.standby(&["hot_standby_feedback=on"]);
        let url = primary.fresh_database().await;
        let mut sql = Outside::connect(&url).await;
        sql.run(HOSPITAL).await;
        let there = url.replace(address(primary.url()), address(standby.url()));
        wait_until("the standby has the database", async || {
            let count = "SELECT count(*) FROM pg_database WHERE datname = 'test_0'";
            plain_sql::number(standby.url(), count).await == 1
        })
        .await;
        let pair = Pair { primary, standby, sql, there };
        pair.replayed("SELECT (to_regclass('public.movement') IS NOT NULL)::int").await;
        pair.replayed("SELECT (count(*) = 3)::int FROM public.movement").await;
        pair
    }

    /// Waits until a query at the standby gives 1.
    async fn replayed(&self, query: &str) {
        wait_until("the standby has replayed", async || {
            plain_sql::number(&self.there, query).await == 1
        })
        .await;
    }
}

/// The host and port of a URL.
fn address(url: &str) -> &str {
    url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).expect("a host").0
}

fn with_mapping(launch: Launch, mapping: &str) -> Launch {
    let file = sources_of(&launch);
    std::fs::write(&file, mapping).expect("the folder can be written");
    launch.argument("--sources").argument(&file)
}

#[tokio::test]
async fn a_standby_as_the_database_is_refused_with_words_that_say_what_to_do() {
    let pair = Pair::start().await;
    let launch = with_mapping(Service::on(&pair.there), MAPPING);
    let checked = run(&launch, &["adopt", "check"]).await;
    assert_eq!(checked.code, Some(0), "a look needs no right to write: {}", checked.output);
    let said = "this is a standby: its last transaction was committed ";
    assert!(checked.output.starts_with(said), "{}", checked.output);
    for command in [&["serve"][..], &["migrate"]] {
        let exited = run(&launch, command).await;
        assert_eq!(exited.code, Some(1), "{command:?}: {}", exited.output);
        for words in ["is a standby (it is in recovery)", "database.read_url", "docs/adopt.md"] {
            assert!(exited.output.contains(words), "{command:?}: {}", exited.output);
        }
    }
    let exited = run(&launch, &["adopt", "install"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    assert!(exited.output.contains("must lead to the primary"), "{}", exited.output);
    drop((pair.primary, pair.standby));
}

/// The foreign tables of docs/adopt.md.
fn foreign(pair: &Pair) -> String {
    let (host, port) = address(pair.standby.url()).split_once(':').expect("a port");
    format!(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER hospital FOREIGN DATA WRAPPER postgres_fdw \
         OPTIONS (host '{host}', port '{port}', dbname 'test_0', use_remote_estimate 'true'); \
         CREATE USER MAPPING FOR CURRENT_USER SERVER hospital OPTIONS (user 'postgres', password \
         'postgres'); CREATE TYPE public.bag_state AS ENUM ('available', 'reserved', 'issued', \
         'discarded'); CREATE SCHEMA hospital; IMPORT FOREIGN SCHEMA public LIMIT TO (hospital, \
         store, bag, movement) FROM SERVER hospital INTO hospital"
    )
}

#[tokio::test]
async fn figures_may_come_from_the_tables_of_a_standby_as_foreign_tables() {
    let mut pair = Pair::start().await;
    let url = fresh_database().await;
    Outside::connect(&url).await.run(foreign(&pair)).await;
    let mapping = MAPPING.replace("public.", "hospital.");
    let launch = with_mapping(Service::on(&url), &mapping);
    let checked = run(&launch, &["adopt", "check"]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.output);
    let service = launch.start().await;
    let ridge = now(&service, "1").await;
    assert_eq!(totals(&ridge), [3, 4, 1], "{ridge}");
    pair.sql.run("UPDATE public.bag SET state = 'issued' WHERE store_id = 2").await;
    pair.replayed("SELECT (count(*) = 2)::int FROM public.bag WHERE state = 'issued'").await;
    assert_eq!(now(&service, "1").await["total_stock"], 2);
    // How far the standby lags is not in the age, and that is said.
    let ready = crate::steps::get(&service, "/health/ready").await;
    let limits = ready["dependencies"][0]["limits"].to_string();
    assert!(limits.contains("hospital.bag") && limits.contains("foreign tables"), "{ready}");
    // What the standby cannot answer is an error, and no figure of nothing.
    let path = super::today_of(&service, "1").await;
    pair.standby.stop();
    let answer = crate::steps::read(&service, &path, "no-cache").await;
    assert_eq!(answer.status(), 503);
    pair.standby.start_again();
    wait_until("the standby is read again", async || {
        crate::steps::read(&service, &path, "no-cache").await.status() == 200
    })
    .await;
}
