//! Live clients on three replicas, through one fault after another: each converges by itself to
//! what the table holds, shows no version back in an epoch, and no heartbeat claims more than is
//! true.

use std::time::{Duration, Instant};

use deadpool_redis::redis::cmd;

use crate::{
    load::Load,
    parts::Fleet,
    redis::stream,
    restores::restore,
    screens::Screens,
    support::postgres::Postgres,
    verdict::{Damage, nothing_is_wrong_on_screens},
};

const SCREENS: usize = 36;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_clients_converge_after_each_fault() {
    let postgres = Postgres::start(&[]);
    let mut fleet = Fleet::start(3, &postgres, None, |_, launch| {
        launch.env("FACILITY_SUMMARY__LIVE__HEARTBEAT_SECONDS", 1)
    })
    .await;
    let load = Load::start(&fleet);
    let screens = Screens::start(&fleet.places, SCREENS);
    load.flows(400).await;
    postgres.back_up();
    screens.converge().await;

    fleet.kill_9(0).await;
    load.flows(300).await;
    fleet.start_again(0).await;
    fleet.is_back("a replica that was killed", Instant::now()).await;
    screens.converge().await;

    postgres.freeze();
    screens.are_told_of("a database that hangs").await;
    postgres.thaw();
    fleet.is_back("Postgres that hung", Instant::now()).await;
    screens.converge().await;

    fleet.redis.stop();
    screens.are_told_of("a stream that is lost").await;
    load.flows(300).await;
    fleet.redis.start_empty();
    fleet.is_back("Redis that is empty", Instant::now()).await;
    screens.converge().await;

    let key = stream(&fleet).await;
    fleet.replicas[1].redis.refuse();
    load.flows_for(Duration::from_secs(1)).await;
    fleet.redis.ask::<i64>(cmd("XTRIM").arg(key).arg("MAXLEN").arg(2)).await;
    fleet.replicas[1].redis.mend();
    fleet.is_back("a replica that missed some of the stream", Instant::now()).await;
    screens.converge().await;

    let loss = restore(&fleet, &load, &postgres).await;
    screens.converge().await;
    nothing_is_wrong_on_screens(&fleet, load, screens, Damage::all(loss)).await;
}
