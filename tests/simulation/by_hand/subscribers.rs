//! Subscribers, in moments that random schedules seldom meet.

use facility_summary::live::wire::Transport::{Sse, Websocket};

use crate::{
    places::DATES,
    stage::{A, B, C, KEY, Stage},
    subscribers::subscriber::Wish,
};

fn one() -> Wish {
    Wish::Facilities(vec![KEY / DATES])
}

/// Between two turns of a shard, C consumes a change and the watermark that proves it. A heartbeat
/// is due in the second one.
pub fn a_change_and_its_proof_between_two_turns(stage: &mut Stage) {
    stage.have([(Websocket, one())]);
    stage.open();
    stage.connect(0, C);
    stage.many_ticks(C);
    stage.ticks_before_heartbeat(C);
    stage.change(A, KEY);
    stage.drain_all();
    stage.ticks(C, 1);
    stage.read_all(0);
}

/// A client comes back to C, which has a change that the client has not. Its heartbeat is due while
/// it waits.
pub fn a_heartbeat_while_it_waits(stage: &mut Stage) {
    stage.have([(Sse, one())]);
    stage.open();
    stage.connect(0, A);
    stage.many_ticks(A);
    stage.read_all(0);
    stage.lose(0);
    stage.change(A, KEY);
    stage.drain_all();
    stage.connect(0, C);
    stage.ticks_before_heartbeat(C);
    stage.ticks(C, 1);
    stage.read_all(0);
    stage.drain_all();
    stage.many_ticks(C);
    stage.read_all(0);
}

/// The database fails over and loses nothing, so that the same figures have the same tag in two
/// epochs.
pub fn the_same_tag_in_another_epoch(stage: &mut Stage) {
    stage.have([(Websocket, one())]);
    stage.open();
    stage.connect(0, C);
    stage.many_ticks(C);
    stage.read_all(0);
    stage.lose(0);
    let copy = stage.world().db.clone();
    stage.restore(&copy);
    for r in [A, B, C] {
        stage.look(r);
    }
    for _ in 0..3 {
        stage.pass(A);
        stage.settle(&[A, B, C]);
    }
    stage.many_ticks(C);
    stage.connect(0, C);
    stage.many_ticks(C);
    stage.read_all(0);
}

/// A client has a version from A that C has not consumed. Another client of C has the one before.
pub fn a_version_that_is_not_here_yet(stage: &mut Stage) {
    stage.have([(Websocket, one()), (Websocket, one())]);
    stage.open();
    stage.connect(1, C);
    stage.many_ticks(C);
    stage.connect(0, A);
    stage.many_ticks(A);
    stage.change(A, KEY);
    stage.ticks(A, 2);
    stage.read_all(0);
    stage.lose(0);
    stage.connect(0, C);
    stage.ticks(C, 1);
    stage.read_all(0);
}

/// C has consumed a change that its shard has not handed out yet, when a client takes the heartbeat
/// that was due before. Then the client comes back.
pub fn a_position_ahead_of_what_was_sent(stage: &mut Stage) {
    stage.have([(Sse, one())]);
    stage.open();
    stage.connect(0, C);
    stage.many_ticks(C);
    stage.read_all(0);
    stage.ticks_before_heartbeat(C);
    stage.ticks(C, 1);
    stage.change(A, KEY);
    stage.drain_all();
    stage.read_all(0);
    stage.lose(0);
    stage.connect(0, C);
    stage.drain_all();
    stage.many_ticks(C);
    stage.read_all(0);
}
