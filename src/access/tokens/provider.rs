//! Asks an identity provider for its keys: by its discovery document (OpenID Connect Discovery 1.0)
//! or at a URL from the settings.

use std::time::Duration;

use reqwest::{Client, Response, Url, redirect::Policy};

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
        let is_local = Url::parse(first).is_ok_and(|url| is_loopback(&url));
        let builder = Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(Policy::custom(|attempt| {
                let is_allowed = follows(&attempt.previous()[0], attempt.url());
                match is_allowed && attempt.previous().len() <= REDIRECTS {
                    true => attempt.follow(),
                    false => attempt.error("a redirect to another scheme, or too many"),
                }
            }))
            .user_agent(concat!("facility-summary/", env!("CARGO_PKG_VERSION")));
        let client = if is_local { builder.no_proxy() } else { builder }.build()?;
        Ok(Provider { issuer: issuer.to_owned(), jwks_url: jwks_url.map(str::to_owned), client })
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

    /// The URL of the keys, as the discovery document says. The document must be about this issuer
    /// (section 4.3), or else one provider could speak for another.
    async fn discover(&self) -> Result<String, FetchError> {
        let base = self.issuer.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let body = self.get(&url).await?;
        let wrong = |what: String| FetchError::new("discovery", format!("{url}: {what}"));
        let document = super::json::object(&body).map_err(|error| wrong(error.to_string()))?;
        let text = |name: &str| document.get(name).and_then(serde_json::Value::as_str);
        if text("issuer") != Some(&self.issuer) {
            let issuer = super::reason::shown_value(document.get("issuer"));
            return Err(wrong(format!("it is about the issuer {issuer}, not {:?}", self.issuer)));
        }
        let keys = text("jwks_uri").ok_or_else(|| wrong("it has no jwks_uri".into()))?;
        let allowed =
            Url::parse(keys).is_ok_and(|to| Url::parse(&url).is_ok_and(|from| follows(&from, &to)));
        match allowed {
            true => Ok(keys.to_owned()),
            false => Err(wrong(format!("its jwks_uri {keys:?} is not https"))),
        }
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
