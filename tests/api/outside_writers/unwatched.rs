//! Triggers are switched off, or dropped. Then writes leave no marks, so the watermark does not
//! rise, and the service says which statement repairs this. Once the triggers are back, the service
//! finds everything that was written before the watermark rises again.

use std::time::Instant;

use jiff::{Timestamp, ToSpan};
use reqwest::Response;
use serde_json::Value;
use uuid::Uuid;

use super::held::several_drains;
use crate::{
    on_both_stores,
    steps::{age, get, read},
    support::{
        Service,
        outside::Outside,
        plain_sql::texts,
        site::{Site, a_zone_at_noon, audited, metric},
        wait_until,
    },
};

const OFF: &str = "what other programs write passes unseen, since triggers on the source tables \
                   are off: nothing is proven until they are back, and answers grow old";
const BACK: &str =
    "all triggers on the source tables are back; everything is looked at before anything is proven";
const CHANGED: &str = "the source tables or their triggers were changed, or rewritten, since they \
                       were last looked at: everything is looked at once more";

/// The statements that switch the trigger on new requests off and on again.
async fn switches(service: &Service) -> (String, String) {
    let url = service.database_url();
    if url.starts_with("postgres") {
        let switch = |word: &str| format!("ALTER TABLE blood_requests {word} TRIGGER mark_insert");
        (switch("DISABLE"), switch("ENABLE"))
    } else {
        let made =
            texts(url, "SELECT sql FROM sqlite_schema WHERE name = 'blood_requests_mark_insert'")
                .await
                .remove(0);
        ("DROP TRIGGER blood_requests_mark_insert".to_owned(), made)
    }
}

fn request(sql: &Outside, site: Site, at: Timestamp) -> String {
    let (id, facility, at) =
        (sql.id(Uuid::new_v4()), sql.id(site.facility), sql.at(at.as_millisecond()));
    format!(
        "INSERT INTO blood_requests (id, facility_id, created_at) VALUES ({id}, {facility}, {at})"
    )
}

/// The status of `/health/ready`, and its entry for the triggers.
async fn ready(service: &Service) -> (Value, Value) {
    let ready = get(service, "/health/ready").await;
    let dependencies = ready["dependencies"].as_array().expect("they are listed");
    let triggers = dependencies
        .iter()
        .find(|dependency| dependency["name"] == "triggers")
        .expect("it is listed");
    (ready["status"].clone(), triggers.clone())
}

/// Asserts that `/health/ready` says which trigger is off, and which statement repairs it.
async fn the_remedy_is_named(service: &Service, is_postgres: bool) {
    let (_, triggers) = ready(service).await;
    let (remedy, error) =
        (triggers["remedy"].as_str().expect("there is one"), &triggers["last_error"]);
    let expected = if is_postgres {
        (
            "blood_requests: mark_insert disabled; SELECT facility_summary.watch_sources() puts \
            it right",
            "disabled",
        )
    } else {
        (
            "blood_requests: blood_requests_mark_insert missing; \
             facility-summary migrate puts it right",
            "missing",
        )
    };
    assert_eq!((remedy, error), (expected.0, &expected.1.into()));
}

/// Asserts that an answer shows the request that was written, or is at least as old as that.
/// Returns how many requests it shows.
async fn the_age_is_true(answer: Response, written: Instant, date: &str) -> Value {
    let (age, since) = (age(&answer), written.elapsed().as_secs() as i64);
    let requests = answer.json::<Value>().await.expect("it is JSON")["total_requests"].clone();
    assert!(
        requests == 1 || age >= since,
        "{date}: {requests} with Age {age}, {since} s after the write"
    );
    requests
}

on_both_stores! {
    async fn while_a_trigger_is_off_the_watermark_does_not_rise_until_all_writes_are_found(
        launch: Launch,
    ) {
        // A rebuild meanwhile would find what was missed, and count it as drift.
        let service = launch.env("FACILITY_SUMMARY__REBUILD__CRON", "off").start().await;
        let (zone, today) = a_zone_at_noon();
        let site = Site::register(&service, &zone).await;
        site.shows(&service, (0, 0, 0)).await;
        let path = |date: &str| format!("/v1/facilities/{}/summaries/{date}", site.facility);
        let yesterday = today.yesterday().expect("there was one").to_string();
        assert_eq!(ready(&service).await.0, "ready");
        let (off, _) = switches(&service).await;
        let mut sql = Outside::connect(service.database_url()).await;
        sql.run(off).await;
        wait_until("readiness says that a trigger is off", async || {
            ready(&service).await.0 == "degraded"
        })
        .await;
        the_remedy_is_named(&service, sql.is_postgres()).await;
        assert_eq!(metric(&service, "source_triggers_off").await, 1.0);

        let now = Timestamp::now();
        let written = Instant::now();
        sql.run(request(&sql, site, now)).await;
        sql.run(request(&sql, site, now - 24.hours())).await;
        several_drains(&service).await;
        for date in ["today", &yesterday] {
            let answer = read(&service, &path(date), "max-age=600").await;
            the_age_is_true(answer, written, date).await;
        }
        wait_until("the watermark stands still", async || {
            metric(&service, "summary_watermark_age_seconds").await > 4.0
        })
        .await;

        let exited = service.launch().run(&["migrate"]).await;
        assert_eq!(exited.code, Some(0), "{}", exited.output);
        assert!(
            exited.output.contains("The triggers on the source tables were put back"),
            "{}",
            exited.output
        );
        wait_until("what was missed is found", async || {
            let answer = read(&service, &path("today"), "max-age=600").await;
            the_age_is_true(answer, written, "today").await == 1
                && ready(&service).await.0 == "ready"
                && metric(&service, "summary_watermark_age_seconds").await < 4.0
        })
        .await;
        site.shows_on(&service, &yesterday, (0, 0, 1)).await;
        assert_eq!((service.logged(OFF).len(), service.logged(BACK).len()), (1, 1));
        assert_eq!(metric(&service, "source_triggers_off").await, 0.0);
        assert_eq!(metric(&service, "summary_drift_rows_total").await, 0.0);
        sql.run(request(&sql, site, now)).await;
        site.shows(&service, (0, 0, 2)).await;
        audited(service.launch()).await;
    }
}

on_both_stores! {
    async fn rows_written_while_a_trigger_was_off_between_two_checks_are_found(
        service: Service,
    ) {
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        site.shows(&service, (0, 0, 0)).await;
        several_drains(&service).await;
        assert_eq!(
            service.logged(CHANGED),
            Vec::<Value>::new(),
            "on a new database there is nothing to check again"
        );
        let (off, on) = switches(&service).await;
        let mut sql = Outside::connect(service.database_url()).await;
        let write = request(&sql, site, Timestamp::now());
        sql.run(format!("BEGIN; {off}; {write}; {on}; COMMIT")).await;
        site.shows(&service, (0, 0, 1)).await;
        wait_until("the service says so", async || service.logged(CHANGED).len() == 1).await;
        assert_eq!(service.logged(OFF), Vec::<Value>::new());
        audited(service.launch()).await;
    }

    async fn rows_written_with_a_trigger_off_while_no_service_ran_are_found_at_the_start(
        service: Service,
    ) {
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        site.shows(&service, (0, 0, 0)).await;
        let (off, on) = switches(&service).await;
        let launch = service.kill_9().await;
        let mut sql = Outside::connect(launch.database_url()).await;
        for statement in [off, request(&sql, site, Timestamp::now()), on] {
            sql.run(statement).await;
        }
        let service = launch.start().await;
        site.shows(&service, (0, 0, 1)).await;
        several_drains(&service).await;
        assert_eq!(service.logged(CHANGED).len(), 1);
        audited(service.launch()).await;
    }

    async fn a_start_changes_nothing_where_all_triggers_are_as_they_were(service: Service) {
        let site = Site::register(&service, &a_zone_at_noon().0).await;
        site.shows(&service, (0, 0, 0)).await;
        let (_, launch) = service.terminate().await;
        let exited = launch.run(&["migrate"]).await;
        assert!(!exited.output.contains("put back"), "{}", exited.output);
        let service = launch.start().await;
        several_drains(&service).await;
        assert_eq!(service.logged(CHANGED), Vec::<Value>::new());
        assert_eq!(ready(&service).await.0, "ready");
    }
}

#[tokio::test]
async fn triggers_that_a_restore_has_enabled_for_ordinary_writers_only_are_named() {
    let service = Service::on_postgres().await.start().await;
    let mut sql = Outside::connect(service.database_url()).await;
    sql.run("ALTER TABLE blood_banks DISABLE TRIGGER ALL").await;
    // as pg_restore --disable-triggers ends
    sql.run("ALTER TABLE blood_banks ENABLE TRIGGER ALL").await;
    wait_until("readiness says that a trigger is off", async || {
        ready(&service).await.0 == "degraded"
    })
    .await;
    let expected = "blood_banks: mark_row, mark_truncate enabled otherwise; SELECT \
                    facility_summary.watch_sources() puts it right; ALTER TABLE … ENABLE TRIGGER \
                    ALL leaves triggers so, of which each row that is written costs the writer \
                    more until then";
    assert_eq!(ready(&service).await.1["remedy"], expected);
    sql.run("SELECT facility_summary.watch_sources()").await;
    wait_until("the service is ready", async || ready(&service).await.0 == "ready").await;
}
