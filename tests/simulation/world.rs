//! One schedule's world, and the handle by which its actors reach it.

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
    changes::Attachment,
    directory::Directory,
    jobs::drain::EpochTracker,
    protocol::{Epoch, Position, StoredEntry},
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use uuid::Uuid;

use crate::{
    database::{Database, epoch},
    judge::Judge,
    mutants::Mutant,
    pace::Pace,
    places::{BEGIN_MS, FACILITIES, told},
    redis::Redis,
};

pub const REPLICAS: usize = 3;
/// States that a streaming replica may still show.
const STANDBY_STATES: usize = 80;
const MEMORY_BYTES: u64 = 1 << 20;

/// What waits to be appended to the stream, and put into the tier.
pub struct Publication {
    pub epoch: Epoch,
    pub entries: Vec<StoredEntry>,
    pub changed: bool,
    /// Or facilities that the others are to read again.
    pub facilities: Vec<Uuid>,
}

pub struct Replica {
    pub memory: Arc<Memory>,
    pub directory: Rc<Directory>,
    /// Another history was entered, and its facilities are yet to be read.
    pub has_new_directory: bool,
    /// It is alone and came, or came back: what others changed before may have passed unseen.
    pub has_missed: bool,
    pub attachment: Rc<Attachment>,
    pub known: EpochTracker,
    /// The history that is served, as its tasks see it.
    pub epoch: Option<Epoch>,
    /// The same, once what was held of another has been dropped.
    pub entered: Option<Epoch>,
    pub queue: VecDeque<Publication>,
    /// How far its clock is ahead of the database's, which it has not asked since that was set
    /// back.
    pub ahead: i64,
    pub is_cut_off: bool,
    /// Which of two Redis it uses.
    pub side: usize,
    pub has_started: bool,
    /// Which of the database's servers it is connected to for its looks; none outlives a restore
    /// or a failover.
    pub connection: Option<u32>,
    pub looks: u32,
    /// A pass, or a look, has its turn.
    pub drains: bool,
}

impl Replica {
    pub fn new(recent: usize) -> Self {
        let memory = Arc::new(Memory::new(MEMORY_BYTES, recent, Position::default()));
        Replica {
            directory: Rc::new(Directory::new(memory.clone())),
            memory,
            has_new_directory: false,
            has_missed: false,
            attachment: Rc::default(),
            known: EpochTracker::default(),
            epoch: None,
            entered: None,
            queue: VecDeque::new(),
            ahead: 0,
            is_cut_off: false,
            side: 0,
            has_started: false,
            connection: None,
            looks: 0,
            drains: false,
        }
    }
}

pub type Act = Pin<Box<dyn Future<Output = ()>>>;

/// Who takes a step at a time: a task of a replica, or something outside of them.
pub struct Actor {
    pub replica: Option<usize>,
    pub is_drain: bool,
    pub act: Act,
}

pub struct World {
    pub rng: Pcg64,
    pub pace: Pace,
    /// By the database's clock, in milliseconds.
    pub now: i64,
    pub db: Database,
    /// Who holds a facility's row.
    pub locks: [Option<u64>; FACILITIES],
    pub transactions: u64,
    /// Counts restores and failovers: no transaction outlives one.
    pub run: u32,
    pub names: u32,
    pub committed: VecDeque<Rc<Database>>,
    /// The one that all use; while two take themselves for the primary, the old and the new.
    pub redis: [Redis; 2],
    pub replicas: [Replica; REPLICAS],
    pub judge: Judge,
    pub mutant: Option<Mutant>,
    pub is_told: bool,
    pub spawned: Vec<Actor>,
}

impl World {
    /// Remembers what was committed, for streaming replicas and restores.
    pub fn committed(&mut self) {
        self.committed.push_back(Rc::new(self.db.clone()));
        if self.committed.len() > STANDBY_STATES {
            self.committed.pop_front();
        }
    }

    /// The database is an earlier state of itself from now on.
    pub fn restore(&mut self, copy: Database) {
        self.judge.restore(self.now, &self.db);
        self.db = copy;
        self.run += 1;
        self.locks = Default::default();
    }

    /// Tells what happens, where a schedule is replayed.
    pub fn tell(&self, who: impl std::fmt::Display, what: impl FnOnce() -> String) {
        if self.is_told {
            println!("{:>7} ms  {who:<10} {}", told(self.now), what());
        }
    }

    /// The place of one of these weights, each as likely as it is heavy.
    pub fn one_of(&mut self, weights: &[u32]) -> usize {
        let mut left = self.rng.random_range(0..weights.iter().sum());
        let is_it = |weight: &u32| {
            let is_it = left < *weight;
            left = left.saturating_sub(*weight);
            is_it
        };
        weights.iter().position(is_it).expect("their sum is greater than what was drawn")
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// The database's time as the replica knows it.
    pub fn clock(&self, r: usize) -> i64 {
        self.now + self.replicas[r].ahead
    }

    /// Whether a replica may drain: a start waits until the stream has been read.
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

    /// A name for a timeline or salt that none has had.
    pub fn name(&mut self) -> u32 {
        self.names += 1;
        self.names
    }
}

#[derive(Clone)]
pub struct Sim(Rc<RefCell<World>>);

impl Sim {
    pub fn random(seed: u64, mutant: Option<Mutant>, is_told: bool) -> Self {
        let mut rng = Pcg64::seed_from_u64(seed);
        let pace = Pace::random(&mut rng, mutant.and_then(Mutant::theme));
        Sim::new(rng, pace, mutant, is_told)
    }

    pub fn new(rng: Pcg64, pace: Pace, mutant: Option<Mutant>, is_told: bool) -> Self {
        let db = Database::new(pace.zones);
        let mut world = World {
            replicas: std::array::from_fn(|_| Replica::new(pace.recent)),
            rng,
            pace,
            now: BEGIN_MS + 1_000,
            locks: [None; FACILITIES],
            transactions: 0,
            run: 0,
            names: 1,
            committed: VecDeque::new(),
            redis: Default::default(),
            judge: Judge::new(epoch(db.identity())),
            db,
            mutant,
            is_told,
            spawned: Vec::new(),
        };
        world.committed();
        Sim(Rc::new(RefCell::new(world)))
    }

    pub fn world(&self) -> RefMut<'_, World> {
        self.0.borrow_mut()
    }

    pub fn memory(&self, r: usize) -> Arc<Memory> {
        self.world().replicas[r].memory.clone()
    }

    pub fn directory(&self, r: usize) -> Rc<Directory> {
        self.world().replicas[r].directory.clone()
    }

    pub fn epoch(&self, r: usize) -> Option<Epoch> {
        self.world().replicas[r].epoch.clone()
    }

    pub fn token(&self, r: usize) -> FillToken {
        self.memory(r).fill_token()
    }

    pub fn is_alone(&self) -> bool {
        self.world().pace.is_alone
    }

    /// Drops what a replica holds: the stream begins anew, or within it goes on.
    pub fn start_over(&self, r: usize) {
        self.memory(r).start_over((!self.is_alone()).then(Position::default));
    }

    pub fn breaks(&self, mutant: Mutant) -> bool {
        self.world().mutant == Some(mutant)
    }

    /// Lets others take their steps.
    pub async fn step(&self) {
        let mut is_over = false;
        poll_fn(|_| match std::mem::replace(&mut is_over, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// Where a pass may hang.
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

    /// Tells what happens, where a schedule is replayed.
    pub fn tell(&self, who: impl std::fmt::Display, what: impl FnOnce() -> String) {
        self.world().tell(who, what);
    }

    pub fn spawn(
        &self,
        replica: Option<usize>,
        is_drain: bool,
        act: impl Future<Output = ()> + 'static,
    ) {
        self.world().spawned.push(Actor { replica, is_drain, act: Box::pin(act) });
    }
}

/// A facility's row, locked until this is dropped.
pub struct Lock {
    sim: Sim,
    facility: usize,
    transaction: u64,
}

impl Lock {
    /// Waits for the lock, for some steps; none where somebody holds it for longer.
    pub async fn take(sim: &Sim, facility: usize, is_shared: bool) -> Option<Lock> {
        for _ in 0..6 {
            {
                let mut world = sim.world();
                if world.locks[facility].is_none() || is_shared {
                    world.transactions += 1;
                    let transaction = world.transactions;
                    world.locks[facility] = Some(transaction);
                    return Some(Lock { sim: sim.clone(), facility, transaction });
                }
            }
            sim.step().await;
        }
        None
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut world = self.sim.world();
        if world.locks[self.facility] == Some(self.transaction) {
            world.locks[self.facility] = None;
        }
    }
}

/// Names a replica where it is told of.
pub fn called(r: usize) -> String {
    format!("replica {}", ["A", "B", "C"][r])
}
