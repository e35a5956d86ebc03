//! How a replica attaches to the change stream. While it cannot attach, its log, its readiness and
//! its metrics say at which stage it waits, and why.

use std::time::Duration;

use deadpool_redis::redis::cmd;
use facility_summary::{
    config::redis_url::RedisUrl,
    metrics::Metrics,
    protocol::Message,
    redis::{Link, RedisStream},
};
use serde_json::Value;
use uuid::Uuid;

use super::{authority_of, wait_until_whole};
use crate::{
    proxy::Proxy,
    steps::{Scrape, get},
    support::{Service, redis::Redis, service::Launch, wait_until},
};

const APART: &str = "not attached to the change stream; until it is, answers are proven by the \
                     table, and what memory holds counts as fresh for a short while only";

/// A replica on a new database, with its Redis there.
async fn replica_at(url: &str) -> Service {
    launch(Service::on_postgres().await, url).start().await
}

fn launch(launch: Launch, redis_url: &str) -> Launch {
    launch.env("REDIS_URL", redis_url).env("FACILITY_SUMMARY__REBUILD__CRON", "off")
}

/// What `/health/ready` says of the stream.
async fn stream(replica: &Service) -> Value {
    let ready = get(replica, "/health/ready").await;
    ready["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .find(|found| found["name"] == "change_stream")
        .unwrap()
        .clone()
}

/// Waits until the replica has logged twice what it waits for, and with which error. Readiness and
/// metrics say the same.
async fn says(replica: &Service, stage: &str, error: &str) {
    let said = |replica: &Service| {
        let all = replica.logged(APART);
        all.iter()
            .filter(|fields| {
                fields["stage"] == stage
                    && fields["error"].as_str().is_some_and(|said| said.contains(error))
            })
            .count()
    };
    wait_until("the log says what the replica waits for, and repeats it", async || {
        said(replica) >= 2
    })
    .await;
    let state = stream(replica).await;
    assert_eq!((&state["state"], &state["stage"]), (&"down".into(), &stage.into()), "{state}");
    let scrape = Scrape::of(replica).await;
    for name in ["connecting", "reading", "unverified", "append_failing", "attached"] {
        let wanted = f64::from(u8::from(name == stage));
        assert_eq!(scrape.find("change_stream_state", &[("state", name)]), Some(wanted), "{name}");
    }
}

async fn joins(replica: &Service) {
    wait_until_whole(replica).await;
    assert_eq!(stream(replica).await["stage"], "attached");
    assert_eq!(
        Scrape::of(replica).await.find("change_stream_state", &[("state", "attached")]),
        Some(1.0)
    );
    wait_until("the log says that the replica is attached", async || {
        replica.logged("attached to the change stream").len() == 1
    })
    .await;
}

fn warnings(replica: &Service, message: &str) -> usize {
    replica.logs().iter().filter(|line| line.contains(message)).count()
}

#[tokio::test]
async fn a_redis_that_is_one_node_of_a_cluster_is_reported_as_such() {
    let redis = Redis::start_cluster();
    // The URL names one node of three. A replica attaches if its stream happens to be on this node.
    for url in redis.url().split(',').cycle().take(30) {
        let replica = replica_at(url).await;
        let told = async || {
            stream(&replica).await["stage"] == "attached" || replica.logged(APART).len() >= 2
        };
        wait_until("the replica is attached, or says why it is not", told).await;
        if stream(&replica).await["stage"] != "attached" {
            says(
                &replica,
                "connecting",
                "leads to one node of a cluster, and should name its nodes",
            )
            .await;
            assert_eq!(
                warnings(&replica, "the change stream cannot be read"),
                1,
                "{:?}",
                replica.logs()
            );
            return;
        }
    }
    panic!("all of thirty streams are on the node that the URL names");
}

#[tokio::test]
async fn a_redis_at_its_limit_of_connections_is_reported_as_refusing() {
    let redis = Redis::start();
    let mut operator = redis.connect().await;
    redis.tell("CONFIG SET maxclients 2").await;
    let replica = replica_at(redis.url()).await;
    // Redis sends the reason and closes the connection. If the replica writes at the same time, it
    // does not receive the reason.
    says(&replica, "connecting", "").await;
    cmd("CONFIG")
        .arg("SET")
        .arg("maxclients")
        .arg(100)
        .query_async::<()>(&mut operator)
        .await
        .unwrap();
    joins(&replica).await;
}

#[tokio::test]
async fn a_redis_user_that_may_not_read_the_stream_is_reported() {
    let redis = Redis::start();
    redis.tell("ACL SETUSER limited on >secret ~* &* +@all -xread").await;
    let replica = replica_at(&redis.url().replace("redis://", "redis://limited:secret@")).await;
    says(&replica, "connecting", "the user of redis.url needs all commands").await;
    redis.tell("ACL SETUSER limited +xread").await;
    joins(&replica).await;
}

#[tokio::test]
async fn a_redis_that_takes_no_message_from_the_start_is_reported() {
    let redis = Redis::start();
    redis.tell("CONFIG SET maxmemory 1").await;
    let replica = replica_at(redis.url()).await;
    says(&replica, "append_failing", "OOM").await;
    assert_eq!(
        warnings(&replica, "the change stream cannot be written"),
        1,
        "{:?}",
        replica.logs()
    );
    redis.tell("CONFIG SET maxmemory 0").await;
    joins(&replica).await;
}

#[tokio::test]
async fn replicas_attach_to_a_redis_that_hung_at_the_start_once_it_answers() {
    let redis = Redis::start();
    let proxy = Proxy::to(authority_of(redis.url()));
    let launch = launch(Service::on_postgres().await, &format!("redis://{}", proxy.address));
    redis.freeze();
    let replicas = vec![launch.clone().start().await, launch.clone().start().await];
    for replica in &replicas {
        says(replica, "connecting", "").await;
    }
    proxy.delay(Duration::from_millis(400));
    redis.thaw();
    for replica in &replicas {
        wait_until("the log says that the stream cannot be read", async || {
            warnings(replica, "the change stream cannot be read") >= 1
        })
        .await;
    }
    proxy.delay(Duration::ZERO);
    for replica in &replicas {
        joins(replica).await;
    }
}

/// The number of facilities in one message of this test, which has half a megabyte.
const LARGE: usize = 13_000;

#[tokio::test]
async fn a_stream_too_large_for_one_read_is_read_in_smaller_ones() {
    let redis = Redis::start();
    let launch = launch(Service::on_postgres().await, redis.url());
    let first = launch.clone().start().await;
    wait_until_whole(&first).await;
    let keys: Vec<String> = redis.ask(cmd("KEYS").arg("facility-summary:*:changes")).await;
    let epoch = keys[0].split(':').nth(1).unwrap();
    let link = Link::open(
        &RedisUrl::parse(redis.url()).unwrap(),
        Duration::from_secs(10),
        &Metrics::new().unwrap(),
    )
    .await;
    let stream = RedisStream::new(link, epoch, 10_000);
    let large = Message::Facilities((0..LARGE).map(|_| Uuid::new_v4()).collect()).encode();
    for _ in 0..80 {
        stream.append(&[&large]).await.unwrap().expect("the first replica has begun it");
    }
    // A read of 64 such messages at once would take three seconds.
    let proxy = Proxy::to(authority_of(redis.url()));
    proxy.narrow(10 * 1024 * 1024);
    let second = launch.env("REDIS_URL", format!("redis://{}", proxy.address)).start().await;
    wait_until("the replica has read the whole stream", async || {
        self::stream(&second).await["stage"] == "attached"
    })
    .await;
    assert_eq!(Scrape::of(&second).await.sum("stream_gaps_total", &[]), 0.0);
}
