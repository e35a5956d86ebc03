//! The owner changes the mapped tables while the service runs: what was changed is named, the last
//! figures are served with their age, and after the repair everything is read anew.

use serde_json::{Value, json};

use super::{MAPPING, mapped, now, run, today_of, totals};
use crate::{
    steps::{Scrape, age, get, read},
    support::{Service, outside::Outside, wait_until},
};

const BROKEN: &str = "the mapped tables were changed: their figures cannot be read any more, and \
                      the last ones are served with their age";

/// A service that compares each second, with figures in memory.
async fn started() -> (Service, Outside) {
    let (launch, sql) = mapped(&format!("[sources]\ncompare_seconds = 1\n{MAPPING}")).await;
    let service = launch.env("FACILITY_SUMMARY__REBUILD__CRON", "off").start().await;
    now(&service, "1").await;
    (service, sql)
}

/// What `/health/ready` says of the mapped tables.
async fn sources(service: &Service) -> Value {
    let ready = get(service, "/health/ready").await;
    let dependencies = ready["dependencies"].as_array().unwrap();
    dependencies.iter().find(|one| one["name"] == "sources").expect("it is listed").clone()
}

/// Waits until the mapped tables are in this state, and returns the remedy.
async fn are(service: &Service, error: Option<&str>) -> String {
    wait_until("readiness says how the mapped tables are", async || {
        sources(service).await["last_error"] == json!(error)
    })
    .await;
    sources(service).await["remedy"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_renamed_column_is_named_and_the_last_figures_are_served_until_it_is_repaired() {
    let (service, mut sql) = started().await;
    assert_eq!(are(&service, None).await, "");
    let path = today_of(&service, "1").await;
    let before: Value = get(&service, &path).await;
    sql.run("ALTER TABLE public.bag RENAME COLUMN expiry TO expires_on").await;
    let remedy = are(&service, Some("broken")).await;
    assert!(remedy.starts_with("public.bag.expiry is now public.bag.expires_on: "), "{remedy}");
    assert_eq!(Scrape::of(&service).await.sum("source_changes", &[("kind", "broken")]), 1.0);
    wait_until("the log says it", async || service.logged(BROKEN).len() == 1).await;
    wait_until("the figures have an age", async || {
        let last = read(&service, &path, "max-age=3600").await;
        let shown_age = age(&last);
        let shown: Value = last.json().await.unwrap();
        assert_eq!(totals(&shown), totals(&before));
        shown_age >= 2
    })
    .await;
    let last = service.get(&path).await;
    assert_eq!((last.status().as_u16(), age(&last) >= 2), (200, true), "last figures");
    assert_eq!(read(&service, &path, "no-cache").await.status(), 503);
    // A restart serves on what is stored.
    let launch = service.launch().clone();
    drop(service);
    let service = launch.start().await;
    are(&service, Some("broken")).await;
    let last = read(&service, &path, "max-age=3600").await;
    assert_eq!(last.status(), 200);
    sql.run(
        "ALTER TABLE public.bag RENAME COLUMN expires_on TO expiry; UPDATE public.bag SET state = \
         'issued'",
    )
    .await;
    assert_eq!(are(&service, None).await, "");
    assert_eq!(now(&service, "1").await["total_stock"], 0);
}

#[tokio::test]
async fn a_new_label_is_named_until_it_is_accepted() {
    let (service, mut sql) = started().await;
    let before = now(&service, "1").await;
    assert_eq!(are(&service, None).await, "");
    sql.run("ALTER TYPE public.bag_state ADD VALUE 'quarantined'").await;
    let remedy = are(&service, Some("changed")).await;
    let said = "public.bag_state, the type of public.bag.state, has the new label 'quarantined': ";
    assert!(remedy.starts_with(said), "{remedy}");
    assert_eq!(totals(&now(&service, "1").await), totals(&before), "figures are read on");
    // A restart does not accept it; a person does.
    let launch = service.launch().clone();
    drop(service);
    let service = launch.start().await;
    are(&service, Some("changed")).await;
    let accepted = run(service.launch(), &["adopt", "accept"]).await;
    assert_eq!(accepted.code, Some(0), "{}", accepted.output);
    assert!(accepted.output.contains("has the new label 'quarantined'"), "{}", accepted.output);
    assert_eq!(are(&service, None).await, "");
    let log: Value =
        service.get("/v1/audit-log?action=mapping.accepted").await.json().await.unwrap();
    let entry = &log["items"][0];
    assert!(entry["actor"].as_str().unwrap().starts_with("command:"), "{log}");
    assert!(entry["detail"]["changes"][0].as_str().unwrap().contains("quarantined"), "{log}");
    let again = run(service.launch(), &["adopt", "accept"]).await;
    assert!(again.output.contains("nothing has changed in the mapped tables"), "{}", again.output);
    let log: Value = service.get("/v1/audit-log").await.json().await.unwrap();
    assert_eq!(log["items"].as_array().unwrap().len(), 1, "nothing was accepted: {log}");
}

#[tokio::test]
async fn a_column_that_was_dropped_and_added_again_is_named_until_it_is_accepted() {
    let (service, mut sql) = started().await;
    let before = now(&service, "1").await;
    assert_eq!(are(&service, None).await, "");
    sql.run(
        "ALTER TABLE public.bag DROP COLUMN deleted_at, ADD COLUMN deleted_at timestamp; ALTER \
         TABLE public.bag RENAME COLUMN rh TO factor; ALTER TABLE public.bag ADD COLUMN rh char(1)",
    )
    .await;
    let remedy = are(&service, Some("changed")).await;
    for words in [
        "public.bag.deleted_at was dropped, and another column with its name was added",
        "public.bag.rh is now public.bag.factor, and another column with its name was added",
        "facility-summary adopt accept",
    ] {
        assert!(remedy.contains(words), "{words:?} is not in: {remedy}");
    }
    assert_eq!(totals(&now(&service, "1").await), totals(&before), "figures are read on");
    let accepted = run(service.launch(), &["adopt", "accept"]).await;
    assert_eq!(accepted.code, Some(0), "{}", accepted.output);
    assert_eq!(are(&service, None).await, "");
}

/// A prepared statement keeps the ids of labels. Without triggers nothing else tells of them.
#[tokio::test]
async fn labels_that_change_their_places_are_read_as_they_are_now_without_triggers() {
    let (service, mut sql) = started().await;
    assert_eq!(now(&service, "1").await["total_stock"], 3);
    sql.run(
        "ALTER TYPE public.bag_state RENAME VALUE 'issued' TO 'other'; ALTER TYPE public.bag_state \
         RENAME VALUE 'available' TO 'issued'; ALTER TYPE public.bag_state RENAME VALUE 'other' TO \
         'available'",
    )
    .await;
    // One bag that was issued, and one that is reserved: over whichever connection.
    wait_until("the labels mean what they say now", async || {
        for _ in 0..20 {
            if now(&service, "1").await["total_stock"] != 2 {
                return false;
            }
        }
        true
    })
    .await;
}

#[tokio::test]
async fn what_is_not_mapped_may_change() {
    let (service, mut sql) = started().await;
    sql.run(
        "ALTER TABLE public.bag ADD COLUMN remark text; CREATE TABLE public.other (id bigint); \
         ALTER TABLE public.bag RENAME COLUMN remark TO note; ALTER TABLE public.bag DROP COLUMN \
         note",
    )
    .await;
    let compared = Scrape::of(&service).await.sum("job_runs_total", &[("job", "comparison")]);
    wait_until("the tables are compared twice more", async || {
        let runs = [("job", "comparison"), ("outcome", "done")];
        Scrape::of(&service).await.sum("job_runs_total", &runs) > compared + 1.0
    })
    .await;
    assert_eq!(sources(&service).await["state"], "up");
}

/// With triggers everything is marked at such a start, and no mark can be processed.
#[tokio::test]
async fn lists_show_the_last_figures_after_a_restart_with_triggers_while_a_column_is_renamed() {
    let (launch, mut sql) = mapped(&format!("[sources]\ncompare_seconds = 1\n{MAPPING}")).await;
    run(&launch, &["adopt", "install"]).await;
    let service = launch.env("FACILITY_SUMMARY__REBUILD__CRON", "off").start().await;
    let list = "/v1/summaries/today";
    let before: Value = read(&service, list, "no-cache").await.json().await.unwrap();
    let (_, launch) = service.terminate().await;
    sql.run("ALTER TABLE public.bag RENAME COLUMN expiry TO expires_on").await;
    let service = launch.start().await;
    are(&service, Some("broken")).await;
    for takes in ["max-age=3600", "max-age=0, max-stale=3600"] {
        let last = read(&service, list, takes).await;
        assert_eq!(last.status(), 200, "{takes}");
        let shown_age = age(&last);
        let last: Value = last.json().await.unwrap();
        for nth in 0..2 {
            let (last, before) = (&last["items"][nth], &before["items"][nth]);
            assert_eq!(totals(last), totals(before), "{takes}");
        }
        assert!(shown_age >= 0, "{takes}");
    }
    wait_until("the last figures grow old", async || {
        age(&read(&service, list, "max-age=3600").await) >= 2
    })
    .await;
    assert_eq!(read(&service, list, "no-cache").await.status(), 503);
    sql.run(
        "ALTER TABLE public.bag RENAME COLUMN expires_on TO expiry; UPDATE public.bag SET state = \
         'issued'",
    )
    .await;
    assert_eq!(are(&service, None).await, "");
    let now: Value = read(&service, list, "no-cache").await.json().await.unwrap();
    assert!(now["items"].as_array().unwrap().iter().all(|one| one["total_stock"] == 0), "{now}");
}

/// The table of facilities is read at the start, before any figure.
#[tokio::test]
async fn a_start_while_the_table_of_facilities_is_renamed_serves_the_last_figures_and_says_why() {
    // Figures need the key and the zone of a facility, and not its name.
    for (change, repair, said, figures_now) in [
        (
            "ALTER TABLE public.hospital RENAME TO clinic",
            "ALTER TABLE public.clinic RENAME TO hospital",
            "public.hospital is now public.clinic",
            503,
        ),
        (
            "ALTER TABLE public.hospital RENAME COLUMN title TO label",
            "ALTER TABLE public.hospital RENAME COLUMN label TO title",
            "public.hospital.title is now public.hospital.label",
            200,
        ),
    ] {
        let (service, mut sql) = started().await;
        let (path, list) = (today_of(&service, "1").await, "/v1/summaries/today");
        let before: Value = get(&service, &path).await;
        let (_, launch) = service.terminate().await;
        sql.run(change).await;
        let service = launch.start().await;
        let remedy = are(&service, Some("broken")).await;
        assert!(remedy.starts_with(said), "{remedy}");
        let ready = get(&service, "/health/ready").await;
        assert_eq!((&ready["status"], &ready["facilities"]), (&json!("degraded"), &json!(2)));
        let words = "the mapped facilities cannot be read: the last ones are served";
        assert_eq!(service.logged(words).len(), 1);
        let last = read(&service, &path, "max-age=3600").await;
        assert_eq!(last.status(), 200, "{change}");
        assert_eq!(totals(&last.json().await.unwrap()), totals(&before), "{change}");
        assert_eq!(read(&service, &path, "no-cache").await.status(), figures_now, "{change}");
        // Which facilities there are is not known as of any instant, so no list can be dated.
        assert_eq!(read(&service, list, "max-age=3600").await.status(), 503, "{change}");
        sql.run(format!("{repair}; UPDATE public.bag SET state = 'issued'")).await;
        assert_eq!(are(&service, None).await, "");
        assert_eq!(now(&service, "1").await["total_stock"], 0, "{change}");
        assert_eq!(read(&service, list, "no-cache").await.status(), 200, "{change}");
    }
}
