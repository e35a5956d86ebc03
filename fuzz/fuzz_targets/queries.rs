//! The query strings of each resource that takes parameters. An input is the resource's name, `?`,
//! and a query.
//!
//! - The service accepts exactly what a slow reading accepts, with the same values, within the
//!   bounds of the resource.
//! - A refusal is a 400 that names a parameter at fault, and the bounds of the resource.
//! - Accepted parameters that are written again are read as the same. Decoding undoes
//!   percent-encoding.

#![no_main]

use facility_summary::{
    cache::views::{Bound, DayCursor},
    http::{
        field_rules,
        json::Shown,
        parameters::{
            Facilities, FacilityCursor, ListingParameters, OneDay, Range, Refresh, SORTS,
        },
        percent,
        problem::Problem,
    },
};
use jiff::civil::Date;
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    encoding_is_undone(text);
    ids_and_dates(text);
    let Some((resource, query)) = text.split_once('?') else { return };
    match resource {
        "one" => {
            let rules: Rules = &[(
                "min_version",
                &|text| whole(text, 0, i64::MAX as u128, "-0"),
                "a whole number from 0",
            )];
            check(query, rules, OneDay::read(query), |p| {
                vec![("min_version", Some(p.min_version.to_string()))]
            });
        }
        "range" => {
            let rules: Rules = &[
                ("from", &is_date, "a calendar date"),
                ("to", &is_date, "a calendar date"),
                ("limit", &|text| whole(text, 1, 400, ""), "a whole number from 1 to 400"),
                ("cursor", &is_date, "a calendar date"),
            ];
            check(query, rules, Range::read(query), |p| {
                let text = |date: Option<Date>| date.map(|date| date.to_string());
                vec![
                    ("from", text(p.from)),
                    ("to", text(p.to)),
                    ("limit", Some(p.limit.to_string())),
                    ("cursor", text(p.cursor)),
                ]
            });
        }
        // A facility_id may come several times, and a blood type may be written with a bare plus.
        "listing" if query.contains(['%', '_']) => drop(ListingParameters::read(query)),
        "listing" => {
            let bound: &dyn Fn(&str) -> bool = &|text| {
                ["stock:", "transferred:", "requests:"].iter().any(|figure| {
                    text.strip_prefix(figure)
                        .is_some_and(|value| whole(value, 0, i64::MAX as u128, ""))
                })
            };
            let rules: Rules = &[
                ("limit", &|text| whole(text, 1, 500, ""), "a whole number from 1 to 500"),
                ("cursor", &|text| DayCursor::read(text).is_some(), "the next_cursor"),
                ("sort", &|text| SORTS.contains(&text), "one of name, -name"),
                ("q", &|_| true, ""),
                ("below", bound, "such as stock:20"),
                ("above", bound, "such as stock:20"),
                ("fields", &|text| text == "totals", "totals"),
            ];
            let shown = |bound: Option<Bound>| {
                bound.map(|bound| format!("{}:{}", bound.figure.as_str(), bound.value))
            };
            check(query, rules, ListingParameters::read(query), |p| {
                vec![
                    ("limit", Some(p.limit.to_string())),
                    ("cursor", p.cursor.as_ref().map(DayCursor::to_string)),
                    ("sort", Some(SORTS[p.sort.index()].to_owned())),
                    ("q", p.q.clone()),
                    ("below", shown(p.below)),
                    ("above", shown(p.above)),
                    ("fields", p.fields.then(|| "totals".to_owned())),
                ]
            });
        }
        "facilities" => {
            let rules: Rules = &[
                ("q", &|_| true, ""),
                ("limit", &|text| whole(text, 1, 500, ""), "a whole number from 1 to 500"),
                ("cursor", &is_facility_cursor, "the next_cursor"),
            ];
            check(query, rules, Facilities::read(query), |p| {
                let cursor = p.cursor.as_ref().map(FacilityCursor::to_string);
                vec![("q", p.q.clone()), ("limit", Some(p.limit.to_string())), ("cursor", cursor)]
            });
        }
        "refresh" => {
            let rules: Rules = &[("date", &is_date, "a calendar date")];
            check(query, rules, Refresh::read(query), |p| {
                vec![("date", p.date.map(|date| date.to_string()))]
            });
        }
        _ => {}
    }
});

/// Each parameter's name, whether a value is one of its own, and what its refusal says.
type Rules<'r> = &'r [(&'r str, &'r dyn Fn(&str) -> bool, &'r str)];

/// A part of a query: its name as it was sent, its name decoded, and its value decoded. `None` is
/// what cannot be decoded.
type Part<'q> = (&'q str, Option<String>, Option<String>);

/// A parameter's name, and its value as a text if it has one.
type Written = (&'static str, Option<String>);

fn check<T: PartialEq + std::fmt::Debug + Readable>(
    query: &str,
    rules: Rules,
    read: Result<T, Problem>,
    written: impl Fn(&T) -> Vec<Written>,
) {
    let parts: Vec<Part> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) =
                part.find('=').map_or((part, ""), |at| (&part[..at], &part[at + 1..]));
            (name, decoded(name), decoded(value))
        })
        .collect();
    let fault = |(place, (_, name, value)): (usize, &Part)| {
        let rule = rules.iter().find(|(known, ..)| name.as_deref() == Some(*known));
        let is_repeated = parts[..place].iter().any(|(_, other, _)| other == name);
        !rule.is_some_and(|(_, takes, _)| value.as_deref().is_some_and(takes)) || is_repeated
    };
    let faulty: Vec<_> =
        parts.iter().enumerate().filter(|part| fault(*part)).map(|(_, part)| part).collect();
    match read {
        Ok(parameters) => {
            assert!(faulty.is_empty(), "accepted, though {faulty:?}");
            let written = written(&parameters);
            assert_all_is_read(&parts, &written);
            let again: Vec<String> = written.iter().filter_map(encoded_pair).collect();
            assert_eq!(T::read(&again.join("&")), Ok(parameters));
        }
        Err(problem) => {
            let detail = problem.detail();
            assert!(
                problem.status() == 400 && problem.errors().is_empty() && detail.len() < 1000,
                "{problem}"
            );
            let is_named = faulty.iter().any(|(raw, name, _)| {
                let name = name.as_deref().unwrap_or(raw);
                detail.contains(&format!("`{name}`")) || detail.contains(&Shown(name).to_string())
            });
            assert!(is_named, "{faulty:?}: {problem}");
            // For a value that can be read and is wrong, the answer says what is right at this
            // resource.
            if let [(_, Some(name), Some(_))] = &faulty[..]
                && let Some((_, _, expected)) = rules.iter().find(|(known, ..)| known == name)
            {
                assert!(detail.contains(expected) || detail.contains("sent twice"), "{problem}");
            }
        }
    }
}

/// Asserts that each value that was sent is the one that was read. A number may be written in
/// another way.
fn assert_all_is_read(parts: &[Part], written: &[Written]) {
    for (_, name, value) in parts {
        let found = written
            .iter()
            .find(|(known, _)| name.as_deref() == Some(*known))
            .and_then(|(_, value)| value.as_deref());
        let (found, value) =
            (found.expect("it was sent"), value.as_deref().expect("it was decoded"));
        let number =
            |text: &str| text.trim_start_matches(['+', '-']).trim_start_matches('0').to_owned();
        assert!(
            found.eq_ignore_ascii_case(value) || number(found) == number(value),
            "{found} is not {value}"
        );
    }
}

fn encoded_pair((name, value): &Written) -> Option<String> {
    Some(format!("{}={}", encoded(name, 3, true), encoded(value.as_ref()?, 2, true)))
}

trait Readable: Sized {
    fn read(query: &str) -> Result<Self, Problem>;
}

macro_rules! readable {
    ($($parameters:ident)*) => {$(impl Readable for $parameters {
        fn read(query: &str) -> Result<Self, Problem> {
            $parameters::read(query)
        }
    })*};
}
readable!(OneDay Range ListingParameters Facilities Refresh);

fn whole(text: &str, least: u128, most: u128, also: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let short = digits.trim_start_matches('0');
    let value =
        if short.len() > 30 { u128::MAX } else { format!("0{short}").parse().unwrap_or(u128::MAX) };
    let is_also = !also.is_empty()
        && text.starts_with('-')
        && text.len() > 1
        && text[1..].bytes().all(|b| b == b'0');
    is_also || is_number && (least..=most).contains(&value)
}

fn is_date(text: &str) -> bool {
    let date = text.parse::<Date>().ok();
    date.is_some_and(|date| (1900..2200).contains(&date.year()) && date.to_string() == text)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| {
            if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() }
        })
}

fn is_facility_cursor(text: &str) -> bool {
    let is_hex = text.len() >= 32
        && text.len().is_multiple_of(2)
        && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let bytes = || {
        (32..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("it is hex"))
    };
    is_hex && String::from_utf8(bytes().collect()).is_ok()
}

/// Checks the readers of ids and dates in paths.
fn ids_and_dates(text: &str) {
    assert_eq!(
        field_rules::parse_date(text).map(|date| date.to_string()),
        is_date(text).then(|| text.to_owned())
    );
    let id = field_rules::parse_id(text);
    assert_eq!(
        id.is_some(),
        is_uuid(text) && text.bytes().any(|b| b.is_ascii_hexdigit() && b != b'0')
    );
    assert!(id.is_none_or(|id| id != Uuid::nil() && id.to_string().eq_ignore_ascii_case(text)));
}

fn encoding_is_undone(text: &str) {
    for plus_is_space in [true, false] {
        for every in 1..4 {
            assert_eq!(
                percent::decode(&encoded(text, every, plus_is_space), plus_is_space).as_deref(),
                Ok(text)
            );
        }
    }
    assert_eq!(percent::decode(text, true).ok().map(|text| text.into_owned()), decoded(text));
}

/// Encodes each `every`th byte, and all bytes that would mean something else.
fn encoded(text: &str, every: usize, plus_is_space: bool) -> String {
    let mut bytes = Vec::new();
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b' ' if plus_is_space => bytes.push(b'+'),
            b'%' | b'+' | b'&' | b'=' | b' ' => bytes.extend(format!("%{byte:02x}").bytes()),
            byte if place % every == 0 => bytes.extend(format!("%{byte:02X}").bytes()),
            byte => bytes.push(byte),
        }
    }
    // Half a character may stay unencoded, so that the input is text only after decoding.
    String::from_utf8(bytes)
        .unwrap_or_else(|_| text.bytes().map(|byte| format!("%{byte:02x}")).collect())
}

/// `None` for what cannot be decoded.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let (pair, behind) = rest
                    .split_at_checked(2)
                    .filter(|(pair, _)| pair.iter().all(u8::is_ascii_hexdigit))?;
                rest = behind;
                u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).ok()
}
