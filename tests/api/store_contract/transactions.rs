//! The transactions of the store: what they store, and what they must not leave behind.

use std::time::{Duration, Instant};

use facility_summary::{
    domain::event::{Entity, EntityKind},
    store::{Mark, MarkKind, Put, StoreError},
};
use uuid::Uuid;

use super::{
    TestDb,
    setup::{bank, begin, clear_marks, facility, is_marked, key, marks, now_ms, refresh, stock},
};

fn unit(bank: Uuid) -> Put {
    let entity = Entity::Inventory {
        blood_bank_id: bank,
        blood_type: None,
        expires_at_ms: None,
        quantity: 1,
    };
    Put { id: Uuid::new_v4(), event_time_ms: 1, entity, is_new: true }
}

pub async fn our_transaction_leaves_no_mark_and_keeps_the_marks_of_others(db: &dyn TestDb) {
    let (north, south, west) =
        (facility(db, "UTC").await, facility(db, "UTC").await, facility(db, "UTC").await);
    let (first, second, third) =
        (bank(db, &north).await, bank(db, &south).await, bank(db, &west).await);
    clear_marks(db).await;
    stock(db, first, "'O+'", 1, "NULL").await;
    stock(db, second, "'O+'", 1, "NULL").await;
    let newest = marks(db).await.iter().max_by_key(|mark| mark.id).unwrap().clone();
    assert_eq!(newest.facility_id, Some(south.id));

    // The newest mark is deleted, so that its id may be given to a mark of ours.
    let mut transaction = begin(db).await;
    transaction.put(EntityKind::Inventory, &[unit(second)]).await.unwrap();
    transaction.take_marks(&[newest.id]).await.unwrap();
    transaction.put(EntityKind::Inventory, &[unit(second), unit(third)]).await.unwrap();
    transaction.commit().await.unwrap();

    let left = marks(db).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].facility_id, Some(north.id), "the mark that another program left stays");
}

pub async fn marks_that_are_added_survive_their_transaction(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let bank = bank(db, &north).await;
    clear_marks(db).await;
    let mark =
        |kind, facility_id, span| Mark { id: 0, kind, facility_id, span, blood_bank_id: None };
    let added = [
        mark(MarkKind::Activity, Some(north.id), Some((5, 9))),
        mark(MarkKind::Activity, Some(north.id), None),
        mark(MarkKind::Facility, None, None),
    ];
    let mut transaction = begin(db).await;
    transaction.put(EntityKind::Inventory, &[unit(bank)]).await.unwrap();
    transaction.add_marks(&added).await.unwrap();
    transaction.put(EntityKind::Inventory, &[unit(bank)]).await.unwrap();
    transaction.commit().await.unwrap();
    let found: Vec<Mark> = marks(db).await.into_iter().map(|mark| Mark { id: 0, ..mark }).collect();
    assert_eq!(found, added);
}

pub async fn take_marks_deletes_exactly_the_given_marks(db: &dyn TestDb) {
    let (north, south, west) =
        (facility(db, "UTC").await, facility(db, "UTC").await, facility(db, "UTC").await);
    let id_of =
        |found: &[Mark], id| found.iter().find(|mark| mark.facility_id == Some(id)).unwrap().id;
    let found = marks(db).await;
    let asked = [id_of(&found, north.id), id_of(&found, west.id), i64::from(i32::MAX)];
    let mut transaction = begin(db).await;
    let taken = transaction.take_marks(&asked).await.unwrap();
    transaction.commit().await.unwrap();
    let mut taken: Vec<_> = taken.into_iter().map(|mark| mark.facility_id.unwrap()).collect();
    taken.sort_unstable();
    let mut wanted = vec![north.id, west.id];
    wanted.sort_unstable();
    assert_eq!(taken, wanted);
    let left = marks(db).await;
    assert_eq!(left.iter().map(|mark| mark.facility_id).collect::<Vec<_>>(), [Some(south.id)]);
}

pub async fn written_rows_come_back_with_their_versions_and_an_outbox_row_each(db: &dyn TestDb) {
    let (north, south) = (facility(db, "UTC").await, facility(db, "Asia/Kathmandu").await);
    let bank = bank(db, &north).await;
    stock(db, bank, "NULL", 4, "NULL").await;
    let now_ms = now_ms(db).await;
    let keys = [key(&north, now_ms, 0), key(&south, now_ms, 0)];
    let mut written = refresh(db, &keys).await;
    let mut read = db
        .store()
        .summaries(&keys.iter().map(|key| key.id()).collect::<Vec<_>>())
        .await
        .unwrap()
        .rows;
    written.sort_by_key(|row| row.summary.facility_id);
    read.sort_by_key(|row| row.summary.facility_id);
    assert_eq!(written.len(), 2);
    assert_eq!(read, written);

    let outbox = db.store().drain_snapshot(100).await.unwrap().outbox;
    let mut published: Vec<_> = outbox.iter().map(|(_, key, version)| (*key, *version)).collect();
    published.sort_unstable();
    assert_eq!(published, written.iter().map(|row| (row.key(), 1)).collect::<Vec<_>>());
    db.store().forget_published(&[outbox[0].0], &[]).await.unwrap();
    assert_eq!(db.store().drain_snapshot(100).await.unwrap().outbox, outbox[1..]);
}

pub async fn the_version_counter_only_rises_and_outlives_removed_summaries(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let bank = bank(db, &north).await;
    let today = [key(&north, now_ms(db).await, 0)];
    for version in 1..=3 {
        stock(db, bank, "'O+'", 1, "NULL").await;
        assert_eq!(refresh(db, &today).await[0].summary.version, version);
    }
    let mut row = db.store().summaries(&[today[0].id()]).await.unwrap().rows.remove(0);
    row.summary.version = 2;
    let mut transaction = begin(db).await;
    transaction.write(&[row], &Default::default()).await.unwrap();
    assert_eq!(
        transaction.lock(&[north.id]).await.unwrap()[&north.id].version,
        3,
        "an older version does not lower the counter"
    );
    transaction.remove_summaries(&[north.id]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(db.store().summaries(&[today[0].id()]).await.unwrap().rows, []);
    assert_eq!(refresh(db, &today).await[0].summary.version, 4);
}

pub async fn a_dropped_transaction_leaves_nothing_and_lets_the_next_one_in(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let bank = bank(db, &north).await;
    for _ in 0..30 {
        let mut transaction = begin(db).await;
        transaction.put(EntityKind::Inventory, &[unit(bank)]).await.unwrap();
        drop(transaction);
    }
    assert_eq!(db.number("SELECT count(*) FROM blood_inventory").await, 0);
    stock(db, bank, "'O+'", 1, "NULL").await;
    begin(db).await.commit().await.unwrap();
    assert!(is_marked(db, MarkKind::Stock, &north).await);
}

/// A deferred constraint of another program refuses a row at the commit, not before.
pub async fn a_commit_that_fails_says_so_and_leaves_nothing(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let bank = bank(db, &north).await;
    refresh(db, &[key(&north, now_ms(db).await, 0)]).await;
    clear_marks(db).await;
    refuse_at_commit(db, "blood_inventory").await;
    let outbox = db.number("SELECT count(*) FROM outbox").await;
    let mut transaction = begin(db).await;
    let version = transaction.lock(&[north.id]).await.unwrap()[&north.id].version;
    transaction.put(EntityKind::Inventory, &[unit(bank)]).await.unwrap();
    let mut row =
        transaction.derive(&[key(&north, now_ms(db).await, 0)]).await.unwrap().remove(0).row;
    row.summary.version = version + 1;
    transaction.write(&[row], &Default::default()).await.unwrap();
    let error = transaction.commit().await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    assert_eq!(db.number("SELECT count(*) FROM blood_inventory").await, 0);
    assert_eq!(db.number("SELECT count(*) FROM outbox").await, outbox);
    assert_eq!(
        db.number("SELECT count(*) FROM dashboard_daily_summary WHERE total_stock <> 0").await,
        0
    );

    // The lock is released, and the connection is free again.
    db.plain("DELETE FROM refusals").await;
    for _ in 0..10 {
        let mut transaction = begin(db).await;
        assert_eq!(transaction.lock(&[north.id]).await.unwrap()[&north.id].version, version);
        transaction.commit().await.unwrap();
    }
}

/// Makes every transaction that inserts into the table fail at its commit, while the table
/// `refusals` has rows.
async fn refuse_at_commit(db: &dyn TestDb, table: &str) {
    db.plain("CREATE TABLE refusals (nobody integer)").await;
    db.plain("INSERT INTO refusals VALUES (1)").await;
    let arranged = match db.store().dialect() {
        "postgres" => format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF EXISTS (SELECT 1 FROM refusals) THEN RAISE EXCEPTION 'refused' USING ERRCODE = \
             'check_violation'; END IF;
                RETURN NULL;
             END $$;
             CREATE CONSTRAINT TRIGGER refused AFTER INSERT ON {table} DEFERRABLE INITIALLY \
             DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
        ),
        _ => format!(
            "CREATE TABLE refused (bank blob REFERENCES facilities (id) DEFERRABLE INITIALLY \
             DEFERRED);
             CREATE TRIGGER refuse AFTER INSERT ON {table} WHEN EXISTS (SELECT 1 FROM refusals) \
             BEGIN INSERT INTO refused VALUES (x'00'); END"
        ),
    };
    db.plain(&arranged).await;
}

pub async fn an_open_transaction_hides_its_writes_and_blocks_no_reader(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let bank = bank(db, &north).await;
    clear_marks(db).await;
    let today = key(&north, now_ms(db).await, 0);
    let mut transaction = begin(db).await;
    transaction.lock(&[north.id]).await.unwrap();
    transaction.put(EntityKind::Inventory, &[unit(bank)]).await.unwrap();
    let mut row = transaction.derive(std::slice::from_ref(&today)).await.unwrap().remove(0).row;
    assert_eq!(row.summary.total_stock, Some(1), "a transaction sees its own writes");
    (row.summary.version, row.summary.updated_at) = (1, Some(row.as_of_ms));
    transaction.write(&[row.clone()], &Default::default()).await.unwrap();

    let seen = db.store().drain_snapshot(10).await.unwrap();
    assert!(seen.marks.is_empty() && seen.outbox.is_empty(), "{seen:?}");
    assert_eq!(db.store().summaries(&[today.id()]).await.unwrap().rows, []);
    assert_eq!(
        db.store().audit(std::slice::from_ref(&today)).await.unwrap()[0].derived[0],
        Some(0)
    );
    transaction.commit().await.unwrap();
    assert_eq!(db.store().summaries(&[today.id()]).await.unwrap().rows, [row]);
}

/// On SQLite any writer of the file holds the one lock. On Postgres the lock of the facility's row
/// counts.
pub async fn an_outside_lock_is_answered_in_time(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    refresh(db, &[key(&north, now_ms(db).await, 0)]).await;
    db.plain("BEGIN").await;
    db.plain("UPDATE facility_state SET version = version").await;
    let started = Instant::now();
    let locked = async {
        let mut transaction = db.store().begin(Duration::from_millis(60)).await?;
        transaction.lock(&[north.id]).await.map(drop)
    };
    let error = locked.await.unwrap_err();
    assert!(matches!(error, StoreError::Locked(_)), "{error}");
    assert!(
        (Duration::from_millis(50)..Duration::from_secs(3)).contains(&started.elapsed()),
        "{:?}",
        started.elapsed()
    );
    db.plain("ROLLBACK").await;
    let mut transaction = begin(db).await;
    transaction.lock(&[north.id]).await.unwrap();
    transaction.commit().await.unwrap();
}

pub async fn a_wait_for_a_lock_that_is_given_up_leaves_nothing_locked(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    refresh(db, &[key(&north, now_ms(db).await, 0)]).await;
    db.plain("BEGIN").await;
    db.plain("UPDATE facility_state SET version = version").await;
    let waiting = async {
        let mut transaction = begin(db).await;
        transaction.lock(&[north.id]).await.unwrap();
    };
    assert!(
        tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err(),
        "the caller did not wait for the lock"
    );
    db.plain("ROLLBACK").await;
    let mut transaction = begin(db).await;
    transaction.lock(&[north.id]).await.unwrap();
    transaction.commit().await.unwrap();
    db.plain("BEGIN").await;
    db.plain("UPDATE facility_state SET version = version").await;
    db.plain("COMMIT").await;
}
