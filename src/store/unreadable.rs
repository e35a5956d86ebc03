//! Rows that this release cannot read: bytes that are not text, figures that are not JSON, a date
//! that is not in the calendar. Such a row affects only itself. The other rows are read, this row
//! is read as far as possible, and it is logged once.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{LazyLock, Mutex, PoisonError},
};

use jiff::civil::Date;
use uuid::Uuid;

use crate::domain::summary::{Key, Summary, SummaryRow};

/// The instant, in milliseconds, as of which an unreadable row's figures are exact. It is before
/// every day, so that a reader of the row has it derived again.
pub const NEVER_MS: i64 = i64::MIN;

/// Rows that are remembered as logged. Further rows are not counted, and are logged each time.
const REMEMBERED: usize = 10_000;

/// One set for the process, because the stores read such rows in places that share no other state.
static MET: LazyLock<Mutex<HashSet<(&'static str, String)>>> = LazyLock::new(Mutex::default);

/// Logs and counts a row, by its table and key.
pub fn note(table: &'static str, row: impl ToString, error: &dyn std::fmt::Display) {
    let row = row.to_string();
    let is_new = {
        let mut met = MET.lock().unwrap_or_else(PoisonError::into_inner);
        met.len() >= REMEMBERED || met.insert((table, row.clone()))
    };
    if is_new {
        tracing::error!(
            table,
            row,
            %error,
            "a row of the database cannot be read; the others are not affected"
        );
    }
}

/// How many unreadable rows this process has read, counted up to [`REMEMBERED`].
pub fn met() -> usize {
    MET.lock().unwrap_or_else(PoisonError::into_inner).len()
}

/// A text of any bytes. Bytes that are not UTF-8 become U+FFFD, and the row is noted.
pub fn text(bytes: &[u8], table: &'static str, row: impl ToString) -> String {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => {
            note(table, row, &format!("its text is not UTF-8; it is shown as {text:?}"));
            text
        }
    }
}

/// Logs and counts a row of the summary table.
pub fn note_summary(key: &Key, error: &dyn std::fmt::Display) {
    note("dashboard_daily_summary", format_args!("{} {}", key.facility_id, key.date), error);
}

/// The row that replaces a stored row which cannot be read. Deriving the day again repairs the
/// stored row.
pub fn summary(facility_id: Uuid, date: Date, error: &dyn std::fmt::Display) -> SummaryRow {
    note_summary(&Key { facility_id, date }, error);
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
