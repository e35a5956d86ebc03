//! Writers of the sources, and the refresh: one transaction, then what was committed is passed on.

use facility_summary::domain::summary::SummaryRow;
use rand::RngExt;

use crate::{
    database::{Change, facility, key, row},
    mutants::Mutant,
    world::{Lock, Publication, Sim, World, called},
};

/// Why a key is refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause<'a> {
    /// A reader wants it, or it expired.
    Asked,
    /// An event's change is in the same transaction.
    Event,
    /// These marks are deleted in the same transaction.
    Marks(&'a [i64]),
}

/// A change of the sources by another program, with the mark of its trigger.
pub fn write(world: &mut World, k: usize) {
    let changes = new_changes(world, k);
    if !changes.is_empty() {
        world.db.sources[k].extend(changes);
        let mark = (world.db.id(), k);
        world.db.marks.push(mark);
        world.committed();
    }
}

/// A change of now. Some bring units that will expire, which is a change to come.
fn new_changes(world: &mut World, k: usize) -> Vec<Change> {
    let (at, era) = (world.now, world.judge.era());
    let expires_at = at + world.rng.random_range(100..2_000);
    let (expires, changes_none) = (world.pace.expiries, world.pace.same);
    let times = if world.chance(expires) { vec![at, expires_at] } else { vec![at] };
    let mut changes = Vec::new();
    for at in times {
        let Some(bit) = world.judge.new_bit(k) else { return Vec::new() };
        // Units replaced by as many others change no figure.
        let bit = if world.chance(changes_none) { 0 } else { bit };
        changes.push(Change { at, is_expiry: at == expires_at, era, bit });
    }
    changes
}

/// The figures of a key with these changes, and until when they hold, as a snapshot sees them now.
fn derive(world: &World, k: usize, changes: &[Change]) -> (i64, Option<i64>) {
    let all = || world.db.sources[k].iter().chain(changes);
    // What was written is seen, whatever the clock shows; what expires is a matter of the clock.
    let seen = all().filter(|change| !change.is_expiry || change.at <= world.now).fold(0, |seen, change| seen | change.bit);
    (seen, all().filter(|change| change.is_expiry && change.at > world.now).map(|change| change.at).min())
}

/// One transaction. Answers the row, and whether it was written; `None` where somebody holds the lock, or it was cut short.
async fn transact(sim: &Sim, k: usize, cause: Cause<'_>) -> Option<(SummaryRow, bool)> {
    let run = sim.world().run;
    let lock = Lock::take(sim, facility(k), sim.breaks(Mutant::SnapshotBeforeLock)).await?;
    let (row, written, marks, changes) = {
        let world = &mut *sim.world();
        let changes = if cause == Cause::Event { new_changes(world, k) } else { Vec::new() };
        let (seen, next_expires) = derive(world, k, &changes);
        let stored = &world.db.rows[k];
        let differs = stored.summary.total_transferred != seen;
        let version = if differs { world.db.versions[facility(k)] + 1 } else { stored.summary.version };
        // Deleted before the snapshot: one that was numbered like it since, after a restore, is another.
        let is_taken = |(id, of): &&(i64, usize)| *of == k && matches!(cause, Cause::Marks(ids) if ids.contains(id));
        let marks: Vec<i64> = world.db.marks.iter().filter(is_taken).map(|(id, _)| *id).collect();
        (row(k, version, seen, world.now, next_expires), differs || stored.next_expires_at_ms != next_expires, marks, changes)
    };
    sim.step().await;
    {
        let world = &mut *sim.world();
        if world.run != run {
            return None;
        }
        let (now, era) = (world.now, world.judge.era());
        let commit = |change: Change| Change { at: if change.is_expiry { change.at.max(now) } else { now }, era, ..change };
        world.db.sources[k].extend(changes.into_iter().map(commit));
        let deletes_all = world.mutant == Some(Mutant::DeletesUnseenMarks) && matches!(cause, Cause::Marks(_));
        world.db.marks.retain(|(id, of)| !(marks.contains(id) || (deletes_all && *of == k)));
        if written {
            write_row(world, k, &row);
        }
        world.committed();
    }
    drop(lock);
    Some((row, written))
}

fn write_row(world: &mut World, k: usize, row: &SummaryRow) {
    let version = row.summary.version;
    world.db.rows[k] = row.clone();
    world.db.versions[facility(k)] = world.db.versions[facility(k)].max(version);
    let id = world.db.id();
    let is_lost = world.mutant == Some(Mutant::OutboxAfterCommit) && world.chance(40);
    if !is_lost {
        world.db.outbox.push((id, k, version));
    }
}

/// A refresh by a replica. False where it has to be tried again.
pub async fn refresh(sim: &Sim, r: usize, k: usize, cause: Cause<'_>) -> bool {
    let vantage = sim.vantage(r);
    sim.step().await;
    let Some((row, written)) = transact(sim, k, cause).await else { return false };
    sim.tell(called(r), || format!("commits {:?} of key {k}: version {} as of {}", cause, row.summary.version, row.as_of_ms));
    sim.step().await;
    pass_on(sim, r, &vantage, &row, written).await;
    true
}

/// A command beside the service: it commits, and publishes nothing.
pub async fn refresh_silently(sim: Sim, k: usize) {
    if let Some((row, written)) = transact(&sim, k, Cause::Asked).await {
        sim.tell("a command", || format!("commits key {k}: version {}, written: {written}", row.summary.version));
    }
}

/// What was committed, or read, goes to the replica's own memory, and to its publisher.
pub async fn pass_on(sim: &Sim, r: usize, vantage: &facility_summary::cache::memory::Vantage, row: &SummaryRow, changed: bool) {
    // As `Changes::publish` does it.
    let (memory, epoch) = (sim.memory(r), sim.epoch(r));
    sim.step().await;
    if sim.breaks(Mutant::NoVersionCompare) {
        memory.forget_facility(key(0).0);
    }
    let vantage = if sim.breaks(Mutant::PublishesOldHistory) { memory.vantage() } else { *vantage };
    if sim.is_alone() {
        return memory.publish(&vantage, [row].into_iter());
    }
    let entries = memory.take_own(&vantage, [row].into_iter());
    if let Some(epoch) = epoch
        && !entries.is_empty()
    {
        sim.world().replicas[r].queue.push_back(Publication { epoch, entries, changed });
    }
}
