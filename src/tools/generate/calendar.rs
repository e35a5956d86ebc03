//! The days of one zone, with the first instant of each hour. So drawing a local time needs no
//! look-up in a zone table.

use jiff::{ToSpan, civil::Date, tz::TimeZone};

use crate::domain::{day::Day, zones};

/// The days of a data set in one zone, oldest first.
#[derive(Debug)]
pub struct Calendar {
    /// The IANA name of the zone.
    pub timezone: &'static str,
    /// The days.
    pub days: Vec<LocalDay>,
}

/// A local day with its hours.
#[derive(Debug, Clone)]
pub struct LocalDay {
    /// The day.
    pub day: Day,
    /// It is a Saturday or a Sunday.
    pub is_weekend: bool,
    /// The first instant of each local hour, then the end of the day. An hour that the day skips is
    /// empty; one that occurs twice is two hours long.
    hours: [i64; 25],
}

impl Calendar {
    /// The `count` days that end with `last`; fewer when the zone skipped some. `None` when the
    /// zone is unknown.
    pub fn new(timezone: &'static str, last: Date, count: u32) -> Option<Self> {
        let tz = zones::find(timezone)?;
        let days = (0..i64::from(count))
            .rev()
            .filter_map(|back| LocalDay::named(&tz, last.checked_sub(back.days()).ok()?))
            .collect();
        Some(Calendar { timezone, days })
    }

    /// The end of the last day, in milliseconds since 1970. The stock of the data set is that of
    /// this instant.
    pub fn end_ms(&self) -> i64 {
        self.days.last().map_or(0, |last| last.day.end_ms)
    }
}

impl LocalDay {
    fn named(tz: &TimeZone, date: Date) -> Option<Self> {
        let day = Day::named(tz, date)?;
        let mut hours = [day.end_ms; 25];
        for (hour, first_ms) in (0i8..24).zip(&mut hours) {
            let at = date.at(hour, 0, 0, 0).to_zoned(tz.clone()).ok()?;
            *first_ms = at.timestamp().as_millisecond().clamp(day.start_ms, day.end_ms - 1);
        }
        let is_weekend =
            matches!(date.weekday(), jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday);
        Some(LocalDay { day, is_weekend, hours })
    }

    /// The instant in local `hour` (0 to 23) after that `fraction` (0 to below 1) of the hour; in
    /// milliseconds since 1970.
    pub fn at(&self, hour: usize, fraction: f64) -> i64 {
        let (first, next) = (self.hours[hour], self.hours[hour + 1]);
        first + ((next - first) as f64 * fraction) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn every_drawn_instant_lies_in_its_day_and_hour_across_clock_changes() {
        for (zone, last) in [
            ("America/New_York", date(2026, 3, 10)),
            ("America/New_York", date(2026, 11, 3)),
            ("Australia/Lord_Howe", date(2026, 4, 6)),
            ("America/Sao_Paulo", date(2018, 11, 5)),
        ] {
            let tz = TimeZone::get(zone).unwrap();
            let calendar = Calendar::new(zone, last, 5).unwrap();
            assert_eq!(calendar.days.len(), 5);
            for day in &calendar.days {
                for hour in 0..24 {
                    let at_ms = day.at(hour, 0.999);
                    assert!(day.day.contains(at_ms), "{zone} {} {hour}", day.day.date);
                    let local =
                        jiff::Timestamp::from_millisecond(at_ms).unwrap().to_zoned(tz.clone());
                    let skipped = day.at(hour, 0.0) == day.at(hour, 0.999);
                    assert!(skipped || local.hour() as usize == hour, "{zone} {local} {hour}");
                }
            }
        }
    }
}
