//! A WebSocket client, and a reader of server-sent events.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        handshake::client::generate_key,
        http::{HeaderName, HeaderValue},
        protocol::Role,
    },
};
use uuid::Uuid;

use super::document;
use crate::support::{PATIENCE, Service};

/// What comes in time: heartbeats alone would go on for ever.
async fn in_time<T>(what: &str, coming: impl Future<Output = T>) -> T {
    let came = tokio::time::timeout(PATIENCE, coming).await;
    came.unwrap_or_else(|_| panic!("no {what} in time"))
}

/// A connection, with TLS or without.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A client over WebSocket.
pub struct Live {
    pub socket: WebSocketStream<Box<dyn Stream>>,
    /// The types of the messages that have come.
    pub seen: BTreeSet<String>,
}

impl Live {
    /// Connects, with these headers.
    pub async fn try_connect(
        service: &Service,
        headers: &[(&'static str, &str)],
    ) -> Result<Live, tungstenite::Error> {
        Live::try_connect_at(service.address, headers).await
    }

    /// Connects to this address.
    pub async fn try_connect_at(
        address: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> Result<Live, tungstenite::Error> {
        let tcp = TcpStream::connect(address).await.expect("it listens");
        let tcp: Box<dyn Stream> = Box::new(tcp);
        let url = format!("ws://{address}/v1/live");
        let mut request = url.into_client_request().expect("it is a URL");
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("it is a header");
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        client_async(request, tcp).await.map(|(socket, _)| Live { socket, seen: BTreeSet::new() })
    }

    /// Connects by a connection that this client makes, such as one with TLS.
    pub async fn over(client: &reqwest::Client, url: &str) -> Live {
        let request =
            client.get(url).header("Connection", "Upgrade").header("Upgrade", "websocket");
        let request = request.header("Sec-WebSocket-Version", "13");
        let request = request.header("Sec-WebSocket-Key", generate_key());
        let answer = request.send().await.expect("it answers");
        assert_eq!(answer.status(), 101);
        let upgraded: Box<dyn Stream> = Box::new(answer.upgrade().await.expect("it is upgraded"));
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
        Live { socket, seen: BTreeSet::new() }
    }

    /// Connects, and returns the greeting.
    pub async fn connect(service: &Service, headers: &[(&'static str, &str)]) -> (Live, Value) {
        let mut live = Live::try_connect(service, headers).await.expect("it is taken");
        let hello = live.next().await.expect("it is greeted");
        assert_eq!(hello["type"], "hello");
        (live, hello)
    }

    pub async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.expect("it is sent");
    }

    /// Sends all of them in one write.
    pub async fn send_at_once(&mut self, messages: &[Value]) {
        for message in messages {
            self.socket.feed(Message::text(message.to_string())).await.expect("it is taken");
        }
        self.socket.flush().await.expect("they are sent");
    }

    /// The next message; the code of the close frame where the server has ended it.
    pub async fn next(&mut self) -> Result<Value, Option<u16>> {
        loop {
            let read = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match read.expect("a message in time") {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).expect("it is JSON");
                    document::check(&message, "live");
                    self.seen.insert(message["type"].as_str().unwrap_or_default().to_owned());
                    return Ok(message);
                }
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// The next message that is no heartbeat.
    pub async fn news(&mut self) -> Value {
        loop {
            let message = self.next().await.expect("the connection goes on");
            if message["type"] != "heartbeat" {
                return message;
            }
        }
    }

    /// The next message of this type.
    pub async fn until(&mut self, kind: &str) -> Value {
        in_time(kind, async {
            loop {
                let message = self.next().await.expect("the connection goes on");
                if message["type"] == kind {
                    return message;
                }
            }
        })
        .await
    }

    /// The close code, whatever comes before it.
    pub async fn end(&mut self) -> (Vec<Value>, Option<u16>) {
        let mut before = Vec::new();
        in_time("end", async {
            loop {
                match self.next().await {
                    Ok(message) => before.push(message),
                    Err(code) => return (before, code),
                }
            }
        })
        .await
    }

    pub async fn subscribe(&mut self, facilities: &[Uuid]) -> Value {
        self.send(json!({"type": "subscribe", "id": 1, "facilities": facilities})).await;
        self.until("subscribed").await
    }
}

/// A reader of server-sent events.
pub struct Events {
    response: reqwest::Response,
    text: String,
    waiting: VecDeque<Event>,
    /// The names of the events that have come.
    pub seen: BTreeSet<String>,
}

#[derive(Debug, Clone)]
pub struct Event {
    pub name: String,
    pub data: Value,
    pub id: Option<String>,
    pub retry: Option<u64>,
}

impl Events {
    pub async fn open(service: &Service, query: &str, last: Option<&str>) -> Events {
        let mut request = service.request(reqwest::Method::GET, &format!("/v1/stream?{query}"));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        Events::of(request.send().await.expect("it answers"))
    }

    pub fn of(response: reqwest::Response) -> Events {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { response, text: String::new(), waiting: VecDeque::new(), seen: BTreeSet::new() }
    }

    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                // An event without data says only when to come back.
                if !event.data.is_null() {
                    assert_eq!(event.data["type"], event.name.as_str());
                    document::check(&event.data, "stream");
                    self.seen.insert(event.name.clone());
                }
                return Some(event);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.expect("an event in time").expect("the body goes on")?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("it is UTF-8"));
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                self.waiting.push_back(parse(event));
                self.text = rest.to_owned();
            }
        }
    }

    pub async fn until(&mut self, name: &str) -> Event {
        in_time(name, async {
            loop {
                let event = self.next().await.unwrap_or_else(|| panic!("no {name} before the end"));
                if event.name == name {
                    return event;
                }
            }
        })
        .await
    }

    /// Waits until the body breaks off, without its end.
    pub async fn breaks_off(mut self) {
        in_time("break", async {
            while let Ok(chunk) = self.response.chunk().await {
                assert!(chunk.is_some(), "it has ended in order");
            }
        })
        .await;
    }

    /// Whether no summary comes for a while.
    pub async fn is_quiet(&mut self, during: Duration) -> bool {
        let other = async {
            loop {
                match self.next().await {
                    Some(event) if event.name == "summary" => {
                        println!("{event:?}");
                        return;
                    }
                    Some(_) => {}
                    None => return,
                }
            }
        };
        tokio::time::timeout(during, other).await.is_err()
    }
}

fn parse(text: &str) -> Event {
    let mut event = Event { name: String::new(), data: Value::Null, id: None, retry: None };
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.name),
            "data" => event.data = serde_json::from_str(value).expect("it is JSON"),
            "id" => event.id = Some(value.to_owned()),
            "retry" => event.retry = value.parse().ok(),
            other => panic!("{other}"),
        }
    }
    event
}
