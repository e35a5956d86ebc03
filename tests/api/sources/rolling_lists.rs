//! Lists of a replica whose mapping counts no more: they are what the other one has stored, with
//! their age.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    MAPPING, mapped, now,
    rolling::{is_superseded, with_mapping},
    run,
};
use crate::{
    steps::{age, get, read},
    support::{Service, outside::Outside, service::Launch, wait_until},
};

const LIST: &str = "/v1/summaries/today";
const FACILITIES: &str = "/v1/facilities";

/// The mapping of the replica that is started later, which counts no reserved bags.
fn narrow() -> String {
    let narrow = MAPPING.replace("IN ('available', 'reserved')", "= 'available'");
    assert_ne!(narrow, MAPPING);
    narrow
}

/// A replica with an earlier mapping, one with a later one, and a connection of the owner. No job
/// and no default bound refreshes a figure.
async fn two(with_triggers: bool) -> (Service, Service, Outside) {
    let (launch, sql) = mapped(MAPPING).await;
    let quiet = |launch: Launch| {
        launch
            .env("FACILITY_SUMMARY__REBUILD__CRON", "off")
            .env("FACILITY_SUMMARY__AUDIT__INTERVAL_MS", 0)
    };
    let before = quiet(with_mapping(&launch, "earlier.toml", MAPPING)).start().await;
    assert_eq!(get(&before, LIST).await["totals"]["total_stock"], 4);
    let later = quiet(with_mapping(&launch, "later.toml", &narrow()));
    if with_triggers {
        std::fs::write(super::sources_of(&launch), narrow()).expect("the folder can be written");
        let installed = run(&launch, &["adopt", "install"]).await;
        assert_eq!(installed.code, Some(0), "{}", installed.output);
    }
    let after = later.start().await;
    assert_eq!(get(&after, LIST).await["totals"]["total_stock"], 3);
    is_superseded(&before).await;
    (before, after, sql)
}

/// The sum of stock in a list, where there is one, with its age.
async fn stock(service: &Service, directives: &str) -> Option<(Value, Duration)> {
    let answer = read(service, LIST, directives).await;
    if answer.status() != 200 {
        assert_eq!(answer.status(), 503, "{directives}");
        return None;
    }
    let shown_age = Duration::from_secs(age(&answer).unsigned_abs());
    let list: Value = answer.json().await.expect("JSON");
    Some((list["totals"]["total_stock"].clone(), shown_age))
}

#[tokio::test]
async fn without_triggers_lists_are_those_that_are_stored_with_their_age() {
    let (before, after, mut sql) = two(false).await;
    wait_until("the list has an age", async || {
        stock(&before, "max-age=3600").await.is_some_and(|(_, age)| age.as_secs() >= 2)
    })
    .await;
    assert_eq!(stock(&before, "no-cache").await, None, "nothing is read of the mapped tables");
    let written = Instant::now();
    sql.run(
        "UPDATE public.bag SET state = 'issued'; INSERT INTO public.hospital VALUES (7, 'Seventh', \
         NULL)",
    )
    .await;
    for directives in ["max-age=3600", ""] {
        let asked = Instant::now();
        let (stock, age) = stock(&before, directives).await.expect("what is stored is served");
        assert_eq!(stock, 3, "{directives}");
        // The age is given in whole seconds.
        let write_age = asked.duration_since(written);
        assert!(age + Duration::from_secs(1) >= write_age, "{directives}: {age:?}");
    }
    // Facilities and figures that the later one stores show here.
    for key in ["1", "2", "7"] {
        wait_until("the later one has them", async || {
            read(&after, FACILITIES, "no-cache").await;
            super::with_key(&after, key).await.is_some()
        })
        .await;
        assert_eq!(now(&after, key).await["total_stock"], 0);
    }
    wait_until("it shows what the later one has stored", async || {
        assert_eq!(read(&after, LIST, "no-cache").await.status(), 200);
        // What was stored before is older than this.
        let most = format!("max-age={}", written.elapsed().as_secs().max(1));
        stock(&before, &most).await.is_some_and(|(stock, _)| stock == 0)
    })
    .await;
    let answer = read(&before, FACILITIES, "max-age=3600").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(read(&before, FACILITIES, "no-cache").await.status(), 503);
}

#[tokio::test]
async fn with_triggers_no_list_is_older_than_its_age_says() {
    let (before, _after, mut sql) = two(true).await;
    for (stock_now, state) in [(0, "issued"), (4, "available"), (0, "discarded")] {
        sql.run(format!("UPDATE public.bag SET state = '{state}' WHERE state <> '{state}'")).await;
        let written = Instant::now();
        let is_shown = |stock: &Value| match stock_now {
            0 => *stock == 0,
            _ => *stock != 0,
        };
        wait_until("the list shows it", async || {
            let asked = Instant::now();
            let Some((stock, age)) = stock(&before, "max-age=5").await else { return false };
            let write_age = asked.duration_since(written);
            assert!(
                is_shown(&stock) || age + Duration::from_secs(1) >= write_age,
                "{stock} of {age:?} ago, {write_age:?} after {state}"
            );
            is_shown(&stock)
        })
        .await;
    }
    sql.run("INSERT INTO public.hospital VALUES (7, 'Seventh', NULL)").await;
    wait_until("the facility is listed", async || {
        let answer = read(&before, FACILITIES, "max-age=5").await;
        answer.status() == 200 && answer.text().await.expect("a text").contains("Seventh")
    })
    .await;
}
