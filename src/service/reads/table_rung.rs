//! The rung of the summary table: on a standby that is fresh enough, or on the primary. This file
//! decides between the two.

use std::sync::Arc;

use crate::{
    cache::memory::Entry,
    directory::Located,
    domain::{day::Day, summary::DayKey},
    metrics::RefreshTrigger,
    service::reads::{
        Reads,
        answer::{Answer, Forward, ReadOutcome, Tier, hit},
        batches::Joined,
        keep_newer,
        table_loader::{OnPrimary, keep_of_standby},
    },
    service::{freshness_request::FreshnessRequest, tier_row::TierRow},
    store::StoreError,
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
    /// Memory has what the reader asked for, from a read that has just finished.
    InMemory(Answer),
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
    ) -> Result<FromTable, Arc<StoreError>> {
        let arrived_ms = self.clock.now_ms();
        let outcome = |is_fresh| if is_fresh { ReadOutcome::Fresh } else { ReadOutcome::Stale };
        if last
            .as_ref()
            .is_some_and(|held| requested.takes_version(held.version) && self.is_proven(held))
        {
            return Ok(FromTable::Nothing);
        }
        let entry = match self.read_table(located, day, requested, arrived_ms).await? {
            TableResult::Entry(entry) => entry,
            TableResult::InMemory(answer) => return Ok(FromTable::Answer(answer)),
            TableResult::Nothing => return Ok(FromTable::Nothing),
            TableResult::BackingOff => return Ok(FromTable::BackingOff),
        };
        keep_newer(last, &entry);
        let age_ms = self.age_ms(&entry, located, self.clock.now_ms());
        let is_fresh = requested.accepts(age_ms);
        let tolerable_ms = requested.most_stale_ms();
        if !(is_fresh
            || (requested.max_stale_ms.is_some() && age_ms <= tolerable_ms)
            || !requested.takes_version(entry.version))
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
    ) -> Result<TableResult, Arc<StoreError>> {
        let key = DayKey { facility: located.facility.clone(), day };
        // A reader that knows of a version takes no read that began before it came: the version may
        // have been committed since.
        let shares_in_flight = requested.min_version == 0;
        if let Some(entry) = self.read_standby(&key, shares_in_flight, requested, now_ms).await {
            return Ok(TableResult::Entry(entry));
        }
        if !self.outage.may_try() {
            return Ok(TableResult::BackingOff);
        }
        for _ in 0..FILL_ATTEMPTS {
            let just_finished =
                || self.fresh_in_memory(located, &day, requested, self.clock.now_ms());
            let found = match self.loader.primary.join(key.clone(), shares_in_flight, just_finished)
            {
                Joined::JustFinished(answer) => return Ok(TableResult::InMemory(answer)),
                Joined::Waits(place) => place.found().await,
            };
            match found {
                Some(OnPrimary::Entry(entry)) => return Ok(TableResult::Entry(entry)),
                Some(OnPrimary::Nothing) => return Ok(TableResult::Nothing),
                Some(OnPrimary::LostRace) => {}
                Some(OnPrimary::Failed(error)) => return Err(error),
                None => return Err(Arc::new(StoreError::Panicked)),
            }
        }
        Ok(TableResult::Nothing)
    }

    /// The entry of a row that a standby answered; `None` where it lags too far behind for this
    /// reader, or behind what memory knows. The row is exact as of the watermark that the standby
    /// has received.
    async fn read_standby(
        &self,
        key: &DayKey,
        shares_in_flight: bool,
        requested: &FreshnessRequest,
        now_ms: i64,
    ) -> Option<Arc<Entry>> {
        let batches = self.loader.standby.as_ref()?;
        let Joined::Waits(place) = batches.join(key.clone(), shares_in_flight, || None::<()>)
        else {
            return None;
        };
        let (token, stored) = place.found().await??;
        let found = TierRow::on_standby(stored, &key.facility, &key.day, now_ms)?;
        if !requested.accepts(now_ms.saturating_sub(found.as_of_ms))
            || !requested.takes_version(found.row.summary.version)
        {
            return None;
        }
        keep_of_standby(&self.memory, &token, &found, &key.day)
    }
}
