//! The proof rule, case by case; `tests/simulation` tries it against random schedules.

use jiff::civil::date;
use uuid::Uuid;

use super::*;
use crate::{
    domain::summary::{Bounds, Summary},
    protocol::StoredEntry,
};

impl Memory {
    /// Evicts a facility's entries.
    pub fn evict(&self, facility: Uuid) {
        self.cache.invalidate(&facility);
    }
}

fn key(n: usize) -> Key {
    Key { facility_id: Uuid::from_u128(n as u128 + 1), date: date(2026, 11, 21) }
}

fn row(n: usize, version: i64, as_of_ms: i64) -> SummaryRow {
    let Key { facility_id, date } = key(n);
    let summary = Summary { version, ..Summary::empty(facility_id, date, false) };
    SummaryRow { summary, as_of_ms, next_expires_at_ms: None, bounds: None }
}

fn memory(recent: usize) -> Memory {
    Memory::new(1 << 20, recent, Position { generation: 1, number: 0 })
}

fn announce(memory: &Memory, at_ms: i64) {
    memory.consume_next(&Message::Watermark { at_ms });
}

#[test]
fn a_slow_fill_that_lost_the_race_is_thrown_away() {
    let memory = memory(16);
    let before = memory.fill_token();
    memory.publish(&before, [&row(0, 2, 20)].into_iter());
    assert!(matches!(memory.fill(&before, before.position, &row(0, 1, 10), 10), Fill::LostRace));
    assert_eq!(memory.get(&key(0)).unwrap().version, 2);
}

#[test]
fn a_fill_older_than_the_recent_changes_keeps_its_own_instant() {
    let memory = memory(1);
    let before = memory.fill_token();
    memory.publish(&before, [&row(0, 2, 20), &row(1, 1, 20)].into_iter());
    memory.forget_facility(key(0).facility_id);
    let Fill::Kept(entry) = memory.fill(&before, before.position, &row(0, 1, 10), 10) else {
        panic!("no recent change forbids the fill")
    };
    announce(&memory, 30);
    assert_eq!(memory.exact_as_of_ms(&entry), 10);
}

#[test]
fn a_watermark_does_not_reach_past_the_next_expiry() {
    let memory = memory(16);
    let expiring = SummaryRow { next_expires_at_ms: Some(25), ..row(0, 1, 20) };
    memory.publish(&memory.fill_token(), [&expiring].into_iter());
    announce(&memory, 30);
    assert_eq!(memory.exact_as_of_ms(&memory.get(&key(0)).unwrap()), 24);
}

#[test]
fn a_row_read_before_a_gap_keeps_its_own_instant() {
    let memory = memory(16);
    let before = memory.fill_token();
    memory.publish(&before, [&row(0, 1, 10)].into_iter());
    memory.start_new_session(None);
    // A refresh and a slow fill that began before the gap.
    memory.publish(&before, [&row(0, 1, 10)].into_iter());
    let Fill::Kept(slow) = memory.fill(&before, before.position, &row(1, 1, 10), 10) else {
        panic!("nothing newer is known")
    };
    let Fill::Kept(after) =
        memory.fill(&memory.fill_token(), memory.fill_token().position, &row(2, 1, 10), 10)
    else {
        panic!("nothing newer is known")
    };
    announce(&memory, 30);
    assert_eq!(
        [&memory.get(&key(0)).unwrap(), &slow, &after].map(|entry| memory.exact_as_of_ms(entry)),
        [10, 10, 30]
    );
}

#[test]
fn a_row_read_after_a_gap_is_proven_by_later_watermarks_only() {
    let memory = memory(16);
    let at = |number| Position { generation: 1, number };
    let old = Message::Summaries(vec![StoredEntry { row: row(0, 1, 10), since: at(0) }]);
    announce(&memory, 30);
    memory.start_new_session(Some(Position::default()));
    assert_eq!(memory.consume(&memory.fill_token(), at(1), &old), Consumed::Gap);
    let exact_as_of = || memory.exact_as_of_ms(&memory.get(&key(0)).unwrap());
    assert_eq!(exact_as_of(), 10, "a newer version may be between the entry and that watermark");
    memory.consume(&memory.fill_token(), at(2), &Message::Watermark { at_ms: 20 });
    assert_eq!(exact_as_of(), 20);
}

#[test]
fn nothing_is_proven_after_the_clock_was_set_back() {
    let memory = memory(16);
    let position = memory.fill_token();
    memory.publish(&position, [row(0, 1, 5_000)].iter());
    announce(&memory, 9_000);
    memory.advance_table(9_000);
    memory.start_over(None);
    assert!(memory.get(&key(0)).is_none());
    assert_eq!((memory.watermark_ms(), memory.table_ms()), (i64::MIN, i64::MIN));
    announce(&memory, 2_000);
    assert_eq!(memory.watermark_ms(), 2_000, "from here on the earlier clock counts");
}

#[test]
fn a_watermark_counts_no_further_than_the_directory_is_exact() {
    let memory = memory(16);
    memory.publish(&memory.fill_token(), [row(0, 1, 10)].iter());
    announce(&memory, 30);
    let entry = memory.get(&key(0)).unwrap();
    assert_eq!(
        [5, 20, 40].map(|directory_ms| memory.exact_as_of_ms_within(&entry, directory_ms)),
        [10, 20, 30]
    );
}

#[test]
fn rows_of_a_facilitys_former_life_are_not_kept_and_do_not_count() {
    let memory = memory(16);
    let before = memory.fill_token();
    memory.publish(&before, [row(0, 5, 10)].iter());
    memory.begin_life(key(0).facility_id, 6);
    assert!(memory.get(&key(0)).is_none());
    // Rows of the former life: one published again, one read slowly or found in Redis.
    memory.publish(&before, [row(0, 5, 20)].iter());
    assert!(matches!(memory.fill(&before, before.position, &row(0, 6, 30), 30), Fill::LostRace));
    assert!(memory.get(&key(0)).is_none());
    // A day without a row, and the first version of the new life.
    assert!(matches!(
        memory.fill(&memory.fill_token(), memory.fill_token().position, &row(0, 0, 30), 30),
        Fill::Kept(_)
    ));
    memory.publish(&memory.fill_token(), [row(0, 7, 40)].iter());
    assert_eq!(memory.get(&key(0)).unwrap().version, 7);
}

#[test]
fn of_the_same_date_in_two_zones_the_later_row_is_kept() {
    let memory = memory(16);
    let of = |start_ms, as_of_ms| SummaryRow {
        bounds: Some(Bounds { start_ms, end_ms: start_ms + 100 }),
        ..row(0, 1, as_of_ms)
    };
    memory.publish(&memory.fill_token(), [of(0, 10)].iter());
    announce(&memory, 30);
    let shown = || memory.get(&key(0)).unwrap().bounds.unwrap().start_ms;
    memory.publish(&memory.fill_token(), [of(50, 20)].iter());
    assert_eq!(shown(), 50, "the figures are the same, but of another day");
    memory.publish(&memory.fill_token(), [of(0, 10)].iter());
    assert_eq!(shown(), 50, "an old message does not bring the earlier row back");
}

#[test]
fn a_day_without_a_row_is_proven_until_its_facility_is_told_to_have_changed() {
    let memory = memory(16);
    let fill = |token: &FillToken| {
        let Fill::Kept(entry) = memory.fill(token, token.position, &row(0, 0, 10), 10) else {
            panic!("nothing newer is known")
        };
        entry
    };
    let held = fill(&memory.fill_token());
    announce(&memory, 20);
    assert_eq!(memory.exact_as_of_ms(&held), 20);
    // Another facility changes, and then this one: it may move to another zone and back.
    let overtaken = memory.fill_token();
    memory.consume_next(&Message::Facilities(vec![key(1).facility_id]));
    assert!(memory.get(&key(0)).is_some());
    memory.consume_next(&Message::Facilities(vec![key(0).facility_id]));
    assert!(memory.get(&key(0)).is_none());
    let (before, after) = (fill(&overtaken), memory.fill_token());
    announce(&memory, 30);
    assert_eq!(memory.exact_as_of_ms(&before), 10, "the facility may have changed since its read");
    let again = fill(&after);
    announce(&memory, 40);
    assert_eq!(memory.exact_as_of_ms(&again), 40);
}

#[test]
fn what_a_facility_did_is_forgotten_no_earlier_than_the_fills_that_it_concerns() {
    let memory = memory(1);
    let overtaken = memory.fill_token();
    memory.consume_next(&Message::Facilities(vec![key(0).facility_id]));
    memory.publish(&memory.fill_token(), [&row(1, 1, 20), &row(2, 1, 20)].into_iter());
    let Fill::Kept(entry) = memory.fill(&overtaken, overtaken.position, &row(0, 0, 10), 10) else {
        panic!("nothing newer is known")
    };
    announce(&memory, 30);
    assert_eq!(memory.exact_as_of_ms(&entry), 10);
}

#[test]
fn days_that_are_filled_together_are_judged_one_by_one() {
    let memory = memory(16);
    let facility = key(0).facility_id;
    let day = |day: i8, version, as_of_ms| {
        let summary = Summary { version, ..Summary::empty(facility, date(2026, 11, day), true) };
        SummaryRow { summary, as_of_ms, next_expires_at_ms: None, bounds: None }
    };
    let before = memory.fill_token();
    memory.publish(&before, [&day(2, 5, 10)].into_iter());
    memory.publish(&before, [&day(3, 7, 10)].into_iter());
    let rows = [day(1, 1, 5), day(2, 4, 5), day(3, 7, 5), day(4, 0, 5)];
    let asked: Vec<_> = rows.iter().map(|row| (before.position, row, 5)).collect();
    let fills = memory.fill_days(&before, facility, &asked);
    let versions: Vec<Option<i64>> = fills
        .iter()
        .map(|fill| match fill {
            Fill::Kept(entry) => Some(entry.version),
            Fill::LostRace => None,
        })
        .collect();
    assert_eq!(versions, [Some(1), None, Some(7), Some(0)]);
    announce(&memory, 30);
    let exact = |day: i8| {
        memory
            .get(&Key { facility_id: facility, date: date(2026, 11, day) })
            .map(|entry| memory.exact_as_of_ms(&entry))
    };
    assert_eq!([1, 2, 3, 4].map(exact), [Some(30); 4]);
    memory.start_over(None);
    let fills = memory.fill_days(&before, facility, &asked);
    assert!(fills.iter().all(|fill| matches!(fill, Fill::LostRace)), "of the epoch before");
}
