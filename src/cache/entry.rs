//! One rendered summary, and a facility's rendered days.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jiff::civil::Date;

use super::encoding;
use crate::domain::{
    day::Day,
    summary::{Bounds, SummaryRow},
};

/// What an entry weighs beside its text: itself, its place among its facility's days, and what the
/// allocator rounds up.
const ENTRY_OVERHEAD: usize = 204;
/// What a facility weighs beside its entries: the cache's own bookkeeping.
const DAYS_OVERHEAD: usize = 350;

/// A summary, ready to be sent.
#[derive(Debug)]
pub struct Entry {
    /// The JSON body, and behind it the ETag: one allocation.
    text: Bytes,
    body_len: u32,
    /// The session whose watermarks count for it.
    pub(super) session: Option<u32>,
    pub version: i64,
    pub as_of_ms: i64,
    /// The figures hold only before that; `i64::MAX` where nothing expires.
    pub(super) holds_until_ms: i64,
    pub bounds: Option<Bounds>,
    compressed: OnceLock<Box<Compressed>>,
}

/// Made for the first reader that accepts them, where they are smaller by a quarter at least.
#[derive(Debug)]
struct Compressed {
    gzip: Option<Bytes>,
    brotli: Option<Bytes>,
}

impl Entry {
    /// Renders a row that is exact as of `as_of_ms`.
    pub(crate) fn new(row: &SummaryRow, as_of_ms: i64, session: Option<u32>) -> Self {
        let mut text = row.summary.to_json();
        let body_len = text.len();
        // The first half of XXH3 of the body: enough to tell two bodies apart that (by a bug) had
        // the same version.
        let hash = (xxhash_rust::xxh3::xxh3_64(&text) >> 32) as u32;
        text.extend_from_slice(
            format!("\"{}.{}.{hash:08x}\"", row.summary.date, row.summary.version).as_bytes(),
        );
        Entry {
            // Copied, not shrunk: what grew by doubling would leave a hole behind each entry that
            // nothing else fits into.
            text: Bytes::copy_from_slice(&text),
            body_len: u32::try_from(body_len).unwrap_or(u32::MAX),
            session,
            version: row.summary.version,
            as_of_ms,
            holds_until_ms: row.next_expires_at_ms.unwrap_or(i64::MAX),
            bounds: row.bounds,
            compressed: OnceLock::new(),
        }
    }

    /// Whether the figures are of this very day, and not of another zone's day of that name.
    pub fn is_of(&self, day: &Day) -> bool {
        Bounds::are_of(self.bounds, self.as_of_ms, day)
    }

    pub fn body(&self) -> Bytes {
        self.text.slice(..self.body_len as usize)
    }

    /// The strong entity tag, quotes included.
    pub fn etag(&self) -> Bytes {
        self.text.slice(self.body_len as usize..)
    }

    pub fn gzip(&self) -> Option<Bytes> {
        self.compressed().gzip.clone()
    }

    pub fn brotli(&self) -> Option<Bytes> {
        self.compressed().brotli.clone()
    }

    fn compressed(&self) -> &Compressed {
        self.compressed.get_or_init(|| {
            let body = &self.text[..self.body_len as usize];
            let pays =
                |form: Vec<u8>| (form.len() * 4 <= body.len() * 3).then(|| Bytes::from(form));
            Box::new(Compressed {
                gzip: encoding::gzip(body).and_then(pays),
                brotli: encoding::brotli(body).and_then(pays),
            })
        })
    }

    fn weight(&self) -> usize {
        // Half a body more for the compressed forms, should a reader want them.
        ENTRY_OVERHEAD + self.text.len() + self.body_len as usize / 2
    }
}

/// A facility's days, by date. They share one entry of the cache, whose own bookkeeping takes half
/// as much as a body. Never changed: a writer puts a copy with one more in its place, so that
/// readers need no lock.
#[derive(Debug, Default)]
pub(super) struct Days(Box<[(Date, Arc<Entry>)]>);

impl Days {
    pub fn get(&self, date: Date) -> Option<&Arc<Entry>> {
        self.0.binary_search_by_key(&date, |(date, _)| *date).ok().map(|at| &self.0[at].1)
    }

    pub fn with(&self, date: Date, entry: Arc<Entry>) -> Self {
        let mut days = Vec::with_capacity(self.0.len() + 1);
        match self.0.binary_search_by_key(&date, |(date, _)| *date) {
            Ok(at) => {
                days.extend_from_slice(&self.0);
                days[at].1 = entry;
            }
            Err(at) => {
                days.extend_from_slice(&self.0[..at]);
                days.push((date, entry));
                days.extend_from_slice(&self.0[at..]);
            }
        }
        Days(days.into_boxed_slice())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In bytes.
    pub fn weight(&self) -> u32 {
        u32::try_from(DAYS_OVERHEAD + self.0.iter().map(|(_, entry)| entry.weight()).sum::<usize>())
            .unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use uuid::Uuid;

    use super::*;
    use crate::domain::summary::Summary;

    fn entry(total_requests: i64, as_of_ms: i64) -> Entry {
        let summary = Summary {
            version: 7,
            total_requests,
            ..Summary::empty(Uuid::nil(), date(2026, 11, 21), false)
        };
        Entry::new(
            &SummaryRow { summary, as_of_ms, next_expires_at_ms: None, bounds: None },
            as_of_ms,
            None,
        )
    }

    /// After a restored backup a version is given a second time, and who has the first body must
    /// not be told that it has not changed.
    #[test]
    fn two_bodies_of_one_version_have_different_tags_and_one_body_has_one() {
        assert_ne!(entry(1, 10).etag(), entry(2, 10).etag());
        assert_eq!(entry(1, 10).etag(), entry(1, 20).etag(), "its age is not in its body");
        assert!(entry(1, 10).etag().starts_with(b"\"2026-11-21.7."));
    }
}
