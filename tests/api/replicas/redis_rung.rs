//! Figures that one replica put into Redis answer the reads of another that does not hold them.

use deadpool_redis::redis::cmd;
use uuid::Uuid;

use super::{Fleet, HIT, set_stock, source, today};
use crate::{
    steps::{Scrape, age, noon_zone, read},
    support::{Service, postgres::Postgres, redis::Redis, service::Launch, site::Site, wait_until},
};

const FROM_REDIS: &str = "facility-summary; fwd=miss; detail=redis";

/// Waits until Redis has today's figures of the site.
async fn shared(fleet: &Fleet, site: Site) {
    let pattern = format!("facility-summary:*:{}:*", site.facility);
    wait_until("the figures are in Redis", async || {
        !fleet.redis.ask::<Vec<String>>(cmd("KEYS").arg(&pattern)).await.is_empty()
    })
    .await;
}

async fn from_redis(replica: &Service) -> f64 {
    Scrape::of(replica).await.sum("summary_reads_total", &[("tier", "redis")])
}

/// A replica with a facility, and another one that started later and has read none of the earlier
/// messages.
async fn a_late_comer() -> (Fleet, Site) {
    let mut fleet = Fleet::with(1, |launch| launch.env("FACILITY_SUMMARY__REDIS__REPLAY", 1)).await;
    let site = Site::register(&fleet[0], &noon_zone()).await;
    set_stock(&fleet[0], site, Uuid::new_v4(), 7).await;
    shared(&fleet, site).await;
    // The figures are two seconds old, so that their true age differs from 0.
    wait_until("the figures have aged", async || {
        let put: Vec<String> = fleet
            .redis
            .ask(cmd("KEYS").arg(format!("facility-summary:*:{}:*", site.facility)))
            .await;
        let as_of: i64 = fleet.redis.ask(cmd("HGET").arg(&put[0]).arg("t")).await;
        crate::steps::now_ms() - as_of > 2_000
    })
    .await;
    fleet.join().await;
    (fleet, site)
}

#[tokio::test]
async fn a_replica_that_came_later_answers_from_redis_and_then_from_memory() {
    let (fleet, site) = a_late_comer().await;
    let response = fleet[1].get(&today(site)).await;
    assert_eq!((source(&response).as_str(), response.status().as_u16()), (FROM_REDIS, 200));
    assert!(age(&response) >= 1, "figures from Redis are as old as when they were put there");
    assert_eq!(response.json::<serde_json::Value>().await.unwrap()["total_stock"], 7);
    assert_eq!(from_redis(&fleet[1]).await, 1.0);
    // From then on watermarks prove the entry in memory, after at most one more read of the table.
    wait_until("memory has the figures, and they are proven", async || {
        let response = read(&fleet[1], &today(site), "max-age=60").await;
        source(&response) == HIT && age(&response) <= 1
    })
    .await;
    assert_eq!(fleet.sum("summary_refreshes_total", &[("trigger", "read")]).await, 0.0);
}

#[tokio::test]
async fn a_range_is_answered_from_redis_where_another_replica_has_read_it() {
    let (fleet, site) = a_late_comer().await;
    let week = format!("/v1/facilities/{}/summaries", site.facility);
    let only_cached = read(&fleet[1], &week, "only-if-cached").await;
    assert_eq!(only_cached.status(), 504, "Redis has today only");
    let first: serde_json::Value = fleet[0].get(&week).await.json().await.unwrap();
    let pattern = format!("facility-summary:*:{}:*", site.facility);
    wait_until("the days are in Redis", async || {
        fleet.redis.ask::<Vec<String>>(cmd("KEYS").arg(&pattern)).await.len() == 7
    })
    .await;
    let response = read(&fleet[1], &week, "only-if-cached").await;
    assert_eq!((source(&response).as_str(), response.status().as_u16()), (FROM_REDIS, 200));
    assert_eq!(response.json::<serde_json::Value>().await.unwrap(), first);
    wait_until("memory has the days, and they are proven", async || {
        let response = read(&fleet[1], &week, "max-age=60").await;
        source(&response) == HIT && age(&response) <= 1
    })
    .await;
}

#[tokio::test]
async fn only_if_cached_is_answered_from_redis_or_with_504() {
    let (fleet, site) = a_late_comer().await;
    let response = read(&fleet[1], &today(site), "only-if-cached").await;
    assert_eq!((source(&response).as_str(), response.status().as_u16()), (FROM_REDIS, 200));
    let yesterday = crate::steps::path(site.facility, crate::steps::date_in(&noon_zone(), -1));
    assert_eq!(
        read(&fleet[1], &yesterday, "only-if-cached").await.status(),
        504,
        "neither memory nor Redis has that day"
    );
    assert_eq!(read(&fleet[1], &today(site), "only-if-cached, max-age=0").await.status(), 504);
    fleet.redis.tell("FLUSHALL").await;
    let response = read(&fleet[1], &today(site), "only-if-cached").await;
    assert_eq!(
        (source(&response).as_str(), response.status().as_u16()),
        (HIT, 200),
        "memory holds what was read from Redis"
    );
}

#[tokio::test]
async fn a_replica_without_memory_answers_from_redis_what_the_others_write() {
    let fleet =
        Fleet::with(2, |launch| launch.env("FACILITY_SUMMARY__CACHE__MEMORY_BYTES", 0)).await;
    let site = Site::register(&fleet[0], &noon_zone()).await;
    let item = Uuid::new_v4();
    for quantity in 1..20 {
        set_stock(&fleet[0], site, item, quantity).await;
        wait_until("the new quantity is shown", async || {
            let response = fleet[1].get(&today(site)).await;
            source(&response) == FROM_REDIS
                && response.json::<serde_json::Value>().await.unwrap()["total_stock"] == quantity
        })
        .await;
    }
    assert!(from_redis(&fleet[1]).await >= 19.0);
    assert_eq!(fleet.sum("summary_refreshes_total", &[("trigger", "read")]).await, 0.0);
}

#[tokio::test]
async fn figures_that_only_redis_has_are_served_while_postgres_hangs() {
    let postgres = Postgres::start(&[]);
    let launch = Service::on(postgres.fresh_database().await)
        .env("FACILITY_SUMMARY__FRESHNESS__MAX_AGE_SECONDS", 1)
        .env("FACILITY_SUMMARY__CACHE__MEMORY_BYTES", 0);
    let fleet = Fleet::on(launch, 1, Redis::start()).await;
    let site = Site::register(&fleet[0], &noon_zone()).await;
    set_stock(&fleet[0], site, Uuid::new_v4(), 7).await;
    shared(&fleet, site).await;
    postgres.freeze();
    let mut is_lost = false;
    wait_until("the database is found to be lost", async || {
        let response = fleet[0].get(&today(site)).await;
        assert_eq!(
            response.status(),
            200,
            "the first reader, which waits for the database, is answered, too"
        );
        is_lost |= source(&response).ends_with("detail=source-unavailable");
        is_lost && response.json::<serde_json::Value>().await.unwrap()["total_stock"] == 7
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_cut_costs_no_answer_and_is_replaced() {
    let patient = |launch: Launch| {
        // On a busy machine no connection may be given up because of a time-out.
        launch
            .env("FACILITY_SUMMARY__CACHE__MEMORY_BYTES", 0)
            .env("FACILITY_SUMMARY__REDIS__TIMEOUT_MS", 5_000)
    };
    let fleet = Fleet::with(2, patient).await;
    let site = Site::register(&fleet[0], &noon_zone()).await;
    set_stock(&fleet[0], site, Uuid::new_v4(), 7).await;
    let clients = async || -> Vec<String> {
        let list: String =
            fleet.redis.ask(cmd("CLIENT").arg("LIST").arg("TYPE").arg("normal")).await;
        list.lines()
            .filter_map(|line| line.strip_prefix("id=")?.split(' ').next().map(str::to_owned))
            .collect()
    };
    // More reads than there are workers, so that each worker has a connection.
    let answered = async || {
        for _ in 0..20 {
            let response = fleet[1].get(&today(site)).await;
            assert_eq!(
                (response.status().as_u16(), source(&response)),
                (200, FROM_REDIS.to_owned())
            );
        }
    };
    let rung_is_back = async || {
        wait_until("Redis answers", async || {
            source(&fleet[1].get(&today(site)).await) == FROM_REDIS
        })
        .await
    };
    rung_is_back().await;
    answered().await;
    let before = clients().await;
    for id in &before {
        let _: i64 = fleet.redis.ask(cmd("CLIENT").arg("KILL").arg("ID").arg(id)).await;
        assert_eq!(fleet[1].get(&today(site)).await.status(), 200);
        rung_is_back().await;
    }
    answered().await;
    let after = clients().await;
    assert!(after.iter().all(|id| !before.contains(id)), "{before:?}, {after:?}");
    assert!(after.len() <= before.len() + 2, "{before:?}, {after:?}: no connection is left behind");
}
