//! `[server]` and `[limits]`: where the service listens, whom it believes, and how much it takes
//! of one client.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use ipnet::IpNet;
use serde::Deserialize;

use super::{SettingsError, auth::AuthSettings};

/// `[server]`: the HTTP server.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Address and port; port 0 takes a free one.
    pub bind: String,
    /// Address and port of a second listener, for those who watch the service. `None`: what they
    /// ask for is answered at `bind`.
    pub internal_bind: Option<String>,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
    /// A PEM file with the certificate and those that it builds on. `None`: no TLS.
    pub tls_certificate: Option<PathBuf>,
    /// A PEM file with its private key.
    pub tls_key: Option<PathBuf>,
    /// Proxies whose word about the client is believed: addresses and networks, separated by
    /// commas.
    pub trusted_proxies: Option<String>,
    /// The header in which they say it.
    pub forwarded_header: ForwardedHeader,
    /// Origins whose pages may read answers, separated by commas. `None`: only our own.
    pub cors_origins: Option<String>,
    /// HTTP worker threads; 0 means one for each core.
    pub workers: usize,
    /// Connections that each worker accepts at once; further ones wait in the listen queue.
    pub max_connections: usize,
    /// Connections that one address may have at once; 0: no limit. Not applied to proxies.
    pub connections_per_address: usize,
    /// Largest request target, in bytes; a longer one is answered with 414.
    pub max_url: usize,
    /// Largest request body, in bytes; a larger one is answered with 413.
    pub max_body: usize,
    /// How long the head of a request may take to arrive, and then its body, in milliseconds; after
    /// that the answer is 408.
    pub read_timeout_ms: u64,
    /// How long the service still answers new requests after it got the signal to stop, in
    /// milliseconds. It already says that it is not ready, so that balancers can send requests
    /// elsewhere.
    pub drain_delay_ms: u64,
    /// How long requests in flight may take to finish after that, in seconds.
    pub shutdown_timeout_seconds: u64,
}

/// Who may read `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricsAccess {
    /// Everybody who reaches it.
    Open,
    /// Principals with the role `metrics` or `admin`.
    SignedIn,
}

/// The header in which trusted proxies say who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, and `X-Forwarded-Proto`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// `[limits]`: how much the service takes of one client.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Requests a minute; 0: no limit.
    pub requests_per_minute: u32,
    /// Requests that may be under way at once; 0: no limit.
    pub concurrent_requests: u32,
    /// Bytes of posted events a minute; 0: no limit.
    pub event_bytes_per_minute: u32,
}

impl Default for ServerSettings {
    fn default() -> Self {
        ServerSettings {
            bind: "127.0.0.1:8080".into(),
            internal_bind: None,
            metrics: MetricsAccess::Open,
            tls_certificate: None,
            tls_key: None,
            trusted_proxies: None,
            forwarded_header: ForwardedHeader::XForwardedFor,
            cors_origins: None,
            workers: 0,
            max_connections: 25_000,
            connections_per_address: 1_000,
            max_url: 32_768,
            max_body: 1 << 20,
            read_timeout_ms: 10_000,
            drain_delay_ms: 1_000,
            shutdown_timeout_seconds: 15,
        }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        LimitSettings {
            requests_per_minute: 6_000,
            concurrent_requests: 256,
            event_bytes_per_minute: 256 << 20,
        }
    }
}

impl ServerSettings {
    /// The networks of the trusted proxies; an address is a network of one.
    ///
    /// # Errors
    /// One of them is neither.
    pub fn proxies(&self) -> Result<Vec<IpNet>, SettingsError> {
        let texts = self.trusted_proxies.iter().flat_map(|list| list.split(',').map(str::trim));
        texts
            .map(|text| match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
                (Ok(network), _) => Ok(network.trunc()),
                (_, Ok(address)) => Ok(IpNet::from(address.to_canonical())),
                _ => {
                    let right = "must be addresses and networks such as 10.0.0.7, 10.1.0.0/16, \
                                 fd00::/8, separated by commas";
                    Err(SettingsError::new("server.trusted_proxies", &text, right))
                }
            })
            .collect()
    }

    /// The origins of other pages that may read answers.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.cors_origins.iter().flat_map(|list| list.split(',').map(str::trim))
    }

    /// The files of TLS: the certificate and its key.
    pub fn tls(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.tls_certificate.as_ref().zip(self.tls_key.as_ref())
    }

    /// Checks what the list of keys does not say.
    pub(super) fn check(&self, auth: &AuthSettings) -> Result<(), SettingsError> {
        let has_sign_in = auth.is_on();
        let public = check_address("server.bind", &self.bind, has_sign_in)?;
        if let Some(internal) = &self.internal_bind {
            let address = check_address("server.internal_bind", internal, has_sign_in)?;
            if address == public && address.port() != 0 {
                let right = "must be another address or port than server.bind";
                return Err(SettingsError::new("server.internal_bind", internal, right));
            }
        }
        if self.metrics == MetricsAccess::SignedIn && !has_sign_in {
            let right = "needs sign-in: set auth.sign_in = \"on\", or leave it out";
            return Err(SettingsError::new("server.metrics", &"signed_in", right));
        }
        for (key, is_set, other) in [
            ("server.tls_key", self.tls_key.is_some(), self.tls_certificate.is_some()),
            ("server.tls_certificate", self.tls_certificate.is_some(), self.tls_key.is_some()),
        ] {
            if other && !is_set {
                let right = "must be set, too: a certificate and its key belong together";
                return Err(SettingsError::new(key, &"not set", right));
            }
        }
        self.proxies()?;
        self.origins().try_for_each(check_origin)
    }
}

impl LimitSettings {
    /// Checks what involves more than one key.
    pub(super) fn check(&self, server: &ServerSettings) -> Result<(), SettingsError> {
        let bytes = self.event_bytes_per_minute;
        if bytes != 0 && (bytes as usize) < server.max_body {
            let right = format!("must be 0, or at least server.max_body ({})", server.max_body);
            return Err(SettingsError::new("limits.event_bytes_per_minute", &bytes, &right));
        }
        Ok(())
    }
}

/// Refuses what is no address. Without sign-in, refuses every address that other machines can
/// reach: whoever reaches the service may then do everything.
fn check_address(key: &str, text: &str, has_sign_in: bool) -> Result<SocketAddr, SettingsError> {
    let right = match text.parse::<SocketAddr>() {
        Err(_) => "must be an address and a port, such as 127.0.0.1:8080 or [::1]:8080",
        Ok(address) if !address.ip().to_canonical().is_loopback() && !has_sign_in => {
            "must be a loopback address while there is no sign-in: everybody who reaches the \
             service could do everything. For other machines set auth.sign_in = \"on\" \
             (FACILITY_SUMMARY__AUTH__SIGN_IN=on) and make a key with `facility-summary key add`. \
             In a container, too; or give it the host's network (docs/security.md)"
        }
        Ok(address) => return Ok(address),
    };
    Err(SettingsError::new(key, &text, right))
}

/// Refuses what no browser sends as the origin of a page.
fn check_origin(text: &str) -> Result<(), SettingsError> {
    let is_right = reqwest::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "https" | "http") && url.origin().ascii_serialization() == text
    });
    if is_right {
        return Ok(());
    }
    let right = "must be origins such as https://board.example, separated by commas: scheme, host \
                 and port, no path, no * and no \"null\"";
    Err(SettingsError::new("server.cors_origins", &text, right))
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
