//! The follower: the task that consumes the change stream of Redis, from the position up to which
//! this replica has consumed it.

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
    redis::{CommandError, READ_AT_ONCE, StreamRead},
    store::Store,
    telemetry::log_repeats::RepeatLog,
};

/// What the follower needs.
pub struct Follower {
    /// The streams of all epochs.
    pub streams: Streams,
    /// The number of older messages that a replica consumes first after its start, so that its
    /// memory is not empty.
    pub replay: usize,
    /// Takes in the messages.
    pub memory: Arc<Memory>,
    /// Records which facilities have changed.
    pub directory: Arc<Directory>,
    /// The facilities are read from here.
    pub store: Arc<dyn Store>,
    /// The epoch that is served; the stream of this epoch is followed.
    pub epoch: Arc<ArcSwapOption<Epoch>>,
    /// How far this replica has come; the follower keeps it up to date.
    pub attachment: Arc<Attachment>,
    /// Counts gaps and panics.
    pub metrics: Arc<Metrics>,
}

/// Time to wait for a message before the follower asks whether the stream still exists.
const BLOCK: Duration = Duration::from_millis(500);
/// Time to wait after a failure, and between two tries until the database was read for the first
/// time.
const RETRY: Duration = Duration::from_millis(100);

impl Follower {
    /// Follows the stream until `stop`. After a panic it begins anew.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        // Concurrently: the stream is followed even while the database is out of reach.
        let work = || async {
            tokio::join!(
                self.follow_for_ever(),
                self.directory.read_what_is_heard_of(&*self.store),
                attachment_stage::log_stage(&self.attachment)
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
        // The epoch that was followed last, and the number of its message that was consumed last.
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

    /// Follows the stream of one epoch until another is served or the connection breaks. Returns
    /// the number of the message consumed last; `None` where that number is no longer valid.
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
                    tracing::warn!(
                        %error,
                        "the change stream cannot be read; what is held counts as fresh for a \
                         short while only"
                    );
                }
                if let CommandError::TimedOut(_) = error {
                    // The network may be too slow for so many messages within the time-out. Asking
                    // for as many again would never succeed.
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
    ) -> Result<(), CommandError> {
        let mut tail = self.streams.of(epoch).tail().await?;
        let start = tail.open(self.replay).await?;
        let last = start.map_or(0, |start| start.last);
        let mut after = place.or(start.map(|start| start.from.number)).unwrap_or(0);
        *place = Some(after);
        self.come_to(after, last);
        loop {
            // The tokens are taken before the check which epoch is served. If another epoch begins
            // after the check, the tokens are of the old one, and what is read then does not count.
            let (token, directory_epoch) = (self.memory.fill_token(), self.directory.epoch());
            self.log_gaps_over();
            if self.epoch.load().as_ref().is_none_or(|current| current != epoch) {
                return Ok(());
            }
            match tail.next(after, *at_once, BLOCK).await? {
                StreamRead::Entries(entries) => {
                    *at_once = (*at_once + 1).min(READ_AT_ONCE);
                    for entry in entries {
                        self.take(&token, directory_epoch, entry.position, &entry.payload);
                        after = entry.position.number;
                    }
                    *place = Some(after);
                    self.come_to(after, last);
                }
                StreamRead::Nothing => self.attachment.catch_up(),
                // Nothing was ever read of the stream: it does not exist yet.
                StreamRead::Vanished if after == 0 => self.attachment.catch_up(),
                StreamRead::Vanished => {
                    self.lose_position();
                    *place = None;
                    return Ok(());
                }
            }
        }
    }

    /// Records that the stream was read up to `number`; `last` was its last number when reading
    /// began.
    fn come_to(&self, number: i64, last: i64) {
        match last - number {
            1.. => self.attachment.read_on(last - number),
            _ => self.attachment.catch_up(),
        }
    }

    /// Begins a new stream session, because the stream now ends before the last message that was
    /// consumed.
    fn lose_position(&self) {
        self.log_gap(
            "vanished",
            Position::default(),
            "the change stream has lost what was read of it; what is held is proven anew",
        );
        self.memory.start_new_session(Some(Position::default()));
        self.directory.note_message(None);
    }

    /// Counts and logs a gap before the message at `next`. While gaps go on, as where replicas use
    /// two Redis servers, they are logged once a minute.
    fn log_gap(&self, reason: &'static str, next: Position, what: &'static str) {
        self.metrics.stream_gaps.with_label_values(&[reason]).inc();
        let (generation, number) = (next.generation, next.number);
        match self.attachment.gaps.happens(reason) {
            RepeatLog::Begins => tracing::warn!(reason, generation, number, "{what}"),
            RepeatLog::GoesOn(count) => {
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
            RepeatLog::Nothing => tracing::debug!(reason, generation, number, "{what}"),
        }
    }

    /// Logs the end of gaps that have not occurred for a while.
    fn log_gaps_over(&self) {
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
        // The directory first, then memory. Otherwise a watermark could count in memory before the
        // directory knows of a facility's change.
        if let Message::Facilities(ids) = &message {
            self.directory.note_message(Some(ids.clone()));
        }
        let consumed = self.memory.consume(token, at, &message);
        if consumed == Consumed::Gap {
            // Runs also for the first message: changes between loading the directory and that
            // message are not known.
            self.directory.note_message(None);
        }
        if consumed == Consumed::Gap && before != Position::default() {
            let reason = if before.generation == at.generation { "trimmed" } else { "generation" };
            self.log_gap(
                reason,
                at,
                "messages of the change stream were missed; what is held is proven anew",
            );
        }
        if !is_readable {
            // It may be about anything: a newer release wrote it, or another program.
            self.log_gap(
                "unreadable",
                at,
                "a message of the change stream cannot be read; what is held is proven anew",
            );
            self.memory.start_new_session(Some(at));
            self.directory.note_message(None);
        }
        if let Message::Watermark { at_ms } = message
            && matches!(consumed, Consumed::Next | Consumed::Gap)
        {
            self.directory.prove(directory_epoch, at_ms);
        }
    }
}
