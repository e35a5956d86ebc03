//! Where an import writes to. The real one is the service's own write path; the tests record what
//! they are given.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::civil::Date;
use uuid::Uuid;

use super::ImportError;
use crate::{
    domain::{blood_type::BloodType, event::Statement},
    store::FacilityRow,
};

/// The service, as an import sees it. Every call stands for itself: what it answered `Ok` to is
/// durable. An implementation reports its failures as [`ImportError::Target`].
#[async_trait]
pub trait ImportTarget: Send + Sync {
    /// The database's clock, which decides what is past.
    async fn now_ms(&self) -> Result<i64, ImportError>;
    /// All registered facilities; asked for once, at the start.
    async fn facilities(&self) -> Result<Vec<FacilityRow>, ImportError>;
    /// Applies statements in one transaction, all or none. Registrations may stand behind the rows
    /// that refer to them. Their times are years old where the file is about the past, so the
    /// age limit of posted events does not apply.
    async fn apply(&self, statements: Vec<Statement>) -> Result<Applied, ImportError>;
    /// Records closing stock in one transaction: the named types replace what their day holds of
    /// them, its other types stay, its total is the sum. The facilities exist, no day is given
    /// twice, and each is over. Answers how many days changed.
    async fn record_stock(&self, days: Vec<ClosedStock>) -> Result<u64, ImportError>;
}

/// What became of a set of statements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Statements that were new or newer than what was known.
    pub applied: u64,
    /// Statements that changed nothing: known already, or overtaken by something newer.
    pub superseded: u64,
}

/// What a facility's past day closed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedStock {
    pub facility_id: Uuid,
    /// A local day of the facility that is over.
    pub date: Date,
    /// Units, 0 or more. `Unknown` holds what the file names no type for.
    pub by_blood_type: BTreeMap<BloodType, i64>,
}
