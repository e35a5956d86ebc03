//! Settings: defaults, then `--config FILE` (TOML), then the environment. A bad one stops the start with its key, its value and what
//! would be right. `config.example.toml` lists every default, and a test holds it to these.

mod rules;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, path::Path, time::Duration};

use serde::Deserialize;

/// Everything that can be set.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub server: ServerSettings,
    pub database: DatabaseSettings,
    pub redis: RedisSettings,
    pub freshness: FreshnessSettings,
    pub cache: CacheSettings,
    pub ingest: IngestSettings,
    pub refresh: RefreshSettings,
    pub rebuild: RebuildSettings,
    pub audit: AuditSettings,
    pub log: LogSettings,
}

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
    /// How long requests are still answered after the service, told to stop, says that it is not ready: balancers turn away meanwhile.
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
    /// Postgres streaming replicas that table reads may go to: URLs separated by commas, or `off`.
    pub read_url: String,
    /// How long one of them may take to answer before the primary is asked.
    pub read_timeout_ms: u64,
    /// SQLite: read-only connections beside the one writer.
    pub sqlite_readers: u32,
    /// SQLite: `full` (a power cut loses nothing acknowledged) or `normal` (it may lose the last moment; a crash of the process never does).
    pub sqlite_synchronous: SqliteSynchronous,
}

/// The tier and the change stream that replicas share.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// `redis://user:password@host:port`, or `rediss://` with TLS; several, separated by commas, are nodes of a cluster. `None`: no Redis.
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
    /// Seconds an answer may be old where the request does not say; overrides the mode's (120, 300, 0).
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
    /// How long a transaction may take until its commit, locks apart: for a database that hangs.
    pub timeout_ms: u64,
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

#[derive(Debug, Clone, PartialEq, Deserialize)]
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

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RebuildSettings {
    /// Six-field cron expression in UTC (seconds first), or `off`; overrides the mode's (every 2 min, every 5 min, off).
    pub cron: Option<String>,
    /// Local days of each facility that a scheduled rebuild looks at, today included.
    pub days: u32,
    /// How long a rebuild goes on trying days whose locks somebody holds, once it is through with all others.
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
        FreshnessSettings { mode: Mode::Balanced, max_age_seconds: None, stale_if_error_seconds: 3600, refresh_timeout_ms: 5_000 }
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        CacheSettings { memory_bytes: 256 << 20, recent_changes: 65_536, memory_fresh_seconds: 60, redis_fresh_seconds: 300 }
    }
}

impl Default for IngestSettings {
    fn default() -> Self {
        IngestSettings {
            queue: 1024,
            group_events: 2_000,
            timeout_ms: 5_000,
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
        RebuildSettings { cron: None, days: 1, lock_patience_ms: 60_000 }
    }
}

impl Default for AuditSettings {
    fn default() -> Self {
        AuditSettings { interval_ms: 10_000, sample: 50 }
    }
}

impl AuditSettings {
    /// Between two samples; `None` where there are none.
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
        Some(&self.read_url).filter(|urls| *urls != "off").into_iter().flat_map(|urls| urls.split(',').map(str::trim))
    }
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
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
        let url = self.url.as_deref().map(crate::redis::redacted);
        f.debug_struct("RedisSettings").field("url", &url).field("timeout_ms", &self.timeout_ms).finish_non_exhaustive()
    }
}

/// A database URL without its password. Of several, separated by commas, it hides all between the first password and the last.
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

    /// Reads defaults, then the file, then the environment (`DATABASE_URL`, `DATABASE_READ_URL`, `REDIS_URL`, `BIND_ADDR`,
    /// `FACILITY_SUMMARY__SECTION__KEY`).
    pub fn load(file: Option<&Path>) -> Result<Self, SettingsError> {
        // What is not UTF-8 sets nothing of ours.
        let texts = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::load_from(file, texts.collect())
    }

    fn load_from(file: Option<&Path>, environment: HashMap<String, String>) -> Result<Self, SettingsError> {
        let mut builder = config::Config::builder();
        if let Some(path) = file {
            let origin = format!("file {}", path.display());
            let text = std::fs::read_to_string(path).map_err(|error| SettingsError(format!("{origin} cannot be read: {error}")))?;
            let source = config::File::from_str(&text, config::FileFormat::Toml);
            let sections = config::Source::collect(&source).map_err(|error| SettingsError(format!("{origin} is not TOML: {error}")))?;
            rules::check_file(&sections, &origin)?;
            builder = builder.add_source(source);
        }
        for (name, key, text) in variables(&environment) {
            builder = builder.set_override(&key, rules::from_environment(&key, text, name)?)?;
        }
        let settings: Settings = builder.build()?.try_deserialize()?;
        settings.validate()?;
        Ok(settings)
    }

    /// What no key can tell by itself.
    fn validate(&self) -> Result<(), SettingsError> {
        let wrong = |key: &str, value: &dyn std::fmt::Display, right: &str| Err(SettingsError::new(key, value, right));
        if !self.database.is_postgres() && !self.database.url.starts_with("sqlite:") {
            return wrong("database.url", &redacted(&self.database.url), "must begin with sqlite:// or postgres://");
        }
        if let Some(url) = &self.redis.url {
            crate::redis::Target::parse(url)?;
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
        if self.database.read_urls().any(|url| !is_postgres(url)) {
            return wrong(
                "database.read_url",
                &redacted(&self.database.read_url),
                "must be off, or URLs that begin with postgres://, separated by commas",
            );
        }
        if self.database.read_url != "off" && !self.database.is_postgres() {
            return wrong(
                "database.read_url",
                &redacted(&self.database.read_url),
                "must be off where database.url is an SQLite file, which has no streaming replicas",
            );
        }
        if self.database.min_connections > self.database.max_connections {
            return wrong("database.min_connections", &self.database.min_connections, "must not exceed database.max_connections");
        }
        Ok(())
    }
}

/// The variables that set something, with the keys that they set; those that other programs know by that name come last, and win.
/// An empty one is a mistake (a secret that was not found), and refused like any other wrong value. `FACILITY_SUMMARY_PORT` and its like, with one underscore, are Kubernetes' and not ours.
fn variables(environment: &HashMap<String, String>) -> impl Iterator<Item = (&str, String, &str)> {
    let mut ours: Vec<(&str, String, &str)> = environment
        .iter()
        .filter_map(|(name, text)| {
            Some((name.as_str(), name.strip_prefix("FACILITY_SUMMARY__")?.to_lowercase().replace("__", "."), text.as_str()))
        })
        .collect();
    ours.sort_unstable();
    let known = [
        ("DATABASE_URL", "database.url"),
        ("DATABASE_READ_URL", "database.read_url"),
        ("REDIS_URL", "redis.url"),
        ("BIND_ADDR", "server.bind"),
    ];
    let well_known = known.into_iter().filter_map(|(name, key)| Some((name, key.to_owned(), environment.get(name)?.as_str())));
    ours.into_iter().chain(well_known.collect::<Vec<_>>())
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
