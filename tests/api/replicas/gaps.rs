//! Messages of the stream that a replica never received. It counts the gap, and its answers stay
//! true.

use std::time::Duration;

use deadpool_redis::redis::cmd;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::{Fleet, diary::Diary, holds, wait_until_whole};
use crate::{
    steps::{Plain, Scrape, date_in, get, noon_zone},
    support::{
        events::event,
        redis::Redis,
        site::{Site, acknowledged},
        wait_until,
    },
};

async fn gaps(fleet: &Fleet) -> Vec<f64> {
    let mut gaps = Vec::new();
    for replica in &fleet.replicas {
        gaps.push(Scrape::of(replica).await.sum("stream_gaps_total", &[]));
    }
    gaps
}

/// Makes two replicas lose a part of the stream while clients write and read. Waits until all is
/// normal again.
async fn after(lose: impl AsyncFn(&Redis)) {
    let fleet = Fleet::of(2).await;
    let mut diary = Diary::begin(&fleet[0], &noon_zone()).await;
    diary.keep(&fleet.replicas, Duration::from_millis(500)).await;
    assert_eq!(gaps(&fleet).await, [0.0, 0.0]);
    lose(&fleet.redis).await;
    diary.keep(&fleet.replicas, Duration::from_secs(2)).await;
    wait_until("each replica has counted the gap", async || {
        gaps(&fleet).await.iter().all(|gaps| *gaps >= 1.0)
    })
    .await;
    for replica in &fleet.replicas {
        wait_until_whole(replica).await;
        wait_until("the figures in memory are proven again", async || {
            diary.check(replica, "max-age=1").await == super::HIT
        })
        .await;
        holds(replica, diary.site, diary.last()).await;
    }
    let before = gaps(&fleet).await;
    diary.keep(&fleet.replicas, Duration::from_secs(1)).await;
    assert_eq!(gaps(&fleet).await, before, "only one gap was counted");
}

async fn streams(redis: &Redis) -> Vec<String> {
    redis.ask(cmd("KEYS").arg("*:changes")).await
}

#[tokio::test]
async fn redis_restarted_empty_is_a_gap_and_no_wrong_answer() {
    after(async |redis: &Redis| {
        redis.stop();
        redis.start_empty();
    })
    .await;
}

#[tokio::test]
async fn redis_flushed_is_a_gap_and_no_wrong_answer() {
    after(async |redis: &Redis| redis.tell("FLUSHALL").await).await;
}

#[tokio::test]
async fn a_stream_trimmed_to_nothing_is_a_gap_and_no_wrong_answer() {
    after(async |redis: &Redis| {
        for stream in streams(redis).await {
            redis.tell(&format!("XTRIM {stream} MAXLEN 0")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_was_stopped_while_the_stream_was_trimmed_finds_the_gap() {
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
    wait_until("the replica has counted the gap", async || gaps(&fleet).await[1] >= 1.0).await;
    assert_eq!(gaps(&fleet).await[0], 0.0, "the other replica missed no message");
    wait_until("the replica shows the current figures", async || {
        diary.check(&fleet[1], "").await;
        crate::steps::get(&fleet[1], &super::today(diary.site)).await["total_requests"] == 1
    })
    .await;
}

#[tokio::test]
async fn a_facility_that_changed_in_a_gap_is_read_again() {
    let fleet = Fleet::of(2).await;
    let site = Site::register(&fleet[0], &noon_zone()).await;
    let own = format!("/v1/facilities/{}", site.facility);
    wait_until("the other knows it", async || fleet[1].get(&own).await.status() == 200).await;
    fleet[1].signal(libc::SIGSTOP);
    // The message for which the replica waits when it is stopped still reaches it. That must be a
    // watermark, and not a later message.
    let passes = async || {
        Scrape::of(&fleet[0]).await.sum("job_runs_total", &[("job", "drain"), ("outcome", "done")])
    };
    let before = passes().await;
    wait_until("the drain has made three more passes", async || passes().await >= before + 3.0)
        .await;
    for (name, zone) in [("Nomad", "Pacific/Kiritimati"), ("Settled", "Etc/GMT+12")] {
        let changed = event(
            "facility.registered",
            json!({"facility_id": site.facility, "name": name, "timezone": zone}),
        );
        acknowledged(&fleet[0], &changed).await;
    }
    let mut plain = Plain::beside(&fleet[0]).await;
    wait_until("both are told", async || {
        plain.number("SELECT count(*) FROM facility_outbox").await == 0
    })
    .await;
    for stream in streams(&fleet.redis).await {
        fleet.redis.tell(&format!("XTRIM {stream} MAXLEN 1")).await;
    }
    fleet[1].signal(libc::SIGCONT);
    wait_until("the replica has counted the gap", async || gaps(&fleet).await[1] >= 1.0).await;
    wait_until("the replica shows the facility as it is now", async || {
        let known = get(&fleet[1], &own).await;
        (&known["name"], &known["timezone"]) == (&json!("Settled"), &json!("Etc/GMT+12"))
    })
    .await;
    let today = date_in("Etc/GMT+12", 0).to_string();
    wait_until("and its date", async || get(&fleet[1], &super::today(site)).await["date"] == today)
        .await;
}
