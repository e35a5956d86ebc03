use actix_web::http::header::HeaderValue;
use proptest::prelude::*;

use super::*;

fn trusting(networks: &[&str], header: ForwardedHeader) -> TrustedProxies {
    TrustedProxies::new(networks.iter().map(|text| text.parse().unwrap()).collect(), header)
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn peer(address: &str) -> Option<SocketAddr> {
    Some(SocketAddr::new(address.parse().unwrap(), 1234))
}

fn client(proxies: &TrustedProxies, from: &str, lines: &[(&'static str, &str)]) -> String {
    proxies.origin(peer(from), &headers(lines)).address.unwrap().to_string()
}

const FOR: &str = "x-forwarded-for";

#[test]
fn nobody_but_a_trusted_proxy_is_believed() {
    let proxies = trusting(&["10.0.0.0/8"], ForwardedHeader::XForwardedFor);
    let forged = [(FOR, "1.2.3.4"), ("forwarded", "for=1.2.3.4"), ("x-forwarded-proto", "https")];
    assert_eq!(client(&proxies, "192.0.2.1", &forged), "192.0.2.1");
    assert!(!proxies.origin(peer("192.0.2.1"), &headers(&forged)).is_https);
    let nobody = trusting(&[], ForwardedHeader::XForwardedFor);
    assert_eq!(client(&nobody, "10.0.0.1", &forged), "10.0.0.1");
}

#[test]
fn the_way_is_read_from_the_right_up_to_the_first_who_is_not_trusted() {
    let proxies = trusting(&["10.0.0.0/8", "fd00::1/128"], ForwardedHeader::XForwardedFor);
    for (value, expected) in [
        ("192.0.2.9", "192.0.2.9"),
        ("1.2.3.4, 192.0.2.9", "192.0.2.9"),
        ("1.2.3.4, 192.0.2.9, 10.0.0.7", "192.0.2.9"),
        ("1.2.3.4,192.0.2.9 , fd00::1", "192.0.2.9"),
        // All of them trusted: the first one asked.
        ("10.0.0.9, 10.0.0.8", "10.0.0.9"),
        // What is no address ends the way at the proxy that wrote it.
        ("192.0.2.9, nonsense, 10.0.0.7", "10.0.0.7"),
        ("192.0.2.9, unknown", "10.0.0.1"),
        ("", "10.0.0.1"),
        (",", "10.0.0.1"),
        // Ports, brackets, IPv4 within IPv6.
        ("192.0.2.9:4711", "192.0.2.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.9", "192.0.2.9"),
    ] {
        assert_eq!(client(&proxies, "10.0.0.1", &[(FOR, value)]), expected, "{value}");
    }
    // A second line continues the first one.
    let lines = [(FOR, "1.2.3.4"), (FOR, "192.0.2.9, 10.0.0.7")];
    assert_eq!(client(&proxies, "10.0.0.1", &lines), "192.0.2.9");
    assert_eq!(client(&proxies, "::ffff:10.0.0.1", &lines), "192.0.2.9", "a mapped peer");
    assert_eq!(client(&proxies, "10.0.0.1", &[]), "10.0.0.1");
}

#[test]
fn only_the_header_that_is_set_counts() {
    let lines = [(FOR, "192.0.2.1"), ("forwarded", "for=192.0.2.2;proto=https")];
    let by_old = trusting(&["10.0.0.0/8"], ForwardedHeader::XForwardedFor);
    let by_new = trusting(&["10.0.0.0/8"], ForwardedHeader::Forwarded);
    assert_eq!(client(&by_old, "10.0.0.1", &lines), "192.0.2.1");
    assert!(!by_old.origin(peer("10.0.0.1"), &headers(&lines)).is_https);
    assert_eq!(client(&by_new, "10.0.0.1", &lines), "192.0.2.2");
    assert!(by_new.origin(peer("10.0.0.1"), &headers(&lines)).is_https);
}

#[test]
fn the_forms_of_forwarded_are_read() {
    let proxies = trusting(&["10.0.0.0/8"], ForwardedHeader::Forwarded);
    for (value, expected) in [
        ("for=192.0.2.9", "192.0.2.9"),
        ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
        ("for=\"192.0.2.9:80\";by=10.0.0.2;host=a.example", "192.0.2.9"),
        ("for=1.2.3.4, for=192.0.2.9;proto=http, for=10.0.0.3", "192.0.2.9"),
        ("for=_hidden, for=unknown", "10.0.0.1"),
        ("by=10.0.0.2", "10.0.0.1"),
    ] {
        let lines = [("forwarded", value)];
        assert_eq!(client(&proxies, "10.0.0.1", &lines), expected, "{value}");
    }
}

#[test]
fn the_scheme_is_that_of_the_last_proxy() {
    let proxies = trusting(&["10.0.0.0/8"], ForwardedHeader::XForwardedFor);
    for (value, expected) in [("https", true), ("http", false), ("https, http", false)] {
        let lines = headers(&[(FOR, "192.0.2.1"), ("x-forwarded-proto", value)]);
        assert_eq!(proxies.origin(peer("10.0.0.1"), &lines).is_https, expected, "{value}");
    }
}

proptest! {
    /// Whatever a client writes into the header: the proxy's own entry, the last one, decides.
    #[test]
    fn a_client_cannot_choose_its_address(written in "[ -~]{0,80}") {
        for (header, name, entry) in [
            (ForwardedHeader::XForwardedFor, FOR, "192.0.2.9"),
            (ForwardedHeader::Forwarded, "forwarded", "for=192.0.2.9"),
        ] {
            let proxies = trusting(&["10.0.0.0/8"], header);
            let value = format!("{written}, {entry}");
            prop_assert_eq!(client(&proxies, "10.0.0.1", &[(name, &value)]), "192.0.2.9");
        }
    }
}
