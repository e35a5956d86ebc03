//! What a rung below memory found: as of when it is exact, and behind which position of the stream
//! all stands that was committed later.

use crate::{
    cache::memory::{Fill, FillToken, Memory},
    domain::{
        day::Day,
        facility::Facility,
        summary::{Key, Summary, SummaryRow},
    },
    protocol::{Position, StoredEntry},
    store::TableRead,
};

/// A row on its way into memory.
#[derive(Debug, Clone)]
pub struct TierRow {
    pub row: SummaryRow,
    pub as_of_ms: i64,
    pub since: Position,
}

impl TierRow {
    /// In the table of the primary, or nothing, which for a past day is its empty answer once
    /// something is proven. `token` and then `table_ms` were taken before the read: whatever
    /// was proven of the table by then is in the row, or will be seen behind the position.
    /// `None` where the source has to tell: a facility that is gone, or in another zone than was
    /// thought, has no such day.
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
            // What was proven was proven in the zone before; rows of this one are yet to be
            // derived.
            None if is_changing => return None,
            None if day.end_ms <= now_ms && proven_ms != i64::MIN => {
                empty(&(facility.id, day.date), day, proven_ms)
            }
            None => return None,
        };
        // Not later than now: a row of before the database's clock was set back must not look fresh
        // until it catches up.
        let as_of_ms = row.as_of_ms.min(now_ms).max(proven_ms);
        Some(TierRow { row, as_of_ms, since: token.position })
    }

    /// In the table of a streaming replica, which proves what the watermark proves that it has
    /// received. `None` before the first.
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

    /// In the tier that the replicas share.
    pub fn in_redis(entry: StoredEntry, day: &Day, now_ms: i64) -> Option<Self> {
        let as_of_ms = entry.row.as_of_ms.min(now_ms);
        entry.row.is_of(day).then_some(TierRow { row: entry.row, as_of_ms, since: entry.since })
    }

    /// Puts it into memory; `token` was taken before it was looked for.
    pub fn keep(&self, memory: &Memory, token: &FillToken) -> Fill {
        memory.fill(token, self.since, &self.row, self.as_of_ms)
    }
}

/// The row of the day, if there is one, where the facility is in the zone that the day was taken
/// from: in the same snapshot as the watermark, so that nobody need know how old the directory was.
/// Otherwise `None`.
fn in_table(read: TableRead, facility: &Facility, day: &Day) -> Option<Option<SummaryRow>> {
    let is_there = read.zones.get(&facility.id).is_some_and(|zone| *zone == facility.zone.name);
    let row = read.rows.into_iter().next();
    (is_there && row.as_ref().is_none_or(|row| row.is_of(day))).then_some(row)
}

/// A past day for which nothing is stored.
fn empty((facility, date): &Key, day: &Day, as_of_ms: i64) -> SummaryRow {
    SummaryRow {
        summary: Summary::empty(*facility, *date, true),
        as_of_ms,
        next_expires_at_ms: None,
        bounds: Some(day.into()),
    }
}
