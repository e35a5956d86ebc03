//! Rows of mapped tables that do not count.

use uuid::Uuid;

/// Rows of one list of a mapping whose quantity is not a number, infinite, or beyond a billion.
/// They do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OddRow {
    /// The facility.
    pub facility_id: Uuid,
    /// The day that was derived, `YYYY-MM-DD`.
    pub date: String,
    /// The list, as `sources.stock[0]`.
    pub list: String,
    /// How many rows.
    pub rows: i64,
}
