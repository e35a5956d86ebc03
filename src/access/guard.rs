//! The way in: a credential becomes somebody who is signed in, or is refused.

mod by_session;

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
    known_keys::KnownKeys,
    remembered::Remembered,
    sessions::{self, KnownSession, Lifetimes},
    tokens::{Refusal, Tokens},
    uses::Uses,
};
use crate::{
    clock::Clock,
    config::{AuthSettings, auth_people::origin_of},
    directory::Directory,
    domain::access::Principal,
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
    /// When its facilities are looked up again.
    visible_until: Option<Instant>,
    /// The API key by which it signed in.
    key: Option<String>,
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

    fn is_over(&self) -> bool {
        self.visible_until.is_some_and(|until| Instant::now() >= until) || self.has_ended()
    }

    fn has_ended(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
            || self.session.as_ref().is_some_and(KnownSession::is_idle)
    }

    fn is_session(&self, id: &str) -> bool {
        self.session_id() == Some(id)
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

/// The most credentials that are remembered.
const REMEMBERED: usize = 20_000;
/// Owner's keys of facilities are looked up again after this time.
const SCOPE_BY_KEY: Duration = Duration::from_secs(60);
/// The sessions that are looked up at a time, and those that wait for it.
const LOOKED_UP: usize = 4;
const WAITING: usize = 256;
/// The time between two looks for an API key that is not known here.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

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
    /// The access version of `keys`; less than any where they were not read yet.
    version: AtomicI64,
    last_look: tokio::sync::Mutex<Look>,
    /// Counts how often sessions were ended, before they are forgotten.
    endings: AtomicU64,
    /// Whether there is an account.
    has_users: AtomicBool,
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
}

impl Guard {
    /// A guard that knows no key yet. It asks the database on the runtime of the caller.
    pub fn new(
        store: Arc<dyn Store>,
        directory: Arc<Directory>,
        clock: Arc<Clock>,
        tokens: Arc<Tokens>,
        browsers: Browsers,
    ) -> Self {
        Guard {
            store,
            directory,
            clock,
            tokens,
            remembered: Remembered::new(REMEMBERED),
            keys: ArcSwap::default(),
            version: AtomicI64::new(i64::MIN),
            last_look: tokio::sync::Mutex::default(),
            endings: AtomicU64::new(0),
            has_users: AtomicBool::new(false),
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
        let who = self.remembered.find(credential).filter(|who| !who.is_over())?;
        self.note_use(&who);
        Some(who)
    }

    /// Verifies a credential that is not remembered.
    ///
    /// # Errors
    /// It is not right, or that cannot be found out now.
    pub async fn verify(self: &Arc<Self>, credential: &str) -> Result<Arc<SignedIn>, Denial> {
        if let Some(id) = sessions::id_of(credential) {
            return self.verify_session(id, credential).await;
        }
        let who = Arc::new(match api_keys::id_of(credential) {
            Some(id) => self.verify_key(id, credential).await?,
            None => self.verify_token(credential).await?,
        });
        self.remembered.put(credential, who.clone());
        // It may have been revoked, and what is remembered gone through, before this was put there.
        if who.key.as_ref().is_some_and(|id| !self.keys.load().has(id)) {
            self.remembered.forget(|other| other.key == who.key);
            return Err(Denial::Invalid);
        }
        self.note_use(&who);
        Ok(who)
    }

    async fn verify_key(self: &Arc<Self>, id: &str, credential: &str) -> Result<SignedIn, Denial> {
        if !self.keys.load().has(id) {
            self.look_for_key().await?;
        }
        self.by_key(id, credential).ok_or(Denial::Invalid)
    }

    /// Verifies a token of an issuer, in a task of its own: a fetch of keys goes on for the others
    /// when its client goes away.
    async fn verify_token(&self, credential: &str) -> Result<SignedIn, Denial> {
        let (tokens, token) = (self.tokens.clone(), credential.to_owned());
        let now_ms = self.clock.now_ms();
        let verifying = self.runtime.spawn(async move { tokens.verify(&token, now_ms).await });
        match verifying.await {
            Ok(Ok(verified)) => {
                let left_ms = u64::try_from(verified.expires_ms.saturating_sub(now_ms));
                let left = left_ms.map_err(|_| Denial::Invalid)?;
                Ok(self.signed_in(verified.principal, Some(Duration::from_millis(left)), None))
            }
            Ok(Err(Refusal::Invalid(reason))) => {
                tracing::debug!(%reason, "a token was refused");
                Err(Denial::Invalid)
            }
            Ok(Err(Refusal::Unavailable(why))) => {
                tracing::debug!(%why, "a token could not be verified");
                Err(Denial::Unavailable)
            }
            Err(_) => Err(Denial::Unavailable),
        }
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
        let has_keys = principal.facilities.has_keys();
        let until = left.and_then(|left| Instant::now().checked_add(left));
        SignedIn {
            principal,
            visible,
            until,
            visible_until: has_keys.then(|| Instant::now() + SCOPE_BY_KEY),
            key,
            session: None,
            noted_minute: AtomicI64::new(i64::MIN),
        }
    }

    /// Looks again for a key that is not known here: another server, or a command, may have made it
    /// just now. All that wait share a look, and there are few looks in a second, so that unknown
    /// keys cost the database next to nothing.
    async fn look_for_key(self: &Arc<Self>) -> Result<(), Denial> {
        let (guard, arrived) = (self.clone(), Instant::now());
        // In a task of its own: it goes on when its client goes away.
        let looking = self.runtime.spawn(async move {
            let mut last = guard.last_look.lock().await;
            if last.began.is_some_and(|began| began > arrived) {
                return last.has_found;
            }
            let since = last.began.map_or(BETWEEN_LOOKS, |began| began.elapsed());
            tokio::time::sleep(BETWEEN_LOOKS.saturating_sub(since)).await;
            guard.look(&mut last).await.is_ok()
        });
        match looking.await {
            Ok(true) => Ok(()),
            _ => Err(Denial::Unavailable),
        }
    }

    /// Looks whether keys were changed, and reads them again if so. What was remembered of a
    /// revoked key is forgotten; everything else stays.
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
        let known = self.version.load(Ordering::Acquire);
        if version != known {
            self.read_keys().await?;
            self.has_users.store(self.store.has_users().await?, Ordering::Release);
            self.forget_ended(known, version).await?;
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
    fn note_use(&self, who: &SignedIn) {
        let (id, uses) = match (&who.key, &who.session) {
            (Some(key), _) => (key, &self.key_uses),
            (None, Some(session)) => {
                session.touch();
                (&session.id, &self.session_uses)
            }
            (None, None) => return,
        };
        let now_ms = self.clock.now_ms();
        let minute = now_ms.div_euclid(60_000);
        if who.noted_minute.swap(minute, Ordering::Relaxed) != minute {
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
