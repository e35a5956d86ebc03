//! A replica's looks and passes. What a pass may publish, forget and announce is decided by the drain's own parts.

use facility_summary::{
    cache::memory::Vantage,
    changes::{Appended, Message},
    jobs::drain::{Known, Leftovers, Proof, Verdict},
    store::{Epoch, Observation},
};

use crate::{
    database::{KEYS, epoch, index},
    mutants::Mutant,
    refresh::{Cause, refresh},
    stream,
    world::{Sim, called},
};

/// A look, by a replica that does not lead.
pub async fn look(sim: Sim, r: usize) {
    observe(&sim, r, 0).await;
    sim.world().replicas[r].drains = false;
}

/// One pass.
pub async fn pass(sim: Sim, r: usize) {
    run_once(&sim, r).await;
    sim.world().replicas[r].drains = false;
}

/// What a look saw, and from where.
struct Look {
    /// Taken before it.
    vantage: Vantage,
    seen: Observation,
}

/// What follows from a look is stored over the connection of the last one, which no restart of the database's server outlives.
fn is_cut_short(sim: &Sim, r: usize) -> bool {
    let is_connected = {
        let world = sim.world();
        world.replicas[r].connection == Some(world.run)
    };
    !is_connected && !sim.breaks(Mutant::OutlivesItsConnection)
}

async fn run_once(sim: &Sim, r: usize) {
    let batch = sim.world().pace.batch;
    let mut look = observe(sim, r, batch).await;
    look.seen.expiry_due &= !sim.breaks(Mutant::IgnoresExpiries);
    let mut proof = Proof::of(&look.vantage, &look.seen);
    proof.show(show_leftovers(sim, r, &look).await);
    let seen = &look.seen;
    proof.deal_with(deal_with(sim, r, seen).await && seen.marks.len() < batch);
    if seen.expiry_due {
        proof.deal_with(expire(sim, r, seen.at_ms).await);
    }
    if (!seen.marks.is_empty() || seen.expiry_due) && !sim.breaks(Mutant::LooksOnce) {
        let again = observe(sim, r, batch).await;
        if !sim.breaks(Mutant::AnnouncesAcrossGenerations) {
            proof.look_again(&again.seen);
        }
        proof.show(show_leftovers(sim, r, &again).await);
    }
    announce(sim, r, proof, &look).await;
}

/// What was proven may be so far ahead of the database's clock, and no farther once that was looked at.
const CLOCK_TOLERANCE_MS: i64 = 1_000;

/// What is visible, and where the replica was in the stream before it looked. Enters the history that it finds.
async fn observe(sim: &Sim, r: usize, batch: usize) -> Look {
    loop {
        let memory = sim.memory(r);
        let caught_up = sim.world().replicas[r].following.caught_up();
        let (vantage, heard_ms) = (memory.vantage(), memory.watermark_ms());
        sim.step().await;
        let seen = {
            let world = &mut *sim.world();
            world.replicas[r].ahead = 0;
            world.replicas[r].looks += 1;
            let arrived = world.replicas[r].connection.replace(world.run) != Some(world.run);
            world.db.observe(world.now, batch, arrived)
        };
        sim.step().await;
        if enter(sim, r, &seen.epoch).await {
            sim.world().replicas[r].known = Known::default();
            continue;
        }
        let heard = (!sim.is_alone()).then_some((vantage.position, heard_ms));
        let verdict = sim.world().replicas[r].known.judge(&seen, heard, memory.table_ms(), true);
        let is_ignored = match verdict {
            Verdict::Same => true,
            Verdict::Lost => sim.breaks(Mutant::IgnoresLosses),
            Verdict::SetBack { .. } => sim.breaks(Mutant::IgnoresSetBack),
        };
        if !is_ignored {
            sim.tell(called(r), || format!("ends the history {}: {verdict:?}", seen.epoch));
            if verdict == Verdict::Lost {
                sim.world().judge.ends(&seen.epoch);
            }
            sim.step().await;
            begin_epoch(sim, &seen.epoch);
            continue;
        }
        if let Some(caught_up) = caught_up {
            sim.world().replicas[r].following.vouch(caught_up);
        }
        if heard_ms > seen.at_ms + CLOCK_TOLERANCE_MS {
            sim.world().judge.lie = Some(format!("a look at {} ms leaves what was proven as of {heard_ms}", seen.at_ms));
        }
        return Look { vantage, seen };
    }
}

fn begin_epoch(sim: &Sim, old: &Epoch) {
    let world = &mut *sim.world();
    let salt = world.name();
    world.db.begin_epoch(old, salt);
    world.judge.begin(epoch(world.db.identity()));
    world.committed();
}

/// Serves this history from now on. True where another was served before.
async fn enter(sim: &Sim, r: usize, epoch: &Epoch) -> bool {
    let before = sim.epoch(r);
    if before.as_ref() == Some(epoch) {
        return false;
    }
    sim.tell(called(r), || format!("enters the history {epoch}"));
    // As `Changes::enter` does it.
    if before.is_some() {
        sim.start_over(r);
        sim.step().await;
    }
    sim.world().replicas[r].epoch = Some(epoch.clone());
    if before.is_some() {
        sim.step().await;
        sim.start_over(r);
    }
    let world = &mut *sim.world();
    world.replicas[r].entered = Some(epoch.clone());
    world.judge.forget(r);
    before.is_some()
}

/// Publishes what nobody else has, and forgets what has come by.
async fn show_leftovers(sim: &Sim, r: usize, look: &Look) -> bool {
    let Look { vantage, seen, .. } = look;
    if seen.outbox.is_empty() {
        return true;
    }
    let (memory, batch) = (sim.memory(r), sim.world().pace.batch);
    let generation = (!sim.is_alone() && !sim.breaks(Mutant::ShownInAnyGeneration)).then_some(seen.generation);
    let mut left = Leftovers::of(seen, |key, version| memory.has_seen(generation, key, version));
    let unseen = left.unseen();
    if !unseen.is_empty() {
        sim.step().await;
        let keys: Vec<usize> = unseen.iter().map(index).collect();
        let read = sim.world().db.read(&keys);
        let serves = read.epoch == seen.epoch || sim.breaks(Mutant::PublishesAnyHistory);
        let entries = left.entries(vantage, read.rows);
        if serves && append(sim, r, seen.generation, &Message::Summaries(entries)).await {
            left.published(&unseen);
        }
    }
    sim.hang().await;
    let forgets_all = sim.breaks(Mutant::ForgetsUnpublished);
    let ids = if forgets_all { seen.outbox.iter().map(|(id, ..)| *id).collect() } else { left.shown() };
    if is_cut_short(sim, r) {
        return false;
    }
    let world = &mut *sim.world();
    world.db.forget(&ids);
    world.committed();
    left.are_shown(batch)
}

/// Whether the message stands in the stream of that generation now. Where there is none, one begins.
async fn append(sim: &Sim, r: usize, generation: i64, message: &Message) -> bool {
    if sim.is_alone() {
        sim.memory(r).consume_next(message);
        return true;
    }
    let Some(epoch) = sim.epoch(r) else { return false };
    let least = if sim.breaks(Mutant::AppendsToEarlier) { 0 } else { generation };
    let appended = stream::append(sim, r, &epoch, least, message).await;
    sim.tell(called(r), || format!("drains in generation {generation}: {message:?} at {appended:?}"));
    match appended.map(|at| Appended::in_generation(generation, at)) {
        Ok(Appended::Yes) => true,
        Ok(Appended::Later) | Err(_) => false,
        Ok(Appended::NoGeneration) => {
            sim.step().await;
            let begun = sim.world().db.begin_generation(generation);
            if let Some(begun) = begun {
                sim.world().committed();
                stream::begin(sim, r, &epoch, begun).await;
                sim.tell(called(r), || format!("begins generation {begun}"));
            }
            false
        }
    }
}

/// Refreshes what the marks point at.
async fn deal_with(sim: &Sim, r: usize, seen: &Observation) -> bool {
    let mut all = true;
    for k in 0..KEYS {
        let ids: Vec<i64> = seen.marks.iter().filter(|mark| mark.span == Some((k as i64, k as i64))).map(|mark| mark.id).collect();
        if !ids.is_empty() {
            all &= refresh(sim, r, k, Cause::Marks(&ids)).await;
        }
    }
    all
}

async fn expire(sim: &Sim, r: usize, until: i64) -> bool {
    sim.step().await;
    let due = |k: &usize| sim.world().db.rows[*k].next_expires_at_ms.is_some_and(|at| at <= until);
    let due: Vec<usize> = (0..KEYS).filter(due).collect();
    let mut all = true;
    for k in due {
        all &= refresh(sim, r, k, Cause::Asked).await;
    }
    all
}

/// Stores the watermark, and then announces it.
async fn announce(sim: &Sim, r: usize, proof: Proof, look: &Look) {
    let Look { vantage, seen, .. } = look;
    let (proof, at_ms) = match sim.breaks(Mutant::WatermarkOfLater) {
        true => {
            let later = sim.world().now;
            (Proof::of(vantage, &Observation { at_ms: later, ..sim.world().db.observe(later, 0, false) }), later)
        }
        false => (proof, seen.at_ms),
    };
    let Some(watermark) = proof.watermark() else { return };
    sim.hang().await;
    if is_cut_short(sim, r) {
        return;
    }
    let unshown = sim.breaks(Mutant::AnnouncesUnpublished).then_some(Message::Watermark { at_ms });
    let announcement = proof.announcement().or(unshown);
    if let Some(message) = announcement.as_ref().filter(|_| sim.breaks(Mutant::AnnouncesUnstored)) {
        append(sim, r, seen.generation, message).await;
        sim.step().await;
    }
    {
        let world = &mut *sim.world();
        if !world.db.store_watermark(watermark, &seen.epoch) {
            return;
        }
        world.committed();
    }
    sim.memory(r).advance_table(at_ms);
    if let Some(message) = announcement.filter(|_| !sim.breaks(Mutant::AnnouncesUnstored)) {
        append(sim, r, seen.generation, &message).await;
    }
}
