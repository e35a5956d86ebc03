//! The command line: wrong use is exit code 2 with a sentence that says what would be right; a
//! start that cannot be is 1.

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
