//! One rendered summary (an entry).

use std::sync::OnceLock;

use bytes::Bytes;

use super::encoding;
use crate::domain::{
    day::Day,
    summary::{Bounds, KnownFigures, Summary, SummaryRow},
};

/// Bytes of an entry beside its text: the struct, its place among the facility's days, and what the
/// allocator rounds up.
const ENTRY_OVERHEAD: usize = 204;

/// A rendered summary, ready to be sent.
#[derive(Debug)]
pub struct Entry {
    /// The JSON body, followed by the ETag. One allocation holds both.
    text: Bytes,
    body_len: u32,
    /// The stream session that the entry is attached to; later watermarks of that session count for
    /// it. `None`: none do.
    pub(super) session: Option<u32>,
    /// The version of the summary; 0 for a day without a row.
    pub version: i64,
    /// The instant as of which the figures are exact without any watermark, in milliseconds.
    pub as_of_ms: i64,
    /// The figures hold only before this instant, in milliseconds; `i64::MAX` where nothing
    /// expires.
    pub(super) holds_until_ms: i64,
    /// The figures stay as they were, because the day cannot be counted.
    pub is_still: bool,
    /// The first instant of the day, and the first after it; `None` where the row does not say.
    pub bounds: Option<Bounds>,
    compressed: OnceLock<Box<Compressed>>,
}

/// The compressed bodies. They are made for the first reader that accepts them, and kept where they
/// are smaller by a quarter at least.
#[derive(Debug)]
struct Compressed {
    gzip: Option<Bytes>,
    brotli: Option<Bytes>,
}

impl Entry {
    /// Renders a row that is exact as of `as_of_ms`; `known` says which figures the sources have.
    pub(super) fn new(
        row: &SummaryRow,
        as_of_ms: i64,
        session: Option<u32>,
        known: KnownFigures,
    ) -> Self {
        Entry::of(row.summary.to_json(known), row, as_of_ms, session)
    }

    fn of(mut text: Vec<u8>, row: &SummaryRow, as_of_ms: i64, session: Option<u32>) -> Self {
        let body_len = text.len();
        // The first half of XXH3 of the body. It tells two bodies apart that have the same version
        // because of a bug.
        let hash = (xxhash_rust::xxh3::xxh3_64(&text) >> 32) as u32;
        text.extend_from_slice(
            format!("\"{}.{}.{hash:08x}\"", row.summary.date, row.summary.version).as_bytes(),
        );
        Entry {
            // Copied, not shrunk: the buffer grew by doubling, and shrinking it would leave behind
            // each entry a hole that nothing else fits into.
            text: Bytes::copy_from_slice(&text),
            body_len: u32::try_from(body_len).unwrap_or(u32::MAX),
            session,
            version: row.summary.version,
            as_of_ms,
            holds_until_ms: row.next_expires_at_ms.unwrap_or(i64::MAX),
            is_still: row.is_still(),
            bounds: row.bounds,
            compressed: OnceLock::new(),
        }
    }

    /// The entry of the same day without figures, for lists: they do not wait for a day that cannot
    /// be counted. That its figures are not known holds as long as this version does.
    pub(super) fn uncounted(&self, summary: &Summary) -> Entry {
        let row = SummaryRow {
            summary: summary.clone(),
            as_of_ms: i64::MAX - 1,
            next_expires_at_ms: None,
            bounds: self.bounds,
        };
        Entry::of(summary.to_json_uncounted(), &row, row.as_of_ms, self.session)
    }

    /// Whether the figures are of this day. The day of another zone has the same date, and other
    /// figures.
    pub fn is_of(&self, day: &Day) -> bool {
        Bounds::are_of(self.bounds, self.as_of_ms, day)
    }

    /// The JSON body.
    pub fn body(&self) -> Bytes {
        self.text.slice(..self.body_len as usize)
    }

    /// The length of the body in bytes.
    pub fn body_len(&self) -> usize {
        self.body_len as usize
    }

    /// The bytes of the JSON body.
    pub(super) fn body_bytes(&self) -> &[u8] {
        &self.text[..self.body_len as usize]
    }

    /// The strong entity tag of the plain body, quotes included.
    pub fn etag(&self) -> Bytes {
        self.text.slice(self.body_len as usize..)
    }

    /// The bytes of the entity tag, quotes included.
    pub(super) fn etag_bytes(&self) -> &[u8] {
        &self.text[self.body_len as usize..]
    }

    /// The body in gzip; `None` where that does not save a quarter.
    pub fn gzip(&self) -> Option<Bytes> {
        self.compressed().gzip.clone()
    }

    /// The body in Brotli; `None` where that does not save a quarter.
    pub fn brotli(&self) -> Option<Bytes> {
        self.compressed().brotli.clone()
    }

    fn compressed(&self) -> &Compressed {
        self.compressed.get_or_init(|| {
            let body = self.body_bytes();
            let pays =
                |form: Vec<u8>| (form.len() * 4 <= body.len() * 3).then(|| Bytes::from(form));
            Box::new(Compressed {
                gzip: encoding::gzip(body).and_then(pays),
                brotli: encoding::brotli(body).and_then(pays),
            })
        })
    }

    /// The weight in bytes.
    pub(super) fn weight(&self) -> usize {
        // Half a body more, for compressed forms that may be made later.
        ENTRY_OVERHEAD + self.text.len() + self.body_len as usize / 2
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
            KnownFigures::ALL,
        )
    }

    /// After a restore the database gives a version number a second time. A client that has the
    /// first body must not get "not modified" for the second.
    #[test]
    fn two_bodies_of_one_version_have_different_tags_and_one_body_has_one() {
        assert_ne!(entry(1, 10).etag(), entry(2, 10).etag());
        assert_eq!(entry(1, 10).etag(), entry(1, 20).etag(), "its age is not in its body");
        assert!(entry(1, 10).etag().starts_with(b"\"2026-11-21.7."));
    }
}
