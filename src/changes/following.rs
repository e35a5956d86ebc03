//! Where a replica is with the stream between replicas: what may be concluded from what it holds depends on it.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use super::stage::Stage;
use crate::{
    redis::Error,
    service::{repeats::Repeats, troubles::Troubles},
};

/// Where this replica is with the stream.
#[derive(Default)]
pub struct Following {
    /// One of the four below, and above its two bits how often this replica has fallen behind: what was begun before it last did is known
    /// by that.
    state: AtomicU64,
    /// Messages that were in the stream and have not been read.
    left: AtomicI64,
    /// Messages that were missed, by reason: told when that begins and ends.
    pub(super) gaps: Repeats<&'static str>,
    /// Redis took no message lately (it is full, or read-only), and none has come by since: what others have to say may not come by either.
    is_mute: AtomicBool,
    /// What was said of them: the errors of reading, and of writing.
    troubles: Troubles<Way>,
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
/// And a look at the database since then has found that it has lost nothing of what the stream told.
const VOUCHED_FOR: u64 = 3;
const STATES: u64 = 4;

/// That all there was had been read, at some instant, and this replica has not fallen behind since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaughtUp(u64);

impl Following {
    pub fn is_caught_up(&self) -> bool {
        self.caught_up().is_some()
    }

    /// To be taken before a look at the database that is to vouch for what was read.
    pub fn caught_up(&self) -> Option<CaughtUp> {
        let state = self.state.load(Ordering::Acquire);
        (state % STATES >= CAUGHT_UP).then_some(CaughtUp(state / STATES))
    }

    pub fn is_vouched_for(&self) -> bool {
        self.stage() == Stage::Joined
    }

    /// How far this replica has come.
    pub fn stage(&self) -> Stage {
        match self.state.load(Ordering::Acquire) % STATES {
            CONNECTING => Stage::Connecting,
            READING => Stage::Reading { left: self.left.load(Ordering::Relaxed) },
            CAUGHT_UP => Stage::Unvouched,
            _ if self.is_mute.load(Ordering::Acquire) => Stage::Mute,
            _ => Stage::Joined,
        }
    }

    /// Takes note of a message that the stream did not take. True where that is worth a warning: a Redis that is left alone was warned of.
    pub fn fall_mute(&self, error: &Error) -> bool {
        self.is_mute.store(true, Ordering::Release);
        self.errors().writing = Some(error.to_string());
        !matches!(error, Error::Down(_)) && self.troubles.begins(Way::Write, error)
    }

    /// Takes note of a message that came by.
    pub(super) fn hear(&self) {
        if self.is_mute.swap(false, Ordering::AcqRel) {
            self.errors().writing = None;
            self.troubles.end(&Way::Write);
        }
    }

    /// Takes note of a look at the database that began after the stream was caught up with. Where this replica has fallen behind since
    /// then, the next look decides, even if it has caught up again: with more, of which this look knows nothing.
    pub fn vouch(&self, since: CaughtUp) {
        let caught_up = since.0 * STATES + CAUGHT_UP;
        let _ = self.state.compare_exchange(caught_up, since.0 * STATES + VOUCHED_FOR, Ordering::AcqRel, Ordering::Acquire);
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
        let further = |state: u64| (state % STATES < stage).then_some(state / STATES * STATES + stage);
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, further);
    }

    /// Takes note that the stream cannot be read, or is another one. True where all had been read until now.
    pub fn fall_behind(&self) -> bool {
        let behind = |state: u64| Some((state / STATES + 1) * STATES + CONNECTING);
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, behind);
        before.is_ok_and(|state| state % STATES >= CAUGHT_UP)
    }

    /// The same because of an error. True where that is worth a warning, be it that nothing was ever read: only a Redis that is left alone
    /// was warned of before.
    pub(super) fn fail(&self, error: &Error) -> bool {
        let had_caught_up = self.fall_behind();
        self.errors().reading = Some(error.to_string());
        (had_caught_up || !matches!(error, Error::Down(_))) && self.troubles.begins(Way::Read, error)
    }

    /// Takes note that it has been joined for a while: an error that comes now is a new one.
    pub(super) fn settle(&self) {
        *self.errors() = Errors::default();
        self.troubles.end(&Way::Read);
        self.troubles.end(&Way::Write);
    }

    /// Why this replica has come no further than to this stage, in words, as far as an error tells.
    pub(super) fn error_at(&self, stage: Stage) -> Option<String> {
        let errors = self.errors().clone();
        match stage {
            Stage::Connecting | Stage::Reading { .. } => errors.reading,
            Stage::Mute => errors.writing,
            Stage::Unvouched | Stage::Joined => None,
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

    fn joined() -> Following {
        let following = Following::default();
        following.catch_up();
        following.vouch(following.caught_up().unwrap());
        following
    }

    #[test]
    fn it_joins_step_by_step_and_no_step_leads_back() {
        let following = Following::default();
        assert_eq!((following.stage(), following.caught_up()), (Stage::Connecting, None));
        following.read_on(7);
        assert_eq!((following.stage(), following.caught_up()), (Stage::Reading { left: 7 }, None));
        following.catch_up();
        assert_eq!(following.stage(), Stage::Unvouched);
        following.vouch(following.caught_up().unwrap());
        following.catch_up();
        following.read_on(3);
        assert_eq!((following.stage(), following.is_vouched_for()), (Stage::Joined, true));
        assert!(following.fall_behind() && !following.fall_behind());
        assert_eq!(following.stage(), Stage::Connecting);
    }

    #[test]
    fn a_look_from_before_it_fell_behind_vouches_for_nothing_it_read_since() {
        let following = joined();
        let look = following.caught_up().unwrap();
        following.fall_behind();
        following.vouch(look);
        assert_eq!(following.stage(), Stage::Connecting);
        following.catch_up();
        following.vouch(look);
        assert_eq!(following.stage(), Stage::Unvouched);
        following.vouch(following.caught_up().unwrap());
        assert_eq!(following.stage(), Stage::Joined);
    }

    #[test]
    fn errors_are_told_when_they_begin_and_when_they_change_also_where_nothing_was_ever_read() {
        let (late, down) = (Error::TimedOut(Duration::from_millis(50)), Error::Down("timeout"));
        let following = Following::default();
        assert_eq!([&down, &late, &late, &down].map(|error| following.fail(error)), [false, true, false, false]);
        assert_eq!(following.error_at(Stage::Connecting), Some(down.to_string()));
        let following = joined();
        assert_eq!([&down, &late, &down].map(|error| following.fail(error)), [true, true, false], "it had been read until then");
        assert_eq!([&late, &late].map(|error| following.fall_mute(error)), [true, false]);
        following.catch_up();
        following.vouch(following.caught_up().unwrap());
        assert_eq!((following.stage(), following.error_at(Stage::Mute)), (Stage::Mute, Some(late.to_string())));
        following.hear();
        assert_eq!((following.stage(), following.error_at(Stage::Mute)), (Stage::Joined, None));
        assert!(following.fall_mute(&late), "another time");
    }
}
