//! Tests of `difference.rs`.

use jiff::{civil::date, tz::TimeZone};

use super::*;
use crate::domain::summary::{Bounds, Summary};

const FACILITY: Uuid = Uuid::from_u128(1);
const BANK: Uuid = Uuid::from_u128(2);
const HOUR_MS: i64 = 3_600_000;

fn day() -> Day {
    Day::named(&TimeZone::UTC, date(2026, 11, 21)).unwrap()
}

fn noon_ms() -> i64 {
    day().start_ms + 12 * HOUR_MS
}

/// A row of the day with this stock of type O+, and nothing else.
fn row(stock: Option<i64>, next_expires_at_ms: Option<i64>) -> SummaryRow {
    let mut summary = Summary::empty(FACILITY, day().date, stock.is_none());
    summary.total_stock = stock;
    if let Some(units @ 1..) = stock {
        let figures = Figures { stock: Some(units), ..Figures::default() };
        summary.by_blood_type.insert(BloodType::OPositive, figures);
    }
    let bounds = Some(Bounds::from(&day()));
    SummaryRow { summary, as_of_ms: noon_ms(), next_expires_at_ms, bounds }
}

fn units(quantity: i32, expires_at_ms: Option<i64>) -> Option<Contribution> {
    let entity = Entity::Inventory {
        blood_bank_id: BANK,
        blood_type: Some(BloodType::OPositive),
        expires_at_ms,
        quantity,
    };
    Contribution::of(&entity, |bank| (bank == BANK).then_some(FACILITY))
}

fn request(created_at_ms: i64) -> Option<Contribution> {
    let entity = Entity::Request {
        blood_type: None,
        created_at_ms,
        facility_id: FACILITY,
        quantity: Some(7),
    };
    Contribution::of(&entity, |_| None)
}

fn after(
    stored: &SummaryRow,
    changes: &[(Option<Contribution>, Option<Contribution>)],
    now_ms: i64,
) -> Result<SummaryRow, Undecided> {
    let mut differences = Differences::default();
    changes.iter().for_each(|(before, now)| differences.change(*before, *now));
    differences.add_to(stored, &day(), now_ms)
}

#[test]
fn units_that_change_move_the_stock_of_today_and_of_no_other_day() {
    let change = [(units(5, None), units(8, None))];
    let now = after(&row(Some(20), None), &change, noon_ms()).unwrap();
    assert_eq!(now, row(Some(23), None));
    let past = after(&row(Some(20), None), &change, day().end_ms).unwrap();
    assert_eq!(past, row(Some(20), None), "a closed day keeps the stock that it closed with");
    let gone = after(&row(Some(5), None), &[(units(5, None), None)], noon_ms()).unwrap();
    assert_eq!(gone, row(Some(0), None), "a type without a figure is left out");
}

#[test]
fn a_request_counts_on_the_day_that_has_its_instant() {
    for (at_ms, counts) in
        [(day().start_ms - 1, 0), (day().start_ms, 1), (day().end_ms - 1, 1), (day().end_ms, 0)]
    {
        let now = after(&row(Some(0), None), &[(None, request(at_ms))], noon_ms()).unwrap();
        assert_eq!(now.summary.total_requests, counts, "{at_ms}");
    }
    assert_eq!(request(i64::MAX), None, "an instant on no day");
}

#[test]
fn units_that_have_expired_counted_nowhere_and_count_nowhere() {
    let late = noon_ms() - 1;
    let change = [(units(5, Some(late)), units(9, Some(late)))];
    assert_eq!(after(&row(Some(1), None), &change, noon_ms()), Ok(row(Some(1), None)));
}

#[test]
fn an_expiry_at_this_instant_is_left_to_the_aggregate() {
    let now_ms = noon_ms();
    let expired = Err(Undecided::ExpiresNow);
    assert_eq!(after(&row(Some(1), Some(now_ms)), &[], now_ms), expired);
    let change = [(units(1, Some(now_ms)), None)];
    assert_eq!(after(&row(Some(1), Some(now_ms + 1)), &change, now_ms), expired);
}

#[test]
fn the_next_expiry_may_stay_too_early_and_is_never_too_late() {
    let (soon, later) = (noon_ms() + HOUR_MS, noon_ms() + 2 * HOUR_MS);
    let sooner = [(None, units(1, Some(soon)))];
    let now = after(&row(Some(1), Some(later)), &sooner, noon_ms()).unwrap();
    assert_eq!(now.next_expires_at_ms, Some(soon));
    let gone = after(&now, &[(units(1, Some(soon)), None)], noon_ms()).unwrap();
    assert_eq!(gone.next_expires_at_ms, Some(soon), "too early: it costs one refresh");
    let none = after(&row(Some(1), None), &[(None, units(0, Some(soon)))], noon_ms()).unwrap();
    assert_eq!(none.next_expires_at_ms, None, "no unit of it expires");
}

#[test]
fn figures_that_do_not_add_up_are_left_to_the_aggregate() {
    let wrong = Err(Undecided::Inconsistent);
    assert_eq!(after(&row(Some(3), None), &[(units(5, None), None)], noon_ms()), wrong);
    let mut total = row(Some(3), None);
    total.summary.total_stock = Some(4);
    assert_eq!(after(&total, &[], noon_ms()), wrong);
    assert_eq!(after(&row(None, None), &[], noon_ms()), wrong, "today has a stock");
    assert_eq!(after(&row(None, None), &[], day().end_ms), Ok(row(None, None)));
}
