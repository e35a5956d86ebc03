//! How exact a view is: by the rule that holds for each entry in memory.

use std::{collections::HashSet, sync::Arc};

use uuid::Uuid;

use super::{DayQuery, Page, Placed, UnknownCursor, View, state::Part};
use crate::{
    cache::memory::Memory,
    domain::summary::{DayKey, Summary},
};

/// Facilities that are placed before others may use memory.
const PLACED_AT_ONCE: usize = 256;

/// The newest watermark of a stream session, in milliseconds, and the number of the session.
#[derive(Debug, Clone, Copy)]
pub(in crate::cache) struct Proof {
    pub watermark_ms: i64,
    pub session: u32,
}

/// A page, and whether it was rendered for this caller.
pub struct Rendered {
    /// The page.
    pub page: Arc<Page>,
    /// False where another caller had just rendered it.
    pub is_new: bool,
}

impl Memory {
    /// The instant as of which a part is exact, in milliseconds, by a proof that was loaded before.
    fn exact_by(&self, proof: Proof, part: &Part, directory_ms: i64) -> i64 {
        let entry = &part.entry;
        let proven_ms = match part.session {
            Some(session) if session == proof.session => proof.watermark_ms,
            // A session that began after the proof was loaded.
            Some(session) if session > proof.session => i64::MIN,
            of => self.proven_in(of),
        };
        entry.as_of_ms.max(proven_ms.min(directory_ms)).min(entry.holds_until_ms - 1)
    }

    /// The instant as of which a page of this view is exact at `now_ms`, in milliseconds, for a
    /// directory that is exact as of `directory_ms`, and whether the view has changed since. It
    /// takes no lock.
    pub fn page_exact_ms(
        &self,
        view: &View,
        page: &Page,
        directory_ms: i64,
        now_ms: i64,
    ) -> (i64, bool) {
        // The proof is loaded before what it is to prove: the count of the content comes last.
        let proof = self.proof();
        let proven_ms = proof.watermark_ms.min(directory_ms);
        let seen = view.seen(now_ms);
        let is_current = seen.is_placed && seen.content == page.content;
        if is_current && seen.attached_to == proof.session {
            (page.exact_ms.max(proven_ms.min(seen.holds_until_ms - 1)), true)
        } else {
            (page.exact_ms, is_current)
        }
    }

    /// Whether each later change of the view will arrive here.
    pub fn is_view_attached(&self, view: &View) -> bool {
        view.seen(i64::MIN).attached_to == self.session()
    }

    /// The instant as of which the view is exact, in milliseconds, for a directory that is exact as
    /// of `directory_ms`. `None` while a facility has no entry, or is to be placed.
    pub fn view_exact_ms(&self, view: &View, directory_ms: i64, now_ms: i64) -> Option<i64> {
        let proof = self.proof();
        let seen = view.seen(now_ms);
        if !seen.is_placed {
            return None;
        }
        if seen.attached_to == proof.session && proof.watermark_ms != i64::MIN {
            let proven_ms = proof.watermark_ms.min(seen.holds_until_ms - 1).min(directory_ms);
            if view.filled_since_ms() <= proof.watermark_ms {
                return Some(proven_ms);
            }
            // What was read of the table since then is younger than the watermark, which stands
            // still as long as this replica receives nothing.
            let of_part = |part: &Part| self.exact_by(proof, part, directory_ms);
            let by_parts = view.least(of_part).map(|by_parts| by_parts.min(directory_ms));
            return Some(by_parts.unwrap_or(i64::MIN).max(proven_ms));
        }
        let of_part = |part: &Part| self.exact_by(proof, part, directory_ms);
        // However young its parts are, a view is no younger than the directory: facilities that
        // were registered since then are not in it.
        view.least(of_part).map(|by_parts| by_parts.min(directory_ms))
    }

    /// The days that are to be read: those without an entry, and those whose entry is not
    /// exact as of `least_ms`.
    pub fn unproven_keys(&self, view: &View, least_ms: i64, directory_ms: i64) -> Vec<DayKey> {
        let proof = self.proof();
        view.keys(|part| self.exact_by(proof, part, directory_ms) < least_ms)
    }

    /// The days without an entry, and those that no later watermark counts for.
    pub fn unattached_keys(&self, view: &View) -> Vec<DayKey> {
        let session = Some(self.session());
        view.keys(|part| part.session != session)
    }

    /// Places facilities in a view, and takes over what memory holds of their days. With `is_all`,
    /// all other facilities leave the view.
    pub fn place(&self, view: &View, places: &[Placed], is_all: bool) {
        for chunk in places.chunks(PLACED_AT_ONCE) {
            let _recent = self.recent();
            view.place(chunk, self.session(), |key| self.get(key));
        }
        if is_all {
            let ids: HashSet<Uuid> = places.iter().map(|(id, _)| *id).collect();
            let _recent = self.recent();
            view.keep_only(&ids, self.session());
        }
    }

    /// Renders a page of the view, unless `will_do` accepts the one that another caller has just
    /// rendered. `None` while a facility has no entry, or is to be placed.
    pub fn render(
        &self,
        view: &View,
        (text, query): (&str, &DayQuery),
        directory_ms: i64,
        now_ms: i64,
        will_do: impl Fn(&Page) -> bool,
    ) -> Option<Result<Rendered, UnknownCursor>> {
        let exact_ms = self.view_exact_ms(view, directory_ms, now_ms)?;
        let rendered = view.render(text, query, now_ms, will_do, exact_ms)?;
        Some(rendered.map(|(page, is_new)| Rendered { page, is_new }))
    }

    /// The summaries of a view, and the instant as of which they are exact, for checks.
    pub fn view_summaries(
        &self,
        view: &View,
        directory_ms: i64,
        now_ms: i64,
    ) -> Option<(Vec<(DayKey, Summary)>, i64)> {
        let exact_ms = self.view_exact_ms(view, directory_ms, now_ms)?;
        Some((view.summaries(), exact_ms))
    }
}
