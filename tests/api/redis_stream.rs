//! The change stream in Redis, and the link to it: every message is read once and in order, and a
//! reader notices lost messages.

mod faults;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use deadpool_redis::redis::cmd;
use facility_summary::{
    config::redis_url::RedisUrl,
    metrics::Metrics,
    protocol::Position,
    redis::{Link, READ_AT_ONCE, RedisStream, StreamEntry, StreamRead, StreamStart, Tail},
};

use crate::support::redis::Redis;

/// A time-out for tests that are about something else, long enough for a busy machine.
const PATIENT: Duration = Duration::from_secs(10);
/// The time-out that is used in operation.
const BRIEF: Duration = Duration::from_millis(50);

/// A cluster that no test breaks.
pub fn shared_cluster() -> &'static Redis {
    static SHARED: OnceLock<Redis> = OnceLock::new();
    SHARED.get_or_init(Redis::start_cluster)
}

async fn link(redis: &Redis, timeout: Duration) -> (Arc<Link>, Metrics) {
    let metrics = Metrics::new().unwrap();
    (Link::open(&RedisUrl::parse(redis.url()).unwrap(), timeout, &metrics).await, metrics)
}

async fn stream(redis: &Redis, epoch: &str) -> RedisStream {
    RedisStream::new(link(redis, PATIENT).await.0, epoch, 1_000)
}

fn at(generation: i64, number: i64) -> Position {
    Position { generation, number }
}

fn entry(generation: i64, number: i64, payload: &str) -> StreamEntry {
    StreamEntry { position: at(generation, number), payload: payload.to_owned().into() }
}

/// All entries after `after`.
async fn read(tail: &mut Tail, mut after: i64) -> Vec<StreamEntry> {
    let mut all = Vec::new();
    while let StreamRead::Entries(entries) =
        tail.next(after, READ_AT_ONCE, Duration::from_millis(1)).await.unwrap()
    {
        after = entries.last().unwrap().position.number;
        all.extend(entries);
    }
    all
}

/// A stream of generation 7 with the entries 1 to `length`.
async fn filled(redis: &Redis, epoch: &str, length: i64) -> RedisStream {
    let stream = stream(redis, epoch).await;
    assert_eq!(stream.begin(7, b"1").await.unwrap(), at(7, 1));
    for number in 2..=length {
        assert_eq!(stream.append(&[number.to_string()]).await.unwrap(), Some(at(7, number)));
    }
    stream
}

async fn what_is_appended_is_read_once_and_in_order(redis: &Redis) {
    let stream = stream(redis, "order").await;
    assert_eq!(
        stream.append(&["lost"]).await.unwrap(),
        None,
        "there is no stream yet to append to"
    );
    let mut tail = stream.tail().await.unwrap();
    assert_eq!(tail.open(10).await.unwrap(), None);
    assert_eq!(stream.begin(1, b"a").await.unwrap(), at(1, 1));
    assert_eq!(stream.append(&["b", "c"]).await.unwrap(), Some(at(1, 3)));
    assert_eq!(read(&mut tail, 0).await, [entry(1, 1, "a"), entry(1, 2, "b"), entry(1, 3, "c")]);
    assert_eq!(
        tail.next(3, READ_AT_ONCE, Duration::from_millis(1)).await.unwrap(),
        StreamRead::Nothing
    );

    let waiting = tokio::spawn(async move { tail.next(3, READ_AT_ONCE, PATIENT).await.unwrap() });
    assert_eq!(
        stream.append(&["d"]).await.unwrap(),
        Some(at(1, 4)),
        "a reader that waits does not delay an append"
    );
    assert_eq!(waiting.await.unwrap(), StreamRead::Entries(vec![entry(1, 4, "d")]));
}

#[tokio::test]
async fn what_is_appended_is_read_once_and_in_order_on_one_server() {
    what_is_appended_is_read_once_and_in_order(&Redis::start()).await;
}

#[tokio::test]
async fn what_is_appended_is_read_once_and_in_order_on_a_cluster() {
    what_is_appended_is_read_once_and_in_order(shared_cluster()).await;
}

async fn concurrent_appends_leave_no_gap(redis: &Redis) {
    let stream = filled(redis, "many", 1).await;
    let appended = futures_util::future::join_all((0..20).map(async |writer| {
        let mut last = Vec::new();
        for step in 0..20 {
            last.push(
                stream
                    .append(&[format!("{writer}.{step}.0"), format!("{writer}.{step}.1")])
                    .await
                    .unwrap()
                    .unwrap()
                    .number,
            );
        }
        last
    }))
    .await;
    let entries = read(&mut stream.tail().await.unwrap(), 1).await;
    assert!(entries.iter().map(|entry| entry.position).eq((2..=801).map(|number| at(7, number))));
    for (writer, numbers) in appended.iter().enumerate() {
        for (step, number) in numbers.iter().enumerate() {
            let index = usize::try_from(*number).unwrap() - 3;
            let pair: Vec<&[u8]> =
                entries[index..index + 2].iter().map(|entry| &*entry.payload).collect();
            assert_eq!(
                pair,
                [format!("{writer}.{step}.0").as_bytes(), format!("{writer}.{step}.1").as_bytes()]
            );
        }
    }
}

#[tokio::test]
async fn concurrent_appends_leave_no_gap_on_one_server() {
    concurrent_appends_leave_no_gap(&Redis::start()).await;
}

#[tokio::test]
async fn concurrent_appends_leave_no_gap_on_a_cluster() {
    concurrent_appends_leave_no_gap(shared_cluster()).await;
}

#[tokio::test]
async fn a_generation_continues_its_numbers_and_never_ends_a_later_one() {
    let redis = Redis::start();
    let stream = filled(&redis, "generations", 3).await;
    assert_eq!(stream.begin(9, b"x").await.unwrap(), at(9, 4));
    assert_eq!(
        stream.begin(8, b"y").await.unwrap(),
        at(9, 4),
        "generation 8 cannot begin after generation 9"
    );
    assert_eq!(
        stream.begin(9, b"x").await.unwrap(),
        at(9, 4),
        "generation 9 may be begun again, as the first answer may have been lost"
    );
    assert_eq!(stream.append(&["z"]).await.unwrap(), Some(at(9, 5)));
    let entries = read(&mut stream.tail().await.unwrap(), 2).await;
    assert_eq!(entries, [entry(7, 3, "3"), entry(9, 4, "x"), entry(9, 5, "z")]);
}

#[tokio::test]
async fn a_new_reader_starts_as_far_back_as_it_asks_and_the_stream_allows() {
    let redis = Redis::start();
    let stream = filled(&redis, "start", 30).await;
    let mut tail = stream.tail().await.unwrap();
    assert_eq!(tail.open(10).await.unwrap(), Some(StreamStart { from: at(7, 20), last: 30 }));
    assert_eq!(tail.open(100).await.unwrap(), Some(StreamStart { from: at(7, 0), last: 30 }));
    redis.tell("XTRIM facility-summary:start:changes MAXLEN 5").await;
    assert_eq!(tail.open(10).await.unwrap(), Some(StreamStart { from: at(7, 25), last: 30 }));
    stream.begin(8, b"31").await.unwrap();
    assert_eq!(tail.open(1).await.unwrap(), Some(StreamStart { from: at(8, 30), last: 31 }));
    redis.tell("XTRIM facility-summary:start:changes MAXLEN 0").await;
    assert_eq!(tail.open(10).await.unwrap(), None, "the stream has no entry to begin from");
}

#[tokio::test]
async fn the_stream_keeps_about_as_much_as_is_configured() {
    let redis = Redis::start();
    let stream = filled(&redis, "length", 1).await;
    for _ in 0..30 {
        stream.append(&vec!["m"; 100]).await.unwrap().unwrap();
    }
    let length: usize = redis.ask(cmd("XLEN").arg("facility-summary:length:changes")).await;
    assert!((1_000..=1_200).contains(&length), "{length}");
}

#[tokio::test]
async fn a_deleted_or_trimmed_entry_is_a_gap_in_the_numbers() {
    let redis = Redis::start();
    let stream = filled(&redis, "gap", 5).await;
    let mut tail = stream.tail().await.unwrap();
    let numbers = async |tail: &mut Tail| {
        read(tail, 1).await.iter().map(|entry| entry.position.number).collect::<Vec<_>>()
    };
    redis.tell("XDEL facility-summary:gap:changes 3-0").await;
    assert_eq!(numbers(&mut tail).await, [2, 4, 5]);
    redis.tell("XDEL facility-summary:gap:changes 5-0").await;
    assert_eq!(
        stream.append(&["6"]).await.unwrap(),
        Some(at(7, 6)),
        "a deleted last entry leaves a gap in the numbers, too"
    );
    assert_eq!(
        stream.append_since(8, &["7"]).await.unwrap(),
        None,
        "the database has begun a later generation"
    );
    assert_eq!(numbers(&mut tail).await, [2, 4, 6]);
    redis.tell("XTRIM facility-summary:gap:changes MAXLEN 1").await;
    assert_eq!(numbers(&mut tail).await, [6]);
}

#[tokio::test]
async fn an_entry_written_by_another_program_is_of_no_generation() {
    let redis = Redis::start();
    let stream = filled(&redis, "foreign", 1).await;
    redis.tell("XADD facility-summary:foreign:changes 2-0 hello world").await;
    assert_eq!(
        stream.append(&["3"]).await.unwrap(),
        None,
        "the last entry belongs to no run of Redis"
    );
    assert_eq!(stream.begin(8, b"3").await.unwrap(), at(8, 3));
    assert_eq!(
        read(&mut stream.tail().await.unwrap(), 1).await,
        [entry(0, 2, ""), entry(8, 3, "3")]
    );
}

#[tokio::test]
async fn a_stream_trimmed_to_nothing_cannot_be_verified_and_continues_its_numbers() {
    let redis = Redis::start();
    let stream = filled(&redis, "trimmed", 4).await;
    redis.tell("XTRIM facility-summary:trimmed:changes MAXLEN 0").await;
    assert_eq!(stream.append(&["5"]).await.unwrap(), None);
    assert_eq!(
        stream.tail().await.unwrap().next(4, READ_AT_ONCE, Duration::from_millis(1)).await.unwrap(),
        StreamRead::Nothing
    );
    assert_eq!(stream.begin(8, b"5").await.unwrap(), at(8, 5));
}

#[tokio::test]
async fn the_reader_of_a_flushed_stream_finds_that_it_vanished() {
    let redis = Redis::start();
    let stream = filled(&redis, "flushed", 4).await;
    let mut tail = stream.tail().await.unwrap();
    redis.tell("FLUSHALL").await;
    assert_eq!(stream.append(&["5"]).await.unwrap(), None);
    assert_eq!(
        tail.next(4, READ_AT_ONCE, Duration::from_millis(1)).await.unwrap(),
        StreamRead::Vanished
    );
    assert_eq!(stream.begin(8, b"1").await.unwrap(), at(8, 1));
    assert_eq!(
        tail.next(4, READ_AT_ONCE, Duration::from_millis(1)).await.unwrap(),
        StreamRead::Vanished,
        "the stream ends before the reader's position"
    );
    for number in 2..=5 {
        stream.append(&[number.to_string()]).await.unwrap().unwrap();
    }
    assert_eq!(
        read(&mut tail, 4).await,
        [entry(8, 5, "5")],
        "the generation shows that this is another stream"
    );
}

/// Redis ends expired waits only ten times a second, or when another client sends a command: just
/// before the end of a wait, or just after it.
#[tokio::test]
async fn a_quiet_stream_is_not_taken_for_a_lost_one() {
    let redis = Redis::start();
    let stream = RedisStream::new(link(&redis, BRIEF).await.0, "quiet", 1_000);
    stream.begin(1, b"1").await.unwrap();
    let waits = (1..=12).map(async |wait| {
        let found = stream
            .tail()
            .await
            .unwrap()
            .next(1, READ_AT_ONCE, Duration::from_millis(wait * 137))
            .await;
        assert_eq!(found.unwrap(), StreamRead::Nothing, "after a wait of {wait} * 137 ms");
    });
    futures_util::future::join_all(waits).await;
}

/// A reader that was away for a long time, for example during a rebuild of everything, must not be
/// given more at once than arrives within its time-out.
#[tokio::test]
async fn a_long_backlog_of_large_messages_is_read_in_time() {
    let redis = Redis::start();
    let stream = filled(&redis, "large", 1).await;
    let large = "x".repeat(200 * 1024);
    for _ in 0..99 {
        stream.append(&[&large; 10]).await.unwrap();
    }
    let brief = RedisStream::new(link(&redis, BRIEF).await.0, "large", 2_000);
    assert_eq!(read(&mut brief.tail().await.unwrap(), 0).await.len(), 991);
}

#[tokio::test]
async fn a_stream_expires_a_day_after_the_last_append() {
    let redis = Redis::start();
    let stream = filled(&redis, "old", 1).await;
    let a_day = async || {
        let left: i64 = redis.ask(cmd("TTL").arg("facility-summary:old:changes")).await;
        assert!((86_000..=86_400).contains(&left), "{left} s");
    };
    a_day().await;
    redis.tell("PERSIST facility-summary:old:changes").await;
    stream.append(&["2"]).await.unwrap();
    a_day().await;
}
