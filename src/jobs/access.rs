//! Keeps what is known of API keys right: a key that is revoked anywhere ends here within a second.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{access::Guard, store};

/// How often it is asked whether keys were changed.
pub const INTERVAL: Duration = Duration::from_millis(500);
/// How often it is stored when keys were used.
const STORE_USES: Duration = Duration::from_secs(20);

/// The job.
pub struct AccessFollower {
    /// Knows the keys.
    pub guard: Arc<Guard>,
    /// When uses were stored last.
    pub stored: Mutex<Option<Instant>>,
}

impl AccessFollower {
    /// One turn.
    ///
    /// # Errors
    /// The database does not answer. What is known is kept.
    pub async fn run_once(&self) -> store::Result<()> {
        self.guard.follow().await?;
        let is_due = {
            let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = stored.is_none_or(|at| at.elapsed() >= STORE_USES);
            if is_due {
                *stored = Some(Instant::now());
            }
            is_due
        };
        if is_due { self.guard.store_uses().await } else { Ok(()) }
    }
}
