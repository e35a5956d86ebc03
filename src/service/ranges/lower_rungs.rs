//! The rungs below memory, for the days of a range that memory has not fresh enough.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use jiff::civil::Date;

use super::{
    RangeAnswer, RangeError, Ranges, Read, Select, reaches,
    table::FromTable,
    turns::{Due, LastTurn, Step},
};
use crate::{
    cache::{
        memory::{Entry, Fill, FillToken},
        page::{Page, PageDays, Span},
    },
    directory::Located,
    domain::{
        day::Day,
        summary::{DayKey, Key},
    },
    metrics::RefreshTrigger,
    service::reads::{
        VERSION_POLL,
        answer::{Forward, Tier},
    },
    service::tier_row::TierRow,
    store::{self, StoreError},
};

/// Pause between two tries while nothing can be proven or refreshed.
const PAUSE: Duration = Duration::from_millis(100);
/// Days that Redis is asked for at the same time.
const REDIS_AT_ONCE: usize = 64;

/// The entries that this read has found, which memory may have had no room for.
pub(super) type Found = HashMap<Date, Arc<Entry>>;

impl Ranges {
    /// Tries the rungs until they bring what this reader takes, or fail.
    pub(super) async fn reach<E: Send + 'static>(
        self: &Arc<Self>,
        read: &mut Read,
        select: &Select<E>,
    ) -> Result<RangeAnswer, RangeError<E>> {
        let found = Found::new();
        let (located, span) = select().map_err(RangeError::Selection)?;
        let days = Arc::new(PageDays::of(&located.facility, &span));
        if let Some((answer, is_fresh)) = self.try_memory(read, &located, &span, &days, &found) {
            if !is_fresh && !read.requested.only_if_cached && !self.reads.outage.is_on() {
                self.read_behind(located.facility.id, read, select);
            }
            return Ok(answer);
        }
        let is_held = |day: &Day| self.reads.held(located.facility.id, day).is_some();
        read.forward = Some(Forward::of(days.days.iter().all(is_held), &read.requested));
        if read.requested.max_age_ms == 0 && !read.requested.only_if_cached {
            self.reads.clock.has_passed(read.arrived_ms).await;
        }
        self.reach_step_by_step(read, select, located.facility.id).await
    }

    /// The range from what memory holds and what this read has found, if that is fresh enough, or
    /// if the reader takes older figures at once; and which of both.
    pub(super) fn try_memory(
        &self,
        read: &Read,
        located: &Located,
        span: &Span,
        days: &Arc<PageDays>,
        found: &Found,
    ) -> Option<(RangeAnswer, bool)> {
        let now_ms = self.reads.clock.now_ms();
        let held = self.pages.held(&self.reads.memory, &located.facility, span);
        let page = held.or_else(|| self.page_of(located, days, found))?;
        let exactness = self.reads.memory.page_exactness(&page, located.as_of_ms);
        let exact_ms = exactness.as_of_ms;
        if !reaches(&page, exact_ms, &read.requested) {
            return None;
        }
        let is_fresh = read.is_fresh(exact_ms, now_ms)
            && (read.requested.max_age_ms == 0
                || match read.tier {
                    Tier::Memory => self.counts_as_fresh(&exactness, &read.requested, now_ms),
                    Tier::Redis => {
                        days.days.iter().all(|day| self.is_fresh(read, located, day, found))
                    }
                    Tier::Table | Tier::Source => true,
                });
        (is_fresh || read.tolerates(exact_ms, now_ms))
            .then(|| (read.answer(page, now_ms.saturating_sub(exact_ms)), is_fresh))
    }

    /// The page of the days, each as it was found, or as memory holds it.
    fn page_of(&self, located: &Located, days: &Arc<PageDays>, found: &Found) -> Option<Arc<Page>> {
        let entry = |day: &Day| {
            let held = self.reads.held(located.facility.id, day);
            let found = found.get(&day.date).filter(|entry| entry.is_of(day));
            match (held, found) {
                (Some(held), Some(found)) if held.version < found.version => Some(found.clone()),
                (Some(held), _) => Some(held),
                (None, found) => found.cloned(),
            }
        };
        let entries = days.days.iter().map(entry).collect::<Option<Vec<_>>>()?;
        Some(Arc::new(Page::of(days.clone(), entries)))
    }

    /// The days that are missing, or not fresh enough. All of them where a version is asked for
    /// that is not there yet.
    pub(super) fn wanted(
        &self,
        read: &Read,
        located: &Located,
        days: &[Day],
        found: &Found,
    ) -> Vec<Day> {
        let all = read.requested.min_version > 0;
        let is_fresh = |day: &Day| self.is_fresh(read, located, day, found);
        days.iter().filter(|day| all || !is_fresh(day)).copied().collect()
    }

    /// Whether a day is held, or was found, and is fresh enough: see `Reads::counts_as_fresh`.
    fn is_fresh(&self, read: &Read, located: &Located, day: &Day, found: &Found) -> bool {
        let held = self.reads.held(located.facility.id, day);
        let found = found.get(&day.date).filter(|entry| entry.is_of(day));
        let Some(entry) = held.as_ref().or(found) else { return false };
        let now_ms = self.reads.clock.now_ms();
        let exact_ms = self.reads.memory.exact_as_of_ms_within(entry, located.as_of_ms);
        // As with one summary: what Redis has brought just now counts longer than what was held.
        let unproven = self.reads.unproven;
        let (tier_ms, was_held) = match read.from_redis.contains(&day.date) {
            true => (unproven.redis, false),
            false => (unproven.memory, true),
        };
        let unproven_ms = self.reads.unproven_ms(tier_ms, was_held, &read.requested);
        let age_ms = now_ms.saturating_sub(exact_ms);
        read.is_fresh(exact_ms, now_ms) && self.reads.counts_as_fresh(entry, age_ms, unproven_ms)
    }

    /// For `no-cache` nothing in Redis is new enough, however young it is.
    pub(super) fn may_ask_redis(&self, read: &Read) -> bool {
        !read.asked_redis
            && (read.requested.max_age_ms > 0 || read.requested.min_version > 0)
            && self.reads.leases.is_some()
            && self.reads.changes.is_attached()
    }

    /// Reads days from the Redis tier. What is found is judged and kept in memory like any fill.
    pub(super) async fn try_redis(&self, located: &Located, days: &[Day], found: &mut Found) {
        let Some(shared) = self.reads.leases.clone() else { return };
        let (memory, facility) = (&self.reads.memory, located.facility.id);
        let token = memory.fill_token();
        let reads = days.iter().map(|day| {
            let shared = &shared;
            async move { (*day, shared.get(&Key { facility_id: facility, date: day.date }).await) }
        });
        let reads: Vec<_> = reads.map(futures_util::FutureExt::boxed).collect();
        let stored: Vec<_> = stream::iter(reads).buffer_unordered(REDIS_AT_ONCE).collect().await;
        let now_ms = self.reads.clock.now_ms();
        let rows = stored
            .into_iter()
            .filter_map(|(day, stored)| TierRow::in_redis(stored?, &day, now_ms))
            .collect();
        self.keep(located, &token, rows, found);
    }

    /// Puts rows into memory, and into `found`. False where one of them lost a race.
    pub(super) fn keep(
        &self,
        located: &Located,
        token: &FillToken,
        rows: Vec<TierRow>,
        found: &mut Found,
    ) -> bool {
        let fills: Vec<_> = rows.iter().map(|row| (row.since, &row.row, row.as_of_ms)).collect();
        let fills = self.reads.memory.fill_days(token, located.facility.id, &fills);
        let mut all = true;
        for (row, fill) in rows.iter().zip(fills) {
            match fill {
                Fill::Kept(entry) => drop(found.insert(row.row.summary.date, entry)),
                Fill::LostRace => all = false,
            }
        }
        all
    }

    /// What the table has, or what has to be done before it can be read.
    pub(super) async fn try_database(
        self: &Arc<Self>,
        read: &mut Read,
        located: Located,
        days: Arc<PageDays>,
        last: Option<&mut LastTurn>,
        found: &mut Found,
        tried_proof: bool,
    ) -> store::Result<Step> {
        let min_version = read.requested.min_version;
        if min_version > 0 && self.reads.store.version(located.facility.id).await? < min_version {
            return Ok(Step::Wait(VERSION_POLL));
        }
        if days.days.is_empty() {
            // Nothing but the directory says that there are no days.
            return Ok(Step::ReadDirectory);
        }
        // What is attached may be proven by now.
        let wanted = self.wanted(read, &located, &days.days, found);
        let (table_ms, now_ms) = (self.reads.memory.table_ms(), self.reads.clock.now_ms());
        if !read.is_fresh(table_ms, now_ms) && !read.tolerates(table_ms, now_ms) {
            return Ok(match tried_proof {
                false => Step::Prove,
                // Another transaction holds a lock that the proof needs. These days may be free.
                true => Step::Refresh(located, days, wanted),
            });
        }
        if last
            .as_ref()
            .and_then(|last| last.due.as_ref())
            .is_some_and(|due| due.has(read, &wanted))
        {
            return Ok(Step::Refresh(located, days, wanted));
        }
        read.tier = read.tier.max(Tier::Table);
        let began = Instant::now();
        match self.try_table(read, &located, &wanted, found).await? {
            FromTable::Moved => {
                self.read_again(&located).await?;
                Ok(Step::Again)
            }
            FromTable::Again => Ok(Step::Again),
            FromTable::OtherEpoch => Ok(Step::Wait(PAUSE)),
            FromTable::Days { due } if due.is_empty() => {
                let answer = self.answer(read, &located, &days, found);
                Ok(answer.map_or(Step::Again, Step::Answer))
            }
            FromTable::Days { due } => {
                if let Some(last) = last {
                    let (max_age_ms, days) = (read.requested.max_age_ms, due.iter());
                    let days = days.map(|day| day.date).collect();
                    last.due = Some(Due { began, max_age_ms, days });
                }
                Ok(Step::Refresh(located, days, due))
            }
        }
    }

    /// The answer from what was found, if it is as fresh as this reader asked. Everything of it was
    /// read after the request arrived, where a version was asked for.
    fn answer(
        &self,
        read: &Read,
        located: &Located,
        days: &Arc<PageDays>,
        found: &Found,
    ) -> Option<RangeAnswer> {
        let page = self.page_of(located, days, found)?;
        let now_ms = self.reads.clock.now_ms();
        let exact_ms = self.reads.memory.page_exactness(&page, located.as_of_ms).as_of_ms;
        (read.is_fresh(exact_ms, now_ms) || read.tolerates(exact_ms, now_ms))
            .then(|| read.answer(page, now_ms.saturating_sub(exact_ms)))
    }

    /// Refreshes the days, each once for all readers and replicas, and answers if that was all that
    /// was missing.
    pub(super) async fn refresh(
        &self,
        read: &mut Read,
        located: &Located,
        days: &Arc<PageDays>,
        due: Vec<Day>,
        found: &mut Found,
    ) -> store::Result<Option<RangeAnswer>> {
        read.tier = Tier::Source;
        let requested = &read.requested;
        // Where a version is asked for, everything is read after the request arrived.
        let takes_older = requested.max_age_ms > 0 && requested.min_version == 0;
        let now_ms = self.reads.clock.now_ms();
        let min_freshness = takes_older.then(|| requested.min_freshness(now_ms));
        let join = |day: Day| {
            let key = DayKey { facility: located.facility.clone(), day };
            (day, self.reads.coalescer.join(key, min_freshness, RefreshTrigger::Read))
        };
        let waiters: Vec<_> = due.into_iter().map(join).collect();
        let mut has_moved = false;
        for (day, waiter) in waiters {
            read.waited |= waiter.is_shared;
            match waiter.result().await.map_err(|error| (*error).clone())? {
                Some(refreshed) if refreshed.row.is_of(&day) => {
                    found.insert(day.date, self.reads.keep(&refreshed.row));
                }
                _ => has_moved = true,
            }
        }
        if has_moved {
            // The facility is gone or in another zone.
            self.read_again(located).await?;
            return Ok(None);
        }
        Ok(self.answer(read, located, days, found))
    }

    /// Has the directory read the facility again. Where the database is in another epoch, waits for
    /// a moment instead: the drain enters it.
    async fn read_again(&self, located: &Located) -> store::Result<()> {
        match self.reads.directory.reload(&*self.reads.store, &[located.facility.id]).await {
            Err(StoreError::OtherEpoch) => tokio::time::sleep(PAUSE).await,
            read => drop(read?),
        }
        Ok(())
    }
}
