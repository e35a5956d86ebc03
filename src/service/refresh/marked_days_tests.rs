//! Tests of `marked_days.rs`.

use std::sync::Arc;

use jiff::civil::date;
use uuid::Uuid;

use super::*;
use crate::{cache::memory::Memory, protocol::Position, store::FacilityRow};

fn mark(kind: MarkKind, facility: u128, span: Option<(i64, i64)>) -> Mark {
    Mark { id: 1, kind, facility_id: Some(Uuid::from_u128(facility)), span, blood_bank_id: None }
}

fn directory() -> Directory {
    let memory = Arc::new(Memory::new(1 << 20, 16, Position::default()));
    let directory = Directory::new(memory, false);
    for n in 1..=2 {
        directory.insert(FacilityRow::new(
            Uuid::from_u128(n),
            String::new(),
            "Asia/Kathmandu".to_owned(),
        ));
    }
    directory
}

#[test]
fn a_mark_that_grew_within_the_days_is_covered_and_beyond_them_is_not() {
    let directory = directory();
    let zone = directory.get(Uuid::from_u128(1)).unwrap().zone.clone();
    let Day { start_ms, end_ms, .. } = Day::named(&zone.tz, date(2026, 11, 21)).unwrap();
    let scope = RefreshScope::of_marks(
        [&mark(MarkKind::Activity, 1, Some((start_ms, end_ms - 1)))],
        &directory,
        0,
    )
    .unwrap();
    let covers = |facility, span| scope.covers(&mark(MarkKind::Activity, facility, span));
    assert!(covers(1, Some((start_ms, end_ms - 1))));
    assert!(!covers(1, Some((start_ms, end_ms))), "the next day is not in it");
    assert!(!covers(1, Some((start_ms - 1, start_ms))), "nor is the day before");
    assert!(!covers(2, Some((start_ms, start_ms))), "nor the other facility");
    assert!(!covers(1, None), "all time is never covered by days");
    let whole =
        RefreshScope::of_marks([&mark(MarkKind::Facility, 1, None)], &directory, 0).unwrap();
    assert!(whole.covers(&mark(MarkKind::Activity, 1, None)));
}

#[test]
fn a_mark_over_two_utc_days_means_each_local_day_that_it_meets() {
    let directory = directory();
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    // 10:00 and 22:00 in Kathmandu's afternoon and its next morning.
    let span = Some((at("2026-11-21T10:00:00Z"), at("2026-11-21T22:00:00Z")));
    let scope =
        RefreshScope::of_marks([&mark(MarkKind::Activity, 1, span)], &directory, 0).unwrap();
    let dates: Vec<_> = scope.days.iter().map(|key| key.day.date).collect();
    assert_eq!(dates, [date(2026, 11, 21), date(2026, 11, 22)]);
}

#[test]
fn marks_of_a_facility_that_is_not_known_point_at_nothing_yet() {
    assert!(RefreshScope::of_marks([&mark(MarkKind::Stock, 3, None)], &directory(), 0).is_none());
}
