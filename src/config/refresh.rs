//! The settings of the refresh.

use serde::Deserialize;

/// `[refresh]`: how summaries are recomputed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefreshSettings {
    /// Facility-days in one refresh statement of a rebuild; small enough that it holds its locks
    /// for at most 20 ms.
    pub chunk: usize,
    /// How long a refresh may wait for a lock, in milliseconds.
    pub lock_timeout_ms: u64,
    /// How often the drain looks for marks, in milliseconds.
    pub drain_interval_ms: u64,
    /// The most marks that the drain takes at once.
    pub drain_batch: usize,
    /// Whether each difference that an event adds to a row is compared with the sources, in the
    /// same transaction.
    pub verify_differences: Switch,
}

/// A setting that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    On,
    Off,
}

impl Default for RefreshSettings {
    fn default() -> Self {
        RefreshSettings {
            chunk: 100,
            lock_timeout_ms: 2_000,
            drain_interval_ms: 500,
            drain_batch: 5_000,
            verify_differences: Switch::Off,
        }
    }
}
