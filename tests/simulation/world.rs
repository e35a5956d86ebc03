//! The world of one schedule, and the handle through which actors use it.

use std::{
    cell::{RefCell, RefMut},
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use facility_summary::{
    cache::memory::{FillToken, Memory},
    directory::Directory,
    protocol::{Epoch, Position},
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::{
    database::{Database, epoch},
    judge::Judge,
    mutants::Mutant,
    pace::Pace,
    places::{FACILITIES, told},
    redis::Redis,
    replica::Replica,
    subscribers::{Live, Subscribers, server::SimServer},
};

/// How many replicas there are.
pub const REPLICAS: usize = 3;
/// How many of the last states of the database a standby may still have.
const STANDBY_STATES: usize = 80;

/// What an actor does.
pub type Act = Pin<Box<dyn Future<Output = ()>>>;

/// A task of a replica, or something outside of the replicas. One actor takes a step at a time.
pub struct Actor {
    /// The replica that it belongs to.
    pub replica: Option<usize>,
    /// It is a pass or a drain snapshot.
    pub is_drain: bool,
    /// What it does.
    pub act: Act,
}

/// Everything in a schedule.
pub struct World {
    /// The source of randomness, from the seed.
    pub rng: Pcg64,
    /// How often things happen.
    pub pace: Pace,
    /// The time by the database's clock, in milliseconds since 1970.
    pub now: i64,
    /// The database.
    pub db: Database,
    /// The transaction that holds the lock of each facility.
    pub locks: [Option<u64>; FACILITIES],
    /// How many transactions there were.
    pub transactions: u64,
    /// How many restores and failovers there were. Each one ends all transactions.
    pub run: u32,
    /// The last number that was used for a timeline or a salt.
    pub names: u32,
    /// How many processes have taken the place of a replica.
    pub processes: i64,
    /// The last states of the database, oldest first.
    pub committed: VecDeque<Rc<Database>>,
    /// The Redis server that all replicas use. During a split there are two: the old primary and
    /// the new one.
    pub redis: [Redis; 2],
    /// The replicas.
    pub replicas: [Replica; REPLICAS],
    /// The judge.
    pub judge: Judge,
    /// The rule that is broken.
    pub mutant: Option<Mutant>,
    /// Whether steps are printed.
    pub is_told: bool,
    /// New actors.
    pub spawned: Vec<Actor>,
    /// Whether replicas have hubs.
    pub has_hubs: bool,
    /// The live clients; `None` in schedules without them, and while one of them takes a step.
    pub subscribers: Option<Subscribers>,
}

impl World {
    /// Puts a process that has not started yet in the place of a replica.
    pub fn replace(&mut self, r: usize) {
        self.processes += 1;
        // As in `Core::open_as`: a server without Redis numbers the stream within its process anew,
        // in a generation that no other process has.
        let is_numbered_alike = self.mutant == Some(Mutant::NumbersProcessesAlike);
        let generation = if self.pace.is_alone && !is_numbered_alike { self.processes } else { 0 };
        let mut replica = Replica::new(self.pace.recent, Position { generation, number: 0 });
        replica.live = self.has_hubs.then(|| self.hub_of(&replica));
        self.replicas[r] = replica;
    }

    fn hub_of(&self, replica: &Replica) -> Rc<Live> {
        let (memory, directory) = (&replica.memory, &replica.directory);
        let attachment = (!self.pace.is_alone).then(|| replica.attachment.clone());
        let server =
            SimServer::new(memory.clone(), directory.clone(), attachment, self.mutant, self.now);
        Live::new(memory, directory, server, self.mutant)
    }

    /// Records what was committed, for standbys and restores.
    pub fn committed(&mut self) {
        self.committed.push_back(Rc::new(self.db.clone()));
        if self.committed.len() > STANDBY_STATES {
            self.committed.pop_front();
        }
    }

    /// Makes the database an earlier state of itself.
    pub fn restore(&mut self, copy: Database) {
        self.judge.restore(self.now, &self.db);
        self.db = copy;
        self.run += 1;
        self.locks = Default::default();
    }

    /// Prints what happens, when a schedule is replayed.
    pub fn tell(&self, who: impl std::fmt::Display, what: impl FnOnce() -> String) {
        if self.is_told {
            println!("{:>7} ms  {who:<10} {}", told(self.now), what());
        }
    }

    /// A random index of these weights; an index with a greater weight is more likely.
    pub fn one_of(&mut self, weights: &[u32]) -> usize {
        let mut left = self.rng.random_range(0..weights.iter().sum());
        let is_it = |weight: &u32| {
            let is_it = left < *weight;
            left = left.saturating_sub(*weight);
            is_it
        };
        weights.iter().position(is_it).expect("their sum is greater than what was drawn")
    }

    /// True with this probability, in percent.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// The database's time as the replica knows it.
    pub fn clock(&self, r: usize) -> i64 {
        self.now + self.replicas[r].ahead
    }

    /// Whether a replica may drain: after its start, it first reads the stream.
    pub fn has_started(&mut self, r: usize) -> bool {
        let is_alone = self.pace.is_alone;
        let replica = &mut self.replicas[r];
        replica.has_started |=
            replica.directory.is_loaded() && (is_alone || replica.attachment.is_caught_up());
        replica.has_started
    }

    /// The Redis that a replica uses, if it answers.
    pub fn redis_of(&mut self, r: usize) -> Option<&mut Redis> {
        let replica = &self.replicas[r];
        let redis = &mut self.redis[replica.side];
        (!redis.is_down && !replica.is_cut_off).then_some(redis)
    }

    /// A number for a timeline or a salt that was not used before.
    pub fn name(&mut self) -> u32 {
        self.names += 1;
        self.names
    }
}

/// The handle to a world.
#[derive(Clone)]
pub struct Sim(Rc<RefCell<World>>);

impl Sim {
    /// The world of a seed.
    pub fn random(seed: u64, mutant: Option<Mutant>, is_told: bool) -> Self {
        let mut rng = Pcg64::seed_from_u64(seed);
        let mut pace = Pace::random(&mut rng, mutant.and_then(Mutant::theme));
        // The rules of the hub are those that subscribers can see broken.
        let has_hubs = mutant.map_or(seed.is_multiple_of(2), Mutant::is_of_hub);
        let mut subscribers = has_hubs.then(|| Subscribers::random(seed));
        if let Some(subscribers) = &mut subscribers {
            pace.begin(&mut subscribers.rng, mutant.is_some_and(Mutant::is_of_midnight));
        }
        Sim::new(rng, pace, (mutant, subscribers), is_told)
    }

    /// A world with this pace.
    pub fn new(
        rng: Pcg64,
        pace: Pace,
        (mutant, subscribers): (Option<Mutant>, Option<Subscribers>),
        is_told: bool,
    ) -> Self {
        let db = Database::new(pace.zones, pace.begins_ms - 1_000);
        let mut world = World {
            replicas: std::array::from_fn(|_| Replica::new(pace.recent, Position::default())),
            rng,
            now: pace.begins_ms,
            pace,
            locks: [None; FACILITIES],
            transactions: 0,
            run: 0,
            names: 1,
            processes: 0,
            committed: VecDeque::new(),
            redis: Default::default(),
            judge: Judge::new(epoch(db.identity())),
            db,
            mutant,
            is_told,
            spawned: Vec::new(),
            has_hubs: subscribers.is_some(),
            subscribers,
        };
        (0..REPLICAS).for_each(|r| world.replace(r));
        world.committed();
        Sim(Rc::new(RefCell::new(world)))
    }

    /// The world. It must not be borrowed twice at a time.
    pub fn world(&self) -> RefMut<'_, World> {
        self.0.borrow_mut()
    }

    /// The memory tier of a replica.
    pub fn memory(&self, r: usize) -> Arc<Memory> {
        self.world().replicas[r].memory.clone()
    }

    /// What a replica has for live clients.
    pub fn live(&self, r: usize) -> Option<Rc<Live>> {
        self.world().replicas[r].live.clone()
    }

    /// The directory of a replica.
    pub fn directory(&self, r: usize) -> Arc<Directory> {
        self.world().replicas[r].directory.clone()
    }

    /// The epoch that a replica serves.
    pub fn epoch(&self, r: usize) -> Option<Epoch> {
        self.world().replicas[r].epoch.clone()
    }

    /// A fill token of a replica.
    pub fn token(&self, r: usize) -> FillToken {
        self.memory(r).fill_token()
    }

    /// Whether there is only one server.
    pub fn is_alone(&self) -> bool {
        self.world().pace.is_alone
    }

    /// Drops everything that a replica holds. Between replicas it reads the stream from the start
    /// again; within one process the stream goes on.
    pub fn start_over(&self, r: usize) {
        self.memory(r).start_over((!self.is_alone()).then(Position::default));
    }

    /// Whether this rule is broken.
    pub fn breaks(&self, mutant: Mutant) -> bool {
        self.world().mutant == Some(mutant)
    }

    /// Lets other actors take their steps.
    pub async fn step(&self) {
        let mut is_over = false;
        poll_fn(|_| match std::mem::replace(&mut is_over, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// A step at which a pass may hang.
    pub async fn hang(&self) {
        let steps = {
            let world = &mut *self.world();
            let percent = world.pace.hangs;
            if world.chance(percent) { world.rng.random_range(1..12) } else { 1 }
        };
        for _ in 0..steps {
            self.step().await;
        }
    }

    /// Prints what happens, when a schedule is replayed.
    pub fn tell(&self, who: impl std::fmt::Display, what: impl FnOnce() -> String) {
        self.world().tell(who, what);
    }

    /// Adds an actor.
    pub fn spawn(
        &self,
        replica: Option<usize>,
        is_drain: bool,
        act: impl Future<Output = ()> + 'static,
    ) {
        self.world().spawned.push(Actor { replica, is_drain, act: Box::pin(act) });
    }
}

/// The name of a replica in the output.
pub fn called(r: usize) -> String {
    format!("replica {}", ["A", "B", "C"][r])
}
