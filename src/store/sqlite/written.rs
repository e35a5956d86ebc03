//! Whether the file goes on from where this process knows that it was. Each summary that is written
//! adds a row to the outbox, whose ids are never given twice; a backup that is restored under the
//! running service brings back the number of then.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::{Result, Row, SqliteConnection};

/// What is known of the history that the file tells by its salt.
#[derive(Default)]
pub struct Written {
    known: Mutex<Known>,
}

#[derive(Default, Clone)]
pub struct Known {
    salt: String,
    greatest: i64,
    has_gone_back: bool,
}

/// Rows ever put into the outbox, and the salt of the history.
const ROWS: &str = "SELECT (SELECT salt FROM fleet), ifnull((SELECT seq FROM sqlite_sequence \
                    WHERE name = 'outbox'), 0)";

/// As the connection sees them.
pub async fn rows(connection: &mut SqliteConnection) -> Result<(String, i64)> {
    let row = sqlx::query(ROWS).fetch_one(connection).await?;
    Ok((row.try_get::<Option<String>, _>(0)?.unwrap_or_default(), row.try_get(1)?))
}

impl Known {
    /// Whether another history was known: one that no look has seen yet may be that of a backup.
    pub fn is_of_another(&self, salt: &str) -> bool {
        !self.salt.is_empty() && self.salt != salt
    }
}

impl Written {
    /// To be taken before the file is read: whatever is committed by then is in what is read.
    pub fn before(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of what was read. False where the file has gone back: nothing may be built on
    /// what is known here until a look has begun another history.
    pub fn goes_on(&self, before: &Known, salt: &str, rows: i64) -> bool {
        let mut known = self.of(salt);
        known.has_gone_back |= before.salt == salt && rows < before.greatest;
        known.greatest = known.greatest.max(rows);
        !known.has_gone_back
    }

    /// Takes note of what was committed.
    pub fn note(&self, salt: &str, rows: i64) {
        let mut known = self.of(salt);
        known.greatest = known.greatest.max(rows);
    }

    /// Of that history; of another one nothing is known.
    fn of(&self, salt: &str) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.salt != salt {
            *known = Known { salt: salt.to_owned(), ..Known::default() };
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_went_back_is_told_by_the_next_look_whatever_was_written_by_then() {
        let written = Written::default();
        let read = |salt: &str, rows| written.goes_on(&written.before(), salt, rows);
        assert!(read("a", 7));
        let before_a_commit = written.before();
        written.note("a", 9);
        assert!(written.goes_on(&before_a_commit, "a", 8), "a look whose snapshot is older");
        assert!(!read("a", 8), "a backup was restored");
        assert!(!read("a", 12), "and was written by others");
        assert!(read("b", 3), "another history is another count");
    }
}
