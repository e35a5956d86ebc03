//! The settings by section, each with its default and its unit.

use std::time::Duration;

use serde::Deserialize;

use super::urls::{is_postgres, redacted};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Address and port; port 0 takes a free one.
    pub bind: String,
    /// HTTP worker threads; 0 means one a core.
    pub workers: usize,
    /// Connections each worker accepts at once; further ones wait in the listen queue.
    pub max_connections: usize,
    /// Bytes of a request body; more is 413.
    pub max_body: usize,
    /// How long the head of a request may take to arrive, and then its body; longer is 408.
    pub read_timeout_ms: u64,
    /// How long requests are still answered after the service, told to stop, says that it is not
    /// ready: balancers turn away meanwhile.
    pub drain_delay_ms: u64,
    /// How long requests in flight may then take to finish.
    pub shutdown_timeout_seconds: u64,
}

#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseSettings {
    /// `sqlite://path` or `postgres://user:password@host/database?sslmode=verify-full`.
    pub url: String,
    /// Postgres connections kept open. 8 and 20 suit a replica of several; 20 and 60 a single one.
    pub min_connections: u32,
    pub max_connections: u32,
    /// A connection is replaced at that age.
    pub max_lifetime_seconds: u64,
    /// How long a statement may wait for a free connection.
    pub acquire_timeout_ms: u64,
    /// How long a statement of ours may run.
    pub statement_timeout_ms: u64,
    /// How long a transaction may stand still before Postgres ends it: what a hanging replica has
    /// locked is free after that.
    pub idle_transaction_timeout_ms: u64,
    /// Postgres streaming replicas that table reads may go to: URLs separated by commas, or `off`.
    pub read_url: String,
    /// How long one of them may take to answer before the primary is asked.
    pub read_timeout_ms: u64,
    /// SQLite: read-only connections beside the one writer.
    pub sqlite_readers: u32,
    /// SQLite: `full` (a power cut loses nothing acknowledged) or `normal` (it may lose the last
    /// moment; a crash of the process never does).
    pub sqlite_synchronous: SqliteSynchronous,
}

/// The tier and the change stream that replicas share.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// `redis://user:password@host:port`, or `rediss://` with TLS; several, separated by commas,
    /// are nodes of a cluster. `None`: no Redis.
    pub url: Option<String>,
    /// How long a command may take; far less than a read of the table.
    pub timeout_ms: u64,
    /// Changes that the stream keeps, about.
    pub stream_length: usize,
    /// Changes that a replica reads again when it starts, so that it starts warm.
    pub replay: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SqliteSynchronous {
    Normal,
    Full,
}

/// How fresh answers are without a request's own directives, and how often everything is rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Aggressive,
    Balanced,
    Realtime,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FreshnessSettings {
    pub mode: Mode,
    /// Seconds an answer may be old where the request does not say; overrides the mode's (120,
    /// 300, 0).
    pub max_age_seconds: Option<u64>,
    /// Seconds for which the last figures are served while the source is unreachable.
    pub stale_if_error_seconds: u64,
    /// How long a reader waits for a refresh, or for its `min_version`.
    pub refresh_timeout_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// Bytes that the memory tier may hold, counted with its overhead.
    pub memory_bytes: u64,
    /// Changes remembered, to judge fills that raced with them.
    pub recent_changes: usize,
    /// How long an entry in memory counts as fresh without the stream's proof.
    pub memory_fresh_seconds: u64,
    /// How long an entry in Redis counts as fresh without the stream's proof.
    pub redis_fresh_seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestSettings {
    /// Requests waiting for a transaction; one more is 503.
    pub queue: usize,
    /// Events that share one transaction at most.
    pub group_events: usize,
    /// How long a whole group may wait for a lock before its requests go one by one.
    pub group_lock_timeout_ms: u64,
    /// How long a single request may then wait for the lock it needs.
    pub lock_timeout_ms: u64,
    /// Single requests that may wait so at the same time.
    pub slow_lanes: usize,
    /// How long a request may take in all; what became of it is then not known to its sender.
    pub timeout_ms: u64,
    /// Events older than that are refused; tombstones are kept a week longer.
    pub max_event_age_days: u32,
    /// How far ahead of the database's clock an event's time may be.
    pub max_clock_skew_seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefreshSettings {
    /// Facility-days in one refresh statement of a rebuild; small enough that its locks are held
    /// for 20 ms at most.
    pub chunk: usize,
    /// How long a refresh may wait for a lock.
    pub lock_timeout_ms: u64,
    /// How often marks are looked for.
    pub drain_interval_ms: u64,
    /// Marks taken in one look.
    pub drain_batch: usize,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RebuildSettings {
    /// Six-field cron expression in UTC (seconds first), or `off`; overrides the mode's (every 2
    /// min, every 5 min, off).
    pub cron: Option<String>,
    /// Local days of each facility that a scheduled rebuild looks at, today included.
    pub days: u32,
    /// How long a rebuild goes on trying days whose locks somebody holds, once it is through with
    /// all others.
    pub lock_patience_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// How often the leading replica derives a sample of rows again; 0 for never.
    pub interval_ms: u64,
    /// Facility-days in a sample.
    pub sample: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Json,
    Pretty,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    pub format: LogFormat,
    /// A level, or directives such as `info,facility_summary=debug`.
    pub filter: String,
}

impl Default for ServerSettings {
    fn default() -> Self {
        ServerSettings {
            bind: "127.0.0.1:8080".into(),
            workers: 0,
            max_connections: 25_000,
            max_body: 1 << 20,
            read_timeout_ms: 10_000,
            drain_delay_ms: 1_000,
            shutdown_timeout_seconds: 15,
        }
    }
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        DatabaseSettings {
            url: "sqlite://data/facility-summary.db".into(),
            min_connections: 8,
            max_connections: 20,
            max_lifetime_seconds: 3600,
            acquire_timeout_ms: 5_000,
            statement_timeout_ms: 30_000,
            idle_transaction_timeout_ms: 2_000,
            read_url: "off".into(),
            read_timeout_ms: 500,
            sqlite_readers: 4,
            sqlite_synchronous: SqliteSynchronous::Full,
        }
    }
}

impl Default for RedisSettings {
    fn default() -> Self {
        RedisSettings { url: None, timeout_ms: 50, stream_length: 65_536, replay: 10_000 }
    }
}

impl Default for FreshnessSettings {
    fn default() -> Self {
        FreshnessSettings {
            mode: Mode::Balanced,
            max_age_seconds: None,
            stale_if_error_seconds: 3600,
            refresh_timeout_ms: 5_000,
        }
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        CacheSettings {
            memory_bytes: 256 << 20,
            recent_changes: 65_536,
            memory_fresh_seconds: 60,
            redis_fresh_seconds: 300,
        }
    }
}

impl Default for IngestSettings {
    fn default() -> Self {
        IngestSettings {
            queue: 1024,
            group_events: 2_000,
            group_lock_timeout_ms: 100,
            lock_timeout_ms: 2_000,
            slow_lanes: 4,
            timeout_ms: 10_000,
            max_event_age_days: 90,
            max_clock_skew_seconds: 300,
        }
    }
}

impl Default for RefreshSettings {
    fn default() -> Self {
        RefreshSettings {
            chunk: 100,
            lock_timeout_ms: 2_000,
            drain_interval_ms: 500,
            drain_batch: 5_000,
        }
    }
}

impl Default for RebuildSettings {
    fn default() -> Self {
        RebuildSettings { cron: None, days: 1, lock_patience_ms: 60_000 }
    }
}

impl Default for AuditSettings {
    fn default() -> Self {
        AuditSettings { interval_ms: 10_000, sample: 50 }
    }
}

impl AuditSettings {
    /// ReplicaLink two samples; `None` where there are none.
    pub fn interval(&self) -> Option<Duration> {
        (self.interval_ms > 0).then(|| Duration::from_millis(self.interval_ms))
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings { format: LogFormat::Pretty, filter: "warn,facility_summary=info".into() }
    }
}

impl DatabaseSettings {
    pub fn is_postgres(&self) -> bool {
        is_postgres(&self.url)
    }

    /// The URLs of the streaming replicas.
    pub fn read_urls(&self) -> impl Iterator<Item = &str> {
        Some(&self.read_url)
            .filter(|urls| *urls != "off")
            .into_iter()
            .flat_map(|urls| urls.split(',').map(str::trim))
    }
}

/// Never shows the password.
impl std::fmt::Debug for DatabaseSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseSettings")
            .field("url", &redacted(&self.url))
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

/// Never shows the password.
impl std::fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = self.url.as_deref().map(crate::config::redis_url::redacted);
        f.debug_struct("RedisSettings")
            .field("url", &url)
            .field("timeout_ms", &self.timeout_ms)
            .finish_non_exhaustive()
    }
}

impl FreshnessSettings {
    /// The bound where the request sets none.
    pub fn max_age(&self) -> Duration {
        Duration::from_secs(self.max_age_seconds.unwrap_or(match self.mode {
            Mode::Aggressive => 120,
            Mode::Balanced => 300,
            Mode::Realtime => 0,
        }))
    }

    pub fn refresh_timeout(&self) -> Duration {
        Duration::from_millis(self.refresh_timeout_ms)
    }
}
