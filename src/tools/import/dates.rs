//! Reads dates in the formats that files use, as instants in the facility's zone.

use jiff::{
    Timestamp, Zoned,
    civil::{Date, DateTime, Time},
    fmt::strtime::{self, BrokenDownTime},
    tz::TimeZone,
};

use super::{error::ImportError, numbers::plain_digits};
use crate::domain::day::Day;

/// The earliest date that is accepted. An earlier one comes from a year that was read wrongly, such
/// as `22` for 2022.
const EARLIEST: Date = Date::constant(1900, 1, 1);

/// Usual formats of dates. When a date cannot be read, those that fit are proposed.
const USUAL: &[&str] = &[
    "%Y-%m-%d",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%Y.%m.%d",
    "%d-%b-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d.%m.%y",
    "%d-%m-%y",
    "%m-%d-%y",
    "%d-%b-%y",
    "%b-%y",
    "%B %Y",
    "%b %Y",
    "%Y %B",
    "%Y-%m",
    "%m/%Y",
];
/// Usual formats of times after a date.
const USUAL_TIMES: &[&str] = &["", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p"];
/// The most formats that a message proposes; usually they are the two orders of day and month.
const PROPOSALS: usize = 3;
/// Numbers that may be days as a spreadsheet counts them, 1954 to 2064.
const DAY_NUMBERS: std::ops::Range<i32> = 20_000..60_000;

/// How the dates of a file are written.
#[derive(Debug)]
pub enum DateFormat {
    /// RFC 3339, or a date and time without an offset, or `YYYY-MM-DD`.
    Standard,
    /// A strptime format such as `%d-%m-%Y`, with an example of it.
    Custom { format: String, example: String },
}

/// What a cell says.
pub enum DateReading {
    /// An instant: the cell has an offset or a zone.
    Instant(Timestamp),
    /// A local date and time: which instant it is depends on the facility's zone.
    Wall(DateTime),
}

impl DateReading {
    /// Whether it has a time, and not only a day.
    pub fn has_time(&self) -> bool {
        match self {
            DateReading::Instant(_) => true,
            DateReading::Wall(at) => at.time() != Time::midnight(),
        }
    }
}

impl DateFormat {
    /// Reads the format; `None` is the standard one. Wrong use: a format that cannot be read, that
    /// has no month, or that does not say which half of the day is meant. A format without a day
    /// (`%Y %B`) means the first of the month.
    pub fn new(format: Option<&str>) -> Result<Self, ImportError> {
        let Some(format) = format else { return Ok(DateFormat::Standard) };
        let wrong = |why: String| {
            ImportError::WrongUse(format!(
                "--date-format {format}: {why}. It is written like %d-%m-%Y, %Y %B or %Y-%m-%d \
                 %H:%M"
            ))
        };
        // The sample is in the afternoon, so that hours which count only to 12 are noticed.
        let sample = Date::constant(2022, 8, 27)
            .at(22, 30, 15, 0)
            .to_zoned(TimeZone::UTC)
            .map_err(|e| wrong(e.to_string()))?;
        let example = strtime::format(format, &sample).map_err(|e| wrong(e.to_string()))?;
        let read = BrokenDownTime::parse(format, &example).map_err(|e| wrong(e.to_string()))?;
        if read.hour().is_some_and(|hour| hour != sample.hour()) {
            return Err(wrong(
                "its hours count to 12, and it does not say which half of the day is meant (%p)"
                    .to_owned(),
            ));
        }
        reading(read).ok_or_else(|| {
            wrong("it does not name a year and a month, or its time has gaps".to_owned())
        })?;
        Ok(DateFormat::Custom { format: format.to_owned(), example })
    }

    /// The instant in milliseconds since 1970. A date without a time is the first instant of that
    /// local day. A time without an offset is local: when a clock change skips it, it is the time
    /// an hour later, and when it occurs twice, the first one. The error is the rest of a sentence
    /// about the text.
    pub fn instant_ms(&self, text: &str, tz: &TimeZone) -> Result<i64, String> {
        let zoned = self.zoned(text, tz)?;
        Ok(zoned.timestamp().as_millisecond())
    }

    /// The local day in this zone. When the text has an offset, it is the day that contains the
    /// instant. The error is the rest of a sentence about the text.
    pub fn day(&self, text: &str, tz: &TimeZone) -> Result<Day, String> {
        let zoned = self.zoned(text, tz)?;
        Ok(Day::containing(tz, zoned.timestamp().as_millisecond()))
    }

    fn zoned(&self, text: &str, tz: &TimeZone) -> Result<Zoned, String> {
        let unread =
            || format!("is not a date; right would be {}{}", self.example(), self.proposals(text));
        let zoned = match self.read(&plain_digits(text)).ok_or_else(unread)? {
            DateReading::Instant(at) => at.to_zoned(tz.clone()),
            DateReading::Wall(at) => {
                let name = tz.iana_name().unwrap_or("this zone");
                let missing = || format!("is a day that {name} skipped");
                let day = Day::named(tz, at.date()).ok_or_else(missing)?;
                if at.time() == Time::midnight() {
                    Timestamp::from_millisecond(day.start_ms)
                        .map_err(|_| missing())?
                        .to_zoned(tz.clone())
                } else {
                    at.to_zoned(tz.clone()).map_err(|_| missing())?
                }
            }
        };
        if zoned.date() < EARLIEST {
            let proposals = self.proposals(text);
            return Err(format!(
                "is read as {}, before {EARLIEST}; right would be {}{proposals}",
                zoned.date(),
                self.example()
            ));
        }
        Ok(zoned)
    }

    /// What the text says, before a zone is applied. `None` when it is not a date.
    pub fn read(&self, text: &str) -> Option<DateReading> {
        match self {
            // A zone in brackets must be known and must not contradict the offset. The parsers
            // below would ignore it.
            DateFormat::Standard if text.contains('[') => {
                text.parse::<Zoned>().map(|at| DateReading::Instant(at.timestamp())).ok()
            }
            DateFormat::Standard => {
                let instant = text.parse::<Timestamp>().map(DateReading::Instant);
                instant.or_else(|_| text.parse::<DateTime>().map(DateReading::Wall)).ok()
            }
            DateFormat::Custom { format, .. } => {
                BrokenDownTime::parse(format, text).ok().and_then(reading)
            }
        }
    }

    /// Hints for a text that cannot be read: what it may be, and which formats would read it.
    fn proposals(&self, text: &str) -> String {
        let text = plain_digits(text);
        let whole = text.split_once('.').map_or(&*text, |(whole, _)| whole);
        if let Some(days) = whole
            .parse()
            .ok()
            .filter(|days| DAY_NUMBERS.contains(days) && text.parse::<f64>().is_ok())
        {
            let date = Date::constant(1899, 12, 30).checked_add(jiff::Span::new().days(days));
            let date = date.map_or_else(
                |_| String::new(),
                |date| format!(" ({date}, if they count from 1900)"),
            );
            return format!(
                ". It may be the number of a day in a spreadsheet{date}: show the column as \
                 dates, and save the file again"
            );
        }
        let own = match self {
            DateFormat::Standard => None,
            DateFormat::Custom { format, .. } => Some(format.as_str()),
        };
        let formats = USUAL
            .iter()
            .flat_map(|date| USUAL_TIMES.iter().map(move |time| format!("{date}{time}")));
        let reads = |format: String| {
            let date = match reading(BrokenDownTime::parse(&format, text.as_bytes()).ok()?)? {
                DateReading::Wall(at) => at.date(),
                DateReading::Instant(_) => return None,
            };
            let is_likely =
                own != Some(&format) && (EARLIEST..Date::constant(2100, 1, 1)).contains(&date);
            is_likely.then(|| format!("--date-format \"{format}\" reads it as {date}"))
        };
        let found: Vec<String> = formats.filter_map(reads).take(PROPOSALS).collect();
        if found.is_empty() { String::new() } else { format!(". {}", found.join(", ")) }
    }

    fn example(&self) -> String {
        match self {
            DateFormat::Standard => "2022-08-27 or 2022-08-27T10:30:00Z, and --date-format names \
                                     another way of writing it"
                .to_owned(),
            DateFormat::Custom { format, example } => {
                format!("{example}, after --date-format \"{format}\"")
            }
        }
    }
}

/// The date from its parts; `None` when parts are missing. No part of the text is ignored.
fn reading(mut parts: BrokenDownTime) -> Option<DateReading> {
    if parts.month().is_some() && parts.day().is_none() && parts.day_of_year().is_none() {
        parts.set_day(Some(1)).ok()?;
    }
    if parts.iana_time_zone().is_some() {
        return parts.to_zoned().ok().map(|at| DateReading::Instant(at.timestamp()));
    }
    if parts.offset().is_some() || parts.timestamp().is_some() {
        return parts.to_timestamp().ok().map(DateReading::Instant);
    }
    Some(DateReading::Wall(parts.to_datetime().ok()?))
}

#[cfg(test)]
#[path = "dates_tests.rs"]
mod tests;
