//! The request's side of HTTP caching: what its `Cache-Control` asks for, whether its
//! `If-None-Match` names what would be sent, and the encoding that it likes best. The hot path
//! comes through here: nothing in this file allocates.

use std::time::Duration;

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What the request says about freshness. Malformed directives are ignored; of several, the
/// strictest counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Directives {
    /// The answer may be that old at most; `no-cache` is zero.
    pub max_age: Option<Duration>,
    /// An answer beyond its bound is welcome too: by so much, or, if that is `None`, by however
    /// much.
    pub max_stale: Option<Option<Duration>>,
    /// Only what is held already; nothing is to be fetched for this request.
    pub only_if_cached: bool,
}

/// Reads all `Cache-Control` headers of a request. `Pragma` is not looked at.
pub fn directives(headers: &HeaderMap) -> Directives {
    let mut found = Directives::default();
    for directive in values(headers, header::CACHE_CONTROL).flat_map(|value| List { rest: value }) {
        let (name, argument) = match directive.iter().position(|byte| *byte == b'=') {
            Some(equals) => (&directive[..equals], Some(&directive[equals + 1..])),
            None => (directive, None),
        };
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match argument {
            None if is("no-cache") => found.max_age = Some(Duration::ZERO),
            None if is("only-if-cached") => found.only_if_cached = true,
            None if is("max-stale") => found.max_stale = found.max_stale.or(Some(None)),
            Some(argument) if is("max-age") => {
                found.max_age = strictest(found.max_age, seconds(argument))
            }
            Some(argument) if is("max-stale") => {
                if let Some(limit) = strictest(found.max_stale.flatten(), seconds(argument)) {
                    found.max_stale = Some(Some(limit));
                }
            }
            _ => {}
        }
    }
    found
}

fn strictest(known: Option<Duration>, new: Option<Duration>) -> Option<Duration> {
    match (known, new) {
        (Some(known), Some(new)) => Some(known.min(new)),
        (known, new) => known.or(new),
    }
}

/// `delta-seconds`, quoted or not; beyond 2^31 it is "very long" (RFC 9111, 1.2.2).
fn seconds(argument: &[u8]) -> Option<Duration> {
    const LONGEST_SECONDS: u64 = 1 << 31;
    let digits =
        argument.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(argument);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = digits.iter().fold(0u64, |seconds, digit| {
        seconds.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    Some(Duration::from_secs(seconds.min(LONGEST_SECONDS)))
}

/// Whether `If-None-Match` names `etag` (given with its quotes), by the weak comparison of RFC
/// 9110: a 304 is the answer then. `*` matches anything that exists. What stands behind a malformed
/// tag is not read.
pub fn if_none_match(headers: &HeaderMap, etag: &str) -> bool {
    values(headers, header::IF_NONE_MATCH)
        .any(|value| value.trim_ascii() == b"*" || names_tag(value, etag.as_bytes()))
}

fn names_tag(mut list: &[u8], etag: &[u8]) -> bool {
    let wanted = etag.strip_prefix(b"W/").unwrap_or(etag);
    loop {
        while let [b' ' | b'\t' | b',', rest @ ..] = list {
            list = rest;
        }
        let tag = list.strip_prefix(b"W/").unwrap_or(list);
        // A tag may hold commas: it ends at its second quote, not at the next comma.
        let Some(end) =
            tag.strip_prefix(b"\"").and_then(|rest| rest.iter().position(|byte| *byte == b'"'))
        else {
            return false;
        };
        let (tag, rest) = tag.split_at(end + 2);
        if tag == wanted {
            return true;
        }
        list = rest;
    }
}

/// The forms in which a body is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Brotli,
}

/// The encoding to answer with: the one with the greatest `q`, and the smallest body among equals.
/// One with `q=0` is never chosen; where nothing is left, and without the header, it is `Identity`.
pub fn best_encoding(headers: &HeaderMap) -> Encoding {
    let (mut brotli, mut gzip, mut identity, mut others) = (None, None, None, None);
    let items = values(headers, header::ACCEPT_ENCODING)
        .flat_map(|value| value.split(|byte| *byte == b','));
    for item in items.filter_map(|item| std::str::from_utf8(item).ok()) {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let slot = match name.trim_matches(WHITESPACE) {
            name if name.eq_ignore_ascii_case("br") => &mut brotli,
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => {
                &mut gzip
            }
            name if name.eq_ignore_ascii_case("identity") => &mut identity,
            "*" => &mut others,
            _ => continue,
        };
        *slot = Some(thousandths(parameters));
    }
    let brotli = brotli.or(others).unwrap_or(0);
    let gzip = gzip.or(others).unwrap_or(0);
    // Not named, identity is acceptable, but comes after whatever is named.
    let identity = identity.unwrap_or(0);
    match brotli.max(gzip) {
        0 => Encoding::Identity,
        best if identity > best => Encoding::Identity,
        best if brotli == best => Encoding::Brotli,
        _ => Encoding::Gzip,
    }
}

/// The weight in `;q=0.5`, in thousandths; 1000 where none is given, 0 where it cannot be read.
fn thousandths(parameters: &str) -> u16 {
    let parameter = parameters.trim_matches(WHITESPACE);
    if parameter.is_empty() {
        return 1000;
    }
    let Some(weight) = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")) else {
        return 0;
    };
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let is_number = fraction.len() <= 3 && fraction.bytes().all(|b| b.is_ascii_digit());
    match whole {
        "1" if is_number && fraction.bytes().all(|b| b == b'0') => 1000,
        "0" if is_number => fraction
            .bytes()
            .zip([100, 10, 1])
            .map(|(digit, place)| u16::from(digit - b'0') * place)
            .sum(),
        _ => 0,
    }
}

const WHITESPACE: [char; 2] = [' ', '\t'];

/// The values of all headers of that name, as bytes: a quoted text in them may hold what is not
/// ASCII, and a directive beside it counts.
fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).map(HeaderValue::as_bytes)
}

/// The items of a comma-separated list; a comma within quotes separates nothing.
struct List<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for List<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        let end = self.rest.iter().position(|byte| {
            let plain = !std::mem::take(&mut escaped);
            match byte {
                b'"' if plain => quoted = !quoted,
                b'\\' if plain && quoted => escaped = true,
                b',' => return !quoted,
                _ => {}
            }
            false
        });
        let (item, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        Some(item.trim_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        values
            .iter()
            .for_each(|value| headers.append(name.clone(), HeaderValue::from_str(value).unwrap()));
        headers
    }

    fn read(values: &[&str]) -> (Option<u64>, Option<Option<u64>>, bool) {
        let found = directives(&headers(header::CACHE_CONTROL, values));
        let seconds = |d: Duration| d.as_secs();
        (
            found.max_age.map(seconds),
            found.max_stale.map(|limit| limit.map(seconds)),
            found.only_if_cached,
        )
    }

    #[test]
    fn directives_are_read_from_lists_and_several_headers() {
        assert_eq!(directives(&HeaderMap::new()), Directives::default());
        assert_eq!(read(&["max-age=10"]), (Some(10), None, false));
        assert_eq!(read(&["No-Cache"]), (Some(0), None, false));
        assert_eq!(read(&["max-age=0 , MAX-STALE", "only-if-cached"]), (Some(0), Some(None), true));
        assert_eq!(read(&["max-stale=5,max-age=\"7\""]), (Some(7), Some(Some(5)), false));
    }

    #[test]
    fn of_several_directives_the_strictest_counts() {
        assert_eq!(read(&["max-age=10, max-age=5, max-age=20"]), (Some(5), None, false));
        assert_eq!(read(&["max-age=10", "no-cache"]), (Some(0), None, false));
        assert_eq!(read(&["no-cache, max-age=10"]), (Some(0), None, false));
        assert_eq!(read(&["max-stale, max-stale=5, max-stale"]), (None, Some(Some(5)), false));
    }

    #[test]
    fn malformed_directives_are_ignored() {
        for value in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=1.5",
            "max-age = 5",
            "max-age=5s",
            "max-age=\"5",
            "max-stale=x",
            "no-cache=1",
            "only-if-cached=1",
            ",, ,",
            "\"",
            "foo=\"x, no-cache, \\\" max-age=0, y\"",
            "no-store, min-fresh=5",
        ] {
            assert_eq!(read(&[value]), (None, None, false), "{value}");
        }
        assert_eq!(read(&["max-age=x, max-age=3"]), (Some(3), None, false));
        assert_eq!(read(&["max-age=99999999999999999999999"]), (Some(1 << 31), None, false));
        assert_eq!(directives(&headers(header::PRAGMA, &["no-cache"])), Directives::default());
    }

    #[test]
    fn what_is_not_ascii_hides_nothing_that_stands_beside_it() {
        let beyond = |name, value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
            headers
        };
        for value in
            [&b"no-cache, ext=\"\xc3\xa9\""[..], b"ext=\"\xe9, x\", no-cache", b"\xff, max-age=0"]
        {
            let found = directives(&beyond(header::CACHE_CONTROL, value));
            assert_eq!(found.max_age, Some(Duration::ZERO), "{}", value.escape_ascii());
        }
        assert!(if_none_match(&beyond(header::IF_NONE_MATCH, b"\"\xc3\xa9\", W/\"x\""), "\"x\""));
        assert!(!if_none_match(&beyond(header::IF_NONE_MATCH, b"\"\xc3\xa9, x\""), "\"x\""));
        assert_eq!(
            best_encoding(&beyond(header::ACCEPT_ENCODING, b"\xe9, gzip, br;q=0")),
            Encoding::Gzip
        );
    }

    #[test]
    fn if_none_match_compares_weakly_through_lists() {
        let etag = "\"2026-11-21.42.0badcafe\"";
        for (values, want) in [
            (&["\"2026-11-21.42.0badcafe\""][..], true),
            (&["W/\"2026-11-21.42.0badcafe\""], true),
            (&["\"a,b\", \"x\" ,W/\"2026-11-21.42.0badcafe\""], true),
            (&["\"x\"", "\"2026-11-21.42.0badcafe\""], true),
            (&[" * "], true),
            (&["\"2026-11-21.43.0badcafe\""], false),
            (&["2026-11-21.42.0badcafe"], false),
            (&["w/\"2026-11-21.42.0badcafe\""], false),
            (&["\"*\", *"], false),
            (&["\""], false),
            (&["W/"], false),
            (&[""], false),
            (&[], false),
        ] {
            assert_eq!(
                if_none_match(&headers(header::IF_NONE_MATCH, values), etag),
                want,
                "{values:?}"
            );
        }
        assert!(if_none_match(&headers(header::IF_NONE_MATCH, &["\"x\""]), "W/\"x\""));
    }

    #[test]
    fn the_best_encoding_honours_weights_and_refusals() {
        use Encoding::{Brotli, Gzip, Identity};
        for (values, want) in [
            (&[][..], Identity),
            (&[""], Identity),
            (&["gzip, deflate, br, zstd"], Brotli),
            (&["gzip", "br"], Brotli),
            (&["gzip, br;q=0"], Gzip),
            (&["br;q=0.8, gzip;q=0.9"], Gzip),
            (&["br; q=0.001,gzip;q=0.000"], Brotli),
            (&["*"], Brotli),
            (&["*, br;q=0"], Gzip),
            (&["br, *;q=0"], Brotli),
            (&["*;q=0"], Identity),
            (&["gzip;q=0.5, identity"], Identity),
            (&["gzip;q=0.5"], Gzip),
            (&["identity, gzip"], Gzip),
            (&["identity;q=0, deflate"], Identity),
            (&["X-GZIP"], Gzip),
            (&["gzip;q=x, br;q=1.1"], Identity),
            (&["gzip;q=1.000"], Gzip),
            (&["deflate"], Identity),
        ] {
            assert_eq!(
                best_encoding(&headers(header::ACCEPT_ENCODING, values)),
                want,
                "{values:?}"
            );
        }
    }
}
