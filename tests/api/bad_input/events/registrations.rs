//! The registrations by `PUT`.

use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::json;
use uuid::Uuid;

use crate::{
    bad_input::{World, says},
    support::Service,
};

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
