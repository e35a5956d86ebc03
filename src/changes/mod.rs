//! The change stream: what was committed, on its way to whoever shows it.
//!
//! Within one process a publication is a call. ReplicaLink replicas it goes over a numbered Redis
//! stream: `publisher.rs` appends to it after the commit, `follower.rs` consumes it, in order.
//! Either way its receivers judge what they get (`cache/memory.rs`), and nothing depends
//! on a publication: what was committed and has not come by lies in the outbox, and the drain
//! publishes it before it announces a watermark.

mod attachment;
mod attachment_stage;
mod follower;
mod message;
mod position;
mod publisher;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwapOption;
use jiff::civil::Date;
use uuid::Uuid;

pub use attachment::{Attachment, CaughtUp};
pub use attachment_stage::AttachmentStage;
pub use follower::Follower;
pub use message::{Message, StoredEntry};
pub use position::Position;
pub use publisher::{Kind, Publication, Publisher};

use crate::{
    cache::memory::{FillToken, Memory},
    domain::summary::SummaryRow,
    redis::{Link, Stream},
    store::{Epoch, TableRead},
};

/// Sends committed rows to the memory tier, and to the other replicas where there are any.
pub struct Changes {
    memory: Arc<Memory>,
    /// The history of the database that is served; none before the first look.
    epoch: Arc<ArcSwapOption<Epoch>>,
    link: Option<ReplicaLink>,
    /// Others serve the same database, and nothing of what they change comes by here.
    misses_others: AtomicBool,
    /// Whether the table is read by others than this process, so that what is proven of it stands
    /// there, too.
    stores_watermark: bool,
    /// The database was found to have older rows than it had, and no look has said so yet.
    doubted: AtomicBool,
}

/// What there is link replicas.
pub struct ReplicaLink {
    pub streams: Streams,
    pub publisher: Publisher,
    pub attachment: Arc<Attachment>,
}

impl ReplicaLink {
    /// Takes note of a message that the stream did not take.
    fn noted<T>(&self, answer: Result<T, crate::redis::Error>) -> Result<T, crate::redis::Error> {
        answer.inspect_err(|error| {
            if self.attachment.note_append_failure(error) {
                tracing::warn!(%error, "the change stream cannot be written; until it can, what is held counts as fresh for a short while only");
            }
        })
    }
}

/// The streams of all histories.
#[derive(Clone)]
pub struct Streams {
    pub link: Arc<Link>,
    /// Messages that a stream keeps, about.
    pub length: usize,
}

impl Streams {
    fn of(&self, epoch: &Epoch) -> Stream {
        Stream::new(self.link.clone(), epoch.name(), self.length)
    }
}

/// What has become of messages that were to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// They stand in the generation that was asked for: whoever follows it will see them.
    Yes,
    /// They stand in a later one: what is known of the earlier says nothing about it.
    Later,
    /// The stream does not exist, has lost its past, or its generation was left: another has to be
    /// begun.
    NoGeneration,
}

impl Appended {
    /// What messages are to those who follow this generation, where the stream answered that they
    /// stand there.
    pub fn in_generation(generation: i64, at: Option<Position>) -> Self {
        match at {
            Some(at) if at.generation == generation => Appended::Yes,
            Some(at) if at.generation > generation => Appended::Later,
            _ => Appended::NoGeneration,
        }
    }
}

impl Changes {
    /// Changes that stay within this process, or go `link` replicas, in the history of the database
    /// named by `epoch`.
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
            doubted: AtomicBool::new(false),
        }
    }

    /// Whether other replicas hear of changes.
    pub fn are_between_replicas(&self) -> bool {
        self.link.is_some()
    }

    /// Whether all later changes will come by here: those of every server do, and the stream link
    /// replicas, if there is one, is followed.
    pub fn is_attached(&self) -> bool {
        !self.misses_others.load(Ordering::Relaxed)
            && self.link.as_ref().is_none_or(|link| link.attachment.is_attached())
    }

    /// Takes note of whether others change what nobody here hears of.
    pub fn miss_others(&self, there_are: bool) {
        self.misses_others.store(there_are, Ordering::Relaxed);
    }

    /// Where this replica is with the stream link replicas.
    pub fn attachment(&self) -> Option<&Attachment> {
        self.link.as_ref().map(|link| &*link.attachment)
    }

    /// To be taken before the transaction, or the read, that rows come from.
    pub fn fill_token(&self) -> FillToken {
        self.memory.fill_token()
    }

    /// Publishes rows whose transaction has committed, without waiting for anybody.
    pub fn publish<'a>(&self, token: &FillToken, rows: impl Iterator<Item = &'a SummaryRow>) {
        self.send(token, rows, true);
    }

    /// Tells that a refresh found these rows unchanged, so that they are exact as of its snapshot.
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
        // Before it is asked whether the token is of the history served: of what was read in the
        // one before nothing goes into the next.
        let Some(epoch) = self.epoch.load_full() else { return };
        let entries = self.memory.take_own(token, rows);
        if !entries.is_empty() {
            let kind = if changed { Kind::Changed(entries) } else { Kind::Unchanged(entries) };
            link.publisher.send(Publication { epoch, kind });
        }
    }

    /// Tells the other replicas of facilities that were registered or changed, without waiting for
    /// anybody.
    pub fn publish_facilities(&self, token: &FillToken, ids: Vec<Uuid>) {
        if let (Some(link), Some(epoch)) = (&self.link, self.epoch.load_full())
            && !ids.is_empty()
            && self.memory.is_current(token)
        {
            link.publisher.send(Publication { epoch, kind: Kind::Facilities(ids) });
        }
    }

    /// Appends a message to the stream if that has come to this generation, and waits until it
    /// stands there.
    pub async fn append(
        &self,
        generation: i64,
        message: &Message,
    ) -> Result<Appended, crate::redis::Error> {
        let (Some(link), Some(epoch)) = (&self.link, self.epoch.load_full()) else {
            self.memory.consume_next(message);
            return Ok(Appended::Yes);
        };
        let appended = link.streams.of(&epoch).append_since(generation, &[message.encode()]).await;
        Ok(Appended::in_generation(generation, link.noted(appended)?))
    }

    /// Begins a generation, whose number no other has.
    pub async fn begin(&self, generation: i64) -> Result<(), crate::redis::Error> {
        if let (Some(link), Some(epoch)) = (&self.link, self.epoch.load_full()) {
            let begun = link.streams.of(&epoch).begin(generation, &Message::Begun.encode()).await;
            link.noted(begun)?;
        }
        Ok(())
    }

    /// Whether this version of the key, or a newer one, has come by in this generation.
    pub fn have_shown(&self, generation: i64, key: &(Uuid, Date), version: i64) -> bool {
        self.memory.has_seen(self.link.as_ref().map(|_| generation), key, version)
    }

    /// The greatest version of the key that is known to have been committed; 0 for none.
    pub fn known_version(&self, key: &(Uuid, Date)) -> i64 {
        self.memory.known_version(key)
    }

    /// Whether what is proven of the table is stored beside its rows.
    pub fn store_watermarks(&self) -> bool {
        self.stores_watermark
    }

    /// Whether the primary answered from the history that is served. `table_ms` was proven of the
    /// table before the read: a database that does not show as much has been set back.
    pub fn continue_in(&self, read: &TableRead, table_ms: i64) -> bool {
        let stored_ms = read.watermark.map_or(i64::MIN, |watermark| watermark.at_ms);
        self.serve(&read.epoch) && (!self.stores_watermark || stored_ms >= table_ms)
    }

    /// Whether this is the history that is served.
    pub fn serve(&self, epoch: &Epoch) -> bool {
        self.epoch.load().as_deref() == Some(epoch)
    }

    /// Whether a history is served already, and another one.
    pub fn serves_another_than(&self, epoch: &Epoch) -> bool {
        self.epoch.load().as_deref().is_some_and(|served| served != epoch)
    }

    /// Serves this history of the database from now on. What was held of another is dropped, and
    /// true answered.
    pub fn enter(&self, epoch: &Epoch) -> bool {
        let before = self.epoch.load_full();
        if before.as_deref() == Some(epoch) {
            return false;
        }
        if before.is_some() {
            // Before the name is changed, so that nothing of the one before is passed on under it;
            self.start_over();
        }
        self.epoch.store(Some(Arc::new(epoch.clone())));
        if before.is_some() {
            // and again after it: meanwhile something may have come in under the old name.
            self.start_over();
        }
        before.is_some()
    }

    /// The database has an older row than one that was committed there: it is not what it was. What
    /// is held is dropped at once, and the next look begins another history.
    pub fn doubt(&self) {
        if !self.doubted.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                "the database has an older row than it had (a backup restored?): everything held \
                 was dropped"
            );
        }
        self.start_over();
    }

    /// Whether there was such a row since this was asked last.
    pub fn take_doubt(&self) -> bool {
        self.doubted.swap(false, Ordering::AcqRel)
    }

    /// Drops what is held: what was proven counts no more.
    pub fn start_over(&self) {
        self.memory.start_over(self.link.as_ref().map(|_| Position::default()));
    }
}
