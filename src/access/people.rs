//! What signs people in and out.

use std::sync::Arc;

use super::{audit::Actor, open_id::OpenId, sign_in::SignIn};
use crate::store;

/// Sign-in by passwords, and at providers.
#[derive(Clone)]
pub struct People {
    /// By passwords; and all sessions.
    pub sign_in: Arc<SignIn>,
    /// At providers.
    pub open_id: Arc<OpenId>,
}

impl People {
    /// Ends a session. Returns where its browser ends the provider's session, too.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn sign_out(&self, session: &str, by: Actor) -> store::Result<Option<String>> {
        let ended = self.sign_in.end(session, None, by).await?;
        match ended.and_then(|row| row.issuer) {
            Some(issuer) => Ok(self.open_id.end_session_url(&issuer).await),
            None => Ok(None),
        }
    }
}
