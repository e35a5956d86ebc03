//! A reader of views: the service's own view of a date, filled from the simulated table in steps.
//! Once a replica holds a view or a page of it, each later step of the replica is checked: what
//! would it answer from there?

use std::sync::Arc;

use facility_summary::{
    cache::{
        memory::Memory,
        views::{DayQuery, Page, Unplaced, View},
    },
    domain::summary::{DayKey, Summary},
    service::lists::view_fill::{days_of, judge},
};
use rand::RngExt;

use crate::{
    directory,
    judge::Judge,
    mutants::Mutant,
    places::{DATES, FACILITIES, calendar_date, facility_of, index, told, zone_of},
    refresh::{Work, refresh},
    truth::Answer,
    world::{Sim, World, called},
};

/// The attempts to fill a view.
const ATTEMPTS: usize = 3;

/// The answer about each facility, `None` for those that are not there.
type Answers = [Option<Answer>; FACILITIES];

/// A page that was put together from a view.
pub struct HeldPage {
    view: Arc<View>,
    page: Arc<Page>,
    answers: Answers,
    /// The instant of the last answer that was checked; the same answer needs no second check.
    asked: Option<i64>,
}

/// Reads the view of a random date, and keeps its page.
pub async fn read(sim: Sim, r: usize) {
    let date = sim.world().rng.random_range(0..DATES);
    of_date(&sim, r, date).await;
}

/// The view of a date, or of today, filled as long as something is missing.
async fn filled(sim: &Sim, r: usize, date: Option<usize>) -> Arc<View> {
    let now = sim.world().clock(r);
    let view = sim.memory(r).views().open(date.map(calendar_date), now);
    for _ in 0..ATTEMPTS {
        place(sim, r, &view);
        if sim.memory(r).unattached_keys(&view).is_empty() || !fill(sim, r, &view).await {
            break;
        }
    }
    place(sim, r, &view);
    view
}

/// Today of all facilities, and the instant as of which that is exact.
pub async fn of_today(sim: &Sim, r: usize) -> Option<(Vec<(DayKey, Summary)>, i64)> {
    let view = filled(sim, r, None).await;
    let now = sim.world().clock(r);
    let directory_ms = sim.directory(r).exact_as_of_ms();
    let (summaries, as_of_ms) = sim.memory(r).view_summaries(&view, directory_ms, now)?;
    (as_of_ms != i64::MIN).then_some((summaries, as_of_ms.min(now)))
}

/// Fills the view of a date, and keeps its page.
pub async fn of_date(sim: &Sim, r: usize, date: usize) {
    let view = filled(sim, r, Some(date)).await;
    let now = sim.world().clock(r);
    let world = &mut *sim.world();
    let (memory, directory_ms) = proof(world, r);
    let query = DayQuery { limit: 500, ..DayQuery::default() };
    let rendered = memory.render(&view, ("", &query), directory_ms, now, |_| false);
    let Some(Ok(rendered)) = rendered else { return };
    let answers = answers_of(&view);
    world.tell(called(r), || {
        let as_of = told(rendered.page.exact_ms);
        format!("has a page of date {date} as of {as_of} ms: {answers:?}")
    });
    world.judge.pages[r][date] = Some(HeldPage { view, page: rendered.page, answers, asked: None });
}

/// Memory, and the instant as of which the directory is exact.
fn proof(world: &World, r: usize) -> (Arc<Memory>, i64) {
    let directory_ms = match world.mutant {
        Some(Mutant::ViewsWithoutDirectory) => i64::MAX,
        _ => world.replicas[r].directory.exact_as_of_ms(),
    };
    (world.replicas[r].memory.clone(), directory_ms)
}

fn answers_of(view: &View) -> Answers {
    let mut answers = [None; FACILITIES];
    for (key, summary) in view.summaries() {
        answers[facility_of(&key.facility.id)] = Some(Answer::Figures {
            zone: zone_of(&key.facility.zone.name),
            activity: summary.total_transferred,
            stock: summary.total_stock,
            has_row: summary.version > 0,
        });
    }
    answers
}

/// Places what the directory has changed, as the service does for each reader.
fn place(sim: &Sim, r: usize, view: &View) {
    let (directory, memory, now) = (sim.directory(r), sim.memory(r), sim.world().clock(r));
    view.place_changed(now, |unplaced| {
        let is_all = matches!(unplaced, Unplaced::All);
        let ids = match unplaced {
            Unplaced::All => directory.all().0.iter().map(|facility| facility.id).collect(),
            Unplaced::These(ids) => ids,
        };
        let facilities = ids.into_iter().map(|id| (id, directory.get(id)));
        let (places, until_ms) = days_of(facilities, view.date, now);
        memory.place(view, &places, is_all);
        view.set_until_ms(until_ms.min(if is_all { i64::MAX } else { view.until_ms() }));
    });
}

/// Reads what the view lacks. False where nothing more can be read now.
async fn fill(sim: &Sim, r: usize, view: &View) -> bool {
    let memory = sim.memory(r);
    let keys = memory.unattached_keys(view);
    let (token, table_ms) = (sim.token(r), memory.table_ms());
    sim.step().await;
    let mut read =
        sim.world().db.read(&keys.iter().map(|key| index(&key.id())).collect::<Vec<_>>());
    sim.step().await;
    let stored_ms = read.watermark.map_or(i64::MIN, |watermark| watermark.at_ms);
    if sim.epoch(r).as_ref() != Some(&read.epoch) || stored_ms < table_ms {
        return false;
    }
    if sim.breaks(Mutant::ViewsWithoutZones) {
        read.zones =
            keys.iter().map(|key| (key.facility.id, key.facility.zone.name.clone())).collect();
    }
    let judged = judge(&keys, read, &token, table_ms, sim.world().clock(r));
    for found in &judged.found {
        let _ = found.keep(&memory, &token);
    }
    for key in &judged.due {
        if refresh(sim, r, Work::Day(index(&key.id()))).await.is_err() {
            return false;
        }
    }
    judged.unknown.is_empty() || directory::reload(sim, r, &judged.unknown).await.is_ok()
}

/// Checks what a replica would answer from its views, and from the pages that it holds.
pub fn check(world: &mut World, r: usize) -> Result<(), String> {
    let Some(beginning) = Judge::beginning(world, r) else { return Ok(()) };
    let (memory, directory_ms) = proof(world, r);
    let now = world.clock(r);
    for date in 0..DATES {
        let Some(view) = memory.views().get(Some(calendar_date(date)), now) else {
            world.judge.pages[r][date] = None;
            continue;
        };
        let exact = memory.view_exact_ms(&view, directory_ms, now);
        if let Some(as_of) = exact.filter(|as_of| *as_of != i64::MIN) {
            let answers = answers_of(&view);
            Judge::check_list(world, date, &answers, as_of, beginning)
                .map_err(|lie| format!("from a view, {lie}"))?;
        }
        let held = world.judge.pages[r][date].take();
        let Some(mut held) = held.filter(|held| Arc::ptr_eq(&held.view, &view)) else { continue };
        let (page_ms, _) = memory.page_exact_ms(&view, &held.page, directory_ms, now);
        let as_of = match (world.mutant, exact) {
            (Some(Mutant::ViewsForgetAChange), Some(exact)) => exact,
            _ => page_ms,
        };
        if held.asked != Some(as_of) && as_of != i64::MIN {
            held.asked = Some(as_of);
            Judge::check_list(world, date, &held.answers, as_of, beginning)
                .map_err(|lie| format!("from a page of a view, {lie}"))?;
        }
        world.judge.pages[r][date] = Some(held);
    }
    Ok(())
}
