//! The writes: events in their three forms, registrations, refreshes and rebuilds.

use jiff::civil::Date;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{
        DAY_MS, HOUR_MS, Plain, at, bank, batch, date_in, distribution, facility, get, header,
        instant, inventory, noon_zone, now_ms, path, post, request, summary, version_of,
    },
    support::{Service, events::event, problem::problem, wait_until},
};

/// One of each type, in an order in which each finds what it needs.
fn nine(facility: Uuid, bank: Uuid) -> Vec<Value> {
    let (unit, sent, asked) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    let start_ms = now_ms() - 1_000;
    let events = vec![
        event(
            "facility.registered",
            json!({"facility_id": facility, "name": "North", "timezone": noon_zone()}),
        ),
        event(
            "blood_bank.registered",
            json!({"blood_bank_id": bank, "facility_id": facility, "name": "Ward"}),
        ),
        inventory(unit, bank, "O+", 5),
        distribution(sent, facility, 6, now_ms()),
        request(asked, facility, now_ms()),
        event("summary.touched", json!({"facility_id": facility})),
        event("inventory.removed", json!({"inventory_id": unit})),
        event("distribution.removed", json!({"distribution_id": sent})),
        event("request.removed", json!({"request_id": asked})),
    ];
    events.into_iter().enumerate().map(|(i, event)| at(event, start_ms + i as i64)).collect()
}

async fn structured(service: &Service, event: &Value) -> Response {
    service
        .request(Method::POST, "/v1/events")
        .header("content-type", "application/cloudevents+json")
        .body(event.to_string())
        .send()
        .await
        .unwrap()
}

async fn binary(service: &Service, event: &Value) -> Response {
    let mut request = service
        .request(Method::POST, "/v1/events")
        .header("content-type", "application/json")
        .body(event["data"].to_string());
    for attribute in ["specversion", "id", "source", "type", "time"] {
        request = request.header(format!("ce-{attribute}"), event[attribute].as_str().unwrap());
    }
    request.send().await.unwrap()
}

/// Stock, deliveries and requests of the facility's today.
async fn figures(service: &Service, facility: Uuid) -> (i64, i64, i64) {
    let today = summary(service, facility, "today").await;
    let number = |name: &str| today[name].as_i64().unwrap();
    (number("total_stock"), number("total_transferred"), number("total_requests"))
}

fn pointers(problem: &Value) -> Vec<&str> {
    problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["pointer"].as_str().unwrap())
        .collect()
}

on_both_stores! {
    async fn every_type_is_taken_in_each_of_the_three_forms(service: Service) {
        for form in 0..4 {
            let (id, bank) = (Uuid::new_v4(), Uuid::new_v4());
            let expected = [
                (0, 0, 0),
                (0, 0, 0),
                (5, 0, 0),
                (5, 6, 0),
                (5, 6, 1),
                (5, 6, 1),
                (0, 6, 1),
                (0, 0, 1),
                (0, 0, 0),
            ];
            for (event, want) in nine(id, bank).iter().zip(expected) {
                let response = match form {
                    0 => structured(&service, event).await,
                    1 => service.post("/v1/events", event).await,
                    2 => binary(&service, event).await,
                    _ => batch(&service, std::slice::from_ref(event)).send().await.unwrap(),
                };
                let (status, text) = (response.status(), response.text().await.unwrap());
                assert_eq!(status, 200, "form {form}: {event}: {text}");
                let applied: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(
                    (&applied["applied"], &applied["superseded"]),
                    (&json!(1), &json!(0)),
                    "form {form}: {event}"
                );
                let today = summary(&service, id, "today").await;
                let named = json!([
                    {"facility_id": id, "date": today["date"], "version": today["version"]}
                ]);
                assert_eq!(applied["summaries"], named, "form {form}: {event}");
                assert_eq!(figures(&service, id).await, want, "form {form}: {event}");
            }
        }
    }

    async fn a_batch_applies_its_registrations_first(service: Service) {
        let (id, bank) = (Uuid::new_v4(), Uuid::new_v4());
        let mut events = nine(id, bank);
        events.truncate(6);
        events.reverse();
        let applied = post(&service, &events).await;
        assert_eq!(
            (&applied["applied"], &applied["summaries"].as_array().unwrap().len()),
            (&json!(6), &1)
        );
        assert_eq!(figures(&service, id).await, (5, 6, 1));
    }

    async fn a_faulty_batch_leaves_nothing_and_every_fault_is_named(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        let bank = bank(&service, id).await;
        let before = summary(&service, id, "today").await;
        let nobody = Uuid::new_v4();
        let new_facility = Uuid::new_v4();
        let unknown = [
            inventory(Uuid::new_v4(), bank, "O+", 5),
            inventory(Uuid::new_v4(), nobody, "O+", 5),
            event(
                "facility.registered",
                json!({"facility_id": new_facility, "name": "New", "timezone": "UTC"}),
            ),
            distribution(Uuid::new_v4(), nobody, 5, now_ms()),
            request(Uuid::new_v4(), nobody, now_ms()),
            event("summary.touched", json!({"facility_id": nobody})),
            event(
                "blood_bank.registered",
                json!({"blood_bank_id": Uuid::new_v4(), "facility_id": nobody, "name": "B"}),
            ),
        ];
        let body = problem(batch(&service, &unknown).send().await.unwrap(), 422).await;
        let want = [
            "/1/data/blood_bank_id",
            "/3/data/dispatched_to_id",
            "/4/data/facility_id",
            "/5/data/facility_id",
            "/6/data/facility_id",
        ];
        assert_eq!(pointers(&body), want);
        problem(service.get(&format!("/v1/facilities/{new_facility}")).await, 404).await;

        let mut faulty = [
            inventory(Uuid::new_v4(), bank, "O+", 5),
            inventory(Uuid::new_v4(), bank, "O+", -1),
            inventory(Uuid::new_v4(), bank, "C+", 5),
            inventory(Uuid::new_v4(), bank, "O+", i64::MAX),
            distribution(Uuid::new_v4(), id, 0, now_ms()),
            inventory(Uuid::new_v4(), bank, "O+", 1),
            at(inventory(Uuid::new_v4(), bank, "O+", 5), now_ms() + HOUR_MS),
            at(inventory(Uuid::new_v4(), bank, "O+", 5), now_ms() - 91 * DAY_MS),
            event("inventory.sold", json!({})),
            event(
                "facility.registered",
                json!({"facility_id": id, "name": "N", "timezone": "Mars/Olympus"}),
            ),
        ];
        faulty[5]["data"]["colour"] = json!("red");
        let body = problem(batch(&service, &faulty).send().await.unwrap(), 422).await;
        assert_eq!(
            pointers(&body),
            [
                "/1/data/quantity",
                "/2/data/blood_type",
                "/3/data/quantity",
                "/4/data/quantity",
                "/5/data/colour",
                "/6/time",
                "/7/time",
                "/8/type",
                "/9/data/timezone",
            ]
        );
        let single = problem(structured(&service, &unknown[1]).await, 422).await;
        assert_eq!(pointers(&single), ["/data/blood_bank_id"]);
        let in_binary = problem(binary(&service, &unknown[1]).await, 422).await;
        assert_eq!(pointers(&in_binary), ["/blood_bank_id"]);
        assert_eq!(summary(&service, id, "today").await, before, "nothing was applied");
        assert_eq!(
            Plain::beside(&service).await.number("SELECT count(*) FROM blood_inventory").await,
            0
        );
    }

    async fn the_newest_statement_wins_whenever_it_comes(service: Service) {
        let id = facility(&service, "North", &noon_zone()).await;
        let bank = bank(&service, id).await;
        let (unit, now) = (Uuid::new_v4(), now_ms());
        let said = |quantity, ago| at(inventory(unit, bank, "O+", quantity), now - ago);
        let gone = |ago| at(event("inventory.removed", json!({"inventory_id": unit})), now - ago);
        for (event, outcome, stock) in [
            (said(5, 9_000), 1, 5),
            (said(7, 7_000), 1, 7),
            (said(6, 8_000), 0, 7),
            (said(7, 7_000), 0, 7), // the same again
            // equal times: the greater canonical data
            (said(3, 7_000), 0, 7),
            (said(8, 7_000), 1, 8),
            (gone(7_000), 1, 0), // equal times: a removal
            (said(9, 7_000), 0, 0),
            (said(9, 7_500), 0, 0), // late, after the removal
            (gone(7_000), 0, 0),
            (gone(8_000), 0, 0),
            (said(4, 6_000), 1, 4),
            (gone(6_500), 0, 4),
        ] {
            let applied = post(&service, std::slice::from_ref(&event)).await;
            assert_eq!(
                (&applied["applied"], &applied["superseded"]),
                (&json!(outcome), &json!(1 - outcome)),
                "{event}"
            );
            assert_eq!(figures(&service, id).await.0, stock, "{event}");
        }
    }

    async fn a_removal_that_comes_first_keeps_the_late_statement_out(service: Service) {
        let id = facility(&service, "North", &noon_zone()).await;
        let bank = bank(&service, id).await;
        let (unit, sent, asked, now) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4(), now_ms());
        post(
            &service,
            &[
                event("inventory.removed", json!({"inventory_id": unit})),
                event("distribution.removed", json!({"distribution_id": sent})),
                event("request.removed", json!({"request_id": asked})),
            ],
        )
        .await;
        let late = [
            inventory(unit, bank, "O+", 5),
            distribution(sent, id, 5, now),
            request(asked, id, now),
        ]
        .map(|event| at(event, now - 60_000));
        let applied = post(&service, &late).await;
        assert_eq!(applied["superseded"], 3);
        assert_eq!(figures(&service, id).await, (0, 0, 0));
    }

    async fn versions_rise_through_changes_of_zone_and_back(service: Service) {
        let id = facility(&service, "Wanderer", "Pacific/Kiritimati").await;
        let version_now =
            async || summary(&service, id, "today").await["version"].as_i64().unwrap();
        let mut last = version_now().await;
        for zone in ["Pacific/Honolulu", "Pacific/Kiritimati", "Pacific/Honolulu"] {
            let moved = service
                .put(
                    &format!("/v1/facilities/{id}"),
                    &json!({"name": "Wanderer", "timezone": zone}),
                )
                .await;
            assert_eq!(moved.status(), 200, "{zone}");
            let version = version_now().await;
            assert!(version > last, "{zone}: {version} after {last}");
            last = version;
        }
        let renamed = service
            .put(
                &format!("/v1/facilities/{id}"),
                &json!({"name": "Settled", "timezone": "Pacific/Honolulu"}),
            )
            .await;
        assert_eq!(renamed.status(), 200);
        assert_eq!(version_now().await, last, "a name is no figure");
    }

    async fn a_repeated_removal_names_the_day_again(service: Service) {
        let (id, bank) = (Uuid::new_v4(), Uuid::new_v4());
        let events = nine(id, bank);
        post(&service, &events[..6]).await;
        for removal in &events[6..] {
            let first = post(&service, std::slice::from_ref(removal)).await;
            let again = post(&service, std::slice::from_ref(removal)).await;
            assert_eq!(
                (&first["applied"], &again["superseded"]),
                (&json!(1), &json!(1)),
                "{removal}"
            );
            assert_eq!(first["summaries"].as_array().map(Vec::len), Some(1), "{first}");
            assert_eq!(first["summaries"], again["summaries"], "{removal}");
        }
    }

    async fn superseded_events_name_their_days_too(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        let (sent, now) = (Uuid::new_v4(), now_ms());
        let (first, moved) = (
            at(distribution(sent, id, 5, now - DAY_MS), now - 9_000),
            at(distribution(sent, id, 5, now - 2 * DAY_MS), now - 8_000),
        );
        let yesterday =
            version_of(&post(&service, std::slice::from_ref(&first)).await, id, date_in(&zone, -1));
        let applied = post(&service, &[moved]).await;
        assert!(version_of(&applied, id, date_in(&zone, -1)) > yesterday, "the day that it left");
        let before = version_of(&applied, id, date_in(&zone, -2));
        let again = post(&service, &[first]).await;
        assert_eq!(again["superseded"], 1);
        assert_eq!(
            version_of(&again, id, date_in(&zone, -2)),
            before,
            "a retry learns the version that stands"
        );
        assert_eq!(
            version_of(&again, id, date_in(&zone, -1)),
            version_of(&applied, id, date_in(&zone, -1))
        );
        assert_eq!(summary(&service, id, date_in(&zone, -1)).await["total_transferred"], 0);
        assert_eq!(summary(&service, id, date_in(&zone, -2)).await["total_transferred"], 5);
    }

    async fn an_undelivered_then_delivered_then_returned_distribution_counts_only_while_delivered(
        service: Service,
    ) {
        let id = facility(&service, "North", &noon_zone()).await;
        let (sent, now) = (Uuid::new_v4(), now_ms());
        let mut pending = at(distribution(sent, id, 5, now), now - 5_000);
        pending["data"]["date_delivered"] = Value::Null;
        post(&service, std::slice::from_ref(&pending)).await;
        assert_eq!(figures(&service, id).await.1, 0);
        post(&service, &[at(distribution(sent, id, 5, now), now - 4_000)]).await;
        assert_eq!(figures(&service, id).await.1, 5);
        let returned = at(pending, now - 3_000);
        post(&service, &[returned]).await;
        assert_eq!(figures(&service, id).await.1, 0);
    }

    async fn figures_move_with_a_facility_and_with_a_bank(service: Service) {
        let zone = noon_zone();
        let (north, south) =
            (facility(&service, "North", &zone).await, facility(&service, "South", &zone).await);
        let bank = bank(&service, north).await;
        let sent = Uuid::new_v4();
        post(
            &service,
            &[inventory(Uuid::new_v4(), bank, "O+", 5), distribution(sent, north, 6, now_ms())],
        )
        .await;
        let response = service
            .put(&format!("/v1/blood-banks/{bank}"), &json!({"facility_id": south, "name": "Ward"}))
            .await;
        let moved: Value = response.json().await.unwrap();
        let today = date_in(&zone, 0);
        for (id, want) in [(north, (0, 6, 0)), (south, (5, 0, 0))] {
            version_of(&moved, id, today);
            assert_eq!(figures(&service, id).await, want);
        }
        let sent_on = post(&service, &[distribution(sent, south, 6, now_ms())]).await;
        assert_eq!(sent_on["summaries"].as_array().unwrap().len(), 2);
        assert_eq!(
            (figures(&service, north).await, figures(&service, south).await),
            ((0, 0, 0), (5, 6, 0))
        );
    }

    async fn a_change_of_zone_moves_what_is_now_on_another_day(service: Service) {
        let id = facility(&service, "North", "UTC").await;
        let day: Date = date_in("UTC", -5);
        let start_ms = day.in_tz("UTC").unwrap().timestamp().as_millisecond();
        // 22:30 UTC is the next day in Kathmandu (+05:45), 10:00 is the same.
        post(
            &service,
            &[
                distribution(Uuid::new_v4(), id, 1, start_ms + 22 * HOUR_MS + HOUR_MS / 2),
                distribution(Uuid::new_v4(), id, 10, start_ms + 10 * HOUR_MS),
            ],
        )
        .await;
        let next = day.tomorrow().unwrap();
        let delivered = async |date: Date| {
            summary(&service, id, date).await["total_transferred"].as_i64().unwrap()
        };
        assert_eq!((delivered(day).await, delivered(next).await), (11, 0));
        let response = service
            .put(
                &format!("/v1/facilities/{id}"),
                &json!({"name": "North", "timezone": "Asia/Kathmandu"}),
            )
            .await;
        let applied: Value = response.json().await.unwrap();
        for (date, want) in [(day, 10), (next, 1)] {
            let version = version_of(&applied, id, date);
            let shown = get(&service, &format!("{}?min_version={version}", path(id, date))).await;
            assert_eq!(
                (&shown["total_transferred"], &shown["version"]),
                (&json!(want), &json!(version)),
                "{date}"
            );
        }
        assert_eq!(
            get(&service, &format!("/v1/facilities/{id}")).await["timezone"],
            "Asia/Kathmandu"
        );
    }

    async fn registrations_by_put_are_created_changed_and_checked(service: Service) {
        let id = Uuid::new_v4();
        let path = format!("/v1/facilities/{id}");
        let created: Value = service
            .put(&path, &json!({"name": "North", "timezone": "UTC"}))
            .await
            .json()
            .await
            .unwrap();
        assert_eq!(
            (&created["applied"], created["summaries"].as_array().unwrap().len()),
            (&json!(1), 1)
        );
        service.put(&path, &json!({"name": "South", "timezone": "UTC"})).await;
        assert_eq!(get(&service, &path).await["name"], "South");
        let nobody = Uuid::new_v4();
        for (path, body, pointer) in [
            (&path, json!({"name": "", "timezone": "UTC"}), "/name"),
            (&path, json!({"name": "N", "timezone": "Mars"}), "/timezone"),
            (&path, json!({"name": "N"}), "/timezone"),
            (&path, json!({"name": "N", "timezone": "UTC", "colour": 1}), "/colour"),
            (
                &format!("/v1/blood-banks/{nobody}"),
                json!({"name": "N", "facility_id": nobody}),
                "/facility_id",
            ),
        ] {
            let body = problem(service.put(path, &body).await, 422).await;
            assert_eq!(pointers(&body), [pointer]);
        }
        let text = service
            .request(Method::PUT, &path)
            .header("content-type", "text/plain")
            .body("{}")
            .send()
            .await
            .unwrap();
        problem(text, 415).await;
    }

    async fn a_refresh_answers_the_day_as_its_sources_have_it(service: Service) {
        let zone = noon_zone();
        let id = facility(&service, "North", &zone).await;
        post(
            &service,
            &[
                distribution(Uuid::new_v4(), id, 5, now_ms() - DAY_MS),
                distribution(Uuid::new_v4(), id, 6, now_ms()),
            ],
        )
        .await;
        let mut plain = Plain::beside(&service).await;
        plain.run("UPDATE blood_distributions SET quantity = quantity * 10").await;
        for (query, want) in [
            (String::new(), 60),
            (format!("?date={}", date_in(&zone, -1)), 50),
            (format!("?date={}", date_in(&zone, -9)), 0),
        ] {
            let response = service
                .request(Method::POST, &format!("/v1/facilities/{id}/refresh{query}"))
                .send()
                .await
                .unwrap();
            assert_eq!((response.status().as_u16(), header(&response, "age").as_str()), (200, "0"));
            assert_eq!(response.json::<Value>().await.unwrap()["total_transferred"], want);
        }
        for (path, status) in [
            (format!("/v1/facilities/{id}/refresh?date={}", date_in(&zone, 2)), 404),
            (format!("/v1/facilities/{}/refresh", Uuid::new_v4()), 404),
            (format!("/v1/facilities/{id}/refresh?date=x"), 400),
        ] {
            problem(service.request(Method::POST, &path).send().await.unwrap(), status).await;
        }
    }

    async fn a_rebuild_repairs_what_no_hook_saw_and_shows_its_progress(service: Service) {
        let zone = noon_zone();
        let mut ids = Vec::new();
        for i in 0..5 {
            ids.push(facility(&service, &format!("F{i}"), &zone).await);
            post(
                &service,
                &[
                    distribution(Uuid::new_v4(), ids[i], 5, now_ms() - 3 * DAY_MS),
                    distribution(Uuid::new_v4(), ids[i], 6, now_ms()),
                ],
            )
            .await;
        }
        let mut plain = Plain::beside(&service).await;
        let (day, id) = (date_in(&zone, -3), plain.id(ids[2]));
        plain
            .run(&format!(
                "UPDATE dashboard_daily_summary SET total_transferred = 77
                 WHERE facility_id = {id} AND date = '{day}'"
            ))
            .await;
        let response = service.request(Method::POST, "/v1/rebuild").send().await.unwrap();
        assert_eq!(response.status(), 202);
        let location = header(&response, "location");
        assert!(location.starts_with("/v1/runs/"), "{location}");
        wait_until("the rebuild is done", async || {
            get(&service, &location).await["state"] == "done"
        })
        .await;
        let run = get(&service, &location).await;
        let member = |name: &str| run[name].as_i64().unwrap();
        assert_eq!(
            (member("facilities"), member("done"), member("changed"), member("drift")),
            (5, 5, 1, 1),
            "{run}"
        );
        assert!(run["error"].is_null() && run["finished_at"].is_string(), "{run}");
        let repaired = get(&service, &path(ids[2], day)).await;
        assert_eq!(repaired["total_transferred"], 5);

        let again = service.request(Method::POST, "/v1/rebuild").send().await.unwrap();
        let location = header(&again, "location");
        wait_until("the second rebuild is done", async || {
            get(&service, &location).await["state"] == "done"
        })
        .await;
        let second = get(&service, &location).await;
        assert_eq!(
            (&second["changed"], &second["drift"]),
            (&json!(0), &json!(0)),
            "an unchanged rebuild writes nothing: {second}"
        );
    }

    async fn times_are_required_and_kept_to_the_millisecond(service: Service) {
        let id = facility(&service, "North", &noon_zone()).await;
        let bank = bank(&service, id).await;
        let unit = Uuid::new_v4();
        let mut first = inventory(unit, bank, "O+", 9);
        let second_ms = now_ms() / 1000 * 1000 - 5_000;
        let prefix = instant(second_ms);
        first["time"] = json!(prefix.replace(".000Z", ".1239Z"));
        post(&service, &[first]).await;
        let mut same = inventory(unit, bank, "O+", 1);
        same["time"] = json!(prefix.replace(".000Z", ".123Z"));
        assert_eq!(
            post(&service, &[same]).await["superseded"],
            1,
            "the same millisecond, lesser data"
        );
        let mut untimed = inventory(unit, bank, "O+", 1);
        untimed.as_object_mut().unwrap().remove("time");
        assert_eq!(
            pointers(&problem(batch(&service, &[untimed]).send().await.unwrap(), 422).await),
            ["/0/time"]
        );
        let (near, far) = (
            at(inventory(unit, bank, "O+", 2), now_ms() + 240_000),
            at(inventory(unit, bank, "O+", 3), now_ms() + 320_000),
        );
        assert_eq!(post(&service, &[near]).await["applied"], 1, "clocks differ by some minutes");
        problem(batch(&service, &[far]).send().await.unwrap(), 422).await;
    }

    async fn what_is_no_event_is_refused_with_the_reason(service: Service) {
        let send = async |kind: &str, body: Vec<u8>| {
            service
                .request(Method::POST, "/v1/events")
                .header("content-type", kind)
                .body(body)
                .send()
                .await
                .unwrap()
        };
        let (one, many) = ("application/cloudevents+json", "application/cloudevents-batch+json");
        for (kind, body, status) in [
            (one, "{", 400),
            (one, "", 400),
            (many, "[", 400),
            (one, "[]", 422),
            (many, "{}", 422),
            (many, "[]", 422),
            (many, "[1]", 422),
            (one, "{}", 422),
            ("text/plain", "{}", 415),
            ("application/xml", "<a/>", 415),
            ("application/cloudevents+json; charset=utf-16", "{}", 415),
        ] {
            problem(send(kind, body.into()).await, status).await;
        }
        problem(send(one, b"{\"id\": \"\xff\"}".to_vec()).await, 400).await;
        problem(send(many, vec![b' '; (1 << 20) + 1]).await, 413).await;
        assert_eq!(
            send(many, vec![b' '; 1 << 20]).await.status(),
            400,
            "as large as may be, but no JSON"
        );
        problem(service.get("/v1/events").await, 405).await;
    }
}
