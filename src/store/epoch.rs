//! What the replicas of a fleet agree on through their database: which history it is at, and as of
//! when it is exact.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::{changes::Position, domain::summary::SummaryRow};

/// The history that a database is at. A failover to a standby, a restore and a new salt each begin
/// another, and nothing that was cached of the one before counts any more. Displayed as 16
/// hexadecimal digits, which every key outside the database carries.
#[derive(Clone)]
pub struct Epoch {
    /// What the database says of itself, for its own comparisons.
    identity: Arc<str>,
    name: Arc<str>,
}

impl Epoch {
    /// The epoch of a database that identifies itself so: its cluster, timeline, oids and salt on
    /// Postgres, its salt on SQLite.
    pub fn of(identity: &str) -> Self {
        Epoch {
            identity: identity.into(),
            name: format!("{:016x}", xxh3_64(identity.as_bytes())).into(),
        }
    }

    /// The 16 hexadecimal digits.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn identity(&self) -> &str {
        &self.identity
    }
}

impl PartialEq for Epoch {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Epoch {}

impl Hash for Epoch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({})", self.name)
    }
}

/// An instant as of which every summary is exact; every change committed after it stands behind
/// `position` in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// Milliseconds by the database's clock.
    pub at_ms: i64,
    pub position: Position,
}

/// What one look into the summary table saw, all of it in one snapshot of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRead {
    /// In no order; keys without a row are missing.
    pub rows: Vec<SummaryRow>,
    /// Of the keys' facilities, if they exist.
    pub zones: HashMap<Uuid, String>,
    /// Those of them of which a change is yet to be dealt with, of zone perhaps: that there is no
    /// row of a day says nothing yet.
    pub changing: HashSet<Uuid>,
    /// On a streaming replica, the epoch that its watermark was stored in.
    pub epoch: Epoch,
    /// What was stored last, if that was in this epoch: every row here is exact as of it, too.
    pub watermark: Option<Watermark>,
    /// The streaming replica that answered, by its URL without the password; `None`: the primary
    /// did.
    pub replica: Option<Arc<str>>,
}

/// The columns of the table `fleet` that every look reads along.
pub(super) struct Agreed {
    /// What the database says of itself; `None` on a streaming replica.
    pub identity: Option<String>,
    pub watermark_identity: Option<String>,
    pub watermark_ms: Option<i64>,
    pub position: Position,
}

impl Agreed {
    /// The epoch that the database is at, and the watermark if it was stored in it. `None` on a
    /// streaming replica.
    pub fn here(self) -> Option<(Epoch, Option<Watermark>)> {
        let identity = self.identity?;
        let counts = self.watermark_identity.as_ref() == Some(&identity);
        let watermark = self
            .watermark_ms
            .filter(|_| counts)
            .map(|at_ms| Watermark { at_ms, position: self.position });
        Some((Epoch::of(&identity), watermark))
    }

    /// The same on any server: a streaming replica is at the epoch that its watermark was stored
    /// in. `None` where none has reached it.
    pub fn anywhere(self) -> Option<(Epoch, Option<Watermark>)> {
        let identity = self.identity.or_else(|| self.watermark_identity.clone());
        Agreed { identity, ..self }.here()
    }
}
