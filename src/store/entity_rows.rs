//! Entities of events on their way into the source tables and out of them.

use uuid::Uuid;

use crate::domain::event::Entity;

/// An entity to write; `is_new` where `load` found no row.
#[derive(Debug, Clone)]
pub struct Put {
    pub id: Uuid,
    pub event_time_ms: i64,
    pub entity: Entity,
    pub is_new: bool,
}

/// An entity to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    pub id: Uuid,
    pub event_time_ms: i64,
    pub last_counted: Option<LastCounted>,
}

/// The facility in whose figures a removed entity counted, and the instant that tells the day;
/// `None` for today's stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastCounted {
    pub facility_id: Uuid,
    pub at_ms: Option<i64>,
}
