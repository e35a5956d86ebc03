//! `[live]`: clients that get changes as they happen.

use serde::Deserialize;

/// `[live]`: clients that get changes as they happen.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LiveSettings {
    /// The most clients of one process.
    pub max_clients: usize,
    /// The most clients of one principal; 0: no limit.
    pub clients_per_principal: usize,
    /// The most clients of one address; 0: no limit.
    pub clients_per_address: usize,
    /// The most clients that may connect in a second, for long; 0: no limit.
    pub connects_per_second: u32,
    /// Seconds between two heartbeats.
    pub heartbeat_seconds: u64,
    /// A connection ends at about this age, in seconds, so that replicas even out; 0: never.
    pub max_age_seconds: u64,
    /// When the service stops, clients come back spread over so many seconds.
    pub drain_spread_seconds: u64,
}

impl Default for LiveSettings {
    fn default() -> Self {
        LiveSettings {
            max_clients: 10_000,
            clients_per_principal: 1_000,
            clients_per_address: 1_000,
            connects_per_second: 3_000,
            heartbeat_seconds: 15,
            max_age_seconds: 3_600,
            drain_spread_seconds: 20,
        }
    }
}
