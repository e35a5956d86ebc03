//! Asks an identity provider for its keys: by its discovery document (OpenID Connect Discovery 1.0)
//! or at a URL from the settings.

use std::time::Duration;

use reqwest::{Client, Response, Url, redirect::Policy};
use serde_json::{Map, Value};

use super::keys::{self, Key};
use crate::config::auth::{is_loopback, may_fetch};

/// The largest answer that is read, in bytes.
const MOST_BYTES: usize = 1 << 20;

/// The most redirects that are followed.
const REDIRECTS: usize = 3;

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
#[error("{class}: {detail}")]
pub struct FetchError {
    /// One of a few words: `connect`, `timeout`, `tls`, `redirect`, `status`, `too_large`, `body`,
    /// `discovery`, `keys`.
    pub class: &'static str,
    /// For the log.
    pub detail: String,
}

impl FetchError {
    fn new(class: &'static str, detail: impl Into<String>) -> Self {
        FetchError { class, detail: detail.into() }
    }
}

/// Where the keys of one issuer come from.
pub struct Provider {
    issuer: String,
    jwks_url: Option<String>,
    client: Client,
    /// Follows no redirect.
    strict: Client,
}

impl Provider {
    /// A provider; nothing is asked yet. An answer takes at most `timeout`.
    ///
    /// # Errors
    /// This machine has no root certificates.
    pub fn new(
        issuer: &str,
        jwks_url: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, reqwest::Error> {
        let first = jwks_url.unwrap_or(issuer);
        let following = Policy::custom(|attempt| {
            let is_allowed = follows(&attempt.previous()[0], attempt.url());
            match is_allowed && attempt.previous().len() <= REDIRECTS {
                true => attempt.follow(),
                false => attempt.error("a redirect to another scheme, or too many"),
            }
        });
        let strict = client(first, timeout, Policy::none())?;
        let client = client(first, timeout, following)?;
        Ok(Provider {
            issuer: issuer.to_owned(),
            jwks_url: jwks_url.map(str::to_owned),
            client,
            strict,
        })
    }

    /// Its keys, at least one.
    pub async fn fetch(&self) -> Result<Vec<Key>, FetchError> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let body = self.get(&url).await?;
        keys::from_jwks(&body).map_err(|why| FetchError::new("keys", format!("{url}: {why}")))
    }

    /// The URL of the keys, as the discovery document says.
    async fn discover(&self) -> Result<String, FetchError> {
        self.document().await?.url("jwks_uri")
    }

    /// The discovery document. It must be about this issuer (section 4.3), or else one provider
    /// could speak for another.
    pub async fn document(&self) -> Result<Discovered, FetchError> {
        let base = self.issuer.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let body = self.get(&url).await?;
        let wrong = |what: String| FetchError::new("discovery", format!("{url}: {what}"));
        let document = super::json::object(&body).map_err(|error| wrong(error.to_string()))?;
        if document.get("issuer").and_then(Value::as_str) != Some(&self.issuer) {
            let issuer = super::reason::shown_value(document.get("issuer"));
            return Err(wrong(format!("it is about the issuer {issuer}, not {:?}", self.issuer)));
        }
        Ok(Discovered { url, document })
    }

    /// Sends a form, and returns the status and the body. No redirect is followed: the form has
    /// secrets.
    pub async fn post(
        &self,
        url: &str,
        form: String,
        authorization: Option<String>,
    ) -> Result<(u16, Vec<u8>), FetchError> {
        let request = self
            .strict
            .post(url)
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let request = match authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        };
        let response = request.send().await.map_err(|error| of_request(url, &error))?;
        let status = response.status().as_u16();
        Ok((status, body(url, response).await?))
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let request = self.client.get(url).header("accept", "application/json");
        let response = request.send().await.map_err(|error| of_request(url, &error))?;
        if response.status() != 200 {
            let detail = format!("{url} answered {}", response.status());
            return Err(FetchError::new("status", detail));
        }
        body(url, response).await
    }
}

/// A discovery document, and where it was found.
pub struct Discovered {
    url: String,
    document: Map<String, Value>,
}

impl Discovered {
    /// A URL in it, of the same scheme as that of the document.
    pub fn url(&self, name: &str) -> Result<String, FetchError> {
        let wrong = |what: String| FetchError::new("discovery", format!("{}: {what}", self.url));
        let found = self.document.get(name).and_then(Value::as_str);
        let found = found.ok_or_else(|| wrong(format!("it has no {name}")))?;
        let is_allowed = Url::parse(found)
            .is_ok_and(|to| Url::parse(&self.url).is_ok_and(|from| follows(&from, &to)));
        match is_allowed {
            true => Ok(found.to_owned()),
            false => Err(wrong(format!("its {name} {found:?} is not https"))),
        }
    }

    /// Whether something in it is true.
    pub fn says(&self, name: &str) -> bool {
        self.document.get(name) == Some(&Value::Bool(true))
    }

    /// Whether a list in it has this text; `None` where there is no such list.
    pub fn lists(&self, name: &str, text: &str) -> Option<bool> {
        let list = self.document.get(name)?.as_array()?;
        Some(list.iter().any(|one| one.as_str() == Some(text)))
    }
}

/// What asks a provider whose first URL is this one.
fn client(first: &str, timeout: Duration, redirects: Policy) -> Result<Client, reqwest::Error> {
    let is_local = Url::parse(first).is_ok_and(|url| is_loopback(&url));
    let builder = Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout)
        .redirect(redirects)
        .user_agent(concat!("facility-summary/", env!("CARGO_PKG_VERSION")));
    if is_local { builder.no_proxy() } else { builder }.build()
}

/// Whether a provider that was asked at `from` may send us to `to`: https stays https, and only
/// this machine itself may name a plain URL of this machine.
fn follows(from: &Url, to: &Url) -> bool {
    to.scheme() == from.scheme() && may_fetch(to.as_str())
}

/// The body, as long as it is not too large, whatever the answer says about its length.
async fn body(url: &str, mut response: Response) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| of_request(url, &error))? {
        if body.len() + chunk.len() > MOST_BYTES {
            let detail = format!("{url} sent more than {MOST_BYTES} bytes");
            return Err(FetchError::new("too_large", detail));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn of_request(url: &str, error: &reqwest::Error) -> FetchError {
    let chain =
        std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let words: Vec<String> = chain.map(ToString::to_string).collect();
    let is_tls = words.iter().any(|words| words.contains("certificate") || words.contains("TLS"));
    let class = match error {
        _ if error.is_timeout() => "timeout",
        _ if error.is_redirect() => "redirect",
        _ if is_tls => "tls",
        _ if error.is_connect() => "connect",
        _ => "body",
    };
    FetchError::new(class, format!("{url}: {}", words.last().cloned().unwrap_or_default()))
}
