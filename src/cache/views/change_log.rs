//! The newest changes of a view, with the name and the figures from before each. From them the
//! order of an earlier version of the day is known, so that the pages of a reader who began then
//! stay in it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use uuid::Uuid;

use super::query::Named;

/// The most changes that a view remembers: half a minute at 500 changes a second.
const MOST: usize = 16_384;

/// A change.
#[derive(Debug)]
struct Change {
    /// The version of the day before it.
    version: u64,
    before: Before,
}

/// What decided a facility's place before a change.
#[derive(Debug, Clone)]
pub(super) struct Before {
    /// The facility, with the name that it had.
    pub named: Arc<Named>,
    /// The ranks that it had; `None` where it had no figures.
    pub ranks: Option<[i64; 3]>,
}

/// The newest changes, oldest first.
#[derive(Debug, Default)]
pub(super) struct ChangeLog(VecDeque<Change>);

impl ChangeLog {
    pub fn note(&mut self, version: u64, named: &Arc<Named>, ranks: Option<[i64; 3]>) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(Change { version, before: Before { named: named.clone(), ranks } });
    }

    /// The bytes that this takes.
    pub fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Change>()
    }

    /// The facilities that have changed since that version of the day, as they were in it. `None`
    /// where the version is not remembered.
    pub fn since(&self, version: u64, now: u64) -> Option<HashMap<Uuid, &Before>> {
        let mut before = HashMap::new();
        if version == now {
            return Some(before);
        }
        for change in self.0.iter().rev() {
            before.insert(change.before.named.id, &change.before);
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
        let named = |id: u128, name: &str| {
            Arc::new(Named { name: name.to_owned(), id: Uuid::from_u128(id) })
        };
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        log.note(10, &named(1, "old"), Some([1, 0, 0]));
        log.note(11, &named(2, "b"), None);
        log.note(12, &named(1, "new"), Some([2, 0, 0]));
        let since = log.since(10, 13).unwrap();
        assert_eq!((since[&a].ranks, since[&b].ranks), (Some([1, 0, 0]), None));
        assert_eq!(since[&a].named.name, "old");
        let since = log.since(12, 13).unwrap();
        assert_eq!((since.len(), since[&a].ranks), (1, Some([2, 0, 0])));
        assert!(log.since(13, 13).unwrap().is_empty() && log.since(9, 13).is_none());
        for _ in 0..MOST {
            log.note(14, &named(2, "b"), None);
        }
        assert!(log.since(12, 15).is_none(), "it is forgotten");
    }
}
