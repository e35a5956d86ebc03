//! Places and times: the facilities, their two possible zones, the dates, which are different days
//! in each zone, and the instants of deliveries and requests. It is evening in one zone, and in the
//! other zone the next day has begun.

use std::sync::LazyLock;

use facility_summary::domain::{day::Day, facility::Zone, summary::Key};
use jiff::civil::Date;
use uuid::Uuid;

/// How many facilities there are.
pub const FACILITIES: usize = 2;
/// How many blood banks there are.
pub const BANKS: usize = 2;
/// The zones.
pub const ZONES: [&str; 2] = ["UTC", "Asia/Kathmandu"];
/// The index of UTC in `ZONES`.
pub const UTC: usize = 0;
/// The index of Asia/Kathmandu in `ZONES`.
pub const KATHMANDU: usize = 1;

/// How many dates there are. Each facility has a day of each date, unless the day has not begun.
pub const DATES: usize = 3;
/// How many keys there are.
pub const KEYS: usize = FACILITIES * DATES;
const FIRST_DATE: Date = Date::constant(2026, 11, 20);

/// 2026-11-21T20:00:00Z, in milliseconds since 1970: the begin of each schedule in which no day
/// ends. A schedule takes some seconds.
pub const BEGIN_MS: i64 = 1_795_291_200_000;
/// The midnight in UTC that follows. In the other zone it is morning.
pub const MIDNIGHT_MS: i64 = BEGIN_MS + 4 * HOUR_MS;
const HOUR_MS: i64 = 3_600_000;

/// The instants that deliveries and requests are about: the evening before, which has another date
/// in each zone; noon, which has the same date in both; and the begin, which is today in both
/// until a
/// midnight comes.
pub const PLACES: [i64; 3] = [BEGIN_MS - 24 * HOUR_MS, BEGIN_MS - 8 * HOUR_MS, BEGIN_MS];
/// The index of the evening before in `PLACES`.
pub const EVENING_BEFORE: usize = 0;
/// The index of noon in `PLACES`.
pub const NOON: usize = 1;

static DAYS: LazyLock<[[Day; DATES]; ZONES.len()]> = LazyLock::new(|| {
    ZONES.map(|name| {
        let zone = Zone::named(name).expect("it is bundled");
        std::array::from_fn(|date| {
            Day::named(&zone.tz, calendar_date(date)).expect("no zone skips it")
        })
    })
});

/// The date of an index.
pub fn calendar_date(date: usize) -> Date {
    FIRST_DATE.checked_add(jiff::Span::new().days(date as i64)).expect("it is in the calendar")
}

/// The id of a facility.
pub fn facility_id(f: usize) -> Uuid {
    Uuid::from_u128(f as u128 + 1)
}

/// The index of a facility.
pub fn facility_of(id: &Uuid) -> usize {
    id.as_u128() as usize - 1
}

/// The facility and date of the key with this index.
pub fn key(k: usize) -> Key {
    Key { facility_id: facility_id(k / DATES), date: calendar_date(k % DATES) }
}

/// The index of a key.
pub fn index(key: &Key) -> usize {
    facility_of(&key.facility_id) * DATES + (key.date.day() - FIRST_DATE.day()) as usize
}

/// The index of a zone in `ZONES`.
pub fn zone_of(name: &str) -> usize {
    ZONES.iter().position(|zone| *zone == name).expect("a zone of the simulation")
}

/// The day of a key in a zone.
pub fn day(k: usize, zone: usize) -> Day {
    DAYS[zone][k % DATES]
}

/// Whether the day has begun.
pub fn has_begun(day: &Day, now: i64) -> bool {
    day.start_ms <= now
}

/// An instant as the output shows it: in milliseconds after the begin.
pub fn told(ms: i64) -> i64 {
    ms.saturating_sub(BEGIN_MS)
}
