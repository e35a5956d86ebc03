//! The epoch: which history of the database the service serves. A failover, a restore and a new
//! salt each begin another epoch.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use xxhash_rust::xxh3::xxh3_64;

/// The epoch of a database. A failover to a standby, a restore and a new salt each begin another
/// one; from then on nothing counts that was cached in the epoch before. It is displayed as 16
/// hexadecimal digits, which are part of every key outside the database.
#[derive(Clone)]
pub struct Epoch {
    /// The database's own description of itself; compared within the database.
    identity: Arc<str>,
    name: Arc<str>,
}

impl Epoch {
    /// The epoch for a database's description of itself: its cluster, timeline, oids and salt on
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

    /// The database's description of itself, from which the epoch was made.
    pub fn identity(&self) -> &str {
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
