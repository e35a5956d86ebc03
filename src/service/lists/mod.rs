//! Lists: many days in one answer, either a range of days of one facility, or one day of all
//! facilities. The rows come from the table, and are exact as of a watermark. Which facilities and
//! days there are comes from the directory, which is exact as of an instant too. A list is exact as
//! of the earlier of both. A list that is older than its reader accepts when it is complete is
//! thrown away and made again.

pub mod day_of_all;
mod list_request;
pub mod parts;
pub mod view_fill;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;

use crate::{
    directory::{Directory, Located},
    domain::summary::{DayKey, Key, Summary},
    metrics::RefreshTrigger,
    service::{
        reads::{Reads, freshness_request::FreshnessRequest},
        refresh::Refresher,
    },
    store,
    store::StoreError,
};
use list_request::ListRequest;
use parts::{ListParts, ListRead};

/// Reads lists.
pub struct Lists {
    /// The reads of single days, with memory, store and directory.
    pub reads: Arc<Reads>,
    /// Refreshes days that the table does not have.
    pub refresher: Arc<Refresher>,
    /// Proves the table up to now.
    pub prover: Arc<dyn Prover>,
    /// The most days that are refreshed in one transaction.
    pub chunk: usize,
    /// How long a page of a view will do after it was rendered, although the view has changed, in
    /// milliseconds; 0: not at all.
    pub render_interval_ms: i64,
}

/// Refreshes what other programs changed, and so proves the table. The drain implements it.
#[async_trait]
pub trait Prover: Send + Sync {
    /// Refreshes everything that is marked or due now, and announces the watermark. False where
    /// more is left.
    async fn prove(&self) -> store::Result<bool>;
}

/// The days of a list.
pub struct Selected {
    /// The days, in the order of the answer.
    pub keys: Vec<DayKey>,
    /// The instant as of which the directory was right about them, in milliseconds.
    pub directory_ms: i64,
}

/// A list, in the order of the days that were selected.
#[derive(Debug)]
pub struct List {
    /// The days with their summaries.
    pub summaries: Vec<(DayKey, Summary)>,
    /// Milliseconds since the oldest of them was last known to be exact.
    pub age_ms: i64,
    /// Where the list comes from.
    pub source: Source,
}

/// Where a list comes from: of several, the last one here counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Memory,
    Table,
    /// The table; some of its days had to be refreshed.
    Refreshed,
    /// Memory, as the database is out of reach. These are the last figures.
    Unavailable,
}

/// Why there is no list.
#[derive(Debug)]
pub enum ListError<E> {
    /// The days could not be selected; the error of `select`.
    Selection(E),
    /// The reader sent `only-if-cached`, and memory has nothing fresh enough.
    NotCached,
    /// Nothing fresh enough can be had now.
    Unavailable,
    /// Another transaction holds a lock that a refresh, or the proof, needs.
    Locked,
}

/// Pause between two tries while nothing can be proven, for example while another transaction holds
/// a lock that the proof needs.
const LOCK_POLL: Duration = Duration::from_millis(100);
/// How long the directory may take to receive the watermark that was proven of the table. After
/// that it is read anew.
const WATERMARK_WAIT: Duration = Duration::from_millis(100);
const WATERMARK_POLL: Duration = Duration::from_millis(2);
/// The greatest age of the directory at the arrival of a request, while changes of other servers do
/// not arrive. The age is not judged when the answer leaves: where a read of the directory takes
/// longer than this, there would never be an answer.
const DETACHED_MS: i64 = 1_000;
/// Keys that one statement reads from the table.
const READ_CHUNK: usize = 1_000;

/// The result of an attempt.
enum Attempt {
    Whole(List),
    /// The table has facilities or zones that the directory did not know. The directory has been
    /// read again.
    DirectoryWasBehind,
    /// The database answered from another epoch than the one that is served.
    OtherEpoch,
}

impl Lists {
    /// The list of the days that `select` finds in the directory at the clock's time. `select` is
    /// called again where the directory has changed. The future must run to its end.
    pub async fn read<E>(
        &self,
        requested: FreshnessRequest,
        select: impl Fn(&Directory, i64) -> Result<Selected, E>,
    ) -> Result<List, ListError<E>> {
        let asked = ListRequest { requested, arrived_ms: self.reads.clock.now_ms() };
        if requested.only_if_cached {
            return self
                .held(&select, |exact_ms, now_ms| asked.takes(exact_ms, now_ms), Source::Memory)?
                .ok_or(ListError::NotCached);
        }
        if !self.reads.outage.may_try() {
            return self.last(&asked, &select, ListError::Unavailable);
        }
        let started = Instant::now();
        let reach = self.reach(&asked, &select);
        let reach = tokio::time::timeout(self.reads.freshness.refresh_timeout(), reach);
        let reached = tokio::select! {
            biased; // an answer that is there counts
            reached = reach => reached.ok(),
            () = self.reads.outage.stops_answering() => None,
        };
        match reached {
            Some(Ok(list)) => {
                if requested.max_stale_ms.is_some() && list.age_ms > requested.max_age_ms {
                    self.prove_behind();
                }
                Ok(list)
            }
            Some(Err(error @ ListError::Unavailable)) => self.last(&asked, &select, error),
            Some(result) => result,
            None => {
                self.reads.outage.got_no_answer(started);
                self.last(&asked, &select, ListError::Locked)
            }
        }
    }

    async fn reach<E>(
        &self,
        asked: &ListRequest,
        select: &impl Fn(&Directory, i64) -> Result<Selected, E>,
    ) -> Result<List, ListError<E>> {
        loop {
            let (now_ms, directory_ms) =
                (self.reads.clock.now_ms(), self.reads.directory.exact_as_of_ms());
            let proven_ms = self.reads.memory.table_ms().min(directory_ms);
            let is_detached = !self.reads.changes.is_attached()
                && asked.arrived_ms.saturating_sub(directory_ms) > DETACHED_MS;
            if !asked.takes(proven_ms, now_ms) || is_detached {
                self.prove(asked).await.map_err(|error| self.failed(&error))?;
                continue;
            }
            let selected = select(&self.reads.directory, self.reads.clock.now_ms())
                .map_err(ListError::Selection)?;
            match self.attempt(selected, asked).await.map_err(|error| self.failed(&error))? {
                Attempt::Whole(list)
                    if asked.takes(
                        self.reads.clock.now_ms() - list.age_ms,
                        self.reads.clock.now_ms(),
                    ) =>
                {
                    return Ok(list);
                }
                // Yields, as nothing else here waits: without this the time-out would never be
                // polled.
                Attempt::Whole(_) | Attempt::DirectoryWasBehind => tokio::task::yield_now().await,
                Attempt::OtherEpoch => tokio::time::sleep(LOCK_POLL).await,
            }
        }
    }

    /// Proves the table in the background for later readers; this reader took older figures.
    fn prove_behind(&self) {
        let prover = self.prover.clone();
        tokio::spawn(async move {
            if let Err(error) = prover.prove().await {
                tracing::debug!(%error, "nothing could be proven behind a list");
            }
        });
    }

    fn failed<E>(&self, error: &StoreError) -> ListError<E> {
        self.reads.outage.failed(error);
        match error {
            StoreError::Locked(_) | StoreError::Conflict => ListError::Locked,
            _ => ListError::Unavailable,
        }
    }

    /// Has the table, and then the directory, proven as fresh as the reader asked, if that is
    /// possible now.
    async fn prove(&self, asked: &ListRequest) -> store::Result<()> {
        let (memory, directory, clock) =
            (&self.reads.memory, &self.reads.directory, &self.reads.clock);
        let table_ms = memory.table_ms();
        if !self.reads.changes.is_attached() {
            // Changes of other servers do not arrive, so the directory itself is read.
            let will_do = |as_of_ms: i64| {
                asked.arrived_ms.saturating_sub(as_of_ms) <= DETACHED_MS
                    && asked.takes(as_of_ms, clock.now_ms())
            };
            directory.catch_up(&*self.reads.store, will_do).await?;
        }
        if !asked.takes(table_ms, clock.now_ms()) {
            // A pass also proves nothing where another server stored a later watermark meanwhile,
            // which this server has not received yet.
            if self.prover.prove().await? && memory.table_ms() == table_ms {
                tokio::time::sleep(LOCK_POLL).await;
            }
            return Ok(());
        }
        let received = async {
            while !asked.takes(directory.exact_as_of_ms(), clock.now_ms()) {
                tokio::time::sleep(WATERMARK_POLL).await;
            }
        };
        match tokio::time::timeout(WATERMARK_WAIT, received).await {
            Ok(()) => Ok(()),
            Err(_) => {
                directory
                    .catch_up(&*self.reads.store, |as_of_ms| asked.takes(as_of_ms, clock.now_ms()))
                    .await
            }
        }
    }

    /// Reads the days from the table, and refreshes those that it does not have.
    async fn attempt(&self, selected: Selected, asked: &ListRequest) -> store::Result<Attempt> {
        let Selected { keys, directory_ms } = selected;
        let read = match self.standby(&keys, directory_ms, asked).await {
            Some(read) => read,
            None => match self.primary(&keys, directory_ms).await? {
                Some(read) => read,
                None => return Ok(Attempt::OtherEpoch),
            },
        };
        let now_ms = self.reads.clock.now_ms();
        let mut parts = ListParts::new(keys, read, now_ms);
        if !parts.unknown.is_empty() {
            self.reads.directory.reload(&*self.reads.store, &parts.unknown).await?;
            return Ok(Attempt::DirectoryWasBehind);
        }
        let source = if parts.due.is_empty() { Source::Table } else { Source::Refreshed };
        for chunk in std::mem::take(&mut parts.due).chunks(self.chunk) {
            let (refreshed, all) =
                self.refresher.run_each(chunk.to_vec(), RefreshTrigger::Read).await;
            all?;
            parts.take_refreshed(chunk, refreshed.into_iter().map(|refreshed| refreshed.row));
        }
        if !parts.unknown.is_empty() {
            self.reads.directory.reload(&*self.reads.store, &parts.unknown).await?;
            return Ok(Attempt::DirectoryWasBehind);
        }
        let age_ms = self.reads.clock.now_ms().saturating_sub(parts.exact_ms).max(0);
        Ok(Attempt::Whole(List { summaries: parts.in_order(), age_ms, source }))
    }

    /// The days in the primary's table; `None` where the primary answers from another epoch than
    /// the one that is served.
    async fn primary(&self, keys: &[DayKey], directory_ms: i64) -> store::Result<Option<ListRead>> {
        let mut found = ListRead::of(directory_ms);
        for chunk in keys.chunks(READ_CHUNK) {
            let table_ms = self.reads.memory.table_ms();
            let read = self
                .reads
                .store
                .summaries(&chunk.iter().map(DayKey::id).collect::<Vec<_>>())
                .await?;
            self.reads.outage.over();
            if !self.reads.changes.continue_in(&read, table_ms) {
                return Ok(None);
            }
            let stored_ms = read.watermark.map_or(i64::MIN, |watermark| watermark.at_ms);
            found.add(read, table_ms.max(stored_ms));
        }
        Ok(Some(found))
    }

    /// The days in a standby's table. `None` where there is no standby, or none that is fresh
    /// enough for this reader and has at least the versions that memory knows.
    async fn standby(
        &self,
        keys: &[DayKey],
        directory_ms: i64,
        asked: &ListRequest,
    ) -> Option<ListRead> {
        let (mut found, memory) = (ListRead::of(directory_ms), &self.reads.memory);
        for chunk in keys.chunks(READ_CHUNK) {
            let read = self
                .reads
                .standby
                .summaries(&chunk.iter().map(DayKey::id).collect::<Vec<_>>())
                .await?;
            let watermark = read.watermark?;
            found.add(read, watermark.at_ms);
        }
        let is_behind = |key: &Key| {
            let version = found.rows.get(key).map_or(0, |(row, _)| row.summary.version);
            memory.get(key).is_some_and(|held| version < held.version)
                || memory.is_of_former_life(key.facility_id, version)
        };
        // A standby that has not received a facility yet, or its zone, proves nothing about it.
        let is_near = asked.takes(found.exact_ms, self.reads.clock.now_ms());
        (is_near && keys.iter().all(|key| found.knows(key) && !is_behind(&key.id())))
            .then_some(found)
    }

    /// The greatest age of the last figures while the database cannot be asked, in milliseconds.
    fn most_stale_ms(&self, asked: &ListRequest) -> i64 {
        if asked.requested.explicit {
            asked.requested.max_age_ms
        } else {
            1000 * i64::try_from(self.reads.freshness.stale_if_error_seconds)
                .unwrap_or(i64::MAX / 1000)
        }
    }

    /// The last figures in memory, where the database cannot be asked; `error` where there are none
    /// or they are too old.
    fn last<E>(
        &self,
        asked: &ListRequest,
        select: &impl Fn(&Directory, i64) -> Result<Selected, E>,
        error: ListError<E>,
    ) -> Result<List, ListError<E>> {
        let most_ms = self.most_stale_ms(asked);
        let takes = |exact_ms: i64, now_ms: i64| now_ms.saturating_sub(exact_ms) <= most_ms;
        self.held(select, takes, Source::Unavailable)?.ok_or(error)
    }

    /// The list from memory, if memory holds all days and `takes` accepts the list's age.
    fn held<E>(
        &self,
        select: &impl Fn(&Directory, i64) -> Result<Selected, E>,
        takes: impl Fn(i64, i64) -> bool,
        source: Source,
    ) -> Result<Option<List>, ListError<E>> {
        let now_ms = self.reads.clock.now_ms();
        let Selected { keys, directory_ms } =
            select(&self.reads.directory, now_ms).map_err(ListError::Selection)?;
        // However young its days are, a list is no younger than the directory: facilities that were
        // registered since then are not in it.
        let mut exact_ms = directory_ms;
        let mut summaries = Vec::with_capacity(keys.len());
        for key in keys {
            let located = Located { facility: key.facility.clone(), as_of_ms: directory_ms };
            let Some(held) = self.reads.held_summary(&located, &key.day, now_ms) else {
                return Ok(None);
            };
            if source == Source::Memory && !held.counts_as_fresh {
                return Ok(None);
            }
            exact_ms = exact_ms.min(held.exact_as_of_ms);
            summaries.push((key, held.summary));
        }
        let age_ms = now_ms.saturating_sub(exact_ms).max(0);
        Ok(takes(exact_ms, now_ms).then_some(List { summaries, age_ms, source }))
    }
}
