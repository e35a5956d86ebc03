//! Redis stops, comes back with old data or none, hangs, and forgets: the fleet is slower, turns nobody away, and never lies.

use std::time::{Duration, Instant};

use deadpool_redis::redis::cmd;

use crate::{load::Load, parts::Fleet, postgres::fleet, support::postgres::Postgres, verdict::nothing_is_wrong};

/// How long Redis is away.
const A_WHILE: Duration = Duration::from_secs(5);
/// How long it hangs.
const FROZEN: Duration = Duration::from_secs(30);

/// The stream that the replicas follow.
async fn stream(fleet: &Fleet) -> String {
    let keys: Vec<String> = fleet.redis.ask(cmd("KEYS").arg("facility-summary:*:changes")).await;
    let [key] = &keys[..] else { panic!("one stream is followed by all replicas, and not {keys:?}") };
    let length: i64 = fleet.redis.ask(cmd("XLEN").arg(key)).await;
    assert!(length > 0, "nothing is published");
    key.clone()
}

/// A fault of Redis, then the load goes on for a while; says how many were turned away meanwhile.
async fn goes_on(load: &Load, fault: impl FnOnce(), time: Duration) -> usize {
    let before = load.turned_away();
    fault();
    load.flows_for(time).await;
    load.flows(300).await;
    load.turned_away() - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_stops_and_starts_with_what_it_had_saved() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    stream(&fleet).await;
    fleet.redis.save();
    load.flows(300).await;
    assert_eq!(goes_on(&load, || fleet.redis.stop(), A_WHILE).await, 0, "were turned away for want of Redis");
    fleet.redis.start_again();
    fleet.is_back("Redis that stopped", Instant::now()).await;
    load.flows(400).await;
    stream(&fleet).await;
    nothing_is_wrong(&fleet, load, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_starts_with_nothing() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    stream(&fleet).await;
    // At once, as a container would be replaced, and after a while.
    for time in [Duration::ZERO, A_WHILE] {
        assert_eq!(goes_on(&load, || fleet.redis.stop(), time).await, 0, "were turned away for want of Redis");
        fleet.redis.start_empty();
        fleet.is_back("Redis that is empty", Instant::now()).await;
        load.flows(400).await;
    }
    stream(&fleet).await;
    nothing_is_wrong(&fleet, load, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_hangs_for_thirty_seconds() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    stream(&fleet).await;
    assert_eq!(goes_on(&load, || fleet.redis.freeze(), FROZEN).await, 0, "were turned away for want of Redis");
    fleet.redis.thaw();
    fleet.is_back("Redis that hung", Instant::now()).await;
    load.flows(400).await;
    nothing_is_wrong(&fleet, load, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_is_trimmed_while_a_replica_is_cut_off() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    let key = stream(&fleet).await;
    for (replica, left) in [(0, 0), (1, 5)] {
        let cut_off = &fleet.replicas[replica].redis;
        assert_eq!(goes_on(&load, || cut_off.refuse(), A_WHILE).await, 0, "were turned away for want of Redis");
        fleet.redis.tell(&format!("XTRIM {key} MAXLEN {left}")).await;
        cut_off.mend();
        fleet.is_back("a replica that missed some of the stream", Instant::now()).await;
        load.flows(400).await;
    }
    nothing_is_wrong(&fleet, load, None).await;
}
