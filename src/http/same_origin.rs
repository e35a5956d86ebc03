//! Calls of a browser that change something: another site's page must not make them. A browser says
//! where a call comes from in `Sec-Fetch-Site` and `Origin`, which no page can change. A call that
//! says nothing is refused, too.

use actix_web::http::{
    StatusCode,
    header::{self, HeaderMap},
};
use reqwest::Url;

use super::problem::Problem;

/// 403 unless the headers say that the call comes from a page of this service. `own` is its origin,
/// where the settings say it; else it is the host that the request names.
pub fn check(headers: &HeaderMap, own: Option<&str>) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let (site, origin) = (text("sec-fetch-site"), text("origin"));
    let comes_from_here = match (site, origin) {
        (None, None) => false,
        (site, origin) => {
            site.is_none_or(|site| site == "same-origin")
                && origin.is_none_or(|origin| is_own(origin, own, text(header::HOST.as_str())))
        }
    };
    if comes_from_here {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "A call of a browser that changes something must come from a page of this service: its \
         header Sec-Fetch-Site must be same-origin, or its Origin that of this service (setting \
         auth.public_url, where a proxy changes the host). A program signs in by an API key in the \
         header Authorization.",
    ))
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

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn passes(own: Option<&str>, sent: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        check(&headers, own).is_ok()
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
