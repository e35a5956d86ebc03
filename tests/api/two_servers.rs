//! Two servers on one database, without a change stream between them. On Postgres no answer claims
//! a later instant than its server can prove. On SQLite the second server does not start.

use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use crate::{
    steps::{Scrape, age, bank, facility, get, inventory, noon_zone, now_ms, path, post, read},
    support::{Service, wait_until},
};

/// How long events are written while the other server is read.
const WRITING: Duration = Duration::from_secs(4);

const WARNING: &str = "several servers use this database, and there is no change stream between \
                       them: answers are only as fresh as their last refresh; give each of them \
                       REDIS_URL";
const OVER: &str = "this server is alone on its database again: its answers are kept fresh";

async fn two_on_postgres() -> (Service, Service) {
    // A rebuild after the start would refresh what these tests say nobody refreshes.
    let launch = Service::on_postgres().await.env("FACILITY_SUMMARY__REBUILD__CRON", "off");
    let first = launch.start().await;
    let second = first.launch().clone().start().await;
    wait_until("the first has noticed the second", async || !first.logged(WARNING).is_empty())
        .await;
    assert_eq!(second.logged(WARNING).len(), 1);
    (first, second)
}

#[tokio::test]
async fn an_answer_of_another_server_has_every_change_older_than_its_age() {
    let (writer, reader) = two_on_postgres().await;
    let id = facility(&writer, "North", &noon_zone()).await;
    let (bank, unit) = (bank(&writer, id).await, Uuid::new_v4());
    // When each quantity was acknowledged; the quantity is the index.
    let mut acknowledged_ms = vec![now_ms()];
    let (started, mut answers) = (Instant::now(), 0);
    let paths = [
        (path(id, "today"), "/total_stock"),
        ("/v1/summaries/today".to_owned(), "/totals/total_stock"),
    ];
    while started.elapsed() < WRITING {
        post(&writer, &[inventory(unit, bank, "O+", acknowledged_ms.len() as i64)]).await;
        acknowledged_ms.push(now_ms());
        for (path, figure) in &paths {
            for directives in ["", "max-age=1", "max-age=60"] {
                let asked_ms = now_ms();
                let response = read(&reader, path, directives).await;
                assert_eq!(response.status(), 200, "{path} {directives}");
                let exact_ms = asked_ms - 1000 * (age(&response) + 1);
                let body: Value = response.json().await.unwrap();
                let shown = body.pointer(figure).and_then(Value::as_i64).unwrap_or_default();
                let due = acknowledged_ms
                    .iter()
                    .rposition(|at_ms| *at_ms <= exact_ms)
                    .unwrap_or_default();
                assert!(
                    shown >= due as i64,
                    "{path} {directives}: shows {shown}, but {due} was acknowledged {} ms ago",
                    now_ms() - acknowledged_ms[due]
                );
                answers += 1;
            }
        }
    }
    assert!(answers > 50, "{answers}");
    assert_eq!(
        (writer.logged(WARNING).len(), reader.logged(WARNING).len()),
        (1, 1),
        "each server warns once"
    );
}

#[tokio::test]
async fn a_facility_registered_at_one_server_is_found_at_the_other() {
    let (first, second) = two_on_postgres().await;
    for (at, elsewhere) in [(&first, &second), (&second, &first)] {
        let id = facility(at, "North", &noon_zone()).await;
        wait_until("the facility is found", async || {
            elsewhere.get(&path(id, "today")).await.status() == 200
        })
        .await;
        wait_until("the facility is listed", async || {
            let listed = get(elsewhere, "/v1/facilities").await;
            listed["items"]
                .as_array()
                .unwrap()
                .iter()
                .any(|item| item["facility_id"] == id.to_string())
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_that_is_alone_again_is_right_and_fresh() {
    let (first, second) = two_on_postgres().await;
    let id = facility(&first, "North", &noon_zone()).await;
    let (bank, unit, today) = (bank(&first, id).await, Uuid::new_v4(), path(id, "today"));
    post(&first, &[inventory(unit, bank, "O+", 1)]).await;
    wait_until("the second holds it", async || second.get(&today).await.status() == 200).await;
    for quantity in 2..40 {
        post(&first, &[inventory(unit, bank, "O+", quantity)]).await;
    }
    first.terminate().await;
    wait_until("the second knows that it is alone", async || second.logged(OVER).len() == 1).await;
    wait_until("the figures are proven again", async || {
        let response = read(&second, &today, "max-age=1").await;
        let fresh = response.headers()["cache-status"] == "facility-summary; hit; detail=memory";
        fresh && response.json::<Value>().await.unwrap()["total_stock"] == 39
    })
    .await;
    // Once the watermark is recent, it stays so without any refresh.
    let before = Scrape::of(&second).await.sum("summary_refreshes_total", &[]);
    let proven = Instant::now();
    wait_until("the figures stay fresh for longer than the last refresh proves", async || {
        let response = second.get(&today).await;
        assert!(age(&response) <= 3, "{:?}", response.headers());
        assert_eq!(response.json::<Value>().await.unwrap()["total_stock"], 39);
        proven.elapsed() > Duration::from_secs(5)
    })
    .await;
    assert_eq!(
        Scrape::of(&second).await.sum("summary_refreshes_total", &[]),
        before,
        "{:#?}",
        second.logged("")
    );
}

#[tokio::test]
async fn a_second_server_on_an_sqlite_file_stops_at_the_start() {
    let first = Service::on_sqlite().start().await;
    let refused = first.launch().run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.output);
    for words in [
        "facility-summary.db is being served by another process",
        "facility-summary.db.serving",
        "DATABASE_URL",
    ] {
        assert!(refused.output.contains(words), "no {words:?} in: {}", refused.output);
    }
    assert_eq!(
        first.launch().run(&["audit"]).await.code,
        Some(0),
        "a command may run beside the server"
    );
    // The lock ends with the process, in whatever way that ends.
    let second = first.kill_9().await.start().await;
    assert_eq!(second.get("/health/ready").await.status(), 200);
}
