//! An estimate of the database's time that needs no query: the last answer plus the time that has
//! passed since then on a monotonic clock.
//!
//! The machine's wall clock is used only until the database has answered once. An answer proves
//! that the database's clock now lies between the answer's timestamp and that timestamp plus the
//! time of the round trip. The estimate changes only where it lies outside these bounds. So a slow
//! answer does not set it back; an estimate that is set back would make figures look younger than
//! they are.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

/// The estimate. All threads share one.
#[derive(Debug)]
pub struct Clock {
    /// The database's time, by its newest answer, at the instant when the machine's monotonic clock
    /// began. Milliseconds since the Unix epoch.
    base_ms: AtomicI64,
    /// `None` before the first answer.
    bounds: Mutex<Option<Bounds>>,
    /// The greatest distance that was seen between the estimate and [`slow`].
    farthest_ms: AtomicI64,
}

/// What the answers so far prove of the database's clock: bounds of its time at the instant when
/// the machine's monotonic clock began. In microseconds.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    earliest_us: i64,
    latest_us: i64,
    /// When they were found, by the monotonic clock.
    found_us: i64,
}

/// How much two clocks may drift apart: a microsecond in so many.
const DRIFT: i64 = 2_000;

impl Clock {
    /// An estimate by the machine's wall clock, until the first `sync`.
    pub fn new() -> Self {
        Clock {
            base_ms: AtomicI64::new(jiff::Timestamp::now().as_millisecond() - elapsed_ms()),
            bounds: Mutex::default(),
            farthest_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// The database's time now, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.base_ms.load(Ordering::Relaxed) + elapsed_ms()
    }

    /// An instant that never goes back in this process, in milliseconds since the Unix epoch: the
    /// estimate, until the database's clock is set back. Then it goes on from the latest time that
    /// was seen, a little slower than the monotonic clock, until the database's clock is ahead of
    /// it. It is slower so that it does not get ahead by itself, where the database's clock is.
    pub fn never_back_ms(&self) -> i64 {
        let elapsed_ms = elapsed_ms();
        let slow_ms = slow(elapsed_ms);
        let distance_ms = self.base_ms.load(Ordering::Relaxed) + elapsed_ms - slow_ms;
        let farthest_ms = self.farthest_ms.load(Ordering::Relaxed);
        if distance_ms > farthest_ms {
            self.farthest_ms.fetch_max(distance_ms, Ordering::Relaxed);
        }
        distance_ms.max(farthest_ms) + slow_ms
    }

    /// By how many milliseconds the database's clock is behind [`Clock::never_back_ms`]: 0 unless
    /// it was set back.
    pub fn set_back_by_ms(&self) -> i64 {
        (self.never_back_ms() - self.now_ms()).max(0)
    }

    /// The database's clock does not show a later time than this now, in milliseconds since the
    /// Unix epoch. The estimate may be behind the database's clock. Before the database has
    /// answered, it is the estimate.
    pub fn latest_ms(&self) -> i64 {
        let now_us = elapsed_us();
        match *self.bounds() {
            Some(bounds) => {
                let latest_us = bounds.drifted(now_us).latest_us;
                latest_us.saturating_add(now_us).div_euclid(1_000) + 1
            }
            None => self.now_ms(),
        }
    }

    /// Waits until the database's clock shows a later time than `at_ms`, whatever the estimate is.
    pub async fn has_passed(&self, at_ms: i64) {
        loop {
            let now_us = elapsed_us();
            let Some(bounds) = *self.bounds() else { return };
            let earliest_us = bounds.drifted(now_us).earliest_us.saturating_add(now_us);
            let left_us = at_ms.saturating_add(1).saturating_mul(1_000) - earliest_us;
            match u64::try_from(left_us) {
                Ok(left_us) if left_us > 0 => {
                    tokio::time::sleep(Duration::from_micros(left_us)).await;
                }
                _ => return,
            }
        }
    }

    fn bounds(&self) -> MutexGuard<'_, Option<Bounds>> {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the time `database_ms`, which a query sent at `asked` has returned. By now the
    /// database's clock lies between `database_ms` and `database_ms` plus the time since `asked`.
    /// An estimate within these bounds stays as it is, so that a slow answer does not make figures
    /// look younger than they are.
    pub fn sync(&self, database_ms: i64, asked: Instant) {
        let took_us = i64::try_from(asked.elapsed().as_micros()).unwrap_or(i64::MAX);
        let took_ms = took_us / 1_000;
        let mut bounds = self.bounds();
        if bounds.is_none() {
            // So far it was the clock of this machine, which says nothing of the database's.
            self.farthest_ms.store(i64::MIN, Ordering::Relaxed);
        } else {
            self.never_back_ms();
        }
        *bounds = Some(Bounds::after(*bounds, database_ms, took_us, elapsed_us()));
        drop(bounds);
        if !(database_ms..=database_ms.saturating_add(took_ms)).contains(&self.now_ms()) {
            // One millisecond less, so that the estimate is not ahead by a fraction of a
            // millisecond.
            self.base_ms.store(database_ms - elapsed_ms() - 1, Ordering::Relaxed);
        }
        self.never_back_ms();
    }
}

impl Bounds {
    /// The bounds at `now_us`: the two clocks may have drifted apart since these were found.
    fn drifted(self, now_us: i64) -> Self {
        let drift_us = now_us.saturating_sub(self.found_us).max(0) / DRIFT + 1;
        Bounds {
            earliest_us: self.earliest_us.saturating_sub(drift_us),
            latest_us: self.latest_us.saturating_add(drift_us),
            found_us: now_us,
        }
    }

    /// The bounds after an answer: what it proves as well. Where it contradicts them, the
    /// database's clock was set, and only the answer counts.
    fn after(before: Option<Self>, database_ms: i64, took_us: i64, now_us: i64) -> Self {
        // The database has cut its time to the millisecond.
        let earliest_us = database_ms.saturating_mul(1_000).saturating_sub(now_us);
        let latest_us = earliest_us.saturating_add(1_000).saturating_add(took_us);
        let answer = Bounds { earliest_us, latest_us, found_us: now_us };
        let Some(before) = before.map(|before| before.drifted(now_us)) else { return answer };
        let both = Bounds {
            earliest_us: before.earliest_us.max(earliest_us),
            latest_us: before.latest_us.min(latest_us),
            found_us: now_us,
        };
        match both.earliest_us <= both.latest_us {
            true => both,
            false => answer,
        }
    }
}

/// A time that passes a little slower than `elapsed_ms`, by as much as two clocks may drift apart.
fn slow(elapsed_ms: i64) -> i64 {
    elapsed_ms - elapsed_ms.div_euclid(DRIFT)
}

/// Milliseconds on the machine's monotonic clock. On Linux it runs on while the machine is
/// suspended.
pub fn elapsed_ms() -> i64 {
    elapsed_us().div_euclid(1_000)
}

/// Microseconds on the machine's monotonic clock. On Linux it is the clock that runs on while the
/// machine is suspended; otherwise figures would look younger by that time after it wakes up.
#[cfg(target_os = "linux")]
fn elapsed_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[cfg(not(target_os = "linux"))]
fn elapsed_us() -> i64 {
    static STARTED: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    i64::try_from(STARTED.elapsed().as_micros()).unwrap_or(i64::MAX)
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

    /// A database whose clock is `off_us` ahead of the monotonic clock, and cuts to the
    /// millisecond.
    fn of_the_database(off_us: i64, at_us: i64) -> i64 {
        (at_us + off_us).div_euclid(1_000)
    }

    proptest::proptest! {
        #[test]
        fn the_databases_clock_is_within_the_bounds(
            off_us in -10_000_000i64..10_000_000,
            set_us in proptest::option::of(-9_000_000i64..9_000_000),
            answers in proptest::collection::vec(
                (0i64..50_000, 0i64..50_000, 0i64..1_000_000),
                1..30,
            ),
        ) {
            let (mut now_us, mut off_us) = (5_000_000, off_us);
            let mut bounds = None;
            let half = answers.len() / 2;
            for (nth, (there_us, back_us, pause_us)) in answers.into_iter().enumerate() {
                if nth == half {
                    off_us += set_us.unwrap_or(0);
                }
                let database_ms = of_the_database(off_us, now_us + there_us);
                now_us += there_us + back_us;
                let after = Bounds::after(bounds, database_ms, there_us + back_us, now_us);
                bounds = Some(after);
                // A step that is less than the bounds leave open is not noticed.
                if nth < half || set_us.is_none_or(|set_us| set_us.abs() > 102_000) {
                    let at = after.drifted(now_us + pause_us);
                    proptest::prop_assert!(
                        (at.earliest_us..=at.latest_us).contains(&off_us),
                        "{off_us} {at:?}"
                    );
                }
                now_us += pause_us;
            }
        }
    }

    #[tokio::test]
    async fn the_estimate_may_be_behind_and_the_bound_is_not() {
        let clock = Clock::new();
        let sent = Instant::now()
            .checked_sub(Duration::from_millis(40))
            .expect("the machine has been up for a while");
        let database_ms = clock.now_ms() + 600_000;
        clock.sync(database_ms, sent);
        let latest_ms = clock.latest_ms();
        assert!(latest_ms >= database_ms + 40);
        assert!(clock.now_ms() < database_ms + 40, "the estimate is behind");
        clock.has_passed(latest_ms).await;
        assert!(clock.now_ms() >= latest_ms - 1);
    }

    #[test]
    fn what_ends_by_the_clock_has_ended_also_after_it_was_set_back() {
        let clock = Clock::new();
        let begun_ms = clock.now_ms();
        // Before the first answer, this machine's clock says nothing.
        assert!(clock.never_back_ms() >= begun_ms);
        clock.sync(begun_ms - 3_600_000, Instant::now());
        assert!(clock.never_back_ms() < begun_ms - 3_500_000);
        let mut seen_ms = i64::MIN;
        for off_ms in [0, 600_000, -600_000, 300_000, -86_400_000, 700_000, 0] {
            clock.sync(begun_ms + off_ms, Instant::now());
            let now_ms = clock.never_back_ms();
            assert!(now_ms >= seen_ms, "it went back at {off_ms}");
            assert!(now_ms >= clock.now_ms(), "it is not behind the database's clock");
            seen_ms = now_ms;
        }
        assert!(seen_ms >= begun_ms + 699_000);
        assert!((690_000..710_000).contains(&clock.set_back_by_ms()));
    }

    proptest::proptest! {
        #[test]
        fn the_slow_time_never_goes_back_and_is_slower(
            at_ms in 0i64..1 << 50,
            later_ms in 0i64..1 << 40,
        ) {
            let passed_ms = slow(at_ms + later_ms) - slow(at_ms);
            proptest::prop_assert!((0..=later_ms).contains(&passed_ms));
            proptest::prop_assert!(later_ms - passed_ms <= later_ms / DRIFT + 1);
        }
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
