//! Replicas with a Redis cluster between them, and replicas beside servers that have no Redis.

use std::time::Duration;

use super::{Fleet, diary::Diary, holds, wait_until_whole};
use crate::{
    steps::{Plain, Scrape, noon_zone},
    support::{Service, redis::Redis, wait_until},
};

#[tokio::test]
async fn two_replicas_on_a_cluster_answer_as_one() {
    let fleet = Fleet::on(Service::on_postgres().await, 2, Redis::start_cluster()).await;
    let mut diary = Diary::begin(&fleet[0], &noon_zone()).await;
    for turn in 0..50 {
        let version = diary.write(&fleet[turn % 2]).await;
        let seen = fleet[(turn + 1) % 2]
            .get(&format!("{}?min_version={version}", super::today(diary.site)))
            .await;
        assert_eq!(seen.json::<serde_json::Value>().await.unwrap()["total_stock"], diary.last());
    }
    for replica in &fleet.replicas {
        holds(replica, diary.site, diary.last()).await;
    }
    diary.keep(&fleet.replicas, Duration::from_secs(2)).await;
    assert_eq!(fleet.sum("stream_gaps_total", &[]).await, 0.0);
    assert_eq!(fleet.sum("summary_refreshes_total", &[("trigger", "read")]).await, 0.0);
}

#[tokio::test]
async fn a_node_of_the_cluster_that_hangs_costs_no_answer() {
    let fleet = Fleet::on(Service::on_postgres().await, 2, Redis::start_cluster()).await;
    let mut diary = Diary::begin(&fleet[0], &noon_zone()).await;
    for node in 1..=3 {
        diary.keep(&fleet.replicas, Duration::from_millis(300)).await;
        fleet.redis.freeze_node(node);
        diary.keep(&fleet.replicas, Duration::from_millis(1_500)).await;
        fleet.redis.thaw();
        for replica in &fleet.replicas {
            wait_until_whole(replica).await;
        }
    }
    diary.keep(&fleet.replicas, Duration::from_millis(500)).await;
    for replica in &fleet.replicas {
        holds(replica, diary.site, diary.last()).await;
    }
}

#[tokio::test]
async fn replicas_on_different_redis_servers_say_what_is_wrong_once_a_minute() {
    let launch = Service::on_postgres().await;
    let fleet = Fleet::on(launch.clone(), 1, Redis::start()).await;
    let another = Redis::start();
    let stray = launch.env("REDIS_URL", another.url()).start().await;
    let said = |replica: &Service| {
        replica.logs().iter().filter(|line| line.contains("has another REDIS_URL")).count()
    };
    for replica in [&fleet[0], &stray] {
        wait_until("the log names the cause", async || said(replica) == 1).await;
    }
    let begun =
        async || Scrape::of(&stray).await.sum("stream_gaps_total", &[("reason", "generation")]);
    let before = begun().await;
    wait_until("generations go on to begin", async || begun().await >= before + 6.0).await;
    assert_eq!([&fleet[0], &stray].map(said), [1, 1]);
    // The log does not have a line for each missed message either.
    let missed = |replica: &Service| {
        replica
            .logs()
            .iter()
            .filter(|line| line.contains("of the change stream were missed"))
            .count()
    };
    assert_eq!([&fleet[0], &stray].map(missed), [1, 1]);
    drop(stray);
    let over = || fleet[0].logged("no message of the change stream is missed any more");
    wait_until("the log says that no message is missed any more", async || !over().is_empty())
        .await;
    let gaps = Scrape::of(&fleet[0]).await.sum("stream_gaps_total", &[("reason", "generation")]);
    assert_eq!((over().len(), over()[0]["times"].as_f64()), (1, Some(gaps)));
}

#[tokio::test]
async fn a_change_at_servers_without_redis_is_missing_at_others_only_within_the_age_shown() {
    let launch = Service::on_postgres().await;
    let mut fleet = Fleet::on(launch.clone(), 2, Redis::start()).await;
    let mut diary = Diary::begin(&fleet[0], &noon_zone()).await;
    diary.keep(&fleet.replicas, Duration::from_millis(500)).await;
    for _ in 0..2 {
        fleet.replicas.push(launch.clone().start().await);
        diary.keep(&fleet.replicas, Duration::from_secs(2)).await;
    }
    let mut plain = Plain::beside(&fleet[0]).await;
    plain
        .run(&format!(
            "INSERT INTO blood_requests (id, facility_id) VALUES (gen_random_uuid(), '{}')",
            diary.site.facility
        ))
        .await;
    for (index, replica) in fleet.replicas.iter().enumerate() {
        // Servers without Redis receive no change. They find it when a request asks for recent
        // figures.
        let directives = if index < 2 { "" } else { "max-age=1" };
        wait_until(&format!("what another program wrote shows at {index}"), async || {
            let response = crate::steps::read(replica, &super::today(diary.site), directives).await;
            response.json::<serde_json::Value>().await.unwrap()["total_requests"] == 1
        })
        .await;
    }
    // When the servers without Redis are gone, the others work as before.
    for _ in 0..2 {
        diary.keep(&fleet.replicas, Duration::from_secs(1)).await;
        fleet.replicas.pop().expect("it was pushed").kill_9().await;
    }
    diary.keep(&fleet.replicas, Duration::from_secs(1)).await;
    diary.write(&fleet[0]).await;
    for replica in &fleet.replicas {
        wait_until_whole(replica).await;
        wait_until("the replica shows the last event", async || {
            crate::steps::get(replica, &super::today(diary.site)).await["total_stock"]
                == diary.last()
        })
        .await;
        holds(replica, diary.site, diary.last()).await;
    }
}
