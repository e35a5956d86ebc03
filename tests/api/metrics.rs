//! What `/metrics` says after known actions.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{
        Plain, Scrape, bank, batch, date_in, distribution, facility, get, header, inventory,
        noon_zone, now_ms, path, post, read,
    },
    support::{events::event, wait_until},
};

/// The series of a scrape, without those of `/metrics`, since a scrape is counted only in the next
/// one, and without those of jobs, which may have their first run between two scrapes.
fn series(scrape: &Scrape) -> BTreeSet<(String, BTreeMap<String, String>)> {
    let is_of_requests = |labels: &BTreeMap<String, String>| {
        labels.get("route").is_none_or(|route| route != "/metrics")
            && !labels.contains_key("job")
            && labels.get("trigger").is_none_or(|by| by != "schedule")
    };
    scrape
        .samples()
        .filter(|(_, labels, _)| is_of_requests(labels))
        .map(|(name, labels, _)| (name.clone(), labels.clone()))
        .collect()
}

on_both_stores! {
    async fn reads_and_refreshes_count_by_outcome(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        let bank = bank(&service, id).await;
        post(&service, &[inventory(Uuid::new_v4(), bank, "O+", 5)]).await;
        let today = path(id, "today");
        let reads = async |outcome: &str, tier: &str| {
            Scrape::of(&service)
                .await
                .sum("summary_reads_total", &[("outcome", outcome), ("tier", tier)])
        };
        let all = async || {
            let scrape = Scrape::of(&service).await;
            (
                scrape.sum("summary_reads_total", &[]),
                scrape.sum("summary_read_duration_seconds_count", &[]),
            )
        };
        assert_eq!(all().await, (0.0, 0.0));
        for _ in 0..5 {
            read(&service, &today, "").await;
        }
        assert_eq!(reads("fresh", "memory").await, 5.0);
        read(&service, &today, "no-cache").await;
        assert_eq!(reads("stale", "source").await, 1.0);
        read(&service, &path(id, date_in(&zone, -9)), "").await;
        assert_eq!(reads("fresh", "table").await, 1.0, "the table had figures within the bound");
        read(&service, &path(id, date_in(&zone, -8)), "no-cache").await;
        assert_eq!(reads("miss", "source").await, 1.0);
        assert_eq!(all().await, (8.0, 8.0));

        let scrape = Scrape::of(&service).await;
        let refreshes = |trigger: &str, outcome: &str| {
            scrape.sum("summary_refreshes_total", &[("trigger", trigger), ("outcome", outcome)])
        };
        assert_eq!(
            (
                refreshes("read", "unchanged"),
                refreshes("read", "changed"),
                refreshes("read", "failed")
            ),
            (2.0, 0.0, 0.0)
        );
        assert!(
            refreshes("event", "changed") >= 2.0,
            "one refresh opened the day, and one counted the stock"
        );
        for trigger in ["read", "event"] {
            assert!(
                scrape.sum("summary_refresh_duration_seconds_count", &[("trigger", trigger)])
                    >= 1.0
            );
        }
        service
            .request(Method::POST, &format!("/v1/facilities/{id}/refresh"))
            .send()
            .await
            .unwrap();
        assert_eq!(
            Scrape::of(&service).await.sum("summary_refreshes_total", &[("trigger", "request")]),
            1.0
        );
        assert!(
            scrape.find("summary_read_duration_seconds_bucket", &[("le", "0.00005")]).is_some(),
            "the first bucket ends at 50 µs"
        );
    }

    async fn events_count_by_type_and_outcome(service: Service) {
        let id = facility(&service, "North", &noon_zone()).await;
        let bank = bank(&service, id).await;
        let unit = inventory(Uuid::new_v4(), bank, "O+", 5);
        post(&service, &[unit.clone(), distribution(Uuid::new_v4(), id, 1, now_ms())]).await;
        post(&service, &[unit, event("summary.touched", json!({"facility_id": id}))]).await;
        batch(&service, &[inventory(Uuid::new_v4(), Uuid::new_v4(), "O+", 5)])
            .send()
            .await
            .unwrap();
        let scrape = Scrape::of(&service).await;
        for (kind, outcome, want) in [
            ("facility.registered", "applied", 1.0),
            ("blood_bank.registered", "applied", 1.0),
            ("inventory.set", "applied", 1.0),
            ("inventory.set", "superseded", 1.0),
            ("inventory.set", "rejected", 1.0),
            ("distribution.set", "applied", 1.0),
            ("summary.touched", "applied", 1.0),
            ("request.set", "applied", 0.0),
        ] {
            assert_eq!(
                scrape.sum("events_total", &[("type", kind), ("outcome", outcome)]),
                want,
                "{kind} {outcome}"
            );
        }
    }

    async fn drift_and_the_verified_instant_come_from_a_rebuild(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        post(&service, &[distribution(Uuid::new_v4(), id, 1, now_ms())]).await;
        let before = Scrape::of(&service).await;
        assert_eq!(before.find("summary_drift_rows_total", &[]), Some(0.0));
        Plain::beside(&service)
            .await
            .run("UPDATE dashboard_daily_summary SET total_transferred = 9")
            .await;
        let asked = now_ms() / 1000;
        let location =
            header(&service.request(Method::POST, "/v1/rebuild").send().await.unwrap(), "location");
        wait_until("the rebuild is done", async || {
            get(&service, &location).await["state"] == "done"
        })
        .await;
        assert!(Scrape::of(&service).await.sum("summary_drift_rows_total", &[]) >= 1.0);
        wait_until("a rebuild says as of when it has verified everything", async || {
            let verified = Scrape::of(&service).await.sum("summary_verified_through_seconds", &[]);
            (asked as f64 - 5.0..=now_ms() as f64 / 1000.0 + 1.0).contains(&verified)
        })
        .await;
        wait_until("the watermark is young", async || {
            Scrape::of(&service)
                .await
                .find("summary_watermark_age_seconds", &[])
                .is_some_and(|age| (0.0..5.0).contains(&age))
        })
        .await;
    }

    async fn requests_count_by_route_and_no_label_carries_an_id(service: Service) {
        let id = facility(&service, "North", &noon_zone()).await;
        let route = "/v1/facilities/{facility_id}/summaries/{date}";
        for _ in 0..3 {
            service.get(&path(id, "today")).await;
        }
        let etag = header(&service.get(&path(id, "today")).await, "etag");
        service
            .request(Method::GET, &path(id, "today"))
            .header("if-none-match", &etag)
            .send()
            .await
            .unwrap();
        service.request(Method::HEAD, &path(id, "today")).send().await.unwrap();
        service.get(&path(Uuid::new_v4(), "today")).await;
        service.request(Method::DELETE, &path(id, "today")).send().await.unwrap();
        for path in ["/wp-admin", "/v2"] {
            service.get(path).await;
        }
        service.request(Method::from_bytes(b"BREW").unwrap(), "/v1/coffee").send().await.unwrap();
        let few = Scrape::of(&service).await;
        for i in 0..50 {
            service.get(&format!("/wp-admin/{i}/{}", Uuid::new_v4())).await;
            service.get(&path(Uuid::new_v4(), "today")).await;
            service
                .request(Method::from_bytes(format!("BREW{i}").as_bytes()).unwrap(), "/v1/coffee")
                .send()
                .await
                .unwrap();
        }
        let many = Scrape::of(&service).await;
        let new: Vec<_> = series(&many).difference(&series(&few)).cloned().collect();
        assert!(new.is_empty(), "requests with unknown ids and paths make no new series: {new:?}");

        for (method, status, want) in [
            ("GET", "200", 4.0),
            ("GET", "304", 1.0),
            ("GET", "404", 51.0),
            ("HEAD", "200", 1.0),
            ("DELETE", "405", 1.0),
        ] {
            let labels = [("route", route), ("method", method), ("status", status)];
            assert_eq!(many.sum("http_requests_total", &labels), want, "{method} {status}");
            assert_eq!(
                many.sum("http_request_duration_seconds_count", &labels),
                want,
                "{method} {status}"
            );
        }
        for (name, labels, _) in many.samples() {
            for (label, value) in labels {
                assert!(
                    Uuid::parse_str(value).is_err()
                        && !value.contains(&id.to_string())
                        && !value.contains("wp-admin"),
                    "{name}: {label}={value}"
                );
            }
        }
    }

    async fn every_metric_is_there_from_the_start(service: Service) {
        let scrape = Scrape::of(&service).await;
        for name in [
            "summary_reads_total",
            "summary_read_duration_seconds_count",
            "summary_drift_rows_total",
            "summary_watermark_age_seconds",
            "summary_verified_through_seconds",
            "panics_total",
            "database_connections",
            "process_resident_memory_bytes",
            "process_open_fds",
        ] {
            assert!(scrape.find(name, &[]).is_some(), "{name}");
        }
        assert_eq!(scrape.sum("panics_total", &[]), 0.0);
        assert!(scrape.sum("database_connections", &[("state", "max")]) >= 2.0);
        let text = service.get("/metrics").await;
        assert!(
            header(&text, "content-type").starts_with("text/plain; version=0.0.4"),
            "{}",
            header(&text, "content-type")
        );
    }
}
