//! Whether the database is out of reach: while it is, readers are answered from what is held
//! without each waiting for its own time-out, and one in a second tries.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::store::StoreError;

/// How long after a failure, or somebody's try, nobody else tries.
const BACK_OFF: Duration = Duration::from_secs(1);

/// The class of the failure of a database that has answered nobody for as long as a reader waits.
const SILENT: &str = "timeout";

pub struct Outage {
    /// Whether `lasting` is there, for those who only look.
    is_on: AtomicBool,
    state: Mutex<State>,
    /// Wakes those who wait for a database that has fallen silent.
    fell_silent: Notify,
}

struct State {
    /// When the database answered last, whatever it said.
    answered_at: Instant,
    /// Somebody has waited for it in vain since then.
    is_silent: bool,
    lasting: Option<Lasting>,
}

#[derive(Clone, Copy)]
struct Lasting {
    last_error: &'static str,
    next_try: Instant,
}

impl Outage {
    /// Whether the last that is known of the database is a failure.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Whether the caller may ask the database now: always while it is well, and one in a second
    /// while it is not.
    pub fn may_try(&self) -> bool {
        if !self.is_on() {
            return true;
        }
        let now = Instant::now();
        self.state().lasting.as_mut().is_none_or(|lasting| {
            let is_time = lasting.next_try <= now;
            if is_time {
                lasting.next_try = now + BACK_OFF;
            }
            is_time
        })
    }

    /// The class of the last failure, while it lasts: that of a `StoreError`, or `timeout` where
    /// nothing came at all.
    pub fn last_error(&self) -> Option<&'static str> {
        self.state().lasting.map(|lasting| lasting.last_error)
    }

    /// A failure of the whole database. A lock that one key waits for is none, nor is what the
    /// database itself says of one statement.
    pub fn failed(&self, error: &StoreError) {
        if error.is_of_the_whole_database() {
            self.begin(&mut self.state(), error.class());
        }
    }

    /// Somebody has waited in vain since `asked`. For the database, if that has answered nobody
    /// since then: otherwise it was for a lock, or for something slow.
    pub fn waited_in_vain(&self, asked: Instant) {
        let mut state = self.state();
        if state.answered_at < asked {
            if !std::mem::replace(&mut state.is_silent, true) {
                tracing::warn!(
                    for_ms = asked.elapsed().as_millis(),
                    "the database answers nobody; readers get what is held"
                );
                self.fell_silent.notify_waiters();
            }
            self.begin(&mut state, SILENT);
        }
    }

    /// Ends when the database is found to answer nobody: to wait on for it would be in vain. For
    /// ever where that is known already, since who asks then is to find out whether it still is
    /// so.
    pub async fn falls_silent(&self) {
        self.fell_silent.notified().await;
    }

    /// The database has answered.
    pub fn over(&self) {
        let mut state = self.state();
        *state = State::well();
        self.is_on.store(false, Ordering::Relaxed);
    }

    fn begin(&self, state: &mut State, last_error: &'static str) {
        state.lasting = Some(Lasting { last_error, next_try: Instant::now() + BACK_OFF });
        self.is_on.store(true, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn well() -> Self {
        State { answered_at: Instant::now(), is_silent: false, lasting: None }
    }
}

impl Default for Outage {
    fn default() -> Self {
        Outage {
            is_on: AtomicBool::new(false),
            state: Mutex::new(State::well()),
            fell_silent: Notify::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> StoreError {
        StoreError::Unavailable(sqlx::Error::PoolTimedOut)
    }

    #[test]
    fn while_it_lasts_one_in_a_second_may_try() {
        let outage = Outage::default();
        assert!((0..10).all(|_| outage.may_try()));
        outage.failed(&unreachable());
        assert_eq!((outage.is_on(), outage.last_error()), (true, Some("unavailable")));
        assert!(!(0..10).any(|_| outage.may_try()));
        outage.state().lasting.as_mut().unwrap().next_try = Instant::now();
        assert_eq!((0..10).filter(|_| outage.may_try()).count(), 1);
        outage.over();
        assert_eq!((outage.is_on(), outage.may_try(), outage.last_error()), (false, true, None));
    }

    #[test]
    fn a_lock_is_no_outage() {
        let outage = Outage::default();
        outage.failed(&StoreError::Locked(sqlx::Error::PoolTimedOut));
        outage.failed(&StoreError::Conflict);
        assert!(!outage.is_on());
    }

    #[tokio::test]
    async fn waiting_in_vain_tells_of_the_database_only_if_that_has_answered_nobody_else() {
        let outage = Outage::default();
        let asked = Instant::now();
        outage.over();
        outage.waited_in_vain(asked);
        assert!(!outage.is_on(), "somebody had an answer since");
        let mut waiting = std::pin::pin!(outage.falls_silent());
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        outage.waited_in_vain(Instant::now());
        assert_eq!(outage.last_error(), Some("timeout"));
        waiting.await;
        let mut probing = std::pin::pin!(outage.falls_silent());
        assert!(futures_util::poll!(probing.as_mut()).is_pending());
        outage.waited_in_vain(Instant::now());
        assert!(futures_util::poll!(probing).is_pending(), "who tries has its own time for it");
    }
}
