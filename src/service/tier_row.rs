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

/// How far a row may be ahead of the service's estimate of the database's time, in milliseconds.
/// The estimate lags by a part of a round trip, and the database's clock may be slewed. A row that
/// is further ahead is from before the clock was set back: units that it takes for expired may
/// count once more, and its day may not have begun.
const MOST_AHEAD_MS: i64 = 1_000;

/// Whether the figures are of this day, and of an instant that has been. If not, the day is to be
/// refreshed.
pub fn is_good_for(row: &SummaryRow, day: &Day, now_ms: i64) -> bool {
    row.is_of(day) && row.as_of_ms <= now_ms.saturating_add(MOST_AHEAD_MS)
}

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
            let row = rows.remove(&day.date).filter(|row| is_good_for(row, day, now_ms))?;
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

    /// An entry that the Redis tier has; `None` where it is of another zone's day of that date, or
    /// from before the database's clock was set back.
    pub fn in_redis(entry: StoredEntry, day: &Day, now_ms: i64) -> Option<Self> {
        let as_of_ms = entry.row.as_of_ms.min(now_ms);
        is_good_for(&entry.row, day, now_ms).then_some(TierRow {
            row: entry.row,
            as_of_ms,
            since: entry.since,
        })
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
            Some(row) if is_good_for(&row, day, self.now_ms) => row,
            Some(_) => return None,
            // The watermark proves the facility as it was before its change. Its new rows are yet
            // to be derived.
            None if self.is_changing => return None,
            None if day.end_ms <= self.now_ms && proven_ms != i64::MIN => {
                empty(self.facility, day, proven_ms)
            }
            None => return None,
        };
        // At most now: a row that is a little ahead must not look fresh for longer.
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

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc};

    use super::*;
    use crate::{
        domain::facility::Zone,
        protocol::{Epoch, Watermark},
    };

    #[test]
    fn no_tier_has_a_row_of_a_later_instant_than_now() {
        let zone = Arc::new(Zone::named("UTC").unwrap());
        let id = Uuid::from_u128(1);
        let day = Day::named(&zone.tz, jiff::civil::date(2026, 11, 21)).unwrap();
        let facility = Facility { id, name: String::new(), key: None, zone };
        let now_ms = day.start_ms + 3_600_000;
        let position = Position::default();
        let memory = Memory::new(1_000_000, 100, position);
        for (ahead_ms, is_found) in [(0, true), (MOST_AHEAD_MS, true), (MOST_AHEAD_MS + 1, false)] {
            let row = SummaryRow {
                summary: Summary::empty(id, day.date, false),
                as_of_ms: now_ms + ahead_ms,
                next_expires_at_ms: None,
                bounds: Some((&day).into()),
            };
            let read = TableRead {
                rows: vec![row.clone()],
                zones: HashMap::from([(id, "UTC".to_owned())]),
                changing: HashSet::new(),
                epoch: Epoch::of("one"),
                watermark: Some(Watermark { at_ms: now_ms - 500, position }),
                standby: None,
            };
            let token = memory.fill_token();
            for found in [
                TierRow::on_primary(read.clone(), &facility, &day, &token, now_ms - 500, now_ms),
                TierRow::on_standby(read, &facility, &day, now_ms),
                TierRow::in_redis(StoredEntry { row, since: position }, &day, now_ms),
            ] {
                assert_eq!(found.map(|found| found.as_of_ms), is_found.then_some(now_ms));
            }
        }
    }
}
