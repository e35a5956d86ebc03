//! Tests of `fold.rs`.

use super::*;

const FACILITY: Uuid = Uuid::from_u128(1);
const BANK: Uuid = Uuid::from_u128(2);
const UNIT: Uuid = Uuid::from_u128(3);

fn said(kind: EntityKind, id: Uuid, event_time_ms: i64, entity: Option<Entity>) -> Event {
    Event::Statement(Statement { kind, id, record: Record { event_time_ms, entity } })
}

fn units(bank: Uuid, quantity: i32) -> Option<Entity> {
    Some(Entity::Inventory { blood_bank_id: bank, blood_type: None, expires_at_ms: None, quantity })
}

fn overlay() -> Overlay {
    let known = Record { event_time_ms: 1, entity: units(BANK, 1) };
    Overlay {
        records: [((EntityKind::Inventory, UNIT), known)].into(),
        banks: [(BANK, FACILITY)].into(),
        facilities: [FACILITY].into(),
        last_counted: HashMap::new(),
    }
}

#[test]
fn a_refused_request_leaves_everything_as_it_was_for_the_next_of_its_group() {
    let (mut changed, before) = (overlay(), overlay());
    let (new_facility, new_bank, new_unit, nobody) =
        (Uuid::from_u128(4), Uuid::from_u128(5), Uuid::from_u128(6), Uuid::from_u128(7));
    let registered = Entity::Facility { name: "New".into(), timezone: "UTC".into() };
    let request = [
        said(EntityKind::Facility, new_facility, 5, Some(registered)),
        said(
            EntityKind::BloodBank,
            new_bank,
            5,
            Some(Entity::BloodBank { facility_id: new_facility, name: String::new() }),
        ),
        // Two events each of a row that exists, and of one that does not.
        said(EntityKind::Inventory, UNIT, 2, units(new_bank, 2)),
        said(EntityKind::Inventory, UNIT, 3, None),
        said(EntityKind::Inventory, new_unit, 2, units(BANK, 2)),
        said(EntityKind::Inventory, new_unit, 3, units(BANK, 3)),
        said(EntityKind::Inventory, UNIT, 4, units(nobody, 4)),
    ];
    let faults = changed.fold(&request, &Visible::All).unwrap_err();
    let Refusal::Faulty(faults) = faults else { panic!("{faults:?}") };
    assert_eq!(
        faults.iter().map(|fault| (fault.index, fault.field)).collect::<Vec<_>>(),
        [(6, "blood_bank_id")]
    );
    assert_eq!(changed.records, before.records);
    assert_eq!((changed.banks, changed.facilities), (before.banks, before.facilities));
    assert_eq!(changed.last_counted, before.last_counted);
}

#[test]
fn without_its_fault_the_same_request_is_applied_whole() {
    let mut changed = overlay();
    let request = [
        said(EntityKind::Inventory, UNIT, 2, units(BANK, 2)),
        said(EntityKind::Inventory, UNIT, 4, units(BANK, 4)),
        said(EntityKind::Inventory, UNIT, 3, None),
    ];
    assert_eq!(changed.fold(&request, &Visible::All).unwrap().applied, [true, true, false]);
    assert_eq!(
        changed.records[&(EntityKind::Inventory, UNIT)],
        Record { event_time_ms: 4, entity: units(BANK, 4) }
    );
}

#[test]
fn only_events_that_name_a_facility_of_somebody_elses_are_refused_before_the_database_is_asked() {
    let own = Uuid::from_u128(1);
    let only = |ids: &[Uuid]| {
        Visible::Only(std::sync::Arc::new(crate::access::visible::VisibleIds {
            ids: ids.iter().copied().collect(),
            name: String::new(),
        }))
    };
    let other = Uuid::from_u128(9);
    let request = |facility_id| Entity::Request {
        facility_id,
        blood_type: None,
        created_at_ms: 0,
        quantity: None,
    };
    let delivery = |dispatched_to_id| Entity::Distribution {
        dispatched_to_id,
        blood_type: None,
        quantity: 1,
        date_delivered_ms: None,
    };
    let bank = |facility_id| Entity::BloodBank { facility_id, name: String::new() };
    let place = || Entity::Facility { name: String::new(), timezone: "UTC".into() };
    let id = Uuid::from_u128(20);
    let of = |facility| {
        [
            said(EntityKind::Facility, facility, 1, Some(place())),
            said(EntityKind::BloodBank, id, 1, Some(bank(facility))),
            said(EntityKind::Request, id, 1, Some(request(facility))),
            said(EntityKind::Distribution, id, 1, Some(delivery(facility))),
            Event::Touched { facility_id: facility, date: None },
        ]
    };
    let unnamed = [
        said(EntityKind::Inventory, id, 1, units(BANK, 1)),
        said(EntityKind::Request, id, 1, None),
    ];
    let events: Vec<Event> = of(own).into_iter().chain(unnamed).chain(of(other)).collect();
    assert_eq!(Overlay::named_outside(&events, &only(&[own])), [7, 8, 9, 10, 11]);
    assert_eq!(Overlay::named_outside(&events, &only(&[own, other])), [0; 0]);
    assert_eq!(Overlay::named_outside(&events, &Visible::All), [0; 0]);
    // The rule beside the stored rows does not rest on that one.
    for event in of(other) {
        let refused = overlay().fold(std::slice::from_ref(&event), &only(&[own]));
        assert_eq!(refused, Err(Refusal::Forbidden(vec![0])), "{event:?}");
    }
}
