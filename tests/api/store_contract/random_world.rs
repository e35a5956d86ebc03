//! Compares the refresh with a very simple recomputation, over random rows of all kinds at once.

use std::{collections::BTreeMap, sync::Arc};

use facility_summary::domain::{
    blood_type::BloodType,
    facility::Facility,
    summary::{DayKey, Figures},
};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use uuid::Uuid;

use super::{
    TestDb,
    setup::{DAY_MS, HOUR_MS, derive, facility, key, now_ms, refresh},
};

const ZONES: [&str; 5] =
    ["UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati", "Australia/Lord_Howe"];

/// A source row as the recomputation sees it; `at_ms` is its expiry, its delivery or its creation.
struct Fact {
    facility: Uuid,
    blood_type: Option<BloodType>,
    quantity: i64,
    at_ms: Option<i64>,
}

#[derive(Default)]
struct World {
    units: Vec<Fact>,
    deliveries: Vec<Fact>,
    requests: Vec<Fact>,
}

impl World {
    /// The figures of a day and when they expire, without a stored row.
    fn figures(&self, key: &DayKey, now_ms: i64) -> (BTreeMap<BloodType, Figures>, Option<i64>) {
        let (today, facility) = (key.day.contains(now_ms), key.facility.id);
        let here = |facts: &[Fact],
                    counts: &dyn Fn(&Fact) -> bool,
                    blood_type|
         -> Vec<(i64, Option<i64>)> {
            let of_type = |f: &&Fact| {
                f.facility == facility
                    && f.blood_type.unwrap_or(BloodType::Unknown) == blood_type
                    && counts(f)
            };
            facts.iter().filter(of_type).map(|f| (f.quantity, f.at_ms)).collect()
        };
        let unexpired = |f: &Fact| today && f.at_ms.is_none_or(|at_ms| at_ms > now_ms);
        let in_day = |f: &Fact| {
            f.at_ms.is_some_and(|at_ms| key.day.start_ms <= at_ms && at_ms < key.day.end_ms)
        };
        let mut types = BTreeMap::new();
        let mut expiries = Vec::new();
        for t in BloodType::NAMED.into_iter().chain([BloodType::Unknown]) {
            let units = here(&self.units, &unexpired, t);
            expiries.extend(
                units.iter().filter(|(quantity, _)| *quantity > 0).filter_map(|(_, at_ms)| *at_ms),
            );
            let stock: i64 = units.iter().map(|(quantity, _)| quantity).sum();
            let transferred =
                here(&self.deliveries, &in_day, t).iter().map(|(quantity, _)| quantity).sum();
            let requests = here(&self.requests, &in_day, t).len() as i64;
            if (stock, transferred, requests) != (0, 0, 0) {
                types.insert(t, Figures { stock: today.then_some(stock), transferred, requests });
            }
        }
        (types, expiries.into_iter().min())
    }
}

pub async fn figures_equal_a_naive_recomputation_and_stay_equal(db: &dyn TestDb) {
    for seed in 1..=3 {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let now_ms = now_ms(db).await;
        let mut facilities = Vec::new();
        for zone in ZONES {
            facilities.push(facility(db, zone).await);
        }
        let world = populate(db, &mut random, &facilities, now_ms).await;
        let keys: Vec<DayKey> =
            facilities.iter().flat_map(|f| (-3..=1).map(|days| key(f, now_ms, days))).collect();

        let derived = derive(db, &keys).await;
        assert_eq!(derived.len(), ZONES.len() * 4, "every day except tomorrow is derived");
        for day in derived {
            let row = &day.row;
            let key = keys.iter().find(|key| key.id() == row.key()).unwrap();
            let (types, next_expires_at_ms) = world.figures(key, row.as_of_ms);
            let zone = &key.facility.zone.name;
            assert_eq!(
                row.summary.by_blood_type, types,
                "seed {seed}, {zone}, {}",
                row.summary.date
            );
            assert_eq!(row.next_expires_at_ms, next_expires_at_ms, "seed {seed}, {zone}");
            assert_eq!(
                row.summary.total_stock,
                day.is_today.then(|| types.values().filter_map(|f| f.stock).sum())
            );
            assert_eq!(
                row.summary.total_transferred,
                types.values().map(|f| f.transferred).sum::<i64>()
            );
            assert_eq!(row.summary.total_requests, types.values().map(|f| f.requests).sum::<i64>());
        }
        assert!(!refresh(db, &keys).await.is_empty());
        assert!(
            derive(db, &keys).await.iter().all(|day| !day.write_needed),
            "a rebuild over unchanged sources writes nothing"
        );
        assert!(db.store().audit(&keys).await.unwrap().is_empty());
    }
}

/// Stores a few hundred rows. Some of their instants are exactly at the bounds of days.
async fn populate(
    db: &dyn TestDb,
    random: &mut Pcg64Mcg,
    facilities: &[Arc<Facility>],
    now_ms: i64,
) -> World {
    let mut world = World::default();
    let mut sql = String::new();
    for facility in facilities {
        sql += &add_banks(db, random, facility.id, now_ms, &mut world);
        sql += &add_activity(db, random, facility, now_ms, &mut world);
    }
    db.plain(&format!("BEGIN;\n{sql}COMMIT")).await;
    world
}

/// Adds banks with units to the world, and returns the statements that store them.
fn add_banks(
    db: &dyn TestDb,
    random: &mut Pcg64Mcg,
    facility: Uuid,
    now_ms: i64,
    world: &mut World,
) -> String {
    let (mut sql, owner) = (String::new(), db.id(facility));
    for _ in 0..random.random_range(1..4) {
        let bank = db.id(id(random));
        sql += &format!("INSERT INTO blood_banks (id, facility_id) VALUES ({bank}, {owner});\n");
        for _ in 0..random.random_range(0..40) {
            let hours = random.random_range(-30..30i64);
            let at_ms = random
                .random_bool(0.7)
                .then_some(now_ms + hours * HOUR_MS + if hours >= 0 { HOUR_MS } else { 0 });
            let fact = Fact {
                facility,
                blood_type: blood_type(random),
                quantity: random.random_range(0..6),
                at_ms,
            };
            sql += &format!(
                "INSERT INTO blood_inventory (id, blood_bank_id, blood_type, quantity, expires_at)
                 VALUES ({}, {bank}, {}, {}, {});\n",
                db.id(id(random)),
                sql_type(fact.blood_type),
                fact.quantity,
                sql_instant(db, fact.at_ms)
            );
            world.units.push(fact);
        }
    }
    sql
}

/// Adds deliveries and requests to the world, and returns the statements that store them.
fn add_activity(
    db: &dyn TestDb,
    random: &mut Pcg64Mcg,
    facility: &Arc<Facility>,
    now_ms: i64,
    world: &mut World,
) -> String {
    let (mut sql, owner) = (String::new(), db.id(facility.id));
    for i in 0..60 {
        let day = key(facility, now_ms, random.random_range(-4..=1)).day;
        let at_ms = [
            day.start_ms,
            day.end_ms - 1,
            day.end_ms,
            day.start_ms + random.random_range(0..DAY_MS / 2),
        ][i % 4];
        let delivered = (i % 7 != 0).then_some(at_ms);
        let sent = Fact {
            facility: facility.id,
            blood_type: blood_type(random),
            quantity: random.random_range(1..9),
            at_ms: delivered,
        };
        let asked = Fact {
            facility: facility.id,
            blood_type: blood_type(random),
            quantity: 1,
            at_ms: Some(at_ms),
        };
        let (sent_id, asked_id) = (db.id(id(random)), db.id(id(random)));
        let (sent_type, asked_type) = (sql_type(sent.blood_type), sql_type(asked.blood_type));
        sql += &format!(
            "INSERT INTO blood_distributions
                (id, dispatched_to_id, blood_type, quantity, date_delivered)
             VALUES ({sent_id}, {owner}, {sent_type}, {}, {});
             INSERT INTO blood_requests (id, facility_id, blood_type, created_at)
             VALUES ({asked_id}, {owner}, {asked_type}, {});\n",
            sent.quantity,
            sql_instant(db, sent.at_ms),
            db.at(at_ms)
        );
        world.deliveries.push(sent);
        world.requests.push(asked);
    }
    sql
}

fn sql_type(blood_type: Option<BloodType>) -> String {
    blood_type.map_or("NULL".to_owned(), |named| format!("'{}'", named.as_str()))
}

fn sql_instant(db: &dyn TestDb, at_ms: Option<i64>) -> String {
    at_ms.map_or("NULL".to_owned(), |at_ms| db.at(at_ms))
}

fn blood_type(random: &mut Pcg64Mcg) -> Option<BloodType> {
    BloodType::NAMED.get(random.random_range(0..10)).copied()
}

fn id(random: &mut Pcg64Mcg) -> Uuid {
    let mut bytes = [0; 16];
    random.fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
