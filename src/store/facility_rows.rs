//! Facilities, and our own row of each, as the tables hold them.

use jiff::civil::Date;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FacilityRow {
    pub id: Uuid,
    pub name: String,
    pub timezone: String,
    /// The version counter when the facility was removed last, for one that has come back: up to
    /// it, versions are of its former life. 0 for one that was never removed.
    pub removed_at_version: i64,
}

impl FacilityRow {
    /// A facility that was never removed.
    pub fn new(id: Uuid, name: String, timezone: String) -> Self {
        FacilityRow { id, name, timezone, removed_at_version: 0 }
    }
}

/// Our own row of a facility.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FacilityState {
    /// The counter that versions come from.
    pub version: i64,
    /// The day opened last: after a change of zone that may be a later one than today.
    pub today: Option<Date>,
    /// What the counter was when the facility was removed last.
    pub removed_at_version: i64,
}
