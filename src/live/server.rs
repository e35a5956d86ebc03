//! What the hub asks of the server that it is part of: reads, the time, and what is lost.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;

use crate::{access::Visible, cache::memory::Entry, domain::day::Day};

/// Today of a facility, as it was read.
pub struct Found {
    /// The day.
    pub day: Day,
    /// Its state.
    pub entry: Arc<Entry>,
    /// The instant as of which it is exact, in milliseconds.
    pub as_of_ms: i64,
}

/// What a read must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Least {
    /// This version.
    Version(i64),
    /// All that is committed by now, also what has not arrived here.
    Now,
}

/// Why nothing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotFound {
    /// There is no such facility.
    Gone,
    /// Nothing can be read now.
    Unavailable,
}

/// The totals of all facilities that somebody may see.
pub struct FoundTotals {
    /// As answers have them.
    pub totals: Value,
    /// The instant as of which they are exact, in milliseconds.
    pub as_of_ms: i64,
    /// They may lack the newest change, as a list may that was rendered a moment ago.
    pub may_lag: bool,
}

/// The server that the hub is part of, beside its memory and its directory.
#[async_trait]
pub trait Server: Send + Sync {
    /// The database's time, in milliseconds.
    fn now_ms(&self) -> i64;

    /// The latest time that the database's clock can show, in milliseconds.
    fn latest_ms(&self) -> i64;

    /// Whether the database is out of reach.
    fn is_in_outage(&self) -> bool;

    /// Whether changes of other servers arrive here.
    fn is_attached(&self) -> bool;

    /// What memory has of today, if it is fresh enough. Never waits.
    fn read_memory(&self, facility: Uuid, min_version: i64) -> Option<Found>;

    /// Reads today, by the way of all reads.
    async fn read(self: Arc<Self>, facility: Uuid, least: Least) -> Result<Found, NotFound>;

    /// Looks a facility up that the directory does not have.
    async fn find(self: Arc<Self>, facility: Uuid) -> Result<(), NotFound>;

    /// Reads the totals; `None` where they cannot be had now.
    async fn read_totals(self: Arc<Self>, visible: Visible) -> Option<FoundTotals>;
}
