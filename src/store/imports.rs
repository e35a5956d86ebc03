//! The log of imports: each file, the rows and closed days that it brought, and what these
//! replaced. Both stores keep the same. The decisions are in `service/imports`.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{LastCounted, Result, StoreError, access::AuditNote};
use crate::domain::{
    blood_type::BloodType,
    event::{Entity, EntityKind, Record},
    summary::Key,
};

/// An import that is to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImport {
    /// The kind as the command line names it, for example `stock-history`.
    pub kind: String,
    /// The name of the source, as the command line gives it.
    pub source: String,
    /// The path of the file.
    pub file: String,
    /// The SHA-256 of the file's bytes, in hex; `None` for input that can be read only once.
    pub sha256: Option<String>,
    /// The column that gives the quantity; empty for none.
    pub quantity_column: String,
    /// Equal when the same file is read in the same way for the same source.
    pub fingerprint: String,
    /// The command line.
    pub command: String,
}

/// An import as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The number of the import.
    pub id: i32,
    /// What was imported.
    pub what: NewImport,
    /// The begin of its last run, in milliseconds since 1970.
    pub started_ms: i64,
    /// `None`: it broke off, or is in progress.
    pub finished_ms: Option<i64>,
    /// Rows that were imported.
    pub rows_in: i64,
    /// Rows that were skipped.
    pub rows_skipped: i64,
    /// The name of the file with the skipped rows, without its folder.
    pub rejects: Option<String>,
    /// When the last undo began. Without `undone_ms`, it broke off or is in progress.
    pub undo_began_ms: Option<i64>,
    /// When the last undo ended.
    pub undone_ms: Option<i64>,
}

/// The outcome of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finished {
    /// Rows that were imported.
    pub rows_in: i64,
    /// Rows that were skipped.
    pub rows_skipped: i64,
    /// The name of the file with the skipped rows, without its folder.
    pub rejects: Option<String>,
}

/// The `content` of a facility that an import only refers to.
pub const MENTIONED: i64 = 0;
/// The `content` of a facility of which an import says what was known already.
pub const CONFIRMED: i64 = 1;

/// A row that an import names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedRow {
    /// The id of the row's entity.
    pub row_id: Uuid,
    /// The number of the import.
    pub import_id: i32,
    /// The [`Record::fingerprint`] of what the import says. For a facility also [`MENTIONED`] or
    /// [`CONFIRMED`].
    pub content: i64,
    /// The row is a facility; otherwise it is a delivery or a request.
    pub is_facility: bool,
    /// The row is as it is because of this import.
    pub wrote: bool,
    /// When it wrote: what was there before, `None` for nothing. When it did not write: what it
    /// says, if that differs from what is there.
    pub hidden: Option<Hidden>,
}

/// A record that is not in its table now. A removed one also says where it counted last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// The record.
    pub record: Record,
    /// Where it counted last, for a removed entity.
    pub last_counted: Option<LastCounted>,
}

#[derive(Serialize, Deserialize)]
struct HiddenText {
    event_time_ms: i64,
    entity: Option<Entity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counted: Option<(Uuid, Option<i64>)>,
}

impl Hidden {
    /// The JSON text that `imported_rows.hidden` holds.
    pub(super) fn to_text(&self) -> String {
        let text = HiddenText {
            event_time_ms: self.record.event_time_ms,
            entity: self.record.entity.clone(),
            counted: self.last_counted.map(|c| (c.facility_id, c.at_ms)),
        };
        serde_json::to_string(&text).expect("a record has string keys only")
    }

    /// Reads that text. `StoreError::Unreadable` when it is not valid.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let text: HiddenText = serde_json::from_str(text)
            .map_err(|e| StoreError::Unreadable(format!("imported_rows.hidden: {e}")))?;
        Ok(Hidden {
            record: Record { event_time_ms: text.event_time_ms, entity: text.entity },
            last_counted: text
                .counted
                .map(|(facility_id, at_ms)| LastCounted { facility_id, at_ms }),
        })
    }
}

/// Rows of a file that have the same values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EqualRows {
    /// The facility.
    pub facility_id: Uuid,
    /// The instant of the delivery or request, in milliseconds since 1970.
    pub at_ms: i64,
    /// The blood type.
    pub blood_type: Option<BloodType>,
    /// The units.
    pub quantity: Option<i32>,
    /// How many equal rows come before them in the file.
    pub before: u32,
    /// How many rows of this chunk are equal.
    pub count: u32,
}

/// Units by blood type.
pub type Units = BTreeMap<BloodType, i64>;

/// A closed day that an import recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedDay {
    /// The facility.
    pub facility_id: Uuid,
    /// The day.
    pub date: Date,
    /// The number of the import.
    pub import_id: i32,
    /// The order of the imports of a day: a later one is applied on top of the earlier ones.
    pub turn: i64,
    /// The stock that the import recorded, for the types that it names.
    pub recorded: Units,
    /// The same types as they were before; `None` when the day had no recorded stock at all.
    pub before: Option<Units>,
}

/// The JSON text that `imported_days` holds.
pub(super) fn units_text(units: &Units) -> String {
    serde_json::to_string(units).expect("blood types are strings")
}

/// Reads that text. `StoreError::Unreadable` when it is not valid.
pub(super) fn parse_units(text: &str) -> Result<Units> {
    serde_json::from_str(text).map_err(|e| StoreError::Unreadable(format!("imported_days: {e}")))
}

/// The log of imports, outside any transaction.
#[async_trait]
pub trait ImportLog: Send + Sync {
    /// All imports, the oldest first, including those that were undone.
    async fn imports(&self) -> Result<Vec<Import>>;
    /// Begins an import, or another run of the import with this fingerprint, and returns its
    /// number. `note` goes into the audit log, as of the import with that number.
    async fn begin_import(&self, new: &NewImport, note: AuditNote) -> Result<i32>;
    /// Notes that an import has ended, and its outcome.
    async fn finish_import(&self, id: i32, finished: &Finished, note: AuditNote) -> Result<()>;
    /// Notes that an undo has begun.
    async fn begin_undo(&self, id: i32, note: AuditNote) -> Result<()>;
    /// Notes that an undo has ended.
    async fn finish_undo(&self, id: i32, note: AuditNote) -> Result<()>;
    /// The ids, of those given, that have a row or a tombstone of this kind.
    async fn rows_in(&self, kind: EntityKind, ids: &[Uuid]) -> Result<HashSet<Uuid>>;
    /// The imports that name these rows.
    async fn claims(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, i32)>>;
    /// How many rows with these values other sources than `source` have imported: a count for each
    /// source.
    async fn equal_rows(
        &self,
        kind: EntityKind,
        source: &str,
        rows: &[EqualRows],
    ) -> Result<Vec<(String, u64)>>;
    /// The rows after `after` that an import names, ordered by id, at most `limit`.
    async fn imported_rows(
        &self,
        import: i32,
        facilities: bool,
        after: Uuid,
        limit: usize,
    ) -> Result<Vec<Uuid>>;
    /// Some of the days that an import recorded, at most `limit`.
    async fn imported_days(&self, import: i32, limit: usize) -> Result<Vec<Key>>;
}

/// The log of imports, within a transaction.
#[async_trait]
pub trait ImportNotes: Send {
    /// Notes rows that an import names. If the import wrote a row, the note replaces its earlier
    /// note of that row. Otherwise an earlier note stays.
    async fn note_rows(&mut self, rows: &[ImportedRow]) -> Result<()>;
    /// Every import's notes of these rows.
    async fn noted_rows(&mut self, ids: &[Uuid]) -> Result<Vec<ImportedRow>>;
    /// Deletes an import's notes of these rows.
    async fn forget_rows(&mut self, import: i32, ids: &[Uuid]) -> Result<()>;
    /// Every import's notes of these days.
    async fn noted_days(&mut self, days: &[Key]) -> Result<Vec<ImportedDay>>;
    /// Notes days. A note replaces the same import's earlier note of that day.
    async fn note_days(&mut self, days: &[ImportedDay]) -> Result<()>;
    /// Deletes an import's notes of these days.
    async fn forget_days(&mut self, import: i32, days: &[Key]) -> Result<()>;
    /// Deletes rows without a trace, as if they had never existed.
    async fn erase(&mut self, kind: EntityKind, ids: &[Uuid]) -> Result<()>;
    /// The facilities among these that something still refers to: a blood bank, a delivery, a
    /// request, a closed day that an import recorded, or a summary with a figure.
    async fn referred_to(&mut self, facilities: &[Uuid]) -> Result<Vec<Uuid>>;
}

#[cfg(test)]
#[path = "imports_tests.rs"]
mod tests;
