//! Where an import writes to. The real one is the service's own write path; the tests record what
//! they are given.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use jiff::civil::Date;
use uuid::Uuid;

use super::ImportError;
use crate::{
    domain::{
        blood_type::BloodType,
        event::{Kind, Statement},
    },
    service::imports::Recorded,
    store::{
        FacilityRow,
        imports::{EqualRows, Finished, Import, NewImport},
    },
};

/// The service, as an import sees it. Every call stands for itself: what it answered `Ok` to is
/// durable. An implementation reports its failures as [`ImportError::Target`].
#[async_trait]
pub trait ImportTarget: Send + Sync {
    /// The database's clock, which decides what is past.
    async fn now_ms(&self) -> Result<i64, ImportError>;
    /// All registered facilities; asked for once, at the start.
    async fn facilities(&self) -> Result<Vec<FacilityRow>, ImportError>;
    /// All imports, oldest first; asked for once, at the start.
    async fn imports(&self) -> Result<Vec<Import>, ImportError>;
    /// Begins an import, or another run of the same, before its first part; answers its number.
    async fn begin(&self, new: &NewImport) -> Result<i32, ImportError>;
    async fn finish(&self, import: i32, finished: &Finished) -> Result<(), ImportError>;
    /// Those of these ids that are known, removed ones included.
    async fn rows_in(&self, kind: Kind, ids: &[Uuid]) -> Result<HashSet<Uuid>, ImportError>;
    /// The imports that name these rows.
    async fn claims(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, i32)>, ImportError>;
    /// As `store::imports::ImportLog::equal_rows`.
    async fn equal_rows(
        &self,
        kind: Kind,
        source: &str,
        rows: &[EqualRows],
    ) -> Result<Vec<(String, u64)>, ImportError>;
    /// Applies statements in one transaction, all or none, and notes what they bring. Registrations
    /// may stand behind the rows that refer to them. Their times are years old where the file
    /// is about the past, so the age limit of posted events does not apply.
    async fn apply(
        &self,
        part: Part,
        statements: Vec<Statement>,
        claims: Vec<(Uuid, i64)>,
    ) -> Result<Applied, ImportError>;
    /// Records closing stock in one transaction: the named types replace what their day holds of
    /// them, its other types stay, its total is the sum. The facilities exist, unless it is a
    /// dry run; no day is given twice, and each is over.
    async fn record_stock(
        &self,
        part: Part,
        days: Vec<ClosedStock>,
    ) -> Result<Recorded, ImportError>;
}

/// Of which import a call is a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// 0 for one that is yet to begin, in a dry run.
    pub import: i32,
    /// Nothing is written; what would become of it is answered.
    pub dry_run: bool,
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
