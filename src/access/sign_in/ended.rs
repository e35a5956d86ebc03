//! Sessions that go on, and their ends: by their owner, by an admin, by a provider.

use super::SignIn;
use crate::{
    access::{
        api_keys,
        audit::{Actor, log},
        open_id::Fault,
        sign_in::Origin,
        tokens::identity::Logout,
    },
    store::{
        self,
        people::{EndedByProvider, SessionRow},
    },
};

impl SignIn {
    /// The sessions that go on, of this principal or of everybody.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn sessions(&self, of: Option<&str>, limit: usize) -> store::Result<Vec<SessionRow>> {
        let now_ms = self.clock.now_ms();
        let used_after_ms = self.guard.lifetimes().used_after_ms(now_ms);
        self.store.sessions(of, now_ms, used_after_ms, limit).await
    }

    /// Ends a session, of this principal or of anybody. Returns it; `None` when there is none that
    /// goes on.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn end(
        &self,
        id: &str,
        of: Option<&str>,
        by: Actor,
    ) -> store::Result<Option<SessionRow>> {
        if !api_keys::is_id(id) {
            return Ok(None);
        }
        // First a look: ids that are none take no lock.
        let found = self.store.session(id).await?;
        let is_meant = |row: &SessionRow| {
            row.ended_ms.is_none() && of.is_none_or(|principal| row.principal == principal)
        };
        let Some(row) = found.filter(is_meant) else { return Ok(None) };
        let note = by.note("session.ended", id, serde_json::json!({ "of": row.principal }));
        if !self.store.end_session(id, of, &note).await? {
            return Ok(None);
        }
        log(&note);
        // This server does not wait for its next look. The others look each half second.
        self.guard.follow().await?;
        Ok(Some(row))
    }

    /// Ends the sessions that a provider's token names. Returns how many.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn end_by_provider(
        &self,
        issuer: &str,
        logout: Logout,
        by: Actor,
    ) -> store::Result<u64> {
        let of = EndedByProvider {
            issuer,
            sid: logout.sid.as_deref(),
            subject: logout.subject.as_deref(),
            until_ms: logout.issued_ms.saturating_add(CLOCK_MS),
        };
        let subject = logout.sid.as_deref().or(logout.subject.as_deref()).unwrap_or_default();
        let detail = serde_json::json!({ "sid": logout.sid, "subject": logout.subject });
        let note = by.note("session.ended", subject, detail);
        let ended = self.store.end_sessions_by_provider(of, &note).await?;
        if ended > 0 {
            log(&note);
            self.guard.follow().await?;
        }
        Ok(ended)
    }

    /// Counts a sign-in at a provider that came to nothing.
    pub fn note_fault(&self, fault: &Fault, origin: &Origin) {
        let outcome = match fault {
            Fault::Away(_) => "unavailable",
            _ => "refused",
        };
        self.metrics.sign_ins.with_label_values(&["provider", outcome]).inc();
        let address = origin.address.map(|address| address.to_string());
        tracing::debug!(way = "provider", outcome, address, %fault, "sign_in.failed");
    }
}

/// By how much a provider's clock may be behind the database's: a session may look so much younger
/// than the token that ends it.
const CLOCK_MS: i64 = 5_000;
