//! The drain snapshots and passes of a replica. The drain's own code decides what a pass may
//! publish, delete and announce.

use std::{collections::BTreeMap, sync::Arc};

use facility_summary::{
    cache::memory::FillToken,
    changes::Appended,
    jobs::drain::{EpochTracker, OutboxRelay, Verdict, WatermarkProof},
    protocol::{Epoch, Message},
    store::{DrainSnapshot, Mark, MarkKind},
};

use uuid::Uuid;

use crate::{
    database::{About, epoch},
    directory,
    mutants::Mutant,
    places::index,
    refresh::{Work, refresh},
    removal::{Removed, remove},
    sources::is_bank_resolved,
    stream,
    world::{Sim, called},
};

/// A drain snapshot by a replica that does not lead.
pub async fn look(sim: Sim, r: usize) {
    observe(&sim, r, 0).await;
    sim.world().replicas[r].drains = false;
}

/// One pass.
pub async fn pass(sim: Sim, r: usize) {
    run_once(&sim, r).await;
    sim.world().replicas[r].drains = false;
}

/// A drain snapshot, and this replica's position in the stream before it.
struct Look {
    /// Taken before the snapshot.
    token: FillToken,
    seen: DrainSnapshot,
    /// What each mark of the snapshot names.
    about: Vec<About>,
}

/// Whether the connection of the last snapshot is lost. What a snapshot has proven is stored over
/// the same connection, and a restart of the database's server ends that connection.
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
    let has_missed = sim.world().replicas[r].has_missed;
    if has_missed && directory::catch_up(sim, r).await.is_err() {
        return;
    }
    look.seen.expiry_due &= !sim.breaks(Mutant::IgnoresExpiries);
    let mut proof = WatermarkProof::of(&look.token, &look.seen);
    proof.record_published(show_leftovers(sim, r, &look).await);
    let seen = &look.seen;
    proof.record_processed(deal_with(sim, r, &look).await && seen.marks.len() < batch);
    if seen.expiry_due {
        proof.record_processed(expire(sim, r, seen.at_ms).await);
    }
    if (!seen.marks.is_empty() || seen.expiry_due) && !sim.breaks(Mutant::LooksOnce) {
        let mut again = observe(sim, r, batch).await;
        if sim.breaks(Mutant::AnnouncesWhatHasMoved) {
            let is_new = |mark: &Mark| !look.seen.marks.iter().any(|seen| seen.id == mark.id);
            again.seen.marks.retain(|mark| !is_new(mark));
        }
        if !sim.breaks(Mutant::AnnouncesAcrossGenerations) {
            let is_blind = sim.breaks(Mutant::AnnouncesWhatMayHaveMoved);
            proof.confirm(&again.seen, if is_blind { usize::MAX } else { batch });
        }
        proof.record_published(show_leftovers(sim, r, &again).await);
    }
    announce(sim, r, proof, &look).await;
}

/// How far the proven instant may be ahead of the database's clock, in milliseconds. It must not be
/// farther ahead once a snapshot was taken.
const CLOCK_TOLERANCE_MS: i64 = 1_000;

/// Takes a drain snapshot, and enters the epoch that it finds. Also returns the place of the
/// replica in the stream before the snapshot.
async fn observe(sim: &Sim, r: usize, batch: usize) -> Look {
    loop {
        let memory = sim.memory(r);
        let caught_up = sim.world().replicas[r].attachment.caught_up();
        let (token, heard_ms) = (memory.fill_token(), memory.watermark_ms());
        sim.step().await;
        let about;
        let seen = {
            let world = &mut *sim.world();
            world.replicas[r].ahead = 0;
            world.replicas[r].looks += 1;
            let arrived = world.replicas[r].connection.replace(world.run) != Some(world.run);
            world.replicas[r].has_missed |= arrived && world.pace.is_alone;
            about = world.db.marks.iter().take(batch).map(|(_, about)| *about).collect();
            world.db.observe(world.now, batch, arrived, is_bank_resolved(world))
        };
        sim.step().await;
        let is_new = enter(sim, r, &seen.epoch).await;
        if is_new {
            sim.world().replicas[r].known = EpochTracker::default();
            continue;
        }
        let heard = (!sim.is_alone()).then_some((token.position, heard_ms));
        let verdict = sim.world().replicas[r].known.judge(&seen, heard, memory.table_ms(), true);
        let is_ignored = match verdict {
            Verdict::Same => true,
            Verdict::Lost => sim.breaks(Mutant::IgnoresLosses),
            Verdict::SetBack { .. } => sim.breaks(Mutant::IgnoresSetBack),
            Verdict::Restarted => unreachable!("watermarks are stored"),
        };
        if !is_ignored {
            sim.tell(called(r), || format!("ends the epoch {}: {verdict:?}", seen.epoch));
            if verdict == Verdict::Lost {
                sim.world().judge.ends(&seen.epoch);
            }
            sim.step().await;
            begin_epoch(sim, &seen.epoch);
            continue;
        }
        let has_new_directory = sim.world().replicas[r].has_new_directory;
        if has_new_directory {
            if directory::catch_up(sim, r).await.is_err() {
                continue;
            }
            sim.world().replicas[r].has_new_directory = false;
        }
        if let Some(caught_up) = caught_up {
            sim.world().replicas[r].attachment.verify(caught_up);
        }
        if heard_ms > seen.at_ms + CLOCK_TOLERANCE_MS {
            sim.world().judge.wrong = Some(format!(
                "a drain snapshot at {} ms keeps what was proven as of {heard_ms}",
                seen.at_ms
            ));
        }
        return Look { token, seen, about };
    }
}

fn begin_epoch(sim: &Sim, old: &Epoch) {
    let world = &mut *sim.world();
    let salt = world.name();
    world.db.begin_epoch(old, salt);
    world.judge.begin(epoch(world.db.identity()));
    world.committed();
}

/// Serves this epoch from now on. Returns true when another epoch was served before.
async fn enter(sim: &Sim, r: usize, epoch: &Epoch) -> bool {
    let before = sim.epoch(r);
    if before.as_ref() == Some(epoch) {
        return false;
    }
    sim.tell(called(r), || format!("enters the epoch {epoch}"));
    // In the same order as `Changes::enter`.
    if before.is_some() {
        if !sim.breaks(Mutant::KeepsOldDirectory) {
            sim.directory(r).start_over();
            sim.step().await;
        }
        sim.start_over(r);
        sim.step().await;
    }
    sim.world().replicas[r].epoch = Some(epoch.clone());
    if before.is_none() || !sim.breaks(Mutant::KeepsEpochToItself) {
        sim.directory(r).served().store(Some(Arc::new(epoch.clone())));
    }
    if before.is_some() {
        sim.step().await;
        sim.start_over(r);
    }
    let world = &mut *sim.world();
    world.replicas[r].entered = Some(epoch.clone());
    world.replicas[r].has_new_directory =
        before.is_some() && world.mutant != Some(Mutant::KeepsOldDirectory);
    world.judge.forget(r);
    before.is_some()
}

/// Publishes the rows of the outbox that are not published yet, and deletes those that are.
async fn show_leftovers(sim: &Sim, r: usize, look: &Look) -> bool {
    let Look { token, seen, .. } = look;
    if seen.outbox.is_empty() && seen.changed_facilities.is_empty() {
        return true;
    }
    let told = tell_facilities(sim, r, seen).await;
    let (memory, batch) = (sim.memory(r), sim.world().pace.batch);
    let generation =
        (!sim.is_alone() && !sim.breaks(Mutant::ShownInAnyGeneration)).then_some(seen.generation);
    let mut left = OutboxRelay::of(seen, |key, version| memory.has_seen(generation, key, version));
    let unseen = left.unseen();
    if !unseen.is_empty() {
        sim.step().await;
        let keys: Vec<usize> = unseen.iter().map(index).collect();
        let read = sim.world().db.read(&keys);
        let serves = read.epoch == seen.epoch || sim.breaks(Mutant::PublishesAnyHistory);
        let entries = left.entries(token, read.rows);
        if serves && append(sim, r, seen.generation, &Message::Summaries(entries)).await {
            left.published(&unseen);
        }
    }
    sim.hang().await;
    let notes: Vec<i64> =
        if told { seen.changed_facilities.iter().map(|(id, _)| *id).collect() } else { Vec::new() };
    let forgets_all = sim.breaks(Mutant::ForgetsUnpublished);
    let ids = if forgets_all {
        seen.outbox.iter().map(|(id, ..)| *id).collect()
    } else {
        left.published_rows()
    };
    if is_cut_short(sim, r) {
        return false;
    }
    let world = &mut *sim.world();
    world.db.forget(&ids, &notes);
    world.committed();
    left.is_all_published(batch) && told && seen.changed_facilities.len() < batch
}

/// Makes every replica read the facilities again that were registered, changed or removed.
async fn tell_facilities(sim: &Sim, r: usize, seen: &DrainSnapshot) -> bool {
    let ids: Vec<Uuid> = seen.changed_facilities.iter().map(|(_, id)| *id).collect();
    if ids.is_empty() || sim.breaks(Mutant::KeepsFacilitiesToItself) {
        return true;
    }
    if directory::reload(sim, r, &ids).await.is_err() {
        return false;
    }
    append(sim, r, seen.generation, &Message::Facilities(ids)).await
}

/// Appends a message. Returns whether it is now in the stream of that generation. If that stream
/// does not exist, a new generation begins.
async fn append(sim: &Sim, r: usize, generation: i64, message: &Message) -> bool {
    if sim.is_alone() {
        let untold = Message::Facilities(Vec::new());
        let is_hidden =
            matches!(message, Message::Facilities(_)) && sim.breaks(Mutant::EmptyDaysOutliveMoves);
        sim.memory(r).consume_next(if is_hidden { &untold } else { message });
        return true;
    }
    let Some(epoch) = sim.epoch(r) else { return false };
    let least = if sim.breaks(Mutant::AppendsToEarlier) { 0 } else { generation };
    let appended = stream::append(sim, r, &epoch, least, message).await;
    sim.tell(called(r), || {
        format!("drains in generation {generation}: {message:?} at {appended:?}")
    });
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

/// Refreshes what the marks name, one facility at a time.
async fn deal_with(sim: &Sim, r: usize, look: &Look) -> bool {
    let marks: Vec<_> = look.seen.marks.iter().cloned().zip(look.about.iter().copied()).collect();
    let is_known = |id: &Uuid| sim.directory(r).get(*id).is_some();
    let id = |mark: &Mark| mark.facility_id.expect("no mark is about all");
    let mut to_read: Vec<Uuid> = marks
        .iter()
        .filter(|(mark, _)| mark.kind == MarkKind::Facility || !is_known(&id(mark)))
        .map(|(mark, _)| id(mark))
        .collect();
    to_read.sort_unstable();
    to_read.dedup();
    if !to_read.is_empty() && directory::reload(sim, r, &to_read).await.is_err() {
        return false;
    }
    let mut by_facility: BTreeMap<Uuid, Vec<_>> = BTreeMap::new();
    marks.into_iter().for_each(|mark| by_facility.entry(id(&mark.0)).or_default().push(mark));
    let mut all = true;
    for (id, marks) in by_facility {
        let is_gone = !is_known(&id);
        match if is_gone { remove(sim, r, id, &marks).await } else { Some(Removed::IsBack) } {
            Some(Removed::IsBack) => {}
            Some(Removed::Yes) | None => continue, // where it is locked, its marks stay
            Some(Removed::OtherEpoch) => return false,
        }
        all &= refresh(sim, r, Work::Marks(marks)).await.is_ok();
    }
    let world = sim.world();
    all && !look.seen.marks.iter().any(|mark| world.db.marks.iter().any(|(id, _)| *id == mark.id))
}

async fn expire(sim: &Sim, r: usize, until: i64) -> bool {
    sim.step().await;
    let due = sim.world().db.expiring(until);
    let mut all = true;
    for k in due {
        // A facility that the directory does not know is gone, or the next snapshot handles it.
        if sim.directory(r).get(crate::places::key(k).facility_id).is_some() {
            all &= refresh(sim, r, Work::Day(k)).await.is_ok();
        }
    }
    all
}

/// Stores the watermark, and then announces it.
async fn announce(sim: &Sim, r: usize, proof: WatermarkProof, look: &Look) {
    let Look { token, seen, .. } = look;
    let (proof, at_ms) = match sim.breaks(Mutant::WatermarkOfLater) {
        true => {
            let later = sim.world().now;
            (
                WatermarkProof::of(
                    token,
                    &DrainSnapshot {
                        at_ms: later,
                        ..sim.world().db.observe(later, 0, false, true)
                    },
                ),
                later,
            )
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
    if announcement.is_some() && std::mem::take(&mut sim.world().replicas[r].has_missed) {
        sim.memory(r).start_new_session(None);
    }
    let directory = sim.directory(r);
    let directory_epoch = directory.epoch();
    if let Some(message) = announcement.filter(|_| !sim.breaks(Mutant::AnnouncesUnstored))
        && append(sim, r, seen.generation, &message).await
        && sim.is_alone()
    {
        let is_wrong = sim.breaks(Mutant::HeartbeatsWithoutDirectory);
        directory.prove(directory_epoch, if is_wrong { i64::MAX } else { at_ms });
    }
}
