//! Which address a request comes from: the one that connected, or, where that is a trusted proxy,
//! the one that the proxy names. Nobody else's word counts.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::config::server::ForwardedHeader;

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The proxies that are believed, and the header in which they say who the client is. A proxy
/// passes on what it does not know: where two headers counted, a client could send the other one.
#[derive(Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    reads_forwarded: bool,
}

/// What is known of the way of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin {
    /// The address of the client. `None` where the connection has none.
    pub address: Option<IpAddr>,
    /// Whether a trusted proxy says that the client uses TLS.
    pub is_https: bool,
}

impl TrustedProxies {
    /// Trusts these networks, and reads that header.
    pub fn new(networks: Vec<IpNet>, header: ForwardedHeader) -> Self {
        TrustedProxies { networks, reads_forwarded: header == ForwardedHeader::Forwarded }
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Whether this address is a trusted proxy.
    pub fn has(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Where a request comes from. The header is read from the right: each proxy adds at its end
    /// whom it was asked by. The first address that is no trusted proxy is the client. What is left
    /// of it, anybody may have written. A text that is no address ends the way: the client is then
    /// the proxy that wrote it.
    pub fn origin(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Origin {
        let peer = peer.map(|peer| peer.ip().to_canonical());
        if self.networks.is_empty() || !peer.is_some_and(|peer| self.has(peer)) {
            return Origin { address: peer, is_https: false };
        }
        let name = if self.reads_forwarded { FORWARDED } else { X_FORWARDED_FOR };
        let mut address = peer;
        let mut is_https = !self.reads_forwarded && last_proto_is_https(headers);
        for element in from_the_right(headers, &name) {
            let (node, proto) = match self.reads_forwarded {
                true => element_of_forwarded(element),
                false => (Some(element), None),
            };
            let Some(named) = node.and_then(address_of_node) else { break };
            address = Some(named);
            if let Some(proto) = proto {
                is_https = proto.eq_ignore_ascii_case("https");
            }
            if !self.has(named) {
                break;
            }
        }
        Origin { address, is_https }
    }
}

/// The elements of a list header, of all of its lines, the last one first.
fn from_the_right<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let lines: Vec<&str> =
        headers.get_all(name).map(|line| line.to_str().unwrap_or_default()).collect();
    lines.into_iter().rev().flat_map(|line| line.rsplit(',').map(str::trim))
}

/// What the last proxy says of the client's scheme.
fn last_proto_is_https(headers: &HeaderMap) -> bool {
    let name = X_FORWARDED_PROTO;
    from_the_right(headers, &name).next().is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
}

/// `for` and `proto` of an element of `Forwarded`. A comma or a semicolon within a quoted text is
/// none of an address; such a text is no node then.
fn element_of_forwarded(element: &str) -> (Option<&str>, Option<&str>) {
    let (mut node, mut proto) = (None, None);
    for pair in element.split(';') {
        let Some((name, value)) = pair.trim().split_once('=') else { continue };
        let value = value.trim_matches('"');
        match name {
            name if name.eq_ignore_ascii_case("for") => node = Some(value),
            name if name.eq_ignore_ascii_case("proto") => proto = Some(value),
            _ => {}
        }
    }
    (node, proto)
}

/// The address of a node: with or without a port, an IPv6 address with or without brackets. `None`
/// for `unknown`, for a made-up name, and for anything else.
fn address_of_node(node: &str) -> Option<IpAddr> {
    let bare = node.trim_matches('"');
    let address = match bare.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, port)) if port.is_empty() || port.starts_with(':') => inner.parse().ok(),
        Some(_) => None,
        None => bare.parse().ok().or_else(|| Some(bare.parse::<SocketAddr>().ok()?.ip())),
    };
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
#[path = "client_address_tests.rs"]
mod tests;
