//! Dates as files write them, as instants of a facility's own zone.

use jiff::{
    Timestamp, Zoned,
    civil::{Date, DateTime, Time},
    fmt::strtime::{self, BrokenDownTime},
    tz::TimeZone,
};

use super::error::ImportError;
use crate::domain::day::Day;

/// Nothing that is imported happened before it: an earlier date is a year read wrongly, such as `22` for 2022.
const EARLIEST: Date = Date::constant(1900, 1, 1);

/// How the dates of a file are written.
#[derive(Debug)]
pub enum DateFormat {
    /// RFC 3339, or a date and time without an offset, or `YYYY-MM-DD`.
    Standard,
    /// A strptime format such as `%d-%m-%Y`, with an example of it.
    Custom { format: String, example: String },
}

/// What a cell says: an instant, or the reading of a calendar and clock on a wall.
pub enum Reading {
    Instant(Timestamp),
    Wall(DateTime),
}

impl Reading {
    /// Whether it tells more than a day.
    pub fn has_time(&self) -> bool {
        match self {
            Reading::Instant(_) => true,
            Reading::Wall(at) => at.time() != Time::midnight(),
        }
    }
}

impl DateFormat {
    /// Wrong use: a format that cannot be read, or that leaves the month open, or half of the hours. One without a day (`%Y %B`) means the
    /// first of the month.
    pub fn new(format: Option<&str>) -> Result<Self, ImportError> {
        let Some(format) = format else { return Ok(DateFormat::Standard) };
        let wrong = |why: String| {
            ImportError::WrongUse(format!("--date-format {format}: {why}. It is written like %d-%m-%Y, %Y %B or %Y-%m-%d %H:%M"))
        };
        // In the afternoon, so that a clock of twelve hours shows itself.
        let sample = Date::constant(2022, 8, 27).at(22, 30, 15, 0).to_zoned(TimeZone::UTC).map_err(|e| wrong(e.to_string()))?;
        let example = strtime::format(format, &sample).map_err(|e| wrong(e.to_string()))?;
        let read = BrokenDownTime::parse(format, &example).map_err(|e| wrong(e.to_string()))?;
        if read.hour().is_some_and(|hour| hour != sample.hour()) {
            return Err(wrong("its hours count to 12, and it does not say which half of the day is meant (%p)".to_owned()));
        }
        reading(read).ok_or_else(|| wrong("it does not name a year and a month, or its time has gaps".to_owned()))?;
        Ok(DateFormat::Custom { format: format.to_owned(), example })
    }

    /// The instant in milliseconds. A date without a time is the first instant of that local day, and a time without an offset is local:
    /// in the hour that a clock skips it is the hour after, in the one that it repeats the first.
    pub fn instant_ms(&self, text: &str, tz: &TimeZone) -> Result<i64, String> {
        let zoned = self.zoned(text, tz)?;
        Ok(zoned.timestamp().as_millisecond())
    }

    /// The local day. An instant with an offset is in the day of the zone that contains it.
    pub fn day(&self, text: &str, tz: &TimeZone) -> Result<Day, String> {
        let zoned = self.zoned(text, tz)?;
        Ok(Day::containing(tz, zoned.timestamp().as_millisecond()))
    }

    fn zoned(&self, text: &str, tz: &TimeZone) -> Result<Zoned, String> {
        let zoned = match self.read(text).ok_or_else(|| format!("is not a date; right would be {}", self.example()))? {
            Reading::Instant(at) => at.to_zoned(tz.clone()),
            Reading::Wall(at) => {
                let name = tz.iana_name().unwrap_or("this zone");
                let missing = || format!("is a day that {name} skipped");
                let day = Day::named(tz, at.date()).ok_or_else(missing)?;
                if at.time() == Time::midnight() {
                    Timestamp::from_millisecond(day.start_ms).map_err(|_| missing())?.to_zoned(tz.clone())
                } else {
                    at.to_zoned(tz.clone()).map_err(|_| missing())?
                }
            }
        };
        if zoned.date() < EARLIEST {
            return Err(format!("is read as {}, before {EARLIEST}; right would be {}", zoned.date(), self.example()));
        }
        Ok(zoned)
    }

    /// What the text says, in no facility's zone yet. `None` where it is not a date.
    pub fn read(&self, text: &str) -> Option<Reading> {
        match self {
            // A zone in brackets counts, also where it is unknown or contradicts the offset: the other readings would pass over it.
            DateFormat::Standard if text.contains('[') => text.parse::<Zoned>().map(|at| Reading::Instant(at.timestamp())).ok(),
            DateFormat::Standard => {
                let instant = text.parse::<Timestamp>().map(Reading::Instant);
                instant.or_else(|_| text.parse::<DateTime>().map(Reading::Wall)).ok()
            }
            DateFormat::Custom { format, .. } => BrokenDownTime::parse(format, text).ok().and_then(reading),
        }
    }

    fn example(&self) -> String {
        match self {
            DateFormat::Standard => "2022-08-27 or 2022-08-27T10:30:00Z, and --date-format names another way of writing it".to_owned(),
            DateFormat::Custom { format, example } => format!("{example}, after --date-format \"{format}\""),
        }
    }
}

/// What was read, if it is all of what a date needs: nothing that stands there is passed over.
fn reading(mut parts: BrokenDownTime) -> Option<Reading> {
    if parts.month().is_some() && parts.day().is_none() && parts.day_of_year().is_none() {
        parts.set_day(Some(1)).ok()?;
    }
    if parts.iana_time_zone().is_some() {
        return parts.to_zoned().ok().map(|at| Reading::Instant(at.timestamp()));
    }
    if parts.offset().is_some() || parts.timestamp().is_some() {
        return parts.to_timestamp().ok().map(Reading::Instant);
    }
    Some(Reading::Wall(parts.to_datetime().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(format: Option<&str>, text: &str, zone: &str) -> Result<String, String> {
        let tz = TimeZone::get(zone).unwrap();
        let ms = DateFormat::new(format).map_err(|e| e.to_string())?.instant_ms(text, &tz)?;
        Ok(Timestamp::from_millisecond(ms).unwrap().to_string())
    }

    #[test]
    fn dates_are_read_in_the_facilitys_zone() {
        for (format, text, zone, wants) in [
            (None, "2022-08-27", "Europe/Warsaw", "2022-08-26T22:00:00Z"),
            (None, "2022-08-27T10:30:00Z", "Europe/Warsaw", "2022-08-27T10:30:00Z"),
            (None, "2022-08-27T10:30:00.1234+05:45", "UTC", "2022-08-27T04:45:00.123Z"),
            (None, "2022-08-27T10:30:00[Asia/Kathmandu]", "UTC", "2022-08-27T04:45:00Z"),
            (None, "2022-08-27 10:30", "Asia/Kathmandu", "2022-08-27T04:45:00Z"),
            (Some("%d-%m-%Y"), "27-08-2022", "UTC", "2022-08-27T00:00:00Z"),
            (Some("%d-%m-%Y"), "7-8-2022", "UTC", "2022-08-07T00:00:00Z"),
            (Some("%Y %B"), "2013 January", "Africa/Accra", "2013-01-01T00:00:00Z"),
            (Some("%d/%m/%Y %H:%M"), "27/08/2022 10:30", "Europe/Warsaw", "2022-08-27T08:30:00Z"),
            (Some("%s"), "1661596200", "Europe/Warsaw", "2022-08-27T10:30:00Z"),
            // The hour that the clock repeats is the first of the two, and the one that it skips the hour after.
            (None, "2022-10-30 02:30", "Europe/Warsaw", "2022-10-30T00:30:00Z"),
            (Some("%d-%m-%Y %H:%M"), "30-10-2022 02:30", "Europe/Warsaw", "2022-10-30T00:30:00Z"),
            (None, "2022-03-27 02:30", "Europe/Warsaw", "2022-03-27T01:30:00Z"),
            (Some("%d/%m/%Y %I:%M %p"), "27/08/2022 10:30 PM", "UTC", "2022-08-27T22:30:00Z"),
            // A zone or an offset in the file counts, and not the facility's.
            (Some("%Y-%m-%d %H:%M %Q"), "2022-08-27 10:30 Asia/Kolkata", "Europe/Warsaw", "2022-08-27T05:00:00Z"),
            (Some("%Y %B %z"), "2013 January +0300", "UTC", "2012-12-31T21:00:00Z"),
            // A midnight that does not exist: the day starts at one.
            (None, "2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00Z"),
        ] {
            assert_eq!(instant(format, text, zone).as_deref(), Ok(wants), "{text}");
        }
    }

    #[test]
    fn a_wrong_date_says_what_would_be_right() {
        for (format, text, zone, wants) in [
            (None, "27-08-2022", "UTC", "right would be 2022-08-27"),
            (None, "", "UTC", "right would be"),
            (None, "2022-08-27T10:30:00[Nowhere/None]", "UTC", "right would be 2022-08-27"),
            (None, "2022-08-27[Nowhere/None]", "UTC", "right would be 2022-08-27"),
            (None, "2022-08-27T10:30:00+05:00[Europe/Warsaw]", "UTC", "right would be 2022-08-27"),
            (Some("%d-%m-%Y"), "31-02-2022", "UTC", "right would be 27-08-2022, after --date-format \"%d-%m-%Y\""),
            (Some("%d-%m-%Y"), "27-08-2022 10:00", "UTC", "right would be"),
            (Some("%d-%m-%Y"), "27-08-22", "UTC", "before 1900-01-01"),
            (Some("%Y %B"), "2013", "UTC", "right would be 2022 August"),
            (None, "2011-12-30", "Pacific/Apia", "a day that Pacific/Apia skipped"),
            (None, "2011-12-30T10:00:00", "Pacific/Apia", "a day that Pacific/Apia skipped"),
        ] {
            let problem = instant(format, text, zone).unwrap_err();
            assert!(problem.contains(wants), "{text}: {problem}");
        }
    }

    #[test]
    fn a_format_that_leaves_the_month_or_the_time_open_is_wrong_use() {
        for format in ["%d", "%Y", "%H:%M", "%", "%!", "plain", "%Y-%m-%d %M", "%f/%m/%y %I:%M %p", "%d/%m/%Y %I:%M"] {
            let error = DateFormat::new(Some(format)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
        }
    }
}
