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
    /// The share that it had in the version of the day; 0 where it had no figures.
    pub share: u64,
}

/// The newest changes, oldest first.
#[derive(Debug, Default)]
pub(super) struct ChangeLog(VecDeque<Change>);

impl ChangeLog {
    pub fn note(&mut self, version: u64, before: Before) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(Change { version, before });
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

    /// The same for a reader who may see only some facilities, by the version of these alone: that
    /// of the others would tell when they change. `share` gives the present share of a facility,
    /// and `now` is the sum of those that `is_seen`.
    pub fn since_of_some(
        &self,
        version: u64,
        now: u64,
        is_seen: impl Fn(&Uuid) -> bool,
        share: impl Fn(&Uuid) -> u64,
    ) -> Option<HashMap<Uuid, &Before>> {
        let (mut then, mut before) = (now, HashMap::<Uuid, &Before>::new());
        let mut changes = self.0.iter().rev().filter(|change| is_seen(&change.before.named.id));
        while then != version {
            let Change { before: change, .. } = changes.next()?;
            let id = change.named.id;
            let after = before.insert(id, change).map_or_else(|| share(&id), |later| later.share);
            then = then.wrapping_sub(after).wrapping_add(change.share);
        }
        Some(before)
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
        let before = |named: Arc<Named>, ranks| Before { named, ranks, share: 0 };
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        log.note(10, before(named(1, "old"), Some([1, 0, 0])));
        log.note(11, before(named(2, "b"), None));
        log.note(12, before(named(1, "new"), Some([2, 0, 0])));
        let since = log.since(10, 13).unwrap();
        assert_eq!((since[&a].ranks, since[&b].ranks), (Some([1, 0, 0]), None));
        assert_eq!(since[&a].named.name, "old");
        let since = log.since(12, 13).unwrap();
        assert_eq!((since.len(), since[&a].ranks), (1, Some([2, 0, 0])));
        assert!(log.since(13, 13).unwrap().is_empty() && log.since(9, 13).is_none());
        for _ in 0..MOST {
            log.note(14, before(named(2, "b"), None));
        }
        assert!(log.since(12, 15).is_none(), "it is forgotten");
    }

    #[test]
    fn a_version_of_some_facilities_is_found_whatever_the_others_do() {
        let mut log = ChangeLog::default();
        let id = |id: u128| Uuid::from_u128(id);
        let mut note = |of: u128, share: u64| {
            let named = Arc::new(Named { name: String::new(), id: id(of) });
            log.note(0, Before { named, ranks: Some([share as i64; 3]), share });
        };
        // The share of 1 was 10, then 11, now 12; that of 2 was 20, now 21; that of 3 is another's.
        for (of, share) in [(3, 300), (1, 10), (3, 301), (2, 20), (1, 11), (3, 302)] {
            note(of, share);
        }
        let (is_seen, share) =
            (|of: &Uuid| *of != id(3), |of: &Uuid| [12, 21][usize::from(*of == id(2))]);
        let since = |version: u64| log.since_of_some(version, 33, is_seen, share);
        assert!(since(33).unwrap().is_empty());
        assert_eq!(since(32).unwrap()[&id(1)].share, 11);
        let before_both = since(31).unwrap();
        assert_eq!((before_both[&id(1)].share, before_both[&id(2)].share), (11, 20));
        assert_eq!(since(30).unwrap()[&id(1)].share, 10);
        assert!(since(29).is_none());
    }
}
