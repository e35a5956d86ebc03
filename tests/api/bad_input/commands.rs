//! The command line. Wrong use ends with exit code 2 and a sentence that says what would be right.
//! A start that fails ends with exit code 1.

use sqlx::{Connection, SqliteConnection};

use crate::support::{Service, postgres::fresh_database};

#[tokio::test]
async fn wrong_use_is_exit_code_2_with_what_would_be_right() {
    let launch = Service::on_sqlite();
    std::fs::write(launch.folder().join("unknown.toml"), "[refresh]\nchunks = 5\n").unwrap();
    std::fs::write(launch.folder().join("mode.toml"), "freshness.mode = \"fast\"\n").unwrap();
    std::fs::write(launch.folder().join("broken.toml"), "[refresh\n").unwrap();
    for (arguments, words) in [
        (&["sevre"][..], &["unrecognized subcommand 'sevre'", "serve"][..]),
        (&[], &["Usage: facility-summary", "serve"]),
        (&["serve", "--port", "80"], &["unexpected argument '--port'"]),
        (&["rebuild", "--days", "0"], &["0 is not in 1..=400"]),
        (&["rebuild", "--all", "--days", "3"], &["cannot be used with"]),
        (&["generate"], &["--facilities"]),
        (&["import", "stocks", "a.csv"], &["invalid value 'stocks'", "stock-history"]),
        (
            &["--config", "absent.toml", "migrate"],
            &["bad setting: file absent.toml cannot be read"],
        ),
        (&["--config", "broken.toml", "migrate"], &["bad setting: file broken.toml is not TOML"]),
        (
            &["--config", "unknown.toml", "migrate"],
            &["refresh.chunks is unknown: the keys of refresh are chunk, ", "(file unknown.toml)"],
        ),
        (
            &["--config", "mode.toml", "migrate"],
            &["freshness.mode = \"fast\": must be one of aggressive, balanced, realtime"],
        ),
    ] {
        let exited = launch.run(arguments).await;
        assert_eq!(exited.code, Some(2), "{arguments:?}: {}", exited.output);
        assert!(
            words.iter().all(|word| exited.output.contains(word)),
            "{arguments:?}: {}",
            exited.output
        );
    }
}

#[tokio::test]
async fn a_bad_variable_stops_any_command_with_its_name() {
    for (name, value, words) in [
        (
            "FACILITY_SUMMARY__REFRESH__CHUNK",
            "abc",
            "refresh.chunk = \"abc\": must be a whole number from 1 to 100000",
        ),
        ("FACILITY_SUMMARY__REFRESH__CHUNKS", "5", "refresh.chunks is unknown"),
        (
            "FACILITY_SUMMARY__FRESHNESS__MODE",
            "fast",
            "freshness.mode = \"fast\": must be one of aggressive",
        ),
        ("FACILITY_SUMMARY__LOG__FILTER", "info,=,", "log.filter"),
        (
            "DATABASE_URL",
            "mysql://me:secret@host/blood",
            "mysql://me:***@host/blood: must begin with sqlite:// or postgres://",
        ),
        (
            "BIND_ADDR",
            "0.0.0.0:8080",
            "server.bind = 0.0.0.0:8080: must be a loopback address while there is no sign-in",
        ),
    ] {
        let exited = Service::on_sqlite().env(name, value).run(&["migrate"]).await;
        assert_eq!(exited.code, Some(2), "{}", exited.output);
        assert!(exited.output.contains(words), "{}", exited.output);
        assert!(!exited.output.contains("secret"), "{}", exited.output);
    }
}

/// URLs that cannot be read, mostly because a character of the password ends its part of the URL.
/// Each with the variable, the key of the setting, the value, and what the error must say.
const CUT_URLS: [(&str, &str, &str, &str); 12] = [
    (
        "DATABASE_URL",
        "database.url",
        "postgres://me:sec#ret@127.0.0.1:5432/db",
        "write '#' as %23 (percent-encoding), in database.url as in DATABASE_URL",
    ),
    (
        "DATABASE_URL",
        "database.url",
        "postgres://me:12/sec?ret@127.0.0.1/db",
        "write '/' as %2F, '?' as %3F (percent-encoding)",
    ),
    (
        "DATABASE_URL",
        "database.url",
        "postgres://me:sec%ffret@127.0.0.1/db",
        "write postgres://user:password@host:port/database, with a % of",
    ),
    (
        "DATABASE_URL",
        "database.url",
        "postgres://me:sec[ret@127.0.0.1:x/db",
        "cannot be read (invalid port number)",
    ),
    (
        "DATABASE_URL",
        "database.url",
        "me:secret@127.0.0.1/db",
        "must begin with sqlite:// or postgres://",
    ),
    ("DATABASE_URL", "database.url", "sqlite://x.db?cash=on", "write sqlite://PATH"),
    (
        "DATABASE_READ_URL",
        "database.read_url",
        "postgres://me:12#secret@127.0.0.1/db",
        "write '#' as %23 (percent-encoding), in database.read_url as in DATABASE_READ_URL",
    ),
    (
        "DATABASE_READ_URL",
        "database.read_url",
        "postgres://me:secret@a/db,postgres://me:sec/ret@b/db",
        "write '/' as %2F",
    ),
    (
        "DATABASE_READ_URL",
        "database.read_url",
        "postgres://me:sec,ret@a/db",
        "a comma in a password is written %2C",
    ),
    (
        "REDIS_URL",
        "redis.url",
        "redis://me:12#secret@127.0.0.1:6379",
        "write '#' as %23 (percent-encoding), in redis.url as in REDIS_URL",
    ),
    ("REDIS_URL", "redis.url", "rediss://:sec?ret@127.0.0.1:6379", "write '?' as %3F"),
    ("REDIS_URL", "redis.url", "redis://:secret@a:1,redis://:sec/ret@b:1", "write '/' as %2F"),
];

#[tokio::test]
async fn a_url_that_ends_within_its_password_is_wrong_use_and_the_error_shows_the_encoding() {
    let server = fresh_database().await;
    for (name, key, value, words) in CUT_URLS {
        let exited = Service::on(server.clone()).env(name, value).run(&["migrate"]).await;
        assert_eq!(exited.code, Some(2), "{value}: {}", exited.output);
        assert!(
            exited.output.contains(&format!("bad setting: {key} = "))
                && exited.output.contains(words),
            "{value}: {}",
            exited.output
        );
        for part in ["sec", "ret@", "12"] {
            let told = exited.output.replace("127.0.0.1", "");
            assert!(!told.contains(part), "{value}: {}", exited.output);
        }
    }
}

/// The password of this role is written unencoded wherever a URL allows that.
#[tokio::test]
async fn a_password_of_any_characters_connects_once_it_is_percent_encoded() {
    let url = fresh_database().await;
    let (authority, database) =
        url.trim_start_matches("postgres://").rsplit_once('/').expect("a URL has a path");
    let place = authority.rsplit('@').next().expect("a host");
    let mut sql = crate::support::outside::Outside::connect(&url).await;
    let role = format!("odd_{}", uuid::Uuid::new_v4().simple());
    sql.run(format!("CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'a#b/c?d@e:f%g [h]'")).await;
    for written in ["a%23b%2Fc%3Fd%40e%3Af%25g%20%5Bh%5D", "a%23b%2Fc%3Fd@e:f%g [h]"] {
        let exited = Service::on(format!("postgres://{role}:{written}@{place}/{database}"))
            .run(&["migrate"])
            .await;
        assert_eq!(exited.code, Some(0), "{written}: {}", exited.output);
    }
    let exited = Service::on(format!("postgres://{role}:a#b/c?d@e:f%g [h]@{place}/{database}"))
        .run(&["migrate"])
        .await;
    assert_eq!(exited.code, Some(2), "{}", exited.output);
    sql.run(format!(
        "REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}"
    ))
    .await;
}

#[tokio::test]
async fn a_database_that_cannot_be_used_stops_the_start_and_is_named() {
    let launch = Service::on_sqlite();
    let file = launch.folder().join("a-file");
    std::fs::write(&file, "not a folder, and not a database either").unwrap();
    let below = format!("sqlite://{}/x.db", file.display());
    let itself = format!("sqlite://{}", file.display());
    for url in [below.as_str(), itself.as_str(), "sqlite:///proc/facility-summary/x.db"] {
        let exited = launch.clone().env("DATABASE_URL", url).run(&["serve"]).await;
        assert_eq!(exited.code, Some(1), "{}", exited.output);
        assert!(exited.output.contains(url.trim_start_matches("sqlite://")), "{}", exited.output);
    }
    let url = fresh_database().await;
    let (scheme, rest) = url
        .split_once("postgres:")
        .map(|(a, b)| (format!("{a}postgres:"), b))
        .expect("the superuser has a password");
    let (_, host) = rest.split_once('@').expect("a host");
    let user =
        if scheme.ends_with("//postgres:") { scheme } else { "postgres://postgres:".to_owned() };
    let exited = Service::on(format!("{user}wrong-password@{host}")).run(&["serve"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    assert!(exited.output.contains("password authentication failed"), "{}", exited.output);
    assert!(!exited.output.contains("wrong-password"), "{}", exited.output);
}

#[tokio::test]
async fn a_database_of_a_newer_release_is_left_alone() {
    let launch = Service::on_sqlite();
    assert_eq!(launch.run(&["migrate"]).await.code, Some(0));
    let mut database = SqliteConnection::connect(&format!(
        "sqlite://{}/facility-summary.db",
        launch.folder().display()
    ))
    .await
    .unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
                 execution_time) VALUES (9999, 'later', 1, x'00', 0)";
    sqlx::query(newer).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    let exited = launch.run(&["serve"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    assert!(exited.output.contains("newer release"), "{}", exited.output);
}
