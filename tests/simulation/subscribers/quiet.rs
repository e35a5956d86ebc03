//! The end of some schedules: all faults are over, and nobody writes any more. Then each subscriber
//! that is connected comes to have everything, unaided.

use crate::{
    drain,
    pace::Pace,
    schedule::poll,
    world::{Actor, REPLICAS, Sim},
};

use super::{pump, tell_time, turn};

/// Rounds: enough for an epoch to become certain, for reads, and for a heartbeat.
const ROUNDS: usize = 500;
/// The steps of each task in a round.
const STEPS: usize = 4;

/// Lets everything come to rest. The error names a subscriber that does not come to have
/// everything, or was told something wrong on the way.
pub fn come_to_rest(sim: &Sim, actors: &mut Vec<Actor>) -> Result<(), String> {
    if sim.world().subscribers.is_none() {
        return Ok(());
    }
    sim.tell("the world", || "comes to rest".into());
    let since_ms = end_faults(sim);
    let mut last = None;
    for _ in 0..ROUNDS {
        round(sim, actors);
        let Some(mut subscribers) = sim.world().subscribers.take() else { return Ok(()) };
        for r in 0..REPLICAS {
            if let Some(live) = sim.live(r) {
                turn(sim, &subscribers, &live, (r, 1));
            }
        }
        let mut result = Ok(());
        for one in &mut subscribers.all {
            result = result.and_then(|()| one.read(sim, usize::MAX, &mut subscribers.claims));
        }
        last = subscribers.all.iter().find_map(|one| one.lacks(since_ms));
        sim.world().subscribers = Some(subscribers);
        result?;
        if last.is_none() {
            return Ok(());
        }
    }
    let lacks = last.unwrap_or_default();
    Err(format!("{lacks}, although nothing has happened for {ROUNDS} rounds"))
}

/// Returns when.
fn end_faults(sim: &Sim) -> i64 {
    let world = &mut *sim.world();
    let calm = Pace::calm();
    let pace = &mut world.pace;
    (pace.hangs, pace.unanswered, pace.lag) = (calm.hangs, calm.unanswered, calm.lag);
    (pace.batch, pace.expiries) = (calm.batch, calm.expiries);
    if world.replicas.iter().any(|replica| replica.side != 0) {
        world.redis.swap(0, 1);
    }
    world.redis.iter_mut().for_each(|redis| redis.is_down = false);
    for replica in &mut world.replicas {
        (replica.side, replica.is_cut_off) = (0, false);
    }
    world.now
}

fn round(sim: &Sim, actors: &mut Vec<Actor>) {
    let (servers, leader) = {
        let pace = &sim.world().pace;
        (if pace.is_alone { 1 } else { REPLICAS }, pace.leader)
    };
    for r in 0..servers {
        let can_drain = !sim.world().replicas[r].drains && sim.directory(r).is_loaded();
        if can_drain {
            sim.world().replicas[r].drains = true;
            let leads = r == leader && sim.world().has_started(r);
            match leads {
                true => sim.spawn(Some(r), true, drain::pass(sim.clone(), r)),
                false => sim.spawn(Some(r), true, drain::look(sim.clone(), r)),
            }
        }
    }
    actors.append(&mut sim.world().spawned);
    for _ in 0..STEPS {
        for nth in (0..actors.len()).rev() {
            poll(actors, |_| true, nth);
            let world = &mut *sim.world();
            world.now += 1;
            tell_time(world);
        }
        actors.append(&mut sim.world().spawned);
    }
    pump(sim);
}
