//! A list of one day of all facilities, made like in `Lists` from the table and the directory.

use std::sync::Arc;

use facility_summary::{
    domain::{
        facility::Facility,
        summary::{DayKey, SummaryRow},
    },
    service::lists::parts::{ListParts, ListRead},
};
use rand::RngExt;

use crate::{
    directory,
    judge::Judge,
    mutants::Mutant,
    places::{DATES, FACILITIES, day, facility_of, has_begun, index, told, zone_of},
    refresh::{Work, refresh},
    truth::Answer,
    world::{Sim, called},
};

/// Lists a random date.
pub async fn list(sim: Sim, r: usize) {
    let date = sim.world().rng.random_range(0..DATES);
    of_date(&sim, r, date).await;
}

/// One attempt. If the table has a facility that the directory does not know, the directory is read
/// again, and the attempt gives no list.
pub async fn of_date(sim: &Sim, r: usize, date: usize) {
    let (directory, memory, beginning) =
        (sim.directory(r), sim.memory(r), Judge::beginning(&sim.world(), r));
    let Some(beginning) = beginning.filter(|_| directory.exact_as_of_ms() != i64::MIN) else {
        return;
    };
    let entered = sim.epoch(r);
    let (facilities, directory_ms) = directory.all();
    let in_zone = |facility: &Arc<Facility>| {
        let k = facility_of(&facility.id) * DATES + date;
        DayKey { day: day(k, zone_of(&facility.zone.name)), facility: facility.clone() }
    };
    let keys: Vec<DayKey> =
        facilities.iter().map(in_zone).filter(|key| has_begun(&key.day)).collect();
    sim.step().await;
    let table_ms = memory.table_ms();
    sim.step().await;
    let mut read =
        sim.world().db.read(&keys.iter().map(|key| index(&key.id())).collect::<Vec<_>>());
    sim.step().await;
    let stored_ms = read.watermark.map_or(i64::MIN, |watermark| watermark.at_ms);
    if sim.epoch(r).as_ref() != Some(&read.epoch) || stored_ms < table_ms {
        return;
    }
    if sim.breaks(Mutant::ListsWithoutZones) {
        read.zones =
            keys.iter().map(|key| (key.facility.id, key.facility.zone.name.clone())).collect();
    }
    let mut found = ListRead::of(if sim.breaks(Mutant::ListsWithoutDirectory) {
        i64::MAX
    } else {
        directory_ms
    });
    found.add(read, table_ms.max(stored_ms));
    let now = sim.world().clock(r);
    let mut parts = ListParts::new(keys.clone(), found, now);
    if parts.unknown.is_empty() {
        for key in std::mem::take(&mut parts.due) {
            let Ok(refreshed) = refresh(sim, r, Work::Day(index(&key.id()))).await else { return };
            parts.take_refreshed(
                &[key],
                refreshed.into_iter().map(|(row, _): (SummaryRow, bool)| row),
            );
        }
    }
    if !parts.unknown.is_empty() {
        return directory::reload(sim, r, &parts.unknown).await;
    }
    let as_of = parts.exact_ms;
    let mut answers = [None; FACILITIES];
    for (key, summary) in parts.in_order() {
        let (zone, activity, stock) =
            (zone_of(&key.facility.zone.name), summary.total_transferred, summary.total_stock);
        let has_row = summary.version > 0;
        answers[facility_of(&key.facility.id)] =
            Some(Answer::Figures { zone, activity, stock, has_row });
    }
    sim.tell(called(r), || format!("lists date {date} as of {} ms: {answers:?}", told(as_of)));
    let world = &mut *sim.world();
    if world.replicas[r].entered == entered && as_of > i64::MIN {
        let judged = Judge::check_list(world, date, &answers, as_of, beginning);
        world.judge.wrong = judged.err();
    }
}
