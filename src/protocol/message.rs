//! What the change stream says.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Position;
use crate::domain::summary::SummaryRow;

/// A message of the stream. Its receivers expect any of them twice, and changes in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Rows that were committed, or found unchanged.
    Summaries(Vec<StoredEntry>),
    /// These facilities were registered, changed or removed: read them again.
    Facilities(Vec<Uuid>),
    /// Every change committed up to then has come by.
    Watermark { at_ms: i64 },
    /// A generation begins.
    Begun,
}

/// A row with what makes it an entry of any tier: exact as of its `as_of_ms`, and every change
/// committed after that stands behind `since`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEntry {
    pub row: SummaryRow,
    pub since: Position,
}

/// Its JSON. Releases of two ages read each other's: a field is added with a default, and none is
/// taken away.
impl StoredEntry {
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an entry has string keys and finite numbers only")
    }

    /// `None` where it is not one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Message {
    /// Rows in one message, at most: with them it stays well within what a round trip carries.
    pub const ROWS: usize = 100;

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a message has string keys and finite numbers only")
    }

    /// `None` for what is not one, or what a newer release says and this one does not understand.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}
