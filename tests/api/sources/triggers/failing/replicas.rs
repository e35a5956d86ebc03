//! The same with several replicas: what one of them finds holds for all.

use super::*;
use crate::support::redis::Redis;

/// Replicas beside the clinics, whose writes leave marks.
async fn replicas(redis: &Redis) -> (Vec<Service>, Outside) {
    let (launch, mut sql) = mapped(MAPPING).await;
    sql.run(TABLES).await;
    adopt(&launch, &["install"]).await;
    let launch = only_marks(launch).env("REDIS_URL", redis.url());
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(launch.clone().start().await);
    }
    for replica in &replicas {
        is_noticed(replica).await;
        has(replica, "1", "total_stock", 10).await;
        assert_eq!(list(replica, "").await.1["total_stock"], 450);
    }
    (replicas, sql)
}

/// The replica serves the last figures of clinic 1, says how old they are, names it, and has no
/// figures of it in its list.
async fn stands_still(replica: &Service) {
    wait_until("it is named", async || said(replica).await.is_some()).await;
    let words = said(replica).await.expect("it is named");
    for part in ["1 days of 1 facilities", "(key 1)", "sources.stock[0]: division by zero"] {
        assert!(words.contains(part), "{words}");
    }
    let mut least = 2;
    wait_until("its age grows", async || {
        let (stock, age) = today(replica, "1", "total_stock").await;
        assert_eq!(stock, 10);
        let grows = age >= least;
        least = age + 1;
        grows && age >= 3
    })
    .await;
    let path = today_of(replica, "1").await;
    assert_eq!(read(replica, &path, "no-cache").await.status(), 503);
    wait_until("the list shows none", async || {
        list(replica, "").await.0["items"][0]["total_stock"].is_null()
    })
    .await;
    says_why(replica).await;
}

#[tokio::test]
async fn each_replica_lets_the_same_day_stand_still_and_is_exact_again() {
    let redis = Redis::start();
    let (mut replicas, mut sql) = replicas(&redis).await;
    sql.run("UPDATE public.unit SET packs = 0 WHERE id = 1").await;
    for replica in &replicas {
        stands_still(replica).await;
    }
    // All other facilities go on, at each replica.
    for (at, total) in [(0, 21), (1, 22), (2, 23)] {
        goes_on(&replicas[at], &mut sql, "2", total).await;
        for replica in &replicas {
            has(replica, "2", "total_stock", total).await;
            assert!(today(replica, "3", "total_stock").await.1 <= 2);
            wait_until("the list has it, and is recent", async || {
                let answer = read(replica, "/v1/summaries/today?sort=name", "max-age=2").await;
                assert!(answer.status() == 200 && age(&answer) <= 2);
                let list: Value = answer.json().await.expect("JSON");
                list["items"][1]["total_stock"] == total
                    && list["totals"]["total_stock"] == 450 - 10 - 20 + total
            })
            .await;
        }
    }
    // The one that has led is gone, and another one comes that has seen nothing of it.
    let launch = replicas[0].launch().clone();
    replicas.remove(0).kill_9().await;
    replicas.push(launch.start().await);
    for replica in &replicas {
        stands_still(replica).await;
    }
    goes_on(&replicas[2], &mut sql, "3", 31).await;
    // The row is as before, and so are the figures; then they change.
    for (set, stock) in [("packs = 1", 10), ("total = 14", 14)] {
        sql.run(format!("UPDATE public.unit SET {set} WHERE id = 1")).await;
        for replica in &replicas {
            has(replica, "1", "total_stock", stock).await;
            wait_until("nothing is named any more", async || said(replica).await.is_none()).await;
            wait_until("it is recent", async || today(replica, "1", "total_stock").await.1 <= 1)
                .await;
            wait_until("the list has it", async || {
                let (list, totals) = list(replica, "").await;
                !list.to_string().contains("cannot_be_counted")
                    && list["items"][0]["total_stock"] == stock
                    && totals["total_stock"] == 450 - 10 - 20 - 30 + 23 + 31 + stock
            })
            .await;
            let path = today_of(replica, "1").await;
            let exact = get_fresh(replica, &path).await;
            assert_eq!(exact["total_stock"], stock);
            is_noticed(replica).await;
        }
    }
}

async fn get_fresh(replica: &Service, path: &str) -> Value {
    let answer = read(replica, path, "no-cache").await;
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.expect("JSON")
}
