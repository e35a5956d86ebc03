use tokio::sync::oneshot;
use tracing::Span;

use super::*;
use crate::{
    domain::event::{Entity, EntityKind, Record, Statement},
    service::ingest::IngestTask,
};

const MOST: usize = 2_000;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn unit(item: u128, bank: u128) -> Event {
    let entity = Entity::Inventory {
        blood_bank_id: id(bank),
        blood_type: None,
        expires_at_ms: None,
        quantity: 1,
    };
    statement(EntityKind::Inventory, item, entity)
}

fn bank(bank: u128, facility: u128) -> Event {
    let entity = Entity::BloodBank { facility_id: id(facility), name: String::new() };
    statement(EntityKind::BloodBank, bank, entity)
}

fn statement(kind: EntityKind, item: u128, entity: Entity) -> Event {
    let record = Record { event_time_ms: 1, entity: Some(entity) };
    Event::Statement(Statement { kind, id: id(item), record })
}

/// Banks 21 and 22 are in facility 1, and bank 23 in facility 2.
fn known() -> KnownBanks {
    let known = KnownBanks::default();
    let places = [(21, 1), (22, 1), (23, 2)];
    known.learn(&places.into_iter().map(|(bank, facility)| (id(bank), id(facility))).collect());
    known
}

fn needs(events: &[Event]) -> Needs {
    Needs::of(events, &known())
}

fn waiting(events: impl IntoIterator<Item = Event>) -> VecDeque<Request> {
    let request = |event: Event| Request {
        needs: needs(std::slice::from_ref(&event)),
        task: IngestTask { events: vec![event], note: None },
        reply: oneshot::channel().0,
        span: Span::none(),
        _place: None,
    };
    events.into_iter().map(request).collect()
}

/// The ids that the next group is about, beside one that is under way.
fn next(waiting: &mut VecDeque<Request>, under_way: &[Event]) -> Vec<u128> {
    let under_way = needs(under_way);
    let formed = form_group(waiting, [&under_way].into_iter(), 2, MOST);
    formed.requests.iter().map(|r| r.task.events[0].id().as_u128()).collect()
}

#[test]
fn a_group_leaves_out_what_shares_a_facility_with_one_under_way() {
    let mut waiting = waiting([unit(101, 22), unit(102, 23), unit(103, 21)]);
    assert_eq!(next(&mut waiting, &[unit(100, 21)]), [102]);
    assert_eq!(waiting.len(), 2);
}

#[test]
fn where_all_share_a_facility_they_make_a_group_that_waits_only_for_it() {
    let mut waiting = waiting([unit(101, 22), unit(102, 21)]);
    assert_eq!(next(&mut waiting, &[unit(99, 21), unit(100, 21)]), [101, 102]);
}

#[test]
fn what_a_group_writes_no_other_refers_to_meanwhile() {
    assert_eq!(next(&mut waiting([unit(101, 24)]), &[bank(24, 3)]), []);
    assert_eq!(next(&mut waiting([bank(24, 3)]), &[unit(101, 24)]), []);
    assert_eq!(next(&mut waiting([unit(101, 23)]), &[unit(101, 21)]), []);
}

#[test]
fn a_later_request_does_not_pass_one_that_waits_for_the_same() {
    let mut waiting = waiting([unit(100, 23), unit(101, 23), unit(102, 22)]);
    // The first waits for its own row; the second would pass it at its facility.
    assert_eq!(next(&mut waiting, &[unit(100, 24)]), [102]);
}

#[test]
fn a_group_beside_another_leaves_the_next_lane_its_share() {
    let units = (0..15).map(|n| unit(101 + n, 23));
    assert_eq!(next(&mut waiting(units), &[unit(100, 21)]).len(), 8);
    let none = form_group(&mut waiting((0..15).map(|n| unit(n, 23))), [].into_iter(), 2, MOST);
    assert_eq!(none.requests.len(), 15);
}

#[test]
fn a_request_that_is_too_large_for_a_group_makes_one_alone() {
    let mut waiting = waiting([unit(1, 21), unit(2, 23)]);
    assert_eq!(form_group(&mut waiting, [].into_iter(), 2, 1).requests.len(), 1);
    assert_eq!(waiting.len(), 1);
}
