//! Tests of `view_fill.rs`.

use jiff::{Timestamp, civil::date};

use super::*;

#[test]
fn midnights_end_a_view_until_its_date_is_over_everywhere() {
    let of_zone = |(number, zone): (u128, &str)| {
        let zone = Arc::new(Zone::named(zone).unwrap());
        let id = Uuid::from_u128(number);
        (id, Some(Arc::new(Facility { id, name: "North".into(), zone, key: None })))
    };
    let facilities = || [(1, "Pacific/Kiritimati"), (2, "UTC")].into_iter().map(of_zone);
    let ms = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
    // It is 02:00 of the 22nd on Kiritimati, and 12:00 of the 21st in UTC.
    let now_ms = ms("2026-11-21T12:00:00Z");
    let (kiritimati, utc) = (ms("2026-11-22T10:00:00Z"), ms("2026-11-22T00:00:00Z"));
    for (asked, until_ms) in [
        (None, utc.min(kiritimati)),
        (Some(date(2026, 11, 22)), utc.min(kiritimati)),
        (Some(date(2026, 11, 21)), utc),
        (Some(date(2026, 11, 23)), utc.min(kiritimati)),
        (Some(date(2026, 11, 20)), i64::MAX),
    ] {
        assert_eq!(days_of(facilities(), asked, now_ms).1, until_ms, "{asked:?}");
    }
    // The day is over in UTC, too.
    assert_eq!(days_of(facilities(), Some(date(2026, 11, 21)), utc).1, i64::MAX);
}
