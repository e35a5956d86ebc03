//! HTTP by hand, for requests that no client library would send.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
};

use serde_json::Value;

use crate::support::PATIENCE;

/// One answer as it came over the wire.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// Asserts a problem of this status that says these words.
    pub fn says(&self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body: Value = serde_json::from_str(&self.body).expect("a problem is JSON");
        assert!(body["status"] == status && self.body.contains(words), "{words:?} not in {self:?}");
    }
}

/// What a client does after it has sent its bytes.
#[derive(Clone, Copy)]
pub enum Then {
    /// Reads until the service closes the connection.
    Listen,
    /// Closes its sending side, and reads.
    HalfClose,
    /// Closes the connection.
    Vanish,
}

/// Sends these bytes on a new connection and returns all answers until the service closes it.
pub fn exchange(address: SocketAddr, bytes: &[u8], then: Then) -> Vec<Answer> {
    let mut stream = TcpStream::connect(address).expect("the service listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    // The service may close the connection before it has read all of a body that is too large.
    let _ = stream.write_all(bytes);
    match then {
        Then::Listen => {}
        Then::HalfClose => stream.shutdown(Shutdown::Write).expect("it is open"),
        Then::Vanish => return Vec::new(),
    }
    let mut received = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => received.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}; so far: {}", String::from_utf8_lossy(&received)),
        }
    }
    answers(&String::from_utf8(received).expect("answers are text"))
}

/// Sends one request that asks to close the connection.
pub fn ask(address: SocketAddr, method: &str, target: &[u8], headers: &[u8]) -> Answer {
    let mut bytes = [
        method.as_bytes(),
        b" ",
        target,
        b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
        headers,
    ]
    .concat();
    bytes.extend_from_slice(b"\r\n");
    exchange(address, &bytes, Then::Listen)
        .pop()
        .unwrap_or_else(|| panic!("no answer to {}", String::from_utf8_lossy(target)))
}

fn answers(mut text: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let status = head
            .get(9..12)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("no status in {head}"));
        let mut answer = Answer { status, head: head.to_owned(), body: String::new() };
        let length: usize =
            answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        answer.body = rest[..length].to_owned();
        text = &rest[length..];
        answers.push(answer);
    }
    answers
}
