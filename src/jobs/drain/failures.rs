//! The error that keeps the drain from proving anything.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{store, store::StoreError};

/// Since when runs leave work undone, and the class of the error. A database that does not answer
/// is only one cause: a revoked right, a policy that hides rows, or a missing row stops the proof
/// as well.
#[derive(Default)]
pub struct Failing(Mutex<Failures>);

#[derive(Default)]
struct Failures {
    /// The error of the run in progress.
    met: Option<&'static str>,
    lasting: Option<(Instant, &'static str)>,
}

/// An error counts once it has lasted for this time. A shorter one is most likely a restart of the
/// database's server.
const FAILS: Duration = Duration::from_secs(2);

impl Failing {
    /// Records an error that leaves work undone in this run. A lock that another transaction holds
    /// is not counted, because it is released in time.
    pub(super) fn record_error(&self, error: &StoreError) {
        if !matches!(error, StoreError::Locked(_) | StoreError::Conflict) {
            self.failures().met = Some(error.class());
        }
    }

    /// Records the end of a run.
    pub(super) fn note(&self, done: &store::Result<()>) {
        if let Err(error) = done {
            self.record_error(error);
        }
        let mut failures = self.failures();
        let since = failures.lasting.map_or_else(Instant::now, |(since, _)| since);
        failures.lasting = failures.met.take().map(|class| (since, class));
    }

    /// The class of the error that stops the proof; `None` when there is none, or it is recent.
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
