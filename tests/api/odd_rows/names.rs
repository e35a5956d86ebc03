//! Names whose bytes are not UTF-8.

use serde_json::{Value, json};
use sqlx::Connection;
use uuid::Uuid;

use crate::support::{
    Service,
    outside::Outside,
    postgres::Postgres,
    site::{Site, acknowledged, audited, metric},
    wait_until,
};

/// The name is in Latin-1 bytes. A SQL_ASCII database takes them from a client that does not state
/// its encoding, and SQLite takes them from any client.
async fn a_name_in_latin_1_is_shown_with_replacement_characters(service: Service, rename: &str) {
    let mut sql = Outside::connect(service.database_url()).await;
    let (odd, whole) =
        (Site::register(&service, "UTC").await, Site::register(&service, "UTC").await);
    sql.run(format!("{rename} WHERE id = {}", sql.id(odd.facility))).await;
    let path = format!("/v1/facilities/{}", odd.facility);
    wait_until("the name is read again", async || {
        let facility: Value = service.get(&path).await.json().await.expect("it is JSON");
        facility["name"] == "Krak\u{fffd}w"
    })
    .await;
    acknowledged(&service, &odd.stock(Uuid::new_v4(), 4)).await;
    acknowledged(&service, &whole.stock(Uuid::new_v4(), 5)).await;
    let (_, launch) = service.terminate().await;
    let service = launch.start().await;
    odd.shows(&service, (4, 0, 0)).await;
    whole.shows(&service, (5, 0, 0)).await;
    assert!(metric(&service, "database_unreadable_rows").await >= 1.0);
    let renamed = service.put(&path, &json!({"name": "Kraków", "timezone": "UTC"})).await;
    assert_eq!(renamed.status(), 200);
    audited(service.launch()).await;
}

#[tokio::test]
async fn a_name_that_is_not_utf_8_is_shown_with_replacement_characters_on_sqlite() {
    let service = Service::on_sqlite().start().await;
    a_name_in_latin_1_is_shown_with_replacement_characters(
        service,
        "UPDATE facilities SET name = CAST(x'4b72616bf377' AS TEXT)",
    )
    .await;
}

#[tokio::test]
async fn a_name_that_is_not_utf_8_is_shown_with_replacement_characters_on_postgres() {
    let postgres = Postgres::start(&[]);
    // An earlier release accepted this database. A new database with this encoding is refused.
    let mut sql = Outside::connect(postgres.url()).await;
    sql.run(
        "CREATE DATABASE old ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    .await;
    let url = format!("{}/old", postgres.url().strip_suffix("/postgres").expect("it ends so"));
    let source = postgres.fresh_database().await;
    Service::on(&source).run(&["migrate"]).await;
    copy_record(&source, &url).await;
    let launch = Service::on(&url);
    let service = launch.start().await;
    assert!(
        service.logs().iter().any(|line| line.contains("not encoded in UTF8")),
        "{:?}",
        service.logs()
    );
    let rename = "SET client_encoding = 'SQL_ASCII'; UPDATE facilities SET name = \
                  convert_from('\\x4b72616bf377', 'SQL_ASCII')";
    a_name_in_latin_1_is_shown_with_replacement_characters(service, rename).await;
}

/// Makes the tables of an older release in a database that this release would refuse for a new
/// start.
async fn copy_record(source: &str, target: &str) {
    let mut sql = Outside::connect(target).await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("it is there")
        .map(|file| file.expect("it is a file").path())
        .collect();
    files.sort();
    for file in files {
        sql.run(std::fs::read_to_string(file).expect("it is text")).await;
    }
    let mut from = sqlx::PgConnection::connect(source).await.expect("Postgres accepts connections");
    let record: Vec<(i64, String, Vec<u8>)> =
        sqlx::query_as("SELECT version, description, checksum FROM _sqlx_migrations")
            .fetch_all(&mut from)
            .await
            .expect("it is there");
    sql.run(
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
            success BOOLEAN NOT NULL, checksum BYTEA NOT NULL, execution_time BIGINT NOT NULL)",
    )
    .await;
    for (version, description, checksum) in record {
        let hex: String = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        sql.run(format!(
            "INSERT INTO _sqlx_migrations VALUES ({version}, '{description}', now(), true, \
             '\\x{hex}', 0)"
        ))
        .await;
    }
}
