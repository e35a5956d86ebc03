//! Consumes the stream between replicas, from where this one had come.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::{Attachment, Streams, attachment_stage};
use crate::{
    cache::memory::{Consumed, FillToken, Memory},
    directory::Directory,
    metrics::Metrics,
    protocol::{Epoch, Message, Position},
    redis::{Error, Next, READ_AT_ONCE},
    store::Store,
    telemetry::log_repeats::Tell,
};

/// The follower's parts.
pub struct Follower {
    pub streams: Streams,
    /// Messages of before its start that a replica consumes first, to start warm.
    pub replay: usize,
    pub memory: Arc<Memory>,
    pub directory: Arc<Directory>,
    pub store: Arc<dyn Store>,
    pub epoch: Arc<ArcSwapOption<Epoch>>,
    pub attachment: Arc<Attachment>,
    pub metrics: Arc<Metrics>,
}

/// How long to wait for a message before asking whether the stream is still there.
const BLOCK: Duration = Duration::from_millis(500);
/// How long to wait after a failure, and for a first look at the database.
const RETRY: Duration = Duration::from_millis(100);

impl Follower {
    /// Follows until it is told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        // Side by side: a database that is away does not keep the stream from being followed.
        let work = || async {
            tokio::join!(
                self.follow_for_ever(),
                self.directory.read_what_is_heard_of(&*self.store),
                attachment_stage::tell_for_ever(&self.attachment)
            )
        };
        while stop.run_until_cancelled(AssertUnwindSafe(work()).catch_unwind()).await.is_some() {
            self.metrics.panics.inc();
            tracing::error!("the follower of the change stream panicked; it begins anew");
            self.attachment.fall_behind();
            self.memory.start_new_session(Some(Position::default()));
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn follow_for_ever(&self) {
        // The history, and the number of the message that was consumed last of it.
        let mut place: Option<(Arc<Epoch>, i64)> = None;
        let mut at_once = READ_AT_ONCE;
        loop {
            match self.epoch.load_full() {
                None => {}
                Some(epoch) => {
                    let after =
                        place.take().filter(|(of, _)| *of == epoch).map(|(_, number)| number);
                    let after = self.follow(&epoch, after, &mut at_once).await;
                    place = after.map(|number| (epoch, number));
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Follows one history until it is left or the connection breaks. Answers how far it came; none
    /// where that means nothing any more.
    async fn follow(
        &self,
        epoch: &Arc<Epoch>,
        after: Option<i64>,
        at_once: &mut usize,
    ) -> Option<i64> {
        let mut after = after;
        match self.follow_from(epoch, &mut after, at_once).await {
            Ok(()) => drop(self.attachment.fall_behind()),
            Err(error) => {
                if self.attachment.fail(&error) {
                    tracing::warn!(%error, "the change stream cannot be read; what is held counts as fresh for a short while only");
                }
                if let Error::TimedOut(_) = error {
                    // Perhaps the way to Redis is too narrow for so much in that time: with the
                    // same again it would never get through.
                    *at_once = (*at_once / 2).max(1);
                }
            }
        }
        after
    }

    async fn follow_from(
        &self,
        epoch: &Arc<Epoch>,
        place: &mut Option<i64>,
        at_once: &mut usize,
    ) -> Result<(), Error> {
        let mut tail = self.streams.of(epoch).tail().await?;
        let start = tail.open(self.replay).await?;
        let last = start.map_or(0, |start| start.last);
        let mut after = place.or(start.map(|start| start.from.number)).unwrap_or(0);
        *place = Some(after);
        self.come_to(after, last);
        loop {
            // Taken before the look at which history is served: what is read of this one counts no
            // more once another is.
            let (token, directory_epoch) = (self.memory.fill_token(), self.directory.epoch());
            self.tell_whole();
            if self.epoch.load().as_ref().is_none_or(|current| current != epoch) {
                return Ok(());
            }
            match tail.next(after, *at_once, BLOCK).await? {
                Next::Entries(entries) => {
                    *at_once = (*at_once + 1).min(READ_AT_ONCE);
                    for entry in entries {
                        self.take(&token, directory_epoch, entry.position, &entry.payload);
                        after = entry.position.number;
                    }
                    *place = Some(after);
                    self.come_to(after, last);
                }
                Next::Nothing => self.attachment.catch_up(),
                // Nothing has ever been read of it: it is yet to begin.
                Next::Vanished if after == 0 => self.attachment.catch_up(),
                Next::Vanished => {
                    self.lose_place();
                    *place = None;
                    return Ok(());
                }
            }
        }
    }

    /// Takes note that the stream was read up to that number; `last` was its last when reading
    /// began.
    fn come_to(&self, number: i64, last: i64) {
        match last - number {
            1.. => self.attachment.read_on(last - number),
            _ => self.attachment.catch_up(),
        }
    }

    /// The stream has gone back behind what was consumed of it.
    fn lose_place(&self) {
        self.tell_gap(
            "vanished",
            Position::default(),
            "the change stream has lost what was read of it; what is held is proven anew",
        );
        self.memory.start_new_session(Some(Position::default()));
        self.directory.hear(None);
    }

    /// Counts what was missed before that message, and tells it: where it goes on, as with replicas
    /// on two Redis servers, once a minute.
    fn tell_gap(&self, reason: &'static str, next: Position, what: &'static str) {
        self.metrics.stream_gaps.with_label_values(&[reason]).inc();
        let (generation, number) = (next.generation, next.number);
        match self.attachment.gaps.happens(reason) {
            Tell::Begins => tracing::warn!(reason, generation, number, "{what}"),
            Tell::GoesOn(count) => {
                let (times, within_seconds) = (count.times, count.within.as_secs());
                tracing::warn!(
                    reason,
                    generation,
                    number,
                    times,
                    within_seconds,
                    "the change stream goes on to lose messages"
                );
            }
            Tell::Nothing => tracing::debug!(reason, generation, number, "{what}"),
        }
    }

    /// Tells where nothing was missed any more for a while.
    fn tell_whole(&self) {
        for (reason, count) in self.attachment.gaps.over() {
            let (times, within_seconds) = (count.times, count.within.as_secs());
            tracing::info!(
                reason,
                times,
                within_seconds,
                "no message of the change stream is missed any more"
            );
        }
    }

    fn take(&self, token: &FillToken, directory_epoch: u32, at: Position, payload: &[u8]) {
        self.attachment.note_append();
        let decoded = Message::decode(payload);
        let is_readable = decoded.is_some();
        let message = decoded.unwrap_or(Message::Begun);
        let before = self.memory.fill_token().position;
        // Before memory has it: a watermark that counts there must not find a change of a facility
        // misses_others.
        if let Message::Facilities(ids) = &message {
            self.directory.hear(Some(ids.clone()));
        }
        let consumed = self.memory.consume(token, at, &message);
        if consumed == Consumed::Gap {
            // Also where it is the first message that is read: the directory was loaded before, and
            // what was said in between is misses_others.
            self.directory.hear(None);
        }
        if consumed == Consumed::Gap && before != Position::default() {
            let reason = if before.generation == at.generation { "trimmed" } else { "generation" };
            self.tell_gap(
                reason,
                at,
                "messages of the change stream were missed; what is held is proven anew",
            );
        }
        if !is_readable {
            // It may be about anything: of a newer release, or nobody's.
            self.tell_gap(
                "unreadable",
                at,
                "a message of the change stream cannot be read; what is held is proven anew",
            );
            self.memory.start_new_session(Some(at));
            self.directory.hear(None);
        }
        if let Message::Watermark { at_ms } = message
            && matches!(consumed, Consumed::Next | Consumed::Gap)
        {
            self.directory.prove(directory_epoch, at_ms);
        }
    }
}
