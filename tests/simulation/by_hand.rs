//! Schedules by hand, for rules that matter where so much comes together that random ones hardly
//! meet it. Each tells no lie as long as all rules are kept, and one without the rule that it is
//! about.

mod facilities;

pub use facilities::*;

use crate::{
    places::DATES,
    stage::{A, AttachmentStage, B, C, KEY, OTHER},
};

/// A schedule by hand.
pub type Script = fn(&mut AttachmentStage);

/// B hears what A announces, and looks whether the database knows it, before A goes on.
pub fn heard_by_one_that_looks(stage: &mut AttachmentStage) {
    stage.open();
    let last = stage.last_number();
    stage.pass_until(A, |world| world.redis[0].streams.values().any(|stream| stream.last > last));
    stage.settle(&[B]);
    stage.look(B);
}

/// The old primary of Redis shows A a change that those who follow the new one never see.
pub fn shown_by_the_old_primary(stage: &mut AttachmentStage) {
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

/// While A deals with a mark, B begins a generation on the new primary, publishes what A has
/// committed there, and forgets it.
pub fn published_by_the_new_primary(stage: &mut AttachmentStage) {
    stage.open();
    stage.read_table(C);
    stage.write(KEY);
    stage.pass_until(A, |world| !world.db.outbox.is_empty());
    stage.split(&[B]);
    stage.write(OTHER);
    // so that B proves nothing: it would be a later watermark than A's, which is none then
    stage.world().locks[OTHER / DATES] = Some(0);
    for _ in 0..2 {
        stage.pass(B);
        stage.settle(&[B]);
    }
    assert!(stage.world().db.outbox.is_empty(), "B forgets it");
    stage.go_on(A);
    stage.settle(&[C]);
}

/// Redis loses the tail of its stream, and a new generation takes up its numbers. The tier still
/// has what was of before the tail.
pub fn an_entry_of_the_generation_before(stage: &mut AttachmentStage) {
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

/// What was put into the tier is lost by the database.
pub fn an_entry_of_the_history_before(stage: &mut AttachmentStage) {
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

/// The database is put back to before a refresh while A is about to publish a later one of the same
/// key.
pub fn published_from_the_history_behind(stage: &mut AttachmentStage) {
    stage.open();
    stage.write(KEY);
    let copy = stage.world().db.clone();
    stage.drain_all();
    for _ in 0..2 {
        stage.change(A, OTHER); // so that nobody remembers the refresh
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
    stage.go_on(B); // announces what it had proven
    stage.settle(&[C]);
}

/// The database is put back while A is about to forget what it has published, and numbers another
/// row like that.
pub fn forgotten_in_the_history_behind(stage: &mut AttachmentStage) {
    let copy = stage.world().db.clone();
    stage.open();
    stage.change_silently(KEY);
    let last = stage.last_number();
    stage.pass_until(A, |world| world.redis[0].streams.values().any(|stream| stream.last > last));
    stage.restore(&copy);
    for r in [B, C] {
        stage.look(r);
    }
    // begins the first generation of this history, which has the number of A's
    stage.pass(B);
    stage.settle(&[B, C]);
    stage.read_table(C);
    stage.change_silently(KEY);
    stage.go_on(A);
    stage.pass(B);
    stage.settle(&[B, C]);
}

/// Redis has an entry whose successor came by so long ago that nobody remembers it.
pub fn an_entry_that_nobody_remembers_a_successor_of(stage: &mut AttachmentStage) {
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
