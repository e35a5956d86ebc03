//! Tests of `demo_data.rs`.

use std::collections::HashSet;

use super::*;

#[test]
fn a_demo_opens_with_references_before_those_who_refer() {
    let mut known = HashSet::new();
    for facility in demo_facilities(1) {
        for event in facility.opening(5).chain(facility.history()) {
            let Event::Statement(statement) = event else { panic!("a statement") };
            assert!(known.insert(statement.id), "each id once");
            let refers_to = match statement.record.entity.unwrap() {
                Entity::Facility { .. } => continue,
                Entity::BloodBank { facility_id: id, .. }
                | Entity::Request { facility_id: id, .. } => id,
                Entity::Inventory { blood_bank_id: id, .. }
                | Entity::Distribution { dispatched_to_id: id, .. } => id,
            };
            assert!(known.contains(&refers_to));
        }
    }
}

#[test]
fn events_are_of_every_kind_mint_no_id_twice_and_name_known_facilities() {
    let mut demo = Demo::new(1);
    let known: HashSet<Uuid> = demo.facilities().map(|facility| facility.id).collect();
    assert_eq!(known.len(), 25);
    let (mut kinds, mut requests) = (HashMap::<&str, u32>::new(), HashSet::new());
    for n in 0..20_000 {
        let event = demo.next_event(1_800_000_000_000 + n * 150);
        *kinds.entry(event.type_name()).or_default() += 1;
        let Event::Statement(statement) = event else { panic!("a statement") };
        match statement.record.entity.unwrap() {
            Entity::Request { facility_id, .. } => {
                assert!(known.contains(&facility_id) && requests.insert(statement.id))
            }
            Entity::Distribution { dispatched_to_id, .. } => {
                assert!(known.contains(&dispatched_to_id))
            }
            Entity::Inventory { quantity, .. } => assert!((0..=12).contains(&quantity)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(kinds.len(), 3);
    assert!((9_000..11_000).contains(&kinds["inventory.set"]), "{kinds:?}");
}

#[test]
fn a_restart_goes_on_with_the_stock_as_it_was_left() {
    let mut demo = Demo::new(1);
    let mut left = HashMap::new();
    for n in 0..500 {
        if let Event::Statement(statement) = demo.next_event(1_800_000_000_000 + n * 150) {
            left.insert(statement.id, statement.record);
        }
    }
    let stock = |demo: &Demo| -> Vec<(i32, i64)> {
        demo.facilities
            .iter()
            .flat_map(|f| &f.lots)
            .map(|lot| (lot.quantity, lot.expires_at_ms))
            .collect()
    };
    let mut again = Demo::new(1);
    assert_ne!(stock(&again), stock(&demo));
    again.resume(&left);
    assert_eq!(stock(&again), stock(&demo));
}

#[test]
fn pauses_keep_the_rate_on_average() {
    let mut demo = Demo::new(2);
    let total: Duration = (0..10_000).map(|_| demo.next_pause(50.0)).sum();
    assert!((180.0..220.0).contains(&total.as_secs_f64()), "{total:?}");
}
