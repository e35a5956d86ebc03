//! The change stream in Redis: numbered by us without a gap, so that whoever follows it knows what
//! it has missed.
//!
//! Each entry carries its generation (`g`), the run of the server that took it (`r`: its process,
//! and since when it has been the primary) and the payload (`m`); its id is `<number>-0`.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use deadpool_redis::redis::{Cmd, FromRedisValue, Script, Value, cmd};

use super::{Error, Link, connection::Connection, within};
use crate::protocol::Position;

const APPEND: &str = include_str!("append.lua");
const BEGIN: &str = include_str!("begin.lua");
static APPEND_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(APPEND));
static BEGIN_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(BEGIN));

/// Entries that a reader takes at once, at most: with messages of the greatest size some megabytes,
/// which arrive within the time-out, or else fewer are to be taken.
pub const READ_AT_ONCE: usize = 64;

/// Redis looks ten times a second (its `hz`) whose wait is over, where nothing else wakes it: an
/// answer that comes so much later is not late. Nobody waits for a reader, so that its other
/// questions have that time, too: to begin anew costs more.
const WAKES_WITHIN: Duration = Duration::from_millis(250);

/// An epoch's stream.
#[derive(Clone)]
pub struct Stream {
    link: Arc<Link>,
    key: String,
    max_len: usize,
}

impl Stream {
    /// About `max_len` entries are kept: a few more, never fewer.
    pub fn new(link: Arc<Link>, epoch: &str, max_len: usize) -> Self {
        Stream { link, key: format!("facility-summary:{epoch}:changes"), max_len }
    }

    /// Appends all of them, in this order and with no other between them, and answers the position
    /// of the last. `None`, and nothing is appended: the past of the stream cannot be vouched
    /// for, and a generation is to be begun. After an error they may have been appended.
    pub async fn append(&self, payloads: &[impl AsRef<[u8]>]) -> Result<Option<Position>, Error> {
        self.append_since(0, payloads).await
    }

    /// The same, but appends nothing where the stream is still of a generation before this one.
    /// Whoever says what was proven in a generation must not say it to those who follow an
    /// earlier one: they have not heard all of it.
    pub async fn append_since(
        &self,
        generation: i64,
        payloads: &[impl AsRef<[u8]>],
    ) -> Result<Option<Position>, Error> {
        let (max_len, generation) = (self.max_len.to_string(), generation.to_string());
        let own = [max_len.as_bytes(), generation.as_bytes()];
        let arguments: Vec<&[u8]> =
            own.into_iter().chain(payloads.iter().map(AsRef::as_ref)).collect();
        let last: Option<(i64, i64)> =
            self.link.eval("append", &APPEND_SCRIPT, APPEND, &self.key, &arguments).await?;
        Ok(last.map(|(generation, number)| Position { generation, number }))
    }

    /// Begins a generation, whose number nobody else may use, with its first entry. The position is
    /// of another generation where that was begun in the meantime; it is then to be appended
    /// to, or to be followed by a still later one.
    pub async fn begin(&self, generation: i64, payload: &[u8]) -> Result<Position, Error> {
        let generation = generation.to_string();
        let arguments = [generation.as_bytes(), payload];
        let (generation, number) =
            self.link.eval("begin", &BEGIN_SCRIPT, BEGIN, &self.key, &arguments).await?;
        Ok(Position { generation, number })
    }

    /// A reader, with a connection of its own: what blocks would hold up everybody on a shared one.
    pub async fn tail(&self) -> Result<Tail, Error> {
        Ok(Tail {
            connection: self.link.own_connection().await?,
            key: self.key.clone(),
            timeout: self.link.timeout,
        })
    }
}

/// One reader of the stream. After an error, or when a call of its was dropped half-way, another
/// one is to be made.
pub struct Tail {
    connection: Connection,
    key: String,
    timeout: Duration,
}

/// Where to begin to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Read behind this; its generation is that of the entry that comes next.
    pub from: Position,
    /// The last number so far: having read up to it, one has caught up.
    pub last: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    pub position: Position,
    pub payload: Bytes,
}

/// What a reader finds behind its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// In the order of the stream. Whether they follow without a gap is for the reader to judge. An
    /// entry that is not ours, which somebody must have put there by hand, has the generation
    /// 0, which no stream has, and is a gap to any reader.
    Entries(Vec<StreamEntry>),
    /// Nothing new in the time given, and the stream is still the one that holds the reader's
    /// place.
    Nothing,
    /// The stream is gone, or ends before the reader's place: what was read is no proof of anything
    /// that comes.
    Vanished,
}

impl Tail {
    /// Where to begin in order to read the last `replay` entries, or all if there are fewer; `None`
    /// where there are none.
    pub async fn open(&mut self, replay: usize) -> Result<Option<Start>, Error> {
        let Some(last) = self.last_number().await? else { return Ok(None) };
        let replay = i64::try_from(replay).unwrap_or(i64::MAX);
        let from = format!("{}-0", last.saturating_sub(replay).max(0) + 1);
        let found: Vec<RawEntry> = self
            .read(
                cmd("XRANGE").arg(&self.key).arg(from).arg("+").arg("COUNT").arg(1),
                Duration::ZERO,
            )
            .await?;
        let Some(first) = found.into_iter().next().map(entry) else { return Ok(None) };
        let Position { generation, number } = first.position;
        Ok(Some(Start { from: Position { generation, number: number - 1 }, last }))
    }

    /// What stands behind the number `after`, up to `at_once` of it, waiting up to `block` (at
    /// least 1 ms) for the first.
    pub async fn next(
        &mut self,
        after: i64,
        at_once: usize,
        block: Duration,
    ) -> Result<Next, Error> {
        // 0 would be for ever
        let milliseconds = u64::try_from(block.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut command = cmd("XREAD");
        command
            .arg("COUNT")
            .arg(at_once)
            .arg("BLOCK")
            .arg(milliseconds)
            .arg("STREAMS")
            .arg(&self.key)
            .arg(format!("{after}-0"));
        let found: Option<Vec<(String, Vec<RawEntry>)>> = self.read(&command, block).await?;
        let entries: Vec<StreamEntry> =
            found.into_iter().flatten().flat_map(|(_, entries)| entries).map(entry).collect();
        if !entries.is_empty() {
            return Ok(Next::Entries(entries));
        }
        let holds = self.last_number().await?.is_some_and(|last| last >= after);
        Ok(if holds { Next::Nothing } else { Next::Vanished })
    }

    /// The last number ever given; `None` where there is no stream.
    async fn last_number(&mut self) -> Result<Option<i64>, Error> {
        let about: Result<Fields, Error> =
            self.read(cmd("XINFO").arg("STREAM").arg(&self.key), Duration::ZERO).await;
        match about {
            Ok(about) => Ok(about.get("last-generated-id").and_then(text).and_then(number)),
            Err(Error::Refused(error))
                if error.detail().is_some_and(|detail| detail.contains("no such key")) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Runs a command that may take `block` longer than others.
    async fn read<T: FromRedisValue>(
        &mut self,
        command: &Cmd,
        block: Duration,
    ) -> Result<T, Error> {
        let bound = block + self.timeout + WAKES_WITHIN;
        let value = within(bound, self.connection.query(command))
            .await
            .map_err(|_| Error::TimedOut(bound))??;
        T::from_redis_value(value).map_err(|error| Error::Refused(error.into()))
    }
}

type Fields = HashMap<String, Value>;
/// Its id, and what it holds.
type RawEntry = (String, Fields);

fn entry((id, mut fields): RawEntry) -> StreamEntry {
    let generation = fields.get("g").and_then(text).and_then(|text| text.parse().ok());
    let ours = generation.filter(|_| id.ends_with("-0"));
    let payload = match fields.remove("m") {
        Some(Value::BulkString(bytes)) => Some(Bytes::from(bytes)),
        _ => None,
    };
    let position = Position {
        generation: ours.filter(|_| payload.is_some()).unwrap_or(0),
        number: number(&id).unwrap_or(i64::MAX),
    };
    StreamEntry { position, payload: payload.unwrap_or_default() }
}

fn number(id: &str) -> Option<i64> {
    id.split_once('-')?.0.parse().ok()
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}
