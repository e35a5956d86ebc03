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
mod tests {
    use super::*;

    /// Whether each drain snapshot gives a warning. A snapshot is (second, generation found, last
    /// generation begun by this server).
    fn told(looks: &[(u64, i64, i64)]) -> Vec<bool> {
        let (mut contention, start) = (GenerationContention::default(), Instant::now());
        looks
            .iter()
            .map(|(second, generation, own)| {
                contention.see(*generation, *own, start + Duration::from_secs(*second))
            })
            .collect()
    }

    #[test]
    fn three_generations_of_others_within_a_minute_are_logged_once_a_minute() {
        let looks = [
            (0, 7, 0),
            (1, 9, 8),
            (2, 11, 10),
            (3, 13, 12),
            (4, 15, 14),
            (62, 17, 16),
            (63, 19, 18),
            (64, 21, 20),
        ];
        assert_eq!(told(&looks), [false, false, false, true, false, false, true, false]);
    }

    #[test]
    fn restarts_of_redis_and_own_generations_are_not_logged() {
        assert!(
            !told(&[(0, 1, 0), (30, 2, 0), (60, 3, 0), (95, 4, 0)]).contains(&true),
            "now and then"
        );
        assert!(
            !told(&[(0, 1, 0), (1, 2, 2), (2, 3, 3), (3, 4, 4), (4, 4, 4)]).contains(&true),
            "all its own"
        );
        assert_eq!(told(&[(0, 100, 0)]), [false], "what was begun before it came");
    }

    #[test]
    fn each_of_many_between_two_looks_counts() {
        assert_eq!(told(&[(0, 7, 0), (1, 10, 0)]), [false, true]);
    }
}
