use std::{collections::BTreeSet, io::Write};

use super::{
    auth::{ClaimSettings, IssuerSettings, Secret},
    rules::RULES,
    *,
};
use crate::domain::access::Role;

const EXAMPLE: &str = include_str!("../../config.example.toml");
const DOCUMENT: &str = include_str!("../../docs/configuration.md");
const ADOPT: &str = include_str!("../../docs/adopt.md");

fn load(file: &str, environment: &[(&str, &str)]) -> Result<Settings, String> {
    let mut path = tempfile::NamedTempFile::new().unwrap();
    path.write_all(file.as_bytes()).unwrap();
    let environment =
        environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Settings::load_from(Some(path.path()), None, environment).map_err(|error| error.to_string())
}

/// The example with every `# key = value` line uncommented, as a user would do it.
fn uncommented() -> String {
    let is_default = |line: &&str| {
        line.strip_prefix("# ")
            .and_then(|l| l.split_once(" = "))
            .is_some_and(|(key, _)| is_key(key))
    };
    EXAMPLE
        .lines()
        .map(|line| if is_default(&line) { &line[2..] } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'.')
}

fn keys_of(toml: &str) -> BTreeSet<String> {
    let source = config::File::from_str(toml, config::FileFormat::Toml);
    let sections = config::Source::collect(&source).unwrap();
    sections.into_iter().flat_map(|(section, value)| paths(section, value)).collect()
}

/// The paths of all keys in a table and in those within it.
fn paths(path: String, value: config::Value) -> Vec<String> {
    match value.into_table() {
        Ok(table) => {
            let inner =
                |(key, value): (String, config::Value)| paths(format!("{path}.{key}"), value);
            table.into_iter().flat_map(inner).collect()
        }
        Err(_) => vec![path],
    }
}

#[test]
fn the_example_shows_the_defaults_and_sets_nothing() {
    let mut defaults = Settings::default();
    // Settings without a default of their own: the example shows the mode's, or a made-up one.
    defaults.freshness.max_age_seconds = Some(defaults.freshness.max_age().as_secs());
    defaults.rebuild.cron = defaults.rebuild_cron().map(str::to_owned);
    defaults.redis.url = Some("redis://127.0.0.1:6379".into());
    defaults.server.internal_bind = Some("127.0.0.1:9090".into());
    defaults.server.tls_certificate = Some("/etc/facility-summary/tls.crt".into());
    defaults.server.tls_key = Some("/etc/facility-summary/tls.key".into());
    defaults.server.trusted_proxies = Some("10.0.0.7, 10.1.0.0/16".into());
    defaults.server.cors_origins = Some("https://board.example".into());
    defaults.database.schema = Some("facility_summary".into());
    defaults.auth.sign_in = Some(Switch::On);
    defaults.auth.public_url = Some("https://summary.example".into());
    defaults.auth.secret = Some(Secret::new("write-a-secret-of-at-least-32-bytes-here"));
    defaults.auth.main = IssuerSettings {
        issuer: Some("https://login.example/realms/blood".into()),
        jwks_url: Some("https://login.example/realms/blood/keys".into()),
        client_id: Some("facility-summary".into()),
        client_secret: Some(Secret::new("the-secret-that-the-provider-gave")),
        algorithms: Some("ES256, RS256, PS256, EdDSA".into()),
        token_type: Some("at+jwt".into()),
        roles: Some([("blood-viewers".to_owned(), Role::Viewer)].into()),
        ..IssuerSettings::default()
    };
    defaults.auth.main.claims.facility_pattern = Some("facility:{}".into());
    // Only one of the keys that stand for the same may be set.
    let is_other = |line: &&str| {
        ["secret_file = ", "client_secret_file = ", "keys = ", "keys_file = "]
            .iter()
            .any(|key| line.starts_with(key))
    };
    let uncommented = uncommented();
    let lines: Vec<&str> = uncommented.lines().filter(|line| !is_other(line)).collect();
    assert_eq!(load(&lines.join("\n"), &[]), Ok(defaults));
    assert_eq!(load(EXAMPLE, &[]), Ok(Settings::default()));
}

#[test]
fn every_setting_is_in_the_list_in_the_example_and_in_the_document() {
    let listed: BTreeSet<String> = RULES.iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(keys_of(&uncommented()), listed);
    let mut known: BTreeSet<String> = fields::<IssuerSettings>();
    known.remove("claims");
    known.extend(["sign_in", "audit_log_days", "secret", "secret_file"].map(str::to_owned));
    known.extend(["public_url", "session_idle_minutes", "session_hours"].map(str::to_owned));
    known.extend(fields::<ClaimSettings>().into_iter().map(|key| format!("claims.{key}")));
    let keys: BTreeSet<String> =
        listed.iter().filter_map(|key| Some(key.strip_prefix("auth.")?.to_owned())).collect();
    assert_eq!(keys, known, "auth");
    for section in fields::<Settings>() {
        let keys: BTreeSet<String> = listed
            .iter()
            .filter_map(|key| Some(key.strip_prefix(&format!("{section}."))?.to_owned()))
            .collect();
        let known = match section.as_str() {
            "server" => fields::<ServerSettings>(),
            "limits" => fields::<LimitSettings>(),
            "database" => fields::<DatabaseSettings>(),
            "redis" => fields::<RedisSettings>(),
            "freshness" => fields::<FreshnessSettings>(),
            "cache" => fields::<CacheSettings>(),
            "ingest" => fields::<IngestSettings>(),
            "refresh" => fields::<RefreshSettings>(),
            "rebuild" => fields::<RebuildSettings>(),
            "lists" => fields::<ListsSettings>(),
            "live" => fields::<LiveSettings>(),
            "audit" => fields::<AuditSettings>(),
            "log" => fields::<LogSettings>(),
            other => panic!("the section {other} is new: add it here"),
        };
        assert_eq!(keys, known, "{section}");
    }
    for key in &listed {
        assert!(
            DOCUMENT.contains(&format!("| `{key}` |")),
            "{key} is missing in docs/configuration.md"
        );
    }
}

/// The mapping of the example, uncommented.
fn example_mapping() -> String {
    let lines = EXAMPLE.lines().filter_map(|line| line.strip_prefix("#   "));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn every_key_of_a_mapping_is_in_the_example_and_in_the_document() {
    use sources::{ActivitySource, FacilitySource, OwnersQuery, SourcesSettings, StockSource};
    let text = example_mapping();
    let mapping = SourcesSettings::parse(&text, "the example").unwrap();
    let text = text.replace("compare_seconds", "# compare_seconds");
    assert_eq!(SourcesSettings::parse(&text, "the example").unwrap(), mapping, "its default");
    let example: toml::Table = toml::from_str(&example_mapping()).unwrap();
    let sources = example["sources"].as_table().unwrap();
    let keys = |table: &toml::Table| table.keys().cloned().collect::<BTreeSet<String>>();
    let in_list = |name: &str| -> BTreeSet<String> {
        sources[name]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|one| keys(one.as_table().unwrap()))
            .collect()
    };
    let activity = &in_list("deliveries") | &in_list("requests");
    let shown = [
        ("sources", keys(sources), fields::<SourcesSettings>()),
        ("facilities", keys(sources["facilities"].as_table().unwrap()), fields::<FacilitySource>()),
        ("stock", in_list("stock"), fields::<StockSource>()),
        ("deliveries and requests", activity, fields::<ActivitySource>()),
        ("check", in_list("check"), fields::<OwnersQuery>()),
    ];
    for (table, keys, known) in shown {
        assert_eq!(keys, known, "{table}");
        for key in keys {
            assert!(ADOPT.contains(&key), "{table}: {key} is missing in docs/adopt.md");
        }
    }
}

/// The names of a struct's fields. serde lists them in its error about an unknown field.
fn fields<T: serde::de::DeserializeOwned>() -> BTreeSet<String> {
    let Err(error) = serde_json::from_str::<T>(r#"{"": 0}"#) else { panic!("it takes any field") };
    let words = error.to_string();
    let (_, list) = words.split_once("expected").unwrap();
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_environment_overrides_the_file_and_the_file_the_defaults() {
    let file = "[refresh]\nchunk = 7\ndrain_batch = 8\n[database]\nurl = \"sqlite://file.db\"";
    let settings = load(
        file,
        &[
            ("FACILITY_SUMMARY__REFRESH__CHUNK", "9"),
            ("DATABASE_URL", "sqlite://other.db"),
            ("BIND_ADDR", "127.0.0.1:9"),
        ],
    )
    .unwrap();
    assert_eq!(
        (settings.refresh.chunk, settings.refresh.drain_batch, settings.refresh.lock_timeout_ms),
        (9, 8, 2_000)
    );
    assert_eq!(
        (settings.database.url.as_str(), settings.server.bind.as_str()),
        ("sqlite://other.db", "127.0.0.1:9")
    );
}

/// Wrong settings, each with the words of its error.
const BAD_VALUES: &[(&str, &[&str])] = &[
    (
        "freshness.mode = \"fast\"",
        &["freshness.mode = \"fast\": must be one of aggressive, balanced, realtime \
               (file "],
    ),
    ("refresh.chunk = 0", &["refresh.chunk = 0: must be a whole number from 1 to 100000"]),
    ("refresh.chunk = -1", &["refresh.chunk = -1: must be a whole number"]),
    ("refresh.chunk = 1.5", &["refresh.chunk = 1.5: must be a whole number"]),
    ("refresh.chunk = \"5\"", &["refresh.chunk = \"5\": must be a whole number"]),
    ("refresh.chunk = true", &["refresh.chunk = true: must be a whole number"]),
    ("rebuild.days = [1]", &["rebuild.days = a list: must be a whole number from 1 to 400"]),
    ("log.filter = 3", &["log.filter = 3: must be a level"]),
    (
        "refresh.chunks = 5",
        &["refresh.chunks is unknown: the keys of refresh are chunk, lock_timeout_ms"],
    ),
    (
        "caching.memory = 5",
        &["caching.memory is unknown: the sections are server, limits, database, redis, freshness"],
    ),
    ("bind = \"127.0.0.1:1\"", &["bind is unknown: the sections are server"]),
    ("refresh = 3", &["refresh is unknown: the keys of refresh are"]),
    ("[refresh", &["is not TOML"]),
    ("server.bind = \"localhost\"", &["server.bind = localhost: must be an address and a port"]),
    ("server.bind = \"0.0.0.0:80\"", &["server.bind = 0.0.0.0:80: must be a loopback address"]),
    (
        "database.url = \"mysql://me:secret@host/db\"",
        &["database.url = mysql://me:***@host/db: must begin with sqlite://"],
    ),
    (
        "database.schema = \"pg_ours\"",
        &["database.schema = pg_ours: must be a name of 1 to 63 bytes"],
    ),
    (
        "redis.url = \"localhost:6379\"",
        &["redis.url = localhost:6379: must be redis://[user:password@]host:port"],
    ),
    (
        "redis.url = \"http://me:secret@host\"",
        &["redis.url = http://me:***@host: must be redis://"],
    ),
    (
        "redis.url = \"redis://me:secret@a,redis://:secret@b:x\"",
        &["redis.url = redis://me:***@a,redis://:***@b:x: must be redis://"],
    ),
    ("redis.url = \"redis://:sec,ret@a,b\"", &["redis.url = redis://:***@a,b: must be redis://"]),
    (
        "database.read_url = \"postgres://me:secret@host/db\"",
        &["database.read_url = postgres://me:***@host/db: must be off where"],
    ),
    (
        "database.read_url = \"off, postgres://me:secret@host/db\"",
        &["must be off, or URLs that begin with postgres://"],
    ),
    (
        "database.url = \"postgres://a/b\"\ndatabase.read_url = \
             \"postgres://me:sec,ret@a/b,mysql://me:secret@host/db\"",
        &["database.read_url = postgres://me:***@host/db: must be off, or URLs that begin \
               with postgres://, separated by commas"],
    ),
    (
        "database.read_timeout_ms = 0",
        &["database.read_timeout_ms = 0: must be a whole number from 1 to"],
    ),
    (
        "database.min_connections = 30",
        &["database.min_connections = 30: must not exceed database.max_connections"],
    ),
];

#[test]
fn a_bad_value_is_refused_with_its_key_the_value_and_what_would_be_right() {
    for (file, words) in BAD_VALUES {
        let error = load(file, &[]).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{file}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_bad_variable_is_refused_by_its_name() {
    for (name, text, words) in [
        (
            "FACILITY_SUMMARY__REFRESH__CHUNK",
            "abc",
            "refresh.chunk = \"abc\": must be a whole number from 1 to 100000 (environment \
             variable FACILITY_SUMMARY__REFRESH__CHUNK)",
        ),
        (
            "FACILITY_SUMMARY__REFRESH__CHUNK",
            "1e3",
            "refresh.chunk = \"1e3\": must be a whole number",
        ),
        (
            "FACILITY_SUMMARY__REFRESH__CHUNKS",
            "5",
            "refresh.chunks is unknown: the keys of refresh are chunk, ",
        ),
        ("FACILITY_SUMMARY__CHUNK", "5", "chunk is unknown: the sections are "),
        (
            "FACILITY_SUMMARY__LOG__FORMAT",
            "JSON",
            "log.format = \"JSON\": must be one of json, pretty",
        ),
    ] {
        let error = load("", &[(name, text)]).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    let kubernetes = [
        ("FACILITY_SUMMARY_SERVICE_HOST", "10.0.0.1"),
        ("FACILITY_SUMMARY_PORT", "tcp://10.0.0.1:80"),
    ];
    assert_eq!(load("", &kubernetes), Ok(Settings::default()));
}

#[test]
fn a_missing_file_is_named() {
    let error = Settings::load_from(Some(Path::new("/no/such.toml")), None, HashMap::new())
        .unwrap_err()
        .to_string();
    assert!(error.contains("/no/such.toml cannot be read"), "{error}");
}

#[test]
fn an_empty_variable_is_refused_by_its_name() {
    for variable in [
        "DATABASE_URL",
        "DATABASE_READ_URL",
        "REDIS_URL",
        "BIND_ADDR",
        "FACILITY_SUMMARY__REFRESH__CHUNK",
    ] {
        let refused = load("", &[(variable, "")]).unwrap_err();
        let named = [variable, "database.url", "database.read_url", "redis.url", "server.bind"]
            .iter()
            .any(|name| refused.contains(name));
        assert!(named, "{variable}: {refused}");
    }
}

/// The settings that the code divides by, waits for or uses as a batch size: 0 makes no sense
/// there. For the settings below that allow 0, the example says what 0 means.
#[test]
fn zero_is_refused_where_it_makes_no_sense() {
    let at_least_one = [
        "server.max_connections",
        "server.max_body",
        "server.read_timeout_ms",
        "database.acquire_timeout_ms",
        "database.statement_timeout_ms",
        "database.sqlite_readers",
        "redis.timeout_ms",
        "redis.stream_length",
        "redis.replay",
        "freshness.refresh_timeout_ms",
        "ingest.queue",
        "ingest.group_events",
        "ingest.slow_lanes",
        "ingest.timeout_ms",
        "ingest.max_event_age_days",
        "refresh.chunk",
        "refresh.lock_timeout_ms",
        "refresh.drain_interval_ms",
        "refresh.drain_batch",
        "rebuild.days",
        "lists.views",
        "lists.view_idle_seconds",
        "audit.sample",
    ];
    for key in at_least_one {
        let (section, name) = key.split_once('.').unwrap();
        let refused = load(&format!("[{section}]\n{name} = 0"), &[]).unwrap_err();
        assert!(refused.contains(key), "{key}: {refused}");
        let few = load(&format!("[{section}]\n{name} = 2"), &[]);
        assert!(few.is_ok(), "{key}: {few:?}");
    }
    for key in [
        "cache.memory_bytes",
        "cache.recent_changes",
        "freshness.max_age_seconds",
        "lists.render_interval_ms",
        "lists.page_bytes",
        "audit.interval_ms",
        "server.drain_delay_ms",
    ] {
        let (section, name) = key.split_once('.').unwrap();
        assert!(load(&format!("[{section}]\n{name} = 0"), &[]).is_ok(), "{key}");
    }
}
