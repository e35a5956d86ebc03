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

use super::{Visible, api_keys, known_keys::KnownKeys, remembered::Remembered};
use crate::{
    clock::Clock,
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
    /// The API key by which it signed in.
    key: Option<String>,
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

/// The most credentials that are remembered.
const REMEMBERED: usize = 20_000;
/// Owner's keys of facilities are looked up again after this time.
const SCOPE_BY_KEY: Duration = Duration::from_secs(60);
/// An API key that is not known here is asked for at most so many times a second: another server
/// may have made it just now.
const ASKS_A_SECOND: u32 = 20;

/// Verifies credentials, and remembers them.
pub struct Guard {
    store: Arc<dyn Store>,
    directory: Arc<Directory>,
    clock: Arc<Clock>,
    remembered: Remembered,
    keys: ArcSwap<KnownKeys>,
    /// The access version of `keys`; less than any where they were not read yet.
    version: AtomicI64,
    reading: tokio::sync::Mutex<()>,
    asked: Mutex<(Instant, u32)>,
    /// Uses of keys that are yet to be stored, in milliseconds since 1970.
    uses: Mutex<HashMap<String, i64>>,
}

impl Guard {
    /// A guard that knows no key yet.
    pub fn new(store: Arc<dyn Store>, directory: Arc<Directory>, clock: Arc<Clock>) -> Self {
        Guard {
            store,
            directory,
            clock,
            remembered: Remembered::new(REMEMBERED),
            keys: ArcSwap::default(),
            version: AtomicI64::new(i64::MIN),
            reading: tokio::sync::Mutex::default(),
            asked: Mutex::new((Instant::now(), 0)),
            uses: Mutex::default(),
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
    pub async fn verify(&self, credential: &str) -> Result<Arc<SignedIn>, Denial> {
        let Some(id) = api_keys::id_of(credential) else { return Err(Denial::Invalid) };
        let who = match self.by_key(id, credential) {
            Some(who) => who,
            None => {
                self.ask_for_key(id).await?;
                self.by_key(id, credential).ok_or(Denial::Invalid)?
            }
        };
        let who = Arc::new(who);
        self.remembered.put(credential, who.clone());
        // It may have been revoked, and what is remembered gone through, before this was put there.
        if !self.keys.load().has(id) {
            self.remembered.forget(|other| other.key.as_deref() == Some(id));
            return Err(Denial::Invalid);
        }
        self.note_use(&who);
        Ok(who)
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
        SignedIn { principal, visible, until, key, noted_minute: AtomicI64::new(i64::MIN) }
    }

    /// Asks the table for a key that is not known here.
    async fn ask_for_key(&self, id: &str) -> Result<(), Denial> {
        let version = self.version.load(Ordering::Acquire);
        if version == i64::MIN {
            return Err(Denial::Unavailable);
        }
        if self.keys.load().has(id) {
            return Ok(()); // it may have become known just now
        }
        if !self.may_ask() {
            return Err(Denial::Unavailable);
        }
        let rows = self.store.api_keys(Some(id)).await.map_err(|_| Denial::Unavailable)?;
        let (found, _) = KnownKeys::of(rows);
        if !found.has(id) {
            return Err(Denial::Invalid);
        }
        let _one = self.reading.lock().await;
        // Keys that were read meanwhile are newer than this one, which may be revoked by now.
        if self.version.load(Ordering::Acquire) == version {
            self.keys.store(Arc::new(self.keys.load().with(found)));
        }
        Ok(())
    }

    /// Whether one more key may be asked for in this second.
    fn may_ask(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.0.elapsed() >= Duration::from_secs(1) {
            *asked = (Instant::now(), 0);
        }
        asked.1 += 1;
        asked.1 <= ASKS_A_SECOND
    }

    /// Looks whether keys were changed, and reads them again if so. What was remembered of a
    /// revoked key is forgotten; everything else stays.
    ///
    /// # Errors
    /// The database does not answer. What is known is kept.
    pub async fn follow(&self) -> store::Result<()> {
        let version = self.store.access_version().await?;
        if version == self.version.load(Ordering::Acquire) {
            return Ok(());
        }
        let _one = self.reading.lock().await;
        let (keys, unreadable) = KnownKeys::of(self.store.api_keys(None).await?);
        if !unreadable.is_empty() {
            tracing::warn!(ids = ?unreadable, "API keys whose rows cannot be read are refused");
        }
        let keys = Arc::new(keys);
        self.keys.store(keys.clone());
        self.remembered.forget(|who| who.key.as_ref().is_some_and(|id| !keys.has(id)));
        self.version.store(version, Ordering::Release);
        Ok(())
    }

    /// Whether no key is known that can be used.
    pub fn has_no_key(&self) -> bool {
        self.keys.load().is_empty()
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
