//! Days of one facility put together in one body: the bodies of the days are copied, nothing is
//! rendered again.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use jiff::civil::Date;
use moka::sync::Cache;
use uuid::Uuid;

use super::{
    days::FacilityDays,
    forms::Forms,
    memory::{Entry, Memory},
};
use crate::domain::{
    day::Day,
    facility::{Facility, Zone},
};

/// The days of a page, newest first: at most `limit` of those that exist from `oldest` to `newest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The date of the newest day. It has begun.
    pub newest: Date,
    /// The date of the oldest day of all pages.
    pub oldest: Date,
    /// The most days of the page; at least 1.
    pub limit: usize,
}

/// The days that a span has in a zone.
#[derive(Debug)]
pub struct PageDays {
    /// The zone that the days are of.
    zone: Arc<Zone>,
    /// The days, newest first.
    pub days: Box<[Day]>,
    /// The newest day of the next page; `None` on the last page.
    next: Option<Date>,
}

impl PageDays {
    /// The days of the span in the facility's zone. It skips dates that the zone skipped.
    pub fn of(facility: &Facility, span: &Span) -> Self {
        let (mut days, mut date, mut next) = (Vec::new(), Some(span.newest), None);
        while let Some(at) = date.filter(|date| *date >= span.oldest) {
            if let Some(day) = Day::named(&facility.zone.tz, at) {
                if days.len() == span.limit {
                    next = Some(at);
                    break;
                }
                days.push(day);
            }
            date = at.yesterday().ok();
        }
        PageDays { zone: facility.zone.clone(), days: days.into_boxed_slice(), next }
    }
}

/// A page, ready to be sent.
#[derive(Debug)]
pub struct Page {
    /// The days of the page.
    pub span_days: Arc<PageDays>,
    /// The entries of the days, newest first.
    entries: Box<[Arc<Entry>]>,
    /// For each stream session of the entries: the earliest instant as of which one of them is
    /// exact by itself.
    sessions: Vec<(Option<u32>, i64)>,
    /// The earliest instant at which one of the entries ends to hold.
    holds_until_ms: i64,
    /// The body, with its tag and its compressed forms.
    pub forms: Forms,
}

/// How exact a page is, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageExactness {
    /// The oldest of its days is exact as of this instant.
    pub as_of_ms: i64,
    /// The same for the days for which no later watermark will count; `i64::MAX` where there are
    /// none.
    pub detached_ms: i64,
}

impl Page {
    /// The page of these entries, which are of its days, in their order.
    pub fn of(span_days: Arc<PageDays>, entries: Vec<Arc<Entry>>) -> Self {
        let next = span_days.next.map(|date| format!("\"{date}\""));
        let next = next.as_deref().unwrap_or("null");
        let bodies = entries.iter().map(|entry| entry.body_bytes().len() + 1).sum::<usize>();
        let mut body = BytesMut::with_capacity(bodies + next.len() + 32);
        // The tag of an entry names its date, its version and the hash of its body, so these tags
        // tell two pages apart.
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        let mut sessions: Vec<(Option<u32>, i64)> = Vec::new();
        body.put_slice(b"{\"items\":[");
        for (number, entry) in entries.iter().enumerate() {
            if number > 0 {
                body.put_u8(b',');
            }
            body.put_slice(entry.body_bytes());
            hash.update(entry.etag_bytes());
            match sessions.iter_mut().find(|(session, _)| *session == entry.session) {
                Some((_, as_of_ms)) => *as_of_ms = (*as_of_ms).min(entry.as_of_ms),
                None => sessions.push((entry.session, entry.as_of_ms)),
            }
        }
        body.put_slice(b"],\"next_cursor\":");
        body.put_slice(next.as_bytes());
        body.put_u8(b'}');
        hash.update(next.as_bytes());
        let holds_until_ms = entries.iter().map(|entry| entry.holds_until_ms).min();
        Page {
            span_days,
            sessions,
            holds_until_ms: holds_until_ms.unwrap_or(i64::MAX),
            forms: Forms::new(body.freeze(), format!("\"{:016x}\"", hash.digest())),
            entries: entries.into_boxed_slice(),
        }
    }

    /// The JSON body.
    pub fn body(&self) -> &Bytes {
        self.forms.body()
    }

    /// Whether the page has no day.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The earliest instant as of which a day of at least this version is exact; `None` where no
    /// day has it.
    pub fn reached_ms(&self, version: i64) -> Option<i64> {
        let reached = self.entries.iter().filter(|entry| entry.version >= version);
        reached.map(|entry| entry.as_of_ms).min()
    }

    /// Whether these are the entries that `held` has of the days, in this zone.
    fn is_of(&self, zone: &Arc<Zone>, held: &FacilityDays) -> bool {
        let Some(newest) = self.span_days.days.first() else { return false };
        Arc::ptr_eq(&self.span_days.zone, zone)
            && held.up_to(newest.date, self.entries.len()).is_some_and(|held| {
                held.iter().rev().zip(&self.entries).all(|((_, a), b)| Arc::ptr_eq(a, b))
            })
    }

    fn weight(&self) -> u32 {
        const BESIDE: usize = 400;
        // Half a body more, for compressed forms that may be made later.
        let body = self.forms.body().len();
        let days = self.entries.len() * (size_of::<Day>() + size_of::<Arc<Entry>>());
        u32::try_from(BESIDE + body + body / 2 + days).unwrap_or(u32::MAX)
    }
}

/// The pages that were put together lately. A page is used again while each of its entries is the
/// one that memory holds.
pub struct Pages {
    cache: Cache<(Uuid, Span), Arc<Page>>,
}

impl Pages {
    /// Holds at most `max_bytes` of pages.
    pub fn new(max_bytes: u64) -> Self {
        let weigher = |_: &(Uuid, Span), page: &Arc<Page>| page.weight();
        Pages { cache: Cache::builder().max_capacity(max_bytes).weigher(weigher).build() }
    }

    /// The page of the days that memory holds; `None` where one of them is not held.
    pub fn held(&self, memory: &Memory, facility: &Facility, span: &Span) -> Option<Arc<Page>> {
        let held = memory.days(facility.id).unwrap_or_default();
        let key = (facility.id, *span);
        let before = self.cache.get(&key);
        if let Some(page) = &before
            && page.is_of(&facility.zone, &held)
        {
            return before;
        }
        let span_days = before
            .map(|page| page.span_days.clone())
            .filter(|days| Arc::ptr_eq(&days.zone, &facility.zone))
            .unwrap_or_else(|| Arc::new(PageDays::of(facility, span)));
        let entry = |day: &Day| held.get(day.date).filter(|entry| entry.is_of(day)).cloned();
        let entries = span_days.days.iter().map(entry).collect::<Option<Vec<_>>>()?;
        let page = Arc::new(Page::of(span_days, entries));
        self.cache.insert(key, page.clone());
        Some(page)
    }
}

impl Memory {
    /// How exact a page is, for a reader that has the facility from a directory that is exact as of
    /// `directory_ms`: see `exact_as_of_ms_within`. A page without days says what the directory
    /// says.
    pub fn page_exactness(&self, page: &Page, directory_ms: i64) -> PageExactness {
        let mut exactness = PageExactness {
            as_of_ms: if page.is_empty() { directory_ms } else { i64::MAX },
            detached_ms: i64::MAX,
        };
        for (session, as_of_ms) in &page.sessions {
            let exact_ms = (*as_of_ms).max(self.proven_in(*session).min(directory_ms));
            exactness.as_of_ms = exactness.as_of_ms.min(exact_ms);
            if *session != Some(self.session()) {
                exactness.detached_ms = exactness.detached_ms.min(exact_ms);
            }
        }
        exactness.as_of_ms = exactness.as_of_ms.min(page.holds_until_ms.saturating_sub(1));
        exactness
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
