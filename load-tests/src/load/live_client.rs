//! One client of live updates: over WebSocket, over server-sent events, or of nginx's nchan module,
//! with which the service is compared.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{Failure, events::id};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Websocket,
    Sse,
    /// A WebSocket of nchan, whose messages are what was published.
    Nchan,
}

pub struct Client {
    stream: TcpStream,
    transport: Transport,
    /// As it came, from the first byte of a frame or chunk on.
    received: Vec<u8>,
    /// Events come in chunks, and not up to the end of the connection.
    is_chunked: bool,
    /// The events of chunks.
    text: Vec<u8>,
}

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

impl Client {
    /// Connects, and follows a facility, or all where there is none.
    pub async fn connect(
        address: &str,
        transport: Transport,
        facility: Option<usize>,
    ) -> Result<Self, Failure> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let subject = facility.map_or("subject=all".to_owned(), |number| match transport {
            Transport::Nchan => format!("id={number}"),
            _ => format!("facility_id={}", id(1, number)),
        });
        let (path, upgrade) = match transport {
            Transport::Websocket => ("/v1/live".to_owned(), UPGRADE),
            Transport::Sse => (format!("/v1/stream?{subject}"), ""),
            Transport::Nchan => (format!("/sub?{subject}"), UPGRADE),
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{upgrade}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut received = Vec::new();
        let end = loop {
            if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if stream.read_buf(&mut received).await? == 0 {
                return Err("closed".into());
            }
        };
        let head = received.drain(..end + 4).collect::<Vec<u8>>().to_ascii_lowercase();
        let is_chunked = head.windows(7).any(|word| word == b"chunked");
        let mut client = Client { stream, transport, received, is_chunked, text: Vec::new() };
        if transport == Transport::Websocket {
            let what = match facility {
                Some(number) => format!("\"facilities\":[\"{}\"]", id(1, number)),
                None => "\"subject\":\"all\"".to_owned(),
            };
            client.send(0x81, &format!("{{\"type\":\"subscribe\",{what}}}")).await?;
        }
        Ok(client)
    }

    /// A mask of zeros leaves the text as it is.
    async fn send(&mut self, first: u8, text: &str) -> Result<(), Failure> {
        let mut frame = vec![first, 0x80 | text.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        Ok(self.stream.write_all(&frame).await?)
    }

    /// The next message.
    pub async fn next(&mut self) -> Result<Vec<u8>, Failure> {
        loop {
            let message = match self.transport {
                Transport::Sse => self.event(),
                _ => self.frame().await?,
            };
            if let Some(message) = message {
                return Ok(message);
            }
            if self.received.is_empty() {
                self.received = Vec::new();
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err("closed".into());
            }
        }
    }

    async fn frame(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        while let Some((opcode, start, end)) = frame_of(&self.received) {
            let message = (opcode == 1).then(|| self.received[start..end].to_vec());
            self.received.drain(..end);
            if opcode == 9 {
                self.send(0x8a, "").await?;
            }
            if message.is_some() {
                return Ok(message);
            }
        }
        Ok(None)
    }

    /// The data of the next event.
    fn event(&mut self) -> Option<Vec<u8>> {
        if !self.is_chunked {
            self.text.append(&mut self.received);
        }
        while let Some((start, end)) = chunk_of(&self.received) {
            self.text.extend_from_slice(&self.received[start..end]);
            self.received.drain(..end + 2);
        }
        while let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
            let data = self.text[..end]
                .split(|byte| *byte == b'\n')
                .find_map(|line| line.strip_prefix(b"data: "))
                .map(<[u8]>::to_vec);
            self.text.drain(..end + 2);
            if data.is_some() {
                return data;
            }
        }
        None
    }
}

fn frame_of(received: &[u8]) -> Option<(u8, usize, usize)> {
    let (opcode, length) = (received.first()? & 15, usize::from(*received.get(1)?));
    let (start, length) = match length {
        126 => (4, usize::from(u16::from_be_bytes(received.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(received.get(2..10)?.try_into().ok()?) as usize),
        length => (2, length),
    };
    (received.len() >= start + length).then_some((opcode, start, start + length))
}

/// Where the first chunk of a body begins and ends, once all of it is there.
fn chunk_of(received: &[u8]) -> Option<(usize, usize)> {
    let start = received.windows(2).position(|two| two == b"\r\n")? + 2;
    let length = std::str::from_utf8(&received[..start - 2]).ok()?;
    let end = start + usize::from_str_radix(length, 16).ok()?;
    (received.len() >= end + 2).then_some((start, end))
}
