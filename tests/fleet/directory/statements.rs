//! What a writer states: as an event, and as SQL.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    post::event,
    seen::{Stating, TYPES},
    world::instant,
    writers::Site,
};

pub fn registration(site: &Site, now_ms: i64) -> Value {
    event(
        "facility.registered",
        now_ms,
        json!({"facility_id": site.id, "name": site.name, "timezone": site.zone}),
    )
}

pub fn bank_registration(bank: Uuid, facility: Uuid, now_ms: i64) -> Value {
    event(
        "blood_bank.registered",
        now_ms,
        json!({"blood_bank_id": bank, "facility_id": facility, "name": "Ward"}),
    )
}

pub fn activity_event(
    is_request: bool,
    id: Uuid,
    facility: Uuid,
    kind: usize,
    quantity: i64,
    then_ms: i64,
    now_ms: i64,
) -> (Value, Stating) {
    let mut data = if is_request {
        json!({
            "request_id": id,
            "facility_id": facility,
            "created_at": instant(then_ms),
            "quantity": quantity,
        })
    } else {
        json!({
            "distribution_id": id,
            "dispatched_to_id": facility,
            "date_delivered": instant(then_ms),
            "quantity": quantity,
        })
    };
    if kind < 8 {
        data["blood_type"] = json!(TYPES[kind]);
    }
    if is_request {
        (event("request.set", now_ms, data), Stating::Request)
    } else {
        (event("distribution.set", now_ms, data), Stating::Delivery)
    }
}

pub fn activity_sql(
    is_request: bool,
    id: Uuid,
    facility: Uuid,
    kind: usize,
    quantity: i64,
    then_ms: i64,
) -> String {
    let (table, of, at) = if is_request {
        ("blood_requests", "facility_id", "created_at")
    } else {
        ("blood_distributions", "dispatched_to_id", "date_delivered")
    };
    let (kind, then) = (sql_kind(kind), sql_instant(then_ms));
    format!(
        "INSERT INTO {table} (id, {of}, blood_type, quantity, {at}) VALUES ('{id}', '{facility}', \
         {kind}, {quantity}, {then})
         ON CONFLICT (id) DO UPDATE SET {of} = excluded.{of}, blood_type = excluded.blood_type, \
         quantity = excluded.quantity, {at} = excluded.{at}"
    )
}

pub fn sql_kind(kind: usize) -> String {
    if kind < 8 { format!("'{}'", TYPES[kind]) } else { "NULL".to_owned() }
}

pub fn sql_instant(at_ms: i64) -> String {
    format!("timestamptz '{}'", instant(at_ms))
}
