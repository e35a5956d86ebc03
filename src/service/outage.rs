//! Outages of the database. During an outage, readers get the figures in memory or Redis, and do
//! not each wait for a time-out. One caller a second tries the database.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{back_off::BackOff, store::StoreError};

/// The error class of a database that has answered no caller for as long as a reader waits.
const NO_ANSWER: &str = "timeout";

/// Whether the database is out of reach. All callers of the database share one.
pub struct Outage {
    back_off: BackOff,
    state: Mutex<OutageState>,
    /// Wakes the callers that wait for a database which no longer answers any caller.
    stopped_answering: Notify,
}

struct OutageState {
    /// When the database answered last, with whatever answer.
    answered_at: Instant,
    /// A caller has waited since then and got no answer.
    answers_nobody: bool,
    /// The class of the last failure; `None` outside of an outage.
    last_error: Option<&'static str>,
}

impl Outage {
    /// Whether the last thing known of the database is a failure.
    pub fn is_on(&self) -> bool {
        self.back_off.is_on()
    }

    /// Whether the caller may ask the database now: always while there is no outage, and one caller
    /// a second during one.
    pub fn may_try(&self) -> bool {
        self.back_off.may_try()
    }

    /// The class of the last failure during an outage: that of a `StoreError`, or `timeout` where
    /// no answer came at all. `None` outside of one.
    pub fn last_error(&self) -> Option<&'static str> {
        self.state().last_error
    }

    /// Records an error. An outage begins where the whole database failed. A wait for the lock of
    /// one key does not begin one, nor does an error that concerns one statement.
    pub fn failed(&self, error: &StoreError) {
        if error.is_of_the_whole_database() {
            self.begin(&mut self.state(), error.class());
        }
    }

    /// Records that a caller has waited since `asked` and got no answer. An outage begins if the
    /// database has answered no caller since then. Otherwise the caller waited for a lock, or for a
    /// slow statement.
    pub fn got_no_answer(&self, asked: Instant) {
        let mut state = self.state();
        if state.answered_at < asked {
            if !std::mem::replace(&mut state.answers_nobody, true) {
                tracing::warn!(
                    for_ms = asked.elapsed().as_millis(),
                    "the database answers nobody; readers get what is held"
                );
                self.stopped_answering.notify_waiters();
            }
            self.begin(&mut state, NO_ANSWER);
        }
    }

    /// Ends when it is found that the database answers no caller, so that waiting longer is
    /// useless. Never ends where that was known before the call: then this caller is the one that
    /// tries the database.
    pub async fn stops_answering(&self) {
        self.stopped_answering.notified().await;
    }

    /// Records that the database has answered, which ends an outage.
    pub fn over(&self) {
        let mut state = self.state();
        *state = OutageState::well();
        self.back_off.end();
    }

    fn begin(&self, state: &mut OutageState, last_error: &'static str) {
        state.last_error = Some(last_error);
        self.back_off.begin();
    }

    fn state(&self) -> MutexGuard<'_, OutageState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutageState {
    fn well() -> Self {
        OutageState { answered_at: Instant::now(), answers_nobody: false, last_error: None }
    }
}

impl Default for Outage {
    fn default() -> Self {
        Outage {
            back_off: BackOff::new(Duration::ZERO),
            state: Mutex::new(OutageState::well()),
            stopped_answering: Notify::new(),
        }
    }
}

#[cfg(test)]
#[path = "outage_tests.rs"]
mod tests;
