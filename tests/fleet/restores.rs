//! The database is restored from a backup, on the same timeline and with the same identifier. Only
//! its content shows that it has lost something. There is no standby, since a standby that is ahead
//! of a restored database has to be made anew.

use std::time::Instant;

use crate::{
    history::Loss,
    load::Load,
    losses::goes_on_with_less,
    parts::Fleet,
    postgres::fleet_with,
    support::postgres::Postgres,
    verdict::{Damage, nothing_is_wrong},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_backup_is_restored() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet_with(&postgres, None).await;
    postgres.back_up();
    load.flows(400).await;
    let loss = restore(&fleet, &load, &postgres).await;
    nothing_is_wrong(&fleet, load, Damage::lost(loss)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_files_is_restored() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet_with(&postgres, None).await;
    postgres.stop();
    postgres.copy();
    postgres.start_again();
    fleet.is_back("Postgres that was copied", Instant::now()).await;
    load.flows(400).await;
    let loss = restore(&fleet, &load, &postgres).await;
    nothing_is_wrong(&fleet, load, Damage::lost(loss)).await;
}

pub async fn restore(fleet: &Fleet, load: &Load, postgres: &Postgres) -> Loss {
    fleet.loses_its_database();
    postgres.stop();
    postgres.restore();
    postgres.start_again();
    goes_on_with_less(fleet, load, postgres, "a backup").await
}
