//! Whether the database was out of reach a moment ago: while it is, readers are answered from what is held without each waiting for its
//! own time-out, and one in a second tries.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use crate::store::StoreError;

/// How long after a failure nobody else tries.
const BACK_OFF_MS: i64 = 1_000;

#[derive(Default)]
pub struct Outage {
    no_attempt_before_ms: AtomicI64,
    last_error: Mutex<Option<&'static str>>,
}

impl Outage {
    /// Whether to spare the database an attempt now.
    pub fn is_on(&self, now_ms: i64) -> bool {
        now_ms < self.no_attempt_before_ms.load(Ordering::Relaxed)
    }

    /// The class of the last failure, while it lasts.
    pub fn last_error(&self) -> Option<&'static str> {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A failure of the whole database; a lock that one key waits for is none.
    pub fn failed(&self, error: &StoreError, now_ms: i64) {
        if matches!(error, StoreError::Unavailable(_) | StoreError::InDoubt(_) | StoreError::Full(_) | StoreError::Failed(_)) {
            self.no_attempt_before_ms.store(now_ms + BACK_OFF_MS, Ordering::Relaxed);
            *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.class());
        }
    }

    pub fn over(&self) {
        self.no_attempt_before_ms.store(0, Ordering::Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
