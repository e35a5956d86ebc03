//! The day of all facilities, from its view in memory. It goes down the same steps as a single
//! summary: the page that is held, the view, the table, a refresh. A reader that asks for more than
//! the view proves has it proven, as for other lists.

use std::{sync::Arc, time::Instant};

use jiff::civil::Date;

use super::{
    DETACHED_MS, ListError, ListRequest, Lists, Source, WATERMARK_POLL, WATERMARK_WAIT,
    view_fill::{Filled, days_of},
};
use crate::{
    cache::views::{DayQuery, Form, Page, UnknownCursor, Unplaced, View},
    directory::Directory,
    service::{
        freshness_request::FreshnessRequest,
        reads::{REATTACH_MS, answer::Forward},
    },
};

/// A page that is asked for.
#[derive(Debug)]
pub struct DayRequest {
    /// The date; `None` for each facility's own today.
    pub date: Option<Date>,
    /// The query as the client wrote it: pages are held under it.
    pub text: String,
    /// What it asks for.
    pub query: DayQuery,
    /// The form in which the page will be sent.
    pub form: Form,
    /// The reader may see every facility.
    pub sees_all: bool,
}

/// A page, and what is known of it.
#[derive(Debug)]
pub struct DayPage {
    /// The page.
    pub page: Arc<Page>,
    /// Milliseconds since it was last known to be exact.
    pub age_ms: i64,
    /// Where it comes from.
    pub source: Source,
    /// Why the view alone did not answer; `None` where it did.
    pub forward: Option<Forward>,
    /// The next midnight that changes the day at a facility, in milliseconds; `None` for none.
    pub until_ms: Option<i64>,
}

/// Why a view has no page.
enum NoPage {
    /// A facility has no entry, or another epoch has begun.
    NotWhole,
    UnknownCursor,
}

fn next_midnight(view: &View) -> Option<i64> {
    Some(view.until_ms()).filter(|until_ms| *until_ms != i64::MAX)
}

impl Lists {
    /// The page that is held for the text of a query, if it is fresh enough. It costs a look-up,
    /// and never waits.
    pub fn held_page(
        &self,
        date: Option<Date>,
        text: &str,
        requested: &FreshnessRequest,
        now_ms: i64,
    ) -> Option<DayPage> {
        let memory = &self.reads.memory;
        // The instant is loaded before the view is looked at.
        let directory_ms = self.reads.directory.exact_as_of_ms();
        let view = memory.views().get(date, now_ms)?;
        let page = view.page(text)?;
        let (exact_ms, is_current) = memory.page_exact_ms(&view, &page, directory_ms, now_ms);
        let age_ms = now_ms.saturating_sub(exact_ms).max(0);
        (requested.accepts(age_ms)
            && (is_current || self.is_young(&page, now_ms))
            && self.counts_as_fresh(&view, age_ms, directory_ms, requested, now_ms))
        .then(|| DayPage {
            page,
            age_ms,
            source: Source::Memory,
            forward: None,
            until_ms: next_midnight(&view),
        })
    }

    /// Whether the page was rendered so shortly ago that it will do, although the view has changed.
    fn is_young(&self, page: &Page, now_ms: i64) -> bool {
        (0..self.render_interval_ms).contains(&now_ms.saturating_sub(page.rendered_ms))
    }

    /// Whether the lower rungs can have nothing newer: later changes arrive here, or the view is
    /// young, or the database is out of reach.
    fn counts_as_fresh(
        &self,
        view: &View,
        age_ms: i64,
        directory_ms: i64,
        requested: &FreshnessRequest,
        now_ms: i64,
    ) -> bool {
        if self.reads.outage.is_on() {
            return true;
        }
        let is_attached = self.reads.changes.is_attached();
        let unproven_ms = self.unproven_ms(requested);
        let is_directory_current = is_attached
            || requested.only_if_cached
            || now_ms.saturating_sub(directory_ms) <= DETACHED_MS;
        is_directory_current
            && (age_ms <= unproven_ms || (is_attached && self.reads.memory.is_view_attached(view)))
    }

    /// The greatest age of a view that is not attached: while this replica is attached to the
    /// stream, it is soon read anew, which attaches it.
    pub(super) fn unproven_ms(&self, requested: &FreshnessRequest) -> i64 {
        let unproven_ms = self.reads.unproven.memory;
        if self.reads.changes.is_attached() && !requested.only_if_cached {
            unproven_ms.min(REATTACH_MS)
        } else {
            unproven_ms
        }
    }

    /// The page. `begins` says whether the date has begun anywhere, and is asked where the view has
    /// no facility, or the reader may not see all. The future must run to its end.
    pub async fn day_of_all<E>(
        &self,
        day: &DayRequest,
        requested: FreshnessRequest,
        begins: impl Fn(&Directory, i64) -> Result<(), E>,
        unknown_cursor: impl Fn() -> E,
    ) -> Result<DayPage, ListError<E>> {
        let asked = ListRequest { requested, arrived_ms: self.reads.clock.latest_ms() };
        let wrong = |no_page| match no_page {
            NoPage::UnknownCursor => Some(ListError::Selection(unknown_cursor())),
            NoPage::NotWhole => None,
        };
        let memory = &self.reads.memory;
        let now_ms = self.reads.clock.now_ms();
        // A view that has facilities may have none of those that the reader may see.
        let is_empty = || memory.views().get(day.date, now_ms).is_none_or(|view| view.is_empty());
        if !day.sees_all || is_empty() {
            begins(&self.reads.directory, now_ms).map_err(ListError::Selection)?;
        }
        match self.page_in_memory(day, &asked) {
            Ok(Some(page)) => {
                if requested.max_stale_ms.is_some() && page.age_ms > requested.max_age_ms {
                    self.prove_behind();
                }
                return Ok(page);
            }
            Ok(None) => {}
            Err(no_page) => wrong(no_page).map_or(Ok(()), Err)?,
        }
        if requested.only_if_cached {
            return Err(ListError::NotCached);
        }
        if !self.reads.outage.may_try() {
            return self.last_page(day, &asked, ListError::Unavailable);
        }
        let started = Instant::now();
        let reach = self.reach_page(day, &asked, wrong);
        let reach = tokio::time::timeout(self.reads.freshness.refresh_timeout(), reach);
        let reached = tokio::select! {
            biased; // an answer that is there counts
            reached = reach => reached.ok(),
            () = self.reads.outage.stops_answering() => None,
        };
        match reached {
            Some(Err(error @ ListError::Unavailable)) => self.last_page(day, &asked, error),
            Some(result) => result,
            None => {
                self.reads.outage.got_no_answer(started);
                self.last_page(day, &asked, ListError::Locked)
            }
        }
    }

    /// The page from the view, as far as that is fresh enough without any other tier.
    fn page_in_memory(
        &self,
        day: &DayRequest,
        asked: &ListRequest,
    ) -> Result<Option<DayPage>, NoPage> {
        let memory = &self.reads.memory;
        let now_ms = self.reads.clock.now_ms();
        let directory_ms = self.reads.directory.exact_as_of_ms();
        // A view that is opened now begins with what memory holds of its days.
        let view = memory.views().open(day.date, now_ms);
        self.place(&view, now_ms);
        let Some(exact_ms) = memory.view_exact_ms(&view, directory_ms, now_ms) else {
            return Ok(None);
        };
        let age_ms = now_ms.saturating_sub(exact_ms);
        let is_fresh = self.counts_as_fresh(&view, age_ms, directory_ms, &asked.requested, now_ms);
        let takes_stale = asked.requested.max_stale_ms.is_some();
        if !asked.takes(exact_ms, now_ms) || !(is_fresh || takes_stale) {
            return Ok(None);
        }
        let page =
            self.render(&view, day, (directory_ms, exact_ms), (Source::Memory, None), |page_ms| {
                asked.takes(page_ms, now_ms)
            })?;
        Ok(Some(page))
    }

    /// Renders the page, unless one that was rendered shortly ago will do, and `takes` accepts its
    /// instant.
    fn render(
        &self,
        view: &Arc<View>,
        day: &DayRequest,
        (directory_ms, exact_ms): (i64, i64),
        (source, forward): (Source, Option<Forward>),
        takes: impl Fn(i64) -> bool,
    ) -> Result<DayPage, NoPage> {
        let memory = &self.reads.memory;
        let now_ms = self.reads.clock.now_ms();
        let of = |page: &Page| memory.page_exact_ms(view, page, directory_ms, now_ms);
        let will_do = |page: &Page| {
            let (page_ms, is_current) = of(page);
            is_current || (self.is_young(page, now_ms) && takes(page_ms))
        };
        let text = (day.text.as_str(), &day.query);
        let rendered = memory
            .render(view, text, directory_ms, now_ms, will_do)
            .ok_or(NoPage::NotWhole)?
            .map_err(|UnknownCursor| NoPage::UnknownCursor)?;
        if rendered.is_new {
            self.reads.metrics.view_renders.inc();
        }
        let page = rendered.page;
        page.form(day.form);
        let exact_ms = match of(&page) {
            // The content of a page that is current was the view's when that was found exact.
            (page_ms, true) => page_ms.max(exact_ms),
            (page_ms, false) => page_ms,
        };
        let age_ms = self.reads.clock.now_ms().saturating_sub(exact_ms).max(0);
        Ok(DayPage { page, age_ms, source, forward, until_ms: next_midnight(view) })
    }

    /// Fills and proves the view until it has what this reader asked for.
    async fn reach_page<E>(
        &self,
        day: &DayRequest,
        asked: &ListRequest,
        wrong: impl Fn(NoPage) -> Option<ListError<E>>,
    ) -> Result<DayPage, ListError<E>> {
        let (memory, clock) = (&self.reads.memory, &self.reads.clock);
        let forward = self.why_not_memory(day, asked);
        let mut source = Source::Memory;
        if asked.requested.max_age_ms == 0 {
            clock.has_passed(asked.arrived_ms).await;
        }
        let (mut waiting_since, mut is_filled, mut used_fill_ms) = (None, false, i64::MIN);
        loop {
            let (now_ms, directory_ms) = (clock.now_ms(), self.reads.directory.exact_as_of_ms());
            let table_ms = if self.are_unwatched() { i64::MAX } else { memory.table_ms() };
            let proven_ms = table_ms.min(directory_ms);
            let is_detached = !self.reads.changes.is_attached()
                && !self.reads.store.is_superseded()
                && asked.arrived_ms.saturating_sub(directory_ms) > DETACHED_MS;
            if !asked.takes(proven_ms, now_ms) || is_detached {
                source = source.max(Source::Table);
                self.prove(asked).await.map_err(|error| self.failed(&error))?;
                continue;
            }
            let view = memory.views().open(day.date, now_ms);
            self.place(&view, now_ms);
            let is_proven = |exact_ms| {
                let age_ms = now_ms.saturating_sub(exact_ms);
                // What was just read of the table is as fresh as the table is.
                asked.takes(exact_ms, now_ms)
                    && (is_filled
                        || self.counts_as_fresh(
                            &view,
                            age_ms,
                            directory_ms,
                            &asked.requested,
                            now_ms,
                        ))
            };
            let exact_ms = memory.view_exact_ms(&view, directory_ms, now_ms);
            if let Some(exact_ms) = exact_ms.filter(|exact_ms| is_proven(*exact_ms)) {
                let takes = |page_ms| asked.takes(page_ms, now_ms);
                let origin = (source, (source != Source::Memory).then_some(forward));
                match self.render(&view, day, (directory_ms, exact_ms), origin, takes) {
                    Ok(page) => return Ok(page),
                    Err(no_page) => wrong(no_page).map_or(Ok(()), Err)?,
                }
            }
            // The watermark that is proven of the table comes by here in a moment.
            let waiting = *waiting_since.get_or_insert_with(Instant::now);
            if memory.is_view_attached(&view) && waiting.elapsed() < WATERMARK_WAIT {
                tokio::time::sleep(WATERMARK_POLL).await;
                continue;
            }
            let filled = self.fill(&view, asked, &mut used_fill_ms).await;
            match filled.map_err(|error| self.failed(&error))? {
                Filled::Nothing => tokio::time::sleep(WATERMARK_POLL).await,
                Filled::From(tier) => {
                    source = source.max(tier);
                    (waiting_since, is_filled) = (None, true);
                }
                Filled::DirectoryWasBehind => tokio::task::yield_now().await,
                Filled::OtherEpoch => tokio::time::sleep(super::LOCK_POLL).await,
            }
        }
    }

    /// Why the view does not answer by itself: it lacks a day, or what it holds is too old.
    fn why_not_memory(&self, day: &DayRequest, asked: &ListRequest) -> Forward {
        let (memory, now_ms) = (&self.reads.memory, self.reads.clock.now_ms());
        let view = memory.views().open(day.date, now_ms);
        let is_whole = memory.view_exact_ms(&view, i64::MAX, now_ms).is_some();
        Forward::of(is_whole, &asked.requested)
    }

    /// Places in the view what the directory has changed, and each facility anew at midnight.
    pub(super) fn place(&self, view: &View, now_ms: i64) {
        let directory = &self.reads.directory;
        view.place_changed(now_ms, |unplaced| {
            let is_all = matches!(unplaced, Unplaced::All);
            let (places, until_ms) = match unplaced {
                Unplaced::All => {
                    let facilities = directory.all().0;
                    let places = facilities.iter().map(|f| (f.id, Some(f.clone())));
                    days_of(places, view.date, now_ms)
                }
                Unplaced::These(ids) => {
                    let places = ids.into_iter().map(|id| (id, directory.get(id)));
                    days_of(places, view.date, now_ms)
                }
            };
            self.reads.memory.place(view, &places, is_all);
            let before_ms = if is_all { i64::MAX } else { view.until_ms() };
            view.set_until_ms(until_ms.min(before_ms));
        });
    }

    /// The last figures of the view, where the database cannot be asked; `error` where it has none
    /// or they are too old.
    fn last_page<E>(
        &self,
        day: &DayRequest,
        asked: &ListRequest,
        error: ListError<E>,
    ) -> Result<DayPage, ListError<E>> {
        let memory = &self.reads.memory;
        let most_ms = self.most_stale_ms(asked);
        let now_ms = self.reads.clock.now_ms();
        let directory_ms = self.reads.directory.exact_as_of_ms();
        let view = memory.views().open(day.date, now_ms);
        self.place(&view, now_ms);
        let takes = |exact_ms: i64| now_ms.saturating_sub(exact_ms) <= most_ms;
        let origin = (Source::Unavailable, Some(Forward::Stale));
        match memory.view_exact_ms(&view, directory_ms, now_ms) {
            Some(exact_ms) if exact_ms != i64::MIN && takes(exact_ms) => {
                self.render(&view, day, (directory_ms, exact_ms), origin, takes).map_err(|_| error)
            }
            _ => Err(error),
        }
    }
}
