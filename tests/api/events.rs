//! The writes: events in their three forms, and registrations.

mod lanes;
mod moves;
mod order;
mod recompute;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    on_both_stores,
    steps::{
        DAY_MS, HOUR_MS, Plain, at, bank, batch, distribution, facility, get, instant, inventory,
        noon_zone, now_ms, post, request, summary,
    },
    support::{Service, events::event, problem::problem},
};

/// One event of each type, in an order in which each event finds what it refers to.
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

/// A batch that registers `new_facility`. All events after the first, except this registration,
/// refer to ids that are not registered.
fn unknown_references(bank: Uuid, nobody: Uuid, new_facility: Uuid) -> [Value; 7] {
    [
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
    ]
}

/// A batch in which each event but the first is wrong in one field.
fn faulty_in_one_field(id: Uuid, bank: Uuid) -> [Value; 10] {
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
    faulty
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
        let unknown = unknown_references(bank, nobody, new_facility);
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

        let faulty = faulty_in_one_field(id, bank);
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
            "at equal times the greater data wins"
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
        assert_eq!(
            post(&service, &[near]).await["applied"],
            1,
            "a time some minutes ahead is accepted, as clocks differ"
        );
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
            "the body has the greatest size, but is not JSON"
        );
        problem(service.get("/v1/events").await, 405).await;
    }
}
