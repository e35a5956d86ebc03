//! Which facilities have changed since a position of the stream: what a client needs that comes
//! back with the id of the last event that it saw. Bounded: who was away for longer gets all anew.

use std::collections::{HashMap, HashSet, VecDeque};

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
    /// Facilities of which something was read before its message has come, and when, at the latest,
    /// in milliseconds. A client's position says nothing of it.
    read: HashMap<Uuid, i64>,
}

/// What has changed since a position.
#[derive(Debug, PartialEq, Eq)]
pub struct Since {
    /// The facilities.
    pub facilities: HashSet<Uuid>,
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

    /// Remembers that something of a facility was read whose message may be yet to come. By `at_ms`
    /// it was committed.
    pub fn note_read(&mut self, facility: Uuid, at_ms: i64) {
        self.read.insert(facility, at_ms);
    }

    /// Remembers the number of a watermark: the message of what was committed by `proven_ms` is not
    /// behind it.
    pub fn prove(&mut self, at: Position, at_ms: i64, proven_ms: i64) {
        let read: Vec<Uuid> =
            self.read.extract_if(|_, read_ms| *read_ms <= proven_ms).map(|(id, _)| id).collect();
        read.into_iter().for_each(|facility| self.note(at, at_ms, Some(facility)));
        self.note(at, at_ms, None);
    }

    /// What has changed since a position; `None` where that is not known any more.
    pub fn since(&self, at: Position) -> Option<Since> {
        if at.generation != self.generation || at.number < self.start {
            return None;
        }
        let first = self.numbers.partition_point(|(number, ..)| *number <= at.number);
        // When it was consumed itself, or the last number before it.
        let at_ms = first.checked_sub(1).and_then(|last| self.numbers.get(last))?.1;
        let changed = self.numbers.range(first..).filter_map(|(_, _, facility)| *facility);
        Some(Since { facilities: changed.chain(self.read.keys().copied()).collect(), at_ms })
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
        assert_eq!(since.facilities, HashSet::from([a, b]));
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

    #[test]
    fn what_was_read_before_its_message_has_come_counts_as_changed_until_that_is_certain() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut replay = Replay::default();
        replay.begin(at(10));
        replay.note(at(11), 1_100, Some(b));
        replay.note_read(a, 1_150); // by our own commit: its message has the number 13
        replay.note(at(12), 1_200, None);
        assert_eq!(replay.since(at(12)).unwrap().facilities, HashSet::from([a]));
        replay.prove(at(14), 1_400, 1_149);
        assert_eq!(replay.since(at(14)).unwrap().facilities, HashSet::from([a]));
        replay.prove(at(15), 1_500, 1_150);
        assert_eq!(replay.since(at(14)).unwrap().facilities, HashSet::from([a]));
        assert_eq!(replay.since(at(15)).unwrap().facilities, HashSet::new());
    }
}
