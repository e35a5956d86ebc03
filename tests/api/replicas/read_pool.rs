//! Table reads go to a standby of Postgres if it has replayed enough for the reader, and to the
//! primary if not.

use deadpool_redis::redis::{Value as RedisValue, cmd};
use uuid::Uuid;

use super::{Fleet, authority, holds, set_stock, source, today};
use crate::{
    steps::{Scrape, age, noon_zone, read},
    support::{Service, plain_sql, postgres::Postgres, redis::Redis, site::Site, wait_until},
};

/// A primary, its standby, and replicas of the service that read from it.
pub(super) struct Pair {
    pub fleet: Fleet,
    pub standby: Postgres,
    /// The URL of the database at the standby.
    pub there: String,
    _primary: Postgres,
}

impl Pair {
    /// Replicas that hold nothing in memory, so that every read needs another tier.
    pub async fn start() -> Pair {
        let Databases { primary, standby, url, there } = Databases::start().await;
        let launch = Service::on(url)
            .env("DATABASE_READ_URL", &there)
            .env("FACILITY_SUMMARY__CACHE__MEMORY_BYTES", 0);
        let fleet = Fleet::on(launch, 2, Redis::start()).await;
        Pair { fleet, standby, there, _primary: primary }
    }

    /// How often the rows were read at the standby, by Postgres's own count.
    async fn looks(&self) -> i64 {
        let looks = "SELECT coalesce(sum(seq_scan + idx_scan), 0) FROM pg_stat_user_tables WHERE \
                     relname = 'dashboard_daily_summary'";
        plain_sql::number(&self.there, looks).await
    }

    /// Pauses the replay at the standby, or resumes it.
    pub async fn replay(&self, goes_on: bool) {
        replay(&self.standby, goes_on).await;
    }

    /// Reads from the table. What Redis has is deleted before each try, since reads put it there
    /// again.
    async fn table_shows(&self, site: Site, query: &str, directives: &str) -> (i64, i64) {
        let pattern = format!("facility-summary:*:{}:*", site.facility);
        for _ in 0..100 {
            for entry in self.fleet.redis.ask::<Vec<String>>(cmd("KEYS").arg(&pattern)).await {
                self.fleet.redis.ask::<RedisValue>(cmd("DEL").arg(entry)).await;
            }
            let response =
                read(&self.fleet[1], &format!("{}{query}", today(site)), directives).await;
            let (status, from, headers) =
                (response.status(), source(&response), response.headers().clone());
            let body: serde_json::Value = response.json().await.unwrap();
            assert_eq!(status, 200, "{headers:?} {body}");
            if from.ends_with("detail=table") {
                return (
                    body["total_stock"].as_i64().unwrap(),
                    headers["age"].to_str().unwrap().parse().unwrap(),
                );
            }
        }
        panic!("no read is answered from the table");
    }

    async fn has_replayed(&self, item: Uuid, quantity: i64) {
        has_replayed(&self.there, item, quantity).await;
    }
}

/// A primary and its standby, with an empty database.
struct Databases {
    primary: Postgres,
    standby: Postgres,
    /// The URL of the database at the primary.
    url: String,
    /// The URL of the database at the standby.
    there: String,
}

impl Databases {
    async fn start() -> Databases {
        let primary = Postgres::start(&[]);
        let standby = primary.standby(&[]);
        let url = primary.fresh_database().await;
        let there = url.replace(authority(&primary), authority(&standby));
        wait_until("the standby has the database", async || {
            plain_sql::number(
                standby.url(),
                "SELECT count(*) FROM pg_database WHERE datname = 'test_0'",
            )
            .await
                == 1
        })
        .await;
        Databases { primary, standby, url, there }
    }
}

/// Pauses the replay at a standby, or resumes it.
async fn replay(standby: &Postgres, goes_on: bool) {
    let word = if goes_on { "resume" } else { "pause" };
    plain_sql::execute(standby.url(), &format!("SELECT pg_wal_replay_{word}()")).await;
}

async fn has_replayed(there: &str, item: Uuid, quantity: i64) {
    let count = format!(
        "SELECT count(*) FROM blood_inventory WHERE id = '{item}' AND quantity = {quantity}"
    );
    wait_until("the standby has it", async || plain_sql::number(there, &count).await == 1).await;
}

async fn stocked(pair: &Pair) -> (Site, Uuid) {
    let site = Site::register(&pair.fleet[0], &noon_zone()).await;
    let item = Uuid::new_v4();
    set_stock(&pair.fleet[0], site, item, 1).await;
    pair.has_replayed(item, 1).await;
    (site, item)
}

#[tokio::test]
async fn the_table_is_read_at_the_standby_while_it_runs() {
    let pair = Pair::start().await;
    let (site, _) = stocked(&pair).await;
    let before = pair.looks().await;
    wait_until("the standby counts looks", async || {
        assert_eq!(pair.table_shows(site, "", "").await.0, 1);
        pair.looks().await > before + 5
    })
    .await;
    pair.standby.stop();
    for _ in 0..50 {
        assert_eq!(
            pair.table_shows(site, "", "").await.0,
            1,
            "the primary answers instead of the standby"
        );
    }
    pair.standby.start_again();
    let before = pair.looks().await;
    wait_until("the standby is asked again", async || {
        assert_eq!(pair.table_shows(site, "", "").await.0, 1);
        pair.looks().await > before + 5
    })
    .await;
    assert_eq!(pair.fleet.sum("summary_refreshes_total", &[("trigger", "read")]).await, 0.0);
}

#[tokio::test]
async fn a_lagging_standby_answers_with_its_true_age_or_is_not_used() {
    let pair = Pair::start().await;
    let (site, item) = stocked(&pair).await;
    pair.replay(false).await;
    // Redis is emptied, so that a new generation of the stream begins. The standby has not replayed
    // this generation, so nothing proves that its rows are recent.
    pair.fleet.redis.tell("FLUSHALL").await;
    // Nothing has changed: the rows of the standby are right, and as old as the watermark that it
    // has replayed.
    wait_until("the standby's answers get older", async || {
        let (stock, age) = pair.table_shows(site, "", "").await;
        stock == 1 && age >= 3
    })
    .await;
    for directives in ["max-age=1", "max-age=2"] {
        let (stock, age) = pair.table_shows(site, "", directives).await;
        assert_eq!(
            (stock, age <= 1),
            (1, true),
            "{directives}: the answer is not that of the primary, Age {age}"
        );
    }
    // Now something has changed: the standby lacks a change that this replica, or its reader, knows
    // of.
    for quantity in 2..30 {
        let version = set_stock(&pair.fleet[0], site, item, quantity).await;
        let (stock, _) = pair.table_shows(site, &format!("?min_version={version}"), "").await;
        assert_eq!(stock, quantity);
        wait_until("the change is published", async || {
            pair.table_shows(site, "", "").await.0 == quantity
        })
        .await;
        assert_eq!(
            pair.table_shows(site, "", "").await.0,
            quantity,
            "once the change is published, no reader gets older figures"
        );
    }
    pair.replay(true).await;
    pair.has_replayed(item, 29).await;
    let before = pair.looks().await;
    wait_until("the standby is asked again", async || {
        assert_eq!(pair.table_shows(site, "", "max-age=2").await.0, 29);
        pair.looks().await > before + 5
    })
    .await;
}

#[tokio::test]
async fn a_server_of_another_database_is_not_read_from_and_is_named_once() {
    let (launch, other) = (Service::on_postgres().await, Service::on_postgres().await);
    // The database of another fleet, with a watermark of its own.
    let others = Fleet::on(other.clone(), 1, Redis::start()).await;
    let launch = launch
        .env("DATABASE_READ_URL", other.database_url())
        .env("FACILITY_SUMMARY__CACHE__MEMORY_BYTES", 0);
    let fleet = Fleet::on(launch, 1, Redis::start()).await;
    let site = Site::register(&fleet[0], &noon_zone()).await;
    set_stock(&fleet[0], site, Uuid::new_v4(), 3).await;
    let mismatches = async || Scrape::of(&fleet[0]).await.sum("standby_mismatches_total", &[]);
    wait_until("the server is asked several times", async || {
        for entry in fleet
            .redis
            .ask::<Vec<String>>(cmd("KEYS").arg(format!("facility-summary:*:{}:*", site.facility)))
            .await
        {
            fleet.redis.ask::<RedisValue>(cmd("DEL").arg(entry)).await;
        }
        let shown: serde_json::Value = fleet[0].get(&today(site)).await.json().await.unwrap();
        assert_eq!(shown["total_stock"], 3);
        mismatches().await >= 3.0
    })
    .await;
    let said = fleet[0]
        .logs()
        .iter()
        .filter(|line| line.contains("is of another epoch than the primary"))
        .count();
    assert_eq!(said, 1);
    drop(others);
}

#[tokio::test]
async fn a_standbys_figure_that_is_older_than_the_one_in_memory_is_not_used() {
    let pair = Pair::start().await;
    // One more replica, which does hold figures in memory.
    let mut fleet = pair.fleet;
    fleet.launch = fleet.launch.env("FACILITY_SUMMARY__CACHE__MEMORY_BYTES", 1 << 20);
    fleet.join().await;
    let pair = Pair { fleet, ..pair };
    let (site, item) = stocked(&pair).await;
    pair.replay(false).await;
    for quantity in 2..10 {
        set_stock(&pair.fleet[0], site, item, quantity).await;
        holds(&pair.fleet[2], site, quantity).await;
        for directives in ["", "max-age=60", "max-age=1", "no-cache"] {
            let response = read(&pair.fleet[2], &today(site), directives).await;
            assert!(age(&response) <= 1);
            assert_eq!(
                response.json::<serde_json::Value>().await.unwrap()["total_stock"],
                quantity,
                "{directives}"
            );
        }
    }
    assert_eq!(Scrape::of(&pair.fleet[2]).await.sum("stream_gaps_total", &[]), 0.0);
}

/// The last watermark that a server has stored, in milliseconds, and its number in the stream.
async fn watermark(url: &str) -> (i64, i64) {
    let stored = "SELECT (extract(epoch FROM watermark_at) * 1000)::bigint || ' ' || \
                  watermark_number FROM fleet";
    let stored = plain_sql::texts(url, stored).await.remove(0);
    let (at_ms, number) = stored.split_once(' ').expect("there are two");
    (at_ms.parse().unwrap(), number.parse().unwrap())
}

/// A server without Redis numbers its messages within its process. So the position that a standby
/// has, of the process before, says nothing about the messages of this one.
#[tokio::test]
async fn a_server_without_redis_trusts_no_position_that_it_stored_before_it_was_restarted() {
    let Databases { primary, standby, url, there } = Databases::start().await;
    let service = Service::on(&url)
        .env("DATABASE_READ_URL", &there)
        .env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 50)
        .env("FACILITY_SUMMARY__REBUILD__CRON", "off")
        .start()
        .await;
    let site = Site::register(&service, &noon_zone()).await;
    let item = Uuid::new_v4();
    set_stock(&service, site, item, 1).await;
    let (known_ms, _) = watermark(&url).await;
    has_replayed(&there, item, 1).await;
    wait_until("the standby has a later watermark", async || watermark(&there).await.0 > known_ms)
        .await;
    replay(&standby, false).await;
    wait_until("the standby is paused", async || {
        let state = "SELECT pg_get_wal_replay_pause_state()";
        plain_sql::texts(standby.url(), state).await == ["paused"]
    })
    .await;
    let (old_ms, old_number) = watermark(&there).await;
    set_stock(&service, site, item, 2).await;
    wait_until("the change is published", async || {
        plain_sql::number(&url, "SELECT count(*) FROM outbox").await == 0
    })
    .await;
    let launch = service.kill_9().await;
    let (last_ms, _) = watermark(&url).await;
    let service = launch.start().await;
    // Old enough that a reader can refuse it.
    let since_ms = last_ms.max(old_ms + 3_000);
    wait_until("the new process has numbered as many messages", async || {
        let (at_ms, number) = watermark(&url).await;
        at_ms > since_ms && number > old_number
    })
    .await;
    let asked = read(&service, &today(site), "max-age=3600").await;
    assert!(age(&asked) >= 2, "it is as old as the standby's watermark");
    assert_eq!(asked.json::<serde_json::Value>().await.unwrap()["total_stock"], 1);
    let (read_ms, _) = watermark(&url).await;
    wait_until("another watermark", async || watermark(&url).await.0 > read_ms).await;
    let asked = read(&service, &today(site), "max-age=1").await;
    assert_eq!(asked.json::<serde_json::Value>().await.unwrap()["total_stock"], 2);
    drop(primary);
}
