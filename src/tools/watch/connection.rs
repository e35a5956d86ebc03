//! The connection to the service: reqwest makes it and asks for the upgrade, so that TLS, the roots
//! of the machine and its proxies are those of all other requests.

use std::time::Duration;

use reqwest::{
    Client, Response, StatusCode, Upgraded, Url,
    header::{self, HeaderMap, HeaderValue},
};
use serde::de::DeserializeOwned;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::{client::generate_key, derive_accept_key},
        protocol::Role,
    },
};

use super::session::{End, SIGN_IN};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
const PROTOCOL: &str = "facility-summary.v1";

/// The WebSocket.
pub type Socket = WebSocketStream<Upgraded>;

/// A service, and who asks it.
pub struct Target {
    /// Its address.
    pub url: Url,
    client: Client,
}

impl Target {
    /// Of an address such as `https://summary.example`, and a key or a token.
    ///
    /// # Errors
    /// One of them cannot be used: why, in words.
    pub fn new(url: &str, key: Option<&str>) -> Result<Target, String> {
        let wrong = |why: String| {
            format!("--url {url}: {why}; expected an address such as https://summary.example")
        };
        let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong(format!("the scheme is {}", parsed.scheme())));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(wrong("a credential is no part of a URL, but --key".into()));
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim()))
                .map_err(|_| "--key: it has characters that no key or token has".to_owned())?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let client = Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT)
            // A credential goes where it was meant to go, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Target { url: parsed, client })
    }

    /// Opens the WebSocket.
    pub async fn open(&self) -> Result<Socket, End> {
        let key = generate_key();
        let request = self
            .client
            .get(self.at("/v1/live"))
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL)
            .header(header::SEC_WEBSOCKET_KEY, &key);
        let answer = match tokio::time::timeout(CONNECT, request.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(End::Lost(in_words(&error))),
            Err(_) => return Err(End::Lost("no answer came in time".into())),
        };
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(answer).await);
        }
        let accept = answer.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        if accept.is_none_or(|value| value != derive_accept_key(key.as_bytes()).as_str()) {
            return Err(End::Refused(format!("{} speaks no WebSocket", self.url)));
        }
        let upgraded = answer.upgrade().await.map_err(|error| End::Lost(in_words(&error)))?;
        Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await)
    }

    /// Reads JSON; `None` where it cannot be had.
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let asked = self.client.get(self.at(path)).timeout(CONNECT).send();
        let answer = asked.await.ok()?.error_for_status().ok()?;
        serde_json::from_slice(&answer.bytes().await.ok()?).ok()
    }

    fn at(&self, path: &str) -> Url {
        let base = self.url.path().trim_end_matches('/');
        let mut url = self.url.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
        url.set_path(&format!("{base}{path}"));
        url.set_query(query);
        url
    }
}

/// What an answer other than 101 means.
async fn refusal(answer: Response) -> End {
    let (status, url) = (answer.status(), answer.url().clone());
    let header = |name| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
    let (after, location) = (header(header::RETRY_AFTER), header(header::LOCATION));
    let after = after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let body = answer.bytes().await.unwrap_or_default();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("it gives no reason").to_owned();
    let reason = format!("{url} answers {status}: {detail}");
    match status {
        StatusCode::UNAUTHORIZED => End::Refused(format!("{reason} ({SIGN_IN})")),
        _ if status.is_redirection() => End::Refused(format!(
            "{url} sends elsewhere ({}): name that address in --url",
            location.as_deref().unwrap_or("it does not say where")
        )),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            after.map_or(End::Lost(reason.clone()), |after| End::Told { reason, after })
        }
        _ if status.is_client_error() => End::Refused(reason),
        _ => End::Lost(reason),
    }
}

/// An error with its causes: the outermost one says only that something failed.
pub fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = inner.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_one_is_refused_with_what_would_be_right() {
        for (url, why) in [
            ("summary.example", "relative URL"),
            ("ftp://summary.example", "the scheme is ftp"),
            ("https://anna:secret@summary.example", "no part of a URL"),
        ] {
            let error = Target::new(url, None).err().expect("it is refused");
            assert!(error.contains(why) && error.contains("expected"), "{error}");
        }
        let error = Target::new("http://127.0.0.1", Some("a\nb")).err().expect("it is refused");
        assert!(error.contains("--key") && !error.contains("a\nb"), "{error}");
    }

    #[test]
    fn a_service_may_be_below_a_path_of_a_proxy() {
        let target = Target::new("https://summary.example/blood/", None).expect("it is one");
        let url = target.at("/v1/facilities?limit=500");
        assert_eq!(url.as_str(), "https://summary.example/blood/v1/facilities?limit=500");
    }
}
