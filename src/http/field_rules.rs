//! The rules for single fields, which events and registrations share.

use std::borrow::Cow;

use jiff::{
    civil::{Date, DateTime},
    tz::TimeZone,
};
use uuid::Uuid;

use super::{
    fields::Expected,
    json::{Json, Object},
    problem::InputError,
};
use crate::domain::{blood_type::BloodType, facility::Zone, zones};

/// A UUID in its hyphenated form. The nil UUID is refused: a client sends it when a variable was
/// never set.
pub fn id(value: &Json) -> Result<Uuid, Expected> {
    let id = text_of(value).and_then(parse_id);
    id.ok_or(Cow::Borrowed(
        "a UUID such as \"0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d\", not the nil one",
    ))
}

/// Parses a UUID in its hyphenated form, not nil; also for ids in paths and queries. `None` for any
/// other text.
pub fn parse_id(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten().filter(|id| !id.is_nil())
}

/// A name, trimmed: 1 to 500 characters without control characters.
pub fn name(value: &Json) -> Result<String, Expected> {
    const MAX_CHARS: usize = 500;
    let name = text_of(value).map(str::trim);
    name.filter(|name| {
        !name.is_empty() && name.chars().count() <= MAX_CHARS && !name.chars().any(char::is_control)
    })
    .map(str::to_owned)
    .ok_or(Cow::Borrowed("a text of 1 to 500 characters, without control characters"))
}

/// The name of an IANA time zone, in upper or lower case; the result is its canonical spelling.
pub fn timezone(value: &Json) -> Result<String, Expected> {
    let text = text_of(value).unwrap_or_default();
    Zone::canonical_name(text).ok_or_else(|| zones::expected(text).into())
}

/// One of the eight types in the canonical spelling. Other notations are for imports only, where a
/// person checks the result.
pub fn blood_type(value: &Json) -> Result<BloodType, Expected> {
    let text = text_of(value).unwrap_or_default();
    BloodType::from_canonical(text).ok_or_else(|| match BloodType::from_notation(text) {
        Some(meant) => format!("\"{}\" in exactly that spelling", meant.as_str()).into(),
        None => {
            let types = BloodType::NAMED.map(BloodType::as_str).join(", ");
            format!("one of {types}; leave it out where it is unknown").into()
        }
    })
}

/// A whole number of units, from `least` to 2,147,483,647, the greatest that the tables can hold.
/// `12.0` and `1.2e1` are 12, as in JSON Schema, because some languages have only such numbers. A
/// double is exact for all whole numbers within these bounds.
pub fn quantity(least: i32) -> impl Fn(&Json) -> Result<i32, Expected> {
    move |value| {
        let quantity = match value {
            Json::Integer(number) => i32::try_from(*number).ok().filter(|number| *number >= least),
            Json::Number(number) if number.fract() == 0.0 => {
                (f64::from(least)..=f64::from(i32::MAX)).contains(number).then_some(*number as i32)
            }
            _ => None,
        };
        quantity.ok_or_else(|| format!("a whole number from {least} to {}", i32::MAX).into())
    }
}

/// An instant in the years 1900 to 2199, in milliseconds since 1970; digits beyond the millisecond
/// are cut off.
pub fn instant(value: &Json) -> Result<i64, Expected> {
    let instant = text_of(value).and_then(parse_instant);
    instant.ok_or(Cow::Borrowed(
        "an RFC 3339 date and time with its offset such as \"2026-11-21T10:04:11.123Z\", in the \
         years 1900 to 2199, without leap seconds",
    ))
}

/// A calendar date of the years 1900 to 2199.
pub fn date(value: &Json) -> Result<Date, Expected> {
    let date = text_of(value).and_then(parse_date);
    date.ok_or(Cow::Borrowed("a calendar date such as \"2026-11-21\", in the years 1900 to 2199"))
}

/// Parses `YYYY-MM-DD`: a date that exists, in the years 1900 to 2199.
pub fn parse_date(text: &str) -> Option<Date> {
    parse_asked_date(text).filter(|date| (FIRST_YEAR..2200).contains(&date.year()))
}

/// The first year that any date in the service may have.
pub const FIRST_YEAR: i16 = 1900;

/// Parses `YYYY-MM-DD`: a date that exists, in the years 0 to 9999. It is for dates in paths and
/// queries, which may be later than today.
pub fn parse_asked_date(text: &str) -> Option<Date> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..])?);
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// Parses an RFC 3339 `date-time` strictly. jiff's own parser also accepts other ISO 8601 forms,
/// zone annotations and leap seconds.
pub fn parse_instant(text: &str) -> Option<i64> {
    let (date, time) = text.split_at_checked(10)?;
    let date = parse_date(date)?;
    let [b'T' | b't', h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = time.as_bytes() else {
        return None;
    };
    let part = |tens, ones| digits(&[tens, ones]).and_then(|n| i8::try_from(n).ok());
    let civil = DateTime::new(
        date.year(),
        date.month(),
        date.day(),
        part(*h1, *h2)?,
        part(*m1, *m2)?,
        part(*s1, *s2)?,
        0,
    )
    .ok()?;
    let (fraction_ms, offset) = fraction(rest)?;
    let offset_minutes = match offset {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            let minutes =
                (hours < 24 && minutes < 60).then(|| i64::from(hours) * 60 + i64::from(minutes))?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    let utc_ms = civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond();
    let at_ms = utc_ms + fraction_ms - offset_minutes * 60_000;
    (FIRST_MS..END_MS).contains(&at_ms).then_some(at_ms)
}

/// 1900-01-01 and 2200-01-01 in UTC, in milliseconds since 1970. A date outside of them is most
/// likely a typing mistake, and some databases or browsers cannot hold it.
const FIRST_MS: i64 = -2_208_988_800_000;
const END_MS: i64 = 7_258_118_400_000;

/// Parses an optional `.123…` as whole milliseconds; also returns the rest of the text.
fn fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let Some(after_point) = bytes.strip_prefix(b".") else { return Some((0, bytes)) };
    let length = after_point.iter().take_while(|b| b.is_ascii_digit()).count();
    let digit = |i: usize| if i < length { i64::from(after_point[i] - b'0') } else { 0 };
    (length > 0).then(|| (digit(0) * 100 + digit(1) * 10 + digit(2), &after_point[length..]))
}

fn digits(bytes: &[u8]) -> Option<i16> {
    bytes
        .iter()
        .try_fold(0i16, |number, b| b.is_ascii_digit().then(|| number * 10 + i16::from(b - b'0')))
}

/// Checks for a text that is not empty and has no control characters.
pub fn text(value: &Json) -> Result<(), Expected> {
    let fits = text_of(value)
        .is_some_and(|text| !text.trim().is_empty() && !text.chars().any(char::is_control));
    if fits {
        Ok(())
    } else {
        Err(Cow::Borrowed("a text that is not empty, without control characters"))
    }
}

/// The value as a text; `None` when it is of another type.
pub fn text_of<'a>(value: &'a Json) -> Option<&'a str> {
    match value {
        Json::Text(text) => Some(text),
        _ => None,
    }
}

/// The value as an object, or a fault that says what is there instead of `what`.
pub fn object_of<'a>(
    value: &'a Json<'a>,
    pointer: &str,
    what: &str,
) -> Result<&'a Object<'a>, InputError> {
    match value {
        Json::Object(object) => Ok(object),
        other => Err(InputError {
            pointer: pointer.into(),
            detail: format!("expected {what}, got {other}"),
        }),
    }
}

#[cfg(test)]
#[path = "field_rules_tests.rs"]
mod tests;
