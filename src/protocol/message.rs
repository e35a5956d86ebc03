//! The messages of the change stream.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Position;
use crate::domain::summary::SummaryRow;

/// A message of the stream. A receiver may get each of them twice, and changes in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Rows that were committed, or that a refresh found unchanged.
    Summaries(Vec<StoredEntry>),
    /// These facilities were registered, changed or removed. The receiver reads them again.
    Facilities(Vec<Uuid>),
    /// Every change that was committed up to `at_ms` stands before this message in the stream.
    /// Milliseconds by the database's clock.
    Watermark { at_ms: i64 },
    /// A generation of the stream begins.
    Begun,
}

/// A row with the two facts that make it an entry of any tier: it is exact as of its `as_of_ms`,
/// and every change committed after that instant stands behind `since` in the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEntry {
    /// The figures, and the instant as of which they are exact.
    pub row: SummaryRow,
    /// The position behind which all later changes stand.
    pub since: Position,
}

/// The JSON form. An older and a newer release read each other's entries: a new field needs a
/// default, and no field may be removed.
impl StoredEntry {
    /// The entry as JSON.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an entry has string keys and finite numbers only")
    }

    /// The entry; `None` where the bytes are not one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Message {
    /// The most rows in one message. A message of that size is well below what one round trip
    /// carries.
    pub const ROWS: usize = 100;

    /// The message as JSON.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a message has string keys and finite numbers only")
    }

    /// The message; `None` where the bytes are not one, or where a newer release wrote a message
    /// that this release does not know.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}
