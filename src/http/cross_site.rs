//! What a browser sends because a page of another site told it to. Without sign-in a request needs
//! no secret, so any page that is open in a browser on this machine could have it change something;
//! and by a name whose address it changes to a loopback one (DNS rebinding), such a page could read
//! the answers, too. So without sign-in, requests with such a name are refused, and changes that
//! come from another origin.

use std::net::{IpAddr, SocketAddr};

use actix_web::{
    dev::ServiceRequest,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName},
    },
};

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
    let is_of_ours = |site: &[u8]| matches!(site, b"same-origin" | b"none");
    if headers.get_all(SEC_FETCH_SITE).any(|site| !is_of_ours(site.as_bytes())) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is_host = |origin: &str| {
        let (_, authority) = origin.split_once("://")?;
        Some(authority.eq_ignore_ascii_case(host?))
    };
    headers.get_all(header::ORIGIN).any(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        !is_host(origin).unwrap_or(false)
    })
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
    use actix_web::{http::Method, test::TestRequest};

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
}
