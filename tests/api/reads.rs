//! The reads: what each answers for every kind of day.

mod lists;

use jiff::civil::Date;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{
        DAY_MS, HOUR_MS, Plain, bank, date_in, distribution, facility, get, inventory, noon_zone,
        now_ms, path, post, request, summary, version_of,
    },
    support::{Service, events::event, problem::problem},
};

/// The values of one member of all items.
fn column<'a>(page: &'a Value, name: &str) -> Vec<&'a str> {
    page["items"].as_array().unwrap().iter().map(|item| item[name].as_str().unwrap()).collect()
}

/// The stored summary rows of a facility.
async fn rows(service: &Service, facility: Uuid) -> i64 {
    let mut plain = Plain::beside(service).await;
    let id = plain.id(facility);
    plain
        .number(&format!("SELECT count(*) FROM dashboard_daily_summary WHERE facility_id = {id}"))
        .await
}

/// Asserts that a text is an instant in UTC, of since `begun_ms`; clocks may differ by 5 s.
#[track_caller]
fn assert_is_recent(text: &str, begun_ms: i64) {
    let ms = text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    assert!(text.ends_with('Z') && (begun_ms - 5_000..now_ms() + 5_000).contains(&ms), "{text}");
}

/// Units in both banks, deliveries and requests. The figures of today leave out those that are
/// expired, undelivered or of yesterday.
fn events_of_all_kinds(id: Uuid, [first, second]: [Uuid; 2], now: i64) -> [Value; 10] {
    let mut untyped = inventory(Uuid::new_v4(), second, "O+", 4);
    untyped["data"]["blood_type"] = Value::Null;
    let mut expired = inventory(Uuid::new_v4(), second, "O+", 100);
    expired["data"]["expires_at"] = json!(crate::steps::instant(now - 1));
    let undelivered = event(
        "distribution.set",
        json!({"distribution_id": Uuid::new_v4(), "dispatched_to_id": id, "quantity": 9}),
    );
    [
        inventory(Uuid::new_v4(), first, "O+", 120),
        inventory(Uuid::new_v4(), second, "O+", 7),
        untyped,
        expired,
        undelivered,
        distribution(Uuid::new_v4(), id, 6, now),
        distribution(Uuid::new_v4(), id, 50, now - DAY_MS),
        request(Uuid::new_v4(), id, now),
        request(Uuid::new_v4(), id, now),
        request(Uuid::new_v4(), id, now - DAY_MS),
    ]
}

on_both_stores! {
    async fn a_facility_shows_its_own_date(service: Service) {
        for zone in ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu"] {
            let id = facility(&service, "North", zone).await;
            let before = date_in(zone, 0);
            let shown = get(&service, &format!("/v1/facilities/{id}")).await;
            let today: Date = shown["today"].as_str().unwrap().parse().unwrap();
            assert!((before..=date_in(zone, 0)).contains(&today), "{zone}: {today}");
            assert_eq!(
                shown,
                json!({
                    "facility_id": id,
                    "name": "North",
                    "timezone": zone,
                    "today": today,
                    "viewers": 0
                })
            );
        }
    }

    async fn a_summary_counts_stock_deliveries_and_requests_by_type(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        let banks = [bank(&service, id).await, bank(&service, id).await];
        let now = now_ms();
        let applied = post(&service, &events_of_all_kinds(id, banks, now)).await;
        let today = date_in(&zone, 0);
        let version = version_of(&applied, id, today);
        let mut shown =
            get(&service, &format!("{}?min_version={version}", path(id, "today"))).await;
        let updated_at = shown["updated_at"].take();
        assert_eq!(
            shown,
            json!({
                "facility_id": id,
                "date": today,
                "total_stock": 131,
                "total_transferred": 6,
                "total_requests": 2,
                "by_blood_type": {
                    "O+": {"stock": 127, "transferred": 0, "requests": 0},
                    "A+": {"stock": 0, "transferred": 6, "requests": 0},
                    "B-": {"stock": 0, "transferred": 0, "requests": 2},
                    "unknown": {"stock": 4, "transferred": 0, "requests": 0},
                },
                "updated_at": null,
                "version": version,
            })
        );
        assert_is_recent(updated_at.as_str().unwrap(), now);
        let (named, alias) =
            (service.get(&path(id, today)).await, service.get(&path(id, "today")).await);
        assert_eq!(
            named.bytes().await.unwrap(),
            alias.bytes().await.unwrap(),
            "today and its date have the same body, byte for byte"
        );
        let yesterday = summary(&service, id, date_in(&zone, -1)).await;
        assert_eq!(
            (
                &yesterday["total_stock"],
                &yesterday["total_transferred"],
                &yesterday["total_requests"]
            ),
            (&Value::Null, &json!(50), &json!(1))
        );
        assert_eq!(
            yesterday["by_blood_type"]["A+"],
            json!({"stock": null, "transferred": 50, "requests": 0})
        );
    }

    async fn a_quiet_past_day_is_version_0_without_stock_and_stores_nothing(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        let (before, past) = (rows(&service, id).await, date_in(&zone, -40));
        let want = json!({
            "facility_id": id,
            "date": past,
            "total_stock": null,
            "total_transferred": 0,
            "total_requests": 0,
            "by_blood_type": {},
            "updated_at": null,
            "version": 0,
        });
        for directives in ["", "no-cache", "max-age=0", ""] {
            let response = crate::steps::read(&service, &path(id, past), directives).await;
            assert_eq!(response.json::<Value>().await.unwrap(), want, "{directives:?}");
        }
        assert_eq!(rows(&service, id).await, before, "the read writes no row");
    }

    async fn a_day_that_has_not_begun_or_is_not_in_the_calendar_of_the_zone_is_404(
        service: Service,
    ) {
        let id = facility(&service, "Apia", "Pacific/Apia").await;
        for date in
            [date_in("Pacific/Apia", 1), date_in("Pacific/Apia", 400), Date::constant(2011, 12, 30)]
        {
            problem(service.get(&path(id, date)).await, 404).await;
        }
        for date in ["2011-12-29", "2011-12-31"] {
            assert_eq!(service.get(&path(id, date)).await.status(), 200, "{date}");
        }
        let range =
            get(&service, &format!("/v1/facilities/{id}/summaries?from=2011-12-28&to=2012-01-01"))
                .await;
        assert_eq!(
            column(&range, "date"),
            ["2012-01-01", "2011-12-31", "2011-12-29", "2011-12-28"]
        );
    }

    async fn a_closed_day_keeps_its_stock_when_a_late_delivery_comes(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        let bank = bank(&service, id).await;
        let yesterday = date_in(&zone, -1);
        let mut plain = Plain::beside(&service).await;
        let (row, at) = (plain.id(id), plain.at(now_ms() - DAY_MS));
        plain
            .run(&format!(
                "INSERT INTO dashboard_daily_summary
                    (facility_id, date, total_stock, total_transferred, total_requests,
                     by_blood_type, as_of, updated_at, version)
                 VALUES ({row}, '{yesterday}', 48, 0, 0,
                    '{{\"O-\":{{\"stock\":48,\"transferred\":0,\"requests\":0}}}}', {at}, {at}, 1)"
            ))
            .await;
        let applied = post(
            &service,
            &[
                inventory(Uuid::new_v4(), bank, "O-", 999),
                distribution(Uuid::new_v4(), id, 6, now_ms() - DAY_MS),
            ],
        )
        .await;
        let closed = get(
            &service,
            &format!("{}?min_version={}", path(id, yesterday), version_of(&applied, id, yesterday)),
        )
        .await;
        assert_eq!((&closed["total_stock"], &closed["total_transferred"]), (&json!(48), &json!(6)));
        assert_eq!(
            closed["by_blood_type"],
            json!({
                "O-": {"stock": 48, "transferred": 0, "requests": 0},
                "A+": {"stock": 0, "transferred": 6, "requests": 0},
            })
        );
        assert_eq!(summary(&service, id, "today").await["total_stock"], 999);
    }

    async fn unknown_parameters_are_refused_by_name_everywhere(service: Service) {
        let id = facility(&service, "North", "UTC").await;
        let known = format!("/v1/facilities/{id}");
        for path in [
            "/v1/facilities".to_owned(),
            known.clone(),
            format!("{known}/summaries"),
            format!("{known}/summaries/today"),
            "/v1/summaries/today".into(),
            format!("/v1/runs/{id}"),
        ] {
            let body = problem(service.get(&format!("{path}?colour=red")).await, 400).await;
            assert!(body["detail"].as_str().unwrap().contains("colour"), "{path}: {body}");
        }
        for (path, body) in [
            (known.clone(), json!({"name": "North", "timezone": "UTC"})),
            (format!("/v1/blood-banks/{id}"), json!({"name": "B", "facility_id": id})),
        ] {
            problem(service.put(&format!("{path}?colour=red"), &body).await, 400).await;
        }
        for path in ["/v1/events".to_owned(), "/v1/rebuild".into(), format!("{known}/refresh")] {
            problem(service.post(&format!("{path}?colour=red"), &json!({})).await, 400).await;
        }
    }

    async fn ids_and_dates_that_cannot_be_read_are_400_and_unknown_ones_404(service: Service) {
        let id = facility(&service, "North", "UTC").await;
        for path in [
            "/v1/facilities/7",
            "/v1/facilities/7/summaries",
            "/v1/facilities/7/summaries/today",
            "/v1/runs/7",
            "/v1/summaries/someday",
        ] {
            problem(service.get(path).await, 400).await;
        }
        for date in ["yesterday", "2026-13-01", "2026-02-30", "21-11-2026", "TODAY"] {
            problem(service.get(&path(id, date)).await, 400).await;
        }
        let nobody = Uuid::new_v4();
        for path in [
            format!("/v1/facilities/{nobody}"),
            format!("/v1/facilities/{nobody}/summaries"),
            path(nobody, "2026-01-01"),
            format!("/v1/runs/{nobody}"),
        ] {
            problem(service.get(&path).await, 404).await;
        }
    }

    async fn a_late_delivery_and_a_request_on_the_bounds_count_on_the_day_that_they_are_in(
        service: Service,
    ) {
        // The interval is half-open: the first instant of the day belongs to it, the first instant
        // of the next day does not.
        let id = facility(&service, "North", "Asia/Kathmandu").await;
        let day = date_in("Asia/Kathmandu", -3);
        let start_ms = day.in_tz("Asia/Kathmandu").unwrap().timestamp().as_millisecond();
        let events: Vec<Value> = [
            start_ms - 1,
            start_ms,
            start_ms + 12 * HOUR_MS,
            start_ms + DAY_MS - 1,
            start_ms + DAY_MS,
        ]
        .into_iter()
        .enumerate()
        .map(|(i, ms)| distribution(Uuid::new_v4(), id, 10i64.pow(i as u32), ms))
        .collect();
        post(&service, &events).await;
        assert_eq!(summary(&service, id, day).await["total_transferred"], 1_110);
    }
}
