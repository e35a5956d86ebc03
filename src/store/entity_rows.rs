//! Entities of events that are written to the source tables or removed from them.

use uuid::Uuid;

use crate::domain::event::Entity;

/// An entity to write; `is_new` when `load` found no row.
#[derive(Debug, Clone)]
pub struct Put {
    /// The entity's id.
    pub id: Uuid,
    /// The time of the event, in milliseconds since 1970.
    pub event_time_ms: i64,
    /// The entity as the event states it.
    pub entity: Entity,
    /// There was no row of it.
    pub is_new: bool,
}

/// An entity to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// The entity's id.
    pub id: Uuid,
    /// The time of the removal, in milliseconds since 1970.
    pub event_time_ms: i64,
    /// Where it was and counted last; `None` when that is not known.
    pub last_counted: Option<LastCounted>,
}

/// Where a removed entity was, and counted: the facility, and the instant that gives the day;
/// `None` for today's stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastCounted {
    /// The facility.
    pub facility_id: Uuid,
    /// The instant, in milliseconds since 1970.
    pub at_ms: Option<i64>,
}

impl LastCounted {
    /// The instant where an entity counted on no day, as a delivery under way: the last day of the
    /// year 9998, on which nothing counts (`domain::day::has_day`). Both databases can store it.
    pub const ON_NO_DAY_MS: i64 = 253_370_592_000_000;
}
