//! What a source row contributes is defined once in the domain. Here random rows change, and the
//! stored rows with the differences added are compared with the aggregate over the sources.

use std::collections::{HashMap, HashSet};

use facility_summary::{
    domain::{
        blood_type::BloodType,
        difference::{Contribution, Differences},
        event::{Entity, EntityKind},
        summary::{DayKey, Key},
    },
    store::{Derived, Put, Removal, StoredDay, Transaction},
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use uuid::Uuid;

use super::{
    TestDb,
    setup::{DAY_MS, HOUR_MS, bank, begin, clear_marks, facility, key, now_ms, refresh},
};

const ZONES: [&str; 4] = ["UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati"];
const KINDS: [EntityKind; 3] =
    [EntityKind::Inventory, EntityKind::Distribution, EntityKind::Request];
/// Few ids of each kind, so that rows change often.
const IDS: u128 = 30;

struct World {
    keys: Vec<DayKey>,
    /// Banks, each with its facility.
    banks: Vec<(Uuid, Uuid)>,
    now_ms: i64,
}

impl World {
    async fn new(db: &dyn TestDb) -> World {
        let now_ms = now_ms(db).await;
        let (mut keys, mut banks) = (Vec::new(), Vec::new());
        for zone in ZONES {
            let facility = facility(db, zone).await;
            for _ in 0..2 {
                banks.push((bank(db, &facility).await, facility.id));
            }
            keys.extend((-3..=0).map(|days| key(&facility, now_ms, days)));
        }
        World { keys, banks, now_ms }
    }

    fn entity(&self, kind: EntityKind, random: &mut Pcg64Mcg) -> Entity {
        let (blood_bank_id, facility) = self.banks[random.random_range(0..self.banks.len())];
        let blood_type = BloodType::NAMED.get(random.random_range(0..10)).copied();
        let quantity = random.random_range(0..20);
        let day = &self.keys[random.random_range(0..self.keys.len())].day;
        // Also just inside and outside of a day.
        let at_ms = [
            day.start_ms - 1,
            day.start_ms,
            day.end_ms - 1,
            day.start_ms + random.random_range(0..DAY_MS),
        ][random.random_range(0..4)];
        match kind {
            EntityKind::Inventory => {
                let hours = random.random_range(-20..200);
                let expires_at_ms = random.random_bool(0.7).then(|| self.now_ms + hours * HOUR_MS);
                Entity::Inventory { blood_bank_id, blood_type, expires_at_ms, quantity }
            }
            EntityKind::Distribution => Entity::Distribution {
                blood_type,
                date_delivered_ms: random.random_bool(0.8).then_some(at_ms),
                dispatched_to_id: facility,
                quantity: quantity + 1,
            },
            _ => Entity::Request {
                blood_type,
                created_at_ms: at_ms,
                facility_id: facility,
                quantity: random.random_bool(0.5).then_some(quantity),
            },
        }
    }

    fn contribution(&self, entity: &Entity) -> Option<Contribution> {
        let of = |bank| self.banks.iter().find(|(id, _)| *id == bank).map(|(_, of)| *of);
        Contribution::of(entity, of)
    }

    /// Changes some rows, as an event's transaction would, and answers the differences.
    async fn change(&self, tx: &mut dyn Transaction, random: &mut Pcg64Mcg) -> Differences {
        let mut differences = Differences::default();
        for kind in KINDS {
            let mut ids: Vec<Uuid> = (0..random.random_range(1..8))
                .map(|_| Uuid::from_u128(1 + random.random_range(0..IDS) + ((kind as u128) << 64)))
                .collect();
            ids.sort_unstable();
            ids.dedup();
            tx.reserve(&ids, &ids).await.unwrap();
            let before = tx.load(kind, &ids).await.unwrap();
            let (mut put, mut removed) = (Vec::new(), Vec::new());
            for id in ids {
                let was = before.get(&id).and_then(|record| record.entity.as_ref());
                let is =
                    (was.is_none() || random.random_bool(0.8)).then(|| self.entity(kind, random));
                differences.change(
                    was.and_then(|entity| self.contribution(entity)),
                    is.as_ref().and_then(|entity| self.contribution(entity)),
                );
                match is {
                    Some(entity) => put.push(Put {
                        id,
                        event_time_ms: self.now_ms,
                        entity,
                        is_new: was.is_none(),
                    }),
                    None => {
                        removed.push(Removal { id, event_time_ms: self.now_ms, last_counted: None })
                    }
                }
            }
            if !put.is_empty() {
                tx.put(kind, &put).await.unwrap();
            }
            if !removed.is_empty() {
                tx.remove(kind, &removed).await.unwrap();
            }
        }
        differences
    }
}

pub async fn a_sum_of_differences_is_what_the_aggregate_gives(db: &dyn TestDb) {
    let mut random = Pcg64Mcg::seed_from_u64(20_261_126);
    let world = World::new(db).await;
    refresh(db, &world.keys).await;
    clear_marks(db).await;
    let mut added = 0;
    for round in 0..40 {
        let mut tx = begin(db).await;
        let differences = world.change(&mut *tx, &mut random).await;
        let mut ids: Vec<Uuid> = world.banks.iter().map(|(_, facility)| *facility).collect();
        ids.sort_unstable();
        ids.dedup();
        tx.lock(&ids).await.unwrap();
        let found = tx.stored_days(&world.keys).await.unwrap();
        assert_eq!(found.doubt, None);
        let stored: HashMap<Key, StoredDay> =
            found.days.into_iter().map(|day| (day.row.key(), day)).collect();
        let (mut rows, mut sums) = (Vec::new(), HashSet::new());
        for Derived { row, .. } in tx.derive(&world.keys).await.unwrap() {
            let day = world.keys.iter().find(|key| key.id() == row.key()).unwrap().day;
            if let Some(stored) = stored.get(&row.key()) {
                assert!(!stored.is_marked);
                let sum = differences.add_to(&stored.row, &day, found.now_ms).unwrap();
                let figures = |s: &facility_summary::domain::summary::Summary| {
                    let totals = (s.total_stock, s.total_transferred, s.total_requests);
                    (totals, s.by_blood_type.clone())
                };
                assert_eq!(figures(&sum.summary), figures(&row.summary), "round {round}");
                let until = |ms: Option<i64>| ms.unwrap_or(i64::MAX);
                assert!(until(sum.next_expires_at_ms) <= until(row.next_expires_at_ms));
                added += 1;
                // The next round adds to the sum, so that an expiry may stay too early.
                let mut kept = sum;
                kept.as_of_ms = found.as_of_ms;
                sums.insert(kept.key());
                rows.push(kept);
            } else {
                rows.push(row);
            }
        }
        rows.iter_mut().for_each(|row| {
            row.summary.version += 1;
            row.summary.updated_at = Some(row.as_of_ms);
        });
        tx.write(&rows, &sums).await.unwrap();
        let wrong = tx.audit(&world.keys).await.unwrap();
        assert!(wrong.iter().all(|d| !d.figures_differ && !d.expires_too_late), "{wrong:?}");
        tx.commit().await.unwrap();
    }
    assert!(added > 300, "only {added} days had a row");
}

pub async fn a_row_says_whether_it_was_derived_last(db: &dyn TestDb) {
    let facility = facility(db, "UTC").await;
    let keys = [key(&facility, now_ms(db).await, 0)];
    let mut rows = refresh(db, &keys).await;
    let tamper = "UPDATE dashboard_daily_summary SET total_requests = total_requests + 1";
    for by_difference in [false, true, false] {
        rows[0].as_of_ms += 1;
        let written = keys.iter().filter(|_| by_difference).map(DayKey::id).collect();
        let mut tx = begin(db).await;
        tx.lock(&[facility.id]).await.unwrap();
        tx.write(&rows, &written).await.unwrap();
        tx.commit().await.unwrap();
        db.plain(tamper).await;
        let found = db.store().audit(&keys).await.unwrap();
        assert_eq!(found[0].by_difference, by_difference);
        // A release that does not know of differences changes the instant.
        let later = db.at(rows[0].as_of_ms + 7);
        db.plain(&format!("UPDATE dashboard_daily_summary SET as_of = {later}")).await;
        assert!(!db.store().audit(&keys).await.unwrap()[0].by_difference);
    }
}
