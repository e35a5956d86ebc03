//! Replicas that are killed.

use std::time::{Duration, Instant};

use crate::{
    load::Load,
    parts::Fleet,
    support::postgres::Postgres,
    verdict::{Damage, nothing_is_wrong},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_replica_in_turn_is_killed_and_started_again() {
    let postgres = Postgres::start(&[]);
    let mut fleet =
        Fleet::start(3, &postgres, Some(postgres.standby(&[])), |_, launch| launch).await;
    let load = Load::start(&fleet);
    load.flows(500).await;
    for replica in 0..fleet.replicas.len() {
        fleet.kill_9(replica).await;
        load.flows_for(Duration::from_secs(2)).await;
        fleet.start_again(replica).await;
        fleet.is_back("a replica that was killed", Instant::now()).await;
        load.flows(200).await;
    }
    nothing_is_wrong(&fleet, load, Damage::NONE).await;
}
