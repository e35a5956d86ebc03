//! Messages of the stream that a replica never got: it counts the gap, and its answers stay true.

use std::time::Duration;

use deadpool_redis::redis::cmd;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Fleet, holds, honest::Diary, wait_until_whole};
use crate::{
    steps::{Scrape, noon_zone},
    support::{redis::Redis, wait_until},
};

async fn gaps(fleet: &Fleet) -> Vec<f64> {
    let mut gaps = Vec::new();
    for replica in &fleet.replicas {
        gaps.push(Scrape::of(replica).await.sum("stream_gaps_total", &[]));
    }
    gaps
}

/// Loses something of the stream under two replicas that write and read, and comes back to normal.
async fn after(lose: impl AsyncFn(&Redis)) {
    let fleet = Fleet::of(2).await;
    let mut diary = Diary::begin(&fleet[0], &noon_zone()).await;
    diary.keep(&fleet.replicas, Duration::from_millis(500)).await;
    assert_eq!(gaps(&fleet).await, [0.0, 0.0]);
    lose(&fleet.redis).await;
    diary.keep(&fleet.replicas, Duration::from_secs(2)).await;
    wait_until("each has counted it", async || gaps(&fleet).await.iter().all(|gaps| *gaps >= 1.0)).await;
    for replica in &fleet.replicas {
        wait_until_whole(replica).await;
        wait_until("it is proven again", async || diary.check(replica, "max-age=1").await == super::HIT).await;
        holds(replica, diary.site, diary.last()).await;
    }
    let before = gaps(&fleet).await;
    diary.keep(&fleet.replicas, Duration::from_secs(1)).await;
    assert_eq!(gaps(&fleet).await, before, "it was one gap");
}

async fn streams(redis: &Redis) -> Vec<String> {
    redis.ask(cmd("KEYS").arg("*:changes")).await
}

#[tokio::test]
async fn redis_restarted_empty_is_a_gap_and_no_lie() {
    after(async |redis: &Redis| {
        redis.stop();
        redis.start_empty();
    })
    .await;
}

#[tokio::test]
async fn redis_flushed_is_a_gap_and_no_lie() {
    after(async |redis: &Redis| redis.tell("FLUSHALL").await).await;
}

#[tokio::test]
async fn a_stream_trimmed_to_nothing_is_a_gap_and_no_lie() {
    after(async |redis: &Redis| {
        for stream in streams(redis).await {
            redis.tell(&format!("XTRIM {stream} MAXLEN 0")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_slept_while_the_stream_was_trimmed_knows_that_it_missed_something() {
    let fleet = Fleet::of(2).await;
    let mut diary = Diary::begin(&fleet[0], &noon_zone()).await;
    diary.write(&fleet[0]).await;
    holds(&fleet[1], diary.site, 1).await;
    fleet[1].signal(libc::SIGSTOP);
    for _ in 0..20 {
        diary.write(&fleet[0]).await;
    }
    let request = diary.site.request(Uuid::new_v4(), Timestamp::now());
    crate::support::site::acknowledged(&fleet[0], &request).await;
    let stream = streams(&fleet.redis).await.remove(0);
    fleet.redis.tell(&format!("XTRIM {stream} MAXLEN 1")).await;
    fleet[1].signal(libc::SIGCONT);
    diary.check(&fleet[1], "max-age=1").await;
    wait_until("it has counted the gap", async || gaps(&fleet).await[1] >= 1.0).await;
    assert_eq!(gaps(&fleet).await[0], 0.0, "the other one missed nothing");
    wait_until("it is right", async || {
        diary.check(&fleet[1], "").await;
        crate::steps::get(&fleet[1], &super::today(diary.site)).await["total_requests"] == 1
    })
    .await;
}
