//! Which state of the database is served. A failover, a restore and a new salt each begin another.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use xxhash_rust::xxh3::xxh3_64;

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
