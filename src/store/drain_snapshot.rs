//! What the drain reads from the database in one snapshot.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Mark, Triggers};
use crate::{
    domain::summary::Key,
    protocol::{Epoch, Watermark},
};

/// What is visible at `at_ms` (milliseconds since 1970). Everything that was committed up to then
/// is in it.
#[derive(Debug)]
pub struct DrainSnapshot {
    /// The instant of the snapshot, by the database's clock.
    pub at_ms: i64,
    /// The oldest marks.
    pub marks: Vec<Mark>,
    /// Marks of blood banks that are in another facility than the mark names: the mark's id and
    /// that facility; `None` when the bank does not exist.
    pub strays: Vec<(i64, Option<Uuid>)>,
    /// Marks of triggers on mapped tables, which are not among `marks`.
    pub noticed: NoticedMarks,
    /// The triggers that leave marks.
    pub triggers: Triggers,
    /// Rows that were committed and are not known to be published: id, key, version.
    pub outbox: Vec<(i64, Key, i64)>,
    /// Facilities that were registered, changed or removed, when this is not known to be published:
    /// id, facility.
    pub changed_facilities: Vec<(i64, Uuid)>,
    /// Some stored figures have expired by `at_ms`.
    pub expiry_due: bool,
    /// The epoch of the database.
    pub epoch: Epoch,
    /// The generation of the change stream; 0 when there was never one between servers.
    pub generation: i64,
    /// The last watermark that was stored, if it was stored in this epoch.
    pub stored_watermark: Option<Watermark>,
    /// Counters that show whether the database has lost something.
    pub written: OutboxCounters,
    /// The latest instant as of which a scheduled or full rebuild made everything that it checks
    /// right.
    pub verified_through_ms: Option<i64>,
    /// The servers on this database, including this one.
    pub servers: u64,
    /// The servers among them that do not publish into the stream between replicas.
    pub off_stream: u64,
    /// This server counts as one only since this snapshot: it has just started, or its connection
    /// was lost. Other servers may have come and gone before.
    pub arrived: bool,
    /// This server leads: it drains for all servers. On SQLite the only server leads.
    pub leads: bool,
}

/// Marks that triggers on mapped tables left. They name rows of these tables, and not facilities.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NoticedMarks {
    /// The ids of marks of tables that the facilities come from: the mirror finds out what changed.
    pub of_facilities: Vec<i64>,
    /// The marks that each of the others stands for, by its id. They have no ids of their own yet.
    /// None where it leads to no mapped facility.
    pub resolved: BTreeMap<i64, Vec<Mark>>,
    /// A trigger could not write its mark, and left one in the table for that.
    pub has_spare: bool,
}

impl DrainSnapshot {
    /// The number of marks in the snapshot.
    pub fn marks_visible(&self) -> usize {
        self.marks.len() + self.noticed.of_facilities.len() + self.noticed.resolved.len()
    }
}

/// Counters that only rise as long as the database continues from its last state. Lower numbers
/// than before mean that a backup was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxCounters {
    /// The number of rows that were ever written to the outbox.
    pub rows: i64,
    /// A transaction of this process, or this snapshot, found fewer outbox rows than there had
    /// been.
    pub has_gone_back: bool,
    /// All versions of this epoch are greater than this. Each epoch that is begun gets a greater
    /// number than all before it.
    pub versions_from: i64,
    /// The next transaction number of the server; 0 when its transactions have no numbers.
    pub transactions: i64,
    /// When the server was started, in milliseconds since 1970. A server that was started again may
    /// have other files.
    pub server_since_ms: Option<i64>,
}
