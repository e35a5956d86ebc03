//! Detects servers on one database that use different Redis servers. Each finds in the database a
//! generation that its own Redis does not have, and begins the next one. This repeats for ever.
//! Meanwhile no wrong figures are served, but nothing stays proven for long.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// This many generations of other servers within `WITHIN` are too many to be caused by restarts of
/// Redis.
const TOO_MANY: usize = 3;
const WITHIN: Duration = Duration::from_secs(60);

/// The generations that other servers began recently.
#[derive(Debug, Default)]
pub(super) struct GenerationContention {
    /// The greatest generation that was seen.
    last: Option<i64>,
    begun_at: VecDeque<Instant>,
    told_at: Option<Instant>,
}

impl GenerationContention {
    /// Records the generation in a drain snapshot; `own` is the last one that this server began.
    /// Returns true when a warning is due: other servers begin one after the other, and the last
    /// warning was a while ago.
    pub(super) fn see(&mut self, generation: i64, own: i64, now: Instant) -> bool {
        let last = self.last.replace(generation).unwrap_or(generation);
        let of_others =
            generation.saturating_sub(last) - i64::from((last + 1..=generation).contains(&own));
        self.begun_at.extend((0..of_others).take(TOO_MANY).map(|_| now));
        self.begun_at.drain(..self.begun_at.len().saturating_sub(TOO_MANY));
        let many = self.begun_at.len() == TOO_MANY
            && self.begun_at.front().is_some_and(|first| now - *first < WITHIN);
        let tell = many && self.told_at.is_none_or(|at| now - at >= WITHIN);
        if tell {
            self.told_at = Some(now);
        }
        tell
    }
}

#[cfg(test)]
#[path = "generation_contention_tests.rs"]
mod tests;
