//! The change stream in Redis. The service numbers its messages without a gap, so that a follower
//! can detect which messages it has missed.
//!
//! Each entry carries its generation (`g`), the run of the server that took it (`r`: its process,
//! and since when it has been the primary) and the payload (`m`). Its id is `<number>-0`.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use deadpool_redis::redis::{Cmd, FromRedisValue, Script, Value, cmd};

use super::{CommandError, Link, connection::Connection, within};
use crate::protocol::Position;

const APPEND: &str = include_str!("append.lua");
const BEGIN: &str = include_str!("begin.lua");
static APPEND_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(APPEND));
static BEGIN_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(BEGIN));

/// The most entries in one read. With messages of the greatest size they are some megabytes. Where
/// these do not arrive within the time-out, the follower asks for fewer.
pub const READ_AT_ONCE: usize = 64;

/// Redis checks ten times a second (its `hz`) which blocked readers have waited long enough, if
/// nothing else wakes it. So an answer that comes up to this time after the time-out is not late.
/// The other commands of a reader get the same extra time: no request waits for a reader, and a new
/// connection would cost more.
const WAKES_WITHIN: Duration = Duration::from_millis(250);

/// The stream of one epoch.
#[derive(Clone)]
pub struct RedisStream {
    link: Arc<Link>,
    key: String,
    max_len: usize,
}

impl RedisStream {
    /// The stream keeps `max_len` entries or a few more, never fewer.
    pub fn new(link: Arc<Link>, epoch: &str, max_len: usize) -> Self {
        RedisStream { link, key: format!("facility-summary:{epoch}:changes"), max_len }
    }

    /// Appends all payloads in this order, with no other message between them, and returns the
    /// position of the last. `None`: messages of the stream may have been lost, so nothing was
    /// appended, and a new generation has to be begun. After an error the payloads may have been
    /// appended.
    pub async fn append(
        &self,
        payloads: &[impl AsRef<[u8]>],
    ) -> Result<Option<Position>, CommandError> {
        self.append_since(0, payloads).await
    }

    /// Like `append`, but appends nothing (`None`) where the stream is of an earlier generation
    /// than this one. What was proven in a generation must not be announced to followers of an
    /// earlier one, as they have not seen all its messages.
    pub async fn append_since(
        &self,
        generation: i64,
        payloads: &[impl AsRef<[u8]>],
    ) -> Result<Option<Position>, CommandError> {
        let (max_len, generation) = (self.max_len.to_string(), generation.to_string());
        let own = [max_len.as_bytes(), generation.as_bytes()];
        let arguments: Vec<&[u8]> =
            own.into_iter().chain(payloads.iter().map(AsRef::as_ref)).collect();
        let last: Option<(i64, i64)> =
            self.link.eval("append", &APPEND_SCRIPT, APPEND, &self.key, &arguments).await?;
        Ok(last.map(|(generation, number)| Position { generation, number }))
    }

    /// Begins a generation with its first entry. No other generation may have this number. Where
    /// the returned position has another generation, that one was begun meanwhile: the caller
    /// appends to it, or begins a later one.
    pub async fn begin(&self, generation: i64, payload: &[u8]) -> Result<Position, CommandError> {
        let generation = generation.to_string();
        let arguments = [generation.as_bytes(), payload];
        let (generation, number) =
            self.link.eval("begin", &BEGIN_SCRIPT, BEGIN, &self.key, &arguments).await?;
        Ok(Position { generation, number })
    }

    /// A reader with a connection of its own, as a blocking read would delay all commands on a
    /// shared one.
    pub async fn tail(&self) -> Result<Tail, CommandError> {
        Ok(Tail {
            connection: self.link.own_connection().await?,
            key: self.key.clone(),
            timeout: self.link.timeout,
        })
    }
}

/// A reader of the stream. It cannot be used after an error, or after one of its calls was dropped
/// before its end; make a new one.
pub struct Tail {
    connection: Connection,
    key: String,
    timeout: Duration,
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamStart {
    /// The reader reads behind this position. Its generation is that of the entry that comes next.
    pub from: Position,
    /// The last number at the time of opening. A reader that has read up to it has caught up.
    pub last: i64,
}

/// An entry of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// Its place in the stream.
    pub position: Position,
    /// The message, still encoded.
    pub payload: Bytes,
}

/// What a reader finds behind its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamRead {
    /// Entries in the order of the stream. The reader checks whether they follow without a gap. An
    /// entry that another program wrote gets generation 0, which no stream in Redis has, so that
    /// every reader treats it as a gap.
    Entries(Vec<StreamEntry>),
    /// Nothing came in the time given, and the stream still reaches up to the reader's position.
    Nothing,
    /// The stream is gone, or ends before the reader's position. What was read proves nothing about
    /// later entries.
    Vanished,
}

impl Tail {
    /// Where to begin, in order to read the last `replay` entries, or all if there are fewer;
    /// `None` where there are none.
    pub async fn open(&mut self, replay: usize) -> Result<Option<StreamStart>, CommandError> {
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
        Ok(Some(StreamStart { from: Position { generation, number: number - 1 }, last }))
    }

    /// The entries behind the number `after`, at most `at_once`. Waits up to `block` (at least 1
    /// ms) for the first.
    pub async fn next(
        &mut self,
        after: i64,
        at_once: usize,
        block: Duration,
    ) -> Result<StreamRead, CommandError> {
        // 0 would mean without a time limit.
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
            return Ok(StreamRead::Entries(entries));
        }
        let holds = self.last_number().await?.is_some_and(|last| last >= after);
        Ok(if holds { StreamRead::Nothing } else { StreamRead::Vanished })
    }

    /// The last number ever given; `None` where there is no stream.
    async fn last_number(&mut self) -> Result<Option<i64>, CommandError> {
        let about: Result<EntryFields, CommandError> =
            self.read(cmd("XINFO").arg("STREAM").arg(&self.key), Duration::ZERO).await;
        match about {
            Ok(about) => Ok(about.get("last-generated-id").and_then(text).and_then(number)),
            Err(CommandError::Refused(error))
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
    ) -> Result<T, CommandError> {
        let bound = block + self.timeout + WAKES_WITHIN;
        let value = within(bound, self.connection.query(command))
            .await
            .map_err(|_| CommandError::TimedOut(bound))??;
        T::from_redis_value(value).map_err(|error| CommandError::Refused(error.into()))
    }
}

type EntryFields = HashMap<String, Value>;
/// The id of an entry, and its fields.
type RawEntry = (String, EntryFields);

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
