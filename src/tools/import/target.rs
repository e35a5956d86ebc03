//! The target of an import. The real target is the service's own write path; the target of the
//! tests records what it gets.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use jiff::civil::Date;
use uuid::Uuid;

use super::ImportError;
use crate::{
    domain::{
        blood_type::BloodType,
        event::{EntityKind, Statement},
        summary::Key,
    },
    service::imports::Recorded,
    store::{
        FacilityRow,
        imports::{EqualRows, Finished, Import, NewImport},
    },
};

/// The service, as an import uses it. When a call returns `Ok`, what it wrote is durable. An
/// implementation reports its failures as [`ImportError::Target`].
#[async_trait]
pub trait ImportTarget: Send + Sync {
    /// The time of the database's clock, which decides what is past; milliseconds since 1970.
    async fn now_ms(&self) -> Result<i64, ImportError>;
    /// All registered facilities; called once, at the start.
    async fn facilities(&self) -> Result<Vec<FacilityRow>, ImportError>;
    /// All imports, oldest first; called once, at the start.
    async fn imports(&self) -> Result<Vec<Import>, ImportError>;
    /// Begins an import, or another run of it, before its first part. Returns its number.
    async fn begin(&self, new: &NewImport) -> Result<i32, ImportError>;
    /// Notes that the import has ended, and its counts.
    async fn finish(&self, import: i32, finished: &Finished) -> Result<(), ImportError>;
    /// Those of the ids that are known; removed ones are known too.
    async fn rows_in(&self, kind: EntityKind, ids: &[Uuid]) -> Result<HashSet<Uuid>, ImportError>;
    /// The imports that name these rows, as pairs of row and import.
    async fn claims(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, i32)>, ImportError>;
    /// As `store::imports::ImportLog::equal_rows`.
    async fn equal_rows(
        &self,
        kind: EntityKind,
        source: &str,
        rows: &[EqualRows],
    ) -> Result<Vec<(String, u64)>, ImportError>;
    /// Applies all statements in one transaction, or none, and notes what they write. A
    /// registration may come after the rows that refer to it. The age limit of posted events does
    /// not apply, since a file may be about times years ago.
    async fn apply(
        &self,
        part: Part,
        statements: Vec<Statement>,
        claims: Vec<(Uuid, i64)>,
    ) -> Result<StatementCounts, ImportError>;
    /// Records closing stock in one transaction. For each day, the given types replace the stored
    /// ones, the other types stay, and the total is the sum. The facilities exist, except in a dry
    /// run. No day is given twice, and each day is over.
    async fn record_stock(
        &self,
        part: Part,
        days: Vec<ClosedStock>,
    ) -> Result<Recorded, ImportError>;
}

/// The import that a call belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its number; in a dry run, 0 when it has no number yet.
    pub import: i32,
    /// A dry run: nothing is written, and the result says what would be.
    pub dry_run: bool,
}

/// What happened with a set of statements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatementCounts {
    /// Statements that were new or newer than what was known.
    pub applied: u64,
    /// Statements that changed nothing: they were known already, or older than what was known.
    pub superseded: u64,
}

/// The stock with which a past day of a facility closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedStock {
    /// The facility.
    pub facility_id: Uuid,
    /// A local day of the facility that is over.
    pub date: Date,
    /// Units, 0 or more. `Unknown` has the units for which the file names no type.
    pub by_blood_type: BTreeMap<BloodType, i64>,
}

impl ClosedStock {
    /// The facility and the day.
    pub fn key(&self) -> Key {
        Key { facility_id: self.facility_id, date: self.date }
    }
}
