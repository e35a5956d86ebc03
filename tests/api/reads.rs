//! The reads: what each answers, for every kind of day there is.

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

fn numbers(page: &Value, name: &str) -> Vec<i64> {
    page["items"].as_array().unwrap().iter().map(|item| item[name].as_i64().unwrap()).collect()
}

/// The stored summary rows of a facility.
async fn rows(service: &Service, facility: Uuid) -> i64 {
    let mut plain = Plain::beside(service).await;
    let id = plain.id(facility);
    plain
        .number(&format!("SELECT count(*) FROM dashboard_daily_summary WHERE facility_id = {id}"))
        .await
}

on_both_stores! {
    async fn facilities_are_listed_by_name_and_page_by_page(service: Service) {
        assert_eq!(get(&service, "/v1/facilities").await, json!({"items": [], "next_cursor": null}));
        let mut ids = Vec::new();
        for name in ["Łódź", "Aba", "Twin", "Twin", "Oslo"] {
            ids.push(facility(&service, name, "Europe/Warsaw").await);
        }
        let all = get(&service, "/v1/facilities").await;
        assert_eq!(column(&all, "name"), ["Aba", "Oslo", "Twin", "Twin", "Łódź"]);
        let want = json!({"facility_id": ids[1], "name": "Aba", "timezone": "Europe/Warsaw"});
        assert_eq!((&all["items"][0], &all["next_cursor"]), (&want, &Value::Null));

        for limit in [1, 2, 4] {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = get(&service, &format!("/v1/facilities?limit={limit}{cursor}")).await;
                assert!(page["items"].as_array().unwrap().len() <= limit);
                seen.extend(page["items"].as_array().unwrap().iter().cloned());
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(Value::Array(seen), all["items"], "limit={limit}");
        }
    }

    async fn facilities_are_found_by_a_part_of_their_name_whatever_its_case(service: Service) {
        for name in ["Szpital ŁÓDŹ", "North", "South"] {
            facility(&service, name, "UTC").await;
        }
        for (query, want) in [("q=łódź", vec!["Szpital ŁÓDŹ"]), ("q=OUT", vec!["South"]), ("q=th", vec!["North", "South"]), ("q=zzz", vec![])] {
            assert_eq!(column(&get(&service, &format!("/v1/facilities?{query}")).await, "name"), want, "{query}");
        }
        let first = get(&service, "/v1/facilities?q=th&limit=1").await;
        let second = get(&service, &format!("/v1/facilities?q=th&limit=1&cursor={}", first["next_cursor"].as_str().unwrap())).await;
        assert_eq!((column(&second, "name"), &second["next_cursor"]), (vec!["South"], &Value::Null));
    }

    async fn facilities_are_found_however_their_accents_are_composed(service: Service) {
        for name in ["H\u{f4}pital Nord", "Ho\u{302}pital Sud", "H\u{f4}pi\u{ad}tal  Est", "Hopital Ouest"] {
            facility(&service, name, "UTC").await;
        }
        let want = vec!["Ho\u{302}pital Sud", "H\u{f4}pital Nord", "H\u{f4}pi\u{ad}tal  Est"];
        for query in ["q=h%C3%B4pital", "q=HO%CC%82PITAL", "q=h%C3%B4pi%C2%ADtal%20"] {
            assert_eq!(column(&get(&service, &format!("/v1/facilities?{query}")).await, "name"), want, "{query}");
        }
    }

    async fn a_facility_shows_its_own_date(service: Service) {
        for zone in ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu"] {
            let id = facility(&service, "North", zone).await;
            let before = date_in(zone, 0);
            let shown = get(&service, &format!("/v1/facilities/{id}")).await;
            let today: Date = shown["today"].as_str().unwrap().parse().unwrap();
            assert!((before..=date_in(zone, 0)).contains(&today), "{zone}: {today}");
            assert_eq!(shown, json!({"facility_id": id, "name": "North", "timezone": zone, "today": today}));
        }
    }

    async fn a_summary_counts_stock_deliveries_and_requests_by_type(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        let (first, second) = (bank(&service, id).await, bank(&service, id).await);
        let now = now_ms();
        let mut untyped = inventory(Uuid::new_v4(), second, "O+", 4);
        untyped["data"]["blood_type"] = Value::Null;
        let mut expired = inventory(Uuid::new_v4(), second, "O+", 100);
        expired["data"]["expires_at"] = json!(crate::steps::instant(now - 1));
        let undelivered = event("distribution.set", json!({"distribution_id": Uuid::new_v4(), "dispatched_to_id": id, "quantity": 9}));
        let applied = post(&service, &[
            inventory(Uuid::new_v4(), first, "O+", 120), inventory(Uuid::new_v4(), second, "O+", 7), untyped, expired, undelivered,
            distribution(Uuid::new_v4(), id, 6, now), distribution(Uuid::new_v4(), id, 50, now - DAY_MS),
            request(Uuid::new_v4(), id, now), request(Uuid::new_v4(), id, now), request(Uuid::new_v4(), id, now - DAY_MS),
        ]).await;
        let today = date_in(&zone, 0);
        let version = version_of(&applied, id, today);
        let mut shown = get(&service, &format!("{}?min_version={version}", path(id, "today"))).await;
        let updated_at = shown["updated_at"].take();
        assert_eq!(shown, json!({
            "facility_id": id, "date": today, "total_stock": 131, "total_transferred": 6, "total_requests": 2,
            "by_blood_type": {
                "O+": {"stock": 127, "transferred": 0, "requests": 0}, "A+": {"stock": 0, "transferred": 6, "requests": 0},
                "B-": {"stock": 0, "transferred": 0, "requests": 2}, "unknown": {"stock": 4, "transferred": 0, "requests": 0},
            },
            "updated_at": null, "version": version,
        }));
        let text = updated_at.as_str().unwrap();
        let updated_ms = text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        assert!(text.ends_with('Z') && (now - 5_000..now_ms() + 5_000).contains(&updated_ms), "{text}");

        let (named, alias) = (service.get(&path(id, today)).await, service.get(&path(id, "today")).await);
        assert_eq!(named.bytes().await.unwrap(), alias.bytes().await.unwrap(), "today is that date, byte for byte");
        let yesterday = summary(&service, id, date_in(&zone, -1)).await;
        assert_eq!((&yesterday["total_stock"], &yesterday["total_transferred"], &yesterday["total_requests"]), (&Value::Null, &json!(50), &json!(1)));
        assert_eq!(yesterday["by_blood_type"]["A+"], json!({"stock": null, "transferred": 50, "requests": 0}));
    }

    async fn a_quiet_past_day_is_version_0_without_stock_and_stores_nothing(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        let (before, past) = (rows(&service, id).await, date_in(&zone, -40));
        let want = json!({
            "facility_id": id, "date": past, "total_stock": null, "total_transferred": 0, "total_requests": 0,
            "by_blood_type": {}, "updated_at": null, "version": 0,
        });
        for directives in ["", "no-cache", "max-age=0", ""] {
            let response = crate::steps::read(&service, &path(id, past), directives).await;
            assert_eq!(response.json::<Value>().await.unwrap(), want, "{directives:?}");
        }
        assert_eq!(rows(&service, id).await, before, "reading it writes no row");
    }

    async fn a_day_that_has_not_begun_or_never_was_is_404(service: Service) {
        let id = facility(&service, "Apia", "Pacific/Apia").await;
        for date in [date_in("Pacific/Apia", 1), date_in("Pacific/Apia", 400), Date::constant(2011, 12, 30)] {
            problem(service.get(&path(id, date)).await, 404).await;
        }
        for date in ["2011-12-29", "2011-12-31"] {
            assert_eq!(service.get(&path(id, date)).await.status(), 200, "{date}");
        }
        let range = get(&service, &format!("/v1/facilities/{id}/summaries?from=2011-12-28&to=2012-01-01")).await;
        assert_eq!(column(&range, "date"), ["2012-01-01", "2011-12-31", "2011-12-29", "2011-12-28"]);
    }

    async fn a_closed_day_keeps_its_stock_when_a_late_delivery_comes(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        let bank = bank(&service, id).await;
        let yesterday = date_in(&zone, -1);
        let mut plain = Plain::beside(&service).await;
        let (row, at) = (plain.id(id), plain.at(now_ms() - DAY_MS));
        plain.run(&format!(
            "INSERT INTO dashboard_daily_summary
                (facility_id, date, total_stock, total_transferred, total_requests, by_blood_type, as_of, updated_at, version)
             VALUES ({row}, '{yesterday}', 48, 0, 0, '{{\"O-\":{{\"stock\":48,\"transferred\":0,\"requests\":0}}}}', {at}, {at}, 1)"
        )).await;
        let applied = post(&service, &[
            inventory(Uuid::new_v4(), bank, "O-", 999), distribution(Uuid::new_v4(), id, 6, now_ms() - DAY_MS),
        ]).await;
        let closed = get(&service, &format!("{}?min_version={}", path(id, yesterday), version_of(&applied, id, yesterday))).await;
        assert_eq!((&closed["total_stock"], &closed["total_transferred"]), (&json!(48), &json!(6)));
        assert_eq!(closed["by_blood_type"], json!({
            "O-": {"stock": 48, "transferred": 0, "requests": 0}, "A+": {"stock": 0, "transferred": 6, "requests": 0},
        }));
        assert_eq!(summary(&service, id, "today").await["total_stock"], 999);
    }

    async fn a_range_has_both_its_ends_newest_first(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        let day = |days| date_in(&zone, days).to_string();
        let range = async |query: &str| get(&service, &format!("/v1/facilities/{id}/summaries{query}")).await;
        post(&service, &[distribution(Uuid::new_v4(), id, 6, now_ms() - 2 * DAY_MS)]).await;

        let week = range("").await;
        assert_eq!(column(&week, "date"), (-6..=0).rev().map(day).collect::<Vec<_>>());
        assert_eq!((numbers(&week, "total_transferred"), &week["next_cursor"]), (vec![0, 0, 6, 0, 0, 0, 0], &Value::Null));
        assert_eq!(week["items"][2], get(&service, &path(id, day(-2))).await, "a day reads the same in a range");
        assert_eq!(week["items"][3]["version"], 0);
        assert_eq!(column(&range(&format!("?from={}&to={}", day(-3), day(-2))).await, "date"), [day(-2), day(-3)]);
        assert_eq!(column(&range(&format!("?from={}", day(-1))).await, "date"), [day(0), day(-1)]);
        assert_eq!(column(&range(&format!("?from={}&to={}", day(-1), day(9))).await, "date"), [day(0), day(-1)], "clipped to today");
        assert_eq!(column(&range(&format!("?to={}", day(-10))).await, "date"), (-16..=-10).rev().map(day).collect::<Vec<_>>());

        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = range(&format!("?limit=3{cursor}")).await;
            seen.extend(column(&page, "date").into_iter().map(str::to_owned));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, column(&week, "date"));
        assert_eq!(range(&format!("?from={}", day(-399))).await["items"].as_array().unwrap().len(), 400);
        for query in [format!("?from={}", day(-400)), format!("?from={}&to={}", day(-1), day(-2)), "?limit=0".into(), "?limit=401".into()] {
            problem(service.get(&format!("/v1/facilities/{id}/summaries{query}")).await, 400).await;
        }
    }

    async fn all_facilities_of_a_day_come_with_their_totals_in_the_order_asked_for(service: Service) {
        let zone = noon_zone();
        let mut events = Vec::new();
        for (name, stock, delivered) in [("B", 5, 1), ("A", 7, 3), ("C", 6, 2)] {
            let id = facility(&service, name, &zone).await;
            let bank = bank(&service, id).await;
            events.push(inventory(Uuid::new_v4(), bank, "O+", stock));
            events.push(distribution(Uuid::new_v4(), id, delivered, now_ms()));
        }
        post(&service, &events).await;
        for (sort, want) in [
            ("", [7, 5, 6]), ("?sort=name", [7, 5, 6]), ("?sort=-name", [6, 5, 7]), ("?sort=total_stock", [5, 6, 7]), ("?sort=-total_stock", [7, 6, 5]),
            ("?sort=total_transferred", [5, 6, 7]), ("?sort=-total_transferred", [7, 6, 5]),
        ] {
            let listing = get(&service, &format!("/v1/summaries/today{sort}")).await;
            assert_eq!(numbers(&listing, "total_stock"), want, "{sort}");
            let totals = &listing["totals"];
            assert_eq!((&totals["total_stock"], &totals["total_transferred"], &totals["total_requests"]), (&json!(18), &json!(6), &json!(0)));
        }
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&service, &format!("/v1/summaries/today?sort=-total_stock&limit=1{cursor}")).await;
            assert_eq!(page["totals"]["total_stock"], 18, "the totals are of all pages");
            seen.extend(numbers(&page, "total_stock"));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, [7, 6, 5]);
        for query in ["?sort=size", "?limit=0", "?limit=501", "?cursor=zz", "?page=2"] {
            problem(service.get(&format!("/v1/summaries/today{query}")).await, 400).await;
        }
    }

    async fn today_of_all_facilities_is_each_ones_own(service: Service) {
        let zones = ["Pacific/Kiritimati", "Pacific/Pago_Pago"];
        for zone in zones {
            facility(&service, zone, zone).await;
        }
        // 25 hours apart: never the same date.
        let listing = get(&service, "/v1/summaries/today").await;
        assert_eq!(column(&listing, "date"), zones.map(|zone| date_in(zone, 0).to_string()));
        let ahead = get(&service, &format!("/v1/summaries/{}", date_in(zones[0], 0))).await;
        assert_eq!(ahead["items"].as_array().unwrap().len(), 1, "where that day has begun: {ahead}");
        let both = get(&service, &format!("/v1/summaries/{}", date_in(zones[1], 0))).await;
        assert_eq!(both["items"].as_array().unwrap().len(), 2);
        assert_eq!(both["items"][0]["total_stock"], Value::Null);
    }

    async fn unknown_parameters_are_refused_by_name_everywhere(service: Service) {
        let id = facility(&service, "North", "UTC").await;
        let known = format!("/v1/facilities/{id}");
        for path in [
            "/v1/facilities".to_owned(), known.clone(), format!("{known}/summaries"), format!("{known}/summaries/today"),
            "/v1/summaries/today".into(), format!("/v1/runs/{id}"),
        ] {
            let body = problem(service.get(&format!("{path}?colour=red")).await, 400).await;
            assert!(body["detail"].as_str().unwrap().contains("colour"), "{path}: {body}");
        }
        for (path, body) in [
            (known.clone(), json!({"name": "North", "timezone": "UTC"})), (format!("/v1/blood-banks/{id}"), json!({"name": "B", "facility_id": id})),
        ] {
            problem(service.put(&format!("{path}?colour=red"), &body).await, 400).await;
        }
        for path in ["/v1/events".to_owned(), "/v1/rebuild".into(), format!("{known}/refresh")] {
            problem(service.post(&format!("{path}?colour=red"), &json!({})).await, 400).await;
        }
    }

    async fn ids_and_dates_that_cannot_be_read_are_400_and_unknown_ones_404(service: Service) {
        let id = facility(&service, "North", "UTC").await;
        for path in ["/v1/facilities/7", "/v1/facilities/7/summaries", "/v1/facilities/7/summaries/today", "/v1/runs/7", "/v1/summaries/someday"] {
            problem(service.get(path).await, 400).await;
        }
        for date in ["yesterday", "2026-13-01", "2026-02-30", "21-11-2026", "TODAY"] {
            problem(service.get(&path(id, date)).await, 400).await;
        }
        let nobody = Uuid::new_v4();
        for path in [format!("/v1/facilities/{nobody}"), format!("/v1/facilities/{nobody}/summaries"), path(nobody, "2026-01-01"), format!("/v1/runs/{nobody}")] {
            problem(service.get(&path).await, 404).await;
        }
    }

    async fn a_late_delivery_and_a_request_on_the_bounds_count_on_the_day_that_they_are_in(service: Service) {
        // Half-open: the first instant belongs to the day, the next day's first does not.
        let id = facility(&service, "North", "Asia/Kathmandu").await;
        let day = date_in("Asia/Kathmandu", -3);
        let start_ms = day.in_tz("Asia/Kathmandu").unwrap().timestamp().as_millisecond();
        let events: Vec<Value> = [start_ms - 1, start_ms, start_ms + 12 * HOUR_MS, start_ms + DAY_MS - 1, start_ms + DAY_MS]
            .into_iter().enumerate().map(|(i, ms)| distribution(Uuid::new_v4(), id, 10i64.pow(i as u32), ms)).collect();
        post(&service, &events).await;
        assert_eq!(summary(&service, id, day).await["total_transferred"], 1_110);
    }
}
