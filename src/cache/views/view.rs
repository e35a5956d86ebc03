//! One view: the day of all facilities, as changes keep it. What a reader looks at on every hit are
//! atomics; the content has a lock of its own, which no read of a single summary takes.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
};

use jiff::civil::Date;
use moka::sync::Cache;
use uuid::Uuid;

use super::{
    page::{Page, UnknownCursor},
    query::DayQuery,
    state::{Part, State, Taken},
};
use crate::{
    cache::entry::Entry,
    domain::summary::{DayKey, Key, KnownFigures, Summary},
};

/// The day of all facilities: of one date, or each facility's own today.
#[derive(Debug)]
pub struct View {
    /// The date; `None`: the view follows today.
    pub date: Option<Date>,
    state: Mutex<State>,
    /// Counts the changes of the content. Where a change also changes what is proven, it is counted
    /// first: a reader loads the proof first and the count last.
    content: AtomicU64,
    /// The session that every part is attached to; 0 where one is not, or is missing.
    attached_to: AtomicU32,
    holds_until_ms: AtomicI64,
    /// Which facilities the directory has changed since they were placed here.
    changed: Mutex<ChangedFacilities>,
    /// Counts the changes that the directory noted, and those of them that were placed.
    times_changed: AtomicU64,
    times_placed: AtomicU64,
    /// The first midnight at any facility, in milliseconds: then days begin and end.
    until_ms: AtomicI64,
    placing: Mutex<()>,
    /// Held by the one that reads what is missing; all others wait for it. True where the last
    /// complete fill had to refresh days.
    pub filling: tokio::sync::Mutex<bool>,
    rendering: Mutex<()>,
    pages: Cache<Arc<str>, Arc<Page>>,
    asked_ms: AtomicI64,
    /// When the last complete fill began, in milliseconds.
    filled_since_ms: AtomicI64,
    /// The view receives no changes any more.
    is_dropped: AtomicBool,
}

#[derive(Debug)]
struct ChangedFacilities {
    all: bool,
    ids: HashSet<Uuid>,
}

/// The facilities that are to be placed anew.
#[derive(Debug)]
pub enum Unplaced {
    All,
    These(Vec<Uuid>),
}

/// What is known of a view's content without its lock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub attached_to: u32,
    pub holds_until_ms: i64,
    /// The view receives all changes, and has what the directory has.
    pub is_placed: bool,
    pub content: u64,
}

/// Holds pages under the texts of their queries, whose bytes count as well: a client chooses them.
pub(super) fn pages(max_bytes: u64) -> Cache<Arc<str>, Arc<Page>> {
    let weight = |text: &Arc<str>, page: &Arc<Page>| {
        page.weight().saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX))
    };
    Cache::builder().max_capacity(max_bytes).weigher(weight).build()
}

impl View {
    pub(super) fn new(date: Option<Date>, page_bytes: u64, known: KnownFigures) -> Self {
        View {
            date,
            state: Mutex::new(State::new(known)),
            content: AtomicU64::new(0),
            attached_to: AtomicU32::new(0),
            holds_until_ms: AtomicI64::new(i64::MAX),
            changed: Mutex::new(ChangedFacilities { all: true, ids: HashSet::new() }),
            times_changed: AtomicU64::new(1),
            times_placed: AtomicU64::new(0),
            until_ms: AtomicI64::new(i64::MAX),
            placing: Mutex::default(),
            filling: tokio::sync::Mutex::default(),
            rendering: Mutex::default(),
            pages: pages(page_bytes),
            asked_ms: AtomicI64::new(i64::MIN),
            filled_since_ms: AtomicI64::new(i64::MIN),
            is_dropped: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the content, and shows what is known of it without the lock.
    fn with_state(&self, session: u32, change: impl FnOnce(&mut State) -> bool) {
        let mut state = self.state();
        if change(&mut state) {
            self.content.fetch_add(1, Ordering::AcqRel);
        }
        self.holds_until_ms.store(state.holds_until_ms(), Ordering::Release);
        let attached_to = if state.is_attached(session) { session } else { 0 };
        self.attached_to.store(attached_to, Ordering::Release);
    }

    pub(super) fn take(&self, taken: &Taken<'_>, session: u32) {
        self.with_state(session, |state| state.take(taken, session));
    }

    pub(super) fn drop_parts(&self, ids: &[Uuid], only_empty: bool, session: u32) {
        self.with_state(session, |state| {
            ids.iter().fold(false, |changed, id| {
                let dropped = if only_empty { state.drop_empty(id) } else { state.drop_part(id) };
                dropped || changed
            })
        });
    }

    /// Records that the directory has changed these facilities.
    pub(super) fn note_changed(&self, ids: &[Uuid]) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.ids.extend(ids);
        self.times_changed.fetch_add(1, Ordering::AcqRel);
    }

    /// Places what the directory has changed, and at midnight everything: `place` is called with
    /// it. When this returns, the view has what the directory had when it was called.
    pub fn place_changed(&self, now_ms: i64, place: impl FnOnce(Unplaced)) {
        let _turn = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        let (unplaced, times) = {
            let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
            let times = self.times_changed.load(Ordering::Acquire);
            let all = std::mem::take(&mut changed.all) || now_ms >= self.until_ms();
            let ids = std::mem::take(&mut changed.ids);
            (if all { Unplaced::All } else { Unplaced::These(ids.into_iter().collect()) }, times)
        };
        if !matches!(&unplaced, Unplaced::These(ids) if ids.is_empty()) {
            place(unplaced);
        }
        self.times_placed.store(times, Ordering::Release);
    }

    /// Places facilities, and takes what memory holds of them. The caller holds the lock of the
    /// recent changes.
    pub(super) fn place(
        &self,
        places: &[super::Placed],
        session: u32,
        held: impl Fn(&Key) -> Option<Arc<Entry>>,
    ) {
        self.with_state(session, |state| {
            let mut changed = false;
            for (id, place) in places {
                let place = place.as_ref().map(|(facility, day)| (facility, *day));
                changed |= state.place(*id, place);
                if let Some((_, day)) = place.filter(|_| state.missing.contains(id))
                    && let Some(entry) = held(&Key { facility_id: *id, date: day.date })
                        .filter(|entry| entry.is_of(&day))
                {
                    let key = Key { facility_id: *id, date: day.date };
                    let session_of = entry.session;
                    let taken = Taken { key, entry: &entry, summary: None, session: session_of };
                    changed |= state.take(&taken, session);
                }
            }
            changed
        });
    }

    /// Removes all facilities but these.
    pub(super) fn keep_only(&self, ids: &HashSet<Uuid>, session: u32) {
        self.with_state(session, |state| {
            let gone: Vec<Uuid> =
                state.members.keys().filter(|id| !ids.contains(*id)).copied().collect();
            let before = state.members.len();
            for id in gone {
                let _ = state.place(id, None);
            }
            state.members.len() < before
        });
    }

    /// The first midnight at any facility, in milliseconds.
    pub fn until_ms(&self) -> i64 {
        self.until_ms.load(Ordering::Acquire)
    }

    /// Sets the first midnight at any facility: by then all are placed again.
    pub fn set_until_ms(&self, at_ms: i64) {
        self.until_ms.store(at_ms, Ordering::Release);
    }

    /// What is known of the content. The caller has loaded everything that it proves the content
    /// with before.
    pub(super) fn seen(&self, now_ms: i64) -> Seen {
        let attached_to = self.attached_to.load(Ordering::Acquire);
        let holds_until_ms = self.holds_until_ms.load(Ordering::Acquire);
        let placed = self.times_placed.load(Ordering::Acquire);
        let is_placed = placed == self.times_changed.load(Ordering::Acquire)
            && now_ms < self.until_ms()
            && !self.is_dropped.load(Ordering::Acquire);
        let content = self.content.load(Ordering::Acquire);
        Seen { attached_to, holds_until_ms, is_placed, content }
    }

    /// Whether the view has no facility.
    pub fn is_empty(&self) -> bool {
        self.state().members.is_empty()
    }

    /// The days without an entry, and those for whose entry `is_wanting` is true.
    pub(super) fn keys(&self, is_wanting: impl Fn(&Part) -> bool) -> Vec<DayKey> {
        self.state().keys(is_wanting)
    }

    /// Over all parts the least of `exact_ms`; `None` where a part is missing.
    pub(super) fn least(&self, exact_ms: impl Fn(&Part) -> i64) -> Option<i64> {
        let state = self.state();
        let parts = state.members.values().filter_map(|member| member.part.as_ref());
        let least = parts.map(exact_ms).min().unwrap_or(i64::MAX);
        state.missing.is_empty().then_some(least)
    }

    /// The summaries of all parts, in no order, for checks.
    pub fn summaries(&self) -> Vec<(DayKey, Summary)> {
        let state = self.state();
        let members = state.members.values();
        members
            .filter_map(|member| {
                let part = member.part.as_ref()?;
                let key = DayKey { facility: member.facility.clone(), day: member.day };
                Some((key, serde_json::from_slice(&part.entry.body()).ok()?))
            })
            .collect()
    }

    /// The page that was rendered last for the text of a query.
    pub fn page(&self, query: &str) -> Option<Arc<Page>> {
        self.pages.get(query)
    }

    /// Renders a page, unless another caller has just done it: `will_do` accepts the page that is
    /// there. The content was exact as of `exact_ms` before the call; what came since is younger.
    /// `None` where a facility has no entry.
    pub(super) fn render(
        &self,
        text: &str,
        query: &DayQuery,
        now_ms: i64,
        will_do: impl Fn(&Page) -> bool,
        exact_ms: i64,
    ) -> Option<Result<(Arc<Page>, bool), UnknownCursor>> {
        let _turn = self.rendering.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = self.page(text).filter(|page| will_do(page)) {
            return Some(Ok((page, false)));
        }
        let (picked, content) = {
            let state = self.state();
            if !state.missing.is_empty() {
                return None;
            }
            (state.pick(query), self.content.load(Ordering::Acquire))
        };
        let body = match picked {
            Ok(picked) => picked.render(query),
            Err(unknown) => return Some(Err(unknown)),
        };
        let page = Arc::new(Page::new(body, content, exact_ms, now_ms));
        self.pages.insert(text.into(), page.clone());
        Some(Ok((page, true)))
    }

    /// When the last complete fill began, in milliseconds.
    pub fn filled_since_ms(&self) -> i64 {
        self.filled_since_ms.load(Ordering::Acquire)
    }

    /// Records a complete fill that began then, in milliseconds.
    pub fn note_fill(&self, began_ms: i64) {
        self.filled_since_ms.fetch_max(began_ms, Ordering::AcqRel);
    }

    /// States that the view is about to be dropped.
    pub(super) fn end(&self) {
        self.is_dropped.store(true, Ordering::Release);
    }

    /// Whether the view was dropped: it must not be used any more.
    pub fn is_dropped(&self) -> bool {
        self.is_dropped.load(Ordering::Acquire)
    }

    /// Records that the view was asked for.
    pub(super) fn touch(&self, now_ms: i64) {
        self.asked_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(super) fn asked_ms(&self) -> i64 {
        self.asked_ms.load(Ordering::Relaxed)
    }

    /// The number of facilities, and about how many bytes the view holds beside the entries.
    pub(super) fn size(&self) -> (usize, u64) {
        let state = self.state();
        let bytes = state.bytes() as u64;
        (state.members.len(), bytes + self.pages.weighted_size())
    }
}
