//! The rung of the summary table: on a standby that is fresh enough, or on the primary. This file
//! decides between the two.

use std::sync::Arc;

use crate::{
    cache::memory::{Entry, Fill, FillToken},
    directory::Located,
    domain::{
        day::Day,
        summary::{DayKey, Key, SummaryRow},
    },
    metrics::RefreshTrigger,
    service::reads::{
        Reads,
        answer::{Answer, Forward, ReadOutcome, Tier, hit},
        freshness_request::FreshnessRequest,
        keep_newer,
        tier_row::TierRow,
    },
    store,
    store::TableRead,
};

/// The number of reads of a row that lost a race, before a refresh decides.
const FILL_ATTEMPTS: usize = 3;

/// What the table brings.
pub(super) enum FromTable {
    Answer(Answer),
    /// Nothing fresh enough: the day is to be refreshed.
    Nothing,
    /// The primary is out of reach, and is not asked for a moment.
    BackingOff,
}

/// What was found in the table.
enum TableResult {
    Entry(Arc<Entry>),
    Nothing,
    BackingOff,
}

impl Reads {
    /// Reads the table, and answers if that is fresh enough for this reader. The table is not read
    /// where memory has an entry that is as fresh as anything in it.
    pub(super) async fn from_table(
        self: &Arc<Self>,
        located: &Located,
        day: Day,
        requested: &FreshnessRequest,
        last: &mut Option<Arc<Entry>>,
        forward: Forward,
    ) -> store::Result<FromTable> {
        let arrived_ms = self.clock.now_ms();
        let outcome = |is_fresh| if is_fresh { ReadOutcome::Fresh } else { ReadOutcome::Stale };
        if last
            .as_ref()
            .is_some_and(|held| held.version >= requested.min_version && self.is_proven(held))
        {
            return Ok(FromTable::Nothing);
        }
        let entry = match self.read_table(located, day, requested, arrived_ms).await? {
            TableResult::Entry(entry) => entry,
            TableResult::Nothing => return Ok(FromTable::Nothing),
            TableResult::BackingOff => return Ok(FromTable::BackingOff),
        };
        keep_newer(last, &entry);
        let age_ms = self.age_ms(&entry, located, self.clock.now_ms());
        let is_fresh = requested.accepts(age_ms);
        let tolerable_ms = requested.max_age_ms.saturating_add(requested.max_stale_ms.unwrap_or(0));
        if !(is_fresh
            || (requested.max_stale_ms.is_some() && age_ms <= tolerable_ms)
            || entry.version < requested.min_version)
        {
            return Ok(FromTable::Nothing);
        }
        if !is_fresh {
            self.coalescer.join(
                DayKey { facility: located.facility.clone(), day },
                Some(requested.min_freshness(arrived_ms)),
                RefreshTrigger::Read,
            );
        }
        Ok(FromTable::Answer(Answer {
            outcome: outcome(is_fresh),
            tier: Tier::Table,
            forward: Some(forward),
            ..hit(entry, age_ms)
        }))
    }

    /// The stored row: from a standby where that is fresh enough, else from the primary. A past day
    /// without a row is an empty day, once a watermark proves that. `Nothing` where the day must be
    /// refreshed.
    async fn read_table(
        &self,
        located: &Located,
        day: Day,
        requested: &FreshnessRequest,
        now_ms: i64,
    ) -> store::Result<TableResult> {
        let key = Key { facility_id: located.facility.id, date: day.date };
        let token = self.memory.fill_token();
        if let Some(read) = self.standby.summaries(&[key]).await
            && let Some(entry) =
                self.take_from_standby(&token, read, located, &day, requested, now_ms)
        {
            return Ok(TableResult::Entry(entry));
        }
        if !self.outage.may_try() {
            return Ok(TableResult::BackingOff);
        }
        for _ in 0..FILL_ATTEMPTS {
            let (token, table_ms) = (self.memory.fill_token(), self.memory.table_ms());
            let known = self.memory.known_version(&key);
            let read = self.store.summaries(&[key]).await?;
            self.outage.over();
            if !self.changes.continue_in(&read, table_ms) {
                return Ok(TableResult::Nothing); // another epoch: the next look drops what is held
            }
            if read.rows.iter().any(|row| row.summary.version < known) {
                self.changes.suspect_restore();
                return Ok(TableResult::Nothing);
            }
            let Some(found) =
                TierRow::on_primary(read, &located.facility, &day, &token, table_ms, now_ms)
            else {
                return Ok(TableResult::Nothing);
            };
            if let Fill::Kept(entry) = found.keep(&self.memory, &token)
                && entry.is_of(&day)
            {
                self.share(&token, &found.row, found.as_of_ms);
                return Ok(TableResult::Entry(entry));
            }
        }
        Ok(TableResult::Nothing)
    }

    /// The entry of a row that a standby answered; `None` where it lags too far behind for this
    /// reader, or behind what memory knows. The row is exact as of the watermark that the standby
    /// has received.
    fn take_from_standby(
        &self,
        token: &FillToken,
        read: TableRead,
        located: &Located,
        day: &Day,
        requested: &FreshnessRequest,
        now_ms: i64,
    ) -> Option<Arc<Entry>> {
        let found = TierRow::on_standby(read, &located.facility, day, now_ms)?;
        if !requested.accepts(now_ms.saturating_sub(found.as_of_ms))
            || found.row.summary.version < requested.min_version
        {
            return None;
        }
        match found.keep(&self.memory, token) {
            Fill::Kept(entry) => Some(entry).filter(|entry| entry.is_of(day)),
            Fill::LostRace => None,
        }
    }

    /// Publishes for the other replicas what was read from the table.
    fn share(&self, token: &FillToken, row: &SummaryRow, as_of_ms: i64) {
        if self.leases.is_some() {
            self.changes.confirm(token, std::iter::once(&SummaryRow { as_of_ms, ..row.clone() }));
        }
    }
}
