//! Logs events that repeat, such as a refused request or a missed message: when they begin, once a
//! minute while they go on, and when they are over, with their number. `log_throttle.rs` is for
//! failures that end when the same thing succeeds again.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// An event is over once it has not happened for this time.
const OVER_AFTER: Duration = Duration::from_secs(10);
/// Time between two log lines while it goes on.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The recent events, by subject.
pub struct LogRepeats<S> {
    /// Whether there is any event, so that a check costs one load.
    any: AtomicBool,
    lately: Mutex<HashMap<S, Repeat>>,
}

struct Repeat {
    begun: Instant,
    last: Instant,
    told: Instant,
    times: u64,
}

/// What to log about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepeatLog {
    /// The event has begun.
    Begins,
    /// The event goes on.
    GoesOn(Count),
    /// Nothing, as it was logged not long ago.
    Nothing,
}

/// How often an event has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The number of times.
    pub times: u64,
    /// The time from the first to the last.
    pub within: Duration,
}

impl<S: Eq + Hash + Copy> LogRepeats<S> {
    /// Records that the event has happened, and returns what to log.
    pub fn happens(&self, subject: S) -> RepeatLog {
        self.happens_at(subject, Instant::now())
    }

    fn happens_at(&self, subject: S, now: Instant) -> RepeatLog {
        let mut lately = self.lately();
        self.any.store(true, Ordering::Relaxed);
        let Some(repeat) = lately.get_mut(&subject) else {
            lately.insert(subject, Repeat { begun: now, last: now, told: now, times: 1 });
            return RepeatLog::Begins;
        };
        (repeat.last, repeat.times) = (now, repeat.times + 1);
        if now.duration_since(repeat.told) < TOLD_EVERY {
            return RepeatLog::Nothing;
        }
        repeat.told = now;
        RepeatLog::GoesOn(repeat.count())
    }

    /// The events that are over since the last call. An event that happened once is left out, as
    /// its beginning was logged. Call it now and then; it costs one load where there is nothing.
    pub fn over(&self) -> Vec<(S, Count)> {
        if self.any.load(Ordering::Relaxed) { self.over_at(Instant::now()) } else { Vec::new() }
    }

    fn over_at(&self, now: Instant) -> Vec<(S, Count)> {
        let mut lately = self.lately();
        let over = lately.extract_if(|_, repeat| now.duration_since(repeat.last) >= OVER_AFTER);
        let over = over
            .filter(|(_, repeat)| repeat.times > 1)
            .map(|(subject, repeat)| (subject, repeat.count()))
            .collect();
        self.any.store(!lately.is_empty(), Ordering::Relaxed);
        over
    }

    fn lately(&self) -> MutexGuard<'_, HashMap<S, Repeat>> {
        self.lately.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repeat {
    fn count(&self) -> Count {
        Count { times: self.times, within: self.last.duration_since(self.begun) }
    }
}

impl<S> Default for LogRepeats<S> {
    fn default() -> Self {
        LogRepeats { any: AtomicBool::new(false), lately: Mutex::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_told_when_it_begins_once_a_minute_and_when_it_is_over() {
        let (repeats, start) = (LogRepeats::default(), Instant::now());
        let at = |second: u64| start + Duration::from_secs(second);
        let count = |times, seconds| Count { times, within: Duration::from_secs(seconds) };
        let told: Vec<(u64, RepeatLog)> = (0..=125)
            .map(|second| (second, repeats.happens_at("gap", at(second))))
            .filter(|(_, tell)| *tell != RepeatLog::Nothing)
            .collect();
        assert_eq!(
            told,
            [
                (0, RepeatLog::Begins),
                (60, RepeatLog::GoesOn(count(61, 60))),
                (120, RepeatLog::GoesOn(count(121, 120)))
            ]
        );
        assert_eq!(
            repeats.happens_at("another", at(126)),
            RepeatLog::Begins,
            "each subject for itself"
        );
        assert_eq!(repeats.over_at(at(134)), [], "it may go on");
        assert_eq!(
            repeats.over_at(at(136)),
            [("gap", count(126, 125))],
            "what happened once is not told again"
        );
        assert!(
            !repeats.any.load(Ordering::Relaxed) && repeats.over_at(at(137)).is_empty(),
            "the end, too, is told once"
        );
        assert_eq!(repeats.happens_at("gap", at(138)), RepeatLog::Begins);
    }
}
