//! What is kept of imports: each file, the rows and closed days that it brought, and what these
//! replaced. The same on both stores; the decisions are in `service/imports`.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{LastCounted, Result, StoreError};
use crate::domain::{
    blood_type::BloodType,
    event::{Entity, Kind, Record},
};

/// An import that is to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImport {
    /// As the command line names it, such as `stock-history`.
    pub kind: String,
    pub source: String,
    pub file: String,
    /// Of the file's bytes, in hex; `None` for what can be read only once.
    pub sha256: Option<String>,
    /// The column that feeds the quantity; empty for none.
    pub quantity_column: String,
    /// Equal for the same file read in the same way for the same source.
    pub fingerprint: String,
    pub command: String,
}

/// An import as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub id: i32,
    pub what: NewImport,
    /// Of its last run, in milliseconds since 1970.
    pub started_ms: i64,
    /// `None`: it broke off, or is under way.
    pub finished_ms: Option<i64>,
    pub rows_in: i64,
    pub rows_skipped: i64,
    /// Name of the file with the skipped rows, without its folder.
    pub rejects: Option<String>,
    /// An undo has begun: with `undone_ms` missing it broke off, or is under way.
    pub undo_began_ms: Option<i64>,
    pub undone_ms: Option<i64>,
}

/// How an import ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finished {
    pub rows_in: i64,
    pub rows_skipped: i64,
    pub rejects: Option<String>,
}

/// `content` of a facility that an import only refers to.
pub const MENTIONED: i64 = 0;
/// `content` of a facility of which an import says what was known already.
pub const CONFIRMED: i64 = 1;

/// A row that an import names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedRow {
    pub row_id: Uuid,
    pub import_id: i32,
    /// [`Record::fingerprint`] of what the import says; of a facility also [`MENTIONED`] or
    /// [`CONFIRMED`].
    pub content: i64,
    pub is_facility: bool,
    /// The row is as it is by this import.
    pub wrote: bool,
    /// Where it wrote: what was there before, `None` for nothing. Where it did not: what it says,
    /// if that is not what is there.
    pub hidden: Option<Hidden>,
}

/// A record that is not in its table now, with where it last counted if it is that of a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    pub record: Record,
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
    pub(super) fn to_text(&self) -> String {
        let text = HiddenText {
            event_time_ms: self.record.event_time_ms,
            entity: self.record.entity.clone(),
            counted: self.last_counted.map(|c| (c.facility_id, c.at_ms)),
        };
        serde_json::to_string(&text).expect("a record has string keys only")
    }

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

/// Rows of a file that say the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EqualRows {
    pub facility_id: Uuid,
    pub at_ms: i64,
    pub blood_type: Option<BloodType>,
    pub quantity: Option<i32>,
    /// How many equal ones stand before them in the file.
    pub before: u32,
    pub count: u32,
}

/// Units by blood type.
pub type Units = BTreeMap<BloodType, i64>;

/// A closed day that an import recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedDay {
    pub facility_id: Uuid,
    pub date: Date,
    pub import_id: i32,
    /// Of the imports of a day each later one lies on top of those before.
    pub turn: i64,
    pub recorded: Units,
    /// The same types as they were; `None` where the day had no stock recorded at all.
    pub before: Option<Units>,
}

pub(super) fn units_text(units: &Units) -> String {
    serde_json::to_string(units).expect("blood types are strings")
}

pub(super) fn parse_units(text: &str) -> Result<Units> {
    serde_json::from_str(text).map_err(|e| StoreError::Unreadable(format!("imported_days: {e}")))
}

/// What is kept of imports, outside any transaction.
#[async_trait]
pub trait ImportLog: Send + Sync {
    /// All imports, oldest first, those that were undone included.
    async fn imports(&self) -> Result<Vec<Import>>;
    /// Begins an import, or another run of the one with this fingerprint, and answers its number.
    async fn begin_import(&self, new: &NewImport) -> Result<i32>;
    async fn finish_import(&self, id: i32, finished: &Finished) -> Result<()>;
    /// Notes that an undo has begun.
    async fn begin_undo(&self, id: i32) -> Result<()>;
    async fn finish_undo(&self, id: i32) -> Result<()>;
    /// Those of these ids of a kind that there is a row or a tombstone of.
    async fn rows_in(&self, kind: Kind, ids: &[Uuid]) -> Result<HashSet<Uuid>>;
    /// The imports that name these rows.
    async fn claims(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, i32)>>;
    /// How many rows, of which these are the values, equal rows that imports have brought from
    /// other sources than `source`; by source.
    async fn equal_rows(
        &self,
        kind: Kind,
        source: &str,
        rows: &[EqualRows],
    ) -> Result<Vec<(String, u64)>>;
    /// The rows behind `after` that an import names, in the order of their ids, `limit` at most.
    async fn imported_rows(
        &self,
        import: i32,
        facilities: bool,
        after: Uuid,
        limit: usize,
    ) -> Result<Vec<Uuid>>;
    /// Some of the days that an import recorded, `limit` at most.
    async fn imported_days(&self, import: i32, limit: usize) -> Result<Vec<(Uuid, Date)>>;
}

/// The same within a transaction.
#[async_trait]
pub trait ImportNotes: Send {
    /// Notes rows that an import names. What it wrote replaces an earlier note of the same import;
    /// what it did not leaves that as it is.
    async fn note_rows(&mut self, rows: &[ImportedRow]) -> Result<()>;
    /// Every import's note of these rows.
    async fn noted_rows(&mut self, ids: &[Uuid]) -> Result<Vec<ImportedRow>>;
    async fn forget_rows(&mut self, import: i32, ids: &[Uuid]) -> Result<()>;
    /// Every import's note of these days.
    async fn noted_days(&mut self, days: &[(Uuid, Date)]) -> Result<Vec<ImportedDay>>;
    /// Notes days, in place of what the same import noted of them before.
    async fn note_days(&mut self, days: &[ImportedDay]) -> Result<()>;
    async fn forget_days(&mut self, import: i32, days: &[(Uuid, Date)]) -> Result<()>;
    /// Deletes rows and leaves nothing behind, as if they had never been.
    async fn erase(&mut self, kind: Kind, ids: &[Uuid]) -> Result<()>;
    /// Those of these facilities that something still refers to: a blood bank, a delivery, a
    /// request, a closed day that an import recorded, or a summary with a figure.
    async fn referred_to(&mut self, facilities: &[Uuid]) -> Result<Vec<Uuid>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_comes_back_as_it_was() {
        let counted = LastCounted { facility_id: Uuid::from_u128(3), at_ms: Some(-5) };
        let (facility_id, blood_type) = (Uuid::from_u128(1), Some(BloodType::AbNegative));
        for (entity, last_counted) in [
            (None, Some(counted)),
            (None, None),
            (
                Some(Entity::Facility {
                    name: "Tema \"General\"".into(),
                    timezone: "Africa/Accra".into(),
                }),
                None,
            ),
            (
                Some(Entity::Request {
                    blood_type: None,
                    created_at_ms: -1,
                    facility_id,
                    quantity: None,
                }),
                None,
            ),
            (
                Some(Entity::Distribution {
                    blood_type,
                    date_delivered_ms: None,
                    dispatched_to_id: facility_id,
                    quantity: 7,
                }),
                None,
            ),
        ] {
            let hidden = Hidden {
                record: Record { event_time_ms: 1_700_000_000_000, entity },
                last_counted,
            };
            assert_eq!(Hidden::parse(&hidden.to_text()).unwrap(), hidden);
        }
    }
}
