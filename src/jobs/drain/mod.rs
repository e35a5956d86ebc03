//! The drain: marks that other writers' triggers left, and figures whose units expired, become
//! refreshes. Once all that was visible at an instant has been dealt with, the table is exact as of
//! that instant; once all of it has come by in the change stream, too, the instant is a watermark
//! for everybody who follows the stream.
//!
//! Of several servers one leads: it drains, and the others look whether that is still so. Any of
//! them may drain at any time all the same.

mod banks;
mod epoch;
mod generation_contention;
mod marks;
mod outbox_relay;
mod triggers;
mod watermark;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::{
    cache::memory::{FillToken, Memory},
    changes::{Appended, Attachment, Changes, Message},
    clock::Clock,
    metrics::Metrics,
    service::{
        directory::Directory, lists::Prover, log_throttle::LogThrottle, outage::Outage,
        refresh::Refresher,
    },
    store::{self, DrainSnapshot, Store, StoreError},
};
pub use epoch::{EpochTracker, Verdict};
pub use outbox_relay::OutboxRelay;
pub use triggers::{Unwatched, Watch};
pub use watermark::WatermarkProof;

pub struct Drain {
    pub store: Arc<dyn Store>,
    pub refresher: Arc<Refresher>,
    pub changes: Arc<Changes>,
    pub directory: Arc<Directory>,
    pub memory: Arc<Memory>,
    pub clock: Arc<Clock>,
    pub outage: Arc<Outage>,
    pub metrics: Arc<Metrics>,
    /// Marks taken in one look, and facilities refreshed in one transaction.
    pub batch: usize,
    pub chunk: usize,
    /// Whether this server leads, for whoever does what only one of several should.
    pub leads: Arc<AtomicBool>,
    /// The generation of the change stream that this server has begun last; 0 for none.
    pub begun: AtomicI64,
    /// Ends passes after the step at hand: what is left is there for whoever looks next.
    pub stop: CancellationToken,
    /// What passes leave for later.
    pub throttle: LogThrottle<&'static str>,
    /// Whether what others write leaves marks.
    pub watch: Watch,
    /// One pass at a time, whoever asks for it.
    pub turn: tokio::sync::Mutex<EpochTracker>,
    pub start: Start,
    pub failing: Failing,
}

/// Since when turns leave something, and the class of the error. Not only because the database is
/// gone: a right that was revoked, a policy that hides rows, or a row that is missing stops the
/// proof as well.
#[derive(Default)]
pub struct Failing(Mutex<Failures>);

#[derive(Default)]
struct Failures {
    /// In the turn at hand.
    met: Option<&'static str>,
    lasting: Option<(Instant, &'static str)>,
}

/// What lasts for shorter is a server that restarts.
const FAILS: Duration = Duration::from_secs(2);

impl Failing {
    /// Takes note of an error that leaves something undone in this turn. A lock that somebody holds
    /// is none: that one ends.
    pub(super) fn meet(&self, error: &StoreError) {
        if !matches!(error, StoreError::Locked(_) | StoreError::Conflict) {
            self.failures().met = Some(error.class());
        }
    }

    /// A turn is over.
    fn note(&self, done: &store::Result<()>) {
        if let Err(error) = done {
            self.meet(error);
        }
        let mut failures = self.failures();
        let since = failures.lasting.map_or_else(Instant::now, |(since, _)| since);
        failures.lasting = failures.met.take().map(|class| (since, class));
    }

    /// The class of the error that stops the proof, while it lasts.
    pub fn class(&self) -> Option<&'static str> {
        self.failures()
            .lasting
            .filter(|(since, _)| since.elapsed() >= FAILS)
            .map(|(_, class)| class)
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Prover for Drain {
    async fn prove(&self) -> store::Result<bool> {
        Ok(self.run_once().await? != Pass::More)
    }
}

/// The first turn, in which all is dealt with that was written while nobody served.
pub struct Start {
    begun: Instant,
    is_over: AtomicBool,
}

impl Default for Start {
    fn default() -> Self {
        Start { begun: Instant::now(), is_over: AtomicBool::new(false) }
    }
}

/// A server is not ready for that long because of it, at most: then its reads of one summary are
/// worth more than listings that are quick.
const START: Duration = Duration::from_secs(120);
/// How often it is told meanwhile.
const TELL: Duration = Duration::from_secs(5);

/// How far a pass came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Everything visible was dealt with: the table is exact.
    Proven,
    /// There was more to see than one look takes.
    More,
    /// Some is left, because somebody holds a lock, or this server stops; or nobody can tell,
    /// because triggers are off.
    Waits,
}

/// A server that does not lead drains all the same once nobody has announced a watermark for that
/// long.
const LEADERLESS: Duration = Duration::from_secs(2);

impl Drain {
    /// One turn: passes where this server leads, or nobody does; otherwise a look.
    pub async fn take_turn(&self) -> store::Result<()> {
        let heard = {
            let mut known = self.turn.lock().await;
            known.hear(self.memory.watermark_ms());
            known.heard_at.elapsed() < LEADERLESS
        };
        let follows =
            heard && self.changes.are_between_replicas() && !self.leads.load(Ordering::Acquire);
        let done = if follows { self.look().await } else { self.run().await.map(drop) };
        self.failing.note(&done);
        // Who follows waits for the first proof of the one that leads; where none comes, it drains
        // by itself in a moment.
        if !follows || done.is_err() || self.memory.table_ms() != i64::MIN {
            self.start.is_over.store(true, Ordering::Release);
        }
        done
    }

    /// Whether what is proven of the table is no more behind than it is in operation: what was
    /// written while nobody served has been dealt with, or has to wait for somebody's lock.
    /// After two minutes in any case.
    pub fn has_started(&self) -> bool {
        self.start.is_over.load(Ordering::Acquire) || self.start.begun.elapsed() >= START
    }

    /// Passes until everything is proven, or something has to wait for a lock.
    pub async fn run(&self) -> store::Result<Pass> {
        let mut told = Instant::now();
        loop {
            match self.run_once().await? {
                Pass::More if !self.stop.is_cancelled() => {}
                pass => return Ok(pass),
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                let is_ready = self.has_started();
                tracing::info!(
                    is_ready,
                    "dealing with much that other programs wrote; until that is done, the table \
                     is proven as of before it"
                );
            }
        }
    }

    /// Looks at which history the database tells, and who else serves: before this server serves,
    /// and wherever another one drains.
    pub async fn look(&self) -> store::Result<()> {
        let mut known = self.turn.lock().await;
        self.observe(&mut known, 0).await.map(drop)
    }

    /// One look, and the work it finds.
    pub async fn run_once(&self) -> store::Result<Pass> {
        let mut known = self.turn.lock().await;
        let (token, seen) = self.observe(&mut known, self.batch).await?;
        if self.follow_banks(&seen.strays).await? {
            return Ok(Pass::More);
        }
        if known.missed {
            // Other servers may have registered some without a trace that reached this one.
            self.directory.catch_up(&*self.store, |_| false).await?;
        }
        self.metrics.marks_visible.set(seen.marks.len() as i64);
        let mut proof = WatermarkProof::of(&token, &seen);
        proof.show(self.show_leftovers(&token, &seen).await?);
        let marks_done = seen.marks.is_empty() || self.deal_with(&seen.marks).await?;
        let (expiries_done, expired) =
            if seen.expiry_due { self.expire(seen.at_ms).await? } else { (true, 0) };
        if !seen.marks.is_empty() || seen.expiry_due {
            // Another server may have dealt with one of these and not have published it yet.
            let (token, after) = self.observe(&mut known, self.batch).await?;
            proof.look_again(&after);
            proof.show(self.show_leftovers(&token, &after).await?);
        }
        let all_seen = expired < self.batch && seen.marks.len() < self.batch;
        proof.deal_with(marks_done && expiries_done && all_seen);
        let pass = match (marks_done && expiries_done && seen.triggers.are_trusted(), all_seen) {
            (false, _) => Pass::Waits,
            (true, false) => Pass::More,
            (true, true) => Pass::Proven,
        };
        if pass == Pass::Proven {
            self.announce(&mut known, &proof, &seen).await?;
        }
        Ok(pass)
    }

    /// What is visible in the database, and where this server was in the stream before it looked.
    async fn observe(
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
            self.read_directory_of_epoch(known).await?;
            if is_new {
                continue;
            }
            if self.see_triggers(&seen).await? {
                continue;
            }
            if let (Some(caught_up), Some(attachment)) = (caught_up, self.changes.attachment()) {
                attachment.verify(caught_up);
                known.is_at_home = true;
            }
            self.leads.store(seen.leads, Ordering::Release);
            if let Some(verified_through_ms) = seen.verified_through_ms {
                self.metrics.verified_through.set(verified_through_ms / 1000);
            }
            return Ok((token, seen));
        }
    }

    /// Tells what a pass has proven: to those who read the table, and to those who follow the
    /// stream if all has come by in it.
    async fn announce(
        &self,
        known: &mut EpochTracker,
        proof: &WatermarkProof,
        seen: &DrainSnapshot,
    ) -> store::Result<()> {
        if let Some(watermark) = proof.watermark().filter(|_| self.changes.store_watermarks()) {
            // Before anybody hears of it: a database that shows less than was heard has lost
            // something.
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
                // What was missed is missing to all that follow this generation. Where none can be
                // begun, the next pass has to.
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
            // ReplicaLink replicas that is for whoever follows the stream to say, once all that
            // came before has been read.
            self.directory.prove(directory_epoch, seen.at_ms);
        }
        Ok(())
    }

    /// Whether the message stands in the stream of that generation now. Where there is none, one
    /// begins, for the next pass to use.
    async fn append(&self, generation: i64, message: &Message) -> store::Result<bool> {
        match self.changes.append(generation, message).await {
            Ok(Appended::Yes) => Ok(true),
            Ok(Appended::Later) => Ok(false),
            Ok(Appended::NoGeneration) => self.begin(generation).await.map(|()| false),
            // Its state is shown by /health/ready, and its end logged by the follower.
            Err(_) => Ok(false),
        }
    }

    /// Reads all facilities of another history.
    async fn read_directory_of_epoch(&self, known: &mut EpochTracker) -> store::Result<()> {
        if known.has_new_directory {
            self.directory.catch_up(&*self.store, |_| false).await?;
            known.has_new_directory = false;
        }
        Ok(())
    }

    /// Begins the generation after this one.
    async fn begin(&self, generation: i64) -> store::Result<()> {
        let begun = match self.store.begin_generation(generation).await {
            Err(StoreError::Conflict) => return Ok(()), // another server has just done so
            begun => begun?,
        };
        self.begun.store(begun, Ordering::Relaxed);
        match self.changes.begin(begun).await {
            // Servers with two streams begin one after the other: that is said by the contention.
            Ok(()) if self.throttle.begins("generations", "begin") => {
                tracing::info!(generation = begun, "a generation of the change stream begins");
            }
            Ok(()) => tracing::debug!(
                generation = begun,
                "another generation of the change stream begins"
            ),
            // Said once, as of any message that the stream does not take.
            Err(error) => tracing::debug!(%error, "the change stream could not be begun"),
        }
        Ok(())
    }
}
