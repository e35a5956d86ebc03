//! Facilities that are removed, registered again, or moved from one zone to the other.

use crate::{
    database::{Database, epoch},
    events::Event,
    places::{DATES, EVENING_BEFORE, KATHMANDU, UTC, facility_id},
    sources,
    stage::{A, B, C, KEY, OTHER, Stage},
};

const FACILITY: usize = KEY / DATES;
/// The date of the evening before in one zone. In the other zone that evening is on the next date.
const DAY_BEFORE: usize = KEY - 1;

/// B processes a change of zone of which A gets no message. A then finds the mark of a request that
/// has another date in each zone.
pub fn a_mark_of_the_zone_before(stage: &mut Stage) {
    stage.open();
    stage.state(Some(KATHMANDU));
    for _ in 0..2 {
        stage.pass(B);
        stage.settle(&[B, C]);
    }
    stage.read_table(C);
    sources::write(&mut stage.world(), FACILITY, EVENING_BEFORE);
    stage.pass(A);
    stage.pass(A);
    stage.settle(&[C]);
}

/// While A registers the facility in the other zone, a request is committed for a day that only
/// that zone has.
pub fn a_request_beside_a_change_of_zone(stage: &mut Stage) {
    stage.open();
    stage.state(Some(KATHMANDU));
    stage.drain_all();
    stage.begin_event(A, Event::Registered { facility: FACILITY, zone: UTC });
    stage.event(B, Event::Activity { facility: FACILITY, place: EVENING_BEFORE });
    stage.go_on(A);
    stage.drain_all();
    stage.read_table_of(C, DAY_BEFORE);
}

/// C holds that a day has no row. The facility moves to the other zone, in which a request is on
/// another date, and A proves that. The facility moves back before C reads it again.
pub fn a_day_without_a_row_in_a_zone_that_came_back(stage: &mut Stage) {
    stage.open();
    stage.read_table_of(C, DAY_BEFORE);
    stage.state(Some(KATHMANDU));
    sources::write(&mut stage.world(), FACILITY, EVENING_BEFORE);
    for _ in 0..2 {
        stage.pass(A);
        stage.settle(&[A, B]);
    }
    stage.state(Some(UTC));
    stage.settle(&[C]);
}

/// A bank moves while a transaction on its units is open.
pub fn units_of_a_bank_that_moves(stage: &mut Stage) {
    stage.open();
    let (sim, other) = (stage.sim(), FACILITY + 1);
    stage.begin(B, sources::write_units(sim, FACILITY));
    sources::move_bank(&mut stage.world(), FACILITY, other);
    stage.drain_all();
    stage.go_on(B);
    stage.drain_all();
    stage.read_table_of(C, KEY + DATES);
}

/// A facility is registered again while A is about to remove its rows.
pub fn registered_again_beside_its_removal(stage: &mut Stage) {
    stage.open();
    stage.state(None);
    stage.pass_until(A, |world| world.replicas[A].directory.get(facility_id(FACILITY)).is_none());
    stage.event(B, Event::Registered { facility: FACILITY, zone: UTC });
    stage.event(B, Event::Activity { facility: FACILITY, place: EVENING_BEFORE });
    stage.go_on(A);
    stage.drain_all();
    stage.read_table_of(C, DAY_BEFORE);
}

/// Redis has figures of the former life of a facility that was registered again.
pub fn an_entry_of_the_life_before(stage: &mut Stage) {
    stage.remember(32); // an entry from before the removal joins the stream session
    stage.open();
    stage.event(A, Event::Activity { facility: FACILITY, place: EVENING_BEFORE });
    stage.drain_all();
    stage.state(None);
    stage.drain_all();
    stage.state(Some(UTC));
    stage.drain_all();
    stage.read_redis_of(C, DAY_BEFORE);
}

/// A facility is removed after the drain snapshot that shows its mark, so the mark means nothing to
/// the refresh.
pub fn a_facility_removed_after_the_snapshot(stage: &mut Stage) {
    stage.open();
    stage.read_table(C);
    stage.write(KEY);
    stage.pass_until_looked(A);
    stage.state(None);
    stage.go_on(A);
    stage.settle(&[C]);
}

/// The same, with so many other changes before the removal that the second drain snapshot of the
/// pass does not show it.
pub fn a_facility_removed_behind_a_full_batch(stage: &mut Stage) {
    stage.open();
    stage.world().pace.batch = 2;
    stage.read_table(C);
    stage.write(KEY);
    stage.pass_until_looked(A);
    stage.write(OTHER);
    stage.write(OTHER);
    stage.state(None);
    stage.go_on(A);
    stage.settle(&[C]);
}

/// C has read its directory. It then begins to follow the stream behind a message about a facility.
pub fn a_directory_of_before_the_stream(stage: &mut Stage) {
    stage.open_with(&[A, B]);
    stage.start(C);
    stage.state(None);
    for _ in 0..2 {
        stage.pass(A);
        stage.settle(&[A, B]);
    }
    stage.sim().world().pace.replay = 1;
    stage.look(C);
    stage.settle(&[C]);
}

/// C holds figures of a facility that is then removed. The database loses both in a failover, and A
/// proves the other history. Only then C reads the messages, and the facility that they name.
pub fn a_facility_of_the_epoch_after(stage: &mut Stage) {
    let copy = holds_figures_of_a_facility_that_is_gone(stage);
    stage.restore(&copy);
    for _ in 0..3 {
        stage.pass(A);
        stage.settle(&[A]);
    }
    assert!(stage.world().db.stored_watermark().is_some(), "A has proven the other history");
    stage.settle(&[C]);
}

/// The same with a copy of the database's files, which has the epoch that is served, and before A
/// has noticed it.
pub fn a_facility_of_a_restored_copy(stage: &mut Stage) {
    let copy = holds_figures_of_a_facility_that_is_gone(stage);
    stage.restore(&copy);
    {
        let world = &mut *stage.world();
        world.db.timeline = copy.timeline;
        world.judge.begin(epoch(world.db.identity()));
    }
    stage.settle(&[C]);
}

fn holds_figures_of_a_facility_that_is_gone(stage: &mut Stage) -> Database {
    stage.open();
    let copy = stage.world().db.clone();
    stage.change(A, KEY);
    stage.drain_all();
    stage.read_table(C);
    stage.state(None);
    for _ in 0..3 {
        stage.pass(A);
        stage.settle(&[A, B]);
    }
    copy
}
