//! The request headers of HTTP caching: what `Cache-Control` asks for, whether `If-None-Match`
//! names the current body, and which encoding the client prefers. Every memory hit runs through
//! this file, so nothing in it allocates.

use std::time::Duration;

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What a request says about freshness. Malformed directives are ignored; when one is sent several
/// times, the strictest counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Directives {
    /// The greatest age of the answer; `no-cache` means zero.
    pub max_age: Option<Duration>,
    /// Whether an answer older than its bound may be sent, and by how much: `Some(None)` is any
    /// age.
    pub max_stale: Option<Option<Duration>>,
    /// Answer only with what memory or Redis holds; read nothing else for this request.
    pub only_if_cached: bool,
}

/// Reads all `Cache-Control` headers of a request, and ignores `Pragma`.
pub fn directives(headers: &HeaderMap) -> Directives {
    let mut found = Directives::default();
    for directive in
        values(headers, header::CACHE_CONTROL).flat_map(|value| HeaderList { rest: value })
    {
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

/// Reads `delta-seconds`, with or without quotes. A number beyond 2^31 means "very long" (RFC 9111,
/// 1.2.2) and becomes 2^31.
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

/// What `If-None-Match` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedTag {
    /// `*`: any form.
    Any,
    /// The tag of this form.
    Of(Encoding),
}

/// What `If-None-Match` names of the body whose plain form has `etag` (given with its quotes), by
/// the weak comparison of RFC 9110; the answer is then 304. The tag of each form names the body.
/// The rest of a list after a malformed tag is ignored.
pub fn if_none_match(headers: &HeaderMap, etag: &str) -> Option<NamedTag> {
    values(headers, header::IF_NONE_MATCH).find_map(|value| match value.trim_ascii() {
        b"*" => Some(NamedTag::Any),
        tags => named(tags, etag.as_bytes()).map(NamedTag::Of),
    })
}

fn named(mut list: &[u8], etag: &[u8]) -> Option<Encoding> {
    let wanted = etag.strip_prefix(b"W/").unwrap_or(etag);
    loop {
        while let [b' ' | b'\t' | b',', rest @ ..] = list {
            list = rest;
        }
        let tag = list.strip_prefix(b"W/").unwrap_or(list);
        // A tag may contain commas, so it ends at its second quote and not at the next comma.
        let end = tag.strip_prefix(b"\"")?.iter().position(|byte| *byte == b'"')?;
        let (tag, rest) = tag.split_at(end + 2);
        if let Some(form) = form_named(tag, wanted) {
            return Some(form);
        }
        list = rest;
    }
}

/// The form that has this tag, of the body whose plain form has `etag`.
fn form_named(tag: &[u8], etag: &[u8]) -> Option<Encoding> {
    let rest = tag.strip_prefix(etag.strip_suffix(b"\"")?)?;
    [Encoding::Identity, Encoding::Gzip, Encoding::Brotli]
        .into_iter()
        .find(|form| rest.strip_suffix(b"\"") == Some(form.tag_suffix().as_bytes()))
}

/// The forms in which the service holds a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Brotli,
}

impl Encoding {
    /// What the entity tag of this form has before its closing quote, after the tag of the plain
    /// form. A strong tag names one form (RFC 9110, 8.8.3.3). Apache writes its tags so, too.
    pub const fn tag_suffix(self) -> &'static str {
        match self {
            Encoding::Identity => "",
            Encoding::Gzip => "-gzip",
            Encoding::Brotli => "-br",
        }
    }

    /// The value of `Content-Encoding`; `None` for the plain form.
    pub const fn content_encoding(self) -> Option<&'static str> {
        match self {
            Encoding::Identity => None,
            Encoding::Gzip => Some("gzip"),
            Encoding::Brotli => Some("br"),
        }
    }
}

/// The encoding to answer with: the one with the greatest `q`, and among equals the one with the
/// smallest body. An encoding with `q=0` is never chosen. `Identity` when no encoding is
/// acceptable, and without the header.
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
    // Identity is acceptable even when it is not named, but after every encoding that is.
    let identity = identity.unwrap_or(0);
    match brotli.max(gzip) {
        0 => Encoding::Identity,
        best if identity > best => Encoding::Identity,
        best if brotli == best => Encoding::Brotli,
        _ => Encoding::Gzip,
    }
}

/// The weight in `;q=0.5`, in thousandths: 1000 when none is given, 0 when it cannot be read.
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

/// The values of all headers of one name, as bytes. A quoted text in a value may contain bytes
/// outside ASCII; the directives beside it still count.
fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).map(HeaderValue::as_bytes)
}

/// The items of a comma-separated list. A comma within quotes does not separate.
struct HeaderList<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for HeaderList<'a> {
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
        let named = |value| if_none_match(&beyond(header::IF_NONE_MATCH, value), "\"x\"");
        assert!(named(b"\"\xc3\xa9\", W/\"x\"").is_some());
        assert!(named(b"\"\xc3\xa9, x\"").is_none());
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
            let named = if_none_match(&headers(header::IF_NONE_MATCH, values), etag);
            assert_eq!(named.is_some(), want, "{values:?}");
        }
        let weak = if_none_match(&headers(header::IF_NONE_MATCH, &["\"x\""]), "W/\"x\"");
        assert_eq!(weak, Some(NamedTag::Of(Encoding::Identity)));
    }

    #[test]
    fn the_tag_of_each_form_names_the_body_and_says_which_form() {
        use Encoding::{Brotli, Gzip, Identity};
        for (value, want) in [
            ("\"x\"", Some(NamedTag::Of(Identity))),
            ("\"x-gzip\"", Some(NamedTag::Of(Gzip))),
            ("W/\"x-br\"", Some(NamedTag::Of(Brotli))),
            ("\"y\", \"x-gzip\", \"x\"", Some(NamedTag::Of(Gzip))),
            ("*", Some(NamedTag::Any)),
            ("\"x-deflate\"", None),
            ("\"x-gzip-br\"", None),
            ("\"y-gzip\"", None),
        ] {
            let named = if_none_match(&headers(header::IF_NONE_MATCH, &[value]), "\"x\"");
            assert_eq!(named, want, "{value}");
        }
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
