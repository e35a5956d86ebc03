//! Rows that this release cannot read, whatever has become of them: bytes that are no text, figures
//! that are no JSON, a date that no calendar has. Each costs itself alone: its neighbours are read,
//! it is read as far as it can be, and it is told once.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{LazyLock, Mutex, PoisonError},
};

use jiff::civil::Date;
use uuid::Uuid;

use crate::domain::summary::{Summary, SummaryRow};

/// As of when the figures are of a row that nobody can read: before every day, so that whoever
/// wants them derives them anew.
pub const NEVER_MS: i64 = i64::MIN;

/// Rows told of; further ones are counted no more, and told each time.
const REMEMBERED: usize = 10_000;

/// For the process: the stores meet them below everything that has a name for itself.
static MET: LazyLock<Mutex<HashSet<(&'static str, String)>>> = LazyLock::new(Mutex::default);

/// Takes note of a row, by its table and key.
pub fn note(table: &'static str, row: impl ToString, error: &dyn std::fmt::Display) {
    let row = row.to_string();
    let is_new = {
        let mut met = MET.lock().unwrap_or_else(PoisonError::into_inner);
        met.len() >= REMEMBERED || met.insert((table, row.clone()))
    };
    if is_new {
        tracing::error!(table, row, %error, "a row of the database cannot be read; the others are not affected");
    }
}

/// How many rows of that kind this process has met.
pub fn met() -> usize {
    MET.lock().unwrap_or_else(PoisonError::into_inner).len()
}

/// A text of any bytes, with U+FFFD where they are no UTF-8; notes the row then.
pub fn text(bytes: &[u8], table: &'static str, row: impl ToString) -> String {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => {
            note(table, row, &format!("its text is not UTF-8; it is shown as {text:?}"));
            text
        }
    }
}

/// What stands in for a stored row that cannot be read, until the day is derived anew, which mends
/// it.
pub fn summary(facility_id: Uuid, date: Date, error: &dyn std::fmt::Display) -> SummaryRow {
    note("dashboard_daily_summary", format_args!("{facility_id} {date}"), error);
    SummaryRow {
        summary: Summary::empty(facility_id, date, true),
        as_of_ms: NEVER_MS,
        next_expires_at_ms: None,
        bounds: None,
    }
}

/// The values that can be read; the others are noted and left out.
pub fn skip<T>(rows: impl Iterator<Item = super::Result<T>>, table: &'static str) -> Vec<T> {
    rows.filter_map(|row| row.inspect_err(|error| note(table, error, error)).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_shown_as_far_as_they_are_and_told_once() {
        let before = met();
        assert_eq!(text(b"Krak\xf3w", "facilities", "unreadable-test"), "Krak\u{fffd}w");
        assert_eq!(text(b"Krak\xf3w", "facilities", "unreadable-test"), "Krak\u{fffd}w");
        assert_eq!(text("Kraków".as_bytes(), "facilities", "unreadable-test-2"), "Kraków");
        assert!(met() > before);
        assert!(!MET.lock().unwrap().contains(&("facilities", "unreadable-test-2".to_owned())));
    }
}
