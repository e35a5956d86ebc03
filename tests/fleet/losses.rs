//! The database goes on without some commits that it had acknowledged: its epoch ends, and another
//! begins. The lost commits stay lost. A replica or tier may still hold figures of them, but must
//! not show these once it knows the new epoch.

use std::time::Instant;

use crate::{
    history::Loss,
    load::Load,
    parts::{Fleet, socket, through},
    postgres::fleet_with,
    proxy::Proxy,
    support::postgres::Postgres,
    verdict::{Damage, nothing_is_wrong, survived},
};

/// The fleet goes on with this server, which lacks some acknowledged commits.
pub async fn goes_on_with_less(fleet: &Fleet, load: &Load, server: &Postgres, what: &str) -> Loss {
    let loss = survived(&fleet.database_on(server)).await;
    fleet.follows(server);
    fleet.is_back(what, Instant::now()).await;
    load.begins_a_new_epoch();
    load.flows(400).await;
    loss
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asynchronous_standby_takes_over_with_less() {
    let primary = Postgres::start(&[]);
    let network = Proxy::to(socket(primary.url()));
    let standby = Postgres::start(&["--standby-of", &through(primary.url(), &network)]);
    let (fleet, load) = fleet_with(&primary, Some(standby)).await;
    network.refuse();
    load.flows(400).await;
    fleet.loses_its_database();
    primary.crash();
    fleet.standby().promote();
    let loss = goes_on_with_less(&fleet, &load, fleet.standby(), "an asynchronous standby").await;
    nothing_is_wrong(&fleet, load, Damage::lost(loss)).await;
}
