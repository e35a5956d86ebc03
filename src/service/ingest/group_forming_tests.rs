use tokio::sync::oneshot;
use tracing::Span;

use super::*;
use crate::{
    access::Visible,
    domain::event::{Entity, EntityKind, Record, Statement},
    service::ingest::IngestTask,
};

fn unit(id: u128, bank: u128, is_set: bool) -> Event {
    let entity = Entity::Inventory {
        blood_bank_id: Uuid::from_u128(bank),
        blood_type: None,
        expires_at_ms: None,
        quantity: 1,
    };
    Event::Statement(Statement {
        kind: EntityKind::Inventory,
        id: Uuid::from_u128(id),
        record: Record { event_time_ms: 0, entity: is_set.then_some(entity) },
    })
}

/// The ids of the units that the next group is about, of requests with one unit each.
fn next(waiting: &mut VecDeque<Request>, under_way: &[Needs], most_events: usize) -> Vec<u128> {
    let about = |request: &Request| match &request.task.events[0] {
        Event::Statement(statement) => statement.id.as_u128(),
        Event::Touched { .. } => 0,
    };
    form_group(waiting, under_way.iter(), most_events).iter().map(about).collect()
}

fn waiting(events: impl IntoIterator<Item = Event>) -> VecDeque<Request> {
    let request = |event: Event| Request {
        needs: Needs::of([&event]),
        task: IngestTask { events: vec![event], within: Visible::All, by: None, note: None },
        reply: oneshot::channel().0,
        span: Span::none(),
        _place: None,
    };
    events.into_iter().map(request).collect()
}

#[test]
fn a_group_shares_no_id_with_one_under_way_and_no_request_passes_one_that_waits_for_it() {
    let under_way = [Needs::of([&unit(1, 50, true)])];
    let mut waiting =
        waiting([unit(1, 60, true), unit(2, 60, true), unit(3, 70, true), unit(4, 50, true)]);
    assert_eq!(next(&mut waiting, &under_way, 10), [3], "unit 2 is in the bank of unit 1");
    assert_eq!(next(&mut waiting, &[], 10), [1, 2, 4]);
}

#[test]
fn a_group_that_removes_something_is_under_way_alone() {
    let mut queue = waiting([unit(1, 50, true), unit(2, 60, false), unit(3, 70, true)]);
    let under_way = [Needs::of([&unit(9, 90, true)])];
    assert_eq!(next(&mut queue, &under_way, 10), [1], "and nothing passes the removal");
    assert_eq!(next(&mut queue, &under_way, 10), []);
    assert_eq!(next(&mut queue, &[], 10), [2, 3]);
    let removal = [Needs::of([&unit(2, 60, false)])];
    assert_eq!(next(&mut waiting([unit(4, 80, true)]), &removal, 10), []);
}

#[test]
fn a_request_that_is_too_large_for_a_group_makes_one_alone() {
    let mut waiting = waiting([unit(1, 50, true), unit(2, 60, true)]);
    assert_eq!(next(&mut waiting, &[], 0), [1]);
    assert_eq!(next(&mut waiting, &[], 0), [2]);
}
