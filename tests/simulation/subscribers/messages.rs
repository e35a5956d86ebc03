//! Takes messages out of the bytes of both transports.

use facility_summary::live::wire::Transport;
use serde_json::Value;

/// A message of the service.
#[derive(Debug)]
pub struct Told {
    /// Its type.
    pub name: String,
    /// Its members.
    pub members: Value,
    /// The id of a server-sent event.
    pub id: Option<String>,
}

/// What a client has received, and not yet taken.
#[derive(Default)]
pub struct Received {
    bytes: Vec<u8>,
}

impl Received {
    /// More bytes have come.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether no part of a message has come.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next whole message; pings are messages without members.
    pub fn next(&mut self, transport: Transport) -> Option<Told> {
        match transport {
            Transport::Websocket => self.next_frame(),
            Transport::Sse => self.next_event(),
        }
    }

    fn next_frame(&mut self) -> Option<Told> {
        let (opcode, length) = (self.bytes.first()? & 15, *self.bytes.get(1)?);
        let (begin, length) = match length {
            126 => {
                let length = self.bytes.get(2..4)?;
                (4, usize::from(u16::from_be_bytes(length.try_into().expect("two bytes"))))
            }
            127 => {
                let length = self.bytes.get(2..10)?;
                (10, u64::from_be_bytes(length.try_into().expect("eight bytes")) as usize)
            }
            length => (2, usize::from(length)),
        };
        let payload = self.bytes.get(begin..begin + length)?.to_vec();
        self.bytes.drain(..begin + length);
        if opcode != 1 {
            return Some(Told { name: "ping".into(), members: Value::Null, id: None });
        }
        let members: Value = serde_json::from_slice(&payload).expect("a message is JSON");
        let name = members["type"].as_str().expect("a message has a type").to_owned();
        Some(Told { name, members, id: None })
    }

    fn next_event(&mut self) -> Option<Told> {
        let end = self.bytes.windows(2).position(|two| two == b"\n\n")?;
        let text: Vec<u8> = self.bytes.drain(..end + 2).collect();
        let text = String::from_utf8(text).expect("events are text");
        let (mut name, mut data, mut id) = (String::new(), Value::Null, None);
        for line in text.lines() {
            match line.split_once(": ") {
                Some(("event", of)) => name = of.to_owned(),
                Some(("data", of)) => data = serde_json::from_str(of).expect("data is JSON"),
                Some(("id", of)) => id = Some(of.to_owned()),
                None if line == "id:" => id = Some(String::new()),
                _ => {}
            }
        }
        Some(Told { name, members: data, id })
    }
}
