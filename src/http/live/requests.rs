//! What WebSocket clients send.

use std::{collections::HashMap, net::IpAddr, rc::Rc, sync::Arc};

use actix_http::ws::{Codec, Frame, Item, ProtocolError};
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::codec::Decoder;
use uuid::Uuid;

use super::subscription::{Asked, subscribe};
use crate::{
    http::{edge::Edge, field_rules},
    live::{
        connection::Connection,
        shard::Shard,
        wire::{self, Close},
    },
};

/// The most bytes of a message.
pub const MOST_BYTES: usize = 16 << 10;

/// Reads frames into messages, and does what they say.
pub struct Requests {
    codec: Codec,
    /// The parts of a message that came in several frames.
    parts: BytesMut,
    /// Something may wait until the client is held up no longer.
    waits: bool,
    /// Where credentials count that are not remembered: for the client's address.
    edge: Arc<Edge>,
    address: Option<IpAddr>,
}

/// A message of a client.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Message {
    Auth { token: String },
    Subscribe(Subscription),
    Unsubscribe(Subscription),
    Ping { id: Option<Value> },
}

#[derive(Deserialize)]
struct Subscription {
    id: Option<Value>,
    #[serde(default)]
    facilities: Vec<String>,
    #[serde(default)]
    known: HashMap<String, String>,
    subject: Option<String>,
    /// The epoch of what is known.
    epoch: Option<String>,
}

impl Requests {
    /// Nothing has come yet from a client at this address.
    pub fn new(edge: Arc<Edge>, address: Option<IpAddr>) -> Self {
        let codec = Codec::new().max_size(MOST_BYTES);
        Requests { codec, parts: BytesMut::new(), waits: false, edge, address }
    }

    /// Whether frames may be there that waited, and wait no longer. Says so once.
    pub fn may_go_on(&mut self, connection: &Connection) -> bool {
        !connection.state().is_held_up && std::mem::take(&mut self.waits)
    }

    /// Does what the frames say that have come, and leaves the rest: what is not whole, and what
    /// stands behind a credential that is being verified, or facilities that are looked up.
    pub fn take(
        &mut self,
        shard: &Rc<Shard>,
        connection: &Rc<Connection>,
        received: &mut BytesMut,
    ) {
        while !connection.is_ending() {
            if connection.state().is_held_up {
                self.waits = true;
                break;
            }
            match self.codec.decode(received) {
                Ok(Some(frame)) => self.frame(shard, connection, frame),
                Ok(None) => break,
                Err(error) => {
                    let (code, detail) = match error {
                        ProtocolError::Overflow => ("message_too_large", TOO_LARGE),
                        _ => ("malformed", "The frame is none of WebSocket (RFC 6455)."),
                    };
                    connection.error(code, detail);
                    connection.end(Close::Refused, shard.ticks_now());
                }
            }
        }
        if connection.is_ending() {
            received.clear();
        }
        if received.is_empty() {
            // A quiet client keeps no buffer.
            *received = BytesMut::new();
        }
    }

    fn frame(&mut self, shard: &Rc<Shard>, connection: &Rc<Connection>, frame: Frame) {
        let was_pinged = {
            let mut state = connection.state();
            state.heard_at = shard.ticks_now();
            let was_pinged = std::mem::take(&mut state.is_pinged);
            if was_pinged {
                state.dead_at = u64::MAX;
            }
            was_pinged
        };
        match frame {
            Frame::Pong(_) if was_pinged => return,
            Frame::Close(_) => return connection.end(Close::Over, shard.ticks_now()),
            _ if !shard.takes_message(connection) => {
                let detail = "More than 100 messages a minute.";
                connection.error("too_many_messages", detail);
                return connection.end(Close::Refused, shard.ticks_now());
            }
            Frame::Pong(_) => return,
            Frame::Ping(payload) => return connection.raw_control(wire::pong(&payload)),
            Frame::Text(text) => return self.text(shard, connection, &text),
            Frame::Binary(_) | Frame::Continuation(Item::FirstBinary(_)) => {
                connection.error("malformed", "Messages are text, in JSON.");
                return connection.end(Close::Refused, shard.ticks_now());
            }
            Frame::Continuation(Item::FirstText(part) | Item::Continue(part)) => {
                self.parts.extend_from_slice(&part);
            }
            Frame::Continuation(Item::Last(part)) => {
                self.parts.extend_from_slice(&part);
                if self.parts.len() <= MOST_BYTES {
                    let whole = std::mem::take(&mut self.parts).freeze();
                    return self.text(shard, connection, &whole);
                }
            }
        }
        if self.parts.len() > MOST_BYTES {
            connection.error("message_too_large", TOO_LARGE);
            connection.end(Close::Refused, shard.ticks_now());
        }
    }

    fn text(&mut self, shard: &Rc<Shard>, connection: &Rc<Connection>, text: &Bytes) {
        let message = match serde_json::from_slice::<Message>(text) {
            Ok(message) => message,
            Err(error) => {
                let detail = format!(
                    "The message cannot be read: {error}. Expected such as \
                     {{\"type\":\"subscribe\",\"id\":1,\"facilities\":[…]}}."
                );
                return connection.error("malformed", &detail);
            }
        };
        match message {
            Message::Ping { id } => {
                connection.control("pong", json!({ "id": id, "now": shard.now() }))
            }
            Message::Auth { token } => self.sign_in(shard, connection, token),
            Message::Subscribe(subscription) => subscribe_as(shard, connection, subscription),
            Message::Unsubscribe(subscription) => unsubscribe(shard, connection, &subscription),
        }
    }
}

impl Requests {
    /// Verifies a credential. What was sent behind it waits for the outcome.
    fn sign_in(&self, shard: &Rc<Shard>, connection: &Rc<Connection>, token: String) {
        connection.state().is_held_up = true;
        let (shard, connection) = (shard.clone(), connection.clone());
        let (edge, address) = (self.edge.clone(), self.address);
        tokio::task::spawn_local(async move {
            let admit = || {
                let admitted = edge.admit_message(address);
                admitted.map_err(|problem| problem.detail().to_owned())
            };
            shard.sign_in(&connection, &token, admit).await;
            connection.goes_on();
            connection.flush(&shard);
        });
    }
}

const TOO_LARGE: &str = "A message has at most 16 KiB: subscribe to facilities in several ones.";

fn subscribe_as(shard: &Rc<Shard>, connection: &Rc<Connection>, subscription: Subscription) {
    let Subscription { id, facilities, known, subject, epoch } = subscription;
    let counts = epoch.is_none_or(|epoch| shard.is_in_epoch(&epoch));
    let known = if counts { known } else { HashMap::new() };
    let asked = Asked { id, facilities, known, subject, resume: None };
    let (shard, connection) = (shard.clone(), connection.clone());
    // What is sent behind it must not overtake it.
    connection.state().is_held_up = true;
    tokio::task::spawn_local(async move {
        subscribe(shard.clone(), connection.clone(), asked).await;
        connection.goes_on();
        connection.flush(&shard);
    });
}

fn unsubscribe(shard: &Rc<Shard>, connection: &Rc<Connection>, subscription: &Subscription) {
    let ids: Vec<Uuid> = match subscription.facilities.is_empty() {
        false => {
            subscription.facilities.iter().filter_map(|id| field_rules::parse_id(id)).collect()
        }
        true => Vec::new(),
    };
    let left: Vec<Uuid> = ids.into_iter().filter(|id| shard.leave(connection, *id)).collect();
    let is_left = match subscription.subject.as_deref() {
        Some("all") => shard.leave_all(connection),
        Some("totals") => connection.state().totals.take().is_some(),
        _ => false,
    };
    let subject = subscription.subject.as_deref().filter(|_| is_left);
    let told = json!({ "id": subscription.id, "facilities": left, "subject": subject });
    connection.control("unsubscribed", told);
}
