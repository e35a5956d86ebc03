//! The database's time, without asking it: its last answer plus what has passed since on a
//! monotonic clock.
//!
//! The machine's wall clock decides nothing; it only stands in until the database has answered
//! once. An answer proves that the database's clock lies between its timestamp and that plus the
//! time the round trip took; the estimate moves only where it lies outside of that. So a slow
//! answer does not set it back, which would make figures look younger than they are.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Instant,
};

#[derive(Debug)]
pub struct Clock {
    /// The database's time when the machine's monotonic clock began, by its newest answer.
    base_ms: AtomicI64,
}

impl Clock {
    pub fn new() -> Self {
        Clock { base_ms: AtomicI64::new(jiff::Timestamp::now().as_millisecond() - elapsed_ms()) }
    }

    /// The database's time now.
    pub fn now_ms(&self) -> i64 {
        self.base_ms.load(Ordering::Relaxed) + elapsed_ms()
    }

    /// Takes over what the database answered to a question asked at `asked`. It is by now between
    /// that and the time that the answer took later; an estimate that lies there stays as it
    /// is, so that a slow answer does not make figures look younger than they are.
    pub fn sync(&self, database_ms: i64, asked: Instant) {
        let took_ms = i64::try_from(asked.elapsed().as_millis()).unwrap_or(i64::MAX);
        if !(database_ms..=database_ms.saturating_add(took_ms)).contains(&self.now_ms()) {
            // Rounded so that the estimate is not ahead by a part of a millisecond either.
            self.base_ms.store(database_ms - elapsed_ms() - 1, Ordering::Relaxed);
        }
    }
}

/// Milliseconds on the machine's monotonic clock; on Linux the one that goes on while a machine is
/// suspended, so that figures do not look younger by that when it wakes up.
#[cfg(target_os = "linux")]
fn elapsed_ms() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
}

#[cfg(not(target_os = "linux"))]
fn elapsed_ms() -> i64 {
    static STARTED: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    i64::try_from(STARTED.elapsed().as_millis()).unwrap_or(i64::MAX)
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_slow_answer_does_not_set_the_clock_back() {
        let clock = Clock::new();
        let now_ms = clock.now_ms();
        let sent = Instant::now()
            .checked_sub(Duration::from_secs(3))
            .expect("the machine has been up for three seconds");
        clock.sync(now_ms - 2_500, sent);
        assert!(clock.now_ms() >= now_ms);
    }

    #[test]
    fn an_answer_that_proves_the_clock_wrong_moves_it() {
        let clock = Clock::new();
        for off_ms in [-600_000, 600_000] {
            let database_ms = clock.now_ms() + off_ms;
            clock.sync(database_ms, Instant::now());
            assert!((clock.now_ms() - database_ms).abs() < 1_000);
        }
    }
}
