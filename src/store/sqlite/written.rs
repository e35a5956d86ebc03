//! Whether the file continues from the state that this process knows. Each written summary adds a
//! row to the outbox, and its ids are never given twice. A backup that is restored while the
//! service runs brings back an earlier number.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::{Result, Row, SqliteConnection};

/// What is known of the epoch, which the file names by its salt.
#[derive(Default)]
pub struct EpochCounters {
    known: Mutex<EpochState>,
}

/// The state of one epoch: its salt, the greatest number of outbox rows, and whether it went back.
#[derive(Default, Clone)]
pub struct EpochState {
    salt: String,
    greatest: i64,
    has_gone_back: bool,
}

/// The salt of the epoch, and the number of rows that were ever written to the outbox.
const ROWS: &str = "SELECT (SELECT salt FROM fleet), ifnull((SELECT seq FROM sqlite_sequence \
                    WHERE name = 'outbox'), 0)";

/// Reads both over this connection.
pub async fn rows(connection: &mut SqliteConnection) -> Result<(String, i64)> {
    let row = sqlx::query(ROWS).fetch_one(connection).await?;
    Ok((row.try_get::<Option<String>, _>(0)?.unwrap_or_default(), row.try_get(1)?))
}

impl EpochState {
    /// Whether the known epoch is another one. An epoch that no drain snapshot has shown yet may be
    /// that of a backup.
    pub fn is_of_another(&self, salt: &str) -> bool {
        !self.salt.is_empty() && self.salt != salt
    }
}

impl EpochCounters {
    /// What is known now. Must be taken before the file is read: whatever is known by then is
    /// committed, so the read must contain it.
    pub fn before(&self) -> EpochState {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records what was read. Returns false when the file has gone back. Then nothing may be based
    /// on what is known here, until a drain snapshot has begun another epoch.
    pub fn goes_on(&self, before: &EpochState, salt: &str, rows: i64) -> bool {
        let mut known = self.of(salt);
        known.has_gone_back |= before.salt == salt && rows < before.greatest;
        known.greatest = known.greatest.max(rows);
        !known.has_gone_back
    }

    /// Records what was committed.
    pub fn note(&self, salt: &str, rows: i64) {
        let mut known = self.of(salt);
        known.greatest = known.greatest.max(rows);
    }

    /// The knowledge of this epoch; nothing is known of another one.
    fn of(&self, salt: &str) -> MutexGuard<'_, EpochState> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.salt != salt {
            *known = EpochState { salt: salt.to_owned(), ..EpochState::default() };
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_went_back_is_told_by_the_next_look_whatever_was_written_by_then() {
        let written = EpochCounters::default();
        let read = |salt: &str, rows| written.goes_on(&written.before(), salt, rows);
        assert!(read("a", 7));
        let before_a_commit = written.before();
        written.note("a", 9);
        assert!(
            written.goes_on(&before_a_commit, "a", 8),
            "a drain snapshot from before the commit"
        );
        assert!(!read("a", 8), "a backup was restored");
        assert!(!read("a", 12), "and was written by others");
        assert!(read("b", 3), "another epoch has another count");
    }
}
