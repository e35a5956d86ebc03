//! Instants that only Postgres can store: microseconds, and infinity.

use super::{
    TestDb,
    postgres_db::PostgresDb,
    setup::{DAY_MS, bank, derive_one, facility, key, now_ms, refresh, stock},
};

#[tokio::test]
async fn a_row_is_written_once_for_an_expiry_in_microseconds() {
    let db = PostgresDb::open().await;
    let north = facility(&db, "UTC").await;
    let bank = bank(&db, &north).await;
    let now_ms = now_ms(&db).await;
    let today = [key(&north, now_ms, 0)];
    stock(
        &db,
        bank,
        "'O+'",
        5,
        &format!("{} + interval '456 microseconds'", db.at(now_ms + DAY_MS)),
    )
    .await;
    let written = refresh(&db, &today).await;
    assert_eq!(
        written[0].next_expires_at_ms,
        Some(now_ms + DAY_MS + 1),
        "the expiry is rounded up to the millisecond"
    );
    assert!(refresh(&db, &today).await.is_empty(), "nothing has changed");
    db.store().close().await;
}

#[tokio::test]
async fn units_that_never_expire_are_counted() {
    let db = PostgresDb::open().await;
    let north = facility(&db, "UTC").await;
    let bank = bank(&db, &north).await;
    let today = key(&north, now_ms(&db).await, 0);
    stock(&db, bank, "'O+'", 5, "'infinity'").await;
    let derived = derive_one(&db, &today).await;
    assert_eq!((derived.row.summary.total_stock, derived.row.next_expires_at_ms), (Some(5), None));
    db.store().close().await;
}
