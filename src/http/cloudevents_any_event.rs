//! Any event that the service takes, and its JSON.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{LIMITS, NOW_MS};
use crate::domain::{
    blood_type::BloodType,
    event::{Entity, EntityKind, Event, Record, Statement},
};

fn text(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap().to_string()
}

fn any_id() -> impl Strategy<Value = Uuid> {
    (1u128..).prop_map(Uuid::from_u128)
}

fn any_name() -> impl Strategy<Value = String> {
    r"[\PC&&[^ \p{Zs}\p{Zl}\p{Zp}]]{1,20}( [a-zł]{1,5})?"
}

fn any_instant() -> impl Strategy<Value = i64> {
    -2_208_988_800_000i64..7_258_118_400_000
}

fn any_blood_type() -> impl Strategy<Value = Option<BloodType>> {
    prop::option::of(prop::sample::select(&BloodType::NAMED[..]))
}

fn any_entity() -> impl Strategy<Value = Entity> {
    let zones = prop::sample::select(
        &["UTC", "Europe/Warsaw", "Asia/Kathmandu", "America/Argentina/Buenos_Aires"][..],
    );
    prop_oneof![
        (any_name(), zones)
            .prop_map(|(name, zone)| Entity::Facility { name, timezone: zone.to_owned() }),
        (any_id(), any_name())
            .prop_map(|(facility_id, name)| Entity::BloodBank { facility_id, name }),
        (any_id(), any_blood_type(), prop::option::of(any_instant()), 0..=i32::MAX).prop_map(
            |(blood_bank_id, blood_type, expires_at_ms, quantity)| Entity::Inventory {
                blood_bank_id,
                blood_type,
                expires_at_ms,
                quantity
            }
        ),
        (any_blood_type(), prop::option::of(any_instant()), any_id(), 1..=i32::MAX).prop_map(
            |(blood_type, date_delivered_ms, dispatched_to_id, quantity)| Entity::Distribution {
                blood_type,
                date_delivered_ms,
                dispatched_to_id,
                quantity
            }
        ),
        (any_blood_type(), any_instant(), any_id(), prop::option::of(0..=i32::MAX)).prop_map(
            |(blood_type, created_at_ms, facility_id, quantity)| Entity::Request {
                blood_type,
                created_at_ms,
                facility_id,
                quantity
            }
        ),
    ]
}

pub(super) fn any_event() -> impl Strategy<Value = (i64, Event)> {
    let time = (NOW_MS - LIMITS.max_event_age_ms)..=(NOW_MS + LIMITS.max_clock_skew_ms);
    let removable = prop::sample::select(
        &[EntityKind::Inventory, EntityKind::Distribution, EntityKind::Request][..],
    );
    let date = prop::option::of(
        (1900i16..2200, 1i8..=12, 1i8..=28).prop_map(|(y, m, d)| jiff::civil::date(y, m, d)),
    );
    let statement = |kind, id, event_time_ms, entity| {
        Event::Statement(Statement { kind, id, record: Record { event_time_ms, entity } })
    };
    time.prop_flat_map(move |at| {
        let event = prop_oneof![
            3 => (any_id(), any_entity())
                .prop_map(move |(id, entity)| statement(entity.kind(), id, at, Some(entity))),
            1 => (any_id(), removable.clone())
                .prop_map(move |(id, kind)| statement(kind, id, at, None)),
            1 => (any_id(), date.clone())
                .prop_map(|(facility_id, date)| Event::Touched { facility_id, date }),
        ];
        (Just(at), event)
    })
}

/// The event as a client would write it.
pub(super) fn written(time_ms: i64, event: &Event) -> Value {
    let data = match event {
        Event::Touched { facility_id, date } => json!({"facility_id": facility_id, "date": date}),
        Event::Statement(Statement { kind, id, record }) => {
            let mut data = match &record.entity {
                None => json!({}),
                Some(Entity::Facility { name, timezone }) => {
                    json!({"name": name, "timezone": timezone})
                }
                Some(Entity::BloodBank { facility_id, name }) => {
                    json!({"facility_id": facility_id, "name": name})
                }
                Some(Entity::Inventory { blood_bank_id, blood_type, expires_at_ms, quantity }) => {
                    json!({
                        "blood_bank_id": blood_bank_id, "blood_type": blood_type,
                        "expires_at": expires_at_ms.map(text), "quantity": quantity
                    })
                }
                Some(Entity::Distribution {
                    blood_type,
                    date_delivered_ms,
                    dispatched_to_id,
                    quantity,
                }) => json!({
                    "blood_type": blood_type, "date_delivered": date_delivered_ms.map(text),
                    "dispatched_to_id": dispatched_to_id, "quantity": quantity
                }),
                Some(Entity::Request { blood_type, created_at_ms, facility_id, quantity }) => {
                    json!({
                        "blood_type": blood_type, "created_at": text(*created_at_ms),
                        "facility_id": facility_id, "quantity": quantity
                    })
                }
            };
            data[format!("{}_id", kind.as_str())] = json!(id);
            data
        }
    };
    json!({
        "specversion": "1.0",
        "id": "1",
        "source": "/t",
        "type": event.type_name(),
        "time": text(time_ms),
        "data": data,
    })
}
