//! Settings: the defaults, then `--config FILE` (TOML), then the environment. A wrong setting stops
//! the start; the error names its key, its value and what would be right. `config.example.toml`
//! lists all defaults, and a test compares the two.

pub mod auth;
pub mod auth_people;
mod auth_table;
#[cfg(test)]
mod auth_tests;
pub mod live;
pub mod redis_url;
mod refresh;
mod rules;
mod sections;
pub mod server;
pub mod sources;
mod sources_places;
mod sql_text;
#[cfg(test)]
mod tests;
mod urls;

use std::{collections::HashMap, path::Path};

use serde::Deserialize;

pub use auth::AuthSettings;
pub use live::LiveSettings;
pub use refresh::{RefreshSettings, Switch};
pub use sections::*;
pub use server::{LimitSettings, ServerSettings};
use sources::SourcesSettings;
use urls::is_postgres;
pub use urls::{check_escapes, redacted};

/// All settings.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `[server]`: the HTTP server.
    pub server: ServerSettings,
    /// `[limits]`: how much is taken of one client.
    pub limits: LimitSettings,
    /// `[sources]`: where the figures are in an operational database. `None`: in our own tables.
    /// Read by itself: its keys are texts of the database too, whose spelling counts.
    #[serde(skip)]
    pub sources: Option<SourcesSettings>,
    /// `[database]`: the database and its pools.
    pub database: DatabaseSettings,
    /// `[redis]`: the cache tier and the change stream that replicas share.
    pub redis: RedisSettings,
    /// `[freshness]`: how old an answer may be.
    pub freshness: FreshnessSettings,
    /// `[cache]`: the memory tier, and for how long an entry of each tier is fresh.
    pub cache: CacheSettings,
    /// `[ingest]`: how events are queued, grouped and written.
    pub ingest: IngestSettings,
    /// `[refresh]`: how summaries are recomputed.
    pub refresh: RefreshSettings,
    /// `[rebuild]`: the scheduled rebuild.
    pub rebuild: RebuildSettings,
    /// `[lists]`: the day of all facilities, kept as a view.
    pub lists: ListsSettings,
    /// `[live]`: clients that get changes as they happen.
    pub live: LiveSettings,
    /// `[auth]`: who may use the service. Read by itself: its keys are texts of providers too.
    #[serde(skip)]
    pub auth: AuthSettings,
    /// `[audit]`: the sample audit.
    pub audit: AuditSettings,
    /// `[log]`: what is logged, and how.
    pub log: LogSettings,
}

impl Settings {
    /// The cron expression of the rebuild; `None` when no rebuild is scheduled.
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

    /// Reads the defaults, then the file, then the environment (`DATABASE_URL`,
    /// `DATABASE_READ_URL`, `REDIS_URL`, `BIND_ADDR`, `FACILITY_SUMMARY__SECTION__KEY`), and
    /// `[sources]` from the file or from one of its own.
    pub fn load(file: Option<&Path>, sources: Option<&Path>) -> Result<Self, SettingsError> {
        // A variable that is not UTF-8 is none of our settings.
        let texts = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::load_from(file, sources, texts.collect())
    }

    fn load_from(
        file: Option<&Path>,
        sources: Option<&Path>,
        environment: HashMap<String, String>,
    ) -> Result<Self, SettingsError> {
        let mut builder = config::Config::builder();
        let mut mapping = None;
        let mut auth = toml::Table::new();
        if let Some(path) = file {
            let (origin, text) = read(path)?;
            let mut whole = toml_of(&text, &origin)?;
            let source = config::File::from_str(&text, config::FileFormat::Toml);
            let mut sections = config::Source::collect(&source)?;
            if let Some(section) = whole.remove("auth") {
                sections.remove("auth");
                auth = auth_table::checked(section, &origin)?;
            }
            if sections.remove("sources").is_some() {
                mapping = Some(SourcesSettings::parse(&text, &origin)?);
            }
            rules::check_file(&sections, &origin)?;
            for (section, value) in sections {
                builder = builder.set_default(section, value)?;
            }
        }
        if let Some(path) = sources {
            let (origin, text) = read(path)?;
            if mapping.is_some() {
                return Err(SettingsError(format!(
                    "{origin} and the settings both have [sources]; leave one of them out"
                )));
            }
            mapping = Some(SourcesSettings::parse(&text, &origin)?);
        }
        for (name, key, text) in variables(&environment) {
            let value = rules::from_environment(&key, text, name)?;
            match key.strip_prefix("auth.") {
                Some(key) => auth_table::set(&mut auth, key, value),
                None => builder = builder.set_override(&key, value)?,
            }
        }
        let settings: Settings = builder.build()?.try_deserialize()?;
        let auth = auth_table::read(auth)?;
        let settings = Settings { sources: mapping, auth, ..settings };
        settings.validate()?;
        Ok(settings)
    }

    /// Checks what involves more than one key.
    fn validate(&self) -> Result<(), SettingsError> {
        let wrong = |key: &str, value: &dyn std::fmt::Display, right: &str| {
            Err(SettingsError::new(key, value, right))
        };
        if !self.database.is_postgres() && !self.database.url.starts_with("sqlite:") {
            return wrong(
                "database.url",
                &redacted(&self.database.url),
                "must begin with sqlite:// or postgres://",
            );
        }
        if self.database.is_postgres() {
            urls::check_postgres("database.url", "DATABASE_URL", &self.database.url)?;
        } else {
            urls::check_sqlite("database.url", &self.database.url)?;
        }
        if let Some(url) = &self.redis.url {
            crate::config::redis_url::RedisUrl::parse(url)?;
        }
        self.server.check(&self.auth)?;
        self.limits.check(&self.server)?;
        if let Some(schema) = &self.database.schema {
            check_schema("database.schema", schema)?;
        }
        if self.database.read_urls().any(|url| !is_postgres(url)) {
            return wrong(
                "database.read_url",
                &redacted(&self.database.read_url),
                "must be off, or URLs that begin with postgres://, separated by commas; a comma \
                 in a password is written %2C",
            );
        }
        for url in self.database.read_urls() {
            urls::check_postgres("database.read_url", "DATABASE_READ_URL", url)?;
        }
        if self.database.read_url != "off" && !self.database.is_postgres() {
            return wrong(
                "database.read_url",
                &redacted(&self.database.read_url),
                "must be off where database.url is an SQLite file, which has no standbys",
            );
        }
        if self.sources.is_some() && !self.database.is_postgres() {
            return wrong(
                "database.url",
                &redacted(&self.database.url),
                "must begin with postgres:// where [sources] maps tables of a database",
            );
        }
        if self.database.min_connections > self.database.max_connections {
            return wrong(
                "database.min_connections",
                &self.database.min_connections,
                "must not exceed database.max_connections",
            );
        }
        Ok(())
    }
}

/// Checks that Postgres takes this name for a schema. `key` is the setting or the option that has
/// it.
///
/// # Errors
/// The name is empty, has more than 63 bytes, or is one of the server's own.
pub fn check_schema(key: &str, name: &str) -> Result<(), SettingsError> {
    let is_taken = name.starts_with("pg_") || name == "information_schema";
    if name.is_empty() || name.len() > 63 || name.contains('\0') || is_taken {
        let right = "must be a name of 1 to 63 bytes that is not one of the server's own (pg_…, \
                     information_schema)";
        return Err(SettingsError::new(key, &name, right));
    }
    Ok(())
}

/// The environment variables that set something, with the keys that they set. The names that other
/// programs use as well come last, and win. An empty variable is an error (a secret that was not
/// found), like any other wrong value. `FACILITY_SUMMARY_PORT` and similar names, with one
/// underscore, are set by Kubernetes and are not settings.
fn variables(environment: &HashMap<String, String>) -> impl Iterator<Item = (&str, String, &str)> {
    let mut ours: Vec<(&str, String, &str)> = environment
        .iter()
        .filter_map(|(name, text)| {
            Some((
                name.as_str(),
                name.strip_prefix("FACILITY_SUMMARY__")?.to_lowercase().replace("__", "."),
                text.as_str(),
            ))
        })
        .collect();
    ours.sort_unstable();
    let known = [
        ("DATABASE_URL", "database.url"),
        ("DATABASE_READ_URL", "database.read_url"),
        ("REDIS_URL", "redis.url"),
        ("BIND_ADDR", "server.bind"),
    ];
    let well_known = known
        .into_iter()
        .filter_map(|(name, key)| Some((name, key.to_owned(), environment.get(name)?.as_str())));
    ours.into_iter().chain(well_known.collect::<Vec<_>>())
}

/// A setting that cannot be used: its key, its value, and what would be right.
#[derive(Debug, thiserror::Error)]
#[error("bad setting: {0}")]
pub struct SettingsError(String);

impl SettingsError {
    /// The error for `key`: it has `value`, and `right` says what would be right.
    pub fn new(key: &str, value: &dyn std::fmt::Display, right: &str) -> Self {
        SettingsError(format!("{key} = {value}: {right}"))
    }
}

impl From<config::ConfigError> for SettingsError {
    fn from(error: config::ConfigError) -> Self {
        SettingsError(error.to_string())
    }
}

/// The tables of a file. The error has the line and what is wrong there, but nothing of its text:
/// it may be that of a secret.
fn toml_of(text: &str, origin: &str) -> Result<toml::Table, SettingsError> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        SettingsError(format!("{origin} is not TOML: line {line}: {}", error.message()))
    })
}

/// What a message calls the file, and its text.
fn read(path: &Path) -> Result<(String, String), SettingsError> {
    let origin = format!("file {}", path.display());
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError(format!("{origin} cannot be read: {error}")))?;
    Ok((origin, text))
}
