//! Tests of `day.rs`.

use super::*;
use jiff::civil::date;
use proptest::prelude::*;

const ZONES: [&str; 10] = [
    "UTC",
    "America/Sao_Paulo",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/St_Johns",
    "Europe/Warsaw",
    "America/Havana",
    "Pacific/Kiritimati",
];

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn hours(day: Day) -> f64 {
    (day.end_ms - day.start_ms) as f64 / 3_600_000.0
}

#[test]
fn a_midnight_that_does_not_exist_starts_its_day_at_one() {
    let sao_paulo = Day::named(&zone("America/Sao_Paulo"), date(2018, 11, 4)).unwrap();
    assert_eq!(hours(sao_paulo), 23.0);
    assert_eq!(
        sao_paulo.start_ms,
        "2018-11-04T03:00:00Z".parse::<Timestamp>().unwrap().as_millisecond()
    );
    let cairo = Day::named(&zone("Africa/Cairo"), date(2023, 4, 28)).unwrap();
    assert_eq!(hours(cairo), 23.0);
}

#[test]
fn a_day_that_never_was_is_none_and_its_neighbours_touch() {
    let apia = zone("Pacific/Apia");
    assert_eq!(Day::named(&apia, date(2011, 12, 30)), None);
    let before = Day::named(&apia, date(2011, 12, 29)).unwrap();
    let after = Day::named(&apia, date(2011, 12, 31)).unwrap();
    assert_eq!(before.end_ms, after.start_ms);
    assert_eq!(hours(before), 24.0);
}

#[test]
fn half_hours_count() {
    assert_eq!(
        Day::named(&zone("Asia/Kathmandu"), date(2026, 1, 1)).unwrap().start_ms % 3_600_000,
        900_000
    );
    assert_eq!(hours(Day::named(&zone("Australia/Lord_Howe"), date(2026, 4, 5)).unwrap()), 24.5);
    assert_eq!(hours(Day::named(&zone("Australia/Lord_Howe"), date(2026, 10, 4)).unwrap()), 23.5);
    assert_eq!(hours(Day::named(&zone("Europe/Warsaw"), date(2026, 10, 25)).unwrap()), 25.0);
}

proptest! {
    #[test]
    fn every_instant_is_in_exactly_the_day_that_contains_it(
        name in prop::sample::select(&ZONES[..]),
        at_ms in 0i64..4_102_444_800_000,
    ) {
        let tz = zone(name);
        let day = Day::containing(&tz, at_ms);
        prop_assert!(day.contains(at_ms));
        prop_assert_eq!(Day::named(&tz, day.date), Some(day));
        let next = Day::containing(&tz, day.end_ms);
        prop_assert_eq!(next.start_ms, day.end_ms);
        prop_assert!(next.date > day.date);
    }

    #[test]
    fn the_days_of_a_span_touch_and_hold_both_its_ends(
        name in prop::sample::select(&ZONES[..]),
        first_ms in 0i64..4_102_444_800_000,
        length_ms in 0i64..300_000_000,
        to_a_midnight in any::<bool>(),
    ) {
        let tz = zone(name);
        // An end that is the first instant of a day belongs to that day.
        let last_ms = if to_a_midnight {
            Day::containing(&tz, first_ms + length_ms).end_ms
        } else {
            first_ms + length_ms
        };
        let days = Day::covering(&tz, first_ms, last_ms, 100);
        prop_assert!(
            days[0].contains(first_ms) && days[days.len() - 1].contains(last_ms),
            "{:?}",
            days
        );
        prop_assert!(
            days.windows(2).all(|pair| pair[0].end_ms == pair[1].start_ms),
            "{:?}",
            days
        );
        prop_assert_eq!(&Day::covering(&tz, first_ms, last_ms, 1), &days[..1]);
    }

    #[test]
    fn a_quarter_hour_is_never_in_two_days_of_a_modern_zone(
        name in prop::sample::select(&ZONES[..]),
        quarter in 1_400_000i64..4_500_000,
    ) {
        let tz = zone(name);
        let day = Day::containing(&tz, quarter * 900_000);
        prop_assert!(day.contains(quarter * 900_000 + 899_999));
    }
}
