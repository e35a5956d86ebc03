//! What the drain sees of the database, all of it in one snapshot.

use jiff::civil::Date;
use uuid::Uuid;

use super::{Mark, Triggers};
use crate::protocol::{Epoch, Watermark};

/// What is visible at `at_ms`; everything committed up to then is in it.
#[derive(Debug)]
pub struct DrainSnapshot {
    pub at_ms: i64,
    pub marks: Vec<Mark>,
    /// Of these marks, by their ids, those whose blood bank is in another facility than they name,
    /// and in which one; `None`: the bank is gone, or was never there.
    pub strays: Vec<(i64, Option<Uuid>)>,
    pub triggers: Triggers,
    /// (id, facility, date, version) of rows committed and not yet known to be published.
    pub outbox: Vec<(i64, Uuid, Date, i64)>,
    /// (id, facility) of facilities registered, changed or removed, and not yet known to be
    /// published.
    pub changed_facilities: Vec<(i64, Uuid)>,
    /// A stored row's figures have expired by `at_ms`.
    pub expiry_due: bool,
    pub epoch: Epoch,
    /// Of the change stream; 0 where there has never been one between servers.
    pub generation: i64,
    /// The watermark stored last, if that was in this epoch.
    pub stored_watermark: Option<Watermark>,
    pub written: Written,
    /// The latest instant as of which a scheduled or full rebuild made sure that all that it looks
    /// at is right.
    pub verified_through_ms: Option<i64>,
    /// Servers on this database, this one included.
    pub servers: u64,
    /// Those of them that publish nothing into the stream between replicas.
    pub off_stream: u64,
    /// This server counts as one only since this look, for the first time or after its connection
    /// was lost: others may have come and gone.
    pub arrived: bool,
    /// One server of all leads, and drains for them; on SQLite the only one.
    pub leads: bool,
}

/// What only rises as long as the database goes on from where it was. Numbers that are lower than
/// they were tell of a backup that was put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Rows that were ever put into the outbox.
    pub rows: i64,
    /// A transaction of ours, or this look, has found fewer than there had been.
    pub has_gone_back: bool,
    /// What versions are greater than in this history; each that is begun has a greater number
    /// than all before it.
    pub versions_from: i64,
    /// The server's next transaction; 0 where they have no numbers.
    pub transactions: i64,
    /// When the server was started. Another one may have other files.
    pub server_since_ms: Option<i64>,
}
