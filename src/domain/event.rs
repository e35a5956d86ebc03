//! Events as statements of fact about one entity at one time. `statement_precedence.rs` has the
//! rule for which of two statements wins.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::blood_type::BloodType;

/// The five kinds of entity that a statement can be about. A transaction writes and locks them in
/// this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntityKind {
    /// A facility; it sends requests and receives deliveries.
    Facility,
    /// A blood bank, which belongs to a facility.
    BloodBank,
    /// A lot in the stock of a blood bank.
    Inventory,
    /// A delivery to a facility.
    Distribution,
    /// A request of a facility.
    Request,
}

impl EntityKind {
    /// All five, in their order.
    pub const ALL: [EntityKind; 5] = [
        EntityKind::Facility,
        EntityKind::BloodBank,
        EntityKind::Inventory,
        EntityKind::Distribution,
        EntityKind::Request,
    ];

    /// The name of the kind in the table of tombstones.
    pub const fn as_str(self) -> &'static str {
        match self {
            EntityKind::Facility => "facility",
            EntityKind::BloodBank => "blood_bank",
            EntityKind::Inventory => "inventory",
            EntityKind::Distribution => "distribution",
            EntityKind::Request => "request",
        }
    }
}

/// What a statement says of an entity. The fields are in alphabetical order: their JSON is the
/// canonical `data`, which decides between statements of equal time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entity {
    /// A facility: its name, and the IANA name of its zone.
    Facility { name: String, timezone: String },
    /// A blood bank, and the facility that it belongs to.
    BloodBank { facility_id: Uuid, name: String },
    /// A lot: units in stock. `expires_at_ms` is in milliseconds since 1970; `None`: it never
    /// expires.
    Inventory {
        blood_bank_id: Uuid,
        blood_type: Option<BloodType>,
        expires_at_ms: Option<i64>,
        quantity: i32,
    },
    /// A delivery of units. `date_delivered_ms` is in milliseconds since 1970; `None`: it is on its
    /// way.
    Distribution {
        blood_type: Option<BloodType>,
        date_delivered_ms: Option<i64>,
        dispatched_to_id: Uuid,
        quantity: i32,
    },
    /// A request for units. `created_at_ms` is in milliseconds since 1970.
    Request {
        blood_type: Option<BloodType>,
        created_at_ms: i64,
        facility_id: Uuid,
        quantity: Option<i32>,
    },
}

impl Entity {
    /// The kind of the entity.
    pub const fn kind(&self) -> EntityKind {
        match self {
            Entity::Facility { .. } => EntityKind::Facility,
            Entity::BloodBank { .. } => EntityKind::BloodBank,
            Entity::Inventory { .. } => EntityKind::Inventory,
            Entity::Distribution { .. } => EntityKind::Distribution,
            Entity::Request { .. } => EntityKind::Request,
        }
    }

    /// The facility or blood bank that the entity belongs to; `None` for a facility.
    pub const fn owner(&self) -> Option<Uuid> {
        match self {
            Entity::Facility { .. } => None,
            Entity::BloodBank { facility_id, .. } | Entity::Request { facility_id, .. } => {
                Some(*facility_id)
            }
            Entity::Inventory { blood_bank_id, .. } => Some(*blood_bank_id),
            Entity::Distribution { dispatched_to_id, .. } => Some(*dispatched_to_id),
        }
    }

    /// The canonical `data`, which decides between statements of equal time.
    pub(super) fn canonical(&self) -> String {
        serde_json::to_string(self).expect("an entity has string keys only")
    }
}

/// The newest knowledge of an entity: its row, or that it was removed (`entity` is `None`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When this became true, in milliseconds since 1970, as the event says.
    pub event_time_ms: i64,
    /// The entity as it then was; `None` when it was removed.
    pub entity: Option<Entity>,
}

/// One statement: at `record.event_time_ms` this became true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What kind of entity it is about.
    pub kind: EntityKind,
    /// Which entity it is about.
    pub id: Uuid,
    /// What it says, and of when.
    pub record: Record,
}

impl Record {
    /// A hash of the record. Equal records have equal hashes, even for different entities. It is
    /// stored, so it must never be computed in another way.
    pub fn fingerprint(&self) -> i64 {
        let entity = self.entity.as_ref().map(Entity::canonical).unwrap_or_default();
        xxhash_rust::xxh3::xxh3_64(format!("{} {entity}", self.event_time_ms).as_bytes())
            .cast_signed()
    }
}

/// What a client may send to the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A fact about one entity.
    Statement(Statement),
    /// Another service wrote the source tables itself: refresh this day (today when no date is
    /// given).
    Touched { facility_id: Uuid, date: Option<Date> },
}

impl Event {
    /// Whether the event says that something is gone.
    pub fn is_removal(&self) -> bool {
        matches!(self, Event::Statement(s) if s.record.entity.is_none())
    }

    /// The id of what the event is about, and of what it refers to. Two events without a common id
    /// write different rows.
    pub fn ids(&self) -> impl Iterator<Item = Uuid> + use<> {
        let (id, owner) = match self {
            Event::Touched { facility_id, .. } => (*facility_id, None),
            Event::Statement(s) => (s.id, s.record.entity.as_ref().and_then(Entity::owner)),
        };
        [Some(id), owner].into_iter().flatten()
    }

    /// The CloudEvents `type`; the metrics use it as a label.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Event::Touched { .. } => "summary.touched",
            Event::Statement(s) => match (s.kind, s.record.entity.is_some()) {
                (EntityKind::Facility, _) => "facility.registered",
                (EntityKind::BloodBank, _) => "blood_bank.registered",
                (EntityKind::Inventory, true) => "inventory.set",
                (EntityKind::Inventory, false) => "inventory.removed",
                (EntityKind::Distribution, true) => "distribution.set",
                (EntityKind::Distribution, false) => "distribution.removed",
                (EntityKind::Request, true) => "request.set",
                (EntityKind::Request, false) => "request.removed",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_stay_what_they_are_for_ever() {
        let entity = Entity::Request {
            blood_type: None,
            created_at_ms: 5,
            facility_id: Uuid::from_u128(1),
            quantity: Some(2),
        };
        let record = Record { event_time_ms: 5, entity: Some(entity) };
        assert_eq!(record.fingerprint(), -2_383_564_092_234_673_751);
        assert_ne!(
            Record { event_time_ms: 6, ..record.clone() }.fingerprint(),
            record.fingerprint()
        );
    }
}
