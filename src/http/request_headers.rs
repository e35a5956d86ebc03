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
#[path = "request_headers_tests.rs"]
mod tests;
