//! The freshness contract: what a request may ask for, and what the headers of the answer say.

use std::io::Read;

use reqwest::{Method, Response};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{
        DAY_MS, Plain, Scrape, age, bank, date_in, distribution, facility, header, instant,
        inventory, noon_zone, now_ms, path, post, read, summary, version_of,
    },
    support::{Service, events::event, problem::problem, service::Launch, wait_until},
};

const HIT: &str = "facility-summary; hit; detail=memory";

/// A service whose watermark stands still after the start, so that figures age unless somebody
/// refreshes them.
fn without_a_drain(launch: Launch) -> Launch {
    launch
        .env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 3_600_000)
        .env("FACILITY_SUMMARY__REBUILD__CRON", "off")
}

/// Waits until what memory holds is older than this many seconds, by the `Age` of a read that takes
/// it however old: the bounds are what is to be tested with it.
async fn wait_until_older(service: &Service, path: &str, seconds: i64) {
    wait_until("memory's figures have aged", async || {
        let held = read(service, path, "max-age=0, max-stale, only-if-cached").await;
        assert_eq!((held.status().as_u16(), header(&held, "cache-status").as_str()), (200, HIT));
        age(&held) > seconds
    })
    .await;
}

async fn conditional(service: &Service, method: Method, path: &str, etag: &str) -> Response {
    service.request(method, path).header("if-none-match", etag).send().await.unwrap()
}

/// A facility with one unit of each type: its body is worth compressing.
async fn stocked(service: &Service, zone: &str) -> Uuid {
    let id = facility(service, "North", zone).await;
    let bank = bank(service, id).await;
    let types = ["O+", "O-", "A+", "A-", "B+", "B-", "AB+", "AB-"];
    post(service, &types.map(|blood_type| inventory(Uuid::new_v4(), bank, blood_type, 9))).await;
    id
}

on_both_stores! {
    async fn an_entity_tag_names_date_version_and_body_and_gives_304(service: Service) {
        let zone = noon_zone();
        let id = stocked(&service, &zone).await;
        let today = path(id, "today");
        let response = service.get(&today).await;
        let etag = header(&response, "etag");
        let body: Value = response.json().await.unwrap();
        let parts: Vec<&str> = etag.trim_matches('"').split('.').collect();
        assert!(etag.starts_with('"') && etag.ends_with('"') && parts.len() == 3, "{etag}");
        assert_eq!(
            (parts[0], parts[1]),
            (date_in(&zone, 0).to_string().as_str(), body["version"].to_string().as_str())
        );
        assert!(
            parts[2].len() == 8 && parts[2].bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
            "{etag}"
        );

        for list in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".into()] {
            for method in [Method::GET, Method::HEAD] {
                let same = conditional(&service, method, &today, &list).await;
                assert_eq!(same.status(), 304, "{list}");
                assert_eq!(header(&same, "etag"), etag);
                assert!(
                    !header(&same, "age").is_empty()
                        && !header(&same, "cache-control").is_empty()
                        && !header(&same, "cache-status").is_empty()
                );
                assert!(same.bytes().await.unwrap().is_empty());
            }
        }
        let no_cache = service
            .request(Method::GET, &today)
            .header("if-none-match", &etag)
            .header("cache-control", "no-cache");
        assert_eq!(
            no_cache.send().await.unwrap().status(),
            304,
            "an unchanged refresh keeps the body byte for byte"
        );
        post(&service, &[distribution(Uuid::new_v4(), id, 1, now_ms())]).await;
        let changed = conditional(&service, Method::GET, &today, &etag).await;
        assert_eq!(changed.status(), 200);
        assert_ne!(header(&changed, "etag"), etag);
    }

    async fn a_head_has_the_headers_of_a_get_and_no_body(service: Service) {
        let id = stocked(&service, "UTC").await;
        for path in [
            path(id, "today"),
            format!("/v1/facilities/{id}/summaries"),
            "/v1/summaries/today".into(),
            "/v1/facilities".into(),
        ] {
            let (get, head) = (
                service.get(&path).await,
                service.request(Method::HEAD, &path).send().await.unwrap(),
            );
            assert_eq!(head.status(), 200, "{path}");
            for name in ["content-type", "etag", "content-length"] {
                assert_eq!(header(&head, name), header(&get, name), "{path}: {name}");
            }
            assert!(head.bytes().await.unwrap().is_empty());
        }
    }

    async fn compressed_forms_decode_to_the_same_body_under_the_same_tag(service: Service) {
        let id = stocked(&service, &noon_zone()).await;
        let plain = service.get(&path(id, "today")).await;
        let (etag, version) = (header(&plain, "etag"), header(&plain, "vary"));
        assert_eq!(
            (header(&plain, "content-encoding"), version.as_str()),
            (String::new(), "Accept-Encoding")
        );
        let body = plain.bytes().await.unwrap();
        for (accept, encoding) in [
            ("gzip", "gzip"),
            ("br", "br"),
            ("gzip, br", "br"),
            ("br;q=0, gzip", "gzip"),
            ("identity", ""),
            ("gzip;q=0", ""),
        ] {
            let form = service
                .request(Method::GET, &path(id, "today"))
                .header("accept-encoding", accept)
                .send()
                .await
                .unwrap();
            assert_eq!(
                (header(&form, "content-encoding").as_str(), header(&form, "etag")),
                (encoding, etag.clone()),
                "{accept}"
            );
            let sent = form.bytes().await.unwrap();
            let mut decoded = Vec::new();
            match encoding {
                "gzip" => {
                    drop(flate2::read::GzDecoder::new(&sent[..]).read_to_end(&mut decoded).unwrap())
                }
                "br" => drop(
                    brotli::Decompressor::new(&sent[..], 4096).read_to_end(&mut decoded).unwrap(),
                ),
                _ => decoded = sent.to_vec(),
            }
            assert_eq!(decoded, body, "{accept}");
            assert!(
                encoding.is_empty() || sent.len() * 4 <= body.len() * 3,
                "only where it pays: {} of {}",
                sent.len(),
                body.len()
            );
            let request = service
                .request(Method::GET, &path(id, "today"))
                .header("accept-encoding", accept)
                .header("if-none-match", &etag);
            assert_eq!(request.send().await.unwrap().status(), 304, "{accept}");
        }
    }

    async fn a_quiet_facility_stays_as_fresh_as_the_watermark_without_a_refresh(service: Service) {
        let id = stocked(&service, "UTC").await;
        let first = service.get(&path(id, "today")).await;
        let etag = header(&first, "etag");
        let before = Scrape::of(&service).await.sum("summary_refreshes_total", &[]);
        let started = now_ms();
        wait_until("three seconds have passed", async || now_ms() - started > 3_000).await;
        wait_until("its age is that of the watermark", async || {
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

    async fn where_an_answer_came_from_is_said(service: Service) {
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
        assert_eq!(service.get(&past).await.status(), 200);
        let held = read(&service, &past, "only-if-cached").await;
        assert_eq!((held.status().as_u16(), header(&held, "cache-status").as_str()), (200, HIT));
    }
}

/// On both stores, with settings of their own.
macro_rules! with_settings {
    ($name:ident, |$launch:ident| $settings:expr, $body:ident) => {
        mod $name {
            use super::*;

            #[tokio::test]
            async fn sqlite() {
                let $launch = Service::on_sqlite();
                $body($settings.start().await).await
            }

            #[tokio::test]
            async fn postgres() {
                let $launch = Service::on_postgres().await;
                $body($settings.start().await).await
            }
        }
    };
}

with_settings!(a_request_sets_its_own_bound, |launch| without_a_drain(launch), own_bound);

async fn own_bound(service: Service) {
    let id = stocked(&service, &noon_zone()).await;
    let today = path(id, "today");
    wait_until_older(&service, &today, 2).await;

    let loose = read(&service, &today, "max-age=1000").await;
    assert_eq!(header(&loose, "cache-status"), HIT);
    assert!(age(&loose) >= 2, "nothing is proven of it");
    let etag = header(&loose, "etag");
    problem(read(&service, &today, "max-age=2, only-if-cached").await, 504).await;
    let tight = read(&service, &today, "max-age=2").await;
    assert_eq!(header(&tight, "cache-status"), "facility-summary; fwd=request; detail=source");
    assert!(age(&tight) <= 1);
    assert_eq!(header(&tight, "etag"), etag, "a refresh that changes nothing leaves the body");
    for directives in ["max-age=1000, max-age=0", "no-cache, max-age=1000"] {
        let strictest = read(&service, &today, directives).await;
        assert_eq!(
            header(&strictest, "cache-status"),
            "facility-summary; fwd=request; detail=source",
            "{directives}"
        );
    }
}

with_settings!(
    a_stale_answer_is_taken_at_once_and_refreshed_behind,
    |launch| without_a_drain(launch),
    max_stale
);

async fn max_stale(service: Service) {
    let id = stocked(&service, &noon_zone()).await;
    let today = path(id, "today");
    wait_until_older(&service, &today, 3).await;
    let bounded = read(&service, &today, "max-age=0, max-stale=1").await;
    assert_eq!(
        header(&bounded, "cache-status"),
        "facility-summary; fwd=request; detail=source",
        "older than it would take"
    );

    wait_until_older(&service, &today, 2).await;
    for directives in ["max-age=0, max-stale=3600", "max-age=0, max-stale"] {
        wait_until_older(&service, &today, 2).await;
        let stale = read(&service, &today, directives).await;
        assert!(age(&stale) >= 2, "{directives}: what is held, with its true age");
        assert!(
            header(&stale, "cache-status").ends_with("detail=memory"),
            "{directives}: {}",
            header(&stale, "cache-status")
        );
        wait_until("it was refreshed behind", async || {
            read(&service, &today, "max-age=1, only-if-cached").await.status() == 200
        })
        .await;
    }
    wait_until_older(&service, &today, 2).await;
    let cached = read(&service, &today, "max-age=0, max-stale, only-if-cached").await;
    assert!(
        cached.status() == 200 && age(&cached) >= 2,
        "only-if-cached with max-stale takes what is held"
    );
    let too_old = read(&service, &today, "max-age=1, only-if-cached").await;
    problem(too_old, 504).await;
}

with_settings!(
    figures_beyond_the_default_bound_are_refreshed,
    |launch| without_a_drain(launch).env("FACILITY_SUMMARY__FRESHNESS__MAX_AGE_SECONDS", 2),
    default_bound
);

async fn default_bound(service: Service) {
    let id = stocked(&service, &noon_zone()).await;
    let today = path(id, "today");
    wait_until_older(&service, &today, 2).await;
    // Written past every hook, so that only a refresh can notice.
    let mut plain = Plain::beside(&service).await;
    plain.run("UPDATE blood_inventory SET quantity = 10 WHERE blood_type = 'O+'").await;
    let response = service.get(&today).await;
    assert_eq!(header(&response, "cache-status"), "facility-summary; fwd=stale; detail=source");
    assert!(age(&response) <= 2);
    assert_eq!(header(&response, "cache-control"), "private, max-age=2, stale-while-revalidate=2");
    assert_eq!(response.json::<Value>().await.unwrap()["total_stock"], 73);
}

with_settings!(
    realtime_reads_are_refreshed_each_time,
    |launch| launch.env("FACILITY_SUMMARY__FRESHNESS__MODE", "realtime"),
    realtime
);

async fn realtime(service: Service) {
    let id = stocked(&service, &noon_zone()).await;
    let today = path(id, "today");
    for quantity in 10..13 {
        let mut plain = Plain::beside(&service).await;
        plain
            .run(&format!(
                "UPDATE blood_inventory SET quantity = {quantity} WHERE blood_type = 'O+'"
            ))
            .await;
        let response = service.get(&today).await;
        assert_eq!(header(&response, "cache-status"), "facility-summary; fwd=stale; detail=source");
        assert_eq!(
            (age(&response), header(&response, "cache-control").as_str()),
            (0, "private, max-age=0, stale-while-revalidate=0")
        );
        assert_eq!(
            response.json::<Value>().await.unwrap()["total_stock"],
            63 + quantity,
            "what another program has just committed"
        );
    }
    let loose = read(&service, &today, "max-age=60").await;
    assert_eq!(header(&loose, "cache-status"), HIT);
}

#[tokio::test]
async fn each_mode_has_its_bound_and_a_bound_of_its_own_overrides_it() {
    for (mode, own, want) in [
        ("aggressive", None, "private, max-age=120, stale-while-revalidate=30"),
        ("balanced", None, "private, max-age=300, stale-while-revalidate=30"),
        ("realtime", None, "private, max-age=0, stale-while-revalidate=0"),
        ("realtime", Some(45), "private, max-age=45, stale-while-revalidate=30"),
        ("aggressive", Some(0), "private, max-age=0, stale-while-revalidate=0"),
    ] {
        let mut launch = Service::on_sqlite().env("FACILITY_SUMMARY__FRESHNESS__MODE", mode);
        if let Some(seconds) = own {
            launch = launch.env("FACILITY_SUMMARY__FRESHNESS__MAX_AGE_SECONDS", seconds);
        }
        let service = launch.start().await;
        let id = facility(&service, "North", &noon_zone()).await;
        for date in ["today".to_owned(), date_in(&noon_zone(), -3).to_string()] {
            assert_eq!(
                header(&service.get(&path(id, date)).await, "cache-control"),
                want,
                "{mode} {own:?}"
            );
        }
    }
}

#[tokio::test]
async fn today_may_not_be_cached_beyond_the_facilitys_midnight() {
    let service = Service::on_sqlite()
        .env("FACILITY_SUMMARY__FRESHNESS__MAX_AGE_SECONDS", 200_000)
        .start()
        .await;
    for zone in ["Asia/Kathmandu", "Pacific/Kiritimati", "America/St_Johns"] {
        let id = facility(&service, "North", zone).await;
        let midnight = date_in(zone, 1).in_tz(zone).unwrap().timestamp().as_millisecond();
        let before = (midnight - now_ms()) / 1000;
        let response = service.get(&path(id, "today")).await;
        let after = (midnight - now_ms()) / 1000;
        let text = header(&response, "cache-control");
        let max_age: i64 = text
            .split(", ")
            .find_map(|part| part.strip_prefix("max-age="))
            .unwrap()
            .parse()
            .unwrap();
        assert!(
            (after - 1..=before).contains(&max_age),
            "{zone}: {text}; {after} to {before} s to midnight"
        );
        assert!(text.ends_with("stale-while-revalidate=0"), "{zone}: {text}");
        let named = service.get(&path(id, date_in(zone, 0))).await;
        assert_eq!(
            header(&named, "cache-control"),
            "private, max-age=200000, stale-while-revalidate=30",
            "a date means the same for ever"
        );
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
                "{path}: with what another program has just committed"
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
        wait_until("they are gone from what everybody reads", async || {
            let response = service.get(&path(id, "today")).await;
            let (age_seconds, after_ms) = (age(&response), now_ms());
            let shown: Value = response.json().await.unwrap();
            if shown["total_stock"] == 12 {
                // Figures from before the expiry never pass for younger than it.
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
