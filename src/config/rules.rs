//! What each setting may be: the one list of all keys. File and environment are checked against it
//! before they are read. So a misspelt key or a value of the wrong type is refused by name.

use std::{collections::HashMap, fmt, ops::RangeInclusive};

use config::{Value, ValueKind};

use super::{SettingsError, redacted};

/// What a value must be.
#[derive(Debug)]
pub enum SettingRule {
    /// A whole number within these bounds, both included.
    Whole(RangeInclusive<u64>),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A text; the string says what it must look like.
    Text(&'static str),
}

use SettingRule::{OneOf, Text, Whole};

/// The upper bound for counts and bytes: more than the memory of any machine.
const MANY: u64 = 1 << 40;
const A_DAY_MS: u64 = 86_400_000;
const A_YEAR_SECONDS: u64 = 31_536_000;

/// Every key, in the order of `config.example.toml`.
pub const RULES: [(&str, SettingRule); 99] = [
    ("server.bind", Text("an address and a port, such as 127.0.0.1:8080 or [::1]:8080")),
    ("server.internal_bind", Text("an address and a port, such as 127.0.0.1:9090")),
    ("server.metrics", OneOf(&["open", "signed_in"])),
    ("server.tls_certificate", Text("the path of a PEM file with certificates")),
    ("server.tls_key", Text("the path of a PEM file with a private key")),
    ("server.trusted_proxies", Text("addresses and networks, separated by commas")),
    ("server.forwarded_header", OneOf(&["x-forwarded-for", "forwarded"])),
    ("server.cors_origins", Text("origins such as https://board.example, separated by commas")),
    ("server.workers", Whole(0..=1_024)),
    ("server.max_connections", Whole(1..=10_000_000)),
    ("server.connections_per_address", Whole(0..=10_000_000)),
    ("server.max_url", Whole(1_000..=65_534)),
    ("server.max_body", Whole(1..=1 << 30)),
    ("server.read_timeout_ms", Whole(1..=A_DAY_MS)),
    ("server.drain_delay_ms", Whole(0..=A_DAY_MS)),
    ("server.shutdown_timeout_seconds", Whole(0..=86_400)),
    ("limits.requests_per_minute", Whole(0..=1_000_000_000)),
    ("limits.concurrent_requests", Whole(0..=1_000_000)),
    ("limits.event_bytes_per_minute", Whole(0..=u32::MAX as u64)),
    ("database.url", Text("a URL that begins with sqlite:// or postgres://")),
    ("database.schema", Text("the name of a schema, at most 63 bytes long, not pg_…")),
    ("database.min_connections", Whole(0..=10_000)),
    ("database.max_connections", Whole(2..=10_000)),
    ("database.max_lifetime_seconds", Whole(1..=A_YEAR_SECONDS)),
    ("database.acquire_timeout_ms", Whole(1..=A_DAY_MS)),
    ("database.statement_timeout_ms", Whole(1..=A_DAY_MS)),
    ("database.idle_transaction_timeout_ms", Whole(1..=A_DAY_MS)),
    ("database.read_url", Text("off, or URLs that begin with postgres://, separated by commas")),
    ("database.read_timeout_ms", Whole(1..=A_DAY_MS)),
    ("database.sqlite_readers", Whole(1..=1_000)),
    ("database.sqlite_synchronous", OneOf(&["full", "normal"])),
    (
        "redis.url",
        Text(
            "a URL that begins with redis:// or rediss://, or several with commas between them: a \
             cluster",
        ),
    ),
    ("redis.timeout_ms", Whole(1..=A_DAY_MS)),
    ("redis.stream_length", Whole(1..=1_000_000_000)),
    ("redis.replay", Whole(1..=1_000_000_000)),
    ("freshness.mode", OneOf(&["aggressive", "balanced", "realtime"])),
    ("freshness.max_age_seconds", Whole(0..=A_YEAR_SECONDS)),
    ("freshness.stale_if_error_seconds", Whole(0..=A_YEAR_SECONDS)),
    ("freshness.refresh_timeout_ms", Whole(1..=A_DAY_MS)),
    ("cache.memory_bytes", Whole(0..=MANY)),
    ("cache.recent_changes", Whole(0..=1_000_000_000)),
    ("cache.memory_fresh_seconds", Whole(0..=A_YEAR_SECONDS)),
    ("cache.redis_fresh_seconds", Whole(0..=A_YEAR_SECONDS)),
    ("ingest.queue", Whole(1..=10_000_000)),
    ("ingest.group_events", Whole(1..=1_000_000)),
    ("ingest.group_lock_timeout_ms", Whole(1..=A_DAY_MS)),
    ("ingest.lock_timeout_ms", Whole(1..=A_DAY_MS)),
    ("ingest.slow_lanes", Whole(1..=1_000)),
    ("ingest.timeout_ms", Whole(1..=A_DAY_MS)),
    ("ingest.max_event_age_days", Whole(1..=36_500)),
    ("ingest.max_clock_skew_seconds", Whole(0..=86_400)),
    ("refresh.chunk", Whole(1..=100_000)),
    ("refresh.lock_timeout_ms", Whole(1..=A_DAY_MS)),
    ("refresh.drain_interval_ms", Whole(1..=A_DAY_MS)),
    ("refresh.drain_batch", Whole(1..=1_000_000)),
    ("refresh.verify_differences", OneOf(&["on", "off"])),
    ("rebuild.cron", Text("six cron fields, seconds first, such as \"15 */5 * * * *\", or off")),
    ("rebuild.days", Whole(1..=400)),
    ("rebuild.lock_patience_ms", Whole(0..=A_DAY_MS)),
    ("lists.render_interval_ms", Whole(0..=A_DAY_MS)),
    ("lists.views", Whole(1..=1_000)),
    ("lists.view_idle_seconds", Whole(1..=A_YEAR_SECONDS)),
    ("lists.page_bytes", Whole(0..=MANY)),
    ("live.max_clients", Whole(1..=10_000_000)),
    ("live.clients_per_principal", Whole(0..=10_000_000)),
    ("live.clients_per_address", Whole(0..=10_000_000)),
    ("live.connects_per_second", Whole(0..=1_000_000)),
    ("live.heartbeat_seconds", Whole(1..=3_600)),
    ("live.max_age_seconds", Whole(0..=A_YEAR_SECONDS)),
    ("live.drain_spread_seconds", Whole(0..=3_600)),
    ("auth.sign_in", OneOf(&["on", "off"])),
    ("auth.audit_log_days", Whole(1..=36_500)),
    ("auth.public_url", Text("the URL at which clients reach the service: https://host[:port]")),
    ("auth.session_idle_minutes", Whole(1..=525_600)),
    ("auth.session_hours", Whole(1..=8_760)),
    ("auth.secret", Text("a text of at least 32 bytes")),
    ("auth.secret_file", Text("the path of a file with a text of at least 32 bytes")),
    ("auth.issuer", Text("the claim iss of the provider's tokens, mostly a URL")),
    ("auth.audience", Text("a value that the claim aud contains")),
    ("auth.jwks_url", Text("a URL that begins with https://")),
    ("auth.keys", Text("public keys as PEM, JWK or JWKS, or a text of at least 32 bytes")),
    ("auth.keys_file", Text("the path of a file with keys")),
    ("auth.client_id", Text("the name that the service has at the provider")),
    ("auth.client_secret", Text("the secret that the service has at the provider")),
    ("auth.client_secret_file", Text("the path of a file with this secret")),
    ("auth.scopes", Text("words such as \"openid profile\", with openid among them")),
    ("auth.algorithms", Text("names such as ES256, RS256, separated by commas")),
    ("auth.token_type", Text("a type such as at+jwt")),
    ("auth.leeway_seconds", Whole(0..=300)),
    ("auth.without_facilities", OneOf(&["refuse", "all"])),
    ("auth.roles", Text("a table, or pairs such as blood-viewers=viewer, blood-admins=admin")),
    ("auth.claims.role", Text("a claim, or a path such as realm_access.roles")),
    ("auth.claims.facilities", Text("a claim, or a path such as realm_access.facilities")),
    ("auth.claims.facility_pattern", Text("a text with {}, such as facility:{}")),
    ("auth.claims.facilities_are", OneOf(&["ids", "keys"])),
    ("audit.interval_ms", Whole(0..=A_DAY_MS)),
    ("audit.sample", Whole(1..=10_000)),
    ("log.format", OneOf(&["json", "pretty"])),
    ("log.filter", Text("a level such as info, or directives such as info,facility_summary=debug")),
];

impl fmt::Display for SettingRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whole(bounds) => {
                write!(f, "a whole number from {} to {}", bounds.start(), bounds.end())
            }
            OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Text(what) => f.write_str(what),
        }
    }
}

impl SettingRule {
    fn allows(&self, value: &ValueKind) -> bool {
        match (self, value) {
            (Whole(bounds), ValueKind::I64(number)) => {
                u64::try_from(*number).is_ok_and(|number| bounds.contains(&number))
            }
            (Whole(bounds), ValueKind::U64(number)) => bounds.contains(number),
            (OneOf(words), ValueKind::String(word)) => words.contains(&word.as_str()),
            (Text(_), ValueKind::String(_)) => true,
            _ => false,
        }
    }
}

/// Checks a file's sections against the list. `origin` names the file in the error.
pub fn check_file(sections: &HashMap<String, Value>, origin: &str) -> Result<(), SettingsError> {
    for (section, value) in sorted(sections) {
        let ValueKind::Table(keys) = &value.kind else {
            return Err(unknown(section, origin));
        };
        for (key, value) in sorted(keys) {
            check(&format!("{section}.{key}"), &value.kind, origin)?;
        }
    }
    Ok(())
}

/// Parses and checks the value of the environment variable `name`, which sets `key`.
pub fn from_environment(key: &str, text: &str, name: &str) -> Result<ValueKind, SettingsError> {
    let value = match rule(key) {
        Some(Whole(_)) => {
            text.trim().parse().map_or_else(|_| ValueKind::String(text.to_owned()), ValueKind::U64)
        }
        _ => ValueKind::String(text.to_owned()),
    };
    check(key, &value, &format!("environment variable {name}"))?;
    Ok(value)
}

fn check(key: &str, value: &ValueKind, origin: &str) -> Result<(), SettingsError> {
    check_as(key, key, value, origin)
}

/// Checks the value of a key that stands in several places; `shown` is what the error calls it.
pub fn check_as(
    shown: &str,
    key: &str,
    value: &ValueKind,
    origin: &str,
) -> Result<(), SettingsError> {
    match rule(key) {
        None => Err(unknown(key, origin)),
        Some(rule) if rule.allows(value) => Ok(()),
        Some(rule) => Err(SettingsError::new(
            shown,
            &ShownSetting(key, value),
            &format!("must be {rule} ({origin})"),
        )),
    }
}

fn rule(key: &str) -> Option<&'static SettingRule> {
    RULES.iter().find(|(known, _)| *known == key).map(|(_, rule)| rule)
}

/// The error for a key that is not in the list. It names the keys of the section, or the sections.
fn unknown(key: &str, origin: &str) -> SettingsError {
    let section = key.split('.').next().unwrap_or_default();
    let neighbours: Vec<&str> = RULES
        .iter()
        .filter_map(|(known, _)| known.strip_prefix(section)?.strip_prefix('.'))
        .collect();
    if neighbours.is_empty() {
        let mut sections: Vec<&str> =
            RULES.iter().filter_map(|(known, _)| known.split('.').next()).collect();
        sections.dedup();
        return SettingsError(format!(
            "{key} is unknown: the sections are {} ({origin})",
            sections.join(", ")
        ));
    }
    SettingsError(format!(
        "{key} is unknown: the keys of {section} are {} ({origin})",
        neighbours.join(", ")
    ))
}

/// Sorts the entries of a table: a parsed file keeps no order, and an error must name the same key
/// each time.
fn sorted(table: &HashMap<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

/// A value as it was written, with passwords replaced by `***`.
struct ShownSetting<'a>(&'a str, &'a ValueKind);

impl fmt::Display for ShownSetting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            _ if matches!(self.0, "auth.secret" | "auth.keys" | "auth.client_secret") => {
                f.write_str("***")
            }
            ValueKind::String(text) if matches!(self.0, "database.url" | "database.read_url") => {
                write!(f, "{:?}", redacted(text))
            }
            ValueKind::String(text) if self.0 == "redis.url" => {
                write!(f, "{:?}", crate::config::redis_url::redacted(text))
            }
            ValueKind::String(text) => write!(f, "{text:?}"),
            ValueKind::Table(_) => f.write_str("a table"),
            ValueKind::Array(_) => f.write_str("a list"),
            value => write!(f, "{value}"),
        }
    }
}
