//! Figures that were derived from the sources.

use jiff::civil::Date;
use uuid::Uuid;

use crate::domain::summary::SummaryRow;

/// The figures that the sources give now, compared with what is stored.
#[derive(Debug, Clone)]
pub struct Derived {
    /// The figures and when they expire. Version and `updated_at` are those of the stored row (0
    /// and `None` when there is none).
    pub row: SummaryRow,
    /// A row of the day is stored.
    pub stored: bool,
    /// A figure differs from the stored row, or a day without a row needs one.
    pub figures_differ: bool,
    /// The stored row is of a day with this date in another zone.
    pub day_differs: bool,
    /// The row is to be written: a figure, its next expiry or its day differs.
    pub write_needed: bool,
    /// The day is today, by the database's clock.
    pub is_today: bool,
    /// The facility's zone in the snapshot. When it is not the key's zone, the key's bounds are
    /// wrong.
    pub timezone: String,
}

/// A stored row that differs from its sources.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The facility.
    pub facility_id: Uuid,
    /// The day, in the facility's zone.
    pub date: Date,
    /// The stored totals: stock, transferred, requests; `None` when no row is stored.
    pub stored: Option<[Option<i64>; 3]>,
    /// The totals that the sources give, in the same order.
    pub derived: [Option<i64>; 3],
    /// A mark was visible, or an expiry was due, so the service will repair this by itself. When
    /// false, the difference is drift.
    pub explained: bool,
    /// A figure differs; otherwise only an expiry or the day's bounds do.
    pub figures_differ: bool,
    /// The stored row would be taken for right beyond the instant at which its next units expire.
    pub expires_too_late: bool,
    /// The stored row was last written by adding a difference to it.
    pub by_difference: bool,
    /// The instant of the comparison, in milliseconds since 1970.
    pub at_ms: i64,
}
