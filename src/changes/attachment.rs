//! The attachment: how far this replica has come with the change stream. What the replica may
//! conclude from the entries that it holds depends on it.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use super::attachment_stage::AttachmentStage;
use crate::{
    redis::CommandError,
    telemetry::{log_repeats::LogRepeats, log_throttle::LogThrottle},
};

/// How far this replica has come with the change stream.
#[derive(Default)]
pub struct Attachment {
    /// The lowest two bits are one of the four states below. The bits above them count how often
    /// this replica has fallen behind. With this count, work that began before the replica last
    /// fell behind can be recognised.
    state: AtomicU64,
    /// The number of messages in the stream that are yet to be read.
    left: AtomicI64,
    /// Gaps in the stream, by reason. They are logged when they begin and when they end.
    pub(super) gaps: LogRepeats<&'static str>,
    /// Redis refused a message (it is full, or read-only), and no message has arrived since.
    /// Messages of other replicas may not arrive either.
    is_append_failing: AtomicBool,
    /// The errors of reading and of writing that were logged.
    throttle: LogThrottle<Way>,
    errors: Mutex<Errors>,
}

/// The last error of each direction, as text; `None` once all is well.
#[derive(Default, Clone)]
struct Errors {
    reading: Option<String>,
    writing: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    Read,
    Write,
}

/// The stream cannot be read: there is no connection yet, or the last one failed.
const CONNECTING: u64 = 0;
/// The stream holds messages that are yet to be read.
const READING: u64 = 1;
/// Every message in the stream has been read.
const CAUGHT_UP: u64 = 2;
/// Caught up, and a drain snapshot that was taken after that has shown that the database still has
/// every change that the stream contains.
const VERIFIED: u64 = 3;
const STATES: u64 = 4;

/// Proof that the replica had caught up at some instant. It counts while the replica has not fallen
/// behind since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaughtUp(u64);

impl Attachment {
    /// Whether every message in the stream has been read.
    pub fn is_caught_up(&self) -> bool {
        self.caught_up().is_some()
    }

    /// The proof that the replica has caught up; `None` where it has not. The caller takes it
    /// before the drain snapshot that is to verify what was read.
    pub fn caught_up(&self) -> Option<CaughtUp> {
        let state = self.state.load(Ordering::Acquire);
        (state % STATES >= CAUGHT_UP).then_some(CaughtUp(state / STATES))
    }

    /// Whether the replica is attached: it has caught up, is verified, and appends succeed.
    pub fn is_attached(&self) -> bool {
        self.stage() == AttachmentStage::Attached
    }

    /// How far this replica has come.
    pub fn stage(&self) -> AttachmentStage {
        match self.state.load(Ordering::Acquire) % STATES {
            CONNECTING => AttachmentStage::Connecting,
            READING => AttachmentStage::Reading { left: self.left.load(Ordering::Relaxed) },
            CAUGHT_UP => AttachmentStage::Unverified,
            _ if self.is_append_failing.load(Ordering::Acquire) => AttachmentStage::AppendFailing,
            _ => AttachmentStage::Attached,
        }
    }

    /// Records that an append failed. True where this is to be logged as a warning; a breaker that
    /// is open was logged before.
    pub fn note_append_failure(&self, error: &CommandError) -> bool {
        self.is_append_failing.store(true, Ordering::Release);
        self.errors().writing = Some(error.to_string());
        !matches!(error, CommandError::Down(_)) && self.throttle.begins(Way::Write, error)
    }

    /// Records that a message arrived, so that appends succeed again.
    pub(super) fn note_append(&self) {
        if self.is_append_failing.swap(false, Ordering::AcqRel) {
            self.errors().writing = None;
            self.throttle.end(&Way::Write);
        }
    }

    /// Marks the replica as verified by a drain snapshot that began after `since` was taken. This
    /// has no effect where the replica has fallen behind since then, even if it has caught up
    /// again: it has then read messages that this snapshot was not compared with. The next snapshot
    /// decides.
    pub fn verify(&self, since: CaughtUp) {
        let caught_up = since.0 * STATES + CAUGHT_UP;
        let _ = self.state.compare_exchange(
            caught_up,
            since.0 * STATES + VERIFIED,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    /// Records that every message in the stream has been read.
    pub fn catch_up(&self) {
        self.come_to(CAUGHT_UP);
    }

    /// Records that `left` messages are yet to be read.
    pub(super) fn read_on(&self, left: i64) {
        self.left.store(left, Ordering::Relaxed);
        self.come_to(READING);
    }

    fn come_to(&self, stage: u64) {
        let further =
            |state: u64| (state % STATES < stage).then_some(state / STATES * STATES + stage);
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, further);
    }

    /// Records that the stream cannot be read, or that another stream is followed from now on. True
    /// where the replica had caught up before.
    pub fn fall_behind(&self) -> bool {
        let behind = |state: u64| Some((state / STATES + 1) * STATES + CONNECTING);
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, behind);
        before.is_ok_and(|state| state % STATES >= CAUGHT_UP)
    }

    /// Like `fall_behind`, because of an error. True where this is to be logged as a warning, also
    /// where nothing was ever read. An open breaker was logged before; it is logged here only where
    /// the replica had caught up.
    pub(super) fn fail(&self, error: &CommandError) -> bool {
        let had_caught_up = self.fall_behind();
        self.errors().reading = Some(error.to_string());
        (had_caught_up || !matches!(error, CommandError::Down(_)))
            && self.throttle.begins(Way::Read, error)
    }

    /// Records that the replica has been attached for a while. An error that comes after this is a
    /// new one.
    pub(super) fn settle(&self) {
        *self.errors() = Errors::default();
        self.throttle.end(&Way::Read);
        self.throttle.end(&Way::Write);
    }

    /// The error, as text, that keeps this replica at this stage; `None` where no error does.
    pub(super) fn error_at(&self, stage: AttachmentStage) -> Option<String> {
        let errors = self.errors().clone();
        match stage {
            AttachmentStage::Connecting | AttachmentStage::Reading { .. } => errors.reading,
            AttachmentStage::AppendFailing => errors.writing,
            AttachmentStage::Unverified | AttachmentStage::Attached => None,
        }
    }

    fn errors(&self) -> MutexGuard<'_, Errors> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "attachment_tests.rs"]
mod tests;
