//! Tests of `request_headers.rs`.

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
        assert_eq!(best_encoding(&headers(header::ACCEPT_ENCODING, values)), want, "{values:?}");
    }
}
