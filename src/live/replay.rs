//! Which facilities have changed since a position of the stream: what a client needs that comes
//! back with the id of the last event that it saw. Bounded: who was away for longer gets all anew.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::protocol::Position;

/// The most numbers that are remembered.
const MOST: usize = 65_536;

/// The newest numbers of the stream.
#[derive(Default)]
pub struct Replay {
    generation: i64,
    /// Everything behind this number is remembered.
    start: i64,
    numbers: VecDeque<(i64, i64, Option<Uuid>)>,
}

/// What has changed since a position.
#[derive(Debug, PartialEq, Eq)]
pub struct Since {
    /// The facilities, each with the number of its last change.
    pub facilities: HashMap<Uuid, i64>,
    /// The position was consumed no earlier than this, in milliseconds. Days that have begun since
    /// are not known to the client.
    pub at_ms: i64,
}

impl Replay {
    /// Begins anew behind a position.
    pub fn begin(&mut self, at: Position) {
        self.generation = at.generation;
        self.start = at.number;
        self.numbers.clear();
    }

    /// Remembers a number; `facility` is what it is about.
    pub fn note(&mut self, at: Position, at_ms: i64, facility: Option<Uuid>) {
        if at.generation != self.generation {
            self.begin(Position { number: at.number - 1, ..at });
        }
        self.numbers.push_back((at.number, at_ms, facility));
        while self.numbers.len() > MOST {
            self.start = self.numbers.pop_front().map_or(self.start, |(number, ..)| number);
        }
    }

    /// What has changed since a position; `None` where that is not known any more.
    pub fn since(&self, at: Position) -> Option<Since> {
        if at.generation != self.generation || at.number < self.start {
            return None;
        }
        let first = self.numbers.partition_point(|(number, ..)| *number <= at.number);
        // When it was consumed itself, or the last number before it.
        let at_ms = first.checked_sub(1).and_then(|last| self.numbers.get(last))?.1;
        let changed = self.numbers.range(first..);
        let facilities =
            changed.filter_map(|(number, _, facility)| Some(((*facility)?, *number))).collect();
        Some(Since { facilities, at_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: i64) -> Position {
        Position { generation: 7, number }
    }

    #[test]
    fn it_names_what_changed_behind_a_position_and_nothing_that_it_has_forgotten() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut replay = Replay::default();
        replay.begin(at(10));
        assert_eq!(replay.since(at(10)), None, "nothing says when that was");
        for (number, facility) in [(11, Some(a)), (12, None), (13, Some(b)), (14, Some(a))] {
            replay.note(at(number), number * 100, facility);
        }
        let since = replay.since(at(12)).unwrap();
        assert_eq!(since.facilities, HashMap::from([(b, 13), (a, 14)]));
        assert_eq!(since.at_ms, 1_200);
        assert!(replay.since(at(14)).unwrap().facilities.is_empty());
        assert_eq!(replay.since(at(9)), None, "trimmed");
        assert_eq!(replay.since(Position { generation: 6, number: 14 }), None);
        for number in 15..15 + i64::try_from(MOST).unwrap() {
            replay.note(at(number), number, None);
        }
        assert_eq!(replay.since(at(13)), None, "trimmed by now");
        assert!(replay.since(at(15)).is_some());
    }
}
