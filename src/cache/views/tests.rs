//! A view equals a recomputation from rows, after any sequence of changes, moves, removals and
//! midnights. Its pages have each facility once, whatever changes between them.

mod world;

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use super::{DayCursor, DayQuery, Sort, View, query::Bound};
use crate::{
    cache::memory::Memory,
    domain::{blood_type::BloodType, summary::Summary, totals::Figure},
    protocol::{Message, Position},
};
use world::{FACILITIES, HOUR_MS, Step, World, id, step};

fn page(memory: &Memory, view: &View, query: &DayQuery, now_ms: i64) -> Value {
    let rendered = memory.render(view, ("", query), i64::MAX, now_ms, |_| false).unwrap();
    serde_json::from_slice(&rendered.unwrap().page.body).unwrap()
}

fn ids(page: &Value) -> Vec<Uuid> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["facility_id"].as_str().unwrap().parse().unwrap()).collect()
}

fn rank(summary: &Summary, figure: Option<Figure>) -> i64 {
    match figure {
        None => 0,
        Some(Figure::Stock) => summary.total_stock.unwrap_or(-1),
        Some(Figure::Transferred) => summary.total_transferred,
        Some(Figure::Requests) => summary.total_requests,
    }
}

/// Asserts that a page of everything is what a recomputation says, for this query.
fn assert_equals(world: &World, view: &View, query: &DayQuery) -> Result<(), TestCaseError> {
    let shown = page(&world.memory, view, query, world.now_ms);
    let mut expected: Vec<_> = world
        .expected()
        .into_iter()
        .filter(|(facility, summary)| {
            let stock = match query.blood_type {
                None => summary.total_stock,
                Some(of) => summary.total_stock.map(|_| {
                    summary.by_blood_type.get(&of).map_or(0, |figures| figures.stock.unwrap())
                }),
            };
            let name = crate::domain::names::sought(&facility.name);
            query.name.as_ref().is_none_or(|part| name.contains(part))
                && query.below.is_none_or(|b| stock.is_some_and(|stock| stock < b.value))
                && query.facilities.as_ref().is_none_or(|ids| ids.contains(&facility.id))
        })
        .collect();
    match query.sort {
        Sort { by: None, descending: false } => {}
        Sort { by: None, descending: true } => expected.reverse(),
        Sort { by, descending: false } => expected.sort_by_key(|(_, s)| rank(s, by)),
        Sort { by, descending: true } => {
            expected.sort_by_key(|(_, s)| std::cmp::Reverse(rank(s, by)));
        }
    }
    let stock: i64 = expected.iter().map(|(_, s)| s.total_stock.unwrap_or(0)).sum();
    let requests: i64 = expected.iter().map(|(_, s)| s.total_requests).sum();
    prop_assert_eq!(&shown["totals"]["facilities"], expected.len());
    prop_assert_eq!(&shown["totals"]["total_stock"], stock);
    prop_assert_eq!(&shown["totals"]["total_requests"], requests);
    let types: HashSet<BloodType> =
        expected.iter().flat_map(|(_, s)| s.by_blood_type.keys().copied()).collect();
    let types = types.iter().filter(|of| query.blood_type.is_none_or(|only| only == **of)).count();
    prop_assert_eq!(shown["totals"]["by_blood_type"].as_object().unwrap().len(), types);
    let whole: Vec<Uuid> = expected.iter().map(|(facility, _)| facility.id).collect();
    prop_assert_eq!(ids(&shown), whole);
    if query.blood_type.is_none() {
        let summaries: Vec<Value> =
            expected.iter().map(|(_, s)| serde_json::to_value(s).unwrap()).collect();
        prop_assert_eq!(&shown["items"], &Value::Array(summaries));
    }
    Ok(())
}

fn queries() -> Vec<DayQuery> {
    let all = DayQuery { limit: 500, ..DayQuery::default() };
    let mut queries: Vec<DayQuery> = super::SORTS
        .iter()
        .map(|sort| DayQuery { sort: Sort::named(sort).unwrap(), ..all.clone() })
        .collect();
    let below = Some(Bound { figure: Figure::Stock, value: 2 });
    queries.push(DayQuery { below, ..all.clone() });
    queries.push(DayQuery { below, blood_type: Some(BloodType::ONegative), ..all.clone() });
    queries.push(DayQuery { name: Some("hôp".into()), ..all.clone() });
    queries.push(DayQuery { facilities: Some([id(0), id(3)].into()), ..all });
    queries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_view_equals_a_recomputation_after_any_sequence_of_changes(
        steps in prop::collection::vec(step(), 1..60),
        opened in 0usize..20,
    ) {
        let mut world = World::new();
        let mut view = None;
        for (at, step) in steps.iter().enumerate() {
            world.take(step);
            if at == opened.min(steps.len() - 1) {
                view = Some(world.memory.views().open(None, world.now_ms));
            }
            if let Some(view) = &view && at % 3 == 0 {
                world.fill(view);
                for query in queries() {
                    assert_equals(&world, view, &query)?;
                }
            }
        }
    }

    #[test]
    fn pages_have_each_facility_once_whatever_changes_between_them(
        between in prop::collection::vec(prop::collection::vec(step(), 0..4), 3..12),
        sort in 0..super::SORTS.len(),
        limit in 1usize..3,
    ) {
        let mut world = World::new();
        let sort = Sort::named(super::SORTS[sort]).unwrap();
        (0..FACILITIES).for_each(|f| world.take(&Step::Place(f, f % 3, 0)));
        let view = world.memory.views().open(None, world.now_ms);
        world.fill(&view);
        let mut query = DayQuery { limit, sort, ..DayQuery::default() };
        let (mut seen, mut versions) = (Vec::new(), HashSet::new());
        for steps in &between {
            let shown = page(&world.memory, &view, &query, world.now_ms);
            seen.extend(ids(&shown));
            versions.insert(shown["day_version"].to_string());
            let Some(next) = shown["next_cursor"].as_str() else { break };
            query.cursor = DayCursor::read(next);
            // Only figures change between the pages: no facility comes, goes or is renamed.
            let of_figures = |step: &&Step| !matches!(step, Step::Place(..) | Step::Remove(_));
            steps.iter().filter(of_figures).for_each(|step| world.take(step));
            world.fill(&view);
        }
        let once: HashSet<Uuid> = seen.iter().copied().collect();
        prop_assert_eq!(once.len(), seen.len(), "a facility is there twice");
        let pages = FACILITIES.div_ceil(limit);
        if between.len() >= pages {
            prop_assert_eq!(seen.len(), FACILITIES, "a facility is missed");
        }
        prop_assert_eq!(versions.len(), 1, "the pages are of one version");
    }
}

#[test]
fn a_view_is_exact_as_each_of_its_entries_is() {
    let mut world = World::new();
    world.take(&Step::Place(0, 0, 0));
    world.take(&Step::Place(1, 0, 0));
    let view = world.memory.views().open(None, world.now_ms);
    let exact =
        |world: &World, directory_ms| world.memory.view_exact_ms(&view, directory_ms, world.now_ms);
    assert_eq!(exact(&world, i64::MAX), None, "nothing is placed yet");
    world.fill(&view);
    let own_ms = exact(&world, i64::MAX).unwrap();
    world.take(&Step::Watermark);
    let proven_ms = world.memory.watermark_ms();
    assert!(proven_ms > own_ms && exact(&world, i64::MAX) == Some(proven_ms));
    assert_eq!(exact(&world, own_ms - 5), Some(own_ms - 5), "never younger than its directory");
    world.take(&Step::Gap);
    world.take(&Step::Watermark);
    assert_eq!(exact(&world, i64::MAX), Some(proven_ms), "a gap ends what watermarks prove");
    world.fill(&view);
    world.take(&Step::Watermark);
    assert_eq!(exact(&world, i64::MAX), Some(world.memory.watermark_ms()));
    world.take(&Step::Change(0, Some(1), 1));
    world.now_ms += HOUR_MS;
    world.take(&Step::Watermark);
    let expires_ms = world.rows.values().filter_map(|row| row.next_expires_at_ms).max();
    assert_eq!(exact(&world, i64::MAX), expires_ms.map(|ms| ms - 1), "a unit has expired");
    world.memory.start_over(None);
    assert_eq!(exact(&world, i64::MAX), None, "another epoch");
    assert!(world.memory.views().get(None, world.now_ms).is_none());
}

#[test]
fn a_page_is_current_until_its_view_changes() {
    let mut world = World::new();
    world.take(&Step::Place(0, 0, 0));
    let view = world.memory.views().open(None, world.now_ms);
    world.fill(&view);
    world.take(&Step::Watermark);
    let query = DayQuery { limit: 5, ..DayQuery::default() };
    let text = ("", &query);
    let render = |world: &World| {
        let rendered = world.memory.render(&view, text, i64::MAX, world.now_ms, |_| false);
        rendered.unwrap().unwrap().page
    };
    let page = render(&world);
    let exact = |world: &World, page: &super::Page| {
        world.memory.page_exact_ms(&view, page, i64::MAX, world.now_ms)
    };
    world.take(&Step::Watermark);
    assert_eq!(exact(&world, &page), (world.memory.watermark_ms(), true));
    world.take(&Step::ReadAgain(0));
    assert!(exact(&world, &page).1, "nothing has changed");
    world.take(&Step::Change(0, Some(9), 0));
    world.take(&Step::Watermark);
    assert_eq!(exact(&world, &page), (page.exact_ms, false), "it lacks the change");
    assert_ne!(render(&world).body, page.body);
    assert!(exact(&world, &render(&world)).1);
    let page = render(&world);
    world.memory.views().note_changed(&[id(0)]);
    assert!(!exact(&world, &page).1, "the directory may have it elsewhere");
}

#[test]
fn the_bodies_by_type_are_cut_from_the_bodies_that_are_held() {
    let mut world = World::new();
    world.take(&Step::Place(0, 0, 0));
    world.take(&Step::Change(0, Some(3), 2));
    let view = world.memory.views().open(None, world.now_ms);
    world.fill(&view);
    let of = |blood_type, without_types| {
        let query = DayQuery { limit: 5, blood_type, without_types, ..DayQuery::default() };
        page(&world.memory, &view, &query, world.now_ms)
    };
    let whole = of(None, false);
    let item = |page: &Value| page["items"][0].clone();
    let figures = serde_json::json!({"A+": {"stock": 3, "transferred": 0, "requests": 2}});
    assert_eq!(item(&of(Some(BloodType::APositive), false))["by_blood_type"], figures);
    assert_eq!(
        item(&of(Some(BloodType::ONegative), false))["by_blood_type"],
        serde_json::json!({})
    );
    let without = of(None, true);
    let mut expected = item(&whole);
    expected.as_object_mut().unwrap().remove("by_blood_type");
    assert_eq!(item(&without), expected);
    assert!(without["totals"].get("by_blood_type").is_none());
    assert_eq!(without["totals"]["total_stock"], 3);
}

#[test]
fn of_many_views_the_one_asked_for_last_stays() {
    let memory = Memory::new(1 << 20, 16, Position::default())
        .with_views(super::ViewBounds { most: 2, idle_ms: 1_000, page_bytes: 1 << 20 }, None);
    let date = |day| Some(jiff::civil::date(2026, 11, day));
    let first = memory.views().open(date(1), 10);
    memory.views().open(date(2), 20);
    memory.views().get(date(1), 30).unwrap();
    memory.views().open(date(3), 40);
    assert!(memory.views().get(date(2), 50).is_none() && !first.is_dropped());
    memory.views().get(date(3), 1_050);
    memory.consume_next(&Message::Watermark { at_ms: 1_100 });
    assert!(first.is_dropped(), "nobody asked for it");
    assert_eq!(memory.views().size().views, 1);
    memory.start_over(None);
    assert!(!memory.views().are_held());
}

#[test]
fn a_page_weighs_the_text_of_its_query_too() {
    let pages = super::view::pages(1_000_000);
    let page = std::sync::Arc::new(super::page::Page::new(b"{}".to_vec(), 0, 0, 0));
    for number in 0..100 {
        let text = format!("q={number}{}", "&".repeat(60_000));
        pages.insert(text.into(), page.clone());
    }
    pages.run_pending_tasks();
    assert!(pages.weighted_size() > 60_000, "{}", pages.weighted_size());
    assert!(pages.entry_count() <= 1_000_000 / 60_000, "{}", pages.entry_count());
}
