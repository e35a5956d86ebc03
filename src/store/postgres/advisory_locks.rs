//! The advisory locks of an installation, which all its servers share. Installations in other
//! schemas of the same database have locks of their own.

/// What a lock is for: its `objid`.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub(super) enum Lock {
    /// Shared: held by each server that serves.
    Serves = 1,
    /// Held by the server that leads.
    Leads = 2,
    /// Held while a run of a job is taken up.
    Runs = 3,
    /// Shared: held by each server that publishes into the stream between replicas.
    Publishes = 4,
    /// Held while mapped facilities are written.
    Mirrors = 5,
    /// Shared: held while mapped tables are read for what is then written. Held alone while another
    /// mapping takes over.
    Maps = 6,
}

impl Lock {
    /// Its `objid`.
    pub const fn id(self) -> i32 {
        self as i32
    }
}

/// "ft" in ASCII.
const CLASS: i32 = 0x6674;

/// The `classid` of the locks of the installation in this schema. The first release knew no other
/// schema than the one of its role, usually `public`, and no other class.
pub(super) fn class_of(schema: &str) -> i32 {
    match schema {
        "public" => CLASS,
        other => {
            let hash = xxhash_rust::xxh3::xxh3_64(other.as_bytes());
            (CLASS << 16) | i32::from(hash as u16)
        }
    }
}
