//! `POST /v1/events`: bodies, content types and forms.

mod faulty;
mod gone;
mod registrations;

use reqwest::{Method, Response, header::CONTENT_TYPE};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{World, says};
use crate::{on_both_stores, support::Service};

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

/// The event with one member set, or removed if the value is null.
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
    let body = world.stock(5).to_string();
    let coded = service
        .request(Method::POST, "/v1/events")
        .header("content-type", "application/cloudevents+json")
        .header("content-encoding", "gzip")
        .body(body)
        .send()
        .await
        .expect("the service answers");
    says(coded, 415, &["Content-Encoding \"gzip\" is not taken"]).await;
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
