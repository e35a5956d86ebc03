//! What mapped tables mean. A server keeps the ids of an enum's labels with a prepared statement,
//! also after another label has got the name.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The fingerprint that the last drain snapshot has shown of it, and since when it is the same.
#[derive(Debug)]
pub(super) struct Meaning(Mutex<(Option<String>, Instant)>);

impl Default for Meaning {
    fn default() -> Self {
        Meaning(Mutex::new((None, Instant::now())))
    }
}

impl Meaning {
    /// Takes note of it. Returns true when it has changed: connections from before are then not
    /// used any more.
    pub fn see(&self, now: &str) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = known.0.as_deref() == Some(now);
        let has_changed = !is_known && known.0.is_some();
        if has_changed {
            known.1 = Instant::now();
        }
        if !is_known {
            known.0 = Some(now.to_owned());
        }
        has_changed
    }

    /// For how long it has been the same.
    pub fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.elapsed()
    }
}
