//! Tests of `stock.rs`.

use super::*;
use proptest::prelude::*;

const FACILITY: Uuid = Uuid::from_u128(1);
const DATE: Date = Date::constant(2024, 1, 5);

/// What the day ends with after rows of (units, time).
fn ends(rule: SameDay, rows: &[(i64, i64)]) -> i64 {
    let mut days = ClosingStock::new(Some(rule));
    for (line, (units, at_ms)) in rows.iter().enumerate() {
        let figure = Figure { units: *units, line: line as u64 + 2, at_ms: *at_ms, rows: 1 };
        days.add(FACILITY, DATE, BloodType::OPositive, figure).unwrap();
    }
    let (taken, of_rows) = days.take(1);
    assert_eq!(of_rows, rows.len() as u64);
    taken[0].by_blood_type[&BloodType::OPositive]
}

#[test]
fn several_rows_of_a_day_are_what_the_rule_says() {
    let rows = [(5, 30), (9, 10), (7, 30), (1, 20)];
    assert_eq!(ends(SameDay::Sum, &rows), 22);
    assert_eq!(ends(SameDay::Highest, &rows), 9);
    assert_eq!(ends(SameDay::Last, &rows), 7, "of two at one time the later line");
}

#[test]
fn without_a_rule_a_second_row_is_a_fault_also_where_it_is_equal() {
    let mut days = ClosingStock::new(None);
    let figure = |units, line| Figure { units, line, at_ms: 0, rows: 1 };
    days.add(FACILITY, DATE, BloodType::OPositive, figure(5, 2)).unwrap();
    for units in [5, 6] {
        let problem = days.add(FACILITY, DATE, BloodType::OPositive, figure(units, 9)).unwrap_err();
        assert!(
            problem.contains("line 2 says 5")
                && problem.contains("--same-day sum, last or highest"),
            "{problem}"
        );
    }
    days.add(FACILITY, DATE, BloodType::ONegative, figure(6, 10)).unwrap();
    assert_eq!((days.merged, days.merged_in_words()), (0, None));
}

proptest! {
    #[test]
    fn the_order_of_rows_with_times_of_their_own_is_nothing_to_the_result(
        (rows, shuffled) in prop::collection::btree_map(0..1_000i64, 0..100i64, 1..20)
            .prop_flat_map(|rows| {
                let rows: Vec<(i64, i64)> =
                    rows.into_iter().map(|(at, units)| (units, at)).collect();
                (Just(rows.clone()), Just(rows).prop_shuffle())
            })
    ) {
        for rule in [SameDay::Sum, SameDay::Last, SameDay::Highest] {
            prop_assert_eq!(ends(rule, &rows), ends(rule, &shuffled));
        }
    }
}
