//! How messages are written: as text frames of WebSocket, and as server-sent events. A server's
//! frames have no mask, so that the bytes are equal for all receivers.

use actix_http::ws::{CloseCode, CloseReason, OpCode, Parser};
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A WebSocket.
    Websocket,
    /// Server-sent events.
    Sse,
}

impl Transport {
    /// The value of the metric label `transport`.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::Websocket => "websocket",
            Transport::Sse => "sse",
        }
    }

    /// A whole message. `name` is its type.
    pub fn message(self, name: &str, json: &[u8]) -> Bytes {
        match self {
            Transport::Websocket => frame(json),
            Transport::Sse => {
                let mut event = BytesMut::from(&event(name, json)[..]);
                event.put_u8(b'\n');
                event.freeze()
            }
        }
    }

    /// A whole message of a type with these members.
    pub fn of(self, name: &str, mut members: Value) -> Bytes {
        members["type"] = name.into();
        self.message(name, members.to_string().as_bytes())
    }
}

impl Transport {
    /// A message by which a client drops something that it shows. A browser forgets the id of the
    /// last event with it, as that says that the client has it.
    pub fn dropping(self, name: &str, members: Value) -> Bytes {
        let message = self.of(name, members);
        match self {
            Transport::Websocket => message,
            Transport::Sse => [&b"id:\n"[..], &message].concat().into(),
        }
    }
}

/// A text frame of WebSocket.
pub fn frame(json: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(json.len() + 10);
    Parser::write_message(&mut frame, json, OpCode::Text, true, false);
    frame.freeze()
}

/// An event without the empty line that ends it: an id may come first.
pub fn event(name: &str, json: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(json.len() + name.len() + 16);
    event.put_slice(b"event: ");
    event.put_slice(name.as_bytes());
    event.put_slice(b"\ndata: ");
    event.put_slice(json);
    event.put_u8(b'\n');
    event.freeze()
}

/// A ping.
pub fn ping() -> Bytes {
    Bytes::from_static(&[0x89, 0])
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    Parser::write_message(&mut frame, payload, OpCode::Pong, true, false);
    frame.freeze()
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The client said so, or the connection has served its time: come back at any time.
    Over,
    /// The server stops: come back, after the time that was said.
    Draining,
    /// There are as many clients as there may be: come back later.
    Full,
    /// It is not allowed: do not come back with the same.
    Refused,
}

impl Close {
    /// The close frame.
    pub fn frame(self) -> Bytes {
        let code = match self {
            Close::Over => CloseCode::Normal,
            Close::Draining => CloseCode::Restart,
            Close::Full => CloseCode::Again,
            Close::Refused => CloseCode::Policy,
        };
        let mut frame = BytesMut::new();
        Parser::write_close(&mut frame, Some(CloseReason::from(code)), false);
        frame.freeze()
    }
}

/// An instant as messages show it; null where there is none.
pub fn instant(at_ms: Option<i64>) -> Value {
    at_ms
        .and_then(|at_ms| jiff::Timestamp::from_millisecond(at_ms).ok())
        .map_or(Value::Null, |at| format!("{at:.3}").into())
}
