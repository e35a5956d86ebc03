//! How errors of the databases are classified, and so what a client is told.

use facility_summary::store::StoreError;
use sqlx::{AssertSqlSafe, Connection, PgConnection, sqlite::SqlitePoolOptions};

use crate::support::postgres::fresh_database;

/// The server itself raises the error, since no other code can make an error of the driver.
async fn raised(connection: &mut PgConnection, code: &str, message: &str) -> StoreError {
    let raise = format!("DO $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{code}'; END $$");
    sqlx::raw_sql(AssertSqlSafe(raise)).execute(connection).await.expect_err("it is raised").into()
}

#[tokio::test]
async fn errors_of_postgres_about_a_full_disk_are_retried() {
    let mut connection = PgConnection::connect(&fresh_database().await).await.unwrap();
    for (code, message, class) in [
        ("53100", "could not extend file \"base/5/16404\": No space left on device", "full"),
        ("53200", "out of memory", "unavailable"),
        (
            "58030",
            "could not read block 3 in file \"base/5/16404\": Input/output error",
            "unavailable",
        ),
        (
            "57P02",
            "terminating connection because of crash of another server process",
            "unavailable",
        ),
        ("57P03", "the database system is in recovery mode", "unavailable"),
        ("42501", "could not open file \"base/5/16404\": Read-only file system", "full"),
        ("42501", "permission denied for table facilities", "failed"),
        ("XX000", "could not write to file \"base/pgsql_tmp\": Disk quota exceeded", "internal"),
        (
            "XX001",
            "could not read block 3 in file \"base/5/16404\": read only 0 of 8192 bytes",
            "internal",
        ),
        ("XX002", "index \"facilities_pkey\" contains unexpected zero page at block 1", "internal"),
        (
            "25P02",
            "current transaction is aborted, commands ignored until end of transaction block",
            "internal",
        ),
        ("26000", "prepared statement \"sqlx_s_1\" does not exist", "internal"),
        ("25006", "cannot execute INSERT in a read-only transaction", "unavailable"),
        ("25P03", "terminating connection due to idle-in-transaction timeout", "conflict"),
        ("0A000", "cached plan must not change result type", "conflict"),
        ("0A000", "cannot do that", "failed"),
        ("42P01", "relation \"facilities\" does not exist", "failed"),
    ] {
        assert_eq!(raised(&mut connection, code, message).await.class(), class, "{code} {message}");
    }
}

#[tokio::test]
async fn a_transaction_that_sqlite_has_ended_by_itself_is_retried() {
    let pool =
        SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    let none = sqlx::raw_sql("COMMIT").execute(&pool).await.expect_err("there is none to commit");
    assert_eq!(StoreError::from(none).class(), "internal");
    let not_begun = pool.begin_with("SELECT 1").await.expect_err("that begins none");
    assert_eq!(StoreError::from(not_begun).class(), "unavailable");
    let mut taken_for_open = pool.acquire().await.unwrap();
    let mut transaction = taken_for_open.begin().await.unwrap();
    let within = transaction.begin_with("BEGIN IMMEDIATE").await.expect_err("one is open");
    assert_eq!(StoreError::from(within).class(), "unavailable");
    let wrong = sqlx::raw_sql("SELECT nothing")
        .execute(&mut *transaction)
        .await
        .expect_err("there is no such column");
    assert_eq!(
        StoreError::from(wrong).class(),
        "failed",
        "a wrong statement fails again when it is repeated"
    );
}
