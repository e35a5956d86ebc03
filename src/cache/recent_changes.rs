//! The newest changes of the stream. They are remembered to judge rows that were read at the same
//! time.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::{domain::summary::Key, protocol::Position};

/// What a message is about.
enum Change {
    /// A version of a summary.
    Of(Key, i64),
    /// A facility was registered, changed or removed.
    OfFacility(Uuid),
}

/// How far this process has consumed the stream, and the newest changes in it. All changes since
/// `start` are remembered.
pub(super) struct RecentChanges {
    /// The most changes that are remembered.
    capacity: usize,
    /// Counts the epochs. A row that was read in another epoch does not count in this one.
    pub epoch: u32,
    /// Everything up to this position was consumed.
    pub at: Position,
    start: i64,
    queue: VecDeque<(i64, Change)>,
    newest: HashMap<Key, (i64, i64)>,
    /// For each facility that was registered, changed or removed: the number of the last message
    /// that said so.
    facilities: HashMap<Uuid, i64>,
    /// For each facility that was removed and registered again: the greatest version of its former
    /// life.
    pub removed_at: HashMap<Uuid, i64>,
}

impl RecentChanges {
    /// Remembers at most `capacity` changes behind position `at`.
    pub fn new(capacity: usize, at: Position) -> Self {
        RecentChanges {
            capacity,
            epoch: 0,
            at,
            start: at.number,
            queue: VecDeque::new(),
            newest: HashMap::new(),
            facilities: HashMap::new(),
            removed_at: HashMap::new(),
        }
    }

    /// The position that the next message will have.
    pub fn after(&self) -> Position {
        Position { number: self.at.number + 1, ..self.at }
    }

    /// Whether every change behind `since` was consumed here and is still remembered.
    pub fn joins(&self, since: Position) -> bool {
        since.generation == self.at.generation
            && (self.start..=self.at.number).contains(&since.number)
    }

    /// The newest version of the key among the changes remembered; 0 for none.
    pub fn version(&self, key: &Key) -> i64 {
        self.newest.get(key).map_or(0, |(_, version)| *version)
    }

    /// Remembers a change in the message that was consumed last.
    pub fn remember(&mut self, key: Key, version: i64) {
        self.newest.insert(key, (self.at.number, version));
        self.push(Change::Of(key, version));
    }

    /// Remembers that the message that was consumed last names this facility.
    pub fn remember_facility(&mut self, facility: Uuid) {
        self.facilities.insert(facility, self.at.number);
        self.push(Change::OfFacility(facility));
    }

    /// Whether a message behind the one with this number named the facility, among those
    /// remembered.
    pub fn facility_changed(&self, facility: Uuid, since: i64) -> bool {
        self.facilities.get(&facility).is_some_and(|number| *number > since)
    }

    /// Beyond the capacity it forgets the oldest.
    fn push(&mut self, change: Change) {
        self.queue.push_back((self.at.number, change));
        while self.queue.len() > self.capacity {
            let Some((number, oldest)) = self.queue.pop_front() else { break };
            match oldest {
                Change::Of(key, version) => {
                    if self.newest.get(&key) == Some(&(number, version)) {
                        self.newest.remove(&key);
                    }
                }
                Change::OfFacility(facility) => {
                    if self.facilities.get(&facility) == Some(&number) {
                        self.facilities.remove(&facility);
                    }
                }
            }
            self.start = number;
        }
    }

    /// Records that versions of the facility up to `removed_at_version` are of its former life. A
    /// row of the new life does not lose a race to them; the version of a day without a row is 0.
    /// True where this was not known before.
    pub fn begin_life(&mut self, facility: Uuid, removed_at_version: i64) -> bool {
        let is_new =
            self.removed_at.insert(facility, removed_at_version) != Some(removed_at_version);
        if is_new {
            self.newest.retain(|key, (_, version)| {
                key.facility_id != facility || *version > removed_at_version
            });
        }
        is_new
    }

    /// Whether the version is of a former life of the facility. Version 0, of a day without a row,
    /// belongs to no certain life.
    pub fn is_of_former_life(&self, facility: Uuid, version: i64) -> bool {
        version != 0
            && self.removed_at.get(&facility).is_some_and(|removed_at| version <= *removed_at)
    }

    /// Begins anew at a position; without one, at the next. Nothing is known of the changes before
    /// it.
    pub fn begin(&mut self, at: Option<Position>) {
        self.at = at.unwrap_or(Position { number: self.at.number + 1, ..self.at });
        self.start = self.at.number;
        self.queue.clear();
        self.newest.clear();
        self.facilities.clear();
    }
}
