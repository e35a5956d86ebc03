//! Redis stops, comes back with old data or without data, hangs, and loses data. The fleet gets
//! slower, but refuses no request and gives no wrong answer.

use std::time::{Duration, Instant};

use deadpool_redis::redis::cmd;

use crate::{
    load::Load,
    parts::{Fleet, Replica},
    postgres::fleet,
    support::{postgres::Postgres, wait_until},
    verdict::{Damage, nothing_is_wrong},
};

/// How long Redis is away.
const A_WHILE: Duration = Duration::from_secs(5);
/// The delay of what one replica sends to Redis and receives, in each direction; within
/// `redis.timeout_ms`.
const LATE: Duration = Duration::from_millis(15);
/// How long it hangs.
const FROZEN: Duration = Duration::from_secs(30);

/// The stream that the replicas follow.
pub async fn stream(fleet: &Fleet) -> String {
    let keys: Vec<String> = fleet.redis.ask(cmd("KEYS").arg("facility-summary:*:changes")).await;
    let [key] = &keys[..] else { panic!("the replicas follow several streams, or none: {keys:?}") };
    let length: i64 = fleet.redis.ask(cmd("XLEN").arg(key)).await;
    assert!(length > 0, "the stream is empty");
    key.clone()
}

/// After a fault of Redis the load goes on for a while, and no request is refused. The replicas
/// without Redis report it, if there is time for it.
async fn goes_on(load: &Load, without: &[Replica], fault: impl FnOnce(), time: Duration) {
    let before = load.turned_away();
    fault();
    if !time.is_zero() {
        they_say_so(without).await;
        load.flows_for(time).await;
        they_say_so(without).await;
    }
    load.flows(300).await;
    assert_eq!(load.turned_away(), before, "requests were refused because Redis was away");
}

/// Asserts that each replica soon reports that it is without Redis, and serves.
async fn they_say_so(replicas: &[Replica]) {
    for replica in replicas {
        let lost = ("degraded".to_owned(), vec!["redis".to_owned(), "change_stream".to_owned()]);
        wait_until("a replica is degraded without Redis and its stream", async || {
            replica.readiness().await == lost
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_stops_and_starts_with_what_it_had_saved() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    stream(&fleet).await;
    fleet.redis.save();
    load.flows(300).await;
    goes_on(&load, &fleet.replicas, || fleet.redis.stop(), A_WHILE).await;
    fleet.redis.start_again();
    fleet.is_back("Redis that stopped", Instant::now()).await;
    load.flows(400).await;
    stream(&fleet).await;
    nothing_is_wrong(&fleet, load, Damage::GAP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_starts_with_nothing() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    stream(&fleet).await;
    // Redis is started again at once, as when a container is replaced, and after a while.
    for time in [Duration::ZERO, A_WHILE] {
        goes_on(&load, &fleet.replicas, || fleet.redis.stop(), time).await;
        fleet.redis.start_empty();
        fleet.is_back("Redis that is empty", Instant::now()).await;
        load.flows(400).await;
    }
    stream(&fleet).await;
    nothing_is_wrong(&fleet, load, Damage::GAP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_hangs_for_thirty_seconds() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    stream(&fleet).await;
    goes_on(&load, &fleet.replicas, || fleet.redis.freeze(), FROZEN).await;
    fleet.redis.thaw();
    fleet.is_back("Redis that hung", Instant::now()).await;
    load.flows(400).await;
    nothing_is_wrong(&fleet, load, Damage::NONE).await;
}

/// Its messages arrive after newer ones of other replicas.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_a_slow_link_to_redis_publishes_older_versions_after_newer() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    fleet.replicas[0].redis.delay(LATE);
    load.flows(2_500).await;
    nothing_is_wrong(&fleet, load, Damage::NONE).await;
}

/// Appends the content of an earlier message once more, as a publisher that hung meanwhile would.
/// KEYS: the stream. ARGV: the message's number. Returns the number of the last message before.
const AGAIN: &str = "
    local function fields(entry)
        local held = {}
        for i = 1, #entry[2], 2 do held[entry[2][i]] = entry[2][i + 1] end
        return held
    end
    local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
    local number, held = tonumber(string.match(last[1], '^(%d+)-')), fields(last)
    local old = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', 1)[1]
    redis.call('XADD', KEYS[1], string.format('%.0f-0', number + 1), 'g', held.g, 'r', held.r, \
                     'm', fields(old).m)
    return number";
/// The pause between two such messages. All [`ROUNDS`] of them take four seconds, longer than an
/// age can hide.
const OFTEN: Duration = Duration::from_millis(50);
const ROUNDS: usize = 80;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_message_is_appended_again_after_newer_versions() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    let key = stream(&fleet).await;
    let mut numbers = std::collections::VecDeque::from([1]);
    let saying = async {
        let mut rounds = tokio::time::interval(OFTEN);
        loop {
            rounds.tick().await;
            let first = numbers[0];
            numbers.push_back(
                fleet.redis.ask::<i64>(cmd("EVAL").arg(AGAIN).arg(1).arg(&key).arg(first)).await,
            );
            if numbers.len() > ROUNDS {
                numbers.pop_front();
            }
        }
    };
    tokio::select! {
        () = load.flows_for(3 * OFTEN * ROUNDS as u32) => {}
        () = saying => {}
    }
    nothing_is_wrong(&fleet, load, Damage::NONE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_is_trimmed_while_a_replica_is_cut_off() {
    let postgres = Postgres::start(&[]);
    let (fleet, load) = fleet(&postgres).await;
    let key = stream(&fleet).await;
    // The cases differ in the number of messages that are left. With none a new generation begins,
    // which is a gap for all.
    for (cut_off, left) in [(1, 5), (0, 0)] {
        let replica = &fleet.replicas[cut_off];
        let before = replica.counted("stream_gaps_total").await;
        goes_on(&load, std::slice::from_ref(replica), || replica.redis.refuse(), A_WHILE).await;
        fleet.redis.tell(&format!("XTRIM {key} MAXLEN {left}")).await;
        replica.redis.mend();
        fleet.is_back("a replica that missed some of the stream", Instant::now()).await;
        assert!(
            replica.counted("stream_gaps_total").await > before,
            "a replica has missed messages, but has counted no gap"
        );
        load.flows(400).await;
    }
    nothing_is_wrong(&fleet, load, Damage::GAP).await;
}
