//! Events that are wrong in one member: each is refused at that member, alone and in a batch.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{post_batch, time_in, with};
use crate::{
    bad_input::{World, says},
    on_both_stores,
    support::events::event,
};

/// A bad event, the pointer to its fault, and what the answer must say about the fault.
type Faulty = (Value, &'static str, &'static str);

fn faulty(world: &World) -> Vec<Faulty> {
    [faulty_attributes(world), faulty_stock(world), faulty_others(world.facility)].concat()
}

/// Events whose attributes, or whose data as a whole, are at fault.
fn faulty_attributes(world: &World) -> Vec<Faulty> {
    let good = || world.stock(5);
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
    ]
}

/// `inventory.set` with a field at fault.
fn faulty_stock(world: &World) -> Vec<Faulty> {
    let good = || world.stock(5);
    vec![
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
            with(good(), "/data/blood_bank_id", Uuid::new_v4().to_string()),
            "/data/blood_bank_id",
            "is not registered; send blood_bank.registered before",
        ),
    ]
}

/// The other types, each with a field at fault.
fn faulty_others(facility: Uuid) -> Vec<Faulty> {
    let (id, unknown) = (Uuid::new_v4(), Uuid::new_v4());
    vec![
        (
            event(
                "distribution.set",
                json!({"distribution_id": id, "dispatched_to_id": facility, "quantity": 0}),
            ),
            "/data/quantity",
            "from 1 to",
        ),
        (
            event(
                "distribution.set",
                json!({"distribution_id": id, "dispatched_to_id": unknown, "quantity": 1}),
            ),
            "/data/dispatched_to_id",
            "is not registered",
        ),
        (
            event(
                "request.set",
                json!({"request_id": id, "facility_id": unknown, "created_at": time_in(0)}),
            ),
            "/data/facility_id",
            "is not registered",
        ),
        (
            event("request.set", json!({"request_id": id, "facility_id": facility})),
            "/data/created_at",
            "is missing",
        ),
        (
            event("summary.touched", json!({"facility_id": unknown})),
            "/data/facility_id",
            "is not registered",
        ),
        (
            event(
                "blood_bank.registered",
                json!({"blood_bank_id": id, "facility_id": unknown, "name": "W"}),
            ),
            "/data/facility_id",
            "is not registered",
        ),
        (
            event(
                "facility.registered",
                json!({"facility_id": id, "name": "M", "timezone": "Mars/Olympus"}),
            ),
            "/data/timezone",
            "the name of an IANA time zone",
        ),
        (
            event(
                "facility.registered",
                json!({"facility_id": id, "name": " ", "timezone": "UTC"}),
            ),
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
