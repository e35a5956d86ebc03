//! An estimate of the database's time that needs no query: the last answer plus the time that has
//! passed since then on a monotonic clock.
//!
//! The machine's wall clock is used only until the database has answered once. An answer proves
//! that the database's clock now lies between the answer's timestamp and that timestamp plus the
//! time of the round trip. The estimate changes only where it lies outside these bounds. So a slow
//! answer does not set it back; an estimate that is set back would make figures look younger than
//! they are.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Instant,
};

/// The estimate. All threads share one.
#[derive(Debug)]
pub struct Clock {
    /// The database's time, by its newest answer, at the instant when the machine's monotonic clock
    /// began. Milliseconds since the Unix epoch.
    base_ms: AtomicI64,
}

impl Clock {
    /// An estimate by the machine's wall clock, until the first `sync`.
    pub fn new() -> Self {
        Clock { base_ms: AtomicI64::new(jiff::Timestamp::now().as_millisecond() - elapsed_ms()) }
    }

    /// The database's time now, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.base_ms.load(Ordering::Relaxed) + elapsed_ms()
    }

    /// Takes over the time `database_ms`, which a query sent at `asked` has returned. By now the
    /// database's clock lies between `database_ms` and `database_ms` plus the time since `asked`.
    /// An estimate within these bounds stays as it is, so that a slow answer does not make figures
    /// look younger than they are.
    pub fn sync(&self, database_ms: i64, asked: Instant) {
        let took_ms = i64::try_from(asked.elapsed().as_millis()).unwrap_or(i64::MAX);
        if !(database_ms..=database_ms.saturating_add(took_ms)).contains(&self.now_ms()) {
            // One millisecond less, so that the estimate is not ahead by a fraction of a
            // millisecond.
            self.base_ms.store(database_ms - elapsed_ms() - 1, Ordering::Relaxed);
        }
    }
}

/// Milliseconds on the machine's monotonic clock. On Linux it is the clock that runs on while the
/// machine is suspended; otherwise figures would look younger by that time after it wakes up.
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
