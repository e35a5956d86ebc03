//! The log throttle, for failures that last: each is logged as a warning when it begins, and again
//! when it is over. Repetitions in between are not logged.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// An error that did not occur for this time counts as a new one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// The number of different errors remembered for one subject. Each further one is logged every
/// time.
const ERRORS: usize = 8;

/// The recent errors of each subject (a job, a facility).
pub struct LogThrottle<S>(Mutex<HashMap<S, Vec<LoggedError>>>);

struct LoggedError {
    error: String,
    met_at: Instant,
}

impl<S: Eq + Hash> LogThrottle<S> {
    /// Records an error. True where it is to be logged: the subject had no error before, or only
    /// others.
    pub fn begins(&self, subject: S, error: impl ToString) -> bool {
        self.begins_at(subject, error.to_string(), Instant::now())
    }

    fn begins_at(&self, subject: S, error: String, now: Instant) -> bool {
        let mut all = self.lasting();
        all.retain(|_, throttle| {
            throttle.retain(|told| now.duration_since(told.met_at) < FORGOTTEN_AFTER);
            !throttle.is_empty()
        });
        let throttle = all.entry(subject).or_default();
        match throttle.iter_mut().find(|told| told.error == error) {
            Some(told) => {
                told.met_at = now;
                false
            }
            None => {
                throttle.truncate(ERRORS - 1);
                throttle.push(LoggedError { error, met_at: now });
                true
            }
        }
    }

    /// Records that all is well. True where it was not until now.
    pub fn end(&self, subject: &S) -> bool {
        self.lasting().remove(subject).is_some()
    }

    fn lasting(&self) -> MutexGuard<'_, HashMap<S, Vec<LoggedError>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Default for LogThrottle<S> {
    fn default() -> Self {
        LogThrottle(Mutex::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_told_once_until_it_is_over_and_another_error_at_once() {
        let throttle = LogThrottle::default();
        let told: Vec<bool> = ["refused", "refused", "hangs", "refused", "hangs"]
            .map(|error| throttle.begins("drain", error))
            .into();
        assert_eq!(told, [true, false, true, false, false]);
        assert!(throttle.begins("audit", "refused"), "each subject for itself");
        assert!(throttle.end(&"drain"));
        assert!(!throttle.end(&"drain"), "the end, too, is told once");
        assert!(throttle.begins("drain", "refused"));
    }

    #[test]
    fn one_that_was_not_met_for_a_while_is_a_new_one_and_nothing_piles_up() {
        let (throttle, start) = (LogThrottle::default(), Instant::now());
        let at = |second: u64| start + Duration::from_secs(second);
        for second in [0, 50, 100] {
            assert_eq!(
                throttle.begins_at(1, "locked".to_owned(), at(second)),
                second == 0,
                "it goes on"
            );
        }
        assert!(throttle.begins_at(1, "locked".to_owned(), at(160)));
        for number in 0..100 {
            assert!(throttle.begins_at(2, number.to_string(), at(160)));
        }
        assert!(throttle.lasting()[&2].len() <= ERRORS);
        throttle.begins_at(3, "locked".to_owned(), at(220));
        assert_eq!(throttle.lasting().len(), 1);
    }
}
