//! Deriving rows from the sources, and writing them.

use std::{collections::BTreeMap, sync::Arc};

use facility_summary::{
    domain::{
        facility::Facility,
        summary::{Bounds, DayKey, SummaryRow},
    },
    service::refresh::scope::RefreshScope,
};

use crate::{
    database::{Figures, row},
    events::Own,
    mutants::Mutant,
    places::{DATES, ZONES, facility_of, has_begun, index},
    refresh::Refreshed,
    world::World,
};

/// The rows as a snapshot taken now shows them, with the event's own change. `None` when a facility
/// is in another zone.
pub fn derive(
    world: &World,
    scope: &RefreshScope,
    keys: &[DayKey],
    own: Option<&Own>,
) -> Option<Refreshed> {
    let (now, era) = (world.now, world.judge.era());
    let changed = own.map(|own| {
        let mut db = world.db.clone();
        own.apply(&mut db, now, era);
        db
    });
    let db = changed.as_ref().unwrap_or(&world.db);
    let zone = |id: &uuid::Uuid| db.facilities[facility_of(id)].zone();
    let has_moved = |(id, facility): (&uuid::Uuid, &&Arc<Facility>)| {
        zone(id).is_some_and(|zone| ZONES[zone] != facility.zone.name)
    };
    if scope.facilities().iter().any(has_moved) {
        return None;
    }
    let mut versions: BTreeMap<usize, i64> = BTreeMap::new();
    let mut refreshed = Vec::new();
    // A day that has not begun may have a row, from the zone that the facility was in before.
    let leaves_rows = world.mutant == Some(Mutant::LeavesRowsOfTheZoneBefore);
    let has_row = |key: &DayKey| {
        has_begun(&key.day, now) || (!leaves_rows && db.rows[index(&key.id())].is_some())
    };
    for key in keys.iter().filter(|key| zone(&key.facility.id).is_some() && has_row(key)) {
        let (k, f) = (index(&key.id()), facility_of(&key.facility.id));
        let (figures, stored) = (db.figures(k, &key.day, now), &db.rows[k]);
        let nothing = Figures { activity: 0, stock: None, holds_until: None };
        let differs = match stored {
            Some(stored) => {
                (stored.summary.total_transferred, stored.summary.total_stock)
                    != (figures.activity, figures.stock)
            }
            None => figures != nothing,
        };
        let is_of_another =
            stored.as_ref().is_some_and(|stored| stored.bounds != Some(Bounds::from(&key.day)));
        let changed = differs
            || is_of_another
            || (key.day.contains(now) && db.facilities[f].opened != Some(k % DATES));
        let counter = versions.entry(f).or_insert(db.facilities[f].version);
        *counter += i64::from(changed);
        let version = if changed {
            *counter
        } else {
            stored.as_ref().map_or(0, |stored| stored.summary.version)
        };
        let row = row(k, &key.day, figures, version, now);
        let is_other = |stored: &SummaryRow| {
            (stored.next_expires_at_ms, stored.bounds) != (row.next_expires_at_ms, row.bounds)
        };
        let written = changed || stored.as_ref().is_some_and(is_other);
        refreshed.push((row, written));
    }
    Some(refreshed)
}

/// Writes a row, with its version and its place in the outbox.
pub fn write_row(world: &mut World, row: &SummaryRow) {
    let (k, version) = (index(&row.key()), row.summary.version);
    world.db.rows[k] = Some(row.clone());
    let facility = &mut world.db.facilities[k / DATES];
    facility.version = facility.version.max(version);
    if row.bounds.is_some_and(|day| (day.start_ms..day.end_ms).contains(&world.now)) {
        facility.opened = Some(k % DATES);
    }
    let id = world.db.id();
    let is_lost = world.mutant == Some(Mutant::OutboxAfterCommit) && world.chance(40);
    if !is_lost {
        world.db.outbox.push((id, k, version));
    }
}
