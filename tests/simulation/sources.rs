//! Other programs that write to the sources. Each statement commits at once, with the marks of its
//! triggers, or is part of a transaction that stays open for a while.

use rand::RngExt;

use crate::{
    database::{About, Activity, Change, Database, Stay},
    judge::Of,
    mutants::Mutant,
    places::{BANKS, FACILITIES, PLACES, ZONES},
    world::{Sim, World},
};

/// The changes of a write that happens now. Some bring units that will expire, which is a second
/// change, in the future. Empty when the schedule has no bits left.
pub fn new_changes(world: &mut World, of: Of) -> Vec<Change> {
    let (at, era) = (world.now, world.judge.era());
    let expires_at = at + world.rng.random_range(100..2_000);
    let (expires, changes_none) = (world.pace.expiries, world.pace.same);
    let times = if matches!(of, Of::Bank(_)) && world.chance(expires) {
        vec![at, expires_at]
    } else {
        vec![at]
    };
    let mut changes = Vec::new();
    for at in times {
        let Some(bit) = world.judge.new_bit(of) else { return Vec::new() };
        // Units that are replaced by the same number of others change no figure.
        let bit = if world.chance(changes_none) { 0 } else { bit };
        changes.push(Change { at, is_expiry: at == expires_at, era, bit });
    }
    changes
}

/// The same changes when they are committed now.
pub fn committed(changes: &[Change], now: i64, era: usize) -> impl Iterator<Item = Change> {
    changes.iter().map(move |change| Change {
        at: if change.is_expiry { change.at.max(now) } else { now },
        era,
        ..*change
    })
}

/// A random instant, by its index in `PLACES`.
pub fn random_place(world: &mut World) -> usize {
    world.rng.random_range(0..PLACES.len())
}

/// A delivery or a request.
pub fn write(world: &mut World, facility: usize, place: usize) {
    let changes = new_changes(world, Of::Facility(facility));
    let of = &mut world.db.facilities[facility];
    if of.zone().is_none() || changes.is_empty() {
        return;
    }
    let life = of.life();
    of.activity.extend(changes.into_iter().map(|change| Activity { change, place, life }));
    world.db.mark(About::Activity { facility, place });
    world.committed();
}

/// Units of a bank, in a transaction that stays open for a while. The bank may move during it.
pub async fn write_units(sim: Sim, bank: usize) {
    let (changes, was_in, steps, run) = {
        let world = &mut *sim.world();
        let changes = new_changes(world, Of::Bank(bank));
        (changes, world.db.banks[bank].facility(), world.rng.random_range(1..40), world.run)
    };
    for _ in 0..steps {
        sim.step().await;
    }
    let world = &mut *sim.world();
    if world.run == run && !changes.is_empty() {
        let (now, era) = (world.now, world.judge.era());
        world.db.banks[bank].units.extend(committed(&changes, now, era));
        world.db.mark(About::Bank { bank, was_in });
        world.committed();
        world
            .tell("a program", || format!("commits units of bank {bank}, which was in {was_in:?}"));
    }
}

/// Puts a bank into a facility, from now on.
pub fn stay_of_bank(db: &mut Database, bank: usize, facility: usize, at: i64, era: usize) {
    db.banks[bank].stays.push(Stay { at, era, place: Some(facility), life: 1 });
}

/// Moves a bank to another facility.
pub fn move_bank(world: &mut World, bank: usize, to: usize) {
    let from = world.db.banks[bank].facility();
    if world.db.facilities[to].zone().is_none() || from == Some(to) {
        return;
    }
    let (now, era) = (world.now, world.judge.era());
    stay_of_bank(&mut world.db, bank, to, now, era);
    for facility in from.into_iter().chain([to]) {
        world.db.mark(About::Stock { facility });
    }
    world.committed();
    world.tell("a program", || format!("moves bank {bank} from {from:?} to {to}"));
}

/// Puts a facility into a zone, from now on; the facility may be new. Without a zone the facility
/// is removed, with everything that it had.
pub fn stay_of_facility(
    db: &mut Database,
    facility: usize,
    zone: Option<usize>,
    at: i64,
    era: usize,
) {
    let of = &mut db.facilities[facility];
    let life = of.life() + u32::from(of.zone().is_none());
    of.stays.push(Stay { at, era, place: zone, life });
    if zone.is_none() {
        for bank in db.banks.iter_mut().filter(|bank| bank.facility() == Some(facility)) {
            bank.stays.push(Stay { at, era, place: None, life: 1 });
        }
    }
}

/// Registers a facility, moves it to another zone, or removes it.
pub fn state(world: &mut World, facility: usize, zone: Option<usize>) {
    if world.db.facilities[facility].zone() == zone {
        return;
    }
    let (now, era) = (world.now, world.judge.era());
    stay_of_facility(&mut world.db, facility, zone, now, era);
    world.db.mark(About::Facility { facility });
    world.committed();
    world.tell("a program", || {
        format!(
            "has facility {facility} in {}",
            zone.map_or("no zone: removed", |zone| ZONES[zone])
        )
    });
}

/// Registers, moves or removes a facility, or moves a bank.
pub fn come_and_go(world: &mut World) {
    let facility = world.rng.random_range(0..FACILITIES);
    match (world.db.facilities[facility].zone(), world.rng.random_range(0..4)) {
        (_, 0) => {
            let bank = world.rng.random_range(0..BANKS);
            move_bank(world, bank, facility);
        }
        (Some(_), 1) => state(world, facility, None),
        (Some(zone), _) => state(world, facility, Some(ZONES.len() - 1 - zone)),
        (None, _) => {
            let zone = world.rng.random_range(0..ZONES.len());
            state(world, facility, Some(zone));
        }
    }
}

/// Whether a mark of a bank is about the facility that the bank is in when the drain snapshot is
/// taken.
pub fn is_bank_resolved(world: &World) -> bool {
    world.mutant != Some(Mutant::BankOfTheStatement)
}
