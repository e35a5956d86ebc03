//! Steps that the cases share.

use std::{sync::Arc, time::Duration};

use facility_summary::{
    domain::{
        day::Day,
        facility::{Facility, Zone},
        summary::{DayKey, SummaryRow},
    },
    store::{Derived, Mark, MarkKind, Transaction},
};
use jiff::civil::Date;
use uuid::Uuid;

use super::TestDb;

pub const HOUR_MS: i64 = 3_600_000;
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// Registers a facility as another program would.
pub async fn facility(db: &dyn TestDb, zone: &str) -> Arc<Facility> {
    let id = Uuid::new_v4();
    db.plain(&format!(
        "INSERT INTO facilities (id, name, timezone) VALUES ({}, 'North', '{zone}')",
        db.id(id)
    ))
    .await;
    let zone = Arc::new(Zone::named(zone).unwrap());
    Arc::new(Facility { id, name: "North".into(), zone, key: None })
}

pub async fn bank(db: &dyn TestDb, facility: &Facility) -> Uuid {
    let id = Uuid::new_v4();
    db.plain(&format!(
        "INSERT INTO blood_banks (id, facility_id) VALUES ({}, {})",
        db.id(id),
        db.id(facility.id)
    ))
    .await;
    id
}

/// Units in a bank; `blood_type` and `expires_at` are SQL expressions.
pub async fn stock(
    db: &dyn TestDb,
    bank: Uuid,
    blood_type: &str,
    quantity: i32,
    expires_at: &str,
) -> Uuid {
    let id = Uuid::new_v4();
    let (row, bank) = (db.id(id), db.id(bank));
    db.plain(&format!(
        "INSERT INTO blood_inventory (id, blood_bank_id, blood_type, quantity, expires_at) VALUES \
         ({row}, {bank}, {blood_type}, {quantity}, {expires_at})"
    ))
    .await;
    id
}

pub async fn delivery(db: &dyn TestDb, facility: &Facility, quantity: i32, at_ms: i64) -> Uuid {
    let id = Uuid::new_v4();
    let (row, to, at) = (db.id(id), db.id(facility.id), db.at(at_ms));
    db.plain(&format!(
        "INSERT INTO blood_distributions (id, dispatched_to_id, blood_type, quantity, \
         date_delivered) VALUES ({row}, {to}, 'O+', {quantity}, {at})"
    ))
    .await;
    id
}

pub async fn request(db: &dyn TestDb, facility: &Facility, at_ms: i64) -> Uuid {
    let id = Uuid::new_v4();
    let (row, by, at) = (db.id(id), db.id(facility.id), db.at(at_ms));
    db.plain(&format!(
        "INSERT INTO blood_requests (id, facility_id, blood_type, created_at) VALUES ({row}, \
         {by}, 'A-', {at})"
    ))
    .await;
    id
}

/// Stores a summary row of version 3, as another program would.
pub async fn stored(
    db: &dyn TestDb,
    facility: &Facility,
    date: Date,
    stock: &str,
    by_blood_type: &str,
) {
    let (id, at) = (db.id(facility.id), db.at(1_000));
    db.plain(&format!(
        "INSERT INTO dashboard_daily_summary
            (facility_id, date, total_stock, total_transferred, total_requests, by_blood_type, \
         as_of, updated_at, version)
         VALUES ({id}, '{date}', {stock}, 0, 0, '{by_blood_type}', {at}, {at}, 3)"
    ))
    .await;
}

pub async fn now_ms(db: &dyn TestDb) -> i64 {
    db.store().now_ms().await.unwrap()
}

/// The facility's day that is so many days from today.
pub fn key(facility: &Arc<Facility>, now_ms: i64, days: i64) -> DayKey {
    let mut day = facility.zone.today(now_ms);
    for _ in 0..days.abs() {
        day = Day::containing(
            &facility.zone.tz,
            if days < 0 { day.start_ms - 1 } else { day.end_ms },
        );
    }
    DayKey { facility: facility.clone(), day }
}

pub async fn begin(db: &dyn TestDb) -> Box<dyn Transaction> {
    db.store().begin(Duration::from_secs(5)).await.unwrap()
}

pub async fn derive(db: &dyn TestDb, keys: &[DayKey]) -> Vec<Derived> {
    let mut transaction = begin(db).await;
    transaction.lock(&facilities(keys)).await.unwrap();
    let derived = transaction.derive(keys).await.unwrap();
    transaction.commit().await.unwrap();
    derived
}

pub async fn derive_one(db: &dyn TestDb, key: &DayKey) -> Derived {
    let mut derived = derive(db, std::slice::from_ref(key)).await;
    assert_eq!(derived.len(), 1);
    derived.remove(0)
}

/// Refreshes these days as the service would, and returns the rows that were written.
pub async fn refresh(db: &dyn TestDb, keys: &[DayKey]) -> Vec<SummaryRow> {
    let mut transaction = begin(db).await;
    let mut states = transaction.lock(&facilities(keys)).await.unwrap();
    let mut rows = Vec::new();
    for Derived { mut row, figures_differ, write_needed, .. } in
        transaction.derive(keys).await.unwrap()
    {
        if figures_differ {
            let state = states.get_mut(&row.summary.facility_id).unwrap();
            state.version += 1;
            row.summary.version = state.version;
            row.summary.updated_at = Some(row.as_of_ms);
        }
        if write_needed {
            rows.push(row);
        }
    }
    transaction.write(&rows, &Default::default()).await.unwrap();
    transaction.commit().await.unwrap();
    rows
}

pub async fn marks(db: &dyn TestDb) -> Vec<Mark> {
    db.store().drain_snapshot(1_000_000).await.unwrap().marks
}

/// Takes all marks, so that only later writes leave marks.
pub async fn clear_marks(db: &dyn TestDb) {
    let ids: Vec<i64> = marks(db).await.iter().map(|mark| mark.id).collect();
    let mut transaction = begin(db).await;
    transaction.take_marks(&ids).await.unwrap();
    transaction.commit().await.unwrap();
}

/// Whether there is a mark of this kind for the facility.
pub async fn is_marked(db: &dyn TestDb, kind: MarkKind, facility: &Facility) -> bool {
    marks(db).await.iter().any(|mark| mark.kind == kind && mark.facility_id == Some(facility.id))
}

/// Whether a mark covers activity of the facility at that instant.
pub async fn is_active_at(db: &dyn TestDb, facility: &Facility, at_ms: i64) -> bool {
    marks(db).await.iter().any(|mark| {
        mark.kind == MarkKind::Activity
            && mark.facility_id == Some(facility.id)
            && mark.span.is_none_or(|(first_ms, last_ms)| first_ms <= at_ms && at_ms <= last_ms)
    })
}

fn facilities(keys: &[DayKey]) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = keys.iter().map(|key| key.facility.id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
