//! Reads files, numbers and dates in a slow and simple way, to compare the import with.

use csv::{ByteRecord, ReaderBuilder};
use facility_summary::domain::names::compared;
use jiff::{Timestamp, Zoned, civil::DateTime, fmt::strtime, tz::TimeZone};

/// The zeros of the scripts whose digits are read.
const ZEROS: &str = "٠۰०০੦૦୦௦౦೦൦๐໐༠၀០０";

/// Text without invisible characters, in one spelling.
pub fn squashed(text: &str) -> String {
    compared(text)
}

/// The same, with the digits 0 to 9 for those of other scripts.
pub fn in_digits(text: &str) -> String {
    let digit = |c: char| {
        ZEROS
            .chars()
            .find_map(|zero| u32::from(c).checked_sub(u32::from(zero)).filter(|value| *value < 10))
    };
    squashed(text)
        .chars()
        .map(|c| digit(c).and_then(|value| char::from_digit(value, 10)).unwrap_or(c))
        .collect()
}

fn records(file: &[u8]) -> impl Iterator<Item = ByteRecord> {
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(file)
        .into_byte_records()
        .map(|row| row.expect("bytes are CSV"))
}

/// The rows after the header that have a filled cell.
pub fn rows_of(file: &[u8]) -> Vec<ByteRecord> {
    records(file)
        .skip(1)
        .filter(|row| row.iter().any(|cell| !cell.trim_ascii().is_empty()))
        .collect()
}

pub fn header_of(file: &[u8]) -> Vec<String> {
    let header = records(file).next().unwrap_or_default();
    header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// The row that begins in the line of that number. Lines end in LF, CRLF or CR.
pub fn cells_at(file: &[u8], line: u64) -> Option<ByteRecord> {
    let (mut rest, mut current) = (file, 1);
    while current < line {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
        let length = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + length..];
        current += 1;
    }
    // A byte order mark counts as one only at the beginning of the file.
    let rest = if line == 1 { rest.to_vec() } else { [b"\n", rest].concat() };
    records(&rest).next()
}

/// The whole number that a cell means when `decimal` is the decimal sign, without group marks and
/// without a fraction of zeros. `None` when it means none, or is empty.
fn meaning(cell: &str, decimal: char) -> Option<i128> {
    let text = in_digits(cell).replace('\u{66b}', &decimal.to_string());
    let unsigned =
        text.trim_start_matches(['+', '-', '\u{2212}', '\u{2010}', '\u{2011}', '\u{2013}']);
    let is_negative = unsigned.len() < text.len() && !text.starts_with('+');
    let marks = [' ', '\'', '’', '\u{66c}', ',', '.', '，', '．'];
    let plain: String = unsigned
        .chars()
        .map(|c| {
            if c == '，' {
                ','
            } else if c == '．' {
                '.'
            } else {
                c
            }
        })
        .collect();
    let (whole, fraction) = plain.split_once(decimal).unwrap_or((&plain, ""));
    let digits: String = whole.chars().filter(|c| !marks.contains(c)).collect();
    let value: i128 = fraction.bytes().all(|b| b == b'0').then(|| digits.parse().ok()).flatten()?;
    Some(if is_negative { -value } else { value })
}

/// Asserts that an accepted cell means this many units, and that the decimal sign of the command
/// line, or its absence, allows no other number.
pub fn number_is(cell: &str, decimal: Option<char>, units: Option<i128>) {
    let (comma, point) = (meaning(cell, ','), meaning(cell, '.'));
    match decimal {
        Some(sign) => assert_eq!(meaning(cell, sign), units, "{cell:?} by {sign}"),
        None => {
            assert!([comma, point].contains(&units), "{cell:?} is {units:?}");
            let text = in_digits(cell);
            let parts: Vec<&str> = text
                .trim_start_matches(['+', '-', '\u{2212}'])
                .split(['.', ',', '．', '，'])
                .collect();
            if let [before, behind] = parts[..] {
                let may_group = before.len() <= 3
                    && !before.starts_with('0')
                    && before.bytes().all(|b| b.is_ascii_digit());
                let is_ambiguous =
                    may_group && behind.len() == 3 && behind.bytes().all(|b| b.is_ascii_digit());
                assert!(!is_ambiguous, "{cell:?} is 1 or 1000, and was taken for {units:?}");
            }
        }
    }
}

/// Whether both cells can mean the same number.
pub fn same_number(cell: &str, other: &str) -> bool {
    [',', '.']
        .iter()
        .any(|sign| meaning(cell, *sign).is_some_and(|value| meaning(other, *sign) == Some(value)))
}

/// Whether a name is an id, or a mistyped one: 31 to 33 hexadecimal digits and hyphens, where one
/// digit may be another character.
pub fn nearly_an_id(name: &str) -> bool {
    let digits = name.chars().filter(|c| *c != '-').collect::<Vec<_>>();
    let hex = digits.iter().filter(|c| c.is_ascii_hexdigit()).count();
    let has_both =
        digits.iter().any(|c| c.is_ascii_digit()) && digits.iter().any(char::is_ascii_alphabetic);
    (31..=33).contains(&digits.len()) && hex + 1 >= digits.len() && has_both
}

/// Asserts that `at` is what the text says. Returns the date as its own format prints it, if that
/// is known.
pub fn date_is(text: &str, format: Option<&str>, at: &Zoned) -> Option<String> {
    let text = in_digits(text);
    let Some(format) = format else {
        standard_date_is(&text, at);
        return Some(at.timestamp().to_string());
    };
    let printed = strtime::format(format, at).expect("what can be read can be printed");
    let parts: Vec<char> = parts_of(format);
    let has = |wanted: &str| parts.iter().any(|part| wanted.contains(*part));
    assert!(
        !has("Il") || has("pPHkTRcsX"),
        "{format:?} leaves open which half of the day is meant"
    );
    let names_zone = has("zZQsc");
    // When the text names a zone or an offset, the date is printed in that.
    if let Some(named) = zone_in(&text, format) {
        let there = strtime::format(format, &at.with_time_zone(named))
            .expect("what can be read can be printed");
        assert_eq!(plain(&there), plain(&text), "{text:?} by {format:?} is {at}");
    }
    // A clock that is set back shows the same time twice, and the first one is meant. A clock that
    // is set forward never shows the hour in between.
    let again = at.datetime().to_zoned(at.time_zone().clone()).expect("it is a time of that zone");
    if !names_zone && again.timestamp() == at.timestamp() && !is_behind_a_gap(at) {
        assert_eq!(plain(&printed), plain(&text), "{text:?} by {format:?} is {at}");
    }
    (again.timestamp() == at.timestamp()).then_some(printed)
}

/// The letters of the format's parts: `zY` of `%0z %Y`.
fn parts_of(format: &str) -> Vec<char> {
    let mut letters = Vec::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c == '%' {
            letters.extend(rest.find(|c| !"-_0^#:.123456789".contains(*c)));
        }
    }
    letters
}

/// The zone in the last word of the text, by its name or as `+0200`, when the format ends in one.
fn zone_in(text: &str, format: &str) -> Option<TimeZone> {
    let last = text.rsplit(' ').next()?;
    if format.ends_with(" %Q") {
        return TimeZone::get(last).ok().filter(|zone| zone.iana_name() == Some(last));
    }
    let digits = last
        .strip_prefix(['+', '-'])
        .filter(|digits| digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()))?;
    let minutes = digits[..2].parse::<i32>().ok()? * 60 + digits[2..].parse::<i32>().ok()?;
    let seconds = if last.starts_with('-') { -60 } else { 60 } * minutes;
    let offset = jiff::tz::Offset::from_seconds(seconds).ok()?;
    (format.ends_with(" %z") && seconds != 0).then(|| TimeZone::fixed(offset))
}

/// Whether the clock was set forward within the day before. Then another text may mean this instant
/// too.
fn is_behind_a_gap(at: &Zoned) -> bool {
    let before = at.timestamp() - jiff::SignedDuration::from_hours(30);
    at.time_zone().to_offset(before) != at.offset()
}

/// Numbers without the zeros before them, letters in one case, and no blanks.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut in_number = false;
    for c in text.to_lowercase().chars().filter(|c| !c.is_whitespace()) {
        if c == '0' && !in_number {
            continue;
        }
        in_number = c.is_ascii_digit();
        plain.push(c);
    }
    plain
}

/// Asserts a date in a standard form. Usual forms are checked part by part; in rare forms of ISO
/// 8601 only that a zone in brackets exists.
fn standard_date_is(text: &str, at: &Zoned) {
    if let Some((_, bracket)) = text.split_once('[') {
        let name = bracket.split(']').next().unwrap_or_default().trim_start_matches('!');
        assert!(
            name.contains('=') || name.starts_with(['+', '-']) || TimeZone::get(name).is_ok(),
            "{text:?} is in no zone"
        );
        return;
    }
    let bytes = text.as_bytes();
    let shape: String = bytes
        .iter()
        .take(16)
        .map(|b| if b.is_ascii_digit() { '0' } else { char::from(*b) })
        .collect();
    if shape.starts_with("0000-00-00") && bytes.len() == 10 {
        let wall: DateTime = text.parse().expect("a date");
        let start = wall.to_zoned(at.time_zone().clone()).expect("a day of that zone");
        assert_eq!(start.timestamp().as_millisecond(), at.timestamp().as_millisecond(), "{text:?}");
    }
    if matches!(shape.as_str(), "0000-00-00T00:00" | "0000-00-00 00:00") {
        let (clock, offset) = match text[16..].find(['Z', 'z', '+', '-']) {
            Some(sign) => text.split_at(16 + sign),
            None => (text, ""),
        };
        let Ok(wall) = clock.parse::<DateTime>() else { panic!("{text:?} was taken") };
        if offset.is_empty() {
            let local = wall.to_zoned(at.time_zone().clone()).expect("a time of that zone");
            let is_midnight = wall.time() == jiff::civil::Time::midnight();
            assert!(
                is_midnight
                    || local.timestamp().as_millisecond() == at.timestamp().as_millisecond(),
                "{text:?} is {at}"
            );
        } else if matches!(offset.len(), 1 | 6) {
            let utc = format!("{}{offset}", clock.replacen(' ', "T", 1))
                .parse::<Timestamp>()
                .expect("an instant");
            assert_eq!(utc.as_millisecond(), at.timestamp().as_millisecond(), "{text:?}");
        }
    }
}
