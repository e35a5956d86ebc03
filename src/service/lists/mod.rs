//! Many days in one answer: a range of a facility's, or one of all facilities. They are read from
//! the table, whose rows are exact as of a watermark; which days there are comes from the
//! directory, which is exact as of one, too. An answer claims the earlier of both, and is
//! thrown away where it is older than its reader asked for by the time that it is whole.

pub mod parts;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;

use crate::{
    directory::{Directory, Located},
    domain::summary::{DayKey, Key, Summary},
    metrics::Trigger,
    service::{
        reads::{Reads, freshness_request::FreshnessRequest},
        refresh::Refresher,
    },
    store,
    store::StoreError,
};
use parts::{Parts, Read};

pub struct Lists {
    pub reads: Arc<Reads>,
    pub refresher: Arc<Refresher>,
    pub prover: Arc<dyn Prover>,
    /// Days refreshed in one transaction.
    pub chunk: usize,
}

/// Who deals with what others wrote.
#[async_trait]
pub trait Prover: Send + Sync {
    /// Deals with what is visible now, and tells everybody as of when the table is exact by then.
    /// False where there is more.
    async fn prove(&self) -> store::Result<bool>;
}

/// The days that a list is about.
pub struct Selected {
    pub keys: Vec<DayKey>,
    /// The instant as of which the directory had them right.
    pub directory_ms: i64,
}

/// A list, in the order of the days that were selected.
#[derive(Debug)]
pub struct List {
    pub summaries: Vec<(DayKey, Summary)>,
    /// Milliseconds since the oldest of them was last known to be exact.
    pub age_ms: i64,
    pub source: Source,
}

/// What a list was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Memory,
    Table,
    /// Some of its days had to be refreshed.
    Refreshed,
    /// The source is out of reach, and these are the last figures.
    Unavailable,
}

#[derive(Debug)]
pub enum ListError<E> {
    /// There are no such days.
    Selection(E),
    /// `only-if-cached`, and nothing fresh enough in memory.
    NotCached,
    /// Nothing fresh enough can be had now.
    Unavailable,
    /// Somebody holds a lock that a day's refresh, or the proof, needs.
    Locked,
}

/// Pause between two tries while nothing can be proven: somebody holds a lock that the proof needs,
/// say.
const LOCK_POLL: Duration = Duration::from_millis(100);
/// How long the directory may take to hear of what was proven of the table, before it is read anew.
const HEARS_WITHIN: Duration = Duration::from_millis(100);
const HEARING_POLL: Duration = Duration::from_millis(2);
/// How old the directory may be, at most, when a request comes while nobody tells it of what others
/// change. (Not when the answer leaves: where reading it takes longer than that, no answer ever
/// would.)
const UNHEARD_MS: i64 = 1_000;
/// Keys read from the table in one statement.
const CHUNK: usize = 1_000;

/// What a reader asked for, and when.
struct Asked {
    requested: FreshnessRequest,
    arrived_ms: i64,
}

impl Asked {
    /// Whether what is exact as of then will do, if it is given out now. For `no-cache` nothing
    /// does that was proven before the request came; to others nothing that is older than their
    /// bound by now.
    fn takes(&self, exact_ms: i64, now_ms: i64) -> bool {
        let Some(age_ms) = (exact_ms != i64::MIN).then(|| now_ms.saturating_sub(exact_ms)) else {
            return false;
        };
        let tolerable_ms = self
            .requested
            .max_stale_ms
            .map(|most_ms| self.requested.max_age_ms.saturating_add(most_ms));
        (self.requested.max_age_ms == 0 && exact_ms > self.arrived_ms)
            || (self.requested.max_age_ms > 0 && age_ms <= self.requested.max_age_ms)
            || tolerable_ms.is_some_and(|most_ms| age_ms <= most_ms)
    }
}

/// What became of an attempt.
enum Attempt {
    Whole(List),
    /// The directory did not know what the table has by now: it has been read again.
    DirectoryWasBehind,
    /// The database told another history than the one that is served.
    OtherEpoch,
}

impl Lists {
    /// The days that `select` finds in the directory, at the clock's time: once, or again where
    /// that has changed. To be run to its end.
    pub async fn read<E>(
        &self,
        requested: FreshnessRequest,
        select: impl Fn(&Directory, i64) -> Result<Selected, E>,
    ) -> Result<List, ListError<E>> {
        let asked = Asked { requested, arrived_ms: self.reads.clock.now_ms() };
        if requested.only_if_cached {
            return self
                .held(&select, |exact_ms, now_ms| asked.takes(exact_ms, now_ms), Source::Memory)?
                .ok_or(ListError::NotCached);
        }
        if !self.reads.outage.may_try() {
            return self.last(&asked, &select, ListError::Unavailable);
        }
        let started = Instant::now();
        let reached = tokio::select! {
            biased; // an answer that is there counts
            reached = tokio::time::timeout(self.reads.freshness.refresh_timeout(), self.reach(&asked, &select)) => reached.ok(),
            () = self.reads.outage.falls_silent() => None,
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
                self.reads.outage.waited_in_vain(started);
                self.last(&asked, &select, ListError::Locked)
            }
        }
    }

    async fn reach<E>(
        &self,
        asked: &Asked,
        select: &impl Fn(&Directory, i64) -> Result<Selected, E>,
    ) -> Result<List, ListError<E>> {
        loop {
            let (now_ms, directory_ms) =
                (self.reads.clock.now_ms(), self.reads.directory.exact_as_of_ms());
            let proven_ms = self.reads.memory.table_ms().min(directory_ms);
            let is_unheard = !self.reads.changes.is_attached()
                && asked.arrived_ms.saturating_sub(directory_ms) > UNHEARD_MS;
            if !asked.takes(proven_ms, now_ms) || is_unheard {
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
                // Where nothing had to be waited for, the time-out would never have its turn.
                Attempt::Whole(_) | Attempt::DirectoryWasBehind => tokio::task::yield_now().await,
                Attempt::OtherEpoch => tokio::time::sleep(LOCK_POLL).await,
            }
        }
    }

    /// For the readers to come: this one was glad of older figures.
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

    /// Has the table, and then the directory, proven to be as fresh as is asked for, if that can be
    /// had now.
    async fn prove(&self, asked: &Asked) -> store::Result<()> {
        let (memory, directory, clock) =
            (&self.reads.memory, &self.reads.directory, &self.reads.clock);
        let table_ms = memory.table_ms();
        if !self.reads.changes.is_attached() {
            // Nobody tells it of what others change.
            let will_do = |as_of_ms: i64| {
                asked.arrived_ms.saturating_sub(as_of_ms) <= UNHEARD_MS
                    && asked.takes(as_of_ms, clock.now_ms())
            };
            directory.catch_up(&*self.reads.store, will_do).await?;
        }
        if !asked.takes(table_ms, clock.now_ms()) {
            // It proves nothing either where another server stored a later proof meanwhile, of
            // which this one is yet to hear.
            if self.prover.prove().await? && memory.table_ms() == table_ms {
                tokio::time::sleep(LOCK_POLL).await;
            }
            return Ok(());
        }
        let hears = async {
            while !asked.takes(directory.exact_as_of_ms(), clock.now_ms()) {
                tokio::time::sleep(HEARING_POLL).await;
            }
        };
        match tokio::time::timeout(HEARS_WITHIN, hears).await {
            Ok(()) => Ok(()),
            Err(_) => {
                directory
                    .catch_up(&*self.reads.store, |as_of_ms| asked.takes(as_of_ms, clock.now_ms()))
                    .await
            }
        }
    }

    /// Reads the days from the table, and refreshes those that it does not have.
    async fn attempt(&self, selected: Selected, asked: &Asked) -> store::Result<Attempt> {
        let Selected { keys, directory_ms } = selected;
        let read = match self.standby(&keys, directory_ms, asked).await {
            Some(read) => read,
            None => match self.primary(&keys, directory_ms).await? {
                Some(read) => read,
                None => return Ok(Attempt::OtherEpoch),
            },
        };
        let now_ms = self.reads.clock.now_ms();
        let mut parts = Parts::new(keys, read, now_ms);
        if !parts.unknown.is_empty() {
            self.reads.directory.reload(&*self.reads.store, &parts.unknown).await?;
            return Ok(Attempt::DirectoryWasBehind);
        }
        let source = if parts.due.is_empty() { Source::Table } else { Source::Refreshed };
        for chunk in std::mem::take(&mut parts.due).chunks(self.chunk) {
            let (refreshed, all) = self.refresher.run_each(chunk.to_vec(), Trigger::Read).await;
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

    /// The days as the primary has them; `None` where it does not tell the history that is served.
    async fn primary(&self, keys: &[DayKey], directory_ms: i64) -> store::Result<Option<Read>> {
        let mut found = Read::of(directory_ms);
        for chunk in keys.chunks(CHUNK) {
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

    /// The days as a streaming replica of the database has them. `None` where there is none, or
    /// none that has come far enough: for this reader, or for what memory knows already.
    async fn standby(&self, keys: &[DayKey], directory_ms: i64, asked: &Asked) -> Option<Read> {
        let (mut found, memory) = (Read::of(directory_ms), &self.reads.memory);
        for chunk in keys.chunks(CHUNK) {
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
                || memory.is_of_former_life(key.0, version)
        };
        // One that has not heard of a facility yet, or of its zone, says nothing about it.
        let is_near = asked.takes(found.exact_ms, self.reads.clock.now_ms());
        (is_near && keys.iter().all(|key| found.knows(key) && !is_behind(&key.id())))
            .then_some(found)
    }

    /// The last figures, where the source cannot be asked; `error` where they will not do.
    fn last<E>(
        &self,
        asked: &Asked,
        select: &impl Fn(&Directory, i64) -> Result<Selected, E>,
        error: ListError<E>,
    ) -> Result<List, ListError<E>> {
        let most_ms = if asked.requested.explicit {
            asked.requested.max_age_ms
        } else {
            1000 * i64::try_from(self.reads.freshness.stale_if_error_seconds)
                .unwrap_or(i64::MAX / 1000)
        };
        let takes = |exact_ms: i64, now_ms: i64| now_ms.saturating_sub(exact_ms) <= most_ms;
        self.held(select, takes, Source::Unavailable)?.ok_or(error)
    }

    /// The days as memory holds them, if it holds them all, each of which will do.
    fn held<E>(
        &self,
        select: &impl Fn(&Directory, i64) -> Result<Selected, E>,
        takes: impl Fn(i64, i64) -> bool,
        source: Source,
    ) -> Result<Option<List>, ListError<E>> {
        let now_ms = self.reads.clock.now_ms();
        let Selected { keys, directory_ms } =
            select(&self.reads.directory, now_ms).map_err(ListError::Selection)?;
        // However young its days are, a list is no younger than the directory: who came since then
        // is not in it.
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
