//! Local days as half-open ranges of instants. They are right across changes of the clock,
//! half-hour zones, and dates that a zone skipped.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// The local day `date` of a zone: the instants `start_ms <= t < end_ms`, in milliseconds since
/// 1970. The days of one zone follow each other without gap or overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Day {
    /// The date that the zone gives to the day.
    pub date: Date,
    /// Its first instant, in milliseconds since 1970.
    pub start_ms: i64,
    /// The first instant after it, in milliseconds since 1970.
    pub end_ms: i64,
}

impl Day {
    /// The day named `date` in `tz`. `None` where the zone skipped that date (Pacific/Apia,
    /// 2011-12-30) or where the calendar ends.
    pub fn named(tz: &TimeZone, date: Date) -> Option<Self> {
        let start_ms = start_of(tz, date)?;
        let mut next = date.tomorrow().ok()?;
        loop {
            if let Some(end_ms) = start_of(tz, next) {
                return Some(Day { date, start_ms, end_ms });
            }
            next = next.tomorrow().ok()?;
        }
    }

    /// The day of `tz` that contains the instant. Instants outside the years 1 to 9998 are clamped.
    pub fn containing(tz: &TimeZone, at_ms: i64) -> Self {
        let at_ms = at_ms.clamp(MIN_MS, MAX_MS);
        let civil = timestamp(at_ms).to_zoned(tz.clone()).date();
        // Where a clock is set back across midnight, the same date occurs twice. The day begins at
        // the first of its midnights.
        let mut date = civil.tomorrow().unwrap_or(civil);
        loop {
            if let Some(day) = Day::named(tz, date)
                && day.start_ms <= at_ms
            {
                return day;
            }
            match date.yesterday() {
                Ok(earlier) => date = earlier,
                Err(_) => return Day { date, start_ms: MIN_MS, end_ms: MAX_MS },
            }
        }
    }

    /// Whether the instant `at_ms` is in the day.
    pub fn contains(&self, at_ms: i64) -> bool {
        self.start_ms <= at_ms && at_ms < self.end_ms
    }

    /// The days from the one that contains `first_ms` to the one that contains `last_ms`, both
    /// included. It returns at least one day, and at most `limit`.
    pub fn covering(tz: &TimeZone, first_ms: i64, last_ms: i64, limit: usize) -> Vec<Self> {
        let mut days = vec![Day::containing(tz, first_ms)];
        while let Some(last) = days.last().copied()
            && last.end_ms <= last_ms
            && days.len() < limit
        {
            days.push(Day::containing(tz, last.end_ms));
        }
        days
    }
}

/// Whether an instant is on a day that the calendar can name in every zone. Infinite instants, and
/// years with five digits, are on none.
pub const fn has_day(at_ms: i64) -> bool {
    MIN_MS <= at_ms && at_ms < MAX_MS
}

/// 0001-01-02 and 9998-12-30, in milliseconds since 1970: one day less, at each end, than what the
/// calendar can express in any zone.
const MIN_MS: i64 = -62_135_510_400_000;
const MAX_MS: i64 = 253_370_592_000_000;

fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms.clamp(MIN_MS, MAX_MS)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The first instant of `date`, or `None` where that date has no instant at all.
fn start_of(tz: &TimeZone, date: Date) -> Option<i64> {
    // In a gap, jiff's rule `compatible` takes the first instant after it; of a repeated time, the
    // first.
    let start = date.at(0, 0, 0, 0).to_zoned(tz.clone()).ok()?;
    (start.date() == date).then(|| start.timestamp().as_millisecond())
}

#[cfg(test)]
#[path = "day_tests.rs"]
mod tests;
