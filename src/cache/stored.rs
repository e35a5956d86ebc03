//! An entry as it lies in Redis and travels on the stream.

use serde::{Deserialize, Serialize};

use crate::{
    changes::Position,
    domain::summary::{Summary, SummaryRow},
};

/// A row that is exact as of its `as_of_ms`; every change committed after that stands in the stream behind `since`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    pub row: SummaryRow,
    pub since: Position,
}

/// Its JSON. Releases of two ages read each other's: a field is added with a default, and none is taken away.
#[derive(Serialize, Deserialize)]
struct Wire<S> {
    summary: S,
    as_of_ms: i64,
    next_expires_at_ms: Option<i64>,
    since: Position,
}

impl StoredEntry {
    pub fn encode(&self) -> Vec<u8> {
        let SummaryRow { summary, as_of_ms, next_expires_at_ms } = &self.row;
        let wire = Wire { summary, as_of_ms: *as_of_ms, next_expires_at_ms: *next_expires_at_ms, since: self.since };
        serde_json::to_vec(&wire).expect("an entry has string keys and finite numbers only")
    }

    /// `None` where it is not one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let Wire { summary, as_of_ms, next_expires_at_ms, since } = serde_json::from_slice::<Wire<Summary>>(bytes).ok()?;
        Some(StoredEntry { row: SummaryRow { summary, as_of_ms, next_expires_at_ms }, since })
    }
}
