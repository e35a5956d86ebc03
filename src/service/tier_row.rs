//! What a row of a lower tier proves: the instant as of which it is exact, and the position in the
//! stream behind which every later change stands.

use std::collections::HashMap;

use jiff::civil::Date;
use uuid::Uuid;

use crate::{
    cache::memory::{Fill, FillToken, Memory},
    domain::{
        day::Day,
        facility::Facility,
        summary::{Summary, SummaryRow},
    },
    protocol::{Position, StoredEntry},
    store::TableRead,
};

/// A row that was read from a lower tier, before it is put into memory.
#[derive(Debug, Clone)]
pub struct TierRow {
    /// The figures.
    pub row: SummaryRow,
    /// The instant as of which they are exact, in milliseconds.
    pub as_of_ms: i64,
    /// The position behind which every later change stands.
    pub since: Position,
}

impl TierRow {
    /// A row that the primary's table has. A past day without a row is an empty day, once a
    /// watermark proves that. The caller took `token` and then `table_ms` before the read, so
    /// whatever was proven of the table by then is in the row or stands behind the token's
    /// position. `None` where the day must be refreshed, and where the facility is gone or in
    /// another zone, so that there is no such day.
    pub fn on_primary(
        read: TableRead,
        facility: &Facility,
        day: &Day,
        token: &FillToken,
        table_ms: i64,
        now_ms: i64,
    ) -> Option<Self> {
        if !has_facility(&read, facility) {
            return None;
        }
        let proof = TableProof::of(&read, facility, token, table_ms, now_ms);
        proof.judge(read.rows.into_iter().next(), day)
    }

    /// The same for several days of a facility, of which the table was asked in one statement; in
    /// the order of the days. The outer `None`: the facility is gone or in another zone.
    pub fn days_on_primary(
        read: TableRead,
        facility: &Facility,
        days: &[Day],
        token: &FillToken,
        table_ms: i64,
        now_ms: i64,
    ) -> Option<Vec<Option<Self>>> {
        if !has_facility(&read, facility) {
            return None;
        }
        let proof = TableProof::of(&read, facility, token, table_ms, now_ms);
        let mut rows: HashMap<Date, SummaryRow> =
            read.rows.into_iter().map(|row| (row.summary.date, row)).collect();
        Some(days.iter().map(|day| proof.judge(rows.remove(&day.date), day)).collect())
    }

    /// The rows that a standby's table has of several days, in the order of the days, as
    /// `on_standby` judges them.
    pub fn days_on_standby(
        read: TableRead,
        facility: &Facility,
        days: &[Day],
        now_ms: i64,
    ) -> Vec<Option<Self>> {
        let Some(watermark) = read.watermark.filter(|_| has_facility(&read, facility)) else {
            return vec![None; days.len()];
        };
        let mut rows: HashMap<Date, SummaryRow> =
            read.rows.into_iter().map(|row| (row.summary.date, row)).collect();
        let row = |day: &Day| {
            let row = rows.remove(&day.date).filter(|row| row.is_of(day))?;
            let as_of_ms = row.as_of_ms.max(watermark.at_ms).min(now_ms);
            Some(TierRow { row, as_of_ms, since: watermark.position })
        };
        days.iter().map(row).collect()
    }

    /// A row that a standby's table has. It is exact as of the watermark that the standby has
    /// received; `None` before the first watermark.
    pub fn on_standby(
        read: TableRead,
        facility: &Facility,
        day: &Day,
        now_ms: i64,
    ) -> Option<Self> {
        Self::days_on_standby(read, facility, std::slice::from_ref(day), now_ms).pop()?
    }

    /// An entry that the Redis tier has; `None` where it is of another zone's day of that date.
    pub fn in_redis(entry: StoredEntry, day: &Day, now_ms: i64) -> Option<Self> {
        let as_of_ms = entry.row.as_of_ms.min(now_ms);
        entry.row.is_of(day).then_some(TierRow { row: entry.row, as_of_ms, since: entry.since })
    }

    /// Puts the row into memory; `token` was taken before the tier was read.
    pub fn keep(&self, memory: &Memory, token: &FillToken) -> Fill {
        memory.fill(token, self.since, &self.row, self.as_of_ms)
    }
}

/// What a read of the primary's table proves of a facility that it has in the asked zone.
struct TableProof {
    facility: Uuid,
    is_changing: bool,
    proven_ms: i64,
    since: Position,
    now_ms: i64,
}

impl TableProof {
    fn of(
        read: &TableRead,
        facility: &Facility,
        token: &FillToken,
        table_ms: i64,
        now_ms: i64,
    ) -> Self {
        let stored_ms = read.watermark.map_or(i64::MIN, |watermark| watermark.at_ms);
        TableProof {
            facility: facility.id,
            is_changing: read.changing.contains(&facility.id),
            proven_ms: table_ms.max(stored_ms),
            since: token.position,
            now_ms,
        }
    }

    fn judge(&self, row: Option<SummaryRow>, day: &Day) -> Option<TierRow> {
        let proven_ms = self.proven_ms;
        let row = match row {
            Some(row) if row.is_of(day) => row,
            Some(_) => return None,
            // The watermark proves the facility as it was before its change. Its new rows are yet
            // to be derived.
            None if self.is_changing => return None,
            None if day.end_ms <= self.now_ms && proven_ms != i64::MIN => {
                empty(self.facility, day, proven_ms)
            }
            None => return None,
        };
        // At most now. A row from before the database's clock was set back must not look fresh
        // until the clock reaches that time again.
        let as_of_ms = row.as_of_ms.min(self.now_ms).max(proven_ms);
        Some(TierRow { row, as_of_ms, since: self.since })
    }
}

/// Whether the snapshot has the facility in the zone that its days were taken from. The zone is in
/// the same snapshot as the watermark, so the age of the directory does not matter.
fn has_facility(read: &TableRead, facility: &Facility) -> bool {
    read.zones.get(&facility.id).is_some_and(|zone| *zone == facility.zone.name)
}

/// The row of a past day for which nothing is stored.
fn empty(facility: Uuid, day: &Day, as_of_ms: i64) -> SummaryRow {
    SummaryRow {
        summary: Summary::empty(facility, day.date, true),
        as_of_ms,
        next_expires_at_ms: None,
        bounds: Some(day.into()),
    }
}
