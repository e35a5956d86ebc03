//! The settings by section, each with its default and its unit.

use std::time::Duration;

use serde::Deserialize;

use super::urls::{is_postgres, redacted};

/// `[database]`: the database, its connections and its standbys.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseSettings {
    /// `sqlite://path` or `postgres://user:password@host/database?sslmode=verify-full`.
    pub url: String,
    /// Postgres: the schema of all that the service makes. `None`: the one that has its tables
    /// already, else `facility_summary`.
    pub schema: Option<String>,
    /// Postgres connections that are kept open. 8 and 20 suit one replica of several; 20 and 60
    /// suit a single replica.
    pub min_connections: u32,
    /// The most Postgres connections that are open at once.
    pub max_connections: u32,
    /// A connection is replaced at this age, in seconds.
    pub max_lifetime_seconds: u64,
    /// How long a statement may wait for a free connection, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// How long a statement of this service may run, in milliseconds.
    pub statement_timeout_ms: u64,
    /// How long a transaction may stay idle before Postgres ends it, in milliseconds. After that,
    /// the locks of a replica that hangs are free.
    pub idle_transaction_timeout_ms: u64,
    /// Standbys (streaming servers of the Postgres database) that table reads may go to: URLs
    /// separated by commas, or `off`.
    pub read_url: String,
    /// How long a standby may take to answer before the primary is asked, in milliseconds.
    pub read_timeout_ms: u64,
    /// SQLite: read-only connections beside the one writer.
    pub sqlite_readers: u32,
    /// SQLite: `full` (a power cut loses no acknowledged event) or `normal` (a power cut may lose
    /// the last moment; a crash of the process loses nothing).
    pub sqlite_synchronous: SqliteSynchronous,
}

/// `[redis]`: the cache tier and the change stream that replicas share.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// `redis://user:password@host:port`, or `rediss://` with TLS. Several URLs, separated by
    /// commas, are nodes of a cluster. `None` means that there is no Redis.
    pub url: Option<String>,
    /// How long a command may take, in milliseconds; much less than a read of the table.
    pub timeout_ms: u64,
    /// About how many changes the stream keeps.
    pub stream_length: usize,
    /// How many changes a replica reads again when it starts, so that it starts with a warm cache.
    pub replay: usize,
}

/// SQLite's `synchronous` pragma.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SqliteSynchronous {
    /// A power cut may lose the last moment; a crash of the process loses nothing.
    Normal,
    /// A power cut loses no acknowledged event.
    Full,
}

/// The preset for how fresh answers are when a request has no directives of its own, and for how
/// often the scheduled rebuild runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Answers are at most 120 s old by default; a rebuild runs every 2 minutes.
    Aggressive,
    /// Answers are at most 300 s old by default; a rebuild runs every 5 minutes.
    Balanced,
    /// Answers are of this moment by default (0 s); no rebuild is scheduled.
    Realtime,
}

/// `[freshness]`: how old an answer may be.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FreshnessSettings {
    /// The preset: gives the defaults of `max_age_seconds` and of the rebuild's schedule.
    pub mode: Mode,
    /// How old an answer may be when the request does not say, in seconds. It overrides the mode's
    /// bound (120, 300, 0).
    pub max_age_seconds: Option<u64>,
    /// How long the last known figures are served while the source cannot be reached, in seconds.
    pub stale_if_error_seconds: u64,
    /// How long a reader waits for a refresh, or for its `min_version`, in milliseconds.
    pub refresh_timeout_ms: u64,
}

/// `[cache]`: the memory tier, and for how long an entry of each tier is fresh.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// Bytes that the memory tier may hold, its overhead included.
    pub memory_bytes: u64,
    /// How many recent changes are kept, to check fills that run at the same time as a change.
    pub recent_changes: usize,
    /// How long an entry in memory counts as fresh while the stream does not verify it, in seconds.
    pub memory_fresh_seconds: u64,
    /// How long an entry in Redis counts as fresh while the stream does not verify it, in seconds.
    pub redis_fresh_seconds: u64,
}

/// `[ingest]`: how events are queued, grouped and written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestSettings {
    /// Requests that may wait for a transaction; one more is answered with 503.
    pub queue: usize,
    /// The most events that share one transaction.
    pub group_events: usize,
    /// How long a whole group may wait for a lock before its requests are written one by one, in
    /// milliseconds.
    pub group_lock_timeout_ms: u64,
    /// How long a single request may then wait for the lock that it needs, in milliseconds.
    pub lock_timeout_ms: u64,
    /// Single requests that may wait like that at the same time.
    pub slow_lanes: usize,
    /// How long a request may take in all, in milliseconds. After that its sender gets an error and
    /// does not know whether the events were applied.
    pub timeout_ms: u64,
    /// Events older than this many days are refused; tombstones are kept a week longer.
    pub max_event_age_days: u32,
    /// How many seconds an event's time may be ahead of the database's clock.
    pub max_clock_skew_seconds: u64,
}

/// `[rebuild]`: the scheduled rebuild.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RebuildSettings {
    /// Six-field cron expression in UTC (seconds first), or `off`. It overrides the mode's schedule
    /// (every 2 minutes, every 5 minutes, off).
    pub cron: Option<String>,
    /// How many local days of each facility a scheduled rebuild checks, today included.
    pub days: u32,
    /// How long a rebuild tries again the days that others hold locked, after it has done all other
    /// days, in milliseconds.
    pub lock_patience_ms: u64,
}

/// `[lists]`: the day of all facilities, kept in memory as a view.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListsSettings {
    /// How long a page will do after it was put together while its day changes, in milliseconds; 0:
    /// each reader gets every change.
    pub render_interval_ms: i64,
    /// The most dates of which a view is held.
    pub views: usize,
    /// After this time without a reader, a view is dropped, in seconds.
    pub view_idle_seconds: i64,
    /// The most bytes of pages that a view holds.
    pub page_bytes: u64,
}

/// `[audit]`: the sample audit.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// How often the replica that leads derives a sample of rows again, in milliseconds; 0 turns it
    /// off.
    pub interval_ms: u64,
    /// Facility-days in a sample.
    pub sample: usize,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Lines for people to read.
    Pretty,
}

/// `[log]`: what is logged, and how.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// One JSON object per line, or text for people.
    pub format: LogFormat,
    /// A level, or directives such as `info,facility_summary=debug`.
    pub filter: String,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        DatabaseSettings {
            url: "sqlite://data/facility-summary.db".into(),
            schema: None,
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

impl Default for RebuildSettings {
    fn default() -> Self {
        RebuildSettings { cron: None, days: 1, lock_patience_ms: 60_000 }
    }
}

impl Default for ListsSettings {
    fn default() -> Self {
        let page_bytes = 4 << 20;
        ListsSettings { render_interval_ms: 100, views: 8, view_idle_seconds: 600, page_bytes }
    }
}

impl Default for AuditSettings {
    fn default() -> Self {
        AuditSettings { interval_ms: 10_000, sample: 50 }
    }
}

impl AuditSettings {
    /// The time between two samples; `None` when the sample audit is off.
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
    /// Whether the URL is one of Postgres; otherwise it is SQLite.
    pub fn is_postgres(&self) -> bool {
        is_postgres(&self.url)
    }

    /// The URLs of the standbys; none when `read_url` is `off`.
    pub fn read_urls(&self) -> impl Iterator<Item = &str> {
        Some(&self.read_url)
            .filter(|urls| *urls != "off")
            .into_iter()
            .flat_map(|urls| urls.split(',').map(str::trim))
    }
}

/// Shows no password.
impl std::fmt::Debug for DatabaseSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseSettings")
            .field("url", &redacted(&self.url))
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

/// Shows no password.
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
    /// How old an answer may be when the request does not say.
    pub fn max_age(&self) -> Duration {
        Duration::from_secs(self.max_age_seconds.unwrap_or(match self.mode {
            Mode::Aggressive => 120,
            Mode::Balanced => 300,
            Mode::Realtime => 0,
        }))
    }

    /// How long a reader waits for a refresh.
    pub fn refresh_timeout(&self) -> Duration {
        Duration::from_millis(self.refresh_timeout_ms)
    }
}
