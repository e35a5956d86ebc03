//! Schedules written by hand, for rules that matter only in rare combinations, which random
//! schedules hardly reach. With all rules in force, a schedule finds no wrong answer. When the rule
//! that it is made for is broken, it finds one.

mod facilities;
mod subscribers;

pub use facilities::*;
pub use subscribers::*;

use std::rc::Rc;

use crate::{
    places::DATES,
    stage::{A, B, C, KEY, OTHER, Stage},
};

/// A schedule written by hand.
pub type Script = fn(&mut Stage);

/// A announces a watermark. Before A goes on, B receives it, and takes a drain snapshot to compare
/// it with the database.
pub fn received_before_it_is_stored(stage: &mut Stage) {
    stage.open();
    let last = stage.last_number();
    stage.pass_until(A, |world| world.redis[0].streams.values().any(|stream| stream.last > last));
    stage.settle(&[B]);
    stage.look(B);
}

/// The old primary of Redis gives A a change that the followers of the new primary never get.
pub fn shown_by_the_old_primary(stage: &mut Stage) {
    stage.open();
    stage.split(&[B, C]);
    stage.pass(B); // begins another generation
    stage.settle(&[B, C]);
    stage.read_table(C);
    stage.change(A, KEY);
    stage.settle(&[A]);
    stage.pass_until(A, |world| world.db.outbox.is_empty());
    stage.pass(B);
    stage.settle(&[B, C]);
}

/// While A processes a mark, B begins a generation on the new primary of Redis. B publishes there
/// what A has committed, and deletes it from the outbox.
pub fn published_by_the_new_primary(stage: &mut Stage) {
    stage.open();
    stage.read_table(C);
    stage.write(KEY);
    stage.pass_until(A, |world| !world.db.outbox.is_empty());
    stage.split(&[B]);
    stage.write(OTHER);
    // With this lock B proves no watermark. If B stored a later one than A, A would announce none.
    stage.world().locks[OTHER / DATES] = Some(0);
    for _ in 0..2 {
        stage.pass(B);
        stage.settle(&[B]);
    }
    assert!(stage.world().db.outbox.is_empty(), "B has deleted the outbox row");
    stage.go_on(A);
    stage.settle(&[C]);
}

/// Redis loses the end of its stream, and a new generation uses the same numbers again. The Redis
/// tier still has entries from before the loss.
pub fn an_entry_of_the_generation_before(stage: &mut Stage) {
    stage.open();
    stage.change(A, KEY);
    stage.drain_all();
    let kept = stage.world().redis[0]
        .tier
        .values()
        .map(|entry| entry.since.number)
        .max()
        .expect("an event's row was put");
    stage.change_silently(KEY);
    stage.drain_all();
    let lost = usize::try_from(stage.last_number() - kept).expect("the stream has gone on since");
    stage.world().redis[0].restart(lost);
    for _ in 0..2 {
        stage.settle(&[A, B, C]);
        stage.pass(B);
    }
    stage.settle(&[C]);
    stage.look(C);
    stage.evict(C);
    stage.read_redis(C);
    stage.pass(B);
    stage.settle(&[C]);
}

/// The database loses a refresh that was put into the Redis tier.
pub fn an_entry_of_the_epoch_before(stage: &mut Stage) {
    stage.open();
    let copy = stage.world().db.clone();
    stage.change(A, KEY);
    stage.drain_all();
    stage.restore(&copy);
    for r in [A, B, C] {
        stage.look(r);
        stage.settle(&[r]);
        stage.look(r);
    }
    stage.read_redis(C);
}

/// The database is restored to before a refresh, while A is about to publish a later refresh of the
/// same key.
pub fn published_from_the_epoch_before(stage: &mut Stage) {
    stage.open();
    stage.write(KEY);
    let copy = stage.world().db.clone();
    stage.drain_all();
    for _ in 0..2 {
        stage.change(A, OTHER); // drops the refresh from the recent changes
        stage.drain_all();
    }
    let stored = stage.world().db.watermark;
    stage.pass_until(B, |world| world.db.watermark != stored);
    stage.change_silently(KEY);
    stage.pass_until_looked(A);
    stage.restore(&copy);
    stage.evict(C);
    stage.go_on(A);
    stage.settle(&[C]);
    stage.go_on(B); // announces what it has proven before
    stage.settle(&[C]);
}

/// The database is restored while A is about to delete from the outbox what it has published, and
/// then gives the same number to another outbox row.
pub fn deleted_in_the_epoch_before(stage: &mut Stage) {
    let copy = stage.world().db.clone();
    stage.open();
    stage.change_silently(KEY);
    let last = stage.last_number();
    stage.pass_until(A, |world| world.redis[0].streams.values().any(|stream| stream.last > last));
    stage.restore(&copy);
    for r in [B, C] {
        stage.look(r);
    }
    // B begins the first generation of this epoch, which has the same number as A's.
    stage.pass(B);
    stage.settle(&[B, C]);
    stage.read_table(C);
    stage.change_silently(KEY);
    stage.go_on(A);
    stage.pass(B);
    stage.settle(&[B, C]);
}

/// Redis has an entry. The next version was published so long ago that the recent changes do not
/// contain it any more.
pub fn an_entry_with_a_forgotten_successor(stage: &mut Stage) {
    stage.open();
    stage.change(A, KEY);
    stage.drain_all();
    stage.change_silently(KEY);
    stage.drain_all();
    for _ in 0..3 {
        stage.change(A, OTHER);
        stage.drain_all();
    }
    stage.evict(C);
    stage.read_redis(C);
    stage.pass(A);
    stage.settle(&[C]);
}

/// A server without Redis stores a watermark, refreshes a key, and is killed. The next process
/// numbers its messages anew, and comes as far. A standby still has the watermark and the key of
/// the process before.
pub fn a_watermark_of_the_process_before(stage: &mut Stage) {
    stage.be_alone();
    stage.start(A);
    for _ in 0..3 {
        stage.pass(A);
    }
    let standby = Rc::new(stage.world().db.clone());
    stage.write(KEY);
    stage.pass(A);
    stage.restart(A);
    for _ in 0..5 {
        stage.pass(A);
    }
    stage.read_standby(A, &standby);
    stage.pass(A);
}
