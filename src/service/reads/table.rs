//! The rung of the summary table: of a streaming replica that has come far enough, or of the
//! primary.

use std::sync::Arc;

use super::{Reads, keep_newer};
use crate::{
    cache::memory::{Entry, Fill, FillToken},
    domain::{
        day::Day,
        summary::{DayKey, SummaryRow},
    },
    metrics::Trigger,
    service::{
        answer::{Answer, Forward, FreshnessRequest, Outcome, Tier, hit},
        directory::Located,
        tier_row::TierRow,
    },
    store::{self, TableRead},
};

/// A fill that lost a race is read again so often before the refresh decides.
const FILL_ATTEMPTS: usize = 3;

impl Reads {
    /// The table, unless what memory has is as fresh as anything in there, and if it will do for
    /// this reader.
    pub(super) async fn try_table(
        self: &Arc<Self>,
        located: &Located,
        day: Day,
        requested: &FreshnessRequest,
        last: &mut Option<Arc<Entry>>,
        forward: Forward,
    ) -> store::Result<Option<Answer>> {
        let arrived_ms = self.clock.now_ms();
        let outcome = |is_fresh| if is_fresh { Outcome::Fresh } else { Outcome::Stale };
        if last
            .as_ref()
            .is_some_and(|held| held.version >= requested.min_version && self.is_proven(held))
        {
            return Ok(None);
        }
        let Some(entry) = self.read_table(located, day, requested, arrived_ms).await? else {
            return Ok(None);
        };
        keep_newer(last, &entry);
        let age_ms = self.age_ms(&entry, located, self.clock.now_ms());
        let is_fresh = requested.accepts(age_ms);
        let tolerable_ms = requested.max_age_ms.saturating_add(requested.max_stale_ms.unwrap_or(0));
        if !(is_fresh
            || (requested.max_stale_ms.is_some() && age_ms <= tolerable_ms)
            || entry.version < requested.min_version)
        {
            return Ok(None);
        }
        if !is_fresh {
            self.coalescer.join(
                DayKey { facility: located.facility.clone(), day },
                Some(requested.min_freshness(arrived_ms)),
                Trigger::Read,
            );
        }
        Ok(Some(Answer {
            outcome: outcome(is_fresh),
            tier: Tier::Table,
            forward: Some(forward),
            ..hit(entry, age_ms)
        }))
    }

    /// The stored row, of a read replica if that will do; for a past day without one, its empty
    /// answer, once a watermark proves that; `None` where the source has to tell.
    async fn read_table(
        &self,
        located: &Located,
        day: Day,
        requested: &FreshnessRequest,
        now_ms: i64,
    ) -> store::Result<Option<Arc<Entry>>> {
        let key = (located.facility.id, day.date);
        let token = self.memory.fill_token();
        if let Some(read) = self.standby.summaries(&[key]).await
            && let Some(entry) = self.take_nearby(&token, read, located, &day, requested, now_ms)
        {
            return Ok(Some(entry));
        }
        self.spare_primary()?;
        for _ in 0..FILL_ATTEMPTS {
            let (token, table_ms) = (self.memory.fill_token(), self.memory.table_ms());
            let known = self.memory.known_version(&key);
            let read = self.store.summaries(&[key]).await?;
            self.outage.over();
            if !self.changes.continue_in(&read, table_ms) {
                return Ok(None); // Another history: the next look drops what is held.
            }
            if read.rows.iter().any(|row| row.summary.version < known) {
                self.changes.doubt();
                return Ok(None);
            }
            let Some(found) =
                TierRow::on_primary(read, &located.facility, &day, &token, table_ms, now_ms)
            else {
                return Ok(None);
            };
            if let Fill::Kept(entry) = found.keep(&self.memory, &token)
                && entry.is_of(&day)
            {
                self.share(&token, &found.row, found.as_of_ms);
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// What a read replica answered, unless it lags too far behind for this reader, or behind what
    /// is known here. What it proves is what the watermark that it has received proves.
    fn take_nearby(
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

    /// Lets the other replicas have what was read from the table.
    fn share(&self, token: &FillToken, row: &SummaryRow, as_of_ms: i64) {
        if self.shared.is_some() {
            self.changes.confirm(token, std::iter::once(&SummaryRow { as_of_ms, ..row.clone() }));
        }
    }
}
