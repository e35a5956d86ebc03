//! The standby for table reads lags, is away, comes back, and becomes the primary.

use std::time::{Duration, Instant};

use crate::{
    load::Load,
    losses::goes_on_with_less,
    parts::Fleet,
    postgres::fleet,
    support::{plain_sql, postgres::Postgres, wait_until},
    verdict::{Damage, nothing_is_wrong},
};

/// How long the standby lags, or is away.
const A_WHILE: Duration = Duration::from_secs(4);
/// So many transactions at the standby show that the table is read there. A connection alone causes
/// fewer.
const USED: i64 = 100;

/// Waits until the replicas read from their standby.
#[track_caller]
fn is_used(fleet: &Fleet) -> impl Future<Output = ()> {
    let (url, mut first) = (fleet.database_on(fleet.standby()), None);
    let transactions =
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    wait_until("the standby is read from", async move || {
        let count = plain_sql::number(&url, transactions).await;
        count - *first.get_or_insert(count) > USED
    })
}

async fn lags(fleet: &Fleet, load: &Load) {
    let standby = fleet.standby();
    plain_sql::execute(standby.url(), "SELECT pg_wal_replay_pause()").await;
    load.flows_for(A_WHILE).await;
    plain_sql::execute(standby.url(), "SELECT pg_wal_replay_resume()").await;
    fleet.is_back("a standby that lagged", Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_standby_that_is_read_lags_is_away_and_takes_over() {
    let primary = Postgres::start(&[]);
    let (fleet, load) = fleet(&primary).await;
    is_used(&fleet).await;
    let before = load.turned_away();
    lags(&fleet, &load).await;
    is_used(&fleet).await;
    fleet.standby().stop();
    load.flows_for(A_WHILE).await;
    fleet.standby().start_again();
    fleet.is_back("a standby that was away", Instant::now()).await;
    is_used(&fleet).await;
    assert_eq!(load.turned_away(), before, "requests were refused because the standby was away");
    fleet.loses_its_database();
    primary.crash();
    fleet.standby().promote();
    let loss = goes_on_with_less(&fleet, &load, fleet.standby(), "a standby that was read").await;
    nothing_is_wrong(&fleet, load, Damage::lost(loss)).await;
}
