//! What replicas agree on in their database: watermark, epoch, generation, outbox, triggers.

use std::sync::Arc;

use facility_summary::{
    cache::memory::Memory,
    directory::Directory,
    domain::summary::{DayKey, Key, SummaryRow},
    protocol::{Epoch, Position, Watermark},
    store::{DrainSnapshot, MarkKind, Store, StoreError, TriggerOff},
};
use uuid::Uuid;

use super::{
    TestDb,
    setup::{bank, begin, clear_marks, facility, is_marked, key, now_ms, refresh, request, stock},
};

const fn watermark(at_ms: i64, generation: i64, number: i64) -> Watermark {
    Watermark { at_ms, position: Position { generation, number } }
}

async fn look(db: &dyn TestDb) -> DrainSnapshot {
    db.store().drain_snapshot(100).await.unwrap()
}

/// The answers to this many concurrent callers.
async fn all_at_once<T: Send + 'static>(
    callers: usize,
    call: impl AsyncFn(Arc<dyn Store>) -> T,
    db: &dyn TestDb,
) -> Vec<T> {
    futures_util::future::join_all((0..callers).map(|_| call(db.store()))).await
}

pub async fn the_watermark_is_returned_with_rows_and_without_rows(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let today = key(&north, now_ms(db).await, 0);
    let rows = refresh(db, std::slice::from_ref(&today)).await;
    let epoch = look(db).await.epoch;
    for mark in [None, Some(watermark(1_732_237_982_123, 3, 17))] {
        if let Some(mark) = &mark {
            assert!(db.store().store_watermark(mark, &epoch).await.unwrap());
        }
        let absent = Key { date: today.day.date.yesterday().unwrap(), ..today.id() };
        for (keys, rows) in [(&[][..], &[][..]), (&[absent], &[]), (&[absent, today.id()], &rows)] {
            let read = db.store().summaries(keys).await.unwrap();
            assert_eq!((read.rows.as_slice(), &read.epoch, read.watermark), (rows, &epoch, mark));
        }
        assert_eq!(look(db).await.stored_watermark, mark);
    }
}

pub async fn facilities_come_with_the_epoch_and_the_watermark(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let epoch = look(db).await.epoch;
    for mark in [None, Some(watermark(1_732_237_982_123, 3, 17))] {
        if let Some(mark) = &mark {
            assert!(db.store().store_watermark(mark, &epoch).await.unwrap());
        }
        for (ids, rows) in [(None, 1), (Some(&[north.id][..]), 1), (Some(&[]), 0)] {
            let read = db.store().facilities(ids).await.unwrap();
            assert_eq!((read.rows.len(), &read.epoch, read.watermark), (rows, &epoch, mark));
        }
    }
    db.plain("UPDATE fleet SET salt = 'restored'").await;
    let read = db.store().facilities(None).await.unwrap();
    assert_eq!((read.epoch, read.watermark), (look(db).await.epoch, None));
}

pub async fn a_directory_takes_over_no_facility_of_another_epoch(db: &dyn TestDb) {
    let store = db.store();
    let memory = Arc::new(Memory::new(1 << 20, 16, Position::default()));
    let directory = Directory::new(memory.clone(), true);
    let north = facility(db, "UTC").await.id;
    directory.load(&*store).await.unwrap();
    let served = look(db).await.epoch;
    directory.served().store(Some(Arc::new(served.clone())));
    let takes_over = async |id: Uuid| {
        let read = [
            directory.reload(&*store, &[id]).await.map(drop),
            directory.load(&*store).await.map(drop),
        ];
        let caught_up = directory.read_all(&*store).await;
        let is_refused =
            |read: &Result<(), StoreError>| matches!(read, Err(StoreError::OtherEpoch));
        assert!(
            read.iter().chain([&caught_up]).all(|read| is_refused(read) != read.is_ok()),
            "{read:?} {caught_up:?}"
        );
        assert_eq!(directory.get(id).is_some(), caught_up.is_ok());
        caught_up.is_ok()
    };
    assert!(takes_over(facility(db, "UTC").await.id).await);

    // As in a restored copy, which has the same epoch and lacks a watermark that was proven.
    assert!(store.store_watermark(&watermark(9_000, 1, 1), &served).await.unwrap());
    memory.advance_table(9_001);
    assert!(!takes_over(facility(db, "UTC").await.id).await);
    assert!(store.store_watermark(&watermark(9_001, 1, 2), &served).await.unwrap());
    let proven_ms = directory.exact_as_of_ms();
    assert!(takes_over(facility(db, "UTC").await.id).await);
    assert!(directory.exact_as_of_ms() > proven_ms);

    // As in a promoted standby, also once it has a later watermark.
    db.plain("UPDATE fleet SET salt = 'restored'").await;
    let new = look(db).await.epoch;
    assert!(store.store_watermark(&watermark(10_000, 1, 1), &new).await.unwrap());
    let (other, proven_ms) = (facility(db, "UTC").await.id, directory.exact_as_of_ms());
    assert!(!takes_over(other).await);
    assert_eq!(directory.exact_as_of_ms(), proven_ms);
    assert!(directory.get(north).is_some(), "what is held stays until the epoch is entered");
    directory.served().store(Some(Arc::new(new)));
    assert!(takes_over(other).await);
}

/// One key has a statement of its own.
pub async fn one_key_is_read_as_it_is_read_among_several(db: &dyn TestDb) {
    let (north, south) = (facility(db, "Asia/Kathmandu").await, facility(db, "UTC").await);
    let (today, other) = (key(&north, now_ms(db).await, 0), key(&south, now_ms(db).await, 0));
    refresh(db, &[today.clone(), other.clone()]).await;
    let epoch = look(db).await.epoch;
    let absent = Key { date: today.day.date.yesterday().unwrap(), ..today.id() };
    let unknown = Key { facility_id: Uuid::new_v4(), ..today.id() };
    let of_north = format!("('facility', {})", db.id(north.id));
    let of_south = format!("('facility', {})", db.id(south.id));
    let stock_of_north = format!("('stock', {})", db.id(north.id));
    let mut changing = Vec::new();
    for mark in [&stock_of_north, &of_south, &of_north, "('stock', NULL)", "('facility', NULL)"] {
        clear_marks(db).await;
        db.plain(&format!("INSERT INTO summary_marks (kind, facility_id) VALUES {mark}")).await;
        for asked in [today.id(), absent, unknown] {
            let alone = db.store().summaries(&[asked]).await.unwrap();
            let both = db.store().summaries(&[asked, other.id()]).await.unwrap();
            let is_asked = |row: &&SummaryRow| row.summary.facility_id == asked.facility_id;
            let rows: Vec<&SummaryRow> = both.rows.iter().filter(is_asked).collect();
            assert_eq!(alone.rows.iter().collect::<Vec<_>>(), rows, "{mark} {asked:?}");
            assert_eq!(rows.len(), usize::from(asked == today.id()), "{mark} {asked:?}");
            let id = &asked.facility_id;
            assert_eq!(alone.zones.get(id), both.zones.get(id), "{mark} {asked:?}");
            assert_eq!(alone.zones.len(), usize::from(asked != unknown), "{mark} {asked:?}");
            let is_changing = alone.changing.contains(id);
            assert_eq!(is_changing, both.changing.contains(id), "{mark} {asked:?}");
            assert_eq!((&alone.epoch, alone.watermark), (&epoch, both.watermark));
            if asked == absent {
                changing.push(is_changing);
            }
        }
    }
    assert_eq!(changing, [false, false, true, false, true]);
}

pub async fn the_day_of_a_row_is_told_as_a_read_of_the_row_tells_it(db: &dyn TestDb) {
    let mut todays = Vec::new();
    for _ in 0..8 {
        todays.push(key(&facility(db, "Asia/Kathmandu").await, now_ms(db).await, 0));
    }
    refresh(db, &todays[1..]).await; // the first one has no row
    let mut tx = begin(db).await;
    tx.open_days(&todays.iter().map(DayKey::id).collect::<Vec<_>>()).await.unwrap();
    tx.commit().await.unwrap();
    for (today, change) in todays[2..].iter().zip([
        format!("day_start = {}", db.at(1_000)),
        "day_end = NULL".into(),
        format!("as_of = {}", db.at(1_000)), // a release that does not know of bounds writes so
        r#"by_blood_type = '{"?":1}'"#.into(),
        r#"by_blood_type = '{"O+": {"stock": "five", "transferred": 0, "requests": 0}}'"#.into(),
    ]) {
        let id = db.id(today.facility.id);
        db.plain(&format!("UPDATE dashboard_daily_summary SET {change} WHERE facility_id = {id}"))
            .await;
    }
    let keys: Vec<Key> = todays.iter().map(DayKey::id).collect();
    let found = db.store().stored_bounds(&keys).await.unwrap();
    let read = db.store().summaries(&keys).await.unwrap().rows;
    assert_eq!(read.len(), 7);
    for (number, today) in todays[..7].iter().enumerate() {
        let told = found.iter().find(|bounds| bounds.key == today.id());
        let row = read.iter().find(|row| row.key() == today.id());
        assert_eq!(told.is_some(), (1..5).contains(&number), "{number}: {found:?}");
        if let (Some(told), Some(row)) = (told, row) {
            assert_eq!((told.as_of_ms, told.bounds), (row.as_of_ms, row.bounds), "{number}");
        }
        let (is_told, is_read) = (
            told.is_some_and(|told| told.is_of(&today.day)),
            row.is_some_and(|row| row.is_of(&today.day)),
        );
        assert_eq!((is_told, is_read), (number == 1 || number == 3, is_told), "{number}");
    }
    // The row of a day that is not the open one, as after the clock was set back over a midnight.
    let last = todays[7].clone();
    assert!(found.iter().any(|bounds| bounds.key == last.id() && bounds.is_of(&last.day)));
    let yesterday = last.day.date.yesterday().unwrap();
    let id = db.id(last.facility.id);
    db.plain(&format!("UPDATE facility_state SET today = '{yesterday}' WHERE facility_id = {id}"))
        .await;
    assert_eq!(db.store().stored_bounds(&[last.id()]).await.unwrap(), []);
}

pub async fn a_watermark_only_rises(db: &dyn TestDb) {
    let epoch = look(db).await.epoch;
    let later = watermark(2_000, 1, 5);
    assert!(db.store().store_watermark(&later, &epoch).await.unwrap());
    for other in [watermark(1_999, 2, 9), watermark(2_000, 2, 9), watermark(-5, 0, 0)] {
        assert!(!db.store().store_watermark(&other, &epoch).await.unwrap());
        assert_eq!(look(db).await.stored_watermark, Some(later));
    }
    let stored = all_at_once(
        16,
        async |store| store.store_watermark(&watermark(2_001, 0, 0), &epoch).await.unwrap(),
        db,
    )
    .await;
    assert_eq!(stored.into_iter().filter(|stored| *stored).count(), 1);
}

pub async fn a_watermark_of_another_epoch_is_not_stored_and_does_not_count(db: &dyn TestDb) {
    let store = db.store();
    let old = look(db).await.epoch;
    assert!(!store.store_watermark(&watermark(9_000, 1, 1), &Epoch::of("another")).await.unwrap());
    assert_eq!(look(db).await.stored_watermark, None);
    assert!(store.store_watermark(&watermark(9_000, 1, 1), &old).await.unwrap());

    // As in a restored copy, or in a promoted standby.
    db.plain("UPDATE fleet SET salt = 'restored'").await;
    let new = look(db).await.epoch;
    assert_ne!(new, old);
    assert_eq!(look(db).await.stored_watermark, None);
    assert_eq!(store.summaries(&[]).await.unwrap().watermark, None);
    assert!(!store.store_watermark(&watermark(10_000, 1, 1), &old).await.unwrap());
    assert!(
        store.store_watermark(&watermark(8_000, 1, 1), &new).await.unwrap(),
        "a watermark of another epoch is replaced, even by an earlier one"
    );
    assert_eq!(look(db).await.stored_watermark, Some(watermark(8_000, 1, 1)));
}

pub async fn an_epoch_is_ended_once_together_with_its_watermark(db: &dyn TestDb) {
    let old = look(db).await.epoch;
    assert!(db.store().store_watermark(&watermark(9_000, 1, 1), &old).await.unwrap());
    db.store().begin_epoch(&old).await.unwrap();
    let new = look(db).await.epoch;
    assert_ne!(new, old);
    assert_eq!((new.name().len(), new.name()), (16, new.to_string().as_str()));
    all_at_once(16, async |store| store.begin_epoch(&old).await.unwrap(), db).await;
    let seen = look(db).await;
    assert_eq!((seen.epoch, seen.stored_watermark, seen.generation), (new, None, 0));
}

pub async fn no_two_callers_begin_the_same_generation(db: &dyn TestDb) {
    assert_eq!(look(db).await.generation, 0);
    let begun = all_at_once(16, async |store| store.begin_generation(0).await, db).await;
    assert_eq!(begun.iter().filter(|begun| matches!(begun, Ok(1))).count(), 1, "{begun:?}");
    assert_eq!(
        begun.iter().filter(|begun| matches!(begun, Err(StoreError::Conflict))).count(),
        15,
        "{begun:?}"
    );
    assert_eq!(db.store().begin_generation(1).await.unwrap(), 2);
    assert!(matches!(db.store().begin_generation(1).await, Err(StoreError::Conflict)));
    assert!(matches!(db.store().begin_generation(7).await, Err(StoreError::Conflict)));
    assert_eq!(look(db).await.generation, 2);
}

pub async fn a_facility_is_noted_with_its_transaction_or_not_at_all(db: &dyn TestDb) {
    let (north, south) = (Uuid::new_v4(), Uuid::new_v4());
    let mut undone = begin(db).await;
    undone.note_facilities(&[south]).await.unwrap();
    assert_eq!(look(db).await.changed_facilities, []);
    drop(undone);
    let mut transaction = begin(db).await;
    transaction.note_facilities(&[]).await.unwrap();
    transaction.note_facilities(&[north, south]).await.unwrap();
    transaction.note_facilities(&[north]).await.unwrap();
    transaction.commit().await.unwrap();
    let noted: Vec<Uuid> =
        look(db).await.changed_facilities.into_iter().map(|(_, id)| id).collect();
    assert_eq!(noted, [north, south, north]);
    assert_eq!(db.store().drain_snapshot(2).await.unwrap().changed_facilities.len(), 2);
    assert_eq!(db.store().drain_snapshot(0).await.unwrap().changed_facilities, []);
}

pub async fn only_published_outbox_rows_are_deleted(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    refresh(db, &[key(&north, now_ms(db).await, 0)]).await;
    let mut transaction = begin(db).await;
    transaction.note_facilities(&[north.id, north.id]).await.unwrap();
    transaction.commit().await.unwrap();
    let store = db.store();

    let seen = look(db).await;
    let outbox: Vec<i64> = seen.outbox.iter().map(|(id, ..)| *id).collect();
    let facilities: Vec<i64> = seen.changed_facilities.iter().map(|(id, _)| *id).collect();
    assert_eq!((outbox.len(), facilities.len()), (1, 2));
    assert!(store.forget_published(&outbox, &facilities[..1]).await.unwrap());
    let after = look(db).await;
    assert_eq!(
        (after.outbox, after.changed_facilities),
        (vec![], seen.changed_facilities[1..].to_vec())
    );
    assert!(
        store.forget_published(&outbox, &facilities).await.unwrap(),
        "it is no error if the rows are deleted already"
    );
    assert!(store.forget_published(&[], &[]).await.unwrap());
    assert_eq!(look(db).await.changed_facilities, []);
}

pub async fn an_outbox_that_grows_keeps_the_last_version_of_each_day(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let (bank, now_ms) = (bank(db, &north).await, now_ms(db).await);
    let (today, yesterday) = (key(&north, now_ms, 0), key(&north, now_ms, -1));
    for _ in 0..3 {
        stock(db, bank, "'O+'", 1, "NULL").await;
        request(db, &north, yesterday.day.start_ms).await;
        refresh(db, &[today.clone(), yesterday.clone()]).await;
    }
    let versions = async || {
        let outbox = look(db).await.outbox;
        outbox.into_iter().map(|(_, key, version)| (key, version)).collect::<Vec<_>>()
    };
    let before = versions().await;
    let last = |key: &DayKey| {
        before
            .iter()
            .filter(|(of, _)| of.date == key.day.date)
            .map(|(_, version)| *version)
            .max()
            .unwrap()
    };
    assert_eq!(before.len(), 6, "{before:?}");
    db.store().compact_outbox().await.unwrap();
    let (mut left, mut wanted) =
        (versions().await, [&today, &yesterday].map(|key| (key.id(), last(key))));
    left.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(left, wanted);
}

pub async fn a_missing_row_of_the_fleet_is_named_with_its_remedy(db: &dyn TestDb) {
    let before = look(db).await.epoch;
    db.plain("DELETE FROM fleet").await;
    for error in [
        db.store().drain_snapshot(1).await.unwrap_err(),
        db.store().summaries(&[]).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("INSERT INTO fleet DEFAULT VALUES"), "{error}");
    }
    db.plain("INSERT INTO fleet DEFAULT VALUES").await;
    assert_ne!(look(db).await.epoch, before);
    assert!(db.store().begin_generation(0).await.is_ok());
}

pub async fn triggers_that_were_off_are_put_back_and_noted_once_with_a_mark_of_everything(
    db: &dyn TestDb,
) {
    assert!(look(db).await.triggers.are_trusted(), "{:?}", look(db).await.triggers);
    let (off, name, why) = match db.store().dialect() {
        "postgres" => {
            ("ALTER TABLE blood_banks DISABLE TRIGGER mark_delete", "mark_delete", "disabled")
        }
        _ => ("DROP TRIGGER blood_banks_mark_delete", "blood_banks_mark_delete", "missing"),
    };
    db.plain(off).await;
    let seen = look(db).await.triggers;
    assert_eq!(
        seen.off,
        [TriggerOff { table: "blood_banks".into(), trigger: name.into(), why: why.into() }]
    );
    assert_eq!(
        (
            db.store().restore_triggers().await.unwrap(),
            db.store().restore_triggers().await.unwrap()
        ),
        (true, false)
    );
    let seen = look(db).await;
    assert!(
        seen.triggers.off.is_empty() && !seen.triggers.are_trusted() && seen.marks.is_empty(),
        "{seen:?}"
    );
    let note = async |store: Arc<dyn Store>| {
        store.note_triggers(Some(&seen.triggers.fingerprint)).await.unwrap()
    };
    all_at_once(16, note, db).await;
    let seen = look(db).await;
    assert!(seen.triggers.are_trusted(), "{:?}", seen.triggers);
    let marks: Vec<_> =
        seen.marks.iter().map(|mark| (mark.kind, mark.facility_id, mark.span)).collect();
    assert_eq!(marks, [(MarkKind::Facility, None, None)]);
    let north = facility(db, "UTC").await;
    let bank = bank(db, &north).await;
    clear_marks(db).await;
    db.plain(&format!("DELETE FROM blood_banks WHERE id = {}", db.id(bank))).await;
    assert!(is_marked(db, MarkKind::Stock, &north).await, "the trigger works again");
}
