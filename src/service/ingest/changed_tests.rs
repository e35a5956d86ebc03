//! Tests of `changed.rs`.

use super::*;

const FACILITY: Uuid = Uuid::from_u128(1);

/// Whether the changes leave the facility's days to the aggregate.
fn is_unknown(changed: &Changed) -> bool {
    format!("{changed:?}").contains(&format!("unknown: {{{FACILITY}}}"))
}

fn of(before: Option<Entity>, now: Option<Entity>, banks: &[(Uuid, Uuid)]) -> Changed {
    let (kind, id) = (EntityKind::Inventory, Uuid::from_u128(9));
    let record = |event_time_ms, entity| Record { event_time_ms, entity };
    let loaded = before.map(|entity| ((kind, id), record(1, Some(entity)))).into_iter();
    let overlay = Overlay {
        records: [((kind, id), record(2, now))].into(),
        banks: banks.iter().copied().collect(),
        ..Overlay::default()
    };
    changed(&loaded.collect(), &overlay, [].iter())
}

#[test]
fn a_facility_whose_bank_changes_is_left_to_the_aggregate() {
    let bank = |n| Entity::BloodBank { facility_id: Uuid::from_u128(n), name: String::new() };
    assert!(is_unknown(&of(Some(bank(1)), Some(bank(1)), &[])), "renamed, or more");
    assert!(is_unknown(&of(None, Some(bank(1)), &[])));
}

#[test]
fn a_unit_that_comes_from_a_bank_that_is_not_there_is_left_to_the_aggregate() {
    let unit = |bank: u128| Entity::Inventory {
        blood_bank_id: Uuid::from_u128(bank),
        blood_type: None,
        expires_at_ms: None,
        quantity: 3,
    };
    let banks = [(Uuid::from_u128(2), FACILITY)];
    assert!(is_unknown(&of(Some(unit(3)), Some(unit(2)), &banks)));
    assert!(!is_unknown(&of(Some(unit(2)), Some(unit(2)), &banks)));
}
