//! The database's time, without asking it: its last answer plus what has passed since on a monotonic clock.
//!
//! The machine's wall clock decides nothing; it only stands in until the database has answered once. The estimate is never ahead of the
//! database by more than the two clocks drift apart between two answers, since an answer is dated when it arrives.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Instant,
};

#[derive(Debug)]
pub struct Clock {
    started: Instant,
    /// The database's time at `started`, by its newest answer.
    base_ms: AtomicI64,
}

impl Clock {
    pub fn new() -> Self {
        Clock { started: Instant::now(), base_ms: AtomicI64::new(jiff::Timestamp::now().as_millisecond()) }
    }

    /// The database's time now.
    pub fn now_ms(&self) -> i64 {
        self.base_ms.load(Ordering::Relaxed) + self.elapsed_ms()
    }

    /// Takes over what the database answered to a question asked at `asked`. It is by now between that and the time that the answer took
    /// later; an estimate that lies there stays as it is, so that a slow answer does not make figures look younger than they are.
    pub fn sync(&self, database_ms: i64, asked: Instant) {
        let took_ms = i64::try_from(asked.elapsed().as_millis()).unwrap_or(i64::MAX);
        if !(database_ms..=database_ms.saturating_add(took_ms)).contains(&self.now_ms()) {
            // Rounded so that the estimate is not ahead by a part of a millisecond either.
            self.base_ms.store(database_ms - self.elapsed_ms() - 1, Ordering::Relaxed);
        }
    }

    fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
