//! API keys: those that are known here, and a look for the others.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Denial, Guard, SignedIn};
use crate::{access::known_keys::KnownKeys, store};

/// The most time that a request waits for a look for an API key that is not known here.
const LOOK_WAIT: Duration = Duration::from_secs(2);
/// The time between two such looks.
pub(super) const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

impl Guard {
    pub(super) async fn verify_key(
        self: &Arc<Self>,
        id: &str,
        credential: &str,
    ) -> Result<SignedIn, Denial> {
        self.metrics.credential_verifications.with_label_values(&["key"]).inc();
        if !self.keys.load().has(id) {
            self.look_for_key().await?;
        }
        self.by_key(id, credential).ok_or(Denial::Invalid)
    }

    /// Who has this key; `None` when it is not known, is another one, or is over.
    pub(super) fn by_key(&self, id: &str, credential: &str) -> Option<SignedIn> {
        let keys = self.keys.load();
        let key = keys.get(id).filter(|key| key.is(credential))?;
        let is_over = |until_ms| self.clock.never_back_ms() >= until_ms;
        if key.expires_ms.is_some_and(is_over) {
            return None;
        }
        Some(self.signed_in(key.principal.clone(), key.expires_ms, Some(id.to_owned())))
    }

    /// Looks again for a key that is not known here: another server, or a command, may have made it
    /// just now. All that wait share a look, and there are few looks in a second, so that unknown
    /// keys cost the database next to nothing. While the database hangs, a bounded number waits for
    /// a bounded time.
    pub(super) async fn look_for_key(self: &Arc<Self>) -> Result<(), Denial> {
        let place =
            self.waiting_for_keys.clone().try_acquire_owned().map_err(|_| Denial::Unavailable)?;
        let (guard, arrived) = (self.clone(), Instant::now());
        // In a task of its own: it goes on when its client goes away.
        let looking = self.runtime.spawn(async move {
            let _place = place;
            let mut last = guard.last_look.lock().await;
            if last.began.is_some_and(|began| began > arrived) {
                return last.has_found;
            }
            let since = last.began.map_or(BETWEEN_LOOKS, |began| began.elapsed());
            tokio::time::sleep(BETWEEN_LOOKS.saturating_sub(since)).await;
            guard.look(&mut last).await.is_ok()
        });
        match tokio::time::timeout(LOOK_WAIT, looking).await {
            Ok(Ok(true)) => Ok(()),
            _ => Err(Denial::Unavailable),
        }
    }

    pub(super) async fn read_keys(&self) -> store::Result<()> {
        let (keys, unreadable) = KnownKeys::of(self.store.api_keys().await?);
        if !unreadable.is_empty() {
            tracing::warn!(ids = ?unreadable, "API keys whose rows cannot be read are refused");
        }
        let keys = Arc::new(keys);
        self.keys.store(keys.clone());
        self.remembered.forget(|who| who.key.as_ref().is_some_and(|id| !keys.has(id)));
        Ok(())
    }

    /// Says in the log who could do everything from the start on: keys may have been made before
    /// sign-in was switched on.
    pub fn log_who_may(&self) {
        let admins = self.keys.load().admins(self.clock.now_ms());
        if !admins.is_empty() {
            const MOST_NAMED: usize = 20;
            let named = admins.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
            tracing::info!(
                count = admins.len(),
                keys = named,
                "with these API keys everything may be done; a key that you do not know is ended \
                 by `facility-summary key revoke ID`"
            );
        }
    }
}
