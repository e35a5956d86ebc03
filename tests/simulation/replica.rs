//! What a replica has: the service's own memory, directory and attachment, and what its tasks know.

use std::{collections::VecDeque, rc::Rc, sync::Arc};

use facility_summary::{
    cache::memory::Memory,
    changes::Attachment,
    directory::Directory,
    jobs::drain::EpochTracker,
    protocol::{Epoch, Position, StoredEntry},
};
use uuid::Uuid;

use crate::subscribers::Live;

const MEMORY_BYTES: u64 = 1 << 20;

/// What waits to be appended to the stream, and to be put into the tier.
pub struct Publication {
    /// The epoch that it is of.
    pub epoch: Epoch,
    /// The rows.
    pub entries: Vec<StoredEntry>,
    /// The rows are changes; otherwise they were only read or confirmed.
    pub changed: bool,
    /// Or facilities that the other replicas must read again.
    pub facilities: Vec<Uuid>,
}

/// A replica.
pub struct Replica {
    /// The service's own memory tier.
    pub memory: Arc<Memory>,
    /// The service's own directory.
    pub directory: Arc<Directory>,
    /// Another epoch was entered, and its facilities are not yet read.
    pub has_new_directory: bool,
    /// The server is alone, and has just started or got its connection back. So it may have missed
    /// changes by others.
    pub has_missed: bool,
    /// The service's own attachment to the stream.
    pub attachment: Arc<Attachment>,
    /// What its drain knows of the epoch.
    pub known: EpochTracker,
    /// The epoch that is served, as its tasks see it.
    pub epoch: Option<Epoch>,
    /// The same epoch, after everything held of an earlier one was dropped.
    pub entered: Option<Epoch>,
    /// What waits for its publisher.
    pub queue: VecDeque<Publication>,
    /// How far its clock is ahead of the database's clock, in milliseconds: it has not read that
    /// clock since it was set back.
    pub ahead: i64,
    /// It cannot reach Redis.
    pub is_cut_off: bool,
    /// Which of the two Redis servers it uses.
    pub side: usize,
    /// It may drain.
    pub has_started: bool,
    /// The run of the database that the connection of its drain belongs to. A restore or a failover
    /// ends the connection.
    pub connection: Option<u32>,
    /// How many drain snapshots it has taken.
    pub looks: u32,
    /// A pass, or a drain snapshot, is active.
    pub drains: bool,
    /// What it has for live clients, in schedules with subscribers.
    pub live: Option<Rc<Live>>,
}

impl Replica {
    /// A replica before its start. It keeps `recent` recent changes, and consumes the stream from
    /// `at` on.
    pub fn new(recent: usize, at: Position) -> Self {
        let memory = Arc::new(Memory::new(MEMORY_BYTES, recent, at));
        Replica {
            directory: Arc::new(Directory::new(memory.clone(), true)),
            memory,
            has_new_directory: false,
            has_missed: false,
            attachment: Arc::default(),
            known: EpochTracker::default(),
            epoch: None,
            entered: None,
            queue: VecDeque::new(),
            ahead: 0,
            is_cut_off: false,
            side: 0,
            has_started: false,
            connection: None,
            looks: 0,
            drains: false,
            live: None,
        }
    }
}
