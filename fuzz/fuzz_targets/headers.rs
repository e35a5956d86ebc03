//! What the headers of a read ask for, of freshness and of the form of the body, compared with a
//! slow reading of the RFCs' grammar (`grammar.rs`). An input is header lines. For well-formed
//! lines the service and the grammar agree. For any lines:
//!
//! - an added line makes no answer older than without it, and `no-cache` in a line of its own
//!   counts beside any other lines;
//! - only a request that names the tag, or `*`, gets a 304;
//! - no request gets an encoding that it did not name, or that it refused.

#![no_main]

#[path = "headers/grammar.rs"]
mod grammar;

use std::time::Duration;

use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
};
use facility_summary::http::request_headers::{self, Directives, Encoding};
use libfuzzer_sys::fuzz_target;

const TAGS: [&str; 3] = ["\"2026-11-21.42.0badcafe\"", "\"1\"", "W/\"1\""];

fuzz_target!(|input: &[u8]| {
    let (mut cache_control, mut if_none_match, mut accept_encoding) = (vec![], vec![], vec![]);
    for line in input.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let lines = match &line[..colon] {
            b"cache-control" => &mut cache_control,
            b"if-none-match" => &mut if_none_match,
            b"accept-encoding" => &mut accept_encoding,
            _ => continue,
        };
        lines.extend(HeaderValue::from_bytes(line[colon + 1..].trim_ascii()));
    }
    directives(&cache_control);
    TAGS.iter().for_each(|tag| conditional(&if_none_match, tag));
    encodings(&accept_encoding);
});

fn headers(name: HeaderName, lines: &[HeaderValue]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    lines.iter().for_each(|line| headers.append(name.clone(), line.clone()));
    headers
}

fn directives(lines: &[HeaderValue]) {
    let read = |lines: &[HeaderValue]| request_headers::directives(&headers(CACHE_CONTROL, lines));
    let found = read(lines);
    if let Some(want) =
        lines.iter().map(|line| grammar::directives(line.as_bytes())).collect::<Option<Vec<_>>>()
    {
        assert_eq!(found, meant(&want.concat()), "{lines:?}");
    }
    for left_out in 0..lines.len() {
        let mut others = lines.to_vec();
        others.remove(left_out);
        let without = read(&others);
        assert!(
            without.max_age.is_none_or(|bound| found.max_age.is_some_and(|with| with <= bound)),
            "{lines:?}"
        );
        assert!(found.only_if_cached >= without.only_if_cached, "{lines:?}");
        if let (Some(Some(with)), Some(Some(without))) = (found.max_stale, without.max_stale) {
            assert!(with <= without, "{lines:?}");
        }
    }
    for place in [0, lines.len()] {
        let mut more = lines.to_vec();
        more.insert(place, HeaderValue::from_static("no-cache"));
        assert_eq!(read(&more), Directives { max_age: Some(Duration::ZERO), ..found }, "{lines:?}");
    }
}

/// Keeps the strictest of each directive. An argument that is not a number of seconds is ignored.
fn meant(directives: &[grammar::Directive]) -> Directives {
    let named = |name: &str| {
        directives.iter().filter(|d| d.name == name).map(|d| d.argument.clone()).collect::<Vec<_>>()
    };
    let seconds = |argument: &Option<String>| {
        let digits = argument
            .as_ref()
            .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))?;
        // Compared as texts, since a number may have any length.
        let digits = digits.trim_start_matches('0');
        let is_long = digits.len() > 10;
        Some(Duration::from_secs(if is_long {
            1 << 31
        } else {
            format!("0{digits}").parse::<u64>().ok()?.min(1 << 31)
        }))
    };
    let no_cache = named("no-cache").contains(&None).then_some(Duration::ZERO);
    let stale = named("max-stale");
    let limits: Vec<Duration> = stale.iter().filter_map(&seconds).collect();
    Directives {
        max_age: named("max-age").iter().filter_map(&seconds).chain(no_cache).min(),
        max_stale: limits.into_iter().min().map(Some).or(stale.contains(&None).then_some(None)),
        only_if_cached: named("only-if-cached").contains(&None),
    }
}

fn conditional(lines: &[HeaderValue], tag: &str) {
    let found = request_headers::if_none_match(&headers(IF_NONE_MATCH, lines), tag).is_some();
    let opaque = tag.trim_start_matches("W/").trim_end_matches('"');
    // The tag of the plain form, of gzip and of Brotli.
    let forms = ["", "-gzip", "-br"].map(|form| format!("{opaque}{form}\""));
    let is_form = |named: &[u8]| forms.iter().any(|form| form.as_bytes() == named);
    if let Some(tags) =
        lines.iter().map(|line| grammar::entity_tags(line.as_bytes())).collect::<Option<Vec<_>>>()
    {
        assert_eq!(
            found,
            tags.concat().iter().any(|named| *named == b"*" || is_form(named)),
            "{lines:?}"
        );
    }
    let names = |line: &HeaderValue| {
        line == "*" || line.as_bytes().windows(opaque.len()).any(|part| part == opaque.as_bytes())
    };
    assert!(!found || lines.iter().any(names), "{lines:?}");
}

fn encodings(lines: &[HeaderValue]) {
    let found = request_headers::best_encoding(&headers(ACCEPT_ENCODING, lines));
    let text: String = lines
        .iter()
        .map(|line| String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase() + ",")
        .collect();
    let name = match found {
        Encoding::Identity => None,
        Encoding::Gzip => Some("gzip"),
        Encoding::Brotli => Some("br"),
    };
    assert!(name.is_none_or(|name| text.contains(name) || text.contains('*')), "{lines:?}");
    let Some(codings) =
        lines.iter().map(|line| grammar::codings(line.as_bytes())).collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let codings = codings.concat();
    let weights = |name: &str| {
        codings.iter().filter(|c| c.name == name).map(|c| c.thousandths).collect::<Vec<_>>()
    };
    // A request may name an encoding twice with different weights. Then only this is checked: the
    // answer is one of the encodings that it names.
    let weight = |name: &str, otherwise: u16| match weights(name)[..] {
        [] => Some(otherwise),
        [weight] => Some(weight),
        _ => None,
    };
    let Some(others) = weight("*", 0) else { return };
    let (Some(brotli), Some(gzip), Some(identity)) =
        (weight("br", others), weight("gzip", others), weight("identity", 0))
    else {
        return;
    };
    let best = brotli.max(gzip);
    let want = if best == 0 || identity > best {
        Encoding::Identity
    } else if brotli == best {
        Encoding::Brotli
    } else {
        Encoding::Gzip
    };
    assert_eq!(found, want, "{lines:?}");
}
