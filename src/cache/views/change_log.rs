//! The newest changes of a view, with the figures from before each. From them the order of an
//! earlier version of the day is known, so that the pages of a reader who began then stay in it.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

/// The most changes that a view remembers: half a minute at 500 changes a second.
const MOST: usize = 16_384;

/// A change.
#[derive(Debug)]
struct Change {
    /// The version of the day before it.
    version: u64,
    id: Uuid,
    /// The ranks that the facility had before; `None` where it had no figures.
    ranks: Option<[i64; 3]>,
}

/// The newest changes, oldest first.
#[derive(Debug, Default)]
pub(super) struct ChangeLog(VecDeque<Change>);

impl ChangeLog {
    pub fn note(&mut self, version: u64, id: Uuid, ranks: Option<[i64; 3]>) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(Change { version, id, ranks });
    }

    /// The bytes that this takes.
    pub fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Change>()
    }

    /// The facilities that have changed since that version of the day, with the ranks that they had
    /// in it. `None` where the version is not remembered.
    pub fn since(&self, version: u64, now: u64) -> Option<HashMap<Uuid, Option<[i64; 3]>>> {
        let mut before = HashMap::new();
        if version == now {
            return Some(before);
        }
        for change in self.0.iter().rev() {
            before.insert(change.id, change.ranks);
            if change.version == version {
                return Some(before);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_changes_the_ranks_before_the_first_count() {
        let mut log = ChangeLog::default();
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        log.note(10, a, Some([1, 0, 0]));
        log.note(11, b, None);
        log.note(12, a, Some([2, 0, 0]));
        let since = log.since(10, 13).unwrap();
        assert_eq!((since[&a], since[&b]), (Some([1, 0, 0]), None));
        assert_eq!(log.since(12, 13).unwrap(), HashMap::from([(a, Some([2, 0, 0]))]));
        assert!(log.since(13, 13).unwrap().is_empty() && log.since(9, 13).is_none());
        for _ in 0..MOST {
            log.note(14, b, None);
        }
        assert!(log.since(12, 15).is_none(), "it is forgotten");
    }
}
