//! One kept-alive HTTP/1.1 connection.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::Failure;

pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// The status, the headers as they came, and the body where the answer has one.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

impl Connection {
    pub async fn open(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, received: Vec::new() })
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        self.send(&request("GET", path, "", b"")).await?;
        self.answer().await
    }

    pub async fn post(
        &mut self,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Answer, Failure> {
        self.send(&request("POST", path, &format!("content-type: {content_type}\r\n"), body))
            .await?;
        self.answer().await
    }

    pub async fn send(&mut self, request: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.write_all(request).await?)
    }

    /// The next answer. The service states every body's length.
    pub async fn answer(&mut self) -> Result<Answer, Failure> {
        loop {
            if let Some((head, length)) = head(&self.received)? {
                while self.received.len() < head + length {
                    self.read_more().await?;
                }
                let status = std::str::from_utf8(&self.received[9..12])?.parse()?;
                let text = std::str::from_utf8(&self.received[..head])?.to_owned();
                let body = self.received[head..head + length].to_vec();
                self.received.drain(..head + length);
                return Ok(Answer { status, head: text, body });
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Result<(), Failure> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err("the service closed the connection before its answer".into()),
            _ => Ok(()),
        }
    }
}

pub fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// Where the head ends, and the length of the body behind it; `None` while the head is incomplete.
pub fn head(received: &[u8]) -> Result<Option<(usize, usize)>, Failure> {
    let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&received[..end])?;
    let length = header(text, "content-length").map(str::parse).transpose()?;
    Ok(Some((end + 4, length.unwrap_or(0))))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
