//! Troubles that last: each is worth a warning when it begins, and a word when it is over. What is only repeated in between is not.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// One that was not met for so long is a new one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Different errors remembered of one subject; any more are new each time.
const ERRORS: usize = 8;

/// What each subject (a job, a facility) has complained of lately.
pub struct Troubles<S>(Mutex<HashMap<S, Vec<Trouble>>>);

struct Trouble {
    error: String,
    met_at: Instant,
}

impl<S: Eq + Hash> Troubles<S> {
    /// Takes note of an error. True where it is worth a warning: the subject was well, or had others.
    pub fn begins(&self, subject: S, error: impl ToString) -> bool {
        self.begins_at(subject, error.to_string(), Instant::now())
    }

    fn begins_at(&self, subject: S, error: String, now: Instant) -> bool {
        let mut all = self.lasting();
        all.retain(|_, troubles| {
            troubles.retain(|trouble| now.duration_since(trouble.met_at) < FORGOTTEN_AFTER);
            !troubles.is_empty()
        });
        let troubles = all.entry(subject).or_default();
        match troubles.iter_mut().find(|trouble| trouble.error == error) {
            Some(trouble) => {
                trouble.met_at = now;
                false
            }
            None => {
                troubles.truncate(ERRORS - 1);
                troubles.push(Trouble { error, met_at: now });
                true
            }
        }
    }

    /// Takes note that all is well. True where it was not until now.
    pub fn end(&self, subject: &S) -> bool {
        self.lasting().remove(subject).is_some()
    }

    fn lasting(&self) -> MutexGuard<'_, HashMap<S, Vec<Trouble>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Default for Troubles<S> {
    fn default() -> Self {
        Troubles(Mutex::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_told_once_until_it_is_over_and_another_error_at_once() {
        let troubles = Troubles::default();
        let told: Vec<bool> = ["refused", "refused", "hangs", "refused", "hangs"].map(|error| troubles.begins("drain", error)).into();
        assert_eq!(told, [true, false, true, false, false]);
        assert!(troubles.begins("audit", "refused"), "each subject for itself");
        assert!(troubles.end(&"drain"));
        assert!(!troubles.end(&"drain"), "the end, too, is told once");
        assert!(troubles.begins("drain", "refused"));
    }

    #[test]
    fn one_that_was_not_met_for_a_while_is_a_new_one_and_nothing_piles_up() {
        let (troubles, start) = (Troubles::default(), Instant::now());
        let at = |second: u64| start + Duration::from_secs(second);
        for second in [0, 50, 100] {
            assert_eq!(troubles.begins_at(1, "locked".to_owned(), at(second)), second == 0, "it goes on");
        }
        assert!(troubles.begins_at(1, "locked".to_owned(), at(160)));
        for number in 0..100 {
            assert!(troubles.begins_at(2, number.to_string(), at(160)));
        }
        assert!(troubles.lasting()[&2].len() <= ERRORS);
        troubles.begins_at(3, "locked".to_owned(), at(220));
        assert_eq!(troubles.lasting().len(), 1);
    }
}
