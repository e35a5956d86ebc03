//! A Redis that restarts, is demoted, hangs, or cannot be reached.

use std::time::{Duration, Instant};

use facility_summary::{
    metrics::Metrics,
    redis::{CommandError, READ_AT_ONCE, RedisStream, StreamRead},
};

use super::{BRIEF, PATIENT, at, entry, filled, link, read};
use crate::support::{redis::Redis, wait_until};

#[tokio::test]
async fn a_stream_that_came_back_shorter_or_empty_is_not_appended_to() {
    let redis = Redis::start();
    let stream = filled(&redis, "restart", 3).await;
    let again = async |empty: bool| {
        redis.stop();
        if empty {
            redis.start_empty()
        } else {
            redis.start_again()
        }
        wait_until("the link notices the restart", async || stream.append(&["?"]).await.is_ok())
            .await;
        stream.append(&["?"]).await.unwrap()
    };
    redis.save();
    stream.append(&["4"]).await.unwrap().unwrap();
    assert_eq!(again(false).await, None, "an entry is missing in the file that Redis saved");
    let mut tail = stream.tail().await.unwrap();
    assert_eq!(
        tail.next(4, READ_AT_ONCE, Duration::from_millis(1)).await.unwrap(),
        StreamRead::Vanished
    );
    assert_eq!(stream.begin(8, b"4").await.unwrap(), at(8, 4));
    assert_eq!(read(&mut tail, 3).await, [entry(8, 4, "4")]);

    redis.save();
    assert_eq!(
        again(false).await,
        None,
        "it is not known whether the file that Redis saved lacks an entry"
    );
    assert_eq!(again(true).await, None);
    assert_eq!(stream.begin(9, b"1").await.unwrap(), at(9, 1));
}

#[tokio::test]
async fn a_redis_that_followed_another_one_is_not_appended_to() {
    let redis = Redis::start();
    let stream = filled(&redis, "demoted", 3).await;
    redis.tell("REPLICAOF 127.0.0.1 1").await;
    redis.tell("REPLICAOF NO ONE").await;
    assert_eq!(
        stream.append(&["4"]).await.unwrap(),
        None,
        "the primary that it followed may have had fewer entries"
    );
    assert_eq!(stream.begin(8, b"4").await.unwrap(), at(8, 4));
    assert_eq!(stream.append(&["5"]).await.unwrap(), Some(at(8, 5)));
}

#[tokio::test]
async fn a_hung_server_costs_one_time_out_and_is_back_within_two_seconds() {
    let redis = Redis::start();
    let (link, metrics) = link(&redis, BRIEF).await;
    let stream = RedisStream::new(link.clone(), "hung", 1_000);
    // On a busy machine Redis may be slower than the time-out now and then.
    wait_until("the stream has begun", async || stream.begin(1, b"1").await.is_ok()).await;
    wait_until("Redis answers", async || stream.append(&["2"]).await.is_ok()).await;
    let timed_out = || count(&metrics, "append", "timeout");
    let before = timed_out();

    redis.freeze();
    let frozen = Instant::now();
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let stream = stream.clone();
            tokio::spawn(async move {
                let mut slowest = Duration::ZERO;
                while frozen.elapsed() < Duration::from_millis(3_500) {
                    let asked = Instant::now();
                    stream.append(&["?"]).await.unwrap_err();
                    slowest = slowest.max(asked.elapsed());
                    // The pause of a caller between two commands.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                slowest
            })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap() < Duration::from_secs(1));
    }
    assert_eq!(timed_out() - before, 1, "one of 50 callers waited for a time-out within 3.5 s");
    assert_eq!(link.last_error(), Some("timeout"));
    assert!(count(&metrics, "append", "down") > 1_000, "all other commands failed at once");

    redis.thaw();
    let thawed = Instant::now();
    link.up().await;
    assert!(thawed.elapsed() < Duration::from_secs(2));
    assert_eq!(link.last_error(), None);
}

#[tokio::test]
async fn a_redis_that_is_not_there_stops_nothing_and_is_used_when_it_comes() {
    let redis = Redis::start();
    redis.stop();
    let (link, _) = link(&redis, PATIENT).await;
    assert_eq!(link.last_error(), Some("connection"));
    let stream = RedisStream::new(link.clone(), "late", 1_000);
    assert!(matches!(stream.append(&["?"]).await, Err(CommandError::Down("connection"))));
    assert!(matches!(stream.tail().await, Err(CommandError::Down("connection"))));
    redis.start_empty();
    link.up().await;
    assert_eq!(stream.begin(1, b"1").await.unwrap(), at(1, 1));
}

#[tokio::test]
async fn a_cluster_with_one_hung_node_answers_for_the_others() {
    let redis = Redis::start_cluster();
    let (link, _) = link(&redis, BRIEF).await;
    redis.freeze_node(2);
    let mut answered = 0;
    for epoch in 0..30 {
        let stream = RedisStream::new(link.clone(), &epoch.to_string(), 1_000);
        tokio::time::timeout(PATIENT, link.up()).await.expect("the other nodes answer");
        answered += i32::from(stream.begin(1, b"1").await.is_ok());
    }
    assert!((5..30).contains(&answered), "{answered} of 30");
    redis.thaw();
}

/// `redis_requests_total` of a command and outcome.
fn count(metrics: &Metrics, command: &str, outcome: &str) -> u64 {
    metrics.redis_requests.with_label_values(&[command, outcome]).get()
}
