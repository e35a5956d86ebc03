//! Where a replica is with the stream between replicas: what may be concluded from what it holds
//! depends on it.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use super::attachment_stage::AttachmentStage;
use crate::{
    redis::Error,
    telemetry::{log_repeats::LogRepeats, log_throttle::LogThrottle},
};

/// Where this replica is with the stream.
#[derive(Default)]
pub struct Attachment {
    /// One of the four below, and above its two bits how often this replica has fallen behind:
    /// what was begun before it last did is known by that.
    state: AtomicU64,
    /// Messages that were in the stream and have not been read.
    left: AtomicI64,
    /// Messages that were missed, by reason: told when that begins and ends.
    pub(super) gaps: LogRepeats<&'static str>,
    /// Redis took no message lately (it is full, or read-only), and none has come by since: what
    /// others have to say may not come by either.
    is_append_failing: AtomicBool,
    /// What was said of them: the errors of reading, and of writing.
    throttle: LogThrottle<Way>,
    errors: Mutex<Errors>,
}

/// The last error each way, in words; none once all is well.
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

/// The stream cannot be read: it has no connection, or the last one failed.
const CONNECTING: u64 = 0;
/// There is more of it than was read.
const READING: u64 = 1;
/// All there was has been read.
const CAUGHT_UP: u64 = 2;
/// And a look at the database since then has found that it has lost nothing of what the stream
/// told.
const VERIFIED: u64 = 3;
const STATES: u64 = 4;

/// That all there was had been read, at some instant, and this replica has not fallen behind since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaughtUp(u64);

impl Attachment {
    pub fn is_caught_up(&self) -> bool {
        self.caught_up().is_some()
    }

    /// To be taken before a look at the database that is to vouch for what was read.
    pub fn caught_up(&self) -> Option<CaughtUp> {
        let state = self.state.load(Ordering::Acquire);
        (state % STATES >= CAUGHT_UP).then_some(CaughtUp(state / STATES))
    }

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

    /// Takes note of a message that the stream did not take. True where that is worth a warning: a
    /// Redis that is left alone was warned of.
    pub fn note_append_failure(&self, error: &Error) -> bool {
        self.is_append_failing.store(true, Ordering::Release);
        self.errors().writing = Some(error.to_string());
        !matches!(error, Error::Down(_)) && self.throttle.begins(Way::Write, error)
    }

    /// Takes note of a message that came by.
    pub(super) fn note_append(&self) {
        if self.is_append_failing.swap(false, Ordering::AcqRel) {
            self.errors().writing = None;
            self.throttle.end(&Way::Write);
        }
    }

    /// Takes note of a look at the database that began after the stream was caught up with. Where
    /// this replica has fallen behind since then, the next look decides, even if it has caught
    /// up again: with more, of which this look knows nothing.
    pub fn verify(&self, since: CaughtUp) {
        let caught_up = since.0 * STATES + CAUGHT_UP;
        let _ = self.state.compare_exchange(
            caught_up,
            since.0 * STATES + VERIFIED,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    /// Takes note that all there was has been read.
    pub fn catch_up(&self) {
        self.come_to(CAUGHT_UP);
    }

    /// Takes note that so many messages are yet to be read.
    pub(super) fn read_on(&self, left: i64) {
        self.left.store(left, Ordering::Relaxed);
        self.come_to(READING);
    }

    fn come_to(&self, stage: u64) {
        let further =
            |state: u64| (state % STATES < stage).then_some(state / STATES * STATES + stage);
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, further);
    }

    /// Takes note that the stream cannot be read, or is another one. True where all had been read
    /// until now.
    pub fn fall_behind(&self) -> bool {
        let behind = |state: u64| Some((state / STATES + 1) * STATES + CONNECTING);
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, behind);
        before.is_ok_and(|state| state % STATES >= CAUGHT_UP)
    }

    /// The same because of an error. True where that is worth a warning, be it that nothing was
    /// ever read: only a Redis that is left alone was warned of before.
    pub(super) fn fail(&self, error: &Error) -> bool {
        let had_caught_up = self.fall_behind();
        self.errors().reading = Some(error.to_string());
        (had_caught_up || !matches!(error, Error::Down(_)))
            && self.throttle.begins(Way::Read, error)
    }

    /// Takes note that it has been attached for a while: an error that comes now is a new one.
    pub(super) fn settle(&self) {
        *self.errors() = Errors::default();
        self.throttle.end(&Way::Read);
        self.throttle.end(&Way::Write);
    }

    /// Why this replica has come no further than to this stage, in words, as far as an error tells.
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
mod tests {
    use std::time::Duration;

    use super::*;

    fn attached() -> Attachment {
        let attachment = Attachment::default();
        attachment.catch_up();
        attachment.verify(attachment.caught_up().unwrap());
        attachment
    }

    #[test]
    fn it_joins_step_by_step_and_no_step_leads_back() {
        let attachment = Attachment::default();
        assert_eq!(
            (attachment.stage(), attachment.caught_up()),
            (AttachmentStage::Connecting, None)
        );
        attachment.read_on(7);
        assert_eq!(
            (attachment.stage(), attachment.caught_up()),
            (AttachmentStage::Reading { left: 7 }, None)
        );
        attachment.catch_up();
        assert_eq!(attachment.stage(), AttachmentStage::Unverified);
        attachment.verify(attachment.caught_up().unwrap());
        attachment.catch_up();
        attachment.read_on(3);
        assert_eq!(
            (attachment.stage(), attachment.is_attached()),
            (AttachmentStage::Attached, true)
        );
        assert!(attachment.fall_behind() && !attachment.fall_behind());
        assert_eq!(attachment.stage(), AttachmentStage::Connecting);
    }

    #[test]
    fn a_look_from_before_it_fell_behind_vouches_for_nothing_it_read_since() {
        let attachment = attached();
        let look = attachment.caught_up().unwrap();
        attachment.fall_behind();
        attachment.verify(look);
        assert_eq!(attachment.stage(), AttachmentStage::Connecting);
        attachment.catch_up();
        attachment.verify(look);
        assert_eq!(attachment.stage(), AttachmentStage::Unverified);
        attachment.verify(attachment.caught_up().unwrap());
        assert_eq!(attachment.stage(), AttachmentStage::Attached);
    }

    #[test]
    fn errors_are_told_when_they_begin_and_when_they_change_also_where_nothing_was_ever_read() {
        let (late, down) = (Error::TimedOut(Duration::from_millis(50)), Error::Down("timeout"));
        let attachment = Attachment::default();
        assert_eq!(
            [&down, &late, &late, &down].map(|error| attachment.fail(error)),
            [false, true, false, false]
        );
        assert_eq!(attachment.error_at(AttachmentStage::Connecting), Some(down.to_string()));
        let attachment = attached();
        assert_eq!(
            [&down, &late, &down].map(|error| attachment.fail(error)),
            [true, true, false],
            "it had been read until then"
        );
        assert_eq!(
            [&late, &late].map(|error| attachment.note_append_failure(error)),
            [true, false]
        );
        attachment.catch_up();
        attachment.verify(attachment.caught_up().unwrap());
        assert_eq!(
            (attachment.stage(), attachment.error_at(AttachmentStage::AppendFailing)),
            (AttachmentStage::AppendFailing, Some(late.to_string()))
        );
        attachment.note_append();
        assert_eq!(
            (attachment.stage(), attachment.error_at(AttachmentStage::AppendFailing)),
            (AttachmentStage::Attached, None)
        );
        assert!(attachment.note_append_failure(&late), "another time");
    }
}
