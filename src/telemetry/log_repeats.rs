//! What happens again and again, and each time for itself (a request that is refused, a message
//! that was missed): told when it begins, with its number once a minute while it goes on, and with
//! its number when it is over. `throttle.rs` is for what knows itself when it ends.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// It is over once it has not happened for that long.
const OVER_AFTER: Duration = Duration::from_secs(10);
/// How often it is told while it goes on.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What has happened lately, by subject.
pub struct LogRepeats<S> {
    /// Whether there is any, for those who only look.
    any: AtomicBool,
    lately: Mutex<HashMap<S, Repeat>>,
}

struct Repeat {
    begun: Instant,
    last: Instant,
    told: Instant,
    times: u64,
}

/// What to say when it has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// That it has begun.
    Begins,
    /// That it goes on.
    GoesOn(Count),
    /// Nothing: it was said not long ago.
    Nothing,
}

/// How often it has happened, from the first time to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub times: u64,
    pub within: Duration,
}

impl<S: Eq + Hash + Copy> LogRepeats<S> {
    /// Takes note that it has happened, and answers what is to be said of it.
    pub fn happens(&self, subject: S) -> Tell {
        self.happens_at(subject, Instant::now())
    }

    fn happens_at(&self, subject: S, now: Instant) -> Tell {
        let mut lately = self.lately();
        self.any.store(true, Ordering::Relaxed);
        let Some(repeat) = lately.get_mut(&subject) else {
            lately.insert(subject, Repeat { begun: now, last: now, told: now, times: 1 });
            return Tell::Begins;
        };
        (repeat.last, repeat.times) = (now, repeat.times + 1);
        if now.duration_since(repeat.told) < TOLD_EVERY {
            return Tell::Nothing;
        }
        repeat.told = now;
        Tell::GoesOn(repeat.count())
    }

    /// What is over since the last call. Of what happened once nothing is left to say. To be called
    /// now and then; costs a load where there is nothing.
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
        let told: Vec<(u64, Tell)> = (0..=125)
            .map(|second| (second, repeats.happens_at("gap", at(second))))
            .filter(|(_, tell)| *tell != Tell::Nothing)
            .collect();
        assert_eq!(
            told,
            [
                (0, Tell::Begins),
                (60, Tell::GoesOn(count(61, 60))),
                (120, Tell::GoesOn(count(121, 120)))
            ]
        );
        assert_eq!(repeats.happens_at("another", at(126)), Tell::Begins, "each subject for itself");
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
        assert_eq!(repeats.happens_at("gap", at(138)), Tell::Begins);
    }
}
