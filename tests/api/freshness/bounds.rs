//! The bounds of age: those of a request, of the mode, of a setting, and of the day itself.

use serde_json::Value;

use super::{HIT, stocked};
use crate::{
    steps::{Plain, age, date_in, facility, header, noon_zone, now_ms, path, read},
    support::{Service, problem::problem, service::Launch, wait_until},
};

/// A service whose watermark does not rise after the start. So figures get older until a request
/// causes a refresh.
fn without_a_drain(launch: Launch) -> Launch {
    launch
        .env("FACILITY_SUMMARY__REFRESH__DRAIN_INTERVAL_MS", 3_600_000)
        .env("FACILITY_SUMMARY__REBUILD__CRON", "off")
}

/// Waits until the entry in memory is older than this many seconds, by the `Age` of a read that
/// accepts any age. The bounds themselves are under test, so they cannot be used here.
async fn wait_until_older(service: &Service, path: &str, seconds: i64) {
    wait_until("memory's figures have aged", async || {
        let held = read(service, path, "max-age=0, max-stale, only-if-cached").await;
        assert_eq!((held.status().as_u16(), header(&held, "cache-status").as_str()), (200, HIT));
        age(&held) > seconds
    })
    .await;
}

/// Runs a test on both stores with special settings.
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
    assert!(age(&loose) >= 2, "the watermark does not rise, so the entry gets older");
    let etag = header(&loose, "etag");
    problem(read(&service, &today, "max-age=2, only-if-cached").await, 504).await;
    let tight = read(&service, &today, "max-age=2").await;
    assert_eq!(header(&tight, "cache-status"), "facility-summary; fwd=request; detail=source");
    assert!(age(&tight) <= 1);
    assert_eq!(header(&tight, "etag"), etag, "a refresh that changes no figure keeps the body");
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
    max_stale_is_answered_at_once_and_refreshed_afterwards,
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
        "memory is older than the bound of the request"
    );

    wait_until_older(&service, &today, 2).await;
    for directives in ["max-age=0, max-stale=3600", "max-age=0, max-stale"] {
        wait_until_older(&service, &today, 2).await;
        let stale = read(&service, &today, directives).await;
        assert!(
            age(&stale) >= 2,
            "{directives}: the answer is the entry in memory, with its true age"
        );
        assert!(
            header(&stale, "cache-status").ends_with("detail=memory"),
            "{directives}: {}",
            header(&stale, "cache-status")
        );
        wait_until("the refresh after the answer is done", async || {
            read(&service, &today, "max-age=1, only-if-cached").await.status() == 200
        })
        .await;
    }
    wait_until_older(&service, &today, 2).await;
    let cached = read(&service, &today, "max-age=0, max-stale, only-if-cached").await;
    assert!(
        cached.status() == 200 && age(&cached) >= 2,
        "only-if-cached with max-stale accepts the entry in memory"
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
    // Written with a statement that leaves no mark, so that only a refresh finds it.
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
            "the answer has what another program has committed"
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
            "the answer for a date may be kept beyond midnight"
        );
    }
}
