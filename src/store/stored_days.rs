//! Stored rows, and what decides whether a difference may be added to them.

use std::collections::BTreeMap;

use super::{Result, StoreError};
use crate::domain::{
    blood_type::BloodType,
    day::Day,
    summary::{Bounds, Figures, Key, SummaryRow},
};

/// Stored rows of days in one snapshot, which was taken after every lock that the transaction had
/// taken by then.
#[derive(Debug)]
pub struct StoredDays {
    /// The database's clock after the snapshot was taken, in milliseconds since 1970.
    pub now_ms: i64,
    /// An instant that is not later than the snapshot, in milliseconds since 1970.
    pub as_of_ms: i64,
    /// Why no difference of this transaction may be added to any row; `None`: it may.
    pub doubt: Option<Doubt>,
    /// The days that have a row that can be read, of facilities that exist.
    pub days: Vec<StoredDay>,
}

/// Why the rows that a transaction loaded and wrote do not say all that it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The source tables or their triggers are not as they were when they were last trusted: writes
    /// of others may have left no mark. Or a trigger or rule of another program may have written
    /// other values than were asked for.
    Unwatched,
    /// A source row held values that could be read only in part.
    Unreadable,
}

/// A stored row, as the snapshot shows it.
#[derive(Debug)]
pub struct StoredDay {
    /// The row. Its bounds are `None` where the row does not tell them for its figures.
    pub row: SummaryRow,
    /// A mark names the facility, or all of them, or a blood bank that is in the facility now.
    pub is_marked: bool,
    /// The facility's zone.
    pub timezone: String,
}

/// What decides of which day a stored row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBounds {
    /// The facility and date of the row.
    pub key: Key,
    /// The figures equal their sources at this instant, in milliseconds since 1970.
    pub as_of_ms: i64,
    /// As `SummaryRow::bounds`.
    pub bounds: Option<Bounds>,
}

impl StoredBounds {
    /// Whether the figures are of this day: see `SummaryRow::is_of`.
    pub fn is_of(&self, day: &Day) -> bool {
        Bounds::are_of(self.bounds, self.as_of_ms, day)
    }
}

/// The error of figures by blood type that cannot be read as the databases store them.
pub(super) fn check_figures(by_blood_type: &str) -> Result<()> {
    serde_json::from_str::<BTreeMap<BloodType, Figures>>(by_blood_type)
        .map(drop)
        .map_err(|error| StoreError::Unreadable(format!("by_blood_type: {error}")))
}
