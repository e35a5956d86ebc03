//! Schedules by hand, for rules that matter where so much comes together that random ones hardly meet it. Each tells no lie as long as all
//! rules are kept, and one without the rule that it is about.

use std::{future::Future, pin::Pin};

use rand::SeedableRng;
use rand_pcg::Pcg64;

use crate::{
    database::{Database, epoch, facility},
    drain, fills,
    judge::Judge,
    mutants::Mutant,
    pace::Pace,
    refresh::{self, Cause},
    schedule::{poll, start},
    world::{Actor, REPLICAS, Sim, World, called},
};

/// A schedule by hand.
pub type Script = fn(&mut Stage);

/// The replicas. All use the same Redis until it is split.
const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
/// The key that it is about, and one of another facility.
const KEY: usize = 0;
const OTHER: usize = 2;
/// Steps in which whatever goes on comes to its end.
const ENOUGH: usize = 60;

/// A fleet in which nothing happens by itself.
pub struct Stage {
    sim: Sim,
    tasks: Vec<Actor>,
    passes: [Option<Pin<Box<dyn Future<Output = ()>>>>; REPLICAS],
    result: Result<(), String>,
}

/// Plays a script, and answers the first lie.
pub fn play(script: Script, mutant: Option<Mutant>, is_told: bool) -> Result<(), String> {
    let sim = Sim::new(Pcg64::seed_from_u64(0), Pace::calm(), mutant, is_told);
    let mut stage = Stage { sim, tasks: Vec::new(), passes: Default::default(), result: Ok(()) };
    script(&mut stage);
    stage.tasks.clear(); // which hold the world as it holds them
    stage.passes = Default::default();
    stage.result
}

impl Stage {
    fn world(&self) -> std::cell::RefMut<'_, World> {
        self.sim.world()
    }

    /// One step of a replica: of its pass, or of its tasks.
    fn step(&mut self, r: usize, of_pass: bool) {
        self.world().now += 10;
        match (of_pass, &mut self.passes[r]) {
            (true, Some(pass)) => {
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                if pass.as_mut().poll(&mut context).is_ready() {
                    self.passes[r] = None;
                }
            }
            (true, None) => {}
            (false, _) => {
                poll(&mut self.tasks, |actor| actor.replica == Some(r), 0);
                self.tasks.rotate_left(1);
            }
        }
        self.tasks.append(&mut self.sim.world().spawned);
        if self.result.is_ok() {
            let world = &mut *self.sim.world();
            self.result = Judge::check(world, r).map_err(|lie| format!("{} at {} ms: {lie}", called(r), world.now));
        }
    }

    /// All replicas serve, and follow the first generation.
    fn open(&mut self) {
        (0..REPLICAS).for_each(|r| {
            start(&self.sim, r);
            self.look(r);
        });
        self.pass(A);
        self.settle(&[A, B, C]);
        (0..REPLICAS).for_each(|r| self.look(r)); // which vouches for the stream
    }

    /// Lets the tasks of these replicas publish and consume all there is.
    fn settle(&mut self, replicas: &[usize]) {
        for _ in 0..ENOUGH {
            replicas.iter().for_each(|r| (0..REPLICAS).for_each(|_| self.step(*r, false)));
        }
    }

    /// Does this to its end.
    fn complete(&mut self, r: usize, act: impl Future<Output = ()> + 'static) {
        let hung = self.passes[r].replace(Box::pin(act));
        (0..ENOUGH).for_each(|_| self.step(r, true));
        assert!(self.passes[r].is_none(), "{} comes to no end", called(r));
        self.passes[r] = hung;
    }

    fn look(&mut self, r: usize) {
        self.complete(r, drain::look(self.sim.clone(), r));
    }

    fn pass(&mut self, r: usize) {
        self.complete(r, drain::pass(self.sim.clone(), r));
    }

    /// Begins a pass that hangs once that is so, unless it is over before.
    fn pass_until(&mut self, r: usize, is_so: impl Fn(&World) -> bool) {
        self.passes[r] = Some(Box::pin(drain::pass(self.sim.clone(), r)));
        for _ in 0..ENOUGH {
            if self.passes[r].is_none() || is_so(&self.world()) {
                return;
            }
            self.step(r, true);
        }
    }

    /// The same once it has looked.
    fn pass_until_looked(&mut self, r: usize) {
        let looks = self.world().replicas[r].looks;
        self.pass_until(r, |world| world.replicas[r].looks > looks);
    }

    /// The pass that hangs goes on to its end.
    fn go_on(&mut self, r: usize) {
        (0..ENOUGH).for_each(|_| self.step(r, true));
    }

    /// Another program changes a key, and there is its mark.
    fn write(&mut self, k: usize) {
        refresh::write(&mut self.world(), k);
    }

    /// A command changes it and commits its figures, and publishes nothing.
    fn change_silently(&mut self, k: usize) {
        self.write(k);
        self.world().db.marks.pop();
        self.complete(A, refresh::refresh_silently(self.sim.clone(), k));
    }

    /// An event changes it, whose figures go to the publisher.
    fn change(&mut self, r: usize, k: usize) {
        let sim = self.sim.clone();
        self.complete(r, async move {
            assert!(refresh::refresh(&sim, r, k, Cause::Event).await);
        });
    }

    /// What lies in the outbox is published and forgotten.
    fn drain_all(&mut self) {
        for _ in 0..2 {
            self.pass(A);
            self.settle(&[A, B, C]);
        }
        assert!(self.world().db.outbox.is_empty() && self.world().db.marks.is_empty(), "it is to be drained");
    }

    fn read_table(&mut self, r: usize) {
        self.complete(r, fills::from_primary(self.sim.clone(), r, KEY));
    }

    fn read_redis(&mut self, r: usize) {
        self.complete(r, fills::from_redis(self.sim.clone(), r, KEY));
    }

    fn evict(&mut self, r: usize) {
        self.sim.memory(r).forget_facility(crate::database::key(KEY).0);
    }

    /// A replica of Redis is promoted, and these use it.
    fn split(&mut self, hear: &[usize]) {
        let world = &mut *self.world();
        world.redis[1] = world.redis[0].promoted(0);
        hear.iter().for_each(|r| world.replicas[*r].side = 1);
    }

    /// The database is put back, as another timeline.
    fn restore(&mut self, copy: &Database) {
        let world = &mut *self.world();
        world.restore(copy.clone());
        world.db.timeline = world.name();
        world.judge.begin(epoch(world.db.identity()));
    }

    fn last_number(&self) -> i64 {
        let world = self.world();
        let of = epoch(world.db.identity());
        world.redis[0].streams.get(&of).map_or(0, |stream| stream.last)
    }
}

/// B hears what A announces, and looks whether the database knows it, before A goes on.
pub fn heard_by_one_that_looks(stage: &mut Stage) {
    stage.open();
    let last = stage.last_number();
    stage.pass_until(A, |world| world.redis[0].streams.values().any(|stream| stream.last > last));
    stage.settle(&[B]);
    stage.look(B);
}

/// The old primary of Redis shows A a change that those who follow the new one never see.
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

/// While A deals with a mark, B begins a generation on the new primary, publishes what A has committed there, and forgets it.
pub fn published_by_the_new_primary(stage: &mut Stage) {
    stage.open();
    stage.read_table(C);
    stage.write(KEY);
    stage.pass_until(A, |world| !world.db.outbox.is_empty());
    stage.split(&[B]);
    stage.write(OTHER);
    stage.world().locks[facility(OTHER)] = Some(0); // so that B proves nothing: it would be a later watermark than A's, which is none then
    for _ in 0..2 {
        stage.pass(B);
        stage.settle(&[B]);
    }
    assert!(stage.world().db.outbox.is_empty(), "B forgets it");
    stage.go_on(A);
    stage.settle(&[C]);
}

/// Redis loses the tail of its stream, and a new generation takes up its numbers. The tier still has what was of before the tail.
pub fn an_entry_of_the_generation_before(stage: &mut Stage) {
    stage.open();
    stage.change(A, KEY);
    stage.drain_all();
    let kept = stage.world().redis[0].tier.values().map(|entry| entry.since.number).max().expect("an event's row was put");
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
pub fn an_entry_of_the_history_before(stage: &mut Stage) {
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

/// The database is put back to before a refresh while A is about to publish a later one of the same key.
pub fn published_from_the_history_behind(stage: &mut Stage) {
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

/// The database is put back while A is about to forget what it has published, and numbers another row like that.
pub fn forgotten_in_the_history_behind(stage: &mut Stage) {
    let copy = stage.world().db.clone();
    stage.open();
    stage.change_silently(KEY);
    let last = stage.last_number();
    stage.pass_until(A, |world| world.redis[0].streams.values().any(|stream| stream.last > last));
    stage.restore(&copy);
    for r in [B, C] {
        stage.look(r);
    }
    stage.pass(B); // begins the first generation of this history, which has the number of A's
    stage.settle(&[B, C]);
    stage.read_table(C);
    stage.change_silently(KEY);
    stage.go_on(A);
    stage.pass(B);
    stage.settle(&[B, C]);
}
