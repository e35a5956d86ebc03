//! Figures that were derived from the sources.

use jiff::civil::Date;
use uuid::Uuid;

use crate::domain::summary::SummaryRow;

/// Figures as their sources have them now, beside what is stored.
#[derive(Debug, Clone)]
pub struct Derived {
    /// The figures and when they expire, with the stored version and `updated_at` (0 and `None`
    /// where no row is stored).
    pub row: SummaryRow,
    pub stored: bool,
    /// A figure differs from the stored row, or a row is to be opened.
    pub figures_differ: bool,
    /// The stored row is of another zone's day of that name.
    pub day_differs: bool,
    /// The row is to be written: a figure, its next expiry or its day differs.
    pub write_needed: bool,
    pub is_today: bool,
    /// The zone as the snapshot has it: where it is not the key's, the key's bounds are wrong.
    pub timezone: String,
}

/// A stored row that is not what its sources say.
#[derive(Debug, Clone)]
pub struct Difference {
    pub facility_id: Uuid,
    pub date: Date,
    pub stored: Option<[Option<i64>; 3]>,
    pub derived: [Option<i64>; 3],
    /// A mark was visible, or an expiry due: the difference is known and on its way. Otherwise it
    /// is drift.
    pub explained: bool,
    pub figures_differ: bool,
    pub at_ms: i64,
}
