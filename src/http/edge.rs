//! The edge: what is checked before a request is looked at, and what each answer says to browsers.
//! Each listener has its own.

use std::{net::IpAddr, sync::Arc};

use actix_cors::Cors;
use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};

use super::{
    client_address::{Origin, TrustedProxies},
    limits::{Limits, Payer, UnderWay},
    problem::Problem,
    resource_metadata::ResourceMetadata,
};
use crate::{
    access::SignedIn,
    config::{ServerSettings, Settings, SettingsError},
    metrics::Metrics,
};

/// What stands before the handlers of a listener.
pub struct Edge {
    proxies: TrustedProxies,
    /// `None` where there are none: by the settings, or on the internal listener.
    limits: Option<Limits>,
    max_url: usize,
    /// The service itself speaks TLS here.
    has_tls: bool,
    metadata: Option<ResourceMetadata>,
}

/// Put into the data of a connection that is one too many for its address.
pub struct TooMany {
    /// The setting `server.connections_per_address`.
    pub most: usize,
}

/// For answers that are no pages: a browser may load nothing for them, and frame them nowhere.
const NO_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// For the pages of the documentation: their own files only, no inline script. They set styles in
/// attributes, and draw small pictures from `data:`.
const DOCS: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' \
     data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

impl Edge {
    /// The edge of the listener for everybody.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn new(settings: &Settings, metrics: &Arc<Metrics>) -> Result<Self, SettingsError> {
        let server = &settings.server;
        Ok(Edge {
            proxies: TrustedProxies::new(server.proxies()?, server.forwarded_header),
            limits: Limits::new(&settings.limits, metrics),
            max_url: server.max_url,
            has_tls: server.tls().is_some(),
            metadata: ResourceMetadata::new(&settings.auth),
        })
    }

    /// The edge of the listener for those who watch: without limits and TLS.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn internal(settings: &Settings) -> Result<Self, SettingsError> {
        let server = &settings.server;
        Ok(Edge {
            proxies: TrustedProxies::new(server.proxies()?, server.forwarded_header),
            limits: None,
            max_url: server.max_url,
            has_tls: false,
            metadata: None,
        })
    }

    /// What clients may know about signing in here; `None` where there is no issuer, or the URL of
    /// the service is not set.
    pub fn metadata(&self) -> Option<&ResourceMetadata> {
        self.metadata.as_ref()
    }

    /// How many clients have budgets of their own.
    pub fn clients(&self) -> usize {
        self.limits.as_ref().map_or(0, Limits::clients)
    }

    fn origin(&self, request: &HttpRequest) -> Origin {
        self.proxies.origin(request.peer_addr(), request.headers())
    }

    /// The address of the client.
    pub fn client_address(&self, request: &HttpRequest) -> Option<IpAddr> {
        self.origin(request).address
    }

    /// Refuses what is refused whoever sends it. Costs next to nothing.
    ///
    /// # Errors
    /// 414 for a long target; 429 on a connection that is one too many.
    pub fn check(&self, request: &HttpRequest) -> Result<(), Problem> {
        let length = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        if length > self.max_url {
            return Err(Problem::new(
                StatusCode::URI_TOO_LONG,
                format!(
                    "Path and query have {length} bytes; at most {} are taken (setting \
                     server.max_url).",
                    self.max_url
                ),
            ));
        }
        // With the request, where that is the first one and asks for events.
        let of_request = request.extensions().get::<TooMany>().map(|too_many| too_many.most);
        match request.conn_data::<TooMany>().map(|too_many| too_many.most).or(of_request) {
            None => Ok(()),
            Some(most) => Err(Problem::too_many_requests(
                format!(
                    "This address has more than {most} connections (setting \
                     server.connections_per_address). Close some, or use one for more requests."
                ),
                1,
            )),
        }
    }

    /// Takes a request from the budget of who is signed in.
    ///
    /// # Errors
    /// 429: there is nothing left of it.
    pub fn admit(
        &self,
        request: &HttpRequest,
        who: &SignedIn,
    ) -> Result<Option<UnderWay>, Problem> {
        let admit = |limits: &Limits| limits.admit(request, Payer::Principal(who));
        self.limits.as_ref().map(admit).transpose()
    }

    /// Takes a request from the budget of its address, as nobody is signed in yet.
    ///
    /// # Errors
    /// 429: there is nothing left of it.
    pub fn admit_address(&self, request: &HttpRequest) -> Result<Option<UnderWay>, Problem> {
        let admit =
            |limits: &Limits| limits.admit(request, Payer::Address(self.client_address(request)));
        self.limits.as_ref().map(admit).transpose()
    }

    /// The same, for a message of a live client that has something verified as a request has.
    ///
    /// # Errors
    /// 429: there is nothing left of it.
    pub fn admit_message(&self, address: Option<IpAddr>) -> Result<Option<UnderWay>, Problem> {
        let admit = |limits: &Limits| limits.admit_message(Payer::Address(address));
        self.limits.as_ref().map(admit).transpose()
    }

    /// Waits before a refusal for a budget that is used up is sent.
    pub async fn pause(&self, refusal: &Problem) {
        if let Some(limits) = &self.limits
            && refusal.status() == StatusCode::TOO_MANY_REQUESTS
        {
            limits.pause().await;
        }
    }

    /// Takes the bytes of events.
    ///
    /// # Errors
    /// 429: there is nothing left of the budget.
    pub fn take_event_bytes(
        &self,
        request: &HttpRequest,
        who: Option<&SignedIn>,
        bytes: u64,
    ) -> Result<(), Problem> {
        let Some(limits) = &self.limits else { return Ok(()) };
        let payer = match who {
            Some(who) => Payer::Principal(who),
            None => Payer::Address(self.client_address(request)),
        };
        limits.take_event_bytes(payer, bytes)
    }

    /// Adds what browsers are told with each answer, and what is left of the client's budget.
    pub fn finish(&self, request: &HttpRequest, is_docs: bool, response: &mut HttpResponse) {
        let status = response.status();
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        headers.insert(header::CONTENT_SECURITY_POLICY, if is_docs { DOCS } else { NO_PAGE });
        if is_docs {
            headers.insert(header::REFERRER_POLICY, NO_REFERRER);
        }
        if self.has_tls || (!self.proxies.is_empty() && self.origin(request).is_https) {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
        }
        if let Some(limits) = &self.limits {
            limits.add_headers(request, headers);
        }
        if status == StatusCode::UNAUTHORIZED
            && let Some(metadata) = &self.metadata
            && let Some(challenge) = headers.get_mut(header::WWW_AUTHENTICATE)
            && let Some(more) = metadata.challenge(challenge)
        {
            *challenge = more;
        }
    }
}

/// What pages of other origins may do: read answers, and send what clients of our own may send. A
/// browser sends no cookies with it.
pub fn cors(settings: &ServerSettings) -> Cors {
    let exposed = [
        "Age",
        "Cache-Status",
        "ETag",
        "Location",
        "RateLimit",
        "RateLimit-Policy",
        "Retry-After",
        "WWW-Authenticate",
        "X-Request-Id",
    ];
    settings
        .origins()
        .fold(Cors::default(), Cors::allowed_origin)
        .allowed_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE])
        .allowed_headers([
            header::AUTHORIZATION,
            header::CACHE_CONTROL,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers(exposed)
        .block_on_origin_mismatch(false)
        .max_age(3_600)
}
