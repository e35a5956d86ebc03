//! Each write to a source table, by any program and in any way, leaves a mark for every day that it
//! touched.

use facility_summary::store::{
    Mark,
    MarkKind::{Facility, Stock},
};

use super::{
    TestDb,
    setup::{
        DAY_MS, HOUR_MS, bank, begin, clear_marks, delivery, facility, is_active_at, is_marked,
        marks, now_ms, request, stock,
    },
};

pub async fn a_write_of_only_the_required_columns_is_marked(db: &dyn TestDb) {
    let id = db.new_id();
    let north = facility(db, "UTC").await;
    assert!(is_marked(db, Facility, &north).await);
    clear_marks(db).await;
    let bank = bank(db, &north).await;
    assert!(is_marked(db, Stock, &north).await);
    clear_marks(db).await;
    db.plain(&format!(
        "INSERT INTO blood_inventory (id, blood_bank_id, quantity) VALUES ({id}, {}, 3)",
        db.id(bank)
    ))
    .await;
    assert!(is_marked(db, Stock, &north).await);
    clear_marks(db).await;
    let before_ms = now_ms(db).await;
    db.plain(&format!(
        "INSERT INTO blood_requests (id, facility_id) VALUES ({id}, {})",
        db.id(north.id)
    ))
    .await;
    let after_ms = now_ms(db).await;
    let found = marks(db).await;
    let (first_ms, last_ms) = found[0].span.unwrap();
    assert!(before_ms - 1 <= first_ms && last_ms <= after_ms, "{before_ms} {found:?} {after_ms}");
    clear_marks(db).await;
    db.plain(&format!(
        "INSERT INTO blood_distributions (id, dispatched_to_id, quantity) VALUES ({id}, {}, 1)",
        db.id(north.id)
    ))
    .await;
    assert_eq!(marks(db).await, [], "a distribution that is not delivered touches no day");
}

pub async fn a_row_that_moves_marks_where_it_was_and_where_it_is(db: &dyn TestDb) {
    let (north, south) = (facility(db, "UTC").await, facility(db, "Asia/Kathmandu").await);
    let (old_ms, new_ms) = (1_700_000_000_000, 1_700_000_000_000 + 9 * DAY_MS);
    let sent = delivery(db, &north, 5, old_ms).await;
    let asked = request(db, &north, old_ms).await;
    for (table, row, facility_column, time_column) in [
        ("blood_distributions", sent, "dispatched_to_id", "date_delivered"),
        ("blood_requests", asked, "facility_id", "created_at"),
    ] {
        clear_marks(db).await;
        db.plain(&format!(
            "UPDATE {table} SET {facility_column} = {} WHERE id = {}",
            db.id(south.id),
            db.id(row)
        ))
        .await;
        assert!(
            is_active_at(db, &north, old_ms).await && is_active_at(db, &south, old_ms).await,
            "{table}: a row moved to another facility"
        );
        clear_marks(db).await;
        db.plain(&format!(
            "UPDATE {table} SET {time_column} = {} WHERE id = {}",
            db.at(new_ms),
            db.id(row)
        ))
        .await;
        assert!(
            is_active_at(db, &south, old_ms).await && is_active_at(db, &south, new_ms).await,
            "{table}: a row moved to another day"
        );
        assert!(
            !is_active_at(db, &south, old_ms + 4 * DAY_MS).await,
            "{table}: the days between were not touched"
        );
    }
    clear_marks(db).await;
    db.plain(&format!(
        "UPDATE blood_distributions SET date_delivered = NULL WHERE id = {}",
        db.id(sent)
    ))
    .await;
    assert!(is_active_at(db, &south, new_ms).await, "a delivery was returned");
}

/// The store may widen the mark that is there, or leave a second one.
pub async fn writes_of_one_day_are_all_covered_in_any_order(db: &dyn TestDb) {
    let north = facility(db, "Asia/Kathmandu").await;
    let day_ms = 1_700_000_000_000 / DAY_MS * DAY_MS;
    let hours = |hour: i64| day_ms + hour * HOUR_MS;
    for (table, facility_column, time_column, quantity) in [
        ("blood_distributions", "dispatched_to_id", "date_delivered", "quantity,"),
        ("blood_requests", "facility_id", "created_at", ""),
    ] {
        for order in [[10, 22, 3], [22, 3, 10]] {
            let ids = order.map(|_| db.id(uuid::Uuid::new_v4()));
            let one = if quantity.is_empty() { "" } else { "1," };
            let there = db.id(north.id);
            // The update sets a time an hour later, in the same UTC day. So the day before the
            // update is the day after it.
            let statement = |what: &str, i: usize| match what {
                "insert" => {
                    let at = db.at(hours(order[i]));
                    format!(
                        "INSERT INTO {table} (id, {quantity} {facility_column}, {time_column}) \
                         VALUES ({}, {one} {there}, {at})",
                        ids[i]
                    )
                }
                "update" => format!(
                    "UPDATE {table} SET {time_column} = {} WHERE id = {}",
                    db.at(hours(order[i] + 1)),
                    ids[i]
                ),
                _ => format!("DELETE FROM {table} WHERE id = {}", ids[i]),
            };
            for (what, offsets) in [("insert", &[0][..]), ("update", &[0, 1]), ("delete", &[1])] {
                clear_marks(db).await;
                for i in 0..order.len() {
                    db.plain(&statement(what, i)).await;
                }
                for at_ms in order.iter().flat_map(|hour| {
                    offsets.iter().map(move |offset| (hour + offset) * HOUR_MS + day_ms)
                }) {
                    assert!(
                        is_active_at(db, &north, at_ms).await,
                        "{table}, {what}, {order:?}: {:?}",
                        marks(db).await
                    );
                }
            }
        }
    }
}

pub async fn a_bank_that_moves_marks_both_facilities(db: &dyn TestDb) {
    let (north, south) = (facility(db, "UTC").await, facility(db, "UTC").await);
    let (first, second) = (bank(db, &north).await, bank(db, &south).await);
    let unit = stock(db, first, "'O+'", 3, "NULL").await;
    clear_marks(db).await;
    db.plain(&format!(
        "UPDATE blood_inventory SET blood_bank_id = {} WHERE id = {}",
        db.id(second),
        db.id(unit)
    ))
    .await;
    assert!(
        is_marked(db, Stock, &north).await && is_marked(db, Stock, &south).await,
        "a unit moved to another bank"
    );
    clear_marks(db).await;
    db.plain(&format!(
        "UPDATE blood_banks SET facility_id = {} WHERE id = {}",
        db.id(north.id),
        db.id(second)
    ))
    .await;
    assert!(
        is_marked(db, Stock, &north).await && is_marked(db, Stock, &south).await,
        "a bank moved to another facility"
    );
}

pub async fn a_read_of_the_marks_alone_finds_those_of_a_drain_snapshot(db: &dyn TestDb) {
    let (north, south) = (facility(db, "UTC").await, facility(db, "UTC").await);
    let (moved, gone) = (bank(db, &north).await, bank(db, &north).await);
    for bank in [moved, gone] {
        stock(db, bank, "'O+'", 3, "NULL").await;
    }
    request(db, &north, 1_700_000_000_123).await;
    db.plain(&format!(
        "UPDATE blood_banks SET facility_id = {} WHERE id = {}",
        db.id(south.id),
        db.id(moved)
    ))
    .await;
    db.plain(&format!("DELETE FROM blood_inventory WHERE blood_bank_id = {}", db.id(gone))).await;
    db.plain(&format!("DELETE FROM blood_banks WHERE id = {}", db.id(gone))).await;
    for limit in [1, 3, 1_000] {
        let (found, seen) = (
            db.store().marks(limit).await.unwrap(),
            db.store().drain_snapshot(limit).await.unwrap(),
        );
        assert!(!found.all.is_empty() && found.all.len() <= limit, "{found:?}");
        assert_eq!((found.all, found.strays), (seen.marks, seen.strays));
    }
    // On SQLite no bank moves while others write its units, so the mark need not name the bank.
    assert_eq!(
        db.store().marks(1_000).await.unwrap().strays.is_empty(),
        db.store().dialect() == "sqlite"
    );
}

pub async fn a_deleted_row_marks_where_it_was(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let bank = bank(db, &north).await;
    let at_ms = 1_700_000_000_000;
    stock(db, bank, "'O+'", 3, "NULL").await;
    delivery(db, &north, 5, at_ms).await;
    request(db, &north, at_ms + 3 * DAY_MS).await;
    for table in ["blood_inventory", "blood_banks"] {
        clear_marks(db).await;
        db.plain(&format!("DELETE FROM {table}")).await;
        assert!(is_marked(db, Stock, &north).await, "{table}");
    }
    clear_marks(db).await;
    db.plain("DELETE FROM blood_distributions").await;
    assert!(is_active_at(db, &north, at_ms).await);
    clear_marks(db).await;
    db.plain("DELETE FROM blood_requests").await;
    assert!(is_active_at(db, &north, at_ms + 3 * DAY_MS).await);
    clear_marks(db).await;
    db.plain("DELETE FROM facilities").await;
    assert!(is_marked(db, Facility, &north).await);
}

pub async fn an_upsert_marks_where_the_row_was_and_where_it_is(db: &dyn TestDb) {
    let (north, south) = (facility(db, "UTC").await, facility(db, "UTC").await);
    let at_ms = 1_700_000_000_000;
    let sent = delivery(db, &north, 5, at_ms).await;
    clear_marks(db).await;
    let (row, to, at) = (db.id(sent), db.id(south.id), db.at(at_ms + DAY_MS));
    db.plain(&format!(
        "INSERT INTO blood_distributions (id, dispatched_to_id, quantity, date_delivered) VALUES \
         ({row}, {to}, 5, {at})
         ON CONFLICT (id) DO UPDATE SET dispatched_to_id = excluded.dispatched_to_id, \
         date_delivered = excluded.date_delivered"
    ))
    .await;
    assert!(
        is_active_at(db, &north, at_ms).await && is_active_at(db, &south, at_ms + DAY_MS).await
    );
}

/// Only SQLite has this statement. Its delete triggers do not fire then.
pub async fn an_insert_or_replace_marks_what_it_replaced(db: &dyn TestDb) {
    if db.store().dialect() != "sqlite" {
        return;
    }
    let (north, south) = (facility(db, "UTC").await, facility(db, "UTC").await);
    let (first, second) = (bank(db, &north).await, bank(db, &south).await);
    let at_ms = 1_700_000_000_000;
    let unit = stock(db, first, "'O+'", 3, "NULL").await;
    let sent = delivery(db, &north, 5, at_ms).await;
    let asked = request(db, &north, at_ms).await;
    let (there, then) = (db.id(south.id), db.at(at_ms + DAY_MS));

    clear_marks(db).await;
    let (row, bank) = (db.id(unit), db.id(second));
    db.plain(&format!(
        "INSERT OR REPLACE INTO blood_inventory (id, blood_bank_id, quantity) VALUES ({row}, \
         {bank}, 1)"
    ))
    .await;
    assert!(is_marked(db, Stock, &north).await && is_marked(db, Stock, &south).await);
    clear_marks(db).await;
    db.plain(&format!(
        "INSERT OR REPLACE INTO blood_banks (id, facility_id) VALUES ({}, {there})",
        db.id(first)
    ))
    .await;
    assert!(is_marked(db, Stock, &north).await && is_marked(db, Stock, &south).await);
    clear_marks(db).await;
    let row = db.id(sent);
    db.plain(&format!(
        "REPLACE INTO blood_distributions (id, dispatched_to_id, quantity, date_delivered) VALUES \
         ({row}, {there}, 5, {then})"
    ))
    .await;
    assert!(
        is_active_at(db, &north, at_ms).await && is_active_at(db, &south, at_ms + DAY_MS).await
    );
    clear_marks(db).await;
    db.plain(&format!(
        "REPLACE INTO blood_requests (id, facility_id, created_at) VALUES ({}, {there}, {then})",
        db.id(asked)
    ))
    .await;
    assert!(
        is_active_at(db, &north, at_ms).await && is_active_at(db, &south, at_ms + DAY_MS).await
    );
}

pub async fn a_bulk_write_leaves_marks_by_facility_and_day_not_by_row(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let bank = bank(db, &north).await;
    clear_marks(db).await;
    let first_ms = 1_700_000_000_000 / DAY_MS * DAY_MS;
    // 100,000 rows over ten days, one every 8.64 s.
    let (id, by, at) =
        (db.new_id(), db.id(north.id), db.instant(&format!("{first_ms} + i * 8640")));
    let numbers = "WITH RECURSIVE n (i) AS (SELECT CAST(0 AS bigint) UNION ALL SELECT i + 1 FROM \
                   n WHERE i < 99999)";
    db.plain(&format!(
        "{numbers} INSERT INTO blood_requests (id, facility_id, created_at) SELECT {id}, {by}, \
         {at} FROM n"
    ))
    .await;
    let bank = db.id(bank);
    db.plain(&format!(
        "{numbers} INSERT INTO blood_inventory (id, blood_bank_id, quantity) SELECT {id}, {bank}, \
         1 FROM n WHERE i < 1000"
    ))
    .await;
    let found = marks(db).await;
    assert_eq!(
        found.len(),
        11,
        "there is a mark for each of ten days, and one for the stock: {found:?}"
    );
    for i in [0, 5_000, 49_999, 99_999] {
        assert!(is_active_at(db, &north, first_ms + i * 8_640).await, "row {i}");
    }
    for mark in found.iter().filter_map(|mark| mark.span) {
        assert!(mark.1 - mark.0 < 24 * HOUR_MS, "a mark lies in one UTC day: {mark:?}");
    }
}

pub async fn a_rolled_back_write_leaves_no_mark(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    clear_marks(db).await;
    let row = format!(
        "INSERT INTO blood_requests (id, facility_id) VALUES ({}, {})",
        db.new_id(),
        db.id(north.id)
    );
    db.plain(&format!("BEGIN; {row}; ROLLBACK")).await;
    assert_eq!(marks(db).await, []);
}

/// The store may widen the mark that was seen, or leave a second one.
pub async fn a_write_between_the_snapshot_and_the_taking_of_marks_is_not_lost(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    clear_marks(db).await;
    let at_ms = 1_700_000_000_000 / DAY_MS * DAY_MS;
    request(db, &north, at_ms).await;
    let seen: Vec<i64> = marks(db).await.iter().map(|mark| mark.id).collect();
    let late_ms = at_ms + 20 * HOUR_MS;
    request(db, &north, late_ms).await;
    let mut transaction = begin(db).await;
    let taken = transaction.take_marks(&seen).await.unwrap();
    transaction.commit().await.unwrap();
    let covers = |mark: &Mark| {
        mark.span.is_some_and(|(first_ms, last_ms)| first_ms <= late_ms && late_ms <= last_ms)
    };
    assert!(taken.iter().any(covers) || marks(db).await.iter().any(covers));
}
