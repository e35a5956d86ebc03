//! The rung of the summary table, for the days of a range.

use std::collections::HashMap;

use jiff::civil::Date;

use super::{Ranges, Read, lower_rungs::Found};
use crate::{
    cache::memory::FillToken,
    directory::Located,
    domain::{
        day::Day,
        summary::{Key, SummaryRow},
    },
    service::tier_row::TierRow,
    store,
};

/// What the table brought.
pub(super) enum FromTable {
    /// The days that it has. `due`: those that are to be refreshed.
    Days { due: Vec<Day> },
    /// The facility is gone, or in another zone than the directory has.
    Moved,
    /// It is to be asked again: a newer version came by meanwhile.
    Again,
    /// It answered from another epoch than the one that is served.
    OtherEpoch,
}

impl Ranges {
    /// Reads the days from the table: from a standby where that is fresh enough, the rest from the
    /// primary, in one statement.
    pub(super) async fn try_table(
        &self,
        read: &Read,
        located: &Located,
        wanted: &[Day],
        found: &mut Found,
    ) -> store::Result<FromTable> {
        let (facility, reads) = (&located.facility, &self.reads);
        let mut wanted = wanted.to_vec();
        if read.requested.min_version == 0 {
            self.try_standby(read, located, &mut wanted, found).await;
        }
        if wanted.is_empty() {
            return Ok(FromTable::Days { due: wanted });
        }
        let keys: Vec<Key> =
            wanted.iter().map(|day| Key { facility_id: facility.id, date: day.date }).collect();
        let (token, table_ms) = (reads.memory.fill_token(), reads.memory.table_ms());
        let known: HashMap<Date, i64> =
            keys.iter().map(|key| (key.date, reads.memory.known_version(key))).collect();
        let asked = reads.store.summaries(&keys).await?;
        reads.outage.over();
        if !reads.changes.continue_in(&asked, table_ms) {
            return Ok(FromTable::OtherEpoch);
        }
        if asked.has_older(|key| known.get(&key.date).copied().unwrap_or_default()) {
            reads.changes.suspect_restore();
            return Ok(FromTable::OtherEpoch);
        }
        let now_ms = reads.clock.now_ms();
        let Some(rows) =
            TierRow::days_on_primary(asked, facility, &wanted, &token, table_ms, now_ms)
        else {
            return Ok(FromTable::Moved);
        };
        let due = wanted.iter().zip(&rows).filter(|(_, row)| row.is_none()).map(|(day, _)| *day);
        let due = due.collect();
        let rows: Vec<TierRow> = rows.into_iter().flatten().collect();
        self.share(&token, &rows);
        if self.keep(located, &token, rows, found) {
            Ok(FromTable::Days { due })
        } else {
            Ok(FromTable::Again)
        }
    }

    /// Publishes for the other replicas what was read from the table.
    fn share(&self, token: &FillToken, rows: &[TierRow]) {
        if self.reads.leases.is_some() {
            let rows: Vec<SummaryRow> =
                rows.iter().map(|row| row.row.clone().known_as_of(row.as_of_ms)).collect();
            self.reads.changes.confirm(token, rows.iter());
        }
    }

    /// Takes from a standby what it has fresh enough; `wanted` keeps the rest.
    async fn try_standby(
        &self,
        read: &Read,
        located: &Located,
        wanted: &mut Vec<Day>,
        found: &mut Found,
    ) {
        let token = self.reads.memory.fill_token();
        let key = |day: &Day| Key { facility_id: located.facility.id, date: day.date };
        let keys: Vec<Key> = wanted.iter().map(key).collect();
        let Some(asked) = self.reads.standby.summaries(&keys).await else { return };
        let now_ms = self.reads.clock.now_ms();
        let rows = TierRow::days_on_standby(asked, &located.facility, wanted, now_ms);
        let rows = rows.into_iter().flatten().filter(|row| read.is_fresh(row.as_of_ms, now_ms));
        let rows: Vec<TierRow> = rows.collect();
        let dates: Vec<Date> = rows.iter().map(|row| row.row.summary.date).collect();
        let before = found.len();
        self.keep(located, &token, rows, found);
        if found.len() > before {
            wanted.retain(|day| !(dates.contains(&day.date) && found.contains_key(&day.date)));
        }
    }
}
