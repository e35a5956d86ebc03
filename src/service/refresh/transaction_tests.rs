//! Tests of `transaction.rs`.

use super::*;
use crate::domain::{facility::Zone, summary::Summary};

fn facility(n: u128, zone: &str) -> Arc<Facility> {
    Arc::new(Facility {
        id: Uuid::from_u128(n),
        name: String::new(),
        key: None,
        zone: Arc::new(Zone::named(zone).unwrap()),
    })
}

fn key(facility: &Arc<Facility>, date: jiff::civil::Date) -> DayKey {
    DayKey { facility: facility.clone(), day: Day::named(&facility.zone.tz, date).unwrap() }
}

fn derived(key: &DayKey, as_of_ms: i64) -> Derived {
    Derived {
        row: SummaryRow {
            summary: Summary::empty(key.facility.id, key.day.date, false),
            as_of_ms,
            next_expires_at_ms: None,
            bounds: Some(Bounds::from(&key.day)),
        },
        stored: true,
        figures_differ: false,
        day_differs: false,
        write_needed: false,
        is_today: key.day.contains(as_of_ms),
        timezone: key.facility.zone.name.clone(),
    }
}

#[test]
fn a_day_that_ended_while_its_refresh_waited_brings_the_next_along() {
    let north = facility(1, "Europe/Warsaw");
    let (ended, next) = (
        key(&north, jiff::civil::date(2026, 10, 24)),
        key(&north, jiff::civil::date(2026, 10, 25)),
    );
    let brought = |keys: &[DayKey], as_of_ms| {
        let derived: Vec<Derived> = keys.iter().map(|key| derived(key, as_of_ms)).collect();
        next_days_of_just_ended(keys, &derived).iter().map(DayKey::id).collect::<Vec<_>>()
    };
    let end_ms = ended.day.end_ms;
    assert_eq!(
        brought(std::slice::from_ref(&ended), end_ms),
        vec![next.id()],
        "at the very midnight the old day is over"
    );
    assert_eq!(brought(std::slice::from_ref(&ended), end_ms + 59_999), vec![next.id()]);
    assert!(
        brought(std::slice::from_ref(&ended), end_ms - 1).is_empty(),
        "before it nothing has ended"
    );
    assert!(
        brought(std::slice::from_ref(&ended), end_ms + 60_000).is_empty(),
        "a day long past is a late delivery's"
    );
    assert!(brought(&[ended, next], end_ms).is_empty(), "it is there already");
}
