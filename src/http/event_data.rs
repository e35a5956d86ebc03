//! The `data` of each event type: how it is read, and its schema for the OpenAPI document.

use uuid::Uuid;

use super::{
    field_rules,
    fields::{self, EventFields},
    json::Json,
};
use crate::domain::event::{Entity, EntityKind, Event, Record, Statement};

/// The event types that `POST /v1/events` accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    FacilityRegistered,
    BloodBankRegistered,
    InventorySet,
    InventoryRemoved,
    DistributionSet,
    DistributionRemoved,
    RequestSet,
    RequestRemoved,
    SummaryTouched,
}

impl EventType {
    /// All of them.
    pub const ALL: [EventType; 9] = [
        EventType::FacilityRegistered,
        EventType::BloodBankRegistered,
        EventType::InventorySet,
        EventType::InventoryRemoved,
        EventType::DistributionSet,
        EventType::DistributionRemoved,
        EventType::RequestSet,
        EventType::RequestRemoved,
        EventType::SummaryTouched,
    ];

    /// The CloudEvents `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventType::FacilityRegistered => "facility.registered",
            EventType::BloodBankRegistered => "blood_bank.registered",
            EventType::InventorySet => "inventory.set",
            EventType::InventoryRemoved => "inventory.removed",
            EventType::DistributionSet => "distribution.set",
            EventType::DistributionRemoved => "distribution.removed",
            EventType::RequestSet => "request.set",
            EventType::RequestRemoved => "request.removed",
            EventType::SummaryTouched => "summary.touched",
        }
    }

    /// Reads the attribute `type`; the error lists all types.
    pub fn rule(value: &Json) -> Result<Self, fields::Expected> {
        let name = field_rules::text_of(value).unwrap_or_default();
        Self::ALL
            .into_iter()
            .find(|known| known.as_str() == name)
            .ok_or_else(|| format!("one of {}", Self::ALL.map(EventType::as_str).join(", ")).into())
    }
}

/// Reads the `data` of an event with the time `time_ms` (milliseconds since 1970). `None` when the
/// data has faults; all of them are noted in `data`.
pub fn read(event_type: EventType, time_ms: i64, mut data: EventFields) -> Option<Event> {
    let f = &mut data;
    let event = match event_type {
        EventType::FacilityRegistered => stated(
            EntityKind::Facility,
            f.required("facility_id", field_rules::id),
            facility(f),
            time_ms,
        ),
        EventType::BloodBankRegistered => stated(
            EntityKind::BloodBank,
            f.required("blood_bank_id", field_rules::id),
            blood_bank(f),
            time_ms,
        ),
        EventType::InventorySet => stated(
            EntityKind::Inventory,
            f.required("inventory_id", field_rules::id),
            inventory(f),
            time_ms,
        ),
        EventType::DistributionSet => stated(
            EntityKind::Distribution,
            f.required("distribution_id", field_rules::id),
            distribution(f),
            time_ms,
        ),
        EventType::RequestSet => stated(
            EntityKind::Request,
            f.required("request_id", field_rules::id),
            request(f),
            time_ms,
        ),
        EventType::InventoryRemoved => {
            removed(EntityKind::Inventory, f.required("inventory_id", field_rules::id), time_ms)
        }
        EventType::DistributionRemoved => removed(
            EntityKind::Distribution,
            f.required("distribution_id", field_rules::id),
            time_ms,
        ),
        EventType::RequestRemoved => {
            removed(EntityKind::Request, f.required("request_id", field_rules::id), time_ms)
        }
        EventType::SummaryTouched => {
            let (facility_id, date) =
                (f.required("facility_id", field_rules::id), f.optional("date", field_rules::date));
            facility_id.zip(date).map(|(facility_id, date)| Event::Touched { facility_id, date })
        }
    };
    data.finish();
    event
}

fn stated(
    kind: EntityKind,
    id: Option<Uuid>,
    entity: Option<Entity>,
    event_time_ms: i64,
) -> Option<Event> {
    Some(Event::Statement(Statement {
        kind,
        id: id?,
        record: Record { event_time_ms, entity: Some(entity?) },
    }))
}

fn removed(kind: EntityKind, id: Option<Uuid>, event_time_ms: i64) -> Option<Event> {
    Some(Event::Statement(Statement {
        kind,
        id: id?,
        record: Record { event_time_ms, entity: None },
    }))
}

// These functions read all of their fields before the first `?`, so that every fault is noted.

/// Reads the fields of a facility, except its id.
pub fn facility(f: &mut EventFields) -> Option<Entity> {
    let (name, timezone) =
        (f.required("name", field_rules::name), f.required("timezone", field_rules::timezone));
    Some(Entity::Facility { name: name?, timezone: timezone? })
}

/// Reads the fields of a blood bank, except its id.
pub fn blood_bank(f: &mut EventFields) -> Option<Entity> {
    let (facility_id, name) =
        (f.required("facility_id", field_rules::id), f.required("name", field_rules::name));
    Some(Entity::BloodBank { facility_id: facility_id?, name: name? })
}

fn inventory(f: &mut EventFields) -> Option<Entity> {
    let (blood_bank_id, blood_type) = (
        f.required("blood_bank_id", field_rules::id),
        f.optional("blood_type", field_rules::blood_type),
    );
    let (expires_at, quantity) = (
        f.optional("expires_at", field_rules::instant),
        f.required("quantity", field_rules::quantity(0)),
    );
    Some(Entity::Inventory {
        blood_bank_id: blood_bank_id?,
        blood_type: blood_type?,
        expires_at_ms: expires_at?,
        quantity: quantity?,
    })
}

fn distribution(f: &mut EventFields) -> Option<Entity> {
    let (to, blood_type) = (
        f.required("dispatched_to_id", field_rules::id),
        f.optional("blood_type", field_rules::blood_type),
    );
    let (delivered, quantity) = (
        f.optional("date_delivered", field_rules::instant),
        f.required("quantity", field_rules::quantity(1)),
    );
    Some(Entity::Distribution {
        blood_type: blood_type?,
        date_delivered_ms: delivered?,
        dispatched_to_id: to?,
        quantity: quantity?,
    })
}

fn request(f: &mut EventFields) -> Option<Entity> {
    let (facility_id, created_at) = (
        f.required("facility_id", field_rules::id),
        f.required("created_at", field_rules::instant),
    );
    let (blood_type, quantity) = (
        f.optional("blood_type", field_rules::blood_type),
        f.optional("quantity", field_rules::quantity(0)),
    );
    Some(Entity::Request {
        blood_type: blood_type?,
        created_at_ms: created_at?,
        facility_id: facility_id?,
        quantity: quantity?,
    })
}

#[cfg(test)]
#[path = "event_data_tests.rs"]
mod tests;
