//! Views: the day of all facilities, one for each date that was asked for lately. A view holds the
//! same entries as memory, and receives each one that memory takes in; so it stands under the
//! same proof. Nothing is derived or sorted for a reader: changes move single facilities, and a
//! page is put together once for a version of the day.

mod change_log;
mod orders;
mod page;
mod proof;
mod query;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use jiff::civil::Date;
use prometheus::Histogram;
use uuid::Uuid;

pub use page::{Form, Page, UnknownCursor};
pub(super) use proof::Proof;
pub use proof::Rendered;
pub use query::{Bound, DayCursor, DayQuery, SORTS, Sort};
pub use view::{Unplaced, View};

use super::entry::Entry;
use crate::domain::{
    day::Day,
    facility::Facility,
    summary::{Key, KnownFigures, Summary},
};
use state::Taken;

/// A facility with its day in a view; without a day it is not in the view.
pub type Placed = (Uuid, Option<(Arc<Facility>, Day)>);

/// How much is held in views.
#[derive(Debug, Clone, Copy)]
pub struct ViewBounds {
    /// The most views. The one that was not asked for for the longest time goes first.
    pub most: usize,
    /// A view that nobody asked for during this time goes, in milliseconds.
    pub idle_ms: i64,
    /// The most bytes of rendered pages of one view.
    pub page_bytes: u64,
}

impl Default for ViewBounds {
    fn default() -> Self {
        ViewBounds { most: 8, idle_ms: 600_000, page_bytes: 4 << 20 }
    }
}

/// How many views there are, and what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ViewsSize {
    /// The views.
    pub views: usize,
    /// The facilities in all of them.
    pub facilities: usize,
    /// The bytes beside the entries, approximately: figures, orders and pages.
    pub bytes: u64,
}

/// The views that are held.
pub struct Views {
    bounds: ViewBounds,
    /// The figures that the sources have.
    known: KnownFigures,
    /// Whether there are any: all that a change costs where there are none.
    are_held: AtomicBool,
    held: ArcSwap<Vec<Arc<View>>>,
    opening: Mutex<()>,
    /// Takes the time of each change of all views; `None` where nobody looks at it.
    timer: Option<Histogram>,
}

impl Views {
    /// None yet. `timer` takes the time of each change, in seconds.
    pub fn new(bounds: ViewBounds, known: KnownFigures, timer: Option<Histogram>) -> Self {
        Views {
            bounds,
            known,
            timer,
            are_held: AtomicBool::new(false),
            held: ArcSwap::default(),
            opening: Mutex::default(),
        }
    }

    /// Whether any view is held.
    pub fn are_held(&self) -> bool {
        self.are_held.load(Ordering::Acquire)
    }

    /// The view of a date, or of today, if it is held.
    pub fn get(&self, date: Option<Date>, now_ms: i64) -> Option<Arc<View>> {
        let held = self.held.load();
        let view = held.iter().find(|view| view.date == date)?;
        view.touch(now_ms);
        Some(view.clone())
    }

    /// The view of a date, or of today. A new one holds nothing yet, and from now on receives each
    /// change.
    pub fn open(&self, date: Option<Date>, now_ms: i64) -> Arc<View> {
        let _turn = self.opening();
        if let Some(view) = self.get(date, now_ms) {
            return view;
        }
        let mut held = Vec::clone(&self.held.load());
        while held.len() >= self.bounds.most.max(1) {
            let oldest = held.iter().enumerate().min_by_key(|(_, view)| view.asked_ms());
            let Some((at, _)) = oldest else { break };
            held.swap_remove(at).end();
        }
        let view = Arc::new(View::new(date, self.bounds.page_bytes, self.known));
        view.touch(now_ms);
        held.push(view.clone());
        self.hold(held);
        view
    }

    /// Drops the views that nobody asked for lately.
    pub(super) fn drop_idle(&self, now_ms: i64) {
        let is_idle =
            |view: &Arc<View>| now_ms.saturating_sub(view.asked_ms()) > self.bounds.idle_ms;
        if self.held.load().iter().any(is_idle) {
            let _turn = self.opening();
            let mut held = Vec::clone(&self.held.load());
            held.iter().filter(|view| is_idle(view)).for_each(|view| view.end());
            held.retain(|view| !view.is_dropped());
            self.hold(held);
        }
    }

    /// Drops all views, as in another epoch nothing of this one counts.
    pub(super) fn clear(&self) {
        let _turn = self.opening();
        self.held.load().iter().for_each(|view| view.end());
        self.hold(Vec::new());
    }

    fn hold(&self, views: Vec<Arc<View>>) {
        self.are_held.store(!views.is_empty(), Ordering::Release);
        self.held.store(Arc::new(views));
    }

    fn opening(&self) -> MutexGuard<'_, ()> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the views an entry that memory has taken, or kept. Its figures are read from its body
    /// where they are not given.
    pub(super) fn take(
        &self,
        key: &Key,
        entry: &Arc<Entry>,
        summary: Option<&Summary>,
        session: u32,
    ) {
        if self.are_held() {
            let _timer = self.timer.as_ref().map(Histogram::start_timer);
            let taken = Taken { key: *key, entry, summary, session: entry.session };
            self.held.load().iter().for_each(|view| view.take(&taken, session));
        }
    }

    /// Drops what views hold of a facility.
    pub(super) fn forget_facility(&self, facility: Uuid, session: u32) {
        self.held.load().iter().for_each(|view| view.drop_parts(&[facility], false, session));
    }

    /// Drops the days without a row of facilities that have changed.
    pub(super) fn drop_empty(&self, facilities: &[Uuid], session: u32) {
        self.held.load().iter().for_each(|view| view.drop_parts(facilities, true, session));
    }

    /// Records that the directory has changed these facilities. It calls this before it claims to
    /// be exact as of a later instant.
    pub fn note_changed(&self, facilities: &[Uuid]) {
        if self.are_held() {
            self.held.load().iter().for_each(|view| view.note_changed(facilities));
        }
    }

    /// How much is held. It looks at every facility: use it for metrics only.
    pub fn size(&self) -> ViewsSize {
        let held = self.held.load();
        held.iter().fold(ViewsSize { views: held.len(), ..ViewsSize::default() }, |all, view| {
            let (facilities, bytes) = view.size();
            ViewsSize { facilities: all.facilities + facilities, bytes: all.bytes + bytes, ..all }
        })
    }
}
