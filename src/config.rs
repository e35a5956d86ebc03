//! Settings: defaults, then `--config FILE` (TOML), then the environment. A bad one stops the start with its key, its value and what
//! would be right. `config.example.toml` lists every default, and a test holds it to these.

use std::{path::Path, time::Duration};

use serde::Deserialize;

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
pub struct Settings {
    pub server: ServerSettings,
    pub database: DatabaseSettings,
    pub freshness: FreshnessSettings,
    pub cache: CacheSettings,
    pub ingest: IngestSettings,
    pub refresh: RefreshSettings,
    pub rebuild: RebuildSettings,
    pub log: LogSettings,
}

#[derive(Debug, Clone, Deserialize)]
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
    /// How long requests in flight may take to finish when the service is told to stop.
    pub shutdown_timeout_seconds: u64,
}

#[derive(Clone, Deserialize)]
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
    /// SQLite: read-only connections beside the one writer.
    pub sqlite_readers: u32,
    /// SQLite: `full` (a power cut loses nothing acknowledged) or `normal` (it may lose the last moment; a crash of the process never does).
    pub sqlite_synchronous: SqliteSynchronous,
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

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FreshnessSettings {
    pub mode: Mode,
    /// Seconds an answer may be old where the request does not say; overrides the mode's (120, 300, 0).
    pub max_age_seconds: Option<u64>,
    /// Seconds for which the last figures are served while the source is unreachable.
    pub stale_if_error_seconds: u64,
    /// How long a reader waits for a refresh, or for its `min_version`.
    pub refresh_timeout_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// Bytes that the memory tier may hold, counted with its overhead.
    pub memory_bytes: u64,
    /// Changes remembered, to judge fills that raced with them.
    pub recent_changes: usize,
}

#[derive(Debug, Clone, Deserialize)]
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
    /// Events older than that are refused; tombstones are kept a week longer.
    pub max_event_age_days: u32,
    /// How far ahead of the database's clock an event's time may be.
    pub max_clock_skew_seconds: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefreshSettings {
    /// Facility-days in one refresh statement of a rebuild; small enough that its locks are held for 20 ms at most.
    pub chunk: usize,
    /// How long a refresh may wait for a lock.
    pub lock_timeout_ms: u64,
    /// How often marks are looked for.
    pub drain_interval_ms: u64,
    /// Marks taken in one look.
    pub drain_batch: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RebuildSettings {
    /// Six-field cron expression in UTC (seconds first), or `off`; overrides the mode's (every 2 min, every 5 min, off).
    pub cron: Option<String>,
    /// Local days of each facility that a scheduled rebuild looks at, today included.
    pub days: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Json,
    Pretty,
}

#[derive(Debug, Clone, Deserialize)]
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
            sqlite_readers: 4,
            sqlite_synchronous: SqliteSynchronous::Full,
        }
    }
}

impl Default for FreshnessSettings {
    fn default() -> Self {
        FreshnessSettings { mode: Mode::Balanced, max_age_seconds: None, stale_if_error_seconds: 3600, refresh_timeout_ms: 5_000 }
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        CacheSettings { memory_bytes: 256 << 20, recent_changes: 65_536 }
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
            max_event_age_days: 90,
            max_clock_skew_seconds: 300,
        }
    }
}

impl Default for RefreshSettings {
    fn default() -> Self {
        RefreshSettings { chunk: 100, lock_timeout_ms: 2_000, drain_interval_ms: 500, drain_batch: 5_000 }
    }
}

impl Default for RebuildSettings {
    fn default() -> Self {
        RebuildSettings { cron: None, days: 1 }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings { format: LogFormat::Pretty, filter: "warn,facility_summary=info".into() }
    }
}

impl DatabaseSettings {
    pub fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres://") || self.url.starts_with("postgresql://")
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

/// A database URL without its password.
pub fn redacted(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 < at => match url[scheme + 3..at].find(':') {
            Some(colon) => format!("{}:***{}", &url[..scheme + 3 + colon], &url[at..]),
            None => url.to_owned(),
        },
        _ => url.to_owned(),
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

impl Settings {
    /// The cron expression of the rebuild, or `None` where there is none.
    pub fn rebuild_cron(&self) -> Option<&str> {
        match self.rebuild.cron.as_deref() {
            Some("off") => None,
            Some(cron) => Some(cron),
            None => match self.freshness.mode {
                Mode::Aggressive => Some("15 */2 * * * *"),
                Mode::Balanced => Some("15 */5 * * * *"),
                Mode::Realtime => None,
            },
        }
    }

    /// Reads defaults, then the file, then the environment (`DATABASE_URL`, `BIND_ADDR`, `FACILITY_SUMMARY__SECTION__KEY`).
    pub fn load(file: Option<&Path>) -> Result<Self, SettingsError> {
        Self::load_from(file, std::env::vars().collect())
    }

    fn load_from(file: Option<&Path>, environment: std::collections::HashMap<String, String>) -> Result<Self, SettingsError> {
        let mut builder = config::Config::builder();
        if let Some(path) = file {
            builder = builder.add_source(config::File::from(path).format(config::FileFormat::Toml));
        }
        let known = [("DATABASE_URL", "database.url"), ("BIND_ADDR", "server.bind")];
        for (variable, key) in known {
            if let Some(value) = environment.get(variable).filter(|v| !v.is_empty()) {
                builder = builder.set_override(key, value.as_str()).map_err(SettingsError::from)?;
            }
        }
        let ours = config::Environment::with_prefix("FACILITY_SUMMARY")
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .source(Some(environment));
        let settings: Settings = builder.add_source(ours).build()?.try_deserialize()?;
        settings.validate()?;
        Ok(settings)
    }

    fn validate(&self) -> Result<(), SettingsError> {
        let wrong = |key: &str, value: &dyn std::fmt::Display, right: &str| Err(SettingsError::new(key, value, right));
        if !self.database.is_postgres() && !self.database.url.starts_with("sqlite:") {
            return wrong("database.url", &redacted(&self.database.url), "must begin with sqlite:// or postgres://");
        }
        match self.server.bind.parse::<std::net::SocketAddr>() {
            Err(_) => {
                return wrong("server.bind", &self.server.bind, "must be an address and a port, such as 127.0.0.1:8080 or [::1]:8080");
            }
            Ok(address) if !address.ip().is_loopback() => {
                return wrong(
                    "server.bind",
                    &self.server.bind,
                    "must be a loopback address while there is no sign-in; put a proxy that signs in before it",
                );
            }
            Ok(_) => {}
        }
        if self.database.max_connections < 2 {
            return wrong("database.max_connections", &self.database.max_connections, "must be at least 2");
        }
        if self.database.min_connections > self.database.max_connections {
            return wrong("database.min_connections", &self.database.min_connections, "must not exceed database.max_connections");
        }
        let positive: [(&str, u64); 12] = [
            ("server.max_body", self.server.max_body as u64),
            ("server.max_connections", self.server.max_connections as u64),
            ("database.acquire_timeout_ms", self.database.acquire_timeout_ms),
            ("database.statement_timeout_ms", self.database.statement_timeout_ms),
            ("database.sqlite_readers", self.database.sqlite_readers.into()),
            ("freshness.refresh_timeout_ms", self.freshness.refresh_timeout_ms),
            ("ingest.queue", self.ingest.queue as u64),
            ("ingest.group_events", self.ingest.group_events as u64),
            ("ingest.slow_lanes", self.ingest.slow_lanes as u64),
            ("refresh.chunk", self.refresh.chunk as u64),
            ("refresh.drain_interval_ms", self.refresh.drain_interval_ms),
            ("refresh.drain_batch", self.refresh.drain_batch as u64),
        ];
        for (key, value) in positive {
            if value == 0 {
                return wrong(key, &value, "must be greater than 0");
            }
        }
        if !(1..=400).contains(&self.rebuild.days) {
            return wrong("rebuild.days", &self.rebuild.days, "must be from 1 to 400");
        }
        Ok(())
    }
}

/// A setting that cannot be used: its key, its value, what would be right.
#[derive(Debug, thiserror::Error)]
#[error("bad setting: {0}")]
pub struct SettingsError(String);

impl SettingsError {
    pub fn new(key: &str, value: &dyn std::fmt::Display, right: &str) -> Self {
        SettingsError(format!("{key} = {value}: {right}"))
    }
}

impl From<config::ConfigError> for SettingsError {
    fn from(error: config::ConfigError) -> Self {
        SettingsError(error.to_string())
    }
}
