//! A slow reading of files, numbers and dates, to compare the importer with.

use csv::{ByteRecord, ReaderBuilder};
use facility_summary::domain::names::compared;
use jiff::{Timestamp, Zoned, civil::DateTime, fmt::strtime, tz::TimeZone};

/// Zeros of the scripts whose digits are read.
const ZEROS: &str = "٠۰०০੦૦୦௦౦೦൦๐໐༠၀០０";

/// Text without what the eye does not see, in one spelling.
pub fn squashed(text: &str) -> String {
    compared(text)
}

/// The same, its digits from 0 to 9.
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

/// The rows behind the header that have a filled cell.
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

/// The row that begins with the line of that number; lines end in LF, CRLF or CR.
pub fn cells_at(file: &[u8], line: u64) -> Option<ByteRecord> {
    let (mut rest, mut current) = (file, 1);
    while current < line {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
        let length = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + length..];
        current += 1;
    }
    // A byte order mark is none where the file does not begin.
    let rest = if line == 1 { rest.to_vec() } else { [b"\n", rest].concat() };
    records(&rest).next()
}

/// What a cell can mean as a whole number where `decimal` is the decimal sign, `None` where it
/// means none or is empty: without the marks between thousands, and without a fraction of zeros.
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

/// Asserts that a cell which was taken means this many units, and nothing else by the sign that the
/// command line gives or leaves out.
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

/// Whether a name is an id, or one with a slip: 31 to 33 hexadecimal digits, of which one may be
/// something else, and hyphens.
pub fn nearly_an_id(name: &str) -> bool {
    let digits = name.chars().filter(|c| *c != '-').collect::<Vec<_>>();
    let hex = digits.iter().filter(|c| c.is_ascii_hexdigit()).count();
    let has_both =
        digits.iter().any(|c| c.is_ascii_digit()) && digits.iter().any(char::is_ascii_alphabetic);
    (31..=33).contains(&digits.len()) && hex + 1 >= digits.len() && has_both
}

/// Asserts that `at` is what the text says. Answers how its own format prints it, where that can be
/// told.
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
    // A zone or an offset that the text names is the one in which it is to be printed.
    if let Some(named) = zone_in(&text, format) {
        let there = strtime::format(format, &at.with_time_zone(named))
            .expect("what can be read can be printed");
        assert_eq!(plain(&there), plain(&text), "{text:?} by {format:?} is {at}");
    }
    // A clock that was set back tells the same twice, and the first is meant; one that was set on
    // never told the hour in between.
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

/// The zone in the text's last word, by its name or as `+0200`, where the format ends in one.
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

/// Whether the clock was set on within the day before: then another text may mean this instant too.
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

/// The usual forms by their parts; of the rarer ones of ISO 8601, that a zone in brackets exists.
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
