//! Reads of the summary table for readers of single days, in batches: from the primary, and from
//! the standbys where there are any. Each batch takes one fill token before its statement; each of
//! its days is judged by itself, and is put into memory by the same rules as if it were read alone.

use std::{ops::Range, sync::Arc};

use super::{
    batches::{Batch, Batches, DaySource},
    standby::StandbyReads,
};
use crate::{
    cache::memory::{Entry, Fill, FillToken, Memory},
    changes::Changes,
    clock::Clock,
    domain::{
        day::Day,
        summary::{DayKey, Key, SummaryRow},
    },
    metrics::Metrics,
    service::{outage::Outage, tier_row::TierRow},
    store::{Store, StoreError, TableRead},
};

/// Statements that fail of one batch, before the rest of it fails as they did. It is enough to find
/// three bad days among a thousand.
const MOST_FAILURES: usize = 64;
/// Rows that are put into memory before other tasks get a turn.
const ROWS_PER_TURN: usize = 32;

/// The batches of table reads.
pub struct TableLoader {
    /// Reads of the primary.
    pub primary: Arc<Batches<Primary>>,
    /// Reads of the standbys; `None` where there are none.
    pub standby: Option<Arc<Batches<Standby>>>,
}

/// The primary's table.
pub struct Primary {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Where the rows are put.
    pub memory: Arc<Memory>,
    /// Says which epoch is served.
    pub changes: Arc<Changes>,
    /// Learns that the database answers.
    pub outage: Arc<Outage>,
    /// The database's time.
    pub clock: Arc<Clock>,
    /// Counts statements and days.
    pub metrics: Arc<Metrics>,
    /// Other replicas are to learn what was read.
    pub is_shared: bool,
}

/// What the primary's table has of a day.
#[derive(Debug, Clone)]
pub enum OnPrimary {
    /// It stands in memory now.
    Entry(Arc<Entry>),
    /// The day must be refreshed, or does not exist.
    Nothing,
    /// A newer version came by meanwhile: the day is to be read again.
    LostRace,
    Failed(Arc<StoreError>),
}

/// The tables of the standbys.
pub struct Standby {
    /// The standbys.
    pub reads: Arc<StandbyReads>,
    /// Gives the fill tokens.
    pub memory: Arc<Memory>,
    /// Counts statements and days.
    pub metrics: Arc<Metrics>,
}

/// What a standby has of a day, and the token that was taken before the read. `None` where no
/// standby answers.
pub type OnStandby = Option<(FillToken, TableRead)>;

impl DaySource for Primary {
    type Found = OnPrimary;

    async fn read(&self, batch: &Batch<Self>) {
        let days: Vec<DayKey> = batch.days().cloned().collect();
        let mut parts: Vec<Range<usize>> = std::iter::once(0..days.len()).collect();
        let mut failures = 0;
        while let Some(part) = parts.pop() {
            match self.read_part(batch, &days, part.clone()).await {
                Ok(()) => {}
                // One row that the database cannot read must not fail the others: the part is
                // halved until that row stands alone.
                Err(error) if part.len() > 1 && failures < MOST_FAILURES && is_of_rows(&error) => {
                    failures += 1;
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                }
                Err(error) => {
                    let error = Arc::new(error);
                    part.for_each(|place| batch.put(place, OnPrimary::Failed(error.clone())));
                }
            }
        }
    }
}

/// Whether the error may be about some of the rows that were asked for only.
fn is_of_rows(error: &StoreError) -> bool {
    match error {
        StoreError::Unreadable(_) | StoreError::Refused(_) | StoreError::Internal(_) => true,
        error @ StoreError::Failed(_) => !error.is_of_the_whole_database(),
        _ => false,
    }
}

impl Primary {
    /// Reads some days of the batch in one statement.
    async fn read_part(
        &self,
        batch: &Batch<Self>,
        days: &[DayKey],
        part: Range<usize>,
    ) -> Result<(), StoreError> {
        let keys: Vec<Key> = days[part.clone()].iter().map(DayKey::id).collect();
        // Taken in this order, before the statement.
        let (token, table_ms) = (self.memory.fill_token(), self.memory.table_ms());
        let known: Vec<i64> = keys.iter().map(|key| self.memory.known_version(key)).collect();
        self.metrics.count_table_read("primary", keys.len());
        let read = self.store.summaries(&keys).await?;
        self.outage.over();
        let now_ms = self.clock.now_ms();
        let nothing = || part.clone().for_each(|place| batch.put(place, OnPrimary::Nothing));
        if !self.changes.continue_in(&read, table_ms) {
            nothing(); // another epoch: the next look drops what is held
            return Ok(());
        }
        let stored: Vec<TableRead> = read.by_key(&keys).collect();
        if stored.iter().zip(&known).any(|(stored, known)| stored.has_older(|_| *known)) {
            // The whole snapshot is in doubt, not that row only.
            self.changes.suspect_restore();
            nothing();
            return Ok(());
        }
        for (place, stored) in part.zip(stored) {
            let found = self.keep(&days[place], stored, &token, table_ms, now_ms);
            batch.put(place, found);
            if place % ROWS_PER_TURN == ROWS_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn keep(
        &self,
        DayKey { facility, day }: &DayKey,
        stored: TableRead,
        token: &FillToken,
        table_ms: i64,
        now_ms: i64,
    ) -> OnPrimary {
        let Some(found) = TierRow::on_primary(stored, facility, day, token, table_ms, now_ms)
        else {
            return OnPrimary::Nothing;
        };
        match found.keep(&self.memory, token) {
            Fill::Kept(entry) if entry.is_of(day) => {
                self.share(token, found.row, found.as_of_ms);
                OnPrimary::Entry(entry)
            }
            Fill::Kept(_) | Fill::LostRace => OnPrimary::LostRace,
        }
    }

    /// Publishes for the other replicas what was read from the table.
    fn share(&self, token: &FillToken, row: SummaryRow, as_of_ms: i64) {
        if self.is_shared {
            self.changes.confirm(token, std::iter::once(&row.known_as_of(as_of_ms)));
        }
    }
}

impl DaySource for Standby {
    type Found = OnStandby;

    async fn read(&self, batch: &Batch<Self>) {
        let keys: Vec<Key> = batch.days().map(DayKey::id).collect();
        let token = self.memory.fill_token();
        self.metrics.count_table_read("standby", keys.len());
        match self.reads.summaries(&keys).await {
            Some(read) => read
                .by_key(&keys)
                .enumerate()
                .for_each(|(place, stored)| batch.put(place, Some((token, stored)))),
            None => (0..keys.len()).for_each(|place| batch.put(place, None)),
        }
    }
}

/// The entry of a day that a standby has; `None` where memory has a newer one, or the day of
/// another zone.
pub(super) fn keep_of_standby(
    memory: &Memory,
    token: &FillToken,
    found: &TierRow,
    day: &Day,
) -> Option<Arc<Entry>> {
    match found.keep(memory, token) {
        Fill::Kept(entry) => Some(entry).filter(|entry| entry.is_of(day)),
        Fill::LostRace => None,
    }
}
