//! Without Redis the service goes on: it notices changes as soon as before, ages are true, and all
//! is normal again when Redis is back.

use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use super::{Fleet, HIT, diary::Diary, holds, state, wait_until_whole};
use crate::{
    steps::{Plain, Scrape, age, get, noon_zone, post, read},
    support::{Service, events::event, redis::Redis, wait_until},
};

const FRESH_SECONDS: i64 = 1;

async fn fleet(count: usize, redis: Redis) -> Fleet {
    let launch = Service::on_postgres()
        .await
        .env("FACILITY_SUMMARY__CACHE__MEMORY_FRESH_SECONDS", FRESH_SECONDS);
    Fleet::on(launch, count, redis).await
}

/// Waits until each replica reports that it is without Redis, and serves.
async fn all_are_degraded(fleet: &Fleet) {
    for replica in &fleet.replicas {
        for dependency in ["redis", "change_stream"] {
            wait_until("readiness says that Redis is lost", async || {
                state(replica, dependency).await == ("degraded".into(), "down".into())
            })
            .await;
        }
        assert_eq!(Scrape::of(replica).await.sum("redis_up", &[]), 0.0);
    }
}

/// Asserts that each change made while Redis was away is at every replica once Redis is back.
async fn all_is_well_again(fleet: &Fleet, diary: &mut Diary) {
    for replica in &fleet.replicas {
        wait_until_whole(replica).await;
        let shown = get(replica, &super::today(diary.site)).await["total_stock"].as_i64().unwrap();
        wait_until("nothing of what changed meanwhile is missing", async || {
            diary.check(replica, "").await;
            get(replica, &super::today(diary.site)).await["total_stock"] == diary.last()
        })
        .await;
        assert!(shown <= diary.last());
    }
    diary.write(&fleet[0]).await;
    for replica in &fleet.replicas {
        holds(replica, diary.site, diary.last()).await;
        wait_until("watermarks prove the figures in memory again", async || {
            let response =
                read(replica, &super::today(diary.site), "max-age=2, only-if-cached").await;
            response.status() == 200 && age(&response) <= 1
        })
        .await;
        wait_until("and is shown to be", async || {
            Scrape::of(replica).await.sum("summary_watermark_age_seconds", &[]) < 2.0
        })
        .await;
    }
    diary.keep(&fleet.replicas, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn replicas_that_start_without_redis_serve_and_find_it_later() {
    let redis = Redis::start();
    redis.stop();
    let launch = Service::on_postgres()
        .await
        .env("REDIS_URL", redis.url())
        .env("FACILITY_SUMMARY__CACHE__MEMORY_FRESH_SECONDS", 1);
    let replicas = vec![launch.clone().start().await, launch.clone().start().await];
    let fleet = Fleet { replicas, launch, redis };
    all_are_degraded(&fleet).await;
    let mut diary = Diary::begin(&fleet[0], &noon_zone()).await;
    diary.keep(&fleet.replicas, Duration::from_secs(3)).await;
    fleet.redis.start_empty();
    all_is_well_again(&fleet, &mut diary).await;
}

async fn lost_for_a_while(lose: fn(&Redis), find: fn(&Redis)) {
    let fleet = fleet(2, Redis::start()).await;
    let mut diary = Diary::begin(&fleet[0], &noon_zone()).await;
    diary.write(&fleet[0]).await;
    holds(&fleet[1], diary.site, 1).await;
    lose(&fleet.redis);
    diary.keep(&fleet.replicas, Duration::from_millis(500)).await;
    all_are_degraded(&fleet).await;
    diary.keep(&fleet.replicas, Duration::from_secs(3)).await;
    // Changes that are not published: by an event, by another program, and of a facility.
    let mut plain = Plain::beside(&fleet[0]).await;
    let (new, request) = (Uuid::new_v4(), Uuid::new_v4());
    post(
        &fleet[0],
        &[event(
            "facility.registered",
            json!({"facility_id": new, "name": "Meanwhile", "timezone": "UTC"}),
        )],
    )
    .await;
    plain
        .run(&format!(
            "INSERT INTO blood_requests (id, facility_id) VALUES ('{request}', '{}')",
            diary.site.facility
        ))
        .await;
    diary.write(&fleet[0]).await;
    for replica in &fleet.replicas {
        wait_until("the change is found without the stream", async || {
            replica.get(&crate::steps::path(new, "today")).await.status() == 200
                && get(replica, &super::today(diary.site)).await["total_requests"] == 1
        })
        .await;
    }
    find(&fleet.redis);
    all_is_well_again(&fleet, &mut diary).await;
    for replica in &fleet.replicas {
        assert_eq!(get(replica, &super::today(diary.site)).await["total_requests"], 1);
        wait_until("the facility is listed", async || {
            let all = get(replica, "/v1/facilities?q=Meanwhile").await;
            all["items"].as_array().unwrap().len() == 1
        })
        .await;
    }
}

#[tokio::test]
async fn redis_stopped_and_started_empty_costs_no_answer_and_no_change() {
    lost_for_a_while(Redis::stop, Redis::start_empty).await;
}

#[tokio::test]
async fn redis_frozen_and_thawed_costs_no_answer_and_no_change() {
    lost_for_a_while(Redis::freeze, Redis::thaw).await;
}

#[tokio::test]
async fn a_redis_that_takes_no_message_counts_as_no_stream_until_it_does() {
    let fleet = fleet(2, Redis::start()).await;
    let mut diary = Diary::begin(&fleet[0], &noon_zone()).await;
    diary.write(&fleet[0]).await;
    holds(&fleet[1], diary.site, 1).await;
    fleet.redis.tell("CONFIG SET maxmemory 1").await;
    for replica in &fleet.replicas {
        wait_until("readiness says that appends fail", async || {
            state(replica, "change_stream").await == ("degraded".into(), "down".into())
        })
        .await;
        assert_eq!(state(replica, "redis").await.1, "up", "Redis answers, so it counts as up");
    }
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        diary.write(&fleet[0]).await;
        let age = age(&fleet[1].get(&super::today(diary.site)).await);
        assert!(age <= FRESH_SECONDS, "Age {age}");
    }
    for replica in &fleet.replicas {
        let said = replica
            .logs()
            .iter()
            .filter(|line| line.contains("the change stream cannot be written"))
            .count();
        assert_eq!(said, 1, "{:?}", replica.logs());
        assert!(
            replica.logged("Redis is left alone until it answers a probe").is_empty(),
            "reads still use what Redis holds"
        );
    }
    fleet.redis.tell("CONFIG SET maxmemory 0").await;
    all_is_well_again(&fleet, &mut diary).await;
}

#[tokio::test]
async fn a_redis_that_was_demoted_is_left_alone_until_it_takes_writes_again() {
    let fleet = fleet(2, Redis::start()).await;
    let mut diary = Diary::begin(&fleet[0], &noon_zone()).await;
    diary.write(&fleet[0]).await;
    holds(&fleet[1], diary.site, 1).await;
    fleet.redis.tell("REPLICAOF 127.0.0.1 1").await;
    all_are_degraded(&fleet).await;
    let left_alone =
        |replica: &Service| replica.logged("Redis is left alone until it answers a probe").len();
    let before = fleet.replicas.iter().map(left_alone).collect::<Vec<_>>();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        diary.write(&fleet[0]).await;
        for replica in &fleet.replicas {
            assert_eq!(state(replica, "redis").await.1, "down", "no probe succeeds");
        }
        assert!(age(&fleet[1].get(&super::today(diary.site)).await) <= FRESH_SECONDS);
    }
    assert_eq!(
        fleet.replicas.iter().map(left_alone).collect::<Vec<_>>(),
        before,
        "no replica has used Redis again"
    );
    let ready = get(&fleet[0], "/health/ready").await;
    assert_eq!(ready["dependencies"][1]["last_error"], "read_only", "{ready}");
    fleet.redis.tell("REPLICAOF NO ONE").await;
    all_is_well_again(&fleet, &mut diary).await;
}

#[tokio::test]
async fn without_the_stream_memory_is_used_for_a_limited_time_and_then_the_table() {
    let fleet = fleet(2, Redis::start()).await;
    let mut diary = Diary::begin(&fleet[0], &noon_zone()).await;
    diary.write(&fleet[0]).await;
    holds(&fleet[1], diary.site, 1).await;
    fleet.redis.stop();
    all_are_degraded(&fleet).await;
    let (started, mut sources) = (Instant::now(), std::collections::BTreeMap::new());
    while started.elapsed() < Duration::from_secs(4) {
        let response = fleet[1].get(&super::today(diary.site)).await;
        let (age, source) = (age(&response), super::source(&response));
        assert!(age <= FRESH_SECONDS, "{source}: Age {age}");
        *sources.entry(source).or_insert(0) += 1;
    }
    let table: i32 = sources
        .iter()
        .filter(|(source, _)| source.ends_with("detail=table"))
        .map(|(_, count)| count)
        .sum();
    assert!(table >= 2 && sources[HIT] > table, "{sources:?}");
    assert_eq!(sources.len(), 2, "{sources:?}");
    assert_eq!(
        fleet.sum("summary_refreshes_total", &[("trigger", "read")]).await,
        0.0,
        "the table answers, without a refresh"
    );
}

#[tokio::test]
async fn without_the_stream_the_day_of_all_is_proven_by_the_table() {
    let fleet = fleet(2, Redis::start()).await;
    let mut diary = Diary::begin(&fleet[0], &noon_zone()).await;
    diary.write(&fleet[0]).await;
    let list = "/v1/summaries/today";
    get(&fleet[1], list).await;
    fleet.redis.stop();
    all_are_degraded(&fleet).await;
    for directives in ["no-cache", "max-age=1", "", "no-cache"] {
        diary.write(&fleet[0]).await;
        let response = read(&fleet[1], list, directives).await;
        assert_eq!(response.status(), 200, "{directives}");
        assert!(age(&response) <= FRESH_SECONDS, "{directives}: Age {}", age(&response));
    }
}
