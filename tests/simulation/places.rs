//! Where and when: facilities, the two zones that they may be in, the dates that mean other days in
//! them, and instants at which something happens. It is evening in the one zone, and in the other
//! the next day has begun.

use std::sync::LazyLock;

use facility_summary::domain::{day::Day, facility::Zone, summary::Key};
use jiff::civil::Date;
use uuid::Uuid;

pub const FACILITIES: usize = 2;
pub const BANKS: usize = 2;
pub const ZONES: [&str; 2] = ["UTC", "Asia/Kathmandu"];
pub const UTC: usize = 0;
pub const KATHMANDU: usize = 1;

/// Each facility has a day of each of these dates, but where it has not begun.
pub const DATES: usize = 3;
pub const KEYS: usize = FACILITIES * DATES;
const FIRST_DATE: Date = Date::constant(2026, 11, 20);

/// 2026-11-21T20:00:00Z. Schedules take some seconds from here on.
pub const BEGIN_MS: i64 = 1_795_291_200_000;
const HOUR_MS: i64 = 3_600_000;

/// Deliveries and requests are of one of these instants: the evening before, which the zones give
/// two dates; noon, which both give one; and now, in the today of either zone.
pub const PLACES: [i64; 3] = [BEGIN_MS - 24 * HOUR_MS, BEGIN_MS - 8 * HOUR_MS, BEGIN_MS];
pub const EVENING_BEFORE: usize = 0;
pub const NOON: usize = 1;

static DAYS: LazyLock<[[Day; DATES]; ZONES.len()]> = LazyLock::new(|| {
    ZONES.map(|name| {
        let zone = Zone::named(name).expect("it is bundled");
        std::array::from_fn(|date| {
            Day::named(&zone.tz, self::date(date)).expect("no zone skips it")
        })
    })
});

fn date(date: usize) -> Date {
    FIRST_DATE.checked_add(jiff::Span::new().days(date as i64)).expect("it is in the calendar")
}

pub fn facility_id(f: usize) -> Uuid {
    Uuid::from_u128(f as u128 + 1)
}

pub fn facility_of(id: &Uuid) -> usize {
    id.as_u128() as usize - 1
}

pub fn key(k: usize) -> Key {
    (facility_id(k / DATES), date(k % DATES))
}

/// The key of a facility's date.
pub fn index(key: &Key) -> usize {
    facility_of(&key.0) * DATES + (key.1.day() - FIRST_DATE.day()) as usize
}

pub fn zone_of(name: &str) -> usize {
    ZONES.iter().position(|zone| *zone == name).expect("a zone of the simulation")
}

/// The day of a key in a zone.
pub fn day(k: usize, zone: usize) -> Day {
    DAYS[zone][k % DATES]
}

pub fn has_begun(day: &Day) -> bool {
    day.start_ms <= BEGIN_MS
}

pub fn is_today(day: &Day) -> bool {
    day.contains(BEGIN_MS)
}

/// An instant, as it is told.
pub fn told(ms: i64) -> i64 {
    ms.saturating_sub(BEGIN_MS)
}
