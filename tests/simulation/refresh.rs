//! The refresh: one transaction, and then the publication of what it committed.

use std::{collections::BTreeMap, sync::Arc};

use facility_summary::{
    cache::memory::FillToken,
    directory::Directory,
    domain::{
        day::Day,
        facility::Facility,
        summary::{DayKey, SummaryRow},
    },
    service::refresh::scope::RefreshScope,
    store::{FacilityRow, Mark},
};

use crate::{
    database::About,
    derive::{derive, write_row},
    directory,
    events::{Event, Own},
    judge::Of,
    locks::Lock,
    mutants::Mutant,
    places::{DATES, PLACES, ZONES, day, facility_id, facility_of, index, zone_of},
    replica::Publication,
    sources::new_changes,
    world::{Sim, World, called},
};

/// What a refresh is for.
#[derive(Debug, Clone)]
pub enum Work {
    /// A reader asked for it, or units expired.
    Day(usize),
    /// The change of an event, which is in the same transaction.
    Event(Event),
    /// These marks, which are deleted in the same transaction; with what each of them named in the
    /// drain snapshot.
    Marks(Vec<(Mark, About)>),
}

/// Why a refresh failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// Another transaction holds a lock, or the database was restored or is in another epoch.
    Locked,
    /// A facility is in another zone than the directory says, or the directory does not know it.
    Conflict,
    /// The facility or bank of the event does not exist.
    Refused,
}

pub type Refreshed = Vec<(SummaryRow, bool)>;

const ATTEMPTS: usize = 4;

/// A refresh by a replica. When it fails, the caller tries it again.
pub async fn refresh(sim: &Sim, r: usize, work: Work) -> Result<Refreshed, Failed> {
    let (mut kept, mut attempt) = (None, 1);
    loop {
        let token = sim.token(r);
        let (own, scope) = begin(sim, r, &work)?;
        let scope = kept.take().or(scope);
        let facilities: Vec<_> = match &scope {
            Some(scope) => scope.facilities().into_keys().collect(),
            None => unknown_of(&work, sim),
        };
        let done = match &scope {
            Some(scope) => transact(sim, scope, &work, own.as_ref()).await,
            None => Err(Failed::Conflict),
        };
        match done {
            Ok(refreshed) => {
                sim.tell(called(r), || format!("commits {work:?}: {}", told(&refreshed)));
                after_commit(sim, r, &token, &work, &refreshed).await;
                return Ok(refreshed);
            }
            Err(Failed::Conflict) if attempt < ATTEMPTS => {
                attempt += 1;
                if directory::reload(sim, r, &facilities).await.is_err() {
                    return Err(Failed::Locked);
                }
                if let (Work::Day(_), Some(scope)) = (&work, &scope) {
                    kept = Some(rezone(sim, r, scope));
                }
                if let (Work::Marks(_), Some(scope), true) =
                    (&work, &scope, sim.breaks(Mutant::RezonesMarks))
                {
                    kept = Some(rezone(sim, r, scope));
                }
            }
            Err(failed) => return Err(failed),
        }
    }
}

/// A refresh by a command beside the service: it commits, and publishes nothing.
pub async fn refresh_silently(sim: Sim, k: usize) {
    let Some(zone) = sim.world().db.facilities[k / DATES].zone() else { return };
    let facility = Arc::new(Facility {
        id: facility_id(k / DATES),
        name: String::new(),
        zone: zone_named(&sim, zone),
        key: None,
    });
    let scope = RefreshScope::from(vec![DayKey { facility, day: day(k, zone) }]);
    if let Ok(refreshed) = transact(&sim, &scope, &Work::Day(k), None).await {
        sim.tell("a command", || format!("commits {}", told(&refreshed)));
    }
}

fn zone_named(sim: &Sim, zone: usize) -> Arc<facility_summary::domain::facility::Zone> {
    sim.directory(0)
        .facility(FacilityRow::new(facility_id(0), String::new(), ZONES[zone].to_owned()))
        .zone
        .clone()
}

/// What is read before the transaction, with the directory as it is. There is no scope when the
/// directory does not know one of the facilities.
fn begin(sim: &Sim, r: usize, work: &Work) -> Result<(Option<Own>, Option<RefreshScope>), Failed> {
    let directory = sim.directory(r);
    let world = &mut *sim.world();
    match work {
        Work::Day(k) => {
            let in_zone = |facility: Arc<Facility>| DayKey {
                day: day(*k, zone_of(&facility.zone.name)),
                facility,
            };
            let known = directory.get(facility_id(k / DATES));
            Ok((None, known.map(|facility| RefreshScope::from(vec![in_zone(facility)]))))
        }
        Work::Marks(marks) => {
            let marks = marks.iter().map(|(mark, _)| mark);
            Ok((None, RefreshScope::of_marks(marks, &directory, world.now)))
        }
        Work::Event(event) => {
            let scope = scope_of_event(world, &directory, *event)?;
            Ok((Some(own_of_event(world, *event)), scope))
        }
    }
}

/// What an event touches, as the directory knows it.
fn scope_of_event(
    world: &World,
    directory: &Directory,
    event: Event,
) -> Result<Option<RefreshScope>, Failed> {
    let known = |f: usize| directory.get(facility_id(f));
    let today = |f: usize| {
        known(f).map(|facility| DayKey { day: facility.zone.today(world.now), facility })
    };
    Ok(match event {
        Event::Activity { facility, place } => {
            let in_zone = |facility: Arc<Facility>| DayKey {
                day: Day::containing(&facility.zone.tz, PLACES[place]),
                facility,
            };
            known(facility).map(|facility| RefreshScope::from(vec![in_zone(facility)]))
        }
        Event::Units { bank } => {
            let facility = world.db.banks[bank].facility().ok_or(Failed::Refused)?;
            today(facility).map(|key| RefreshScope::from(vec![key]))
        }
        Event::Moved { bank, to } => {
            let of: Vec<usize> = world.db.banks[bank].facility().into_iter().chain([to]).collect();
            of.into_iter().map(today).collect::<Option<Vec<_>>>().map(RefreshScope::from)
        }
        Event::Registered { facility, zone } => {
            let row =
                FacilityRow::new(facility_id(facility), String::new(), ZONES[zone].to_owned());
            Some(RefreshScope { days: Vec::new(), whole: vec![directory.facility(row)] })
        }
    })
}

/// The event's own changes, and what they rely on.
fn own_of_event(world: &mut World, event: Event) -> Own {
    let of = |f: usize| (f, world.db.facilities[f].stays.len() as u32, None);
    let life =
        |f: usize| (f, world.db.facilities[f].life(), world.db.facilities[f].zone().map(|_| 0));
    let (relies_on, changed) = match event {
        Event::Activity { facility, .. } => (vec![life(facility)], Some(Of::Facility(facility))),
        Event::Units { bank } => {
            (vec![(bank, world.db.banks[bank].stays.len() as u32, None)], Some(Of::Bank(bank)))
        }
        Event::Moved { bank, to } => {
            (vec![(bank, world.db.banks[bank].stays.len() as u32, None), life(to)], None)
        }
        Event::Registered { facility, .. } => (vec![of(facility)], None),
    };
    let changes = changed.map_or(Vec::new(), |of| new_changes(world, of));
    Own { event, changes, relies_on }
}

fn unknown_of(work: &Work, sim: &Sim) -> Vec<uuid::Uuid> {
    let world = sim.world();
    let of_bank = |bank: usize| world.db.banks[bank].facility().map(facility_id);
    match work {
        Work::Day(k) => vec![facility_id(k / DATES)],
        Work::Marks(marks) => marks.iter().filter_map(|(mark, _)| mark.facility_id).collect(),
        Work::Event(Event::Activity { facility, .. } | Event::Registered { facility, .. }) => {
            vec![facility_id(*facility)]
        }
        Work::Event(Event::Units { bank }) => of_bank(*bank).into_iter().collect(),
        Work::Event(Event::Moved { bank, to }) => {
            of_bank(*bank).into_iter().chain([facility_id(*to)]).collect()
        }
    }
}

/// The days with the same dates in the zones that the directory has now.
fn rezone(sim: &Sim, r: usize, scope: &RefreshScope) -> RefreshScope {
    let directory = sim.directory(r);
    let in_zone = |key: &DayKey| {
        let facility = directory.get(key.facility.id)?;
        let day = Day::named(&facility.zone.tz, key.day.date)?;
        Some(DayKey { facility, day })
    };
    let whole = scope.whole.iter().filter_map(|facility| directory.get(facility.id)).collect();
    RefreshScope { days: scope.days.iter().filter_map(in_zone).collect(), whole }
}

/// Every day in the scope, as the database has them now.
fn resolve(world: &World, scope: &RefreshScope) -> Vec<DayKey> {
    let mut keys: BTreeMap<_, DayKey> =
        scope.days.iter().map(|key| (key.id(), key.clone())).collect();
    for facility in &scope.whole {
        let zone = zone_of(&facility.zone.name);
        for k in world.db.dates_with_data(facility_of(&facility.id), zone, world.now) {
            let key = DayKey { facility: facility.clone(), day: day(k, zone) };
            keys.insert(key.id(), key);
        }
    }
    keys.into_values().collect()
}

/// One transaction. Returns the rows, and for each whether it was written.
async fn transact(
    sim: &Sim,
    scope: &RefreshScope,
    work: &Work,
    own: Option<&Own>,
) -> Result<Refreshed, Failed> {
    let run = sim.world().run;
    let days_before = sim.breaks(Mutant::DaysBeforeLock).then(|| resolve(&sim.world(), scope));
    sim.step().await;
    let mut locks = Vec::new();
    for id in scope.facilities().keys() {
        locks.push(
            Lock::take(sim, facility_of(id), sim.breaks(Mutant::SnapshotBeforeLock))
                .await
                .ok_or(Failed::Locked)?,
        );
    }
    let keys = days_before.unwrap_or_else(|| resolve(&sim.world(), scope));
    if !scope.whole.is_empty() {
        sim.step().await;
    }
    let (refreshed, marks) = {
        let world = &mut *sim.world();
        let taken: Vec<(i64, About)> = match work {
            Work::Marks(marks) => world
                .db
                .marks
                .iter()
                .filter(|(id, _)| marks.iter().any(|(mark, _)| mark.id == *id))
                .copied()
                .collect(),
            _ => Vec::new(),
        };
        let derived = derive(world, scope, &keys, own).ok_or(Failed::Conflict)?;
        if let Work::Marks(marks) = work
            && taken
                .iter()
                .any(|(id, about)| !marks.iter().any(|(mark, of)| mark.id == *id && of == about))
        {
            // After a restore another mark may have this number.
            return Err(Failed::Conflict);
        }
        (derived, taken)
    };
    sim.step().await;
    let world = &mut *sim.world();
    if world.run != run {
        return Err(Failed::Locked);
    }
    if own.is_some_and(|own| !own.holds(world)) {
        return Err(Failed::Refused);
    }
    commit(world, scope, work, own, &refreshed, &marks);
    Ok(refreshed)
}

/// What the transaction leaves in the database.
fn commit(
    world: &mut World,
    scope: &RefreshScope,
    work: &Work,
    own: Option<&Own>,
    refreshed: &Refreshed,
    marks: &[(i64, About)],
) {
    if let Some(own) = own {
        let (now, era) = (world.now, world.judge.era());
        own.apply(&mut world.db, now, era);
        if let Event::Moved { bank, to } = own.event {
            world.db.mark(About::Bank { bank, was_in: Some(to) });
        }
    }
    let deletes_all =
        world.mutant == Some(Mutant::DeletesUnseenMarks) && matches!(work, Work::Marks(_));
    let is_of = |about: &About| {
        matches!(
            about,
            About::Activity { facility, .. }
                if scope.facilities().contains_key(&facility_id(*facility))
        )
    };
    let is_dealt_with = |(id, about): &(i64, About)| {
        marks.iter().any(|(taken, _)| taken == id) || (deletes_all && is_of(about))
    };
    world.db.marks.retain(|mark| !is_dealt_with(mark));
    let noted = marks.iter().filter_map(|(_, about)| {
        if let About::Facility { facility } = about { Some(*facility) } else { None }
    });
    let registered = own.and_then(|own| {
        if let Event::Registered { facility, .. } = own.event { Some(facility) } else { None }
    });
    for facility in noted.chain(registered).collect::<Vec<_>>() {
        let id = world.db.id();
        world.db.notes.push((id, facility));
    }
    refreshed.iter().filter(|(_, written)| *written).for_each(|(row, _)| write_row(world, row));
    world.committed();
}

async fn after_commit(sim: &Sim, r: usize, token: &FillToken, work: &Work, refreshed: &Refreshed) {
    sim.step().await;
    if let Work::Event(Event::Registered { facility, .. }) = work {
        let ids = vec![facility_id(*facility)];
        // Where that fails, the note is read later.
        let _ = directory::reload(sim, r, &ids).await;
        let is_current = sim.memory(r).is_current(token);
        if let (Some(epoch), true, false) = (sim.epoch(r), is_current, sim.is_alone()) {
            let publication =
                Publication { epoch, entries: Vec::new(), changed: false, facilities: ids };
            sim.world().replicas[r].queue.push_back(publication);
        }
    }
    for written in [true, false] {
        let rows: Vec<&SummaryRow> =
            refreshed.iter().filter(|(_, is)| *is == written).map(|(row, _)| row).collect();
        if !rows.is_empty() {
            pass_on(sim, r, token, &rows, written).await;
        }
    }
}

/// Passes what was committed, or read, to the replica's own memory and to its publisher.
pub async fn pass_on(sim: &Sim, r: usize, token: &FillToken, rows: &[&SummaryRow], changed: bool) {
    // In the same order as `Changes::publish`.
    let (memory, epoch) = (sim.memory(r), sim.epoch(r));
    sim.step().await;
    if sim.breaks(Mutant::NoVersionCompare) {
        memory.forget_facility(facility_id(0));
    }
    let token = if sim.breaks(Mutant::PublishesOldHistory) { memory.fill_token() } else { *token };
    if sim.is_alone() {
        return memory.publish(&token, rows.iter().copied());
    }
    let entries = memory.take_own(&token, rows.iter().copied());
    if let Some(epoch) = epoch
        && !entries.is_empty()
    {
        sim.world().replicas[r].queue.push_back(Publication {
            epoch,
            entries,
            changed,
            facilities: Vec::new(),
        });
    }
}

fn told(refreshed: &Refreshed) -> String {
    let one = |(row, written): &(SummaryRow, bool)| {
        format!(
            "key {} version {}{}",
            index(&row.key()),
            row.summary.version,
            if *written { "" } else { " unchanged" }
        )
    };
    refreshed.iter().map(one).collect::<Vec<_>>().join(", ")
}
