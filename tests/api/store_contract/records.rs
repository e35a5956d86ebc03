//! Entities as ingest loads, writes and removes them, and the lists that the service reads at its
//! start.

use std::collections::HashMap;

use facility_summary::{
    domain::{
        blood_type::BloodType,
        event::{Entity, EntityKind, Record},
    },
    store::{FacilityRow, JobRun, Put, Removal, Span, StoreError},
};
use uuid::Uuid;

use super::{
    TestDb,
    setup::{DAY_MS, bank, begin, delivery, facility, key, now_ms, refresh, request, stock},
};

fn put(entity: Entity) -> Put {
    Put { id: Uuid::new_v4(), event_time_ms: 1_700_000_000_123, entity, is_new: true }
}

async fn load(db: &dyn TestDb, kind: EntityKind, id: Uuid) -> Option<Record> {
    let mut transaction = begin(db).await;
    let mut found: HashMap<Uuid, Record> =
        transaction.load(kind, &[id, Uuid::new_v4()]).await.unwrap();
    transaction.commit().await.unwrap();
    let record = found.remove(&id);
    assert!(found.is_empty());
    record
}

async fn write(db: &dyn TestDb, put: &Put) {
    let mut transaction = begin(db).await;
    transaction.put(put.entity.kind(), std::slice::from_ref(put)).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn remove(db: &dyn TestDb, kind: EntityKind, id: Uuid, event_time_ms: i64) {
    let mut transaction = begin(db).await;
    transaction.remove(kind, &[Removal { id, event_time_ms, last_counted: None }]).await.unwrap();
    transaction.commit().await.unwrap();
}

pub async fn every_kind_comes_back_as_it_was_put(db: &dyn TestDb) {
    let north = put(Entity::Facility {
        name: "North \"O'Neil\" \u{a0}żółć".into(),
        timezone: "Europe/Warsaw".into(),
    });
    let bank = put(Entity::BloodBank { facility_id: north.id, name: String::new() });
    let (some, none) = (Some(BloodType::AbNegative), None);
    let of = |blood_type: Option<BloodType>, at_ms: Option<i64>| {
        [
            put(Entity::Inventory {
                blood_bank_id: bank.id,
                blood_type,
                expires_at_ms: at_ms,
                quantity: i32::MAX,
            }),
            put(Entity::Distribution {
                blood_type,
                date_delivered_ms: at_ms,
                dispatched_to_id: north.id,
                quantity: 1,
            }),
            put(Entity::Request {
                blood_type,
                created_at_ms: 1_700_000_000_001,
                facility_id: north.id,
                quantity: at_ms.map(|_| 7),
            }),
        ]
    };
    let all: Vec<Put> = [north.clone(), bank.clone()]
        .into_iter()
        .chain(of(some, Some(1_800_000_000_999)))
        .chain(of(none, None))
        .collect();
    for row in &all {
        write(db, row).await;
    }
    for row in &all {
        let found = load(db, row.entity.kind(), row.id).await;
        assert_eq!(
            found,
            Some(Record { event_time_ms: row.event_time_ms, entity: Some(row.entity.clone()) })
        );
    }
    let mut changed = all[2].clone();
    changed.entity = Entity::Inventory {
        blood_bank_id: bank.id,
        blood_type: none,
        expires_at_ms: None,
        quantity: 0,
    };
    (changed.event_time_ms, changed.is_new) = (changed.event_time_ms + 1, false);
    write(db, &changed).await;
    let found = load(db, EntityKind::Inventory, changed.id).await;
    assert_eq!(
        found,
        Some(Record { event_time_ms: changed.event_time_ms, entity: Some(changed.entity.clone()) })
    );

    let mut transaction = begin(db).await;
    assert_eq!(
        transaction.bank_facilities(&[bank.id, Uuid::new_v4()]).await.unwrap(),
        [(bank.id, north.id)].into()
    );
}

pub async fn a_removed_row_leaves_a_tombstone_and_a_put_deletes_it(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let asked = put(Entity::Request {
        blood_type: None,
        created_at_ms: 1,
        facility_id: north.id,
        quantity: None,
    });
    write(db, &asked).await;
    for event_time_ms in [5, 6] {
        remove(db, EntityKind::Request, asked.id, event_time_ms).await;
        assert_eq!(
            load(db, EntityKind::Request, asked.id).await,
            Some(Record { event_time_ms, entity: None })
        );
        assert_eq!(
            load(db, EntityKind::Inventory, asked.id).await,
            None,
            "a tombstone counts only for entities of its kind"
        );
    }
    assert_eq!(db.number("SELECT count(*) FROM blood_requests").await, 0);
    write(db, &asked).await;
    assert_eq!(db.number("SELECT count(*) FROM tombstones").await, 0);
    assert_eq!(load(db, EntityKind::Request, asked.id).await.unwrap().entity, Some(asked.entity));
}

pub async fn a_row_wins_over_its_tombstone(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let bank = bank(db, &north).await;
    let unit = stock(db, bank, "'O+'", 4, "NULL").await;
    db.plain(&format!(
        "INSERT INTO tombstones (kind, id, event_time) VALUES ('inventory', {}, {})",
        db.id(unit),
        db.at(9)
    ))
    .await;
    let found = load(db, EntityKind::Inventory, unit).await.unwrap();
    let entity = Entity::Inventory {
        blood_bank_id: bank,
        blood_type: Some(BloodType::OPositive),
        expires_at_ms: None,
        quantity: 4,
    };
    assert_eq!(found.entity, Some(entity));
}

pub async fn a_new_row_that_is_there_already_is_a_conflict(db: &dyn TestDb) {
    let north = facility(db, "UTC").await;
    let bank = bank(db, &north).await;
    let unit = stock(db, bank, "'O+'", 4, "NULL").await;
    let entity = Entity::Inventory {
        blood_bank_id: bank,
        blood_type: None,
        expires_at_ms: None,
        quantity: 1,
    };
    let clash = Put { id: unit, ..put(entity.clone()) };
    let mut transaction = begin(db).await;
    let error = transaction.put(EntityKind::Inventory, &[put(entity), clash]).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict), "{error}");
    drop(transaction);
    begin(db).await.commit().await.unwrap();
    assert_eq!(db.number("SELECT sum(quantity) FROM blood_inventory").await, 4);
}

pub async fn a_reference_to_nothing_is_refused(db: &dyn TestDb) {
    let lost = put(Entity::BloodBank { facility_id: Uuid::new_v4(), name: String::new() });
    let mut transaction = begin(db).await;
    let error = transaction.put(EntityKind::BloodBank, &[lost]).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
}

pub async fn directory_dates_and_activity_are_listed(db: &dyn TestDb) {
    let (north, south) = (facility(db, "Asia/Kathmandu").await, facility(db, "UTC").await);
    let store = db.store();
    let row = FacilityRow::new(north.id, "North".into(), "Asia/Kathmandu".into());
    assert_eq!(
        store.facilities(Some(&[north.id, Uuid::new_v4()])).await.unwrap().rows,
        std::slice::from_ref(&row)
    );
    assert_eq!(store.facilities(Some(&[])).await.unwrap().rows, []);
    let mut all: Vec<Uuid> =
        store.facilities(None).await.unwrap().rows.iter().map(|f| f.id).collect();
    let mut wanted = vec![north.id, south.id];
    all.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(all, wanted);

    let now_ms = now_ms(db).await;
    let keys = [key(&north, now_ms, 0), key(&south, now_ms, 0)];
    refresh(db, &keys).await;
    assert_eq!(store.stored_dates(&[south.id]).await.unwrap(), [keys[1].id()]);

    let first_ms = 1_700_000_000_000 / DAY_MS * DAY_MS;
    for at_ms in [first_ms, first_ms + 5, first_ms + 3 * DAY_MS] {
        delivery(db, &north, 1, at_ms).await;
        delivery(db, &south, 1, at_ms).await;
    }
    request(db, &north, first_ms + DAY_MS - 1).await;
    let mut spans = store.activity(&[north.id]).await.unwrap();
    spans.sort_by_key(|span| span.first_ms);
    let span = |first_ms, last_ms| Span { facility_id: north.id, first_ms, last_ms };
    assert_eq!(
        spans,
        [span(first_ms, first_ms + DAY_MS - 1), span(first_ms + 3 * DAY_MS, first_ms + 3 * DAY_MS)]
    );
}

pub async fn pruning_deletes_old_tombstones_and_finished_runs_only(db: &dyn TestDb) {
    let (old, young) = (Uuid::new_v4(), Uuid::new_v4());
    remove(db, EntityKind::Request, old, 999).await;
    remove(db, EntityKind::Request, young, 1_000).await;
    let store = db.store();
    let runs = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    for (tick_ms, run) in runs.into_iter().enumerate() {
        assert!(store.enqueue_run(run, "rebuild", tick_ms as i64).await.unwrap());
    }
    let [ended, waiting, latest] = runs;
    for run in [ended, latest] {
        let done = JobRun { state: "done".into(), ..store.job_run(run).await.unwrap().unwrap() };
        assert!(store.update_run(&done).await.unwrap());
    }
    let started_at_ms = store.job_run(ended).await.unwrap().unwrap().started_at_ms;
    store.prune(1_000, started_at_ms).await.unwrap();
    assert!(store.job_run(ended).await.unwrap().is_some(), "a recent run stays");
    store.prune(1_000, i64::from(i32::MAX) * 1_000).await.unwrap();
    assert_eq!(load(db, EntityKind::Request, old).await, None);
    assert!(load(db, EntityKind::Request, young).await.is_some());
    assert!(store.job_run(ended).await.unwrap().is_none());
    assert!(store.job_run(waiting).await.unwrap().is_some());
    assert!(
        store.job_run(latest).await.unwrap().is_some(),
        "the latest tick stays: without it, that tick would run again"
    );
}
