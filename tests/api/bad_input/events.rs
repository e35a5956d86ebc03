//! `POST /v1/events`, and the registrations by `PUT`.

use reqwest::{Method, Response, header::CONTENT_TYPE};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{World, says};
use crate::{
    on_both_stores,
    support::{Service, events::event},
};

async fn post_as(
    service: &Service,
    content_type: &str,
    body: impl Into<reqwest::Body>,
) -> Response {
    let request =
        service.request(Method::POST, "/v1/events").header(CONTENT_TYPE, content_type).body(body);
    request.send().await.expect("the service answers")
}

async fn post_batch(service: &Service, events: &Value) -> Response {
    post_as(service, "application/cloudevents-batch+json", events.to_string()).await
}

/// The event with one member set, or removed where the value is null.
fn with(mut event: Value, pointer: &str, value: impl Into<Value>) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = event.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    match value.into() {
        Value::Null => drop(parent.remove(name)),
        value => drop(parent.insert(name.to_owned(), value)),
    }
    event
}

fn time_in(minutes: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes)).to_string()
}

/// Bad events: where the fault is, and what is said of it.
fn faulty(world: &World) -> Vec<(Value, &'static str, &'static str)> {
    let good = || world.stock(5);
    let data = |kind: &str, data: Value| event(kind, data);
    let unknown = Uuid::new_v4();
    let id = Uuid::new_v4();
    let facility = world.facility;
    vec![
        (
            with(good(), "/type", "inventory.added"),
            "/type",
            "expected one of facility.registered, blood_bank.registered, inventory.set",
        ),
        (with(good(), "/type", Value::Null), "/type", "is missing; expected one of"),
        (
            with(good(), "/time", Value::Null),
            "/time",
            "is missing; expected an RFC 3339 date and time",
        ),
        (
            with(good(), "/time", "yesterday"),
            "/time",
            "expected an RFC 3339 date and time with its offset",
        ),
        (with(good(), "/time", "2026-11-21T10:00:00"), "/time", "with its offset such as"),
        (with(good(), "/time", time_in(6)), "/time", "at most 300 s ahead of the service's clock"),
        (with(good(), "/time", time_in(-91 * 24 * 60)), "/time", "at most 90 days ago"),
        (with(good(), "/specversion", "0.3"), "/specversion", "expected \"1.0\", got \"0.3\""),
        (with(good(), "/id", Value::Null), "/id", "is missing"),
        (with(good(), "/source", ""), "/source", "a text that is not empty"),
        (
            with(good(), "/data", Value::Null),
            "/data",
            "is missing; expected the fields of the event",
        ),
        (with(good(), "/data", json!([1])), "/data", "as a JSON object, got a list"),
        (
            with(good(), "/data/units", 5),
            "/data/units",
            "the known ones are inventory_id, blood_bank_id",
        ),
        (world.stock(-1), "/data/quantity", "a whole number from 0 to 2147483647, got -1"),
        (world.stock(2_147_483_648_i64), "/data/quantity", "from 0 to 2147483647, got 2147483648"),
        (world.stock(u64::MAX), "/data/quantity", "from 0 to 2147483647"),
        (world.stock(1e300), "/data/quantity", "from 0 to 2147483647"),
        (world.stock(1.5), "/data/quantity", "a whole number from 0 to 2147483647, got 1.5"),
        (world.stock("5"), "/data/quantity", "a whole number from 0 to 2147483647, got \"5\""),
        (
            with(good(), "/data/quantity", Value::Null),
            "/data/quantity",
            "is missing; expected a whole number",
        ),
        (
            with(good(), "/data/blood_type", "0 Rh+"),
            "/data/blood_type",
            "expected \"O+\" in exactly that spelling",
        ),
        (with(good(), "/data/blood_type", "C"), "/data/blood_type", "expected one of "),
        (with(good(), "/data/expires_at", "soon"), "/data/expires_at", "RFC 3339"),
        (
            with(good(), "/data/inventory_id", Uuid::nil().to_string()),
            "/data/inventory_id",
            "not the nil one",
        ),
        (
            with(good(), "/data/blood_bank_id", unknown.to_string()),
            "/data/blood_bank_id",
            "is not registered; send blood_bank.registered before",
        ),
        (
            data(
                "distribution.set",
                json!({"distribution_id": id, "dispatched_to_id": facility, "quantity": 0}),
            ),
            "/data/quantity",
            "from 1 to",
        ),
        (
            data(
                "distribution.set",
                json!({"distribution_id": id, "dispatched_to_id": unknown, "quantity": 1}),
            ),
            "/data/dispatched_to_id",
            "is not registered",
        ),
        (
            data(
                "request.set",
                json!({"request_id": id, "facility_id": unknown, "created_at": time_in(0)}),
            ),
            "/data/facility_id",
            "is not registered",
        ),
        (
            data("request.set", json!({"request_id": id, "facility_id": facility})),
            "/data/created_at",
            "is missing",
        ),
        (
            data("summary.touched", json!({"facility_id": unknown})),
            "/data/facility_id",
            "is not registered",
        ),
        (
            data(
                "blood_bank.registered",
                json!({"blood_bank_id": id, "facility_id": unknown, "name": "W"}),
            ),
            "/data/facility_id",
            "is not registered",
        ),
        (
            data(
                "facility.registered",
                json!({"facility_id": id, "name": "M", "timezone": "Mars/Olympus"}),
            ),
            "/data/timezone",
            "the name of an IANA time zone",
        ),
        (
            data("facility.registered", json!({"facility_id": id, "name": " ", "timezone": "UTC"})),
            "/data/name",
            "a text of 1 to 500 characters",
        ),
    ]
}

on_both_stores! {
    async fn a_faulty_event_is_422_at_the_field_in_fault_and_changes_nothing(service: Service) {
        let world = World::new(&service).await;
        for (event, pointer, words) in faulty(&world) {
            let body = says(service.post("/v1/events", &event).await, 422, &[words]).await;
            assert_eq!(body["errors"][0]["pointer"], pointer, "{event}: {body}");
        }
        world.assert_unchanged(&service).await;
    }

    async fn one_bad_event_refuses_its_whole_batch_and_is_named_by_index(service: Service) {
        let world = World::new(&service).await;
        for (event, pointer, words) in faulty(&world) {
            let batch = json!([world.stock(7), event, world.stock(8)]);
            let body = says(post_batch(&service, &batch).await, 422, &[words]).await;
            assert_eq!(body["errors"].as_array().map(Vec::len), Some(1), "{event}: {body}");
            assert_eq!(body["errors"][0]["pointer"], format!("/1{pointer}"), "{event}");
        }
        world.assert_unchanged(&service).await;
    }

    async fn every_bad_event_of_a_batch_is_named(service: Service) {
        let world = World::new(&service).await;
        let batch =
            json!([world.stock(-1), world.stock(7), with(world.stock(1), "/time", Value::Null), 5]);
        let body = says(post_batch(&service, &batch).await, 422, &["3 faults"]).await;
        let pointers: Vec<&str> = body["errors"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|e| e["pointer"].as_str())
            .collect();
        assert_eq!(pointers, ["/0/data/quantity", "/2/time", "/3"]);
        world.assert_unchanged(&service).await;
    }

    async fn the_limits_themselves_are_allowed(service: Service) {
        let world = World::new(&service).await;
        for event in [world.stock(0), with(world.stock(i32::MAX), "/time", time_in(4))] {
            assert_eq!(service.post("/v1/events", &event).await.status(), 200, "{event}");
        }
        assert!(world.summary(&service).await.contains("\"total_stock\":2147483647"));
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_400() {
    let service = Service::on_sqlite().start().await;
    let world = World::new(&service).await;
    let good = world.stock(5).to_string();
    let cut = &good[..good.len() / 2];
    let deep = "[".repeat(200_000);
    for (body, words) in [
        (&b""[..], "The body is empty; expected JSON."),
        (b"{", "line 1 column 1; it may have been cut off"),
        (cut.as_bytes(), "it may have been cut off"),
        (b"inventory", "The body is not valid JSON"),
        (b"{\"type\": \"a\xff\"}", "The body is not valid JSON"),
        (b"{\"type\": 1, \"type\": 2}", "the name \"type\" stands twice in one object"),
        (b"{} {}", "trailing characters"),
        (deep.as_bytes(), "recursion limit"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "The body is not valid JSON"),
    ] {
        for content_type in [
            "application/cloudevents+json",
            "application/json",
            "application/cloudevents-batch+json",
        ] {
            says(post_as(&service, content_type, body.to_vec()).await, 400, &[words]).await;
        }
    }
    world.assert_unchanged(&service).await;
}

#[tokio::test]
async fn another_content_type_is_415_with_the_right_ones() {
    let service = Service::on_sqlite().start().await;
    let world = World::new(&service).await;
    let body = world.stock(5).to_string();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=iso-8859-2",
        "json",
        "\u{fc}",
    ] {
        says(
            post_as(&service, content_type, body.clone()).await,
            415,
            &["expected application/cloudevents+json or application/json"],
        )
        .await;
    }
    let bare = service
        .request(Method::POST, "/v1/events")
        .body(body)
        .send()
        .await
        .expect("the service answers");
    says(bare, 415, &["The content type is missing"]).await;
    world.assert_unchanged(&service).await;
}

#[tokio::test]
async fn a_batch_has_the_form_and_the_length_of_a_batch() {
    let service =
        Service::on_sqlite().env("FACILITY_SUMMARY__INGEST__GROUP_EVENTS", 3).start().await;
    let world = World::new(&service).await;
    says(
        post_batch(&service, &json!([])).await,
        422,
        &["the batch is empty; expected at least one event"],
    )
    .await;
    says(
        post_batch(&service, &world.stock(5)).await,
        422,
        &["expected a list of events, got an object"],
    )
    .await;
    says(
        service.post("/v1/events", &json!([world.stock(5)])).await,
        422,
        &["a list of events is sent as application/cloudevents-batch+json"],
    )
    .await;
    let long: Vec<Value> = (0..4).map(|_| world.stock(5)).collect();
    says(
        post_batch(&service, &long.into()).await,
        413,
        &["The batch holds 4 events; at most 3 are taken at once."],
    )
    .await;
    world.assert_unchanged(&service).await;
}

#[tokio::test]
async fn a_fault_in_binary_mode_names_its_header() {
    let service = Service::on_sqlite().start().await;
    let world = World::new(&service).await;
    let data = world.stock(5)["data"].to_string();
    let now = time_in(0);
    let right = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/t"),
        ("ce-type", "inventory.set"),
        ("ce-time", now.as_str()),
    ];
    for (header, value, words) in [
        ("ce-time", None, "header ce-time: is missing; expected an RFC 3339"),
        ("ce-time", Some("now"), "header ce-time: expected an RFC 3339"),
        ("ce-type", Some("stock.set"), "header ce-type: expected one of"),
        ("ce-id", Some("%zz"), "header ce-id: a % needs two hexadecimal digits"),
        ("ce-specversion", Some("2.0"), "header ce-specversion: expected \"1.0\""),
    ] {
        let mut request = service
            .request(Method::POST, "/v1/events")
            .header(CONTENT_TYPE, "application/json")
            .body(data.clone());
        for (name, right) in right {
            if let Some(value) = if name == header { value } else { Some(right) } {
                request = request.header(name, value);
            }
        }
        says(request.send().await.expect("the service answers"), 422, &[words]).await;
    }
    world.assert_unchanged(&service).await;
}

#[tokio::test]
async fn a_reference_to_nothing_is_named_by_its_pointer_with_any_headers() {
    let service = Service::on_sqlite().start().await;
    let world = World::new(&service).await;
    let bad = with(world.stock(5), "/data/blood_bank_id", Uuid::new_v4().to_string());
    let (one, several, data) =
        (bad.to_string(), json!([world.stock(5), bad]).to_string(), bad["data"].to_string());
    let now = time_in(0);
    let attributes = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/t"),
        ("ce-type", "inventory.set"),
        ("ce-time", &now),
    ];
    for (content_type, headers, body, pointer) in [
        ("application/cloudevents+json", &[][..], &one, "/data/blood_bank_id"),
        ("application/cloudevents+json", &attributes[..1], &one, "/data/blood_bank_id"),
        ("Application/CloudEvents+JSON", &attributes[..], &one, "/data/blood_bank_id"),
        ("application/json; profile=batch", &[], &one, "/data/blood_bank_id"),
        ("application/cloudevents-batch+json", &[], &several, "/1/data/blood_bank_id"),
        ("Application/CloudEvents-BATCH+JSON", &attributes[..1], &several, "/1/data/blood_bank_id"),
        ("application/json", &attributes, &data, "/blood_bank_id"),
    ] {
        let mut request = service
            .request(Method::POST, "/v1/events")
            .header(CONTENT_TYPE, content_type)
            .body(body.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let refused =
            says(request.send().await.expect("the service answers"), 422, &["is not registered"])
                .await;
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{content_type} {headers:?}");
    }
    world.assert_unchanged(&service).await;
}

on_both_stores! {
    async fn every_form_takes_a_whole_number_with_a_point_or_an_exponent_and_no_fraction(
        service: Service,
    ) {
        let world = World::new(&service).await;
        let send = async |written: &str, form: &str| {
            let sent = world.stock(987_654);
            let text = |value: &Value| value.to_string().replace("987654", written);
            match form {
                "structured" => {
                    post_as(&service, "application/cloudevents+json", text(&sent)).await
                }
                "batch" => {
                    post_as(&service, "application/cloudevents-batch+json", text(&json!([sent])))
                        .await
                }
                _ => {
                    let mut request = service
                        .request(Method::POST, "/v1/events")
                        .header(CONTENT_TYPE, "application/json");
                    for attribute in ["specversion", "id", "source", "type", "time"] {
                        request = request.header(
                            format!("ce-{attribute}"),
                            sent[attribute].as_str().expect("a text"),
                        );
                    }
                    request.body(text(&sent["data"])).send().await.expect("the service answers")
                }
            }
        };
        for form in ["structured", "binary", "batch"] {
            for (written, units) in
                [("13.0", 13), ("1.4e1", 14), ("-0.0", 0), ("2147483647.0", 2_147_483_647)]
            {
                let answer = send(written, form).await;
                assert_eq!(
                    answer.status(),
                    200,
                    "{written} as {form}: {}",
                    answer.text().await.unwrap()
                );
                let summary: Value =
                    serde_json::from_str(&world.summary(&service).await).expect("it is JSON");
                assert_eq!(summary["total_stock"], units, "{written} as {form}");
            }
            for wrong in
                ["12.5", "-1.0", "2147483647.5", "2147483648.0", "9007199254740993.0", "1e300"]
            {
                says(
                    send(wrong, form).await,
                    422,
                    &["expected a whole number from 0 to 2147483647, got "],
                )
                .await;
            }
            says(
                send("1e400", form).await,
                400,
                &["The body is not valid JSON: number out of range"],
            )
            .await;
        }
    }
}

#[tokio::test]
async fn a_bad_registration_is_refused_with_what_would_be_right() {
    let service = Service::on_sqlite().start().await;
    let world = World::new(&service).await;
    let facility = format!("/v1/facilities/{}", world.facility);
    let bank = format!("/v1/blood-banks/{}", world.bank);
    for (path, body, status, words) in [
        (
            facility.as_str(),
            json!({"name": "A", "timezone": "Mars/Olympus"}),
            422,
            "the name of an IANA time zone",
        ),
        (
            &facility,
            json!({"name": "A", "timezone": "../../etc/passwd"}),
            422,
            "the name of an IANA time zone",
        ),
        (&facility, json!({"name": "A"}), 422, "is missing; expected the name of an IANA"),
        (
            &facility,
            json!({"name": "A\u{0}", "timezone": "UTC"}),
            422,
            "without control characters",
        ),
        (
            &facility,
            json!({"name": "A", "timezone": "UTC", "beds": 3}),
            422,
            "the known ones are name, timezone",
        ),
        (&facility, json!([]), 422, "expected a JSON object"),
        (&bank, json!({"name": "A", "facility_id": Uuid::new_v4()}), 422, "is not registered"),
        (&bank, json!({"name": "A", "facility_id": 7}), 422, "expected a UUID"),
        (
            "/v1/facilities/7",
            json!({"name": "A", "timezone": "UTC"}),
            400,
            "facility_id \"7\" in the path is not an id; expected a UUID",
        ),
        ("/v1/blood-banks/7", json!({}), 400, "blood_bank_id \"7\" in the path is not an id"),
    ] {
        says(service.put(path, &body).await, status, &[words]).await;
    }
    for path in [&facility, &bank] {
        let put = |content_type: &str| {
            service.request(Method::PUT, path).header(CONTENT_TYPE, content_type).body("{")
        };
        says(
            put("application/json").send().await.expect("an answer"),
            400,
            &["it may have been cut off"],
        )
        .await;
        says(
            put("text/plain").send().await.expect("an answer"),
            415,
            &["expected application/json in UTF-8"],
        )
        .await;
    }
    world.assert_unchanged(&service).await;
}
