//! Which figures come out of the owner's rows, and how old they may be.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{MAPPING, mapped, now, run, today_of, totals, with_key};
use crate::{
    steps::{Scrape, age, batch, get, now_ms, post, read, request},
    support::{events::event, wait_until},
};

#[tokio::test]
async fn figures_are_those_of_the_owners_tables() {
    let (launch, mut sql) = mapped(MAPPING).await;
    let service = launch.start().await;
    let ridge = now(&service, "1").await;
    assert_eq!(totals(&ridge), [3, 4, 1], "{ridge}");
    let types = json!({
        "O+": {"stock": 2, "transferred": 4, "requests": 0},
        "O-": {"stock": 0, "transferred": 0, "requests": 1},
        "AB-": {"stock": 1, "transferred": 0, "requests": 0},
    });
    assert_eq!(ridge["by_blood_type"], types, "{ridge}");
    sql.run("UPDATE public.bag SET deleted_at = now() WHERE abo = 'AB'").await;
    assert_eq!(now(&service, "1").await["total_stock"], 2);
    assert_eq!(now(&service, "2").await["total_stock"], 1);
}

/// The service does not see the owner's writes. So its figures grow old, and say so, until they are
/// read anew or rebuilt. Nothing of that is drift.
#[tokio::test]
async fn figures_that_are_not_read_anew_show_their_age() {
    let (launch, mut sql) = mapped(MAPPING).await;
    let service = launch.start().await;
    let path = today_of(&service, "1").await;
    assert_eq!(now(&service, "1").await["total_stock"], 3);
    sql.run("DELETE FROM public.bag").await;
    wait_until("the figures are old", async || age(&read(&service, &path, "").await) >= 2).await;
    let old: Value = read(&service, &path, "").await.json().await.expect("JSON");
    assert_eq!(old["total_stock"], 3, "they are within the usual bound");
    let fresh = read(&service, &path, "max-age=1").await;
    assert!(age(&fresh) <= 1);
    assert_eq!(fresh.json::<Value>().await.expect("JSON")["total_stock"], 0);
    sql.run("INSERT INTO public.bag (store_id, abo, rh) VALUES (3, 'B', '+')").await;
    let rebuilt = run(service.launch(), &["rebuild"]).await;
    assert_eq!(rebuilt.code, Some(0), "{}", rebuilt.output);
    assert!(
        rebuilt.output.contains("of which 0 by a change that left no mark"),
        "{}",
        rebuilt.output
    );
    // A rebuild of the schedule may come between the write and the audit.
    wait_until("the audit finds what was written", async || {
        sql.run("INSERT INTO public.bag (store_id, abo, rh) VALUES (3, 'B', '+')").await;
        let audited = run(service.launch(), &["audit"]).await;
        assert_eq!(audited.code, Some(0), "{}", audited.output);
        audited.output.contains("written since the last refresh")
    })
    .await;
    assert_eq!(Scrape::of(&service).await.sum("summary_drift_rows_total", &[]), 0.0);
}

#[tokio::test]
async fn a_list_is_as_fresh_as_its_reader_asks() {
    let (launch, mut sql) = mapped(MAPPING).await;
    let service = launch.start().await;
    let list = get(&service, "/v1/summaries/today?sort=-total_stock").await;
    assert_eq!(list["totals"]["total_stock"], 4, "{list}");
    sql.run("DELETE FROM public.bag").await;
    let answer = read(&service, "/v1/summaries/today?sort=-total_stock", "no-cache").await;
    assert_eq!(age(&answer), 0);
    let list: Value = answer.json().await.expect("JSON");
    assert_eq!(list["totals"]["total_stock"], 0, "{list}");
}

#[tokio::test]
async fn a_touched_facility_is_read_at_once_and_other_events_are_refused() {
    let (launch, mut sql) = mapped(MAPPING).await;
    let service = launch.start().await;
    let path = today_of(&service, "1").await;
    assert_eq!(now(&service, "1").await["total_stock"], 3);
    sql.run("DELETE FROM public.bag").await;
    let facility = with_key(&service, "1").await.expect("it is mapped")["facility_id"].clone();
    let touched = event("summary.touched", json!({"facility_id": facility}));
    post(&service, &[touched]).await;
    let answer: Value = read(&service, &path, "").await.json().await.expect("JSON");
    assert_eq!(answer["total_stock"], 0, "{answer}");

    let stated = request(
        Uuid::new_v4(),
        facility.as_str().expect("an id").parse().expect("an id"),
        now_ms(),
    );
    assert_eq!(batch(&service, &[stated]).send().await.expect("an answer").status(), 409);
    let registered = json!({"name": "Another", "timezone": "UTC"});
    let refused =
        service.put("/v1/facilities/00000000-0000-0000-0000-000000000001", &registered).await;
    assert_eq!(refused.status(), 409);
    let problem: Value = refused.json().await.expect("JSON");
    let why = problem["detail"].as_str().expect("words");
    assert!(why.contains("[sources]") && why.contains("summary.touched"), "{why}");
}

/// Such a facility is written into the service's table before the event's transaction begins.
#[tokio::test]
async fn a_facility_that_is_new_to_the_service_is_touched_with_two_connections() {
    let (launch, mut sql) = mapped(MAPPING).await;
    let launch = launch.env("FACILITY_SUMMARY__DATABASE__MAX_CONNECTIONS", 2);
    let launch = launch.env("FACILITY_SUMMARY__DATABASE__MIN_CONNECTIONS", 2);
    let service = launch.start().await;
    let facility = with_key(&service, "1").await.expect("it is mapped")["facility_id"].clone();
    sql.run("UPDATE public.hospital SET closed_on = now()::date WHERE id = 1").await;
    assert_eq!(read(&service, "/v1/facilities", "no-cache").await.status(), 200);
    assert!(with_key(&service, "1").await.is_none());
    sql.run("UPDATE public.hospital SET closed_on = NULL WHERE id = 1").await;
    let touched = event("summary.touched", json!({"facility_id": facility}));
    let answer = batch(&service, &[touched]).send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
    assert_eq!(now(&service, "1").await["total_stock"], 3);
}

/// A figure without a list is null wherever it is shown, and no filter takes it for 0.
#[tokio::test]
async fn a_figure_without_a_list_is_null() {
    let begin = MAPPING.find("[[sources.deliveries]]").expect("it is there");
    let end = MAPPING.find("[[sources.requests]]").expect("it is there");
    let mapping = format!("{}{}", &MAPPING[..begin], &MAPPING[end..]);
    let (launch, _) = mapped(&mapping).await;
    let service = launch.start().await;
    let ridge = now(&service, "1").await;
    assert_eq!(totals(&ridge), [&json!(3), &Value::Null, &json!(1)], "{ridge}");
    let type_of = |summary: &Value| summary["by_blood_type"]["O-"].clone();
    let shown = json!({"stock": 0, "transferred": null, "requests": 1});
    assert_eq!(type_of(&ridge), shown);
    for query in ["", "?fields=totals", "?blood_type=O-", "?sort=total_transferred"] {
        let list = get(&service, &format!("/v1/summaries/today{query}")).await;
        assert_eq!(
            totals(&list["totals"]),
            [&json!(4), &Value::Null, &json!(1)],
            "{query}: {list}"
        );
        assert_eq!(list["items"].as_array().expect("items").len(), 2, "{query}");
        assert!(list["items"][0]["total_transferred"].is_null(), "{query}: {list}");
    }
    let below = get(&service, "/v1/summaries/today?below=transferred:5").await;
    assert_eq!(below["items"], json!([]), "what is not known is not below");
    let path = today_of(&service, "1").await.replace("/today", "?from=2020-01-01&to=2020-01-02");
    let range = get(&service, &path).await;
    assert!(range["items"][0]["total_transferred"].is_null(), "{range}");
}

/// Where nothing is noticed, and readers take whatever there is, only the schedule reads tables.
#[tokio::test]
async fn scheduled_rebuilds_keep_answers_young_where_nothing_is_noticed() {
    let (launch, mut sql) = mapped(MAPPING).await;
    let service = launch
        .env("FACILITY_SUMMARY__REBUILD__CRON", "*/3 * * * * *")
        .env("FACILITY_SUMMARY__AUDIT__INTERVAL_MS", 0)
        .env("FACILITY_SUMMARY__FRESHNESS__MAX_AGE_SECONDS", 86_400)
        .start()
        .await;
    let list = "/v1/summaries/today";
    let (one, two) = (today_of(&service, "1").await, today_of(&service, "2").await);
    assert_eq!(get(&service, list).await["totals"]["total_stock"], 4);
    assert_eq!(get(&service, &one).await["total_stock"], 3);
    sql.run(
        "DELETE FROM public.bag WHERE store_id IN (SELECT id FROM public.store WHERE hospital_id = \
         1)",
    )
    .await;
    wait_until("the next rebuild shows it", async || {
        let list = get(&service, list).await;
        get(&service, &one).await["total_stock"] == 0 && list["totals"]["total_stock"] == 1
    })
    .await;
    // Nobody writes any more, and everything is proven again and again.
    for path in [&one, &two, list] {
        for turn in ["once", "twice"] {
            let mut before = age(&read(&service, path, "").await);
            wait_until(&format!("{path} is proven {turn}"), async || {
                let now = age(&read(&service, path, "").await);
                std::mem::replace(&mut before, now) > now
            })
            .await;
        }
    }
    assert_eq!(Scrape::of(&service).await.sum("summary_drift_rows_total", &[]), 0.0);
}

/// The day's bounds are converted to the kind of the owner's column, so that a plain index serves.
#[tokio::test]
async fn a_refresh_of_one_facility_reads_by_the_owners_index() {
    let (launch, mut sql) = mapped(MAPPING).await;
    sql.run(
        "INSERT INTO public.movement (kind, hospital_id, product, units, \"At\") SELECT 'request', \
         2, 'AB+', 1, now() - n * interval '1 hour' FROM generate_series(1, 20000) AS n; CREATE \
         INDEX ON public.movement (hospital_id, \"At\"); ANALYZE",
    )
    .await;
    let mut launch = launch
        .env("FACILITY_SUMMARY__REBUILD__CRON", "off")
        .env("FACILITY_SUMMARY__AUDIT__INTERVAL_MS", 0);
    // Of each start: the scans of the table, and those of its index.
    let mut scans = Vec::new();
    for reads in [0, 0, 20] {
        let service = launch.start().await;
        let path = today_of(&service, "1").await;
        for _ in 0..reads {
            assert_eq!(read(&service, &path, "no-cache").await.status(), 200);
        }
        launch = service.terminate().await.1;
        // A server process counts at its end at the latest.
        wait_until("all sessions have ended", async || {
            sql.number(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid \
                 <> pg_backend_pid() AND backend_type = 'client backend'",
            )
            .await
                == 0
        })
        .await;
        let of =
            |column| format!("SELECT {column} FROM pg_stat_user_tables WHERE relname = 'movement'");
        scans.push((sql.number(of("seq_scan")).await, sql.number(of("idx_scan")).await));
    }
    let of_start = scans[1].0 - scans[0].0;
    assert_eq!(scans[2].0 - scans[1].0, of_start, "a refresh reads all of the table: {scans:?}");
    assert!(scans[2].1 - scans[1].1 >= 20, "a refresh reads by the index: {scans:?}");
}
