//! The keys of a provider as they were fetched last. They are fetched anew at intervals, and where
//! a token names one that is not known; the last good ones count while the provider is away.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use tokio::sync::{Mutex as FetchTurn, OwnedMutexGuard, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    keys::{Key, KeyPrint},
    provider::{FetchError, Provider},
    reason::{Unavailable, shown},
};

/// How often a provider is asked.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The time between two fetches in the background.
    pub refresh: Duration,
    /// The least time between two fetches that unknown keys in tokens cause: tokens with random
    /// keys cause no more.
    pub cool_down: Duration,
    /// The time until the next try after a fetch failed; it doubles with each failure, up to
    /// `cool_down`. While there are no keys at all, tokens cause fetches no more often than this.
    pub retry: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            refresh: Duration::from_secs(3_600),
            cool_down: Duration::from_secs(30),
            retry: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
        }
    }
}

/// The most tokens that wait for one fetch.
const MOST_WAITING: usize = 64;

/// The keys of a provider.
pub struct FetchedKeys {
    issuer: String,
    provider: Provider,
    pace: Pace,
    keys: ArcSwapOption<Vec<Key>>,
    /// Counts how often a key had gone when the keys were fetched anew.
    removals: AtomicU64,
    /// One fetch at a time: when the last one began, by a token or in the background.
    turn: Arc<FetchTurn<Option<Instant>>>,
    waiting: Semaphore,
    past: Mutex<Past>,
    /// Whether the log has said that the provider is away.
    is_away: AtomicBool,
}

#[derive(Default)]
struct Past {
    fetched_at: Option<Instant>,
    error: Option<&'static str>,
}

/// What is known of an issuer's keys, for readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysState {
    /// How many there are.
    pub keys: usize,
    /// How long ago they were fetched; `None`: never, or they stand in the settings.
    pub fetched_ago: Option<Duration>,
    /// Why the last fetch failed, in one word; `None`: it did not.
    pub last_error: Option<&'static str>,
}

impl FetchedKeys {
    /// No keys yet.
    pub fn new(issuer: &str, provider: Provider, pace: Pace) -> Arc<Self> {
        Arc::new(FetchedKeys {
            issuer: issuer.to_owned(),
            provider,
            pace,
            keys: ArcSwapOption::empty(),
            removals: AtomicU64::new(0),
            turn: Arc::default(),
            waiting: Semaphore::new(MOST_WAITING),
            past: Mutex::default(),
            is_away: AtomicBool::new(false),
        })
    }

    /// The keys; where none of them has this `kid`, as they are after a fetch, unless one was tried
    /// within the cool-down.
    ///
    /// # Errors
    /// There are no keys, or there may be newer ones that cannot be fetched.
    pub async fn with_kid(
        self: &Arc<Self>,
        kid: Option<&str>,
    ) -> Result<Arc<Vec<Key>>, Unavailable> {
        if let Some(keys) = self.keys.load_full().filter(|keys| has(keys, kid)) {
            return Ok(keys);
        }
        let _place = self.waiting.try_acquire().map_err(|_| Unavailable::Busy)?;
        // A task of its own: a client that goes away does not end the fetch for the others.
        let this = self.clone();
        let wanted = kid.map(str::to_owned);
        let fetch = tokio::spawn(async move { this.fetch_for_token(wanted.as_deref()).await });
        if fetch.await.is_err() {
            tracing::error!(issuer = self.issuer, "the fetch of a provider's keys panicked");
        }
        let error = self.past().error;
        match (self.keys.load_full(), error) {
            (Some(keys), None) => Ok(keys),
            (Some(keys), Some(_)) if has(&keys, kid) => Ok(keys),
            (Some(_), Some(error)) => Err(Unavailable::PerhapsNewer {
                issuer: self.issuer.clone(),
                kid: kid.map_or_else(|| "missing".into(), shown),
                error,
            }),
            (None, error) => Err(Unavailable::NoKeys {
                issuer: self.issuer.clone(),
                error: error.unwrap_or("not tried"),
            }),
        }
    }

    async fn fetch_for_token(&self, kid: Option<&str>) {
        let turn = self.turn.clone().lock_owned().await;
        // Another token may have waited for the same fetch.
        let keys = self.keys.load_full();
        if keys.as_ref().is_some_and(|keys| has(keys, kid)) {
            return;
        }
        let pause = if keys.is_some() { self.pace.cool_down } else { self.pace.retry };
        if turn.is_none_or(|began| began.elapsed() >= pause) {
            self.fetch(turn).await;
        }
    }

    /// Fetches at intervals until `stop`.
    pub async fn keep_current(self: Arc<Self>, stop: CancellationToken) {
        let mut retry = self.pace.retry;
        loop {
            let fetch = async { self.fetch(self.turn.clone().lock_owned().await).await };
            let is_fetched = tokio::select! {
                () = stop.cancelled() => return,
                is_fetched = fetch => is_fetched,
            };
            let pause = match is_fetched {
                true => {
                    retry = self.pace.retry;
                    self.pace.refresh
                }
                false => {
                    let pause = retry;
                    retry = (retry * 2).min(self.pace.cool_down);
                    pause
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Fetches once. Returns whether that succeeded.
    async fn fetch(&self, mut turn: OwnedMutexGuard<Option<Instant>>) -> bool {
        *turn = Some(Instant::now());
        match self.provider.fetch().await {
            Ok(keys) => {
                self.take(keys);
                true
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    fn take(&self, keys: Vec<Key>) {
        let was_away = self.is_away.swap(false, Ordering::Relaxed);
        let new = Arc::new(keys);
        let old = self.keys.swap(Some(new.clone())).unwrap_or_default();
        let (added, removed) = (beside(&new, &old), beside(&old, &new));
        if was_away || added > 0 || removed > 0 {
            let (issuer, keys) = (&self.issuer, new.len());
            tracing::info!(issuer, keys, added, removed, "got the provider's keys");
        }
        if removed > 0 {
            // After the keys: whoever sees the number sees that they have gone.
            self.removals.fetch_add(1, Ordering::Release);
        }
        *self.past() = Past { fetched_at: Some(Instant::now()), error: None };
    }

    fn failed(&self, error: &FetchError) {
        self.past().error = Some(error.class);
        if self.is_away.swap(true, Ordering::Relaxed) {
            return;
        }
        let issuer = &self.issuer;
        match self.keys.load().is_some() {
            true => tracing::warn!(
                issuer, %error,
                "the provider's keys cannot be fetched; the last ones go on to count"
            ),
            false => tracing::warn!(
                issuer, %error,
                "the provider's keys cannot be fetched; its tokens are answered 503 until they are"
            ),
        }
    }

    /// Whether this key is among them now.
    pub fn has(&self, print: &KeyPrint) -> bool {
        self.keys.load().as_ref().is_some_and(|keys| keys.iter().any(|key| key.print == *print))
    }

    /// Rises after a key has gone.
    pub fn removals(&self) -> u64 {
        self.removals.load(Ordering::Acquire)
    }

    /// What is known of the keys.
    pub fn state(&self) -> KeysState {
        let past = self.past();
        KeysState {
            keys: self.keys.load().as_ref().map_or(0, |keys| keys.len()),
            fetched_ago: past.fetched_at.map(|at| at.elapsed()),
            last_error: past.error,
        }
    }

    fn past(&self) -> std::sync::MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many of the keys are not among the others.
fn beside(keys: &[Key], others: &[Key]) -> usize {
    keys.iter().filter(|key| others.iter().all(|other| other.print != key.print)).count()
}

/// Whether one of the keys has this name; each set has a key for a token that names none.
fn has(keys: &[Key], kid: Option<&str>) -> bool {
    kid.is_none() || keys.iter().any(|key| key.kid.is_none() || key.kid.as_deref() == kid)
}
