//! Where schedules by hand are played: a fleet in which nothing happens by itself.

use std::{future::Future, pin::Pin};

use rand::SeedableRng;
use rand_pcg::Pcg64;

use crate::{
    by_hand::Script,
    database::{Database, epoch},
    drain,
    events::Event,
    fills,
    judge::Judge,
    mutants::Mutant,
    pace::Pace,
    places::{DATES, NOON, facility_id, told},
    refresh::{self, Work},
    schedule::start,
    sources,
    world::{Actor, REPLICAS, Sim, World, called},
};

/// The replicas. All use the same Redis until it is split.
pub const A: usize = 0;
pub const B: usize = 1;
pub const C: usize = 2;
/// The key that it is about, and one of another facility.
pub const KEY: usize = 1;
pub const OTHER: usize = DATES + 1;
/// Steps in which whatever goes on comes to its end.
const ENOUGH: usize = 100;

/// A fleet in which nothing happens by itself.
pub struct AttachmentStage {
    sim: Sim,
    tasks: Vec<Actor>,
    passes: [Option<Pin<Box<dyn Future<Output = ()>>>>; REPLICAS],
    result: Result<(), String>,
}

/// Plays a script, and answers the first lie.
pub fn play(script: Script, mutant: Option<Mutant>, is_told: bool) -> Result<(), String> {
    let sim = Sim::new(Pcg64::seed_from_u64(0), Pace::calm(), mutant, is_told);
    let mut stage =
        AttachmentStage { sim, tasks: Vec::new(), passes: Default::default(), result: Ok(()) };
    script(&mut stage);
    stage.tasks.clear(); // which hold the world as it holds them
    stage.passes = Default::default();
    stage.result
}

impl AttachmentStage {
    pub fn world(&self) -> std::cell::RefMut<'_, World> {
        self.sim.world()
    }

    /// One step of a replica: of its pass, or of its tasks.
    pub fn step(&mut self, r: usize, of_pass: bool) {
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
                // Each of its tasks in turn.
                if let Some(at) = self.tasks.iter().position(|actor| actor.replica == Some(r)) {
                    let mut actor = self.tasks.remove(at);
                    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                    if actor.act.as_mut().poll(&mut context).is_pending() {
                        self.tasks.push(actor);
                    }
                }
            }
        }
        self.tasks.append(&mut self.sim.world().spawned);
        if self.result.is_ok() {
            let world = &mut *self.sim.world();
            self.result = Judge::check(world, r)
                .map_err(|lie| format!("{} at {} ms: {lie}", called(r), told(world.now)));
        }
    }

    /// All replicas serve, and follow the first generation.
    pub fn open(&mut self) {
        self.open_with(&[A, B, C]);
    }

    /// The same for some, of which A is one.
    pub fn open_with(&mut self, replicas: &[usize]) {
        for r in replicas {
            self.start(*r);
            self.look(*r);
        }
        self.pass(A);
        self.settle(replicas);
        replicas.iter().for_each(|r| self.look(*r)); // which vouches for the stream
    }

    /// A replica starts, and reads its directory.
    pub fn start(&mut self, r: usize) {
        start(&self.sim, r);
        self.settle(&[r]);
    }

    /// Lets the tasks of these replicas publish and consume all there is.
    pub fn settle(&mut self, replicas: &[usize]) {
        for _ in 0..ENOUGH {
            replicas.iter().for_each(|r| (0..REPLICAS).for_each(|_| self.step(*r, false)));
        }
    }

    /// Does this to its end.
    pub fn complete(&mut self, r: usize, act: impl Future<Output = ()> + 'static) {
        let hung = self.passes[r].replace(Box::pin(act));
        (0..ENOUGH).for_each(|_| self.step(r, true));
        assert!(self.passes[r].is_none(), "{} comes to no end", called(r));
        self.passes[r] = hung;
    }

    pub fn look(&mut self, r: usize) {
        self.complete(r, drain::look(self.sim.clone(), r));
    }

    pub fn pass(&mut self, r: usize) {
        self.complete(r, drain::pass(self.sim.clone(), r));
    }

    /// Begins a pass that hangs once that is so, unless it is over before.
    pub fn pass_until(&mut self, r: usize, is_so: impl Fn(&World) -> bool) {
        self.passes[r] = Some(Box::pin(drain::pass(self.sim.clone(), r)));
        for _ in 0..ENOUGH {
            if self.passes[r].is_none() || is_so(&self.world()) {
                return;
            }
            self.step(r, true);
        }
    }

    /// The same once it has looked.
    pub fn pass_until_looked(&mut self, r: usize) {
        let looks = self.world().replicas[r].looks;
        self.pass_until(r, |world| world.replicas[r].looks > looks);
    }

    /// The pass that hangs goes on to its end.
    pub fn go_on(&mut self, r: usize) {
        (0..ENOUGH).for_each(|_| self.step(r, true));
    }

    /// Another program changes a key, and there is its mark.
    pub fn write(&mut self, k: usize) {
        sources::write(&mut self.world(), k / DATES, NOON);
    }

    /// A command changes it and commits its figures, and publishes nothing.
    pub fn change_silently(&mut self, k: usize) {
        self.write(k);
        self.world().db.marks.pop();
        self.complete(A, refresh::refresh_silently(self.sim.clone(), k));
    }

    /// An event changes it, whose figures go to the publisher.
    pub fn change(&mut self, r: usize, k: usize) {
        let sim = self.sim.clone();
        self.complete(r, async move {
            let event = Event::Activity { facility: k / DATES, place: NOON };
            assert!(refresh::refresh(&sim, r, Work::Event(event)).await.is_ok());
        });
    }

    /// Another program has the facility of the key in that zone, or removes it.
    pub fn state(&mut self, zone: Option<usize>) {
        sources::state(&mut self.world(), KEY / DATES, zone);
    }

    /// An event comes and is committed.
    pub fn event(&mut self, r: usize, event: Event) {
        let sim = self.sim.clone();
        self.complete(r, async move {
            assert!(
                refresh::refresh(&sim, r, Work::Event(event)).await.is_ok(),
                "{event:?} is committed"
            );
        });
    }

    /// Begins something that hangs at once, until its replica goes on.
    pub fn begin(&mut self, r: usize, act: impl Future<Output = ()> + 'static) {
        self.passes[r] = Some(Box::pin(act));
        self.step(r, true);
    }

    pub fn begin_event(&mut self, r: usize, event: Event) {
        let sim = self.sim.clone();
        self.begin(r, async move {
            let _ = refresh::refresh(&sim, r, Work::Event(event)).await;
        });
    }

    pub fn sim(&self) -> Sim {
        self.sim.clone()
    }

    /// What lies in the outbox is published and forgotten.
    pub fn drain_all(&mut self) {
        for _ in 0..2 {
            self.pass(A);
            self.settle(&[A, B, C]);
        }
        assert!(
            self.world().db.outbox.is_empty() && self.world().db.marks.is_empty(),
            "it is to be drained"
        );
    }

    pub fn read_table(&mut self, r: usize) {
        self.read_table_of(r, KEY);
    }

    pub fn read_table_of(&mut self, r: usize, k: usize) {
        self.complete(r, fills::from_primary(self.sim.clone(), r, k));
    }

    pub fn read_redis(&mut self, r: usize) {
        self.read_redis_of(r, KEY);
    }

    pub fn read_redis_of(&mut self, r: usize, k: usize) {
        self.complete(r, fills::from_redis(self.sim.clone(), r, k));
    }

    pub fn evict(&mut self, r: usize) {
        self.sim.memory(r).forget_facility(facility_id(KEY / DATES));
    }

    /// A replica of Redis is promoted, and these use it.
    pub fn split(&mut self, hear: &[usize]) {
        let world = &mut *self.world();
        world.redis[1] = world.redis[0].promoted(0);
        hear.iter().for_each(|r| world.replicas[*r].side = 1);
    }

    /// The database is put back, as another timeline.
    pub fn restore(&mut self, copy: &Database) {
        let world = &mut *self.world();
        world.restore(copy.clone());
        world.db.timeline = world.name();
        world.judge.begin(epoch(world.db.identity()));
    }

    pub fn last_number(&self) -> i64 {
        let world = self.world();
        let of = epoch(world.db.identity());
        world.redis[0].streams.get(&of).map_or(0, |stream| stream.last)
    }
}
