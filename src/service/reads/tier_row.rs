//! What a row of a lower tier proves: the instant as of which it is exact, and the position in the
//! stream behind which every later change stands.

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
        let proven_ms = table_ms.max(read.watermark.map_or(i64::MIN, |watermark| watermark.at_ms));
        let is_changing = read.changing.contains(&facility.id);
        let row = match in_table(read, facility, day)? {
            Some(row) => row,
            // The watermark proves the facility as it was before its change. Its new rows are yet
            // to be derived.
            None if is_changing => return None,
            None if day.end_ms <= now_ms && proven_ms != i64::MIN => {
                empty(facility.id, day, proven_ms)
            }
            None => return None,
        };
        // At most now. A row from before the database's clock was set back must not look fresh
        // until the clock reaches that time again.
        let as_of_ms = row.as_of_ms.min(now_ms).max(proven_ms);
        Some(TierRow { row, as_of_ms, since: token.position })
    }

    /// A row that a standby's table has. It is exact as of the watermark that the standby has
    /// received; `None` before the first watermark.
    pub fn on_standby(
        read: TableRead,
        facility: &Facility,
        day: &Day,
        now_ms: i64,
    ) -> Option<Self> {
        let watermark = read.watermark?;
        let row = in_table(read, facility, day)??;
        let as_of_ms = row.as_of_ms.max(watermark.at_ms).min(now_ms);
        Some(TierRow { row, as_of_ms, since: watermark.position })
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

/// The row of the day, if there is one. The outer `None` says that the snapshot does not have the
/// facility in the zone that the day was taken from. The zone is in the same snapshot as the
/// watermark, so the age of the directory does not matter.
fn in_table(read: TableRead, facility: &Facility, day: &Day) -> Option<Option<SummaryRow>> {
    let is_there = read.zones.get(&facility.id).is_some_and(|zone| *zone == facility.zone.name);
    let row = read.rows.into_iter().next();
    (is_there && row.as_ref().is_none_or(|row| row.is_of(day))).then_some(row)
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
