//! Live clients: they are sent changes and ask for nothing. Whether they still may is looked at all
//! the time, and a browser connects again by itself. Neither is a use of a session: one that is
//! only watched ends after its idle time, as if nobody were there.

use std::sync::Arc;

use super::{Denial, Guard, SignedIn};

impl Guard {
    /// As [`Guard::remembered`], for a live client.
    pub fn remembered_watching(&self, credential: &str) -> Option<Arc<SignedIn>> {
        let now_ms = self.clock.never_back_ms();
        let who = self.recall(credential, now_ms)?;
        self.note_watching(&who, now_ms);
        Some(who)
    }

    /// As [`Guard::verify`], for a live client.
    ///
    /// # Errors
    /// It is not right any more, or that cannot be found out now.
    pub async fn verify_watching(
        self: &Arc<Self>,
        credential: &str,
    ) -> Result<Arc<SignedIn>, Denial> {
        let who = self.find_out(credential).await?;
        self.note_watching(&who, self.clock.never_back_ms());
        Ok(who)
    }

    /// A key has no idle time, and its `last used` says that figures are read by it.
    fn note_watching(&self, who: &SignedIn, now_ms: i64) {
        if who.session.is_none() {
            self.note_use(who, now_ms);
        }
    }
}
