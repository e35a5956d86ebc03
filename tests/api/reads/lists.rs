//! The lists: of facilities, of the days of one facility, and of all facilities on a day.

use serde_json::{Value, json};
use uuid::Uuid;

use super::column;
use crate::{
    on_both_stores,
    steps::{
        DAY_MS, bank, date_in, distribution, facility, get, inventory, noon_zone, now_ms, path,
        post,
    },
    support::problem::problem,
};

fn numbers(page: &Value, name: &str) -> Vec<i64> {
    page["items"].as_array().unwrap().iter().map(|item| item[name].as_i64().unwrap()).collect()
}

on_both_stores! {
    async fn facilities_are_listed_by_name_and_page_by_page(service: Service) {
        assert_eq!(
            get(&service, "/v1/facilities").await,
            json!({"items": [], "next_cursor": null})
        );
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

    async fn facilities_are_found_by_a_part_of_their_name_in_any_case(service: Service) {
        for name in ["Szpital ŁÓDŹ", "North", "South", "ΑΓΙΟΣ", "Große Straße", "İzmir"] {
            facility(&service, name, "UTC").await;
        }
        for (query, want) in [
            ("q=άγιος", vec![]),
            ("q=αγιος", vec!["ΑΓΙΟΣ"]),
            ("q=STRASSE", vec!["Große Straße"]),
            ("q=straße", vec!["Große Straße"]),
            ("q=izmir", vec!["İzmir"]),
            ("q=İZMİR", vec!["İzmir"]),
            ("q=łódź", vec!["Szpital ŁÓDŹ"]),
            ("q=OUT", vec!["South"]),
            ("q=th", vec!["North", "South"]),
            ("q=zzz", vec![]),
        ] {
            assert_eq!(
                column(&get(&service, &format!("/v1/facilities?{query}")).await, "name"),
                want,
                "{query}"
            );
            let day = get(&service, &format!("/v1/summaries/today?{query}")).await;
            assert_eq!(day["totals"]["facilities"], want.len(), "{query}");
        }
        let first = get(&service, "/v1/facilities?q=th&limit=1").await;
        let second = get(
            &service,
            &format!(
                "/v1/facilities?q=th&limit=1&cursor={}",
                first["next_cursor"].as_str().unwrap()
            ),
        )
        .await;
        assert_eq!(
            (column(&second, "name"), &second["next_cursor"]),
            (vec!["South"], &Value::Null)
        );
    }

    async fn a_range_includes_both_ends_and_is_newest_first(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        let day = |days| date_in(&zone, days).to_string();
        let range = async |query: &str| {
            get(&service, &format!("/v1/facilities/{id}/summaries{query}")).await
        };
        post(&service, &[distribution(Uuid::new_v4(), id, 6, now_ms() - 2 * DAY_MS)]).await;

        let week = range("").await;
        assert_eq!(column(&week, "date"), (-6..=0).rev().map(day).collect::<Vec<_>>());
        assert_eq!(
            (numbers(&week, "total_transferred"), &week["next_cursor"]),
            (vec![0, 0, 6, 0, 0, 0, 0], &Value::Null)
        );
        assert_eq!(
            week["items"][2],
            get(&service, &path(id, day(-2))).await,
            "a day has the same body in a range and alone"
        );
        assert_eq!(week["items"][3]["version"], 0);
        assert_eq!(
            column(&range(&format!("?from={}&to={}", day(-3), day(-2))).await, "date"),
            [day(-2), day(-3)]
        );
        assert_eq!(column(&range(&format!("?from={}", day(-1))).await, "date"), [day(0), day(-1)]);
        assert_eq!(
            column(&range(&format!("?from={}&to={}", day(-1), day(9))).await, "date"),
            [day(0), day(-1)],
            "the range ends with today"
        );
        assert_eq!(
            column(&range(&format!("?to={}", day(-10))).await, "date"),
            (-16..=-10).rev().map(day).collect::<Vec<_>>()
        );

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
        assert_eq!(
            range(&format!("?from={}", day(-399))).await["items"].as_array().unwrap().len(),
            400
        );
        for query in [
            format!("?from={}", day(-400)),
            format!("?from={}&to={}", day(-1), day(-2)),
            "?limit=0".into(),
            "?limit=401".into(),
        ] {
            problem(service.get(&format!("/v1/facilities/{id}/summaries{query}")).await, 400).await;
        }
    }

    async fn all_facilities_of_a_day_come_with_their_totals_in_the_order_asked_for(
        service: Service,
    ) {
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
            ("", [7, 5, 6]),
            ("?sort=name", [7, 5, 6]),
            ("?sort=-name", [6, 5, 7]),
            ("?sort=total_stock", [5, 6, 7]),
            ("?sort=-total_stock", [7, 6, 5]),
            ("?sort=total_transferred", [5, 6, 7]),
            ("?sort=-total_transferred", [7, 6, 5]),
        ] {
            let listing = get(&service, &format!("/v1/summaries/today{sort}")).await;
            assert_eq!(numbers(&listing, "total_stock"), want, "{sort}");
            let totals = &listing["totals"];
            assert_eq!(
                (&totals["total_stock"], &totals["total_transferred"], &totals["total_requests"]),
                (&json!(18), &json!(6), &json!(0))
            );
        }
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page =
                get(&service, &format!("/v1/summaries/today?sort=-total_stock&limit=1{cursor}"))
                    .await;
            assert_eq!(page["totals"]["total_stock"], 18, "the totals cover all pages");
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

    async fn facilities_are_found_however_their_accents_are_composed(service: Service) {
        let [north, south, east] =
            ["H\u{f4}pital Nord", "Ho\u{302}pital Sud", "H\u{f4}pi\u{ad}tal  Est"];
        for name in [north, south, east, "Hopital Ouest"] {
            facility(&service, name, "UTC").await;
        }
        for query in ["q=h%C3%B4pital", "q=HO%CC%82PITAL", "q=h%C3%B4pi%C2%ADtal%20"] {
            let found = get(&service, &format!("/v1/facilities?{query}")).await;
            assert_eq!(column(&found, "name"), [south, north, east], "{query}");
        }
    }

    async fn today_of_all_facilities_is_the_date_in_each_ones_zone(service: Service) {
        let zones = ["Pacific/Kiritimati", "Pacific/Pago_Pago"];
        for zone in zones {
            facility(&service, zone, zone).await;
        }
        // The zones are 25 hours apart, and never on the same date.
        let listing = get(&service, "/v1/summaries/today").await;
        assert_eq!(column(&listing, "date"), zones.map(|zone| date_in(zone, 0).to_string()));
        let ahead = get(&service, &format!("/v1/summaries/{}", date_in(zones[0], 0))).await;
        assert_eq!(
            ahead["items"].as_array().unwrap().len(),
            1,
            "only the facility where that day has begun is listed: {ahead}"
        );
        let both = get(&service, &format!("/v1/summaries/{}", date_in(zones[1], 0))).await;
        assert_eq!(both["items"].as_array().unwrap().len(), 2);
        assert_eq!(both["items"][0]["total_stock"], Value::Null);
    }
}
