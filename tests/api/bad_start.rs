//! A start that cannot be: it ends at once, with an exit code, and says to a tired person what was wrong, where, and what would be right.

use crate::support::{
    Service,
    outside::Outside,
    postgres::{Postgres, fresh_database},
    service::{Exited, Launch},
    wait_until,
};

/// Tries to serve, and asserts that it ends with this code and that the last words name all of these.
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
    // Under a file no folder can be made, whoever tries: permissions do not stop root.
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a file can be made");
    let folder = file.path().join("data");
    let launch = Service::on(format!("sqlite://{}", folder.join("summary.db").display()));
    fails(&launch, 1, &[&folder.display().to_string()]).await;
}

#[tokio::test]
async fn a_folder_without_the_right_to_write_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).expect("it is ours");
    if std::fs::write(folder.path().join("probe"), "").is_ok() {
        eprintln!("skipped: whoever runs this may write everywhere");
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
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', true, {checksum}, 0)"
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
async fn a_wrong_password_is_told_and_not_shown() {
    let url = with(&fresh_database().await, "postgres:postgres@", "postgres:not-the-password@");
    let exited = fails(&Service::on(url), 1, &["password authentication failed", "postgres:***@"]).await;
    assert!(!exited.output.contains("not-the-password"), "{}", exited.output);
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_named() {
    let url = format!("{}_nowhere", fresh_database().await);
    fails(&Service::on(url), 1, &["_nowhere", "does not exist"]).await;
}

#[tokio::test]
async fn a_host_where_nothing_listens_is_named_with_its_port() {
    // Bound and let go: nobody else is given the port so soon.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port is free").port();
    let launch =
        Service::on(format!("postgres://someone:secret@127.0.0.1:{port}/blood")).env("FACILITY_SUMMARY__DATABASE__ACQUIRE_TIMEOUT_MS", 500);
    let exited = fails(&launch, 1, &[&format!("127.0.0.1:{port}")]).await;
    assert!(!exited.output.contains("secret"), "{}", exited.output);
}

#[tokio::test]
async fn urls_that_cannot_be_read_are_shown_with_what_would_be_right() {
    for url in ["mysql://localhost/blood", "blood.db"] {
        fails(&Service::on(url), 2, &["database.url", url, "sqlite://", "postgres://"]).await;
    }
    fails(&Service::on("postgres://localhost:not-a-port/blood"), 1, &["not-a-port"]).await;
}

#[tokio::test]
async fn a_pool_near_the_servers_limit_is_warned_of() {
    let postgres = Postgres::start(&["max_connections=25"]);
    let service = Service::on(postgres.fresh_database().await).start().await;
    wait_until("the warning is logged", async || service.logs().iter().any(|line| line.contains("lower it, or raise max_connections")))
        .await;
}

#[tokio::test]
async fn a_pool_far_below_the_servers_limit_is_not_warned_of() {
    let service = Service::on_postgres().await.start().await;
    assert!(!service.logs().iter().any(|line| line.contains("max_connections there")), "{:?}", service.logs());
}
