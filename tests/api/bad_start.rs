//! A start that fails ends at once, with an exit code. It says what was wrong, where, and what
//! would be right.

use crate::support::{
    Service,
    outside::Outside,
    postgres::{Postgres, fresh_database},
    service::{Exited, Launch},
    wait_until,
};

/// Tries to serve. Asserts that the service ends with this code, and that its last output has all
/// of these words.
async fn fails(launch: &Launch, code: i32, words: &[&str]) -> Exited {
    let exited = launch.run(&["serve"]).await;
    assert_eq!(exited.code, Some(code), "{}", exited.output);
    for word in words {
        assert!(exited.output.contains(word), "no {word:?} in: {}", exited.output);
    }
    assert!(!exited.output.contains("panicked"), "{}", exited.output);
    exited
}

/// The same URL with another user, password, host or database.
fn with(url: &str, from: &str, to: &str) -> String {
    assert!(url.contains(from), "{url} has no {from}");
    url.replacen(from, to, 1)
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_made_is_named() {
    // No user can make a folder under a file. Missing permissions would not stop root.
    let file =
        tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a file can be made");
    let folder = file.path().join("data");
    let launch = Service::on(format!("sqlite://{}", folder.join("summary.db").display()));
    fails(&launch, 1, &[&folder.display().to_string()]).await;
}

#[tokio::test]
async fn a_folder_without_the_right_to_write_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder =
        tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555))
        .expect("it is ours");
    if std::fs::write(folder.path().join("probe"), "").is_ok() {
        eprintln!("skipped: this user may write to every folder");
        return;
    }
    let launch = Service::on(format!("sqlite://{}", folder.path().join("summary.db").display()));
    fails(&launch, 1, &[&folder.path().display().to_string()]).await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_left_alone() {
    let launch = Service::on_sqlite();
    let file = launch.folder().join("facility-summary.db");
    let text = "Dear diary, ".repeat(1000);
    std::fs::write(&file, &text).expect("the folder can be written to");
    fails(&launch, 1, &["facility-summary.db"]).await;
    assert_eq!(std::fs::read_to_string(&file).expect("it is still there"), text);
}

async fn is_refused_when_newer(launch: Launch) {
    let (_, launch) = launch.start().await.terminate().await;
    let mut sql = Outside::connect(launch.database_url()).await;
    let checksum = if sql.is_postgres() { "'\\x00'" } else { "x'00'" };
    sql.run(format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', true, {checksum}, 0)"
    ))
    .await;
    fails(&launch, 1, &["newer release"]).await;
}

#[tokio::test]
async fn a_newer_releases_sqlite_file_is_refused() {
    is_refused_when_newer(Service::on_sqlite()).await;
}

#[tokio::test]
async fn a_newer_releases_postgres_database_is_refused() {
    is_refused_when_newer(Service::on_postgres().await).await;
}

#[tokio::test]
async fn a_wrong_password_is_reported_and_not_shown() {
    let url = with(&fresh_database().await, "postgres:postgres@", "postgres:not-the-password@");
    let exited =
        fails(&Service::on(url), 1, &["password authentication failed", "postgres:***@"]).await;
    assert!(!exited.output.contains("not-the-password"), "{}", exited.output);
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_named() {
    let url = format!("{}_nowhere", fresh_database().await);
    fails(&Service::on(url), 1, &["_nowhere", "does not exist"]).await;
}

#[tokio::test]
async fn a_host_where_nothing_listens_is_named_with_its_port() {
    // The test binds the port and releases it. The system gives it to another process only much
    // later.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a port is free")
        .port();
    let launch = Service::on(format!("postgres://someone:secret@127.0.0.1:{port}/blood"))
        .env("FACILITY_SUMMARY__DATABASE__ACQUIRE_TIMEOUT_MS", 500);
    let exited = fails(&launch, 1, &[&format!("127.0.0.1:{port}")]).await;
    assert!(!exited.output.contains("secret"), "{}", exited.output);
}

#[tokio::test]
async fn urls_that_cannot_be_read_are_shown_with_what_would_be_right() {
    for url in ["mysql://localhost/blood", "blood.db"] {
        fails(&Service::on(url), 2, &["database.url", url, "sqlite://", "postgres://"]).await;
    }
    // The part after the colon may be a password before a missing host. So it is not shown.
    let words = ["database.url = postgres://localhost:***: cannot be read (invalid port number)"];
    fails(&Service::on("postgres://localhost:not-a-port/blood"), 2, &words).await;
}

#[tokio::test]
async fn a_pool_near_the_servers_limit_is_warned_of() {
    let postgres = Postgres::start(&["max_connections=25"]);
    let service = Service::on(postgres.fresh_database().await).start().await;
    wait_until("the warning is logged", async || {
        service.logs().iter().any(|line| line.contains("lower it, or raise max_connections"))
    })
    .await;
}

#[tokio::test]
async fn a_pool_far_below_the_servers_limit_is_not_warned_of() {
    let service = Service::on_postgres().await.start().await;
    assert!(
        !service.logs().iter().any(|line| line.contains("max_connections there")),
        "{:?}",
        service.logs()
    );
}

#[tokio::test]
async fn a_database_that_is_not_utf_8_is_refused_before_anything_is_created() {
    let url = fresh_database().await;
    let (cluster, name) = url.rsplit_once('/').expect("a URL has a path");
    let mut sql = Outside::connect(&url).await;
    for encoding in ["SQL_ASCII", "LATIN1"] {
        let other = format!("{name}_{}", encoding.to_lowercase());
        sql.run(format!(
            "CREATE DATABASE {other} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' \
             LC_CTYPE 'C'"
        ))
        .await;
        let launch = Service::on(format!("{cluster}/{other}"));
        for command in [
            &["serve"][..],
            &["migrate"],
            &["audit"],
            &["rebuild"],
            &["generate", "--facilities=1", "--days=1"],
        ] {
            let exited = launch.run(command).await;
            assert_eq!(exited.code, Some(1), "{command:?}: {}", exited.output);
            for word in [encoding, "CREATE DATABASE", "ENCODING 'UTF8'", "nothing was changed"] {
                assert!(
                    exited.output.contains(word),
                    "{command:?}: no {word:?} in {}",
                    exited.output
                );
            }
        }
        let draft = launch.run(&["adopt", "init"]).await;
        assert_eq!(draft.code, Some(1), "{}", draft.output);
        assert!(draft.output.contains(encoding) && draft.output.contains("UTF8 only"));
        let mut there = Outside::connect(launch.database_url()).await;
        assert_eq!(
            there
                .number(
                    "SELECT count(*) FROM pg_class WHERE relnamespace = \
                to_regnamespace('facility_summary')"
                )
                .await,
            0
        );
        assert_eq!(
            there
                .number(
                    "SELECT count(*) FROM pg_proc WHERE pronamespace = \
                to_regnamespace('facility_summary')"
                )
                .await,
            0
        );
    }
}

/// Everything in the schema.
const OBJECTS: &str = "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = \
                       to_regnamespace('facility_summary'))
                            + (SELECT count(*) FROM pg_proc WHERE pronamespace = \
                       to_regnamespace('facility_summary'))
                            + (SELECT count(*) FROM pg_type WHERE typnamespace = \
                       to_regnamespace('facility_summary'))";

#[tokio::test]
async fn another_programs_schema_is_left_as_it_was() {
    // Objects that are in the way at the beginning, in the middle and at the end of the migrations.
    for (foreign, words) in [
        (
            "CREATE TABLE facilities (id bigint); CREATE VIEW outbox AS SELECT 1 AS one",
            &["facilities, outbox", "database of its own"][..],
        ),
        ("CREATE TYPE blood_type AS ENUM ('A', 'B')", &["blood_type", "database of its own"]),
        ("CREATE TABLE fleet (id bigint)", &["fleet", "database of its own"]),
        (
            "CREATE FUNCTION mark_all() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; \
             END'",
            &["mark_all", "nothing was changed"],
        ),
        (
            "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT \
             NULL, installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
                success BOOLEAN NOT NULL, checksum BYTEA NOT NULL, execution_time BIGINT NOT NULL);
             INSERT INTO _sqlx_migrations VALUES (20240101, 'users', now(), true, '\\x00', 0)",
            &["_sqlx_migrations", "another program's"],
        ),
    ] {
        let launch = Service::on_postgres().await;
        let mut sql = Outside::connect(launch.database_url()).await;
        sql.run(format!("CREATE SCHEMA facility_summary; {foreign}")).await;
        let before = sql.number(OBJECTS).await;
        for command in [&["serve"][..], &["migrate"], &["generate", "--facilities=1", "--days=1"]] {
            let exited = launch.run(command).await;
            assert_eq!(exited.code, Some(1), "{command:?}: {}", exited.output);
            assert!(
                words.iter().all(|word| exited.output.contains(word)),
                "{words:?} not in {}",
                exited.output
            );
            assert_eq!(
                sql.number(OBJECTS).await,
                before,
                "{command:?} created an object beside {foreign}"
            );
        }
    }
}

#[tokio::test]
async fn another_programs_file_is_left_as_it_was() {
    for (foreign, words) in [
        (
            "CREATE TABLE Facilities (id); CREATE VIEW outbox AS SELECT 1",
            &["Facilities, outbox", "file of the service's own"][..],
        ),
        ("CREATE TABLE fleet (id)", &["fleet", "file of the service's own"]),
        (
            "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY); INSERT INTO \
             _sqlx_migrations VALUES (20240101)",
            &["another program's"],
        ),
    ] {
        let launch = Service::on_sqlite();
        let file = launch.folder().join("facility-summary.db");
        let mut sql = Outside::connect(&format!("{}?mode=rwc", launch.database_url())).await;
        sql.run(foreign).await;
        drop(sql);
        wait_until("the file is closed", async || {
            !launch.folder().join("facility-summary.db-journal").exists()
        })
        .await;
        let before = std::fs::read(&file).expect("it is there");
        for command in [&["serve"][..], &["migrate"], &["generate", "--facilities=1", "--days=1"]] {
            let exited = launch.run(command).await;
            assert_eq!(exited.code, Some(1), "{command:?}: {}", exited.output);
            assert!(
                words.iter().all(|word| exited.output.contains(word)),
                "{words:?} not in {}",
                exited.output
            );
            assert!(
                std::fs::read(&file).expect("it is there") == before,
                "{command:?} changed the file beside {foreign}"
            );
            let files = std::fs::read_dir(launch.folder()).expect("it is there").count();
            assert_eq!(files, 1, "{command:?} created a file");
        }
    }
}

#[tokio::test]
async fn columns_that_another_program_has_changed_are_named_with_what_they_should_be() {
    let launch = Service::on_postgres().await;
    assert_eq!(launch.run(&["migrate"]).await.code, Some(0));
    let mut sql = Outside::connect(launch.database_url()).await;
    sql.run(
        "ALTER TABLE blood_inventory ALTER quantity TYPE bigint; ALTER TABLE blood_requests DROP \
         quantity; ALTER TABLE facilities ALTER name TYPE varchar(80)",
    )
    .await;
    let words = ["blood_inventory.quantity is bigint and should be integer; \
                  blood_requests.quantity is missing and should be integer: events could not be \
                  written"];
    fails(&launch, 1, &words).await;
    sql.run(
        "ALTER TABLE blood_inventory ALTER quantity TYPE integer; ALTER TABLE blood_requests ADD \
         quantity integer",
    )
    .await;
    launch.start().await;
}
