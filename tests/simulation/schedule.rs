//! One schedule: a seed decides what happens, step by step, until an answer is wrong or the
//! schedule ends.

use rand::RngExt;

use crate::{
    database::{Database, epoch},
    directory, drain,
    events::Event,
    fills,
    judge::Judge,
    mutants::Mutant,
    pace::Disaster,
    places::{BANKS, BEGIN_MS, DATES, FACILITIES, ZONES, facility_id, told},
    refresh::{self, Work},
    sources, stream,
    subscribers::{self, quiet::come_to_rest},
    views,
    world::{Actor, REPLICAS, Sim, called},
};

const STEPS: usize = 400;
/// The most tasks beside those that each replica always has.
const AT_ONCE: usize = 10;

/// How much a schedule without a wrong answer has checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// Answers that were checked.
    pub answers: u64,
    /// Answers that watermarks proved as of a later instant than that of their own read.
    pub proven: u64,
    /// Lists that were checked.
    pub lists: u64,
    /// Claims of heartbeats that were checked.
    pub claims: u64,
}

/// In one of so many schedules with subscribers, they come to rest at the end.
const RESTS: u64 = 4;

/// Runs the schedule of a seed; the error is the first wrong answer. With `is_told` it prints each
/// step.
pub fn run(seed: u64, mutant: Option<Mutant>, is_told: bool) -> Result<Asked, String> {
    let sim = Sim::random(seed, mutant, is_told);
    let mut actors = Vec::new();
    let servers = if sim.world().pace.is_alone { 1 } else { REPLICAS };
    (0..servers).for_each(|r| start(&sim, r));
    let mut result = Ok(());
    for _ in 0..STEPS {
        let touched = step(&sim, &mut actors);
        result = subscribers::step(&sim);
        actors.append(&mut sim.world().spawned);
        let world = &mut *sim.world();
        if let Some(r) =
            touched.filter(|_| result.is_ok() && !mutant.is_some_and(Mutant::is_of_hub))
        {
            result = Judge::check(world, r)
                .map_err(|wrong| format!("{} at {} ms: {wrong}", called(r), told(world.now)));
        }
        if result.is_err() {
            break;
        }
    }
    if result.is_ok() && (seed / 2).is_multiple_of(RESTS) {
        result = come_to_rest(&sim, &mut actors);
    }
    actors.clear(); // the actors and the world hold each other
    let subscribers = end(&sim);
    let world = sim.world();
    result.map(|()| Asked {
        answers: world.judge.answers,
        proven: world.judge.proven,
        lists: world.judge.lists,
        claims: subscribers.map_or(0, |subscribers| subscribers.claims),
    })
}

/// Ends what holds the world. Returns the subscribers.
pub fn end(sim: &Sim) -> Option<subscribers::Subscribers> {
    (0..REPLICAS).for_each(|r| subscribers::lose_all(sim, r));
    let world = &mut *sim.world();
    world.spawned.clear();
    world.replicas.iter_mut().for_each(|replica| replica.live = None);
    world.subscribers.take()
}

/// Starts the tasks of a replica: they follow the stream, read the facilities that messages tell
/// of, and publish.
pub fn start(sim: &Sim, r: usize) {
    let is_alone = sim.is_alone();
    if !is_alone {
        sim.spawn(Some(r), false, stream::follow_for_ever(sim.clone(), r));
    }
    sim.spawn(Some(r), false, directory::read_for_ever(sim.clone(), r));
    if !is_alone {
        sim.spawn(Some(r), false, stream::publish_for_ever(sim.clone(), r));
    }
}

/// One step. Returns the replica that took it.
fn step(sim: &Sim, actors: &mut Vec<Actor>) -> Option<usize> {
    let (choice, r, k) = {
        let world = &mut *sim.world();
        world.now += world.rng.random_range(1..100);
        subscribers::tell_time(world);
        let p = &world.pace;
        let weights =
            [p.write, p.read, p.refresh, p.drain, p.follow, p.work, p.fault, p.list, p.come_and_go];
        let choice = world.one_of(&weights);
        let servers = if world.pace.is_alone { 1 } else { REPLICAS };
        // Most steps are about one date, so that they affect each other.
        let (f, any) = (world.rng.random_range(0..FACILITIES), world.rng.random_range(0..DATES));
        let one_date = world.pace.one_date;
        let date = if world.chance(one_date) { 1 } else { any };
        (choice, world.rng.random_range(0..servers), f * DATES + date)
    };
    let is_crowded = actors.len() > AT_ONCE;
    match choice {
        0 => write(sim, k),
        1 if !is_crowded => read(sim, r, k),
        2 if !is_crowded => refresh(sim, r, k),
        3 => return drains(sim, actors, r),
        4 => {
            let nth = usize::from(sim.world().chance(25));
            return poll(actors, |actor| actor.replica == Some(r) && !actor.is_drain, nth);
        }
        6 => return befall(sim, actors, r),
        7 if !is_crowded && sim.epoch(r).is_some() => {
            let is_of_one_day = sim.world().chance(50);
            match is_of_one_day {
                true => read(sim, r, k),
                false => sim.spawn(Some(r), false, views::read(sim.clone(), r)),
            }
        }
        8 => sources::come_and_go(&mut sim.world()),
        _ => {
            let nth = sim.world().rng.random_range(0..actors.len().max(1));
            return poll(actors, |_| true, nth);
        }
    }
    None
}

/// Lets the `nth` of these actors take a step. Returns its replica.
pub fn poll(actors: &mut Vec<Actor>, which: impl Fn(&Actor) -> bool, nth: usize) -> Option<usize> {
    let at =
        actors.iter().enumerate().filter(|(_, actor)| which(actor)).map(|(at, _)| at).nth(nth)?;
    let replica = actors[at].replica;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    if actors[at].act.as_mut().poll(&mut context).is_ready() {
        drop(actors.remove(at));
    }
    replica
}

/// A write by another program.
fn write(sim: &Sim, k: usize) {
    let (of_bank, bank, place) = {
        let world = &mut *sim.world();
        let units = world.pace.units;
        (world.chance(units), world.rng.random_range(0..BANKS), sources::random_place(world))
    };
    match of_bank {
        true => sim.spawn(None, false, sources::write_units(sim.clone(), bank)),
        false => sources::write(&mut sim.world(), k / DATES, place),
    }
}

fn event(sim: &Sim, k: usize) -> Event {
    let world = &mut *sim.world();
    let (facility, bank, comes_and_goes) =
        (k / DATES, world.rng.random_range(0..BANKS), world.pace.come_and_go);
    match world.one_of(&[4, 2, comes_and_goes, comes_and_goes]) {
        0 => Event::Activity { facility, place: sources::random_place(world) },
        1 => Event::Units { bank },
        2 => Event::Moved { bank, to: facility },
        _ => Event::Registered { facility, zone: world.rng.random_range(0..ZONES.len()) },
    }
}

fn read(sim: &Sim, r: usize, k: usize) {
    if sim.epoch(r).is_none() {
        return;
    }
    let (from, is_alone) = {
        let world = &mut *sim.world();
        let sources = world.pace.sources;
        (world.one_of(&sources), world.pace.is_alone)
    };
    match from {
        1 => sim.spawn(Some(r), false, fills::from_standby(sim.clone(), r, k)),
        2 if !is_alone => sim.spawn(Some(r), false, fills::from_redis(sim.clone(), r, k)),
        _ => sim.spawn(Some(r), false, fills::from_primary(sim.clone(), r, k)),
    }
}

fn refresh(sim: &Sim, r: usize, k: usize) {
    let how = sim.world().rng.random_range(0..5);
    let sim = sim.clone();
    match how {
        0 => sim.clone().spawn(None, false, refresh::refresh_silently(sim, k)),
        1 | 2 if sim.epoch(r).is_some() => sim.clone().spawn(Some(r), false, async move {
            let _ = refresh::refresh(&sim, r, Work::Day(k)).await;
        }),
        3.. if sim.epoch(r).is_some() => sim.clone().spawn(Some(r), false, async move {
            let _ = refresh::refresh(&sim, r, Work::Event(event(&sim, k))).await;
        }),
        _ => {}
    }
}

/// A replica that already drains goes on, mostly the leader. Any other begins a drain snapshot or a
/// pass.
fn drains(sim: &Sim, actors: &mut Vec<Actor>, r: usize) -> Option<usize> {
    let (r, passes) = {
        let world = &mut *sim.world();
        let (leader, leads) = (world.pace.leader, world.pace.leads);
        let r = if world.chance(leads) { leader } else { r };
        (r, (r == leader || world.chance(100 - leads)) && world.has_started(r))
    };
    if std::mem::replace(&mut sim.world().replicas[r].drains, true) {
        return poll(actors, |actor| actor.is_drain && actor.replica == Some(r), 0);
    }
    match passes {
        _ if !sim.directory(r).is_loaded() => sim.world().replicas[r].drains = false,
        true => sim.spawn(Some(r), true, drain::pass(sim.clone(), r)),
        false => sim.spawn(Some(r), true, drain::look(sim.clone(), r)),
    }
    None
}

/// One fault, or the end of one.
fn befall(sim: &Sim, actors: &mut Vec<Actor>, r: usize) -> Option<usize> {
    let what = {
        let world = &mut *sim.world();
        let faults = world.pace.faults;
        world.one_of(&faults)
    };
    match what {
        0 => restart(sim, actors, r),
        1 => {
            let replica = &mut sim.world().replicas[r];
            replica.is_cut_off = !replica.is_cut_off;
        }
        2 => redis(sim),
        3 => split(sim, r),
        4 => {
            sim.tell(called(r), || "evicts what it holds".into());
            let facility = facility_id(sim.world().rng.random_range(0..FACILITIES));
            sim.memory(r).forget_facility(facility);
            return Some(r);
        }
        _ => database(sim, actors),
    }
    None
}

/// Kills a replica, and starts it again.
pub fn restart(sim: &Sim, actors: &mut Vec<Actor>, r: usize) {
    sim.tell(called(r), || "is killed, and starts".into());
    actors.retain(|actor| actor.replica != Some(r));
    subscribers::lose_all(sim, r);
    {
        let world = &mut *sim.world();
        world.replace(r);
        world.judge.forget(r);
    }
    start(sim, r);
}

fn redis(sim: &Sim) {
    let what = {
        let world = &mut *sim.world();
        let (some, side) = (world.rng.random_range(0..6), world.rng.random_range(0..2));
        let what = world.rng.random_range(0..6);
        let redis = &mut world.redis[side];
        match what {
            0 => {
                redis.is_down = !redis.is_down;
                if redis.is_down { "stops" } else { "runs again" }
            }
            1 => {
                redis.restart(0);
                "restarts with all it had"
            }
            2 => {
                redis.restart(some);
                "restarts without the newest messages"
            }
            3 => {
                redis.empty();
                "is emptied"
            }
            4 => {
                redis.tier.clear();
                "evicts all summaries"
            }
            _ => {
                redis.trim(some);
                "trims its streams"
            }
        }
    };
    sim.tell("Redis", || what.into());
}

/// A failover of Redis that only some replicas notice. The others still use the old primary.
fn split(sim: &Sim, r: usize) {
    let world = &mut *sim.world();
    let is_split = world.replicas.iter().any(|replica| replica.side != 0);
    if is_split {
        world.redis.swap(0, 1);
        world.replicas.iter_mut().for_each(|replica| replica.side = 0);
    } else {
        let lost = world.rng.random_range(0..3);
        world.redis[1] = world.redis[0].promoted(lost);
        // One or two replicas notice it.
        let hears_alone = world.chance(50);
        world
            .replicas
            .iter_mut()
            .enumerate()
            .for_each(|(at, replica)| replica.side = usize::from((at == r) == hears_alone));
    }
}

fn database(sim: &Sim, actors: &mut Vec<Actor>) {
    let mut is_cold = false;
    let what = {
        let world = &mut *sim.world();
        match world.pace.disaster {
            Disaster::Nothing => return,
            Disaster::ClockSetBack => {
                let by = world.rng.random_range(200..4_000).min(world.now - BEGIN_MS - 900);
                world.judge.set_back(world.now);
                world.now -= by;
                world.replicas.iter_mut().for_each(|replica| replica.ahead += by);
                format!("its clock is set back by {by} ms")
            }
            Disaster::Loses => {
                let back = world.rng.random_range(0..world.committed.len());
                let copy = Database::clone(&world.committed[world.committed.len() - 1 - back]);
                world.restore(copy);
                // A restored volume still has its old identity, so all servers are stopped during
                // the restore. The volume must lack a watermark that was announced: the database
                // must have been in use for a moment after the copy was made (docs/freshness.md,
                // "What is assumed").
                let announced_ms =
                    world.replicas.iter().map(|replica| replica.memory.watermark_ms()).max();
                let stored_ms =
                    world.db.stored_watermark().map_or(i64::MIN, |watermark| watermark.at_ms);
                is_cold = world.chance(30)
                    && announced_ms.is_some_and(|announced_ms| announced_ms > stored_ms);
                if !is_cold {
                    world.db.timeline = world.name();
                }
                world.judge.begin(epoch(world.db.identity()));
                world.committed();
                format!("loses its last {back} commits, and is {} now", epoch(world.db.identity()))
            }
        }
    };
    sim.tell("database", || what);
    if is_cold {
        let servers = if sim.world().pace.is_alone { 1 } else { REPLICAS };
        (0..servers).for_each(|r| restart(sim, actors, r));
        subscribers::forget_versions(sim);
    }
}
