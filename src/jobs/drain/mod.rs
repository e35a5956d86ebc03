//! The drain: it refreshes what the marks of other programs' triggers name, and figures with
//! expired units. When everything visible in a drain snapshot is processed, the table is exact as
//! of that snapshot; when all of it is also published, that instant is a watermark for all.
//!
//! One of several servers leads: it drains, and the others only check that it still does. It is
//! safe when several drain at the same time.

mod banks;
mod epoch;
mod failing;
mod failures;
mod generation_contention;
mod marks;
mod noticed;
mod outbox_relay;
mod triggers;
mod watermark;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::{
    cache::memory::{FillToken, Memory},
    changes::{Appended, Attachment, Changes},
    clock::Clock,
    directory::Directory,
    metrics::Metrics,
    protocol::{Message, Watermark},
    service::{lists::Prover, outage::Outage, refresh::Refresher},
    store,
    store::{DrainSnapshot, Store, StoreError},
    telemetry::log_throttle::LogThrottle,
};
pub use epoch::{EpochTracker, Verdict};
pub use failing::Tries;
pub use failures::Failing;
pub use outbox_relay::OutboxRelay;
pub use triggers::{TriggerWatch, Unwatched};
pub use watermark::WatermarkProof;

/// The drain with all parts that it uses.
pub struct Drain {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Runs the refreshes.
    pub refresher: Arc<Refresher>,
    /// Publishes changes, and has this replica's place in the stream.
    pub changes: Arc<Changes>,
    /// The directory of facilities.
    pub directory: Arc<Directory>,
    /// The memory tier, which gets the watermarks.
    pub memory: Arc<Memory>,
    /// The database's clock.
    pub clock: Arc<Clock>,
    /// Records after each drain snapshot whether the database answers.
    pub outage: Arc<Outage>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The most marks, or outbox rows, in one drain snapshot.
    pub batch: usize,
    /// The most facilities that one transaction refreshes.
    pub chunk: usize,
    /// Whether this server leads. Other jobs read it to do what only one of several servers should
    /// do.
    pub leads: Arc<AtomicBool>,
    /// The last generation of the change stream that this server began; 0 for none.
    pub begun: AtomicI64,
    /// Ends a pass after its current step; a later pass, of any server, finds the rest.
    pub stop: CancellationToken,
    /// Limits the log of work that passes leave for later.
    pub throttle: LogThrottle<&'static str>,
    /// Whether the triggers are on, so that the writes of other programs leave marks.
    pub watch: TriggerWatch,
    /// Whether mapped tables of other programs are written without marks.
    pub are_unwatched: Arc<AtomicBool>,
    /// What earlier passes have found about the epoch. The lock lets only one pass run at a time.
    pub tracker: tokio::sync::Mutex<EpochTracker>,
    /// Whether this server has finished its start.
    pub start: FirstPass,
    /// The error that stops the proof, if there is one.
    pub failing: Failing,
    /// When the days were tried again that cannot be counted.
    pub tries: Tries,
}

#[async_trait]
impl Prover for Drain {
    /// Runs one pass. Returns true when nothing more is visible, or when the rest has to wait.
    async fn prove(&self) -> store::Result<bool> {
        Ok(self.run_pass().await? != Pass::More)
    }
}

/// The start of the server: its first run processes everything that was written while no server
/// ran.
pub struct FirstPass {
    begun: Instant,
    is_over: AtomicBool,
}

impl Default for FirstPass {
    fn default() -> Self {
        FirstPass { begun: Instant::now(), is_over: AtomicBool::new(false) }
    }
}

/// How long the start may keep the server from being ready. After that the server is ready in any
/// case: reads of single summaries then matter more than fast listings.
const START: Duration = Duration::from_secs(120);
/// How often a long start is logged.
const LOG_PERIOD: Duration = Duration::from_secs(5);

/// How far a pass came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Everything visible was processed: the table is exact.
    Proven,
    /// More was visible than one drain snapshot takes, or has come meanwhile that counts.
    More,
    /// Some work is left, because another transaction holds a lock or because this server stops. Or
    /// nothing can be proven, because triggers are off.
    Waits,
}

/// A server that does not lead drains anyway when no watermark was announced for this long.
const LEADERLESS: Duration = Duration::from_secs(2);

impl Drain {
    /// One run of the job. It runs passes when this server leads, or when no server seems to lead;
    /// otherwise it only takes a drain snapshot.
    pub async fn run_or_follow(&self) -> store::Result<()> {
        let received = {
            let mut known = self.tracker.lock().await;
            known.receive_watermark(self.memory.watermark_ms());
            known.received_at.elapsed() < LEADERLESS
        };
        let follows =
            received && self.changes.are_between_replicas() && !self.leads.load(Ordering::Acquire);
        let done =
            if follows { self.take_snapshot().await } else { self.run_passes().await.map(drop) };
        self.failing.note(&done);
        if !follows && done.is_ok() {
            self.try_failing().await?;
        }
        // A server that follows waits for the first proof of the leader. When none comes, this
        // server drains itself after `LEADERLESS`.
        if !follows || done.is_err() || self.memory.table_ms() != i64::MIN {
            self.start.is_over.store(true, Ordering::Release);
        }
        done
    }

    /// Whether the start is over: everything that was written while no server ran is processed, or
    /// waits for a lock. True after two minutes in any case.
    pub fn has_started(&self) -> bool {
        self.start.is_over.load(Ordering::Acquire) || self.start.begun.elapsed() >= START
    }

    /// Runs passes until everything is proven, or until some work has to wait.
    pub async fn run_passes(&self) -> store::Result<Pass> {
        let mut told = Instant::now();
        loop {
            match self.run_pass().await? {
                Pass::More if !self.stop.is_cancelled() => {}
                pass => return Ok(pass),
            }
            if told.elapsed() >= LOG_PERIOD {
                told = Instant::now();
                let is_ready = self.has_started();
                tracing::info!(
                    is_ready,
                    "processing many changes of other programs; until that is done, the table is \
                     proven as of before them"
                );
            }
        }
    }

    /// Takes a drain snapshot, which shows the epoch and the other servers. It is used before this
    /// server serves, and whenever another server drains.
    pub async fn take_snapshot(&self) -> store::Result<()> {
        let mut known = self.tracker.lock().await;
        self.snapshot_with_token(&mut known, 0).await.map(drop)
    }

    /// One pass: a drain snapshot, and the work that it shows.
    pub async fn run_pass(&self) -> store::Result<Pass> {
        let mut known = self.tracker.lock().await;
        let (token, mut seen) = self.snapshot_with_token(&mut known, self.batch).await?;
        let marks_visible = seen.marks_visible();
        if self.follow_banks(&seen.strays).await? || self.follow_noticed(&mut seen).await? {
            return Ok(Pass::More);
        }
        if known.missed {
            // Other servers may have registered facilities without a message to this one.
            self.directory.read_all(&*self.store).await?;
        }
        self.metrics.marks_visible.set(marks_visible as i64);
        let mut proof = WatermarkProof::of(&token, &seen);
        proof.record_published(self.publish_outbox(&token, &seen).await?);
        let marks_done = seen.marks.is_empty() || self.process(&seen.marks).await?;
        let (expiries_done, expired) =
            if seen.expiry_due { self.expire(seen.at_ms).await? } else { (true, 0) };
        if !seen.marks.is_empty() || seen.expiry_due {
            // Another server may have refreshed one of these and not published it yet, so the
            // outbox is read again.
            let (again, after) = self.snapshot_with_token(&mut known, self.batch).await?;
            proof.confirm(&after, self.batch);
            proof.record_published(self.publish_outbox(&again, &after).await?);
        }
        let all_seen = expired < self.batch && marks_visible < self.batch;
        // Nothing is proven for what is held now if everything was dropped since the snapshot.
        let all_seen = all_seen && self.memory.is_current(&token);
        proof.record_processed(marks_done && expiries_done && all_seen);
        match (marks_done && expiries_done && seen.triggers.are_trusted(), proof.watermark()) {
            (false, _) => Ok(Pass::Waits),
            (true, None) => Ok(Pass::More),
            (true, Some(watermark)) => {
                self.announce(&mut known, &proof, watermark, &seen).await?;
                Ok(Pass::Proven)
            }
        }
    }

    /// Takes a drain snapshot. Also returns the fill token from before it: this server's place in
    /// the stream at that time.
    async fn snapshot_with_token(
        &self,
        known: &mut EpochTracker,
        limit: usize,
    ) -> store::Result<(FillToken, DrainSnapshot)> {
        loop {
            let caught_up = self.changes.attachment().and_then(Attachment::caught_up);
            let (token, heard_ms, sent) =
                (self.changes.fill_token(), self.memory.watermark_ms(), Instant::now());
            let seen = match self.store.drain_snapshot(limit).await {
                Ok(seen) => seen,
                Err(error) => {
                    self.outage.failed(&error);
                    return Err(error);
                }
            };
            self.clock.sync(seen.at_ms, sent);
            self.outage.over();
            let is_new = self.enter_epoch(known, &seen, (token.position, heard_ms)).await?;
            if is_new {
                continue;
            }
            // This snapshot may itself have had everything dropped; what it shows counts.
            let is_dropped = known.has_new_directory && !self.memory.is_current(&token);
            let token = if is_dropped { self.changes.fill_token() } else { token };
            self.read_directory_of_epoch(known).await?;
            if self.see_triggers(&seen).await? {
                continue;
            }
            if let (Some(caught_up), Some(attachment)) = (caught_up, self.changes.attachment()) {
                attachment.verify(caught_up);
                known.has_read_epoch = true;
            }
            self.leads.store(seen.leads, Ordering::Release);
            if let Some(verified_through_ms) = seen.verified_through_ms {
                self.metrics.verified_through.set(verified_through_ms / 1000);
            }
            return Ok((token, seen));
        }
    }

    /// Announces what a pass has proven: always to readers of the table, and to followers of the
    /// stream if everything is published in it.
    async fn announce(
        &self,
        known: &mut EpochTracker,
        proof: &WatermarkProof,
        watermark: Watermark,
        seen: &DrainSnapshot,
    ) -> store::Result<()> {
        if self.changes.store_watermarks() {
            // The watermark is stored before it is announced. So a database that stores a lower one
            // than was announced has lost something.
            if !self.may_keep_watermark(known, seen).await?
                || !self.store.store_watermark(&watermark, &seen.epoch).await?
            {
                return Ok(());
            }
        }
        self.memory.advance_table(seen.at_ms);
        let Some(announcement) = proof.announcement().filter(|_| !known.several) else {
            return Ok(());
        };
        if known.missed {
            if self.changes.are_between_replicas() {
                // Every follower of this generation has missed the same changes, so a new
                // generation begins. If that is not possible now, the next pass tries again.
                self.begin(seen.generation).await?;
                known.missed = false;
                return Ok(());
            }
            self.memory.start_new_session(None);
            self.changes.miss_others(false);
            known.missed = false;
        }
        let directory_epoch = self.directory.epoch();
        if self.append(seen.generation, &announcement).await?
            && !self.changes.are_between_replicas()
        {
            // Between replicas, each follower of the stream proves its directory itself, when it
            // has read all messages before this one.
            self.directory.prove(directory_epoch, seen.at_ms);
        }
        Ok(())
    }

    /// Appends the message. Returns true when it is in the stream of that generation. When that
    /// stream does not exist, a new generation begins, which the next pass uses.
    async fn append(&self, generation: i64, message: &Message) -> store::Result<bool> {
        match self.changes.append(generation, message).await {
            Ok(Appended::Yes) => Ok(true),
            Ok(Appended::Later) => Ok(false),
            Ok(Appended::NoGeneration) => self.begin(generation).await.map(|()| false),
            // `/health/ready` shows this error, and the follower of the stream logs when it ends.
            Err(_) => Ok(false),
        }
    }

    /// Begins the generation after `generation`.
    async fn begin(&self, generation: i64) -> store::Result<()> {
        let begun = match self.store.begin_generation(generation).await {
            // Another server has just begun it.
            Err(StoreError::Conflict) => return Ok(()),
            begun => begun?,
        };
        self.begun.store(begun, Ordering::Relaxed);
        match self.changes.begin(begun).await {
            // When servers with two streams begin one generation after the other,
            // `GenerationContention` logs that.
            Ok(()) if self.throttle.begins("generations", "begin") => {
                tracing::info!(generation = begun, "a generation of the change stream begins");
            }
            Ok(()) => tracing::debug!(
                generation = begun,
                "another generation of the change stream begins"
            ),
            // This is logged once, as for any message that the stream refuses.
            Err(error) => tracing::debug!(%error, "the change stream could not be begun"),
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "pass_tests.rs"]
mod tests;
