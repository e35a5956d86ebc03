//! How many clients follow a facility.

use deadpool_redis::redis::cmd;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::client::{Events, Live};
use crate::{
    access::asked,
    steps::{facility, header, read},
    support::{Service, redis::Redis, wait_until},
};

fn resource(id: Uuid) -> String {
    format!("/v1/facilities/{id}")
}

async fn viewers(service: &Service, id: Uuid) -> Value {
    let answer = read(service, &resource(id), "").await;
    assert_eq!(answer.status(), 200);
    answer.json::<Value>().await.unwrap()["viewers"].clone()
}

#[track_caller]
fn are(service: &Service, id: Uuid, count: u64) -> impl Future<Output = ()> {
    wait_until("so many follow it", async move || viewers(service, id).await == count)
}

/// A client that follows a facility and answers pings, until it is dropped.
struct Follower(JoinHandle<()>);

impl Follower {
    async fn of(service: &Service, id: Uuid) -> Follower {
        let (mut live, _) = Live::connect(service, &[]).await;
        live.subscribe(&[id]).await;
        Follower(tokio::spawn(async move { while live.next().await.is_ok() {} }))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test]
async fn the_resource_of_a_facility_counts_those_that_follow_it_and_its_tag_does_not() {
    // A reader of events that has gone is noticed by the second heartbeat that it does not take.
    let launch = Service::on_sqlite().env("FACILITY_SUMMARY__LIVE__HEARTBEAT_SECONDS", 1);
    let service = launch.start().await;
    let (a, b) = (facility(&service, "A", "UTC").await, facility(&service, "B", "UTC").await);
    let answer = read(&service, &resource(a), "").await;
    let tag = header(&answer, "etag");
    assert!(tag.starts_with("W/\""), "the same tag has several bodies: {tag}");
    assert_eq!(answer.json::<Value>().await.unwrap()["viewers"], 0);
    let (mut one, _) = Live::connect(&service, &[]).await;
    one.subscribe(&[a]).await;
    let _two = Follower::of(&service, a).await;
    let mut events = Events::open(&service, &format!("facility_id={a}"), None).await;
    events.until("summary").await;
    // Who follows all or the totals follows no single facility.
    let (mut all, _) = Live::connect(&service, &[]).await;
    all.send(json!({"type": "subscribe", "subject": "all"})).await;
    all.until("summaries").await;
    assert_eq!((viewers(&service, a).await, viewers(&service, b).await), (json!(3), json!(0)));
    let known = service.request(reqwest::Method::GET, &resource(a)).header("If-None-Match", &tag);
    assert_eq!(known.send().await.unwrap().status(), 304, "the facility is the same");
    let list: Value = read(&service, "/v1/facilities", "").await.json().await.unwrap();
    assert!(list["items"][0].get("viewers").is_none(), "{list}");
    one.send(json!({"type": "unsubscribe", "facilities": [a]})).await;
    one.until("unsubscribed").await;
    assert_eq!(viewers(&service, a).await, 2);
    drop((events, one));
    are(&service, a, 1).await;
}

/// Two servers with a Redis, and a facility that both know.
async fn two(redis: &Redis) -> ([Service; 2], Uuid) {
    let launch = Service::on_postgres().await.env("REDIS_URL", redis.url());
    let both = [launch.clone().start().await, launch.start().await];
    let a = facility(&both[0], "A", "UTC").await;
    wait_until("the other one knows it", async || {
        asked(&both[1], None, reqwest::Method::GET, &resource(a)).await.status() == 200
    })
    .await;
    (both, a)
}

/// The hashes in Redis.
async fn keys(redis: &Redis) -> Vec<String> {
    redis.ask(cmd("KEYS").arg("*:viewers:*")).await
}

#[tokio::test]
async fn servers_add_up_what_each_has_and_one_that_has_gone_counts_no_more() {
    let redis = Redis::start();
    let ([first, second], a) = two(&redis).await;
    assert_eq!(viewers(&first, a).await, 0);
    assert!(keys(&redis).await.is_empty(), "servers without viewers say nothing");
    let third = second.launch().clone().start().await;
    let _held = [Follower::of(&first, a).await, Follower::of(&first, a).await];
    let _on_second = Follower::of(&second, a).await;
    let (more, _on_third) = (Follower::of(&third, a).await, Follower::of(&third, a).await);
    for service in [&first, &second, &third] {
        are(service, a, 5).await;
    }
    drop(more);
    are(&first, a, 4).await;
    third.terminate().await;
    assert_eq!(viewers(&first, a).await, 3, "one that stops takes its name off the list");
    second.kill_9().await;
    for key in keys(&redis).await {
        let left_ms: i64 = redis.ask(cmd("PTTL").arg(&key)).await;
        assert!((1..=30_000).contains(&left_ms), "{key} lasts for {left_ms} ms");
        redis.tell(&format!("PEXPIRE {key} 1")).await;
    }
    are(&first, a, 2).await;
}

#[tokio::test]
async fn without_redis_nobody_guesses_and_what_it_has_lost_is_told_anew() {
    let redis = Redis::start();
    let (both, a) = two(&redis).await;
    let _held = [Follower::of(&both[0], a).await, Follower::of(&both[1], a).await];
    for service in &both {
        are(service, a, 2).await;
    }
    redis.stop();
    for service in &both {
        wait_until("it says so", async || viewers(service, a).await.is_null()).await;
    }
    redis.start_empty();
    for service in &both {
        are(service, a, 2).await;
    }
    // Nothing has changed, and no command has failed.
    for key in keys(&redis).await {
        redis.tell(&format!("DEL {key}")).await;
    }
    are(&both[0], a, 1).await;
    are(&both[0], a, 2).await;
}
