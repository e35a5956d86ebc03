//! Subscribers: live clients of the replicas. Each replica has the service's own hub with one
//! shard, which takes its turns and ticks when the schedule says so, and reads by the simulated
//! tiers. Subscribers follow facilities, all of them, or the totals. They read slowly, lose their
//! connection, and come back to any replica with what they have. Each message that they take is
//! checked (`screen`).

pub mod messages;
pub mod pipe;
pub mod quiet;
pub mod screen;
pub mod server;
mod stage;
pub mod subscriber;
pub mod tampering;
pub mod tap;

use std::{
    cell::{Cell, OnceCell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{Arc, LazyLock},
    task::{Context, Waker},
};

use facility_summary::{
    cache::memory::Memory,
    config::LiveSettings,
    directory::Directory,
    live::{
        hub::{Hub, HubParts},
        shard::{Shard, TICK},
    },
    metrics::Metrics,
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tokio::task::LocalSet;

use crate::{
    mutants::Mutant,
    world::{REPLICAS, Sim, World},
};
use server::{SimServer, answer};
use subscriber::Subscriber;
use tap::Tap;

/// All hubs count in the same cells.
static METRICS: LazyLock<Arc<Metrics>> =
    LazyLock::new(|| Arc::new(Metrics::new().expect("no two metrics have the same name")));

/// How many subscribers there are.
const SUBSCRIBERS: usize = 4;
const TICK_MS: i64 = TICK.as_millis() as i64;

/// What a replica has for live clients.
pub struct Live {
    /// What its hub asks.
    pub server: Arc<SimServer>,
    /// The service's own hub.
    pub hub: Arc<Hub>,
    shard: OnceCell<Rc<Shard>>,
    /// The way from memory to the hub.
    pub tap: Arc<Tap>,
    tasks: RefCell<LocalSet>,
    /// The time of its last tick, in milliseconds.
    ticked_ms: Cell<i64>,
    /// For how many ticks the changes of other servers have not arrived here.
    pub lost_for: Cell<u64>,
}

impl Live {
    /// The hub of a replica, without subscribers.
    pub fn new(
        memory: &Arc<Memory>,
        directory: &Arc<Directory>,
        server: SimServer,
        mutant: Option<Mutant>,
    ) -> Rc<Self> {
        let server = Arc::new(server);
        let tap = Arc::new(Tap::new(mutant));
        memory.watch_by(tap.clone()); // the first one counts: the hub hears of all by this one
        let settings = LiveSettings {
            connects_per_second: 0,
            heartbeat_seconds: 1,
            ..LiveSettings::default()
        };
        let hub = Hub::new(HubParts {
            memory: memory.clone(),
            directory: directory.clone(),
            server: server.clone(),
            metrics: METRICS.clone(),
            guard: None,
            settings: LiveSettings { max_age_seconds: 0, ..settings },
            is_alone: server.is_alone(),
        });
        tap.pass_on_to(hub.clone());
        Rc::new(Live {
            ticked_ms: Cell::new(server.now()),
            server,
            hub,
            shard: OnceCell::new(),
            tap,
            tasks: RefCell::default(),
            lost_for: Cell::new(0),
        })
    }

    /// The service's own shard. The first client starts it.
    pub fn shard(&self) -> &Rc<Shard> {
        self.shard.get_or_init(|| Rc::new(Shard::new(self.hub.clone())))
    }

    /// Calls the service's code as one that runs on a worker's thread.
    pub fn on_its_thread<T>(&self, call: impl FnOnce() -> T) -> T {
        let tasks = self.tasks.borrow();
        let _entered = tasks.enter();
        call()
    }

    /// Lets the tasks of the worker's thread go on.
    fn go_on(&self) {
        let mut context = Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut *self.tasks.borrow_mut()).poll(&mut context);
    }

    /// A turn, and the ticks that are due, `most` at most.
    pub fn turn(&self, most: i64) {
        let Some(shard) = self.shard.get() else { return };
        let now = self.server.now();
        // Ticks go on when the clock is set back.
        self.ticked_ms.set(self.ticked_ms.get().min(now));
        let due = ((now - self.ticked_ms.get()) / TICK_MS).clamp(0, most);
        self.on_its_thread(|| {
            shard.turn();
            for nth in 0..due {
                if nth > 0 {
                    shard.turn();
                }
                let is_lost = !self.server.receives_changes();
                self.lost_for.set(if is_lost { self.lost_for.get() + 1 } else { 0 });
                shard.tick();
            }
        });
        self.tap.end_turn();
        if due > 0 {
            self.ticked_ms.set(now);
        }
        self.go_on();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.tap.close(); // the hub and the memory hold each other
    }
}

/// The subscribers of a schedule.
pub struct Subscribers {
    /// A source of randomness of their own, so that the schedule is the same without them.
    pub rng: Pcg64,
    /// All of them.
    pub all: Vec<Subscriber>,
    /// How often one of them takes a step after a step of the schedule, in percent.
    busy: u32,
    /// How often a step is one of a reader, against those of the shards.
    reads: u32,
    /// Claims of heartbeats that were checked.
    pub claims: u64,
}

impl Subscribers {
    /// These, which do nothing by themselves.
    pub fn of(rng: Pcg64, all: Vec<Subscriber>) -> Self {
        Subscribers { rng, all, busy: 0, reads: 1, claims: 0 }
    }

    /// The subscribers of a seed.
    pub fn random(seed: u64) -> Self {
        let mut rng = Pcg64::seed_from_u64(seed ^ 0x5b5c);
        let all = (0..SUBSCRIBERS).map(|_| Subscriber::random(&mut rng)).collect();
        let busy = [40, 80, 100][rng.random_range(0..3)];
        let reads = [2, 6, 12][rng.random_range(0..3)];
        Subscribers { rng, all, busy, reads, claims: 0 }
    }
}

/// The time goes on for the hubs.
pub fn tell_time(world: &World) {
    for (r, replica) in world.replicas.iter().enumerate() {
        if let Some(live) = &replica.live {
            live.server.set_now(world.clock(r));
        }
    }
}

/// A step of a subscriber or a shard, perhaps. The error says what a subscriber was told wrong.
pub fn step(sim: &Sim) -> Result<(), String> {
    let Some(mut subscribers) = sim.world().subscribers.take() else { return Ok(()) };
    let is_due = subscribers.rng.random_range(0..100) < subscribers.busy;
    let result = if is_due { act(sim, &mut subscribers) } else { Ok(()) };
    sim.world().subscribers = Some(subscribers);
    pump(sim);
    result
}

fn act(sim: &Sim, subscribers: &mut Subscribers) -> Result<(), String> {
    let rng = &mut subscribers.rng;
    let servers = if sim.is_alone() { 1 } else { REPLICAS };
    let (r, s) = (rng.random_range(0..servers), rng.random_range(0..SUBSCRIBERS));
    let choice = rng.random_range(0..20 + subscribers.reads);
    let is_connected = subscribers.all[s].is_connected();
    match choice {
        0..=13 => {
            let most = [0, 1, 5, 40][rng.random_range(0..4)];
            if let Some(live) = sim.live(r) {
                turn(sim, subscribers, &live, (r, most));
            }
            Ok(())
        }
        14 => {
            subscribers.all[s].lose(sim);
            Ok(())
        }
        15 => {
            subscribers.all[s].change_view(sim, &mut subscribers.rng);
            Ok(())
        }
        16.. if is_connected => {
            let bytes = [1, 500, usize::MAX, usize::MAX][rng.random_range(0..4)];
            subscribers.all[s].read(sim, bytes, &mut subscribers.claims)
        }
        16..=18 => {
            let has_epoch = sim.world().replicas[r].epoch.is_some();
            if has_epoch {
                subscribers.all[s].connect(sim, r, &mut subscribers.rng);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A turn of a replica's shard.
pub fn turn(sim: &Sim, subscribers: &Subscribers, live: &Live, (r, most): (usize, i64)) {
    let (mutant, enters) = {
        let world = sim.world();
        (world.mutant, world.replicas[r].epoch != world.replicas[r].entered)
    };
    if enters {
        return; // a replica enters an epoch at once, and shards wait for two ticks
    }
    let Some(mutant) = mutant.filter(|mutant| mutant.is_of_hub()) else { return live.turn(most) };
    let at =
        || subscribers.all.iter().filter(|one| one.is_at(r)).filter_map(Subscriber::connection);
    let sent: Vec<_> = at().map(|connection| tampering::sent(&connection)).collect();
    at().for_each(|connection| tampering::tamper(&connection, mutant));
    live.turn(most);
    at().zip(&sent).for_each(|(connection, sent)| {
        tampering::tamper_after(&connection, sent, mutant);
    });
}

/// Lets the schedule answer what the hubs have asked for.
pub fn pump(sim: &Sim) {
    for r in 0..REPLICAS {
        let Some(live) = sim.live(r) else { continue };
        live.go_on();
        for asked in live.server.take_asked() {
            sim.spawn(Some(r), false, answer(sim.clone(), r, asked));
        }
    }
}

/// A replica is killed: its subscribers lose their connections.
pub fn lose_all(sim: &Sim, r: usize) {
    let Some(mut subscribers) = sim.world().subscribers.take() else { return };
    subscribers.all.iter_mut().filter(|one| one.is_at(r)).for_each(|one| one.lose(sim));
    sim.world().subscribers = Some(subscribers);
}

/// The database was restored with its old identity while all servers were stopped: versions may
/// go back until the first server finds that.
pub fn forget_versions(sim: &Sim) {
    if let Some(subscribers) = &mut sim.world().subscribers {
        subscribers.all.iter_mut().for_each(|one| one.screen.forget_versions());
    }
}
