//! The replicas of a schedule written by hand. They do only what the schedule tells them.

use std::{future::Future, pin::Pin, rc::Rc};

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
    schedule::{self, start},
    sources, subscribers,
    world::{Actor, REPLICAS, Sim, World, called},
};

/// The first replica. All three use the same Redis until it is split.
pub const A: usize = 0;
/// The second replica.
pub const B: usize = 1;
/// The third replica.
pub const C: usize = 2;
/// The key that a schedule is about.
pub const KEY: usize = 1;
/// A key of another facility.
pub const OTHER: usize = DATES + 1;
/// A number of steps in which every task comes to its end.
const ENOUGH: usize = 100;

/// Replicas that do only what a schedule tells them.
pub struct Stage {
    /// The handle to the world.
    pub sim: Sim,
    tasks: Vec<Actor>,
    passes: [Option<Pin<Box<dyn Future<Output = ()>>>>; REPLICAS],
    /// What is wrong, if anything is.
    pub result: Result<(), String>,
}

/// Runs a schedule; the error is the first wrong answer. With `is_told` it prints each step.
pub fn play(script: Script, mutant: Option<Mutant>, is_told: bool) -> Result<(), String> {
    let sim = Sim::new(Pcg64::seed_from_u64(0), Pace::calm(), (mutant, None), is_told);
    let mut stage = Stage { sim, tasks: Vec::new(), passes: Default::default(), result: Ok(()) };
    script(&mut stage);
    stage.tasks.clear(); // the actors and the world hold each other
    schedule::end(&stage.sim);
    stage.passes = Default::default();
    stage.result
}

impl Stage {
    /// The world.
    pub fn world(&self) -> std::cell::RefMut<'_, World> {
        self.sim.world()
    }

    /// Lets the replicas, which have not started yet, remember this many recent changes.
    pub fn remember(&mut self, changes: usize) {
        let mut world = self.world();
        world.pace.recent = changes;
        (0..REPLICAS).for_each(|r| world.replace(r));
    }

    /// Only A will start, and keeps the stream within its process.
    pub fn be_alone(&mut self) {
        let mut world = self.world();
        world.pace.is_alone = true;
        (0..REPLICAS).for_each(|r| world.replace(r));
    }

    /// One step of a replica: of its pass, or of its other tasks.
    pub fn step(&mut self, r: usize, of_pass: bool) {
        self.world().now += 10;
        subscribers::tell_time(&self.world());
        match (of_pass, &mut self.passes[r]) {
            (true, Some(pass)) => {
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                if pass.as_mut().poll(&mut context).is_ready() {
                    self.passes[r] = None;
                }
            }
            (true, None) => {}
            (false, _) => {
                // The tasks take turns.
                if let Some(at) = self.tasks.iter().position(|actor| actor.replica == Some(r)) {
                    let mut actor = self.tasks.remove(at);
                    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                    if actor.act.as_mut().poll(&mut context).is_pending() {
                        self.tasks.push(actor);
                    }
                }
            }
        }
        subscribers::pump(&self.sim);
        self.tasks.append(&mut self.sim.world().spawned);
        if self.result.is_ok() && !self.world().mutant.is_some_and(Mutant::is_of_hub) {
            let world = &mut *self.sim.world();
            self.result = Judge::check(world, r)
                .map_err(|wrong| format!("{} at {} ms: {wrong}", called(r), told(world.now)));
        }
    }

    /// All replicas start to serve, and follow the first generation.
    pub fn open(&mut self) {
        self.open_with(&[A, B, C]);
    }

    /// The same for some replicas; A must be one of them.
    pub fn open_with(&mut self, replicas: &[usize]) {
        for r in replicas {
            self.start(*r);
            self.look(*r);
        }
        self.pass(A);
        self.settle(replicas);
        // This verifies the replicas.
        replicas.iter().for_each(|r| self.look(*r));
    }

    /// A replica starts, and reads its directory.
    pub fn start(&mut self, r: usize) {
        start(&self.sim, r);
        self.settle(&[r]);
    }

    /// A replica is killed, and starts again.
    pub fn restart(&mut self, r: usize) {
        self.passes[r] = None;
        schedule::restart(&self.sim, &mut self.tasks, r);
        self.settle(&[r]);
    }

    /// Lets the tasks of these replicas publish and consume everything there is.
    pub fn settle(&mut self, replicas: &[usize]) {
        for _ in 0..ENOUGH {
            replicas.iter().for_each(|r| (0..REPLICAS).for_each(|_| self.step(*r, false)));
        }
    }

    /// Runs a task to its end.
    pub fn complete(&mut self, r: usize, act: impl Future<Output = ()> + 'static) {
        let hung = self.passes[r].replace(Box::pin(act));
        (0..ENOUGH).for_each(|_| self.step(r, true));
        assert!(self.passes[r].is_none(), "the pass of {} does not end", called(r));
        self.passes[r] = hung;
    }

    /// Takes a drain snapshot.
    pub fn look(&mut self, r: usize) {
        self.complete(r, drain::look(self.sim.clone(), r));
    }

    /// Runs a pass.
    pub fn pass(&mut self, r: usize) {
        self.complete(r, drain::pass(self.sim.clone(), r));
    }

    /// Begins a pass, and stops it when the condition holds or when the pass has ended.
    pub fn pass_until(&mut self, r: usize, is_so: impl Fn(&World) -> bool) {
        self.passes[r] = Some(Box::pin(drain::pass(self.sim.clone(), r)));
        for _ in 0..ENOUGH {
            if self.passes[r].is_none() || is_so(&self.world()) {
                return;
            }
            self.step(r, true);
        }
    }

    /// Begins a pass, and stops it after its first drain snapshot.
    pub fn pass_until_looked(&mut self, r: usize) {
        let looks = self.world().replicas[r].looks;
        self.pass_until(r, |world| world.replicas[r].looks > looks);
    }

    /// Continues a stopped pass to its end.
    pub fn go_on(&mut self, r: usize) {
        (0..ENOUGH).for_each(|_| self.step(r, true));
    }

    /// Another program changes a key, and leaves a mark.
    pub fn write(&mut self, k: usize) {
        sources::write(&mut self.world(), k / DATES, NOON);
    }

    /// A command changes a key, commits the figures, and publishes nothing.
    pub fn change_silently(&mut self, k: usize) {
        self.write(k);
        self.world().db.marks.pop();
        self.complete(A, refresh::refresh_silently(self.sim.clone(), k));
    }

    /// An event changes a key. Its figures go to the publisher.
    pub fn change(&mut self, r: usize, k: usize) {
        let sim = self.sim.clone();
        self.complete(r, async move {
            let event = Event::Activity { facility: k / DATES, place: NOON };
            assert!(refresh::refresh(&sim, r, Work::Event(event)).await.is_ok());
        });
    }

    /// Another program registers or moves the facility of `KEY`, or removes it.
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

    /// Begins a task that stops after its first step, until its replica goes on.
    pub fn begin(&mut self, r: usize, act: impl Future<Output = ()> + 'static) {
        self.passes[r] = Some(Box::pin(act));
        self.step(r, true);
    }

    /// Begins an event that stops after its first step.
    pub fn begin_event(&mut self, r: usize, event: Event) {
        let sim = self.sim.clone();
        self.begin(r, async move {
            let _ = refresh::refresh(&sim, r, Work::Event(event)).await;
        });
    }

    /// The handle to the world.
    pub fn sim(&self) -> Sim {
        self.sim.clone()
    }

    /// Publishes everything in the outbox and deletes it there.
    pub fn drain_all(&mut self) {
        for _ in 0..2 {
            self.pass(A);
            self.settle(&[A, B, C]);
        }
        assert!(
            self.world().db.outbox.is_empty() && self.world().db.marks.is_empty(),
            "marks or outbox rows are left after the passes"
        );
    }

    /// Reads `KEY` from the primary.
    pub fn read_table(&mut self, r: usize) {
        self.read_table_of(r, KEY);
    }

    /// Reads a key from the primary.
    pub fn read_table_of(&mut self, r: usize, k: usize) {
        self.complete(r, fills::from_primary(self.sim.clone(), r, k));
    }

    /// Reads `KEY` from this standby.
    pub fn read_standby(&mut self, r: usize, standby: &Rc<Database>) {
        let (sim, standby) = (self.sim.clone(), standby.clone());
        self.complete(r, fills::from_this_standby(sim, r, KEY, |_| standby));
    }

    /// Reads `KEY` from Redis.
    pub fn read_redis(&mut self, r: usize) {
        self.read_redis_of(r, KEY);
    }

    /// Reads a key from Redis.
    pub fn read_redis_of(&mut self, r: usize, k: usize) {
        self.complete(r, fills::from_redis(self.sim.clone(), r, k));
    }

    /// Evicts what the replica holds of the facility of `KEY`.
    pub fn evict(&mut self, r: usize) {
        self.sim.memory(r).forget_facility(facility_id(KEY / DATES));
    }

    /// A replica of Redis is promoted, and these replicas use it.
    pub fn split(&mut self, hear: &[usize]) {
        let world = &mut *self.world();
        world.redis[1] = world.redis[0].promoted(0);
        hear.iter().for_each(|r| world.replicas[*r].side = 1);
    }

    /// Restores the database from a copy; its timeline is then another.
    pub fn restore(&mut self, copy: &Database) {
        let world = &mut *self.world();
        world.restore(copy.clone());
        world.db.timeline = world.name();
        world.judge.begin(epoch(world.db.identity()));
    }

    /// The last number in the stream of the current epoch.
    pub fn last_number(&self) -> i64 {
        let world = self.world();
        let of = epoch(world.db.identity());
        world.redis[0].streams.get(&of).map_or(0, |stream| stream.last)
    }
}
