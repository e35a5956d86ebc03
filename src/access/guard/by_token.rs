//! Tokens: verified once, and refused where they were denied.

use std::sync::{Arc, atomic::Ordering};

use super::{Denial, Guard, SignedIn};
use crate::{
    access::{
        denials::{KnownDenials, TokenName},
        tokens::{Refusal, Verified},
    },
    clock::elapsed_ms,
    store,
};

/// Denials are known where a look at them began no longer ago. One begins each half second.
const LOOKS_ARE_RECENT_MS: i64 = 2_000;

impl Guard {
    /// Verifies a token of an issuer, in a task of its own: a fetch of keys goes on for the others
    /// when its client goes away.
    pub(super) async fn verify_token(
        self: &Arc<Self>,
        credential: &str,
    ) -> Result<SignedIn, Denial> {
        let (tokens, token) = (self.tokens.clone(), credential.to_owned());
        self.metrics.credential_verifications.with_label_values(&["token"]).inc();
        let now_ms = self.clock.now_ms();
        let verifying = self.runtime.spawn(async move { tokens.verify(&token, now_ms).await });
        match verifying.await {
            Ok(Ok(verified)) => {
                let Verified { principal, expires_ms, issuer, subject, token_id, key, .. } =
                    verified;
                // It has ended before the clock was set back.
                if self.clock.never_back_ms() >= expires_ms {
                    self.refused("expired");
                    return Err(Denial::Invalid);
                }
                let token = TokenName { issuer, subject, token_id };
                let who = self.signed_in(principal, Some(expires_ms), None);
                let who = SignedIn { token: Some(token), signed_by: Some(key), ..who };
                self.look_for_denials(&who).await?;
                if self.is_denied(&who) {
                    self.refused("denied");
                    return Err(Denial::Invalid);
                }
                Ok(who)
            }
            Ok(Err(Refusal::Invalid(reason))) => {
                self.refused(reason.class());
                tracing::debug!(%reason, "a token was refused");
                Err(Denial::Invalid)
            }
            Ok(Err(Refusal::Unavailable(why))) => {
                self.refused("unavailable");
                tracing::debug!(%why, "a token could not be verified");
                Err(Denial::Unavailable)
            }
            Err(_) => Err(Denial::Unavailable),
        }
    }

    /// While the database is away, nobody knows who was denied since. Whoever was known before goes
    /// on, also with a new token. Anybody else waits for a look.
    async fn look_for_denials(self: &Arc<Self>, who: &SignedIn) -> Result<(), Denial> {
        let age_ms = elapsed_ms() - self.looked_ms.load(Ordering::Acquire);
        if age_ms <= LOOKS_ARE_RECENT_MS {
            return Ok(());
        }
        let is_same = |known: &SignedIn| match (&known.token, &who.token) {
            (Some(known), Some(of)) => (&known.issuer, &known.subject) == (&of.issuer, &of.subject),
            _ => false,
        };
        if self.remembered.any(is_same) {
            return Ok(());
        }
        self.look_for_key().await.inspect_err(|_| self.refused("unavailable"))
    }

    pub(super) fn refused(&self, reason: &str) {
        self.metrics.token_refusals.with_label_values(&[reason]).inc();
    }

    /// Whether the token by which somebody signed in does not count any more.
    pub(super) fn is_denied(&self, who: &SignedIn) -> bool {
        who.token.as_ref().is_some_and(|token| self.denies(token))
    }

    /// Whether this token is denied, or its subject.
    pub fn denies(&self, token: &TokenName) -> bool {
        self.denials.load().has(token, self.clock.now_ms())
    }

    /// Whether the key by which a token was signed has gone from the keys of its provider.
    pub(super) fn is_signed_by_removed(&self, who: &SignedIn) -> bool {
        let signed = who.token.as_ref().zip(who.signed_by.as_ref());
        signed.is_some_and(|(token, key)| !self.tokens.has_key(&token.issuer, key))
    }

    /// Forgets the tokens that were signed by keys that have gone, and no others.
    pub(super) fn forget_removed(&self) {
        let removals = self.tokens.removals();
        if self.removals.swap(removals, Ordering::AcqRel) != removals {
            self.remembered.forget(|who| self.is_signed_by_removed(who));
        }
    }

    /// What was remembered of denied tokens is forgotten; everything else stays, so that nobody
    /// else's tokens are verified again.
    pub(super) async fn read_denials(&self) -> store::Result<()> {
        self.denials.store(Arc::new(KnownDenials::of(self.store.denials().await?)));
        self.remembered.forget(|who| self.is_denied(who));
        Ok(())
    }
}
