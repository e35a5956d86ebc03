//! What a browser sends because a page of another site told it to. Without sign-in a request needs
//! no secret, so any page that is open in a browser on this machine could have it change something;
//! and by a name whose address it changes to a loopback one (DNS rebinding), such a page could read
//! the answers, too. So without sign-in, requests with such a name are refused, and changes that
//! come from another origin. With sign-in, a cookie counts for a change only where the browser says
//! that a page of this service asks for it. No page can change what a browser says of that.

use std::net::{IpAddr, SocketAddr};

use actix_web::{
    dev::ServiceRequest,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName},
    },
};
use reqwest::Url;

use super::{json::Shown, problem::Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The address of a listener, in the data of its application.
#[derive(Debug, Clone, Copy)]
pub struct Bound(pub SocketAddr);

/// Where there is no sign-in: 421 for a host that is not this machine, 403 for a change that
/// another origin asks for.
pub fn refuse_without_sign_in(request: &ServiceRequest) -> Result<(), Problem> {
    let headers = request.headers();
    let bound = request.app_data::<Bound>().map_or(request.app_config().local_addr(), |at| at.0);
    let named = headers.get_all(header::HOST).map(|host| host.to_str().unwrap_or("?"));
    let asked = request.uri().authority().map(|authority| authority.as_str());
    if let Some(other) = named.chain(asked).find(|host| !is_here(host, bound)) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!(
                "The host {} is not this service. While there is no sign-in, it answers to a \
                 loopback name or address only, such as localhost or {bound}. Switch sign-in on \
                 (auth.sign_in = \"on\") to reach it by another name.",
                Shown(other)
            ),
        ));
    }
    if !request.method().is_safe() && is_of_another_origin(headers) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "A page of another origin asked for this change (Origin, Sec-Fetch-Site). While there \
             is no sign-in, only programs and pages of this service itself may change something.",
        ));
    }
    Ok(())
}

/// Whether a browser says that a page of another origin made it send this. Programs that are no
/// browsers say nothing of the kind.
pub fn is_of_another_origin(headers: &HeaderMap) -> bool {
    source(headers, None) == Source::Elsewhere
}

/// For calls with a cookie: 403 unless a browser says that they come from a page of this service.
/// `own` is its origin, where the settings say it; else it is the host that the request names.
pub fn require_own_page(headers: &HeaderMap, own: Option<&str>) -> Result<(), Problem> {
    if source(headers, own) == Source::OwnPage {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "A call of a browser that changes something, or that stays connected, must come from a \
         page of this service: its header Sec-Fetch-Site must be same-origin, or its Origin that \
         of this service (setting auth.public_url, where a proxy changes the host). A program \
         signs in by an API key in the header Authorization.",
    ))
}

/// Where a request comes from, as far as a browser says it.
#[derive(PartialEq, Eq)]
enum Source {
    /// Nothing says it: a program that is no browser.
    Unsaid,
    /// No page: somebody has typed the address.
    NoPage,
    OwnPage,
    Elsewhere,
}

fn source(headers: &HeaderMap, own: Option<&str>) -> Source {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let mut source = Source::Unsaid;
    for origin in headers.get_all(header::ORIGIN) {
        if !is_own(origin.to_str().unwrap_or_default(), own, host) {
            return Source::Elsewhere;
        }
        source = Source::OwnPage;
    }
    for site in headers.get_all(SEC_FETCH_SITE) {
        source = match site.as_bytes() {
            b"none" => Source::NoPage,
            b"same-origin" if source == Source::NoPage => Source::NoPage,
            b"same-origin" => Source::OwnPage,
            _ => return Source::Elsewhere,
        };
    }
    source
}

fn is_own(origin: &str, own: Option<&str>, host: Option<&str>) -> bool {
    match (own, host) {
        (Some(own), _) => origin == own,
        (None, Some(host)) => {
            // Behind a proxy the scheme is not known here; the host with its port is.
            let named = |scheme: &str| Url::parse(&format!("{scheme}://{host}")).ok();
            let is = |own: Option<Url>| {
                own.is_some_and(|own| {
                    own.origin().is_tuple() && own.origin().ascii_serialization() == origin
                })
            };
            is(named("https")) || is(named("http"))
        }
        (None, None) => false,
    }
}

/// Whether a host, with or without a port, is a loopback name or address, or the one that is
/// bound.
fn is_here(host: &str, bound: SocketAddr) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    if let Ok(address) = name.parse::<IpAddr>() {
        return address.is_loopback() || address == bound.ip();
    }
    // Names under localhost are no names of the internet (RFC 6761).
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use actix_web::{
        http::{Method, header::HeaderValue},
        test::TestRequest,
    };

    use super::*;

    fn status(method: Method, headers: &[(&'static str, &'static str)]) -> u16 {
        let request = TestRequest::with_uri("/v1/rebuild").method(method);
        let request =
            headers.iter().fold(request, |request, header| request.append_header(*header));
        refuse_without_sign_in(&request.to_srv_request())
            .map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    #[test]
    fn only_this_machine_is_a_host() {
        for host in
            ["localhost", "LOCALHOST:9000", "127.0.0.1:1", "127.9.0.1", "[::1]:80", "a.localhost."]
        {
            assert_eq!(status(Method::GET, &[("host", host)]), 200, "{host}");
        }
        for host in [
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evillocalhost",
            "10.0.0.1",
            "[fe80::1]",
            "0.0.0.0:8080",
            "",
        ] {
            assert_eq!(status(Method::GET, &[("host", host)]), 421, "{host}");
        }
        let both = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(status(Method::GET, &both), 421);
        assert_eq!(status(Method::GET, &[]), 200, "a program of HTTP/1.0");
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let host = ("host", "localhost:8080");
        for (header, expected) in [
            (("origin", "http://localhost:8080"), 200),
            (("sec-fetch-site", "same-origin"), 200),
            (("sec-fetch-site", "none"), 200),
            (("origin", "http://localhost:3000"), 403),
            (("origin", "https://evil.example"), 403),
            (("origin", "null"), 403),
            (("sec-fetch-site", "cross-site"), 403),
            (("sec-fetch-site", "same-site"), 403),
        ] {
            assert_eq!(status(Method::POST, &[host, header]), expected, "{header:?}");
            assert_eq!(status(Method::GET, &[host, header]), 200, "it is only read: {header:?}");
        }
        assert_eq!(status(Method::POST, &[host]), 200, "a program");
    }

    fn passes(own: Option<&str>, sent: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        require_own_page(&headers, own).is_ok()
    }

    #[test]
    fn only_what_says_that_it_comes_from_here_passes() {
        let (site, origin, host) = ("sec-fetch-site", "origin", "host");
        let here = (host, "summary.example:8080");
        for right in [
            vec![here, (site, "same-origin")],
            vec![here, (origin, "https://summary.example:8080")],
            vec![here, (origin, "http://summary.example:8080")],
            vec![here, (site, "same-origin"), (origin, "https://summary.example:8080")],
            vec![(host, "summary.example"), (origin, "https://summary.example")],
            vec![(host, "[::1]:80"), (origin, "http://[::1]")],
        ] {
            assert!(passes(None, &right), "{right:?}");
        }
        for wrong in [
            vec![here],
            vec![here, (site, "same-site")],
            vec![here, (site, "cross-site")],
            vec![here, (site, "none")],
            vec![here, (site, "")],
            vec![here, (origin, "null")],
            vec![here, (origin, "https://summary.example")],
            vec![here, (origin, "https://evil.example:8080")],
            vec![here, (origin, "https://summary.example:8080.evil.example")],
            vec![here, (site, "same-origin"), (origin, "https://evil.example")],
            vec![here, (site, "cross-site"), (origin, "https://summary.example:8080")],
            vec![(origin, "https://summary.example")],
        ] {
            assert!(!passes(None, &wrong), "{wrong:?}");
        }
    }

    #[test]
    fn the_public_url_counts_where_it_is_set() {
        let own = Some("https://summary.example");
        let inside = ("host", "127.0.0.1:8080");
        assert!(passes(own, &[inside, ("origin", "https://summary.example")]));
        assert!(!passes(own, &[inside, ("origin", "http://127.0.0.1:8080")]));
        assert!(!passes(own, &[inside, ("origin", "http://summary.example")]));
    }
}
