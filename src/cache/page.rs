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
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::{
        domain::summary::{Summary, SummaryRow},
        protocol::{Message, Position},
    };

    fn facility(zone: &str) -> Facility {
        let zone = Arc::new(Zone::named(zone).unwrap());
        Facility { id: Uuid::nil(), name: "North".into(), zone }
    }

    fn row(facility: &Facility, date: Date, version: i64, as_of_ms: i64) -> SummaryRow {
        let summary = Summary { version, ..Summary::empty(facility.id, date, true) };
        let day = Day::named(&facility.zone.tz, date).unwrap();
        SummaryRow { summary, as_of_ms, next_expires_at_ms: None, bounds: Some((&day).into()) }
    }

    const NOW_MS: i64 = 1_800_000_000_000;

    #[test]
    fn a_page_is_the_bodies_of_its_days_and_as_old_as_the_oldest() {
        let memory = Memory::new(1 << 20, 16, Position { generation: 1, number: 0 });
        let (pages, facility) = (Pages::new(1 << 20), facility("Europe/Warsaw"));
        let span = Span { newest: date(2026, 11, 3), oldest: date(2026, 10, 1), limit: 3 };
        let token = memory.fill_token();
        let rows: Vec<SummaryRow> =
            (1..=3).map(|n| row(&facility, date(2026, 11, n), n.into(), NOW_MS)).collect();
        memory.publish(&token, rows[..2].iter());
        assert!(pages.held(&memory, &facility, &span).is_none(), "a day is not held");
        memory.publish(&token, rows[2..].iter());
        let page = pages.held(&memory, &facility, &span).unwrap();
        let bodies = rows.iter().rev().map(|row| row.summary.to_json()).collect::<Vec<_>>();
        let want =
            [b"{\"items\":[", &bodies.join(&b","[..])[..], b"],\"next_cursor\":\"2026-10-31\"}"]
                .concat();
        assert_eq!(page.body(), &want);
        assert!(Arc::ptr_eq(&page, &pages.held(&memory, &facility, &span).unwrap()));
        memory.consume_next(&Message::Watermark { at_ms: NOW_MS + 50 });
        assert_eq!(memory.page_exactness(&page, i64::MAX).as_of_ms, NOW_MS + 50);
        assert_eq!(memory.page_exactness(&page, NOW_MS + 20).as_of_ms, NOW_MS + 20);
        // A day of another session than the others: the oldest counts.
        memory.start_new_session(None);
        memory.publish(
            &memory.fill_token(),
            [row(&facility, date(2026, 11, 3), 9, NOW_MS + 60)].iter(),
        );
        let later = pages.held(&memory, &facility, &span).unwrap();
        assert_ne!(later.forms.etag(), page.forms.etag());
        memory.consume_next(&Message::Watermark { at_ms: NOW_MS + 90 });
        assert_eq!(
            memory.page_exactness(&later, i64::MAX),
            PageExactness { as_of_ms: NOW_MS + 50, detached_ms: NOW_MS + 50 }
        );
        assert_eq!((later.reached_ms(9), later.reached_ms(10)), (Some(NOW_MS + 60), None));
    }

    #[test]
    fn a_page_ends_to_hold_with_the_first_of_its_days() {
        let memory = Memory::new(1 << 20, 16, Position { generation: 1, number: 0 });
        let (pages, facility) = (Pages::new(1 << 20), facility("UTC"));
        let span = Span { newest: date(2026, 11, 2), oldest: date(2026, 11, 1), limit: 9 };
        let expiring = SummaryRow {
            next_expires_at_ms: Some(NOW_MS + 7),
            ..row(&facility, date(2026, 11, 2), 2, NOW_MS)
        };
        let other = row(&facility, date(2026, 11, 1), 1, NOW_MS);
        memory.publish(&memory.fill_token(), [&expiring, &other].into_iter());
        memory.consume_next(&Message::Watermark { at_ms: NOW_MS + 50 });
        let page = pages.held(&memory, &facility, &span).unwrap();
        assert_eq!(memory.page_exactness(&page, i64::MAX).as_of_ms, NOW_MS + 6);
    }

    #[test]
    fn a_page_of_another_zone_is_not_used_and_dates_that_were_skipped_are_not_missing() {
        let memory = Memory::new(1 << 20, 16, Position { generation: 1, number: 0 });
        let pages = Pages::new(1 << 20);
        let (apia, utc) = (facility("Pacific/Apia"), facility("UTC"));
        let span = Span { newest: date(2011, 12, 31), oldest: date(2011, 12, 29), limit: 9 };
        let days = [date(2011, 12, 29), date(2011, 12, 31)];
        let rows = days.map(|date| row(&apia, date, 1, NOW_MS));
        memory.publish(&memory.fill_token(), rows.iter());
        let page = pages.held(&memory, &apia, &span).expect("there was no 30th");
        assert_eq!(page.span_days.days.len(), 2);
        assert!(pages.held(&memory, &utc, &span).is_none());
    }
}
