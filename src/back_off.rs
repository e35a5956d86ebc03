//! The back-off from something that fails: no caller tries it for a while, and then one caller
//! tries it for all.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Time between a failure and the next try.
pub const PAUSE: Duration = Duration::from_secs(1);

/// Whether something that all callers share may be tried now.
pub struct BackOff {
    since: Instant,
    /// How long a try may take before another caller may try as well.
    try_takes: Duration,
    /// The instant of the next try, in milliseconds after `since`; 0 while nothing fails.
    next_try_ms: AtomicU64,
}

impl BackOff {
    /// Nothing has failed yet. After the first try of a back-off, the next caller may try `PAUSE`
    /// and `try_takes` later.
    pub fn new(try_takes: Duration) -> Self {
        BackOff { since: Instant::now(), try_takes, next_try_ms: AtomicU64::new(0) }
    }

    /// Whether the last try failed. Costs one load.
    pub fn is_on(&self) -> bool {
        self.next_try_ms.load(Ordering::Acquire) != 0
    }

    /// Whether the caller may try: always while nothing fails, otherwise one caller after each
    /// pause.
    pub fn may_try(&self) -> bool {
        let next_try_ms = self.next_try_ms.load(Ordering::Acquire);
        next_try_ms == 0
            || (next_try_ms <= self.after(Duration::ZERO)
                && self
                    .next_try_ms
                    .compare_exchange(
                        next_try_ms,
                        self.after(PAUSE + self.try_takes),
                        Ordering::AcqRel,
                        Ordering::Acquire,
                    )
                    .is_ok())
    }

    /// Records a failure. True when nothing failed before.
    pub fn begin(&self) -> bool {
        self.next_try_ms.swap(self.after(PAUSE), Ordering::AcqRel) == 0
    }

    /// Records a success. True when there was a failure before.
    pub fn end(&self) -> bool {
        self.is_on() && self.next_try_ms.swap(0, Ordering::AcqRel) != 0
    }

    /// Ends the present pause.
    #[cfg(test)]
    pub fn end_pause(&self) {
        self.next_try_ms.store(1, Ordering::Release);
    }

    fn after(&self, pause: Duration) -> u64 {
        u64::try_from((self.since.elapsed() + pause).as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_one_caller_tries_for_all_once_the_pause_is_over() {
        let try_takes = Duration::from_millis(10);
        let since = Instant::now() - Duration::from_secs(60);
        let back_off = BackOff { since, ..BackOff::new(try_takes) };
        let tries = || (0..10).filter(|_| back_off.may_try()).count();
        assert_eq!((tries(), back_off.is_on()), (10, false), "nothing fails");
        assert!(back_off.begin());
        assert!(!back_off.begin(), "that is known");
        assert_eq!((tries(), back_off.is_on()), (0, true));
        back_off.end_pause();
        assert_eq!(tries(), 1, "the pause is over");
        assert!(back_off.end() && !back_off.end());
        assert_eq!((tries(), back_off.is_on()), (10, false));
    }
}
