//! The change stream, which brings committed changes to the memory of each replica.
//!
//! Within one process a publication is a call. Between replicas it goes over a numbered Redis
//! stream: `publisher.rs` appends to it after the commit, and `follower.rs` consumes it in order.
//! In both cases `cache/memory.rs` judges each message. Correctness does not depend on a
//! publication: a change that was committed and is not published is still in the outbox, and the
//! drain publishes it before it announces a watermark.

mod attachment;
mod attachment_stage;
mod follower;
mod publisher;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwapOption;
use uuid::Uuid;

pub use attachment::{Attachment, CaughtUp};
pub use attachment_stage::AttachmentStage;
pub use follower::Follower;
pub use publisher::{Publication, PublicationKind, Publisher};

use crate::{
    cache::memory::{FillToken, Memory},
    domain::summary::{Key, SummaryRow},
    protocol::{Epoch, Message, Position},
    redis::{Link, RedisStream},
    store::TableRead,
};

/// Sends committed rows to the memory tier, and to the other replicas where there are any.
pub struct Changes {
    memory: Arc<Memory>,
    /// The epoch that is served; none before the first drain snapshot.
    epoch: Arc<ArcSwapOption<Epoch>>,
    link: Option<ReplicaLink>,
    /// Another server changes the same database, and its changes do not arrive here.
    misses_others: AtomicBool,
    /// Whether other processes read the table, so that watermarks are stored beside its rows.
    stores_watermark: bool,
    /// `suspect_restore` was called, and no drain snapshot has acted on it yet.
    suspects_restore: AtomicBool,
}

/// What connects this replica with the others.
pub struct ReplicaLink {
    /// The streams of all epochs.
    pub streams: Streams,
    /// Appends what this replica commits.
    pub publisher: Publisher,
    /// How far this replica has come with the stream.
    pub attachment: Arc<Attachment>,
}

impl ReplicaLink {
    /// Records a failed append. Logs a warning when the failure begins.
    fn noted<T>(
        &self,
        answer: Result<T, crate::redis::CommandError>,
    ) -> Result<T, crate::redis::CommandError> {
        answer.inspect_err(|error| {
            if self.attachment.note_append_failure(error) {
                tracing::warn!(
                    %error,
                    "the change stream cannot be written; until it can, what is held counts as \
                     fresh for a short while only"
                );
            }
        })
    }
}

/// Makes the stream of each epoch.
#[derive(Clone)]
pub struct Streams {
    /// The connection to Redis.
    pub link: Arc<Link>,
    /// The number of messages that a stream keeps, approximately.
    pub length: usize,
}

impl Streams {
    fn of(&self, epoch: &Epoch) -> RedisStream {
        RedisStream::new(self.link.clone(), epoch.name(), self.length)
    }
}

/// The result of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// The messages stand in the generation that was asked for; every follower of it will see them.
    Yes,
    /// The messages stand in a later generation, so what is known of the one asked for does not
    /// hold there.
    Later,
    /// Nothing was appended: the stream does not exist, has lost messages, or is of an earlier
    /// generation. A new generation has to be begun.
    NoGeneration,
}

impl Appended {
    /// The result for followers of `generation`. `at` is the position of the last message that
    /// Redis appended; `None`: it appended nothing.
    pub fn in_generation(generation: i64, at: Option<Position>) -> Self {
        match at {
            Some(at) if at.generation == generation => Appended::Yes,
            Some(at) if at.generation > generation => Appended::Later,
            _ => Appended::NoGeneration,
        }
    }
}

impl Changes {
    /// Changes that stay within this process, or go over `link` to the other replicas. `epoch` is
    /// the epoch that is served; `stores_watermark` says whether other processes read the table.
    pub fn new(
        memory: Arc<Memory>,
        epoch: Arc<ArcSwapOption<Epoch>>,
        link: Option<ReplicaLink>,
        stores_watermark: bool,
    ) -> Self {
        Changes {
            memory,
            epoch,
            link,
            misses_others: AtomicBool::new(false),
            stores_watermark,
            suspects_restore: AtomicBool::new(false),
        }
    }

    /// Whether changes go to other replicas.
    pub fn are_between_replicas(&self) -> bool {
        self.link.is_some()
    }

    /// Whether every later change will arrive here: no other server changes the database without
    /// publishing, and the stream between replicas, if there is one, is attached.
    pub fn is_attached(&self) -> bool {
        !self.misses_others.load(Ordering::Relaxed)
            && self.link.as_ref().is_none_or(|link| link.attachment.is_attached())
    }

    /// Records whether another server changes the database without publishing.
    pub fn miss_others(&self, there_are: bool) {
        self.misses_others.store(there_are, Ordering::Relaxed);
    }

    /// How far this replica has come with the stream between replicas; `None` where there is no
    /// such stream.
    pub fn attachment(&self) -> Option<&Attachment> {
        self.link.as_ref().map(|link| &*link.attachment)
    }

    /// The token for rows. The caller takes it before it begins the transaction, or the read, that
    /// the rows come from.
    pub fn fill_token(&self) -> FillToken {
        self.memory.fill_token()
    }

    /// Publishes rows after their transaction has committed. Never waits.
    pub fn publish<'a>(&self, token: &FillToken, rows: impl Iterator<Item = &'a SummaryRow>) {
        self.send(token, rows, true);
    }

    /// Publishes that a refresh found these rows unchanged: they are exact as of its snapshot.
    /// Never waits.
    pub fn confirm<'a>(&self, token: &FillToken, rows: impl Iterator<Item = &'a SummaryRow>) {
        self.send(token, rows, false);
    }

    fn send<'a>(
        &self,
        token: &FillToken,
        rows: impl Iterator<Item = &'a SummaryRow>,
        changed: bool,
    ) {
        let Some(link) = &self.link else {
            self.memory.publish(token, rows);
            return;
        };
        // The epoch is loaded before the token is checked. So rows that were read in one epoch are
        // never published in the next.
        let Some(epoch) = self.epoch.load_full() else { return };
        let entries = self.memory.take_own(token, rows);
        if !entries.is_empty() {
            let kind = if changed {
                PublicationKind::Changed(entries)
            } else {
                PublicationKind::Unchanged(entries)
            };
            link.publisher.send(Publication { epoch, kind });
        }
    }

    /// Sends the ids of facilities that were registered or changed to the other replicas. Never
    /// waits.
    pub fn publish_facilities(&self, token: &FillToken, ids: Vec<Uuid>) {
        if let (Some(link), Some(epoch)) = (&self.link, self.epoch.load_full())
            && !ids.is_empty()
            && self.memory.is_current(token)
        {
            link.publisher.send(Publication { epoch, kind: PublicationKind::Facilities(ids) });
        }
    }

    /// Appends a message, unless the stream is still of an earlier generation than this one. Waits
    /// until Redis has it.
    pub async fn append(
        &self,
        generation: i64,
        message: &Message,
    ) -> Result<Appended, crate::redis::CommandError> {
        let (Some(link), Some(epoch)) = (&self.link, self.epoch.load_full()) else {
            self.memory.consume_next(message);
            return Ok(Appended::Yes);
        };
        let appended = link.streams.of(&epoch).append_since(generation, &[message.encode()]).await;
        Ok(Appended::in_generation(generation, link.noted(appended)?))
    }

    /// Begins a generation in the stream. No other generation has this number.
    pub async fn begin(&self, generation: i64) -> Result<(), crate::redis::CommandError> {
        if let (Some(link), Some(epoch)) = (&self.link, self.epoch.load_full()) {
            let begun = link.streams.of(&epoch).begin(generation, &Message::Begun.encode()).await;
            link.noted(begun)?;
        }
        Ok(())
    }

    /// Whether this version of the key, or a newer one, is published in this generation.
    pub fn have_shown(&self, generation: i64, key: &Key, version: i64) -> bool {
        self.memory.has_seen(self.link.as_ref().map(|_| generation), key, version)
    }

    /// The greatest version of the key that is known to have been committed; 0 for none.
    pub fn known_version(&self, key: &Key) -> i64 {
        self.memory.known_version(key)
    }

    /// Whether watermarks are stored beside the rows of the table.
    pub fn store_watermarks(&self) -> bool {
        self.stores_watermark
    }

    /// Whether the primary answered from the epoch that is served. `table_ms` is the instant as of
    /// which the table was proven before the read. False if the database stores an older watermark
    /// than `table_ms`: it was restored.
    pub fn continue_in(&self, read: &TableRead, table_ms: i64) -> bool {
        let stored_ms = read.watermark.map_or(i64::MIN, |watermark| watermark.at_ms);
        self.serve(&read.epoch) && (!self.stores_watermark || stored_ms >= table_ms)
    }

    /// Whether this epoch is served.
    pub fn serve(&self, epoch: &Epoch) -> bool {
        self.epoch.load().as_deref() == Some(epoch)
    }

    /// Whether an epoch is served, and it is another than this one.
    pub fn serves_another_than(&self, epoch: &Epoch) -> bool {
        self.epoch.load().as_deref().is_some_and(|served| served != epoch)
    }

    /// Serves this epoch from now on. Where another was served before, drops everything held of it,
    /// and returns true.
    pub fn enter(&self, epoch: &Epoch) -> bool {
        let before = self.epoch.load_full();
        if before.as_deref() == Some(epoch) {
            return false;
        }
        if before.is_some() {
            // The first time before the epoch changes: nothing of the old epoch may be published in
            // the new one.
            self.start_over();
        }
        self.epoch.store(Some(Arc::new(epoch.clone())));
        if before.is_some() {
            // The second time after it: something of the old epoch may have been put in between.
            self.start_over();
        }
        before.is_some()
    }

    /// Called when a row is older than a known version. Drops everything held at once; the next
    /// drain snapshot begins another epoch.
    pub fn suspect_restore(&self) {
        if !self.suspects_restore.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                "the database has an older row than it had (a backup restored?): everything held \
                 was dropped"
            );
        }
        self.start_over();
    }

    /// Whether `suspect_restore` was called since the last call of this function.
    pub fn take_suspicion(&self) -> bool {
        self.suspects_restore.swap(false, Ordering::AcqRel)
    }

    /// Drops everything that memory holds; what was proven does not count any more.
    pub fn start_over(&self) {
        self.memory.start_over(self.link.as_ref().map(|_| Position::default()));
    }
}
