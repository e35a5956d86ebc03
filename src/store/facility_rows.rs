//! Facilities, and our own row of each, as the tables hold them.

use jiff::civil::Date;
use uuid::Uuid;

/// A facility as its table holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FacilityRow {
    /// The facility's id.
    pub id: Uuid,
    /// The name.
    pub name: String,
    /// The name of the zone, which may not exist when another program wrote it.
    pub timezone: String,
    /// The version counter at the last removal of the facility: the versions up to it belong to its
    /// former life. 0 when it was never removed.
    pub removed_at_version: i64,
    /// The owner's key, where `[sources]` maps facilities.
    pub key: Option<String>,
}

impl FacilityRow {
    /// A facility that was never removed.
    pub fn new(id: Uuid, name: String, timezone: String) -> Self {
        FacilityRow { id, name, timezone, removed_at_version: 0, key: None }
    }
}

/// Our own row of a facility.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FacilityState {
    /// The counter that gives the versions.
    pub version: i64,
    /// The day that was opened last. After a change of zone it may be later than today.
    pub today: Option<Date>,
    /// The value of the counter when the facility was removed last.
    pub removed_at_version: i64,
}
