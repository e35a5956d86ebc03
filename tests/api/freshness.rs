//! The freshness contract: what a request may ask for, and what the headers of the answer say.

mod bounds;
mod validators;

use reqwest::{Method, Response};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{
        DAY_MS, Plain, Scrape, age, bank, date_in, distribution, facility, header, instant,
        inventory, noon_zone, now_ms, path, post, read, summary, version_of,
    },
    support::{Service, events::event, problem::problem, wait_until},
};

const HIT: &str = "facility-summary; hit; detail=memory";

async fn conditional(service: &Service, method: Method, path: &str, etag: &str) -> Response {
    service.request(method, path).header("if-none-match", etag).send().await.unwrap()
}

/// A facility with one lot of each type, so that its body is worth compressing.
async fn stocked(service: &Service, zone: &str) -> Uuid {
    let id = facility(service, "North", zone).await;
    let bank = bank(service, id).await;
    let types = ["O+", "O-", "A+", "A-", "B+", "B-", "AB+", "AB-"];
    post(service, &types.map(|blood_type| inventory(Uuid::new_v4(), bank, blood_type, 9))).await;
    id
}

on_both_stores! {
    async fn a_quiet_facility_stays_as_fresh_as_the_watermark_without_a_refresh(service: Service) {
        let id = stocked(&service, "UTC").await;
        let first = service.get(&path(id, "today")).await;
        let etag = header(&first, "etag");
        let before = Scrape::of(&service).await.sum("summary_refreshes_total", &[]);
        let started = now_ms();
        wait_until("three seconds have passed", async || now_ms() - started > 3_000).await;
        wait_until("the age is that of the watermark", async || {
            let response = read(&service, &path(id, "today"), "max-age=2, only-if-cached").await;
            response.status() == 200 && age(&response) <= 1 && header(&response, "etag") == etag
        })
        .await;
        assert_eq!(Scrape::of(&service).await.sum("summary_refreshes_total", &[]), before);
    }

    async fn a_read_may_ask_for_a_version_and_waits_for_it_for_a_limited_time(service: Service) {
        let zone = noon_zone();
        let launch =
            service.launch().clone().env("FACILITY_SUMMARY__FRESHNESS__REFRESH_TIMEOUT_MS", 400);
        let service = {
            drop(service);
            launch.start().await
        };
        let id = facility(&service, "North", &zone).await;
        let bank = bank(&service, id).await;
        let unit = Uuid::new_v4();
        for quantity in 1..20 {
            let applied = post(&service, &[inventory(unit, bank, "O+", quantity)]).await;
            let version = version_of(&applied, id, date_in(&zone, 0));
            let response =
                service.get(&format!("{}?min_version={version}", path(id, "today"))).await;
            let body: Value = response.json().await.unwrap();
            assert!(body["version"].as_i64().unwrap() >= version);
            assert_eq!(body["total_stock"], quantity);
        }
        let ahead = service.get(&format!("{}?min_version=1000", path(id, "today"))).await;
        assert!(header(&ahead, "retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
        problem(ahead, 503).await;
        for bad in ["-1", "x", "", "1.5"] {
            problem(service.get(&format!("{}?min_version={bad}", path(id, "today"))).await, 400)
                .await;
        }
    }

    async fn malformed_directives_are_ignored(service: Service) {
        let id = stocked(&service, "UTC").await;
        assert_eq!(service.get(&path(id, "today")).await.status(), 200);
        for directives in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=x",
            "max-age=1.5",
            "max-stale=x",
            "only-if-cached=1",
            "no-cache=1",
            ",,,",
            "=",
            "\"",
            "max-age=\"",
            "colour=red",
            "max-age=99999999999999999999",
        ] {
            let response = read(&service, &path(id, "today"), directives).await;
            assert_eq!(
                (response.status().as_u16(), header(&response, "cache-status").as_str()),
                (200, HIT),
                "{directives}"
            );
        }
        let raw = service
            .request(Method::GET, &path(id, "today"))
            .header("cache-control", &b"\xff\xfe, max-age=0"[..])
            .send()
            .await
            .unwrap();
        assert_eq!(raw.status(), 200);
    }

    async fn the_headers_say_where_an_answer_came_from(service: Service) {
        let zone = noon_zone();
        let id = stocked(&service, &zone).await;
        post(&service, &[distribution(Uuid::new_v4(), id, 1, now_ms() - 5 * DAY_MS)]).await;
        let mut plain = Plain::beside(&service).await;
        wait_until("nothing is left to be published by a restart", async || {
            plain.number("SELECT count(*) FROM outbox").await == 0
        })
        .await;
        let launch = service.terminate().await.1;
        let service = launch.start().await;
        let status = async |path: &str, directives: &str| {
            header(&read(&service, path, directives).await, "cache-status")
        };
        wait_until("the start's watermark stands", async || {
            age(&service.get("/v1/summaries/today").await) < 60
        })
        .await;
        for (days, what) in [(-5, "a stored day"), (-6, "a day without a row")] {
            let day = path(id, date_in(&zone, days));
            assert_eq!(
                status(&day, "").await,
                "facility-summary; fwd=miss; detail=table",
                "{what}"
            );
            assert_eq!(status(&day, "").await, HIT, "{what}");
            assert_eq!(
                status(&day, "no-cache").await,
                "facility-summary; fwd=request; detail=source",
                "{what}"
            );
            assert_eq!(status(&day, "max-age=60").await, HIT, "{what}");
        }
        assert_eq!(
            status(&path(id, date_in(&zone, -7)), "no-cache").await,
            "facility-summary; fwd=miss; detail=source"
        );
    }

    async fn only_if_cached_reads_memory_alone_and_is_504_where_it_has_nothing(service: Service) {
        let zone = noon_zone();
        let id = stocked(&service, &zone).await;
        let past = path(id, date_in(&zone, -5));
        problem(read(&service, &past, "only-if-cached").await, 504).await;
        // The message about the registration drops a day without a row once more.
        wait_until("memory holds the day", async || {
            assert_eq!(service.get(&past).await.status(), 200);
            let held = read(&service, &past, "only-if-cached").await;
            (held.status().as_u16(), header(&held, "cache-status").as_str()) == (200, HIT)
        })
        .await;
    }
}

on_both_stores! {
    async fn listings_say_their_age_and_follow_the_request(service: Service) {
        let id = stocked(&service, &noon_zone()).await;
        for path in [format!("/v1/facilities/{id}/summaries"), "/v1/summaries/today".to_owned()] {
            let mut plain = Plain::beside(&service).await;
            plain
                .run("UPDATE blood_inventory SET quantity = quantity + 1 WHERE blood_type = 'O+'")
                .await;
            let response = read(&service, &path, "no-cache").await;
            assert_eq!((response.status().as_u16(), age(&response)), (200, 0), "{path}");
            let etag = header(&response, "etag");
            let body: Value = response.json().await.unwrap();
            let direct = summary(&service, id, "today").await;
            assert_eq!(
                body["items"][0], direct,
                "{path}: the answer has what another program has committed"
            );
            assert_eq!(
                conditional(&service, Method::GET, &path, &etag).await.status(),
                304,
                "{path}"
            );
        }
        let touched =
            post(&service, &[event("summary.touched", serde_json::json!({"facility_id": id}))])
                .await;
        assert_eq!(touched["summaries"].as_array().unwrap().len(), 1);
    }
}

on_both_stores! {
    async fn units_that_expire_leave_the_figures_without_any_write(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        let bank = bank(&service, id).await;
        let expires_ms = now_ms() + 1_500;
        let mut soon = inventory(Uuid::new_v4(), bank, "O+", 5);
        soon["data"]["expires_at"] = serde_json::json!(instant(expires_ms));
        let applied = post(&service, &[soon, inventory(Uuid::new_v4(), bank, "O-", 7)]).await;
        let version = version_of(&applied, id, date_in(&zone, 0));
        wait_until("the expired units are gone from an answer without directives", async || {
            let response = service.get(&path(id, "today")).await;
            let (age_seconds, after_ms) = (age(&response), now_ms());
            let shown: Value = response.json().await.unwrap();
            if shown["total_stock"] == 12 {
                // An answer with figures from before the expiry does not claim to be younger than
                // the expiry.
                assert!(age_seconds >= (after_ms - expires_ms) / 1000 - 1, "Age {age_seconds}");
                return false;
            }
            assert_eq!(
                shown["by_blood_type"],
                serde_json::json!({"O-": {"stock": 7, "transferred": 0, "requests": 0}})
            );
            assert!(shown["version"].as_i64().unwrap() > version && after_ms >= expires_ms);
            true
        })
        .await;
    }
}

#[tokio::test]
async fn a_version_is_found_on_another_replica_too() {
    let first = Service::on_postgres().await.start().await;
    let second = first.launch().clone().start().await;
    let zone = noon_zone();
    let id = facility(&first, "North", &zone).await;
    let (bank, unit, today) = (bank(&first, id).await, Uuid::new_v4(), path(id, "today"));
    for quantity in 1..20 {
        let version = version_of(
            &post(&first, &[inventory(unit, bank, "O+", quantity)]).await,
            id,
            date_in(&zone, 0),
        );
        let shown = second.get(&format!("{today}?min_version={version}")).await;
        assert_eq!(shown.status(), 200, "version {version}");
        let body: Value = shown.json().await.unwrap();
        assert!(
            body["version"].as_i64().unwrap() >= version && body["total_stock"] == quantity,
            "{body}"
        );
    }
}
