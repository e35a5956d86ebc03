//! The way in: a credential becomes somebody who is signed in, or is refused.

mod by_key;
mod by_session;
mod by_token;
mod watching;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
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
    sessions::{self, KnownSession, Lifetimes},
    tokens::{KeyPrint, Tokens},
    uses::Uses,
};
use crate::{
    clock::{Clock, elapsed_ms},
    config::{AuthSettings, auth_people::origin_of},
    directory::Directory,
    domain::access::Principal,
    metrics::Metrics,
    store::{self, Store, access::AccessVersion},
};

/// Somebody whose credential was verified.
#[derive(Debug)]
pub struct SignedIn {
    /// Who it is, and what it may do.
    pub principal: Principal,
    /// The facilities that it may see.
    pub visible: Visible,
    /// When the credential ends, by [`Clock::never_back_ms`]; `None`: never.
    until_ms: Option<i64>,
    /// When its facilities are looked up again.
    visible_until: Option<Instant>,
    /// The API key by which it signed in.
    key: Option<String>,
    /// The token by which it signed in.
    token: Option<TokenName>,
    /// The key that the token is signed with.
    signed_by: Option<KeyPrint>,
    /// The session by which it signed in.
    session: Option<KnownSession>,
    /// When the use of the key or session was noted last, in minutes since 1970.
    noted_minute: AtomicI64,
}

impl SignedIn {
    /// The id of the session by which it signed in.
    pub fn session_id(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.id.as_str())
    }

    fn is_over(&self, now_ms: i64) -> bool {
        self.visible_until.is_some_and(|until| Instant::now() >= until) || self.has_ended(now_ms)
    }

    fn has_ended(&self, now_ms: i64) -> bool {
        self.until_ms.is_some_and(|until_ms| now_ms >= until_ms)
            || self.session.as_ref().is_some_and(|session| session.is_idle(now_ms))
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
/// The sessions that are looked up at a time.
const LOOKED_UP: usize = 4;
/// The most requests that wait for a look for an API key that is not known here; and for one for a
/// session.
const WAITING: usize = 256;

/// What holds for browsers.
#[derive(Debug, Clone)]
pub struct Browsers {
    /// How long sessions last.
    pub lifetimes: Lifetimes,
    /// The origin of the service, where the settings say so.
    pub origin: Option<String>,
}

impl Browsers {
    /// As the settings say.
    pub fn of(settings: &AuthSettings) -> Self {
        let lifetimes = Lifetimes {
            idle: Duration::from_secs(settings.session_idle_minutes * 60),
            absolute: Duration::from_secs(settings.session_hours * 3_600),
        };
        let origin = settings.public_url.as_deref().and_then(origin_of);
        Browsers { lifetimes, origin }
    }
}

/// Verifies credentials, and remembers them.
pub struct Guard {
    store: Arc<dyn Store>,
    directory: Arc<Directory>,
    clock: Arc<Clock>,
    remembered: Remembered,
    tokens: Arc<Tokens>,
    keys: ArcSwap<KnownKeys>,
    denials: ArcSwap<KnownDenials>,
    last_look: tokio::sync::Mutex<Look>,
    /// The places of those that wait for a look for a key.
    waiting_for_keys: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    /// How often a provider's key had gone, when what is remembered was gone through last.
    removals: AtomicU64,
    /// When the last look began whose answer came, by [`elapsed_ms`]; 0 before the first one.
    looked_ms: AtomicI64,
    /// Counts how often sessions were ended, before they are forgotten.
    endings: AtomicU64,
    /// Whether there is an account.
    has_users: AtomicBool,
    /// Whether the log has said that the clock was set back.
    is_clock_behind: AtomicBool,
    browsers: Browsers,
    looked_up: Semaphore,
    waiting: Semaphore,
    key_uses: Uses,
    session_uses: Uses,
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
    /// The access version of the keys and denials in memory; `None` where they were not read yet.
    version: Option<AccessVersion>,
}

impl Guard {
    /// A guard that knows no key yet. It asks the database on the runtime of the caller.
    pub fn new(
        store: Arc<dyn Store>,
        directory: Arc<Directory>,
        clock: Arc<Clock>,
        tokens: Arc<Tokens>,
        metrics: Arc<Metrics>,
        browsers: Browsers,
    ) -> Self {
        Guard {
            store,
            directory,
            clock,
            tokens,
            remembered: Remembered::new(REMEMBERED),
            keys: ArcSwap::default(),
            denials: ArcSwap::default(),
            last_look: tokio::sync::Mutex::default(),
            waiting_for_keys: Arc::new(Semaphore::new(WAITING)),
            metrics,
            removals: AtomicU64::new(0),
            looked_ms: AtomicI64::new(0),
            endings: AtomicU64::new(0),
            has_users: AtomicBool::new(false),
            is_clock_behind: AtomicBool::new(false),
            browsers,
            looked_up: Semaphore::new(LOOKED_UP),
            waiting: Semaphore::new(WAITING),
            key_uses: Uses::default(),
            session_uses: Uses::default(),
            runtime: Handle::current(),
        }
    }

    /// Who has this credential, as far as that is remembered. Costs a look-up.
    pub fn remembered(&self, credential: &str) -> Option<Arc<SignedIn>> {
        let now_ms = self.clock.never_back_ms();
        let who = self.recall(credential, now_ms)?;
        self.note_use(&who, now_ms);
        Some(who)
    }

    fn recall(&self, credential: &str, now_ms: i64) -> Option<Arc<SignedIn>> {
        self.remembered.find(credential).filter(|who| !who.is_over(now_ms))
    }

    /// Whether the credential of somebody who signed in has ended since.
    pub fn has_ended(&self, who: &SignedIn) -> bool {
        who.has_ended(self.clock.never_back_ms())
    }

    /// Verifies a credential that is not remembered.
    ///
    /// # Errors
    /// It is not right, or that cannot be found out now.
    pub async fn verify(self: &Arc<Self>, credential: &str) -> Result<Arc<SignedIn>, Denial> {
        let who = self.find_out(credential).await?;
        self.note_use(&who, self.clock.never_back_ms());
        Ok(who)
    }

    async fn find_out(self: &Arc<Self>, credential: &str) -> Result<Arc<SignedIn>, Denial> {
        if let Some(id) = sessions::id_of(credential) {
            return self.verify_session(id, credential).await;
        }
        let who = Arc::new(match api_keys::id_of(credential) {
            Some(id) => self.verify_key(id, credential).await?,
            None => self.verify_token(credential).await?,
        });
        self.remember(credential, &who)?;
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
        if self.is_denied(who) || self.is_signed_by_removed(who) {
            self.remembered.forget(|other| other.token == who.token);
            return Err(Denial::Invalid);
        }
        Ok(())
    }

    fn signed_in(
        &self,
        principal: Principal,
        until_ms: Option<i64>,
        key: Option<String>,
    ) -> SignedIn {
        let visible = Visible::of(&principal.facilities, &self.directory);
        let has_keys = principal.facilities.has_keys();
        SignedIn {
            principal,
            visible,
            until_ms,
            visible_until: has_keys.then(|| Instant::now() + SCOPE_BY_KEY),
            key,
            token: None,
            signed_by: None,
            session: None,
            noted_minute: AtomicI64::new(i64::MIN),
        }
    }

    /// Looks whether keys or denials were changed, and reads them again if so. What was remembered
    /// of a revoked key, a denied token, or a token of a key that has gone is forgotten; everything
    /// else stays.
    ///
    /// # Errors
    /// The database does not answer. What is known is kept.
    pub async fn follow(&self) -> store::Result<()> {
        self.watch_clock();
        self.forget_removed();
        let mut last = self.last_look.lock().await;
        self.look(&mut last).await
    }

    /// Says in the log and in a metric that the database's clock was set back, and by how much.
    fn watch_clock(&self) {
        let seconds = self.clock.set_back_by_ms() / 1_000;
        self.metrics.clock_set_back.set(seconds);
        match (seconds > 0, self.is_clock_behind.swap(seconds > 0, Ordering::Relaxed)) {
            (true, false) => tracing::warn!(
                seconds,
                "the database's clock was set back; credentials end here by the time that it \
                 showed before, so that none counts again that has ended. Where that time was the \
                 wrong one, start this server anew: until then, what ends soon ends earlier"
            ),
            (false, true) => tracing::info!("credentials end by the database's clock again"),
            _ => {}
        }
    }

    async fn look(&self, last: &mut Look) -> store::Result<()> {
        let began_ms = elapsed_ms();
        (last.began, last.has_found) = (Some(Instant::now()), false);
        let version = self.store.access_version().await?;
        if last.version.as_ref() != Some(&version) {
            let ended = self.read_ended(last.version.as_ref(), &version).await?;
            // Most changes are ends of sessions, for which no other table is read.
            if !ended.as_ref().is_some_and(|ended| ended.is_all) {
                self.read_keys().await?;
                self.read_denials().await?;
            }
            self.has_users.store(self.store.has_users().await?, Ordering::Release);
            self.forget_ended(ended.as_ref());
            last.version = Some(version);
        }
        last.has_found = true;
        self.looked_ms.store(began_ms, Ordering::Release);
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

    /// Whether there is no credential by which anybody could sign in.
    pub fn is_closed(&self) -> bool {
        self.keys.load().is_empty()
            && self.tokens.is_empty()
            && !self.has_users.load(Ordering::Acquire)
    }

    /// How long sessions last.
    pub fn lifetimes(&self) -> Lifetimes {
        self.browsers.lifetimes
    }

    /// The origin of the service as browsers know it, where the settings say so.
    pub fn own_origin(&self) -> Option<&str> {
        self.browsers.origin.as_deref()
    }

    /// Notes the use of a key or a session, once a minute.
    fn note_use(&self, who: &SignedIn, now_ms: i64) {
        let (id, uses) = match (&who.key, &who.session) {
            (Some(key), _) => (key, &self.key_uses),
            (None, Some(session)) => {
                session.touch(now_ms);
                (&session.id, &self.session_uses)
            }
            (None, None) => return,
        };
        let minute = now_ms.div_euclid(60_000);
        // Two that find the same minute note the same.
        if who.noted_minute.load(Ordering::Relaxed) != minute {
            who.noted_minute.store(minute, Ordering::Relaxed);
            uses.note(id, minute * 60_000);
        }
    }

    /// Stores when keys and sessions were used.
    ///
    /// # Errors
    /// The database does not answer; the uses are kept for the next time.
    pub async fn store_uses(&self) -> store::Result<()> {
        let uses = self.key_uses.take();
        if !uses.is_empty() {
            let stored = self.store.note_key_uses(&uses).await;
            stored.inspect_err(|_| self.key_uses.put_back(uses))?;
        }
        let uses = self.session_uses.take();
        if !uses.is_empty() {
            let stored = self.store.note_session_uses(&uses).await;
            stored.inspect_err(|_| self.session_uses.put_back(uses))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
