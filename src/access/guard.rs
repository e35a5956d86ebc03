//! The way in: a credential becomes somebody who is signed in, or is refused.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{runtime::Handle, sync::Semaphore};

use super::{
    Visible, api_keys,
    denials::{KnownDenials, TokenName},
    known_keys::KnownKeys,
    remembered::Remembered,
    tokens::{Refusal, Tokens, Verified},
};
use crate::{
    clock::Clock,
    directory::Directory,
    domain::access::Principal,
    metrics::Metrics,
    store::{self, Store},
};

/// Somebody whose credential was verified.
#[derive(Debug)]
pub struct SignedIn {
    /// Who it is, and what it may do.
    pub principal: Principal,
    /// The facilities that it may see.
    pub visible: Visible,
    /// When the credential ends, by a clock that nobody sets; `None`: never.
    until: Option<Instant>,
    /// The API key by which it signed in.
    key: Option<String>,
    /// The token by which it signed in.
    token: Option<TokenName>,
    /// When the use of the key was noted last, in minutes since 1970.
    noted_minute: AtomicI64,
}

impl SignedIn {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// There is no credential.
    Missing,
    /// The credential is none, is over, or was revoked.
    Invalid,
    /// Whether it is right cannot be found out now.
    Unavailable,
}

impl Denial {
    /// One word, for counting.
    pub fn kind(self) -> &'static str {
        match self {
            Denial::Missing => "missing",
            Denial::Invalid => "invalid",
            Denial::Unavailable => "unavailable",
        }
    }
}

/// The most credentials that are remembered.
const REMEMBERED: usize = 20_000;
/// Owner's keys of facilities are looked up again after this time.
const SCOPE_BY_KEY: Duration = Duration::from_secs(60);
/// The most requests that wait for a look for an API key that is not known here.
const WAITING: usize = 256;
/// The most time that each of them waits.
const LOOK_WAIT: Duration = Duration::from_secs(2);
/// The time between two looks for an API key that is not known here.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Verifies credentials, and remembers them.
pub struct Guard {
    store: Arc<dyn Store>,
    directory: Arc<Directory>,
    clock: Arc<Clock>,
    remembered: Remembered,
    tokens: Arc<Tokens>,
    keys: ArcSwap<KnownKeys>,
    denials: ArcSwap<KnownDenials>,
    /// The access version of `keys` and `denials`; less than any where they were not read yet.
    version: AtomicI64,
    last_look: tokio::sync::Mutex<Look>,
    /// The places of those that wait for a look.
    waiting: Arc<Semaphore>,
    /// Uses of keys that are yet to be stored, in milliseconds since 1970.
    uses: Mutex<HashMap<String, i64>>,
    metrics: Arc<Metrics>,
    /// Where the database is asked: its connections outlive the worker of a request.
    runtime: Handle,
}

/// A look whether keys were changed.
#[derive(Default)]
struct Look {
    /// `None` before the first one.
    began: Option<Instant>,
    /// The database answered.
    has_found: bool,
}

impl Guard {
    /// A guard that knows no key yet. It asks the database on the runtime of the caller.
    pub fn new(
        store: Arc<dyn Store>,
        directory: Arc<Directory>,
        clock: Arc<Clock>,
        tokens: Arc<Tokens>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Guard {
            store,
            directory,
            clock,
            tokens,
            remembered: Remembered::new(REMEMBERED),
            keys: ArcSwap::default(),
            denials: ArcSwap::default(),
            version: AtomicI64::new(i64::MIN),
            last_look: tokio::sync::Mutex::default(),
            waiting: Arc::new(Semaphore::new(WAITING)),
            uses: Mutex::default(),
            metrics,
            runtime: Handle::current(),
        }
    }

    /// Who has this credential, as far as that is remembered. Costs a look-up.
    pub fn remembered(&self, credential: &str) -> Option<Arc<SignedIn>> {
        let who = self.remembered.find(credential).filter(|who| !who.is_over())?;
        self.note_use(&who);
        Some(who)
    }

    /// Verifies a credential that is not remembered.
    ///
    /// # Errors
    /// It is not right, or that cannot be found out now.
    pub async fn verify(self: &Arc<Self>, credential: &str) -> Result<Arc<SignedIn>, Denial> {
        let who = Arc::new(match api_keys::id_of(credential) {
            Some(id) => self.verify_key(id, credential).await?,
            None => self.verify_token(credential).await?,
        });
        self.remember(credential, &who)?;
        self.note_use(&who);
        Ok(who)
    }

    /// Remembers a credential that was verified, if it still counts.
    fn remember(&self, credential: &str, who: &Arc<SignedIn>) -> Result<(), Denial> {
        self.remembered.put(credential, who.clone());
        // It may have been revoked, and what is remembered gone through, before this was put there.
        if who.key.as_ref().is_some_and(|id| !self.keys.load().has(id)) {
            self.remembered.forget(|other| other.key == who.key);
            return Err(Denial::Invalid);
        }
        if self.is_denied(who) {
            self.remembered.forget(|other| other.token == who.token);
            return Err(Denial::Invalid);
        }
        Ok(())
    }

    /// Whether the token by which somebody signed in does not count any more.
    fn is_denied(&self, who: &SignedIn) -> bool {
        who.token.as_ref().is_some_and(|token| self.denials.load().has(token, self.clock.now_ms()))
    }

    async fn verify_key(self: &Arc<Self>, id: &str, credential: &str) -> Result<SignedIn, Denial> {
        self.metrics.credential_verifications.with_label_values(&["key"]).inc();
        if !self.keys.load().has(id) {
            self.look_for_key().await?;
        }
        self.by_key(id, credential).ok_or(Denial::Invalid)
    }

    /// Verifies a token of an issuer, in a task of its own: a fetch of keys goes on for the others
    /// when its client goes away.
    async fn verify_token(&self, credential: &str) -> Result<SignedIn, Denial> {
        let (tokens, token) = (self.tokens.clone(), credential.to_owned());
        self.metrics.credential_verifications.with_label_values(&["token"]).inc();
        let now_ms = self.clock.now_ms();
        let verifying = self.runtime.spawn(async move { tokens.verify(&token, now_ms).await });
        match verifying.await {
            Ok(Ok(verified)) => {
                let left_ms = u64::try_from(verified.expires_ms.saturating_sub(now_ms));
                let left = left_ms.map_err(|_| Denial::Invalid)?;
                let Verified { principal, issuer, subject, token_id, .. } = verified;
                let token = TokenName { issuer, subject, token_id };
                let who = self.signed_in(principal, Some(Duration::from_millis(left)), None);
                let who = SignedIn { token: Some(token), ..who };
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

    fn refused(&self, reason: &str) {
        self.metrics.token_refusals.with_label_values(&[reason]).inc();
    }

    /// Who has this key; `None` when it is not known, is another one, or is over.
    fn by_key(&self, id: &str, credential: &str) -> Option<SignedIn> {
        let keys = self.keys.load();
        let key = keys.get(id).filter(|key| key.is(credential))?;
        let left_ms = key.expires_ms.map(|at_ms| at_ms.saturating_sub(self.clock.latest_ms()));
        let left = match left_ms {
            None => None,
            Some(ms) => Some(Duration::from_millis(u64::try_from(ms).ok().filter(|ms| *ms > 0)?)),
        };
        Some(self.signed_in(key.principal.clone(), left, Some(id.to_owned())))
    }

    fn signed_in(
        &self,
        principal: Principal,
        left: Option<Duration>,
        key: Option<String>,
    ) -> SignedIn {
        let visible = Visible::of(&principal.facilities, &self.directory);
        let by_keys = principal.facilities.has_keys().then_some(SCOPE_BY_KEY);
        let left = match (left, by_keys) {
            (Some(left), Some(most)) => Some(left.min(most)),
            (left, most) => left.or(most),
        };
        let until = left.and_then(|left| Instant::now().checked_add(left));
        let noted_minute = AtomicI64::new(i64::MIN);
        SignedIn { principal, visible, until, key, token: None, noted_minute }
    }

    /// Looks again for a key that is not known here: another server, or a command, may have made it
    /// just now. All that wait share a look, and there are few looks in a second, so that unknown
    /// keys cost the database next to nothing. While the database hangs, a bounded number waits for
    /// a bounded time.
    async fn look_for_key(self: &Arc<Self>) -> Result<(), Denial> {
        let place = self.waiting.clone().try_acquire_owned().map_err(|_| Denial::Unavailable)?;
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

    /// Looks whether keys or denials were changed, and reads them again if so. What was remembered
    /// of a revoked key or a denied token is forgotten; everything else stays.
    ///
    /// # Errors
    /// The database does not answer. What is known is kept.
    pub async fn follow(&self) -> store::Result<()> {
        let mut last = self.last_look.lock().await;
        self.look(&mut last).await
    }

    async fn look(&self, last: &mut Look) -> store::Result<()> {
        *last = Look { began: Some(Instant::now()), has_found: false };
        let version = self.store.access_version().await?;
        if version != self.version.load(Ordering::Acquire) {
            self.read_keys().await?;
            self.read_denials().await?;
            self.version.store(version, Ordering::Release);
        }
        last.has_found = true;
        Ok(())
    }

    async fn read_keys(&self) -> store::Result<()> {
        let (keys, unreadable) = KnownKeys::of(self.store.api_keys().await?);
        if !unreadable.is_empty() {
            tracing::warn!(ids = ?unreadable, "API keys whose rows cannot be read are refused");
        }
        let keys = Arc::new(keys);
        self.keys.store(keys.clone());
        self.remembered.forget(|who| who.key.as_ref().is_some_and(|id| !keys.has(id)));
        Ok(())
    }

    /// What was remembered of denied tokens is forgotten; everything else stays, so that nobody
    /// else's tokens are verified again.
    async fn read_denials(&self) -> store::Result<()> {
        self.denials.store(Arc::new(KnownDenials::of(self.store.denials().await?)));
        self.remembered.forget(|who| self.is_denied(who));
        Ok(())
    }

    /// Who verifies tokens: for readiness.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Counts a request that was not let in, or not further, by a word.
    pub fn count_denied(&self, kind: &str) {
        self.metrics.access_denials.with_label_values(&[kind]).inc();
    }

    /// Says in the log who could do everything from the start on, or that nobody can sign in: keys
    /// may have been made before sign-in was switched on.
    pub fn log_who_may(&self) {
        let keys = self.keys.load();
        if keys.is_empty() && self.tokens.is_empty() {
            tracing::warn!(
                "nobody can sign in yet: make a key with `facility-summary key add --role admin \
                 --name NAME`"
            );
        }
        let admins = keys.admins(self.clock.now_ms());
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

    /// Notes the use of a key, once a minute.
    fn note_use(&self, who: &SignedIn) {
        let Some(id) = &who.key else { return };
        let now_ms = self.clock.now_ms();
        let minute = now_ms.div_euclid(60_000);
        if who.noted_minute.swap(minute, Ordering::Relaxed) != minute {
            let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
            uses.insert(id.clone(), minute * 60_000);
        }
    }

    /// Stores when keys were used.
    ///
    /// # Errors
    /// The database does not answer; the uses are kept for the next time.
    pub async fn store_uses(&self) -> store::Result<()> {
        let taken = std::mem::take(&mut *self.uses.lock().unwrap_or_else(PoisonError::into_inner));
        if taken.is_empty() {
            return Ok(());
        }
        let uses: Vec<(String, i64)> = taken.into_iter().collect();
        let stored = self.store.note_key_uses(&uses).await;
        if stored.is_err() {
            let mut waiting = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, at_ms) in uses {
                waiting.entry(id).or_insert(at_ms);
            }
        }
        stored
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
