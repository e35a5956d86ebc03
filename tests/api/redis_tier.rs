//! The tier that replicas share: an older figure never replaces a newer one, in any order and by
//! any replica.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use deadpool_redis::redis::cmd;
use facility_summary::{
    cache::{lease::Lease, memory::Memory, redis::RedisTier},
    clock::Clock,
    config::redis_url::RedisUrl,
    domain::{
        day::Day,
        facility::{Facility, Zone},
        summary::{DayKey, Key, Summary, SummaryRow},
    },
    metrics::Metrics,
    protocol::{Epoch, Position, StoredEntry},
    redis::Link,
    service::{
        freshness_request::MinFreshness,
        refresh::lease::{LeaseOutcome, RefreshLeases},
    },
};
use jiff::civil::{Date, date};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use uuid::Uuid;

use crate::support::{redis::Redis, wait_until};

const DAY: Date = date(2026, 11, 22);
const EPOCH: &str = "0123456789abcdef";

fn shared() -> &'static Redis {
    static SHARED: OnceLock<Redis> = OnceLock::new();
    SHARED.get_or_init(Redis::start)
}

async fn tier(redis: &Redis) -> (RedisTier, Metrics) {
    let metrics = Metrics::new().unwrap();
    let link =
        Link::open(&RedisUrl::parse(redis.url()).unwrap(), Duration::from_secs(10), &metrics).await;
    (RedisTier::new(link, Duration::from_secs(3_660)), metrics)
}

/// An entry with figures made from its version and instant.
fn entry(facility: Uuid, version: i64, as_of_ms: i64) -> StoredEntry {
    let summary =
        Summary { version, total_requests: as_of_ms, ..Summary::empty(facility, DAY, false) };
    let row =
        SummaryRow { summary, as_of_ms, next_expires_at_ms: Some(as_of_ms + 1), bounds: None };
    StoredEntry { row, since: Position { generation: 3, number: version } }
}

/// The key of the facility's day.
fn key(facility_id: Uuid) -> Key {
    Key { facility_id, date: DAY }
}

/// The name of that key in Redis.
fn name(facility: Uuid) -> String {
    format!("facility-summary:{EPOCH}:{facility}:{DAY}")
}

async fn an_old_put_never_replaces_a_newer_one(redis: &Redis) {
    let (tier, _) = tier(redis).await;
    let mut random = StdRng::seed_from_u64(1);
    let facilities: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    let mut entries: Vec<StoredEntry> = facilities
        .iter()
        .flat_map(|facility| {
            (1..=10).flat_map(move |version| {
                (0..3).map(move |later| entry(*facility, version, 1_000 - version * 10 + later))
            })
        })
        .collect();
    entries.shuffle(&mut random);
    // Several replicas write batches at once, while another one reads.
    let puts = futures_util::future::join_all(
        entries.chunks(75).map(async |batch| tier.put(EPOCH, batch).await.unwrap()),
    );
    let looks = async {
        let mut seen = (0, 0);
        while seen < (10, 902) {
            let Some(held) = tier.get(EPOCH, &key(facilities[0])).await.unwrap() else { continue };
            let now = (held.row.summary.version, held.row.as_of_ms);
            assert!(now >= seen, "{now:?} after {seen:?}");
            seen = now;
        }
    };
    let (put, ()) = tokio::join!(puts, looks);
    assert!((20..=600).contains(&put.iter().sum::<usize>()));
    for facility in &facilities {
        assert_eq!(
            tier.get(EPOCH, &key(*facility)).await.unwrap(),
            Some(entry(*facility, 10, 902))
        );
    }
    assert_eq!(
        tier.put(EPOCH, &entries).await.unwrap(),
        0,
        "none of the entries is newer than the stored ones"
    );
}

#[tokio::test]
async fn an_old_put_never_replaces_a_newer_one_on_one_server() {
    an_old_put_never_replaces_a_newer_one(shared()).await;
}

#[tokio::test]
async fn an_old_put_never_replaces_a_newer_one_on_a_cluster() {
    an_old_put_never_replaces_a_newer_one(super::redis_stream::shared_cluster()).await;
}

#[tokio::test]
async fn an_entry_is_kept_for_its_time_and_of_its_epoch() {
    let (tier, _) = tier(shared()).await;
    let facility = Uuid::new_v4();
    assert_eq!(tier.put(EPOCH, &[entry(facility, 1, 1)]).await.unwrap(), 1);
    let left: i64 = shared().ask(cmd("TTL").arg(name(facility))).await;
    assert!((3_600..=3_660).contains(&left), "{left}");
    assert_eq!(tier.get("another", &key(facility)).await.unwrap(), None);
    let tomorrow = Key { date: DAY.tomorrow().unwrap(), ..key(facility) };
    assert_eq!(tier.get(EPOCH, &tomorrow).await.unwrap(), None);
}

#[tokio::test]
async fn what_cannot_be_read_is_missing_and_counted() {
    let (tier, metrics) = tier(shared()).await;
    let (broken, swapped) = (Uuid::new_v4(), Uuid::new_v4());
    let unreadable = || metrics.redis_requests.with_label_values(&["get", "unreadable"]).get();
    shared().tell(&format!("HSET {} v 1 t 1 b {{}}", name(broken))).await;
    assert_eq!(tier.get(EPOCH, &key(broken)).await.unwrap(), None);
    let other = entry(broken, 1, 1).encode();
    let _: i64 = shared()
        .ask(cmd("HSET").arg(name(swapped)).arg("v").arg(1).arg("t").arg(1).arg("b").arg(other))
        .await;
    assert_eq!(
        tier.get(EPOCH, &key(swapped)).await.unwrap(),
        None,
        "the key holds figures of another facility"
    );
    assert_eq!(unreadable(), 2);
    assert_eq!(tier.put(EPOCH, &[entry(broken, 2, 2)]).await.unwrap(), 1);
    assert_eq!(
        tier.get(EPOCH, &key(broken)).await.unwrap(),
        Some(entry(broken, 2, 2)),
        "the next put replaces what could not be read"
    );
}

async fn one_has_the_lease(redis: &Redis) {
    let (tier, _) = tier(redis).await;
    let facility = Uuid::new_v4();
    let lease = async |ttl: u64| {
        tier.lease(EPOCH, &key(facility), Duration::from_millis(ttl)).await.unwrap()
    };
    let taken = futures_util::future::join_all((0..50).map(|_| lease(60_000))).await;
    let mut taken: Vec<Lease> = taken.into_iter().flatten().collect();
    assert_eq!(taken.len(), 1, "one of 50 concurrent callers gets the lease");
    assert!(tier.release(&taken.remove(0)).await.unwrap());

    let first = lease(20).await.expect("it was released");
    let mut second = None;
    wait_until("the lease of the first holder expires", async || {
        second = lease(60_000).await;
        second.is_some()
    })
    .await;
    assert!(!tier.release(&first).await.unwrap(), "by now the lease belongs to another holder");
    assert_eq!(lease(60_000).await, None, "the lease is still held");
    assert!(tier.release(&second.unwrap()).await.unwrap());
}

#[tokio::test]
async fn one_replica_has_the_lease_until_it_returns_it_or_it_expires_on_one_server() {
    one_has_the_lease(shared()).await;
}

#[tokio::test]
async fn one_replica_has_the_lease_until_it_returns_it_or_it_expires_on_a_cluster() {
    one_has_the_lease(super::redis_stream::shared_cluster()).await;
}

/// Another replica may have refreshed the key between the read of Redis and the taking of the
/// lease. Then the key must not be refreshed again.
#[tokio::test]
async fn a_key_that_another_replica_has_just_refreshed_is_not_refreshed_again() {
    let zone = Arc::new(Zone::named("UTC").unwrap());
    let facility = Arc::new(Facility { id: Uuid::new_v4(), name: String::new(), zone, key: None });
    let key = DayKey { day: Day::named(&facility.zone.tz, DAY).unwrap(), facility };
    let (id, as_of_ms, epoch) =
        (key.facility.id, key.day.start_ms + 1_000, Epoch::of("a database"));
    let replica = RefreshLeases {
        tier: Arc::new(tier(shared()).await.0),
        epoch: Arc::new(ArcSwapOption::from_pointee(epoch.clone())),
        memory: Arc::new(Memory::new(1 << 20, 16, Position::default())),
        clock: Arc::new(Clock::new()),
        duration: Duration::from_secs(60),
    };
    assert_eq!(replica.tier.put(epoch.name(), &[entry(id, 4, as_of_ms)]).await.unwrap(), 1);
    let turn =
        async |as_of_ms, version| replica.acquire(&key, MinFreshness { as_of_ms, version }).await;
    for (as_of_ms, version) in [(as_of_ms, 4), (as_of_ms - 1, 0)] {
        let LeaseOutcome::AlreadyRefreshed(found) = turn(as_of_ms, version).await else {
            panic!("the entry in Redis is fresh enough and was not used")
        };
        assert_eq!(found, entry(id, 4, found.row.as_of_ms));
    }
    for (as_of_ms, version) in [(as_of_ms + 1, 0), (0, 5)] {
        let LeaseOutcome::Acquired(Some(lease)) = turn(as_of_ms, version).await else {
            panic!("no replica holds the lease, and it was not acquired")
        };
        assert!(matches!(turn(as_of_ms, version).await, LeaseOutcome::HeldElsewhere));
        assert!(replica.tier.release(&lease).await.unwrap());
    }
}
