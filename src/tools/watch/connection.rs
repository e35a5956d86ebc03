//! The connection to the service: a WebSocket, or server-sent events where a proxy lets no
//! WebSocket through. reqwest makes it, so that TLS, the roots of the machine and its proxies are
//! those of all other requests.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Upgraded, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sse_stream::SseStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message as Frame,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{CloseFrame, Role},
    },
};

use super::session::{End, SIGN_IN};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
const PROTOCOL: &str = "facility-summary.v1";

/// What comes from the service, and goes there.
pub enum Connection {
    /// A WebSocket.
    Socket(Box<WebSocketStream<Upgraded>>),
    /// Server-sent events. What is followed was said in the request.
    Events(Box<SseStream<reqwest::Body>>),
}

/// What has come.
pub enum Came {
    /// A message.
    Message {
        /// Its JSON.
        text: String,
        /// The id of an event; an empty one takes back those before.
        id: Option<String>,
    },
    /// Something that is none, as a ping.
    Other,
    /// The end, with the close frame of a WebSocket.
    Ended(Option<CloseFrame>),
    /// The connection has failed: why, in words.
    Failed(String),
}

impl Connection {
    /// The next thing that comes.
    pub async fn next(&mut self) -> Came {
        match self {
            Connection::Socket(socket) => match socket.next().await {
                None => Came::Ended(None),
                Some(Ok(Frame::Close(frame))) => Came::Ended(frame),
                Some(Ok(Frame::Text(text))) => Came::Message { text: text.to_string(), id: None },
                Some(Ok(_)) => Came::Other,
                Some(Err(error)) => Came::Failed(in_words(&error)),
            },
            Connection::Events(events) => match events.next().await {
                None => Came::Ended(None),
                Some(Ok(event)) => match event.data {
                    Some(text) => Came::Message { text, id: event.id },
                    None => Came::Other,
                },
                Some(Err(error)) => Came::Failed(in_words(&error)),
            },
        }
    }

    /// Sends a request. The request of server-sent events has said it already.
    ///
    /// # Errors
    /// The connection has failed: why, in words.
    pub async fn send(&mut self, request: &Value) -> Result<(), String> {
        match self {
            Connection::Socket(socket) => {
                let sent = socket.send(Frame::text(request.to_string())).await;
                sent.map_err(|error| in_words(&error))
            }
            Connection::Events(_) => Ok(()),
        }
    }

    /// Whether these are server-sent events.
    pub const fn is_events(&self) -> bool {
        matches!(self, Connection::Events(_))
    }
}

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

    /// Connects: by a WebSocket, else by the server-sent events of this path.
    ///
    /// # Errors
    /// Neither can be had.
    pub async fn open(&self, events: &str, last_id: Option<&str>) -> Result<Connection, End> {
        match self.open_socket().await? {
            Some(socket) => Ok(Connection::Socket(Box::new(socket))),
            None => self.open_events(events, last_id).await,
        }
    }

    /// Opens the WebSocket; `None` where the service was not asked for one: a proxy has left that
    /// out.
    async fn open_socket(&self) -> Result<Option<WebSocketStream<Upgraded>>, End> {
        let key = generate_key();
        let request = self
            .client
            .get(self.at("/v1/live"))
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL)
            .header(header::SEC_WEBSOCKET_KEY, &key);
        let answer = answer_of(request).await?;
        if answer.status() == StatusCode::UPGRADE_REQUIRED {
            return Ok(None);
        }
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(answer).await);
        }
        let accept = answer.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        if accept.is_none_or(|value| value != derive_accept_key(key.as_bytes()).as_str()) {
            return Err(End::Refused(format!("{} speaks no WebSocket", self.url)));
        }
        let upgraded = answer.upgrade().await.map_err(|error| End::Lost(in_words(&error)))?;
        Ok(Some(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await))
    }

    async fn open_events(&self, path: &str, last_id: Option<&str>) -> Result<Connection, End> {
        let mut request = self.client.get(self.at(path));
        if let Some(id) = last_id {
            request = request.header(HeaderName::from_static("last-event-id"), id);
        }
        let answer = answer_of(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(refusal(answer).await);
        }
        let events = SseStream::new(reqwest::Body::from(answer));
        Ok(Connection::Events(Box::new(events)))
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

/// The answer, without its body.
async fn answer_of(request: RequestBuilder) -> Result<Response, End> {
    match tokio::time::timeout(CONNECT, request.send()).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(End::Lost(in_words(&error))),
        Err(_) => Err(End::Lost("no answer came in time".into())),
    }
}

/// What an answer means that is not the one that was asked for.
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
