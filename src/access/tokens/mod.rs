//! Signed tokens (JWT) of identity providers, and those of `facility-summary token mint`, verified
//! as RFC 8725 says. The settings fix for each issuer which keys, algorithms, audience and type its
//! tokens have; a token chooses among them and brings nothing.

pub mod compact;
mod fetched;
pub mod identity;
mod issuer;
mod json;
mod keys;
pub mod mapping;
pub mod mint;
pub mod provider;
mod reason;
#[cfg(test)]
mod tests;
mod trace;

use std::{sync::Arc, thread::available_parallelism};

use futures_util::future::join_all;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{SettingsError, auth::AuthSettings},
    domain::access::{FacilityScope, Principal},
};
use compact::Compact;
pub use fetched::{KeysState, Pace};
use issuer::Issuer;
use keys::Key;
pub use keys::KeyPrint;
use reason::shown_value;
pub use reason::{Reason, Refusal, Unavailable, shown};
use trace::Trace;

/// The most tokens that are being verified or wait for it; one more is answered 503.
const MOST_VERIFYING: usize = 256;

/// The longest name of a principal, in characters.
const NAME_CHARACTERS: usize = 1_000;

/// The issuers whose tokens are accepted.
pub struct Tokens {
    issuers: Vec<Issuer>,
    /// Places of tokens that are being verified, or wait.
    places: Arc<Semaphore>,
    /// Those of them that are being verified: no more than there are cores.
    cores: Arc<Semaphore>,
}

/// A token that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Who has it. Its id is `token:<issuer>#<subject>`.
    pub principal: Principal,
    /// From this instant on the token is refused, in milliseconds since 1970; the leeway is part
    /// of it.
    pub expires_ms: i64,
    /// When the token was made, in milliseconds since 1970, where it says so.
    pub issued_ms: Option<i64>,
    /// The issuer, as in the claim `iss`.
    pub issuer: String,
    /// The subject, as in the claim `sub`.
    pub subject: String,
    /// Its own name, as in the claim `jti`; `None` where that is not there, or no text.
    pub token_id: Option<String>,
    /// The key that it is signed with.
    pub key: KeyPrint,
}

/// What is known of an issuer, for readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerState {
    /// The issuer, as in the claim `iss`.
    pub issuer: String,
    /// Whether its keys are fetched from a provider.
    pub is_fetched: bool,
    /// Its keys.
    pub keys: KeysState,
}

/// How a token was judged.
pub struct Explained {
    /// The checks that it passed, in their order.
    pub steps: Vec<String>,
    /// What it allows, or why it is refused.
    pub outcome: Result<Verified, Refusal>,
}

impl Tokens {
    /// The issuers of the settings. Nothing is fetched yet: [`Tokens::keep_current`] does that, and
    /// the first token of an issuer.
    ///
    /// # Errors
    /// A file cannot be read, or a key or a secret cannot be used.
    pub fn open(settings: &AuthSettings) -> Result<Self, SettingsError> {
        Self::open_at(settings, Pace::default())
    }

    /// The same, with providers asked at another pace.
    ///
    /// # Errors
    /// As of [`Tokens::open`].
    pub fn open_at(settings: &AuthSettings, pace: Pace) -> Result<Self, SettingsError> {
        let own = issuer::own_secret(settings)?.map(|secret| Issuer::own(&secret, settings));
        let mut issuers: Vec<Issuer> = own.into_iter().collect();
        for (section, one) in settings.all_issuers() {
            issuers.push(Issuer::open(&section, one, pace)?);
        }
        let cores = available_parallelism().map_or(1, usize::from);
        Ok(Tokens {
            issuers,
            places: Arc::new(Semaphore::new(MOST_VERIFYING)),
            cores: Arc::new(Semaphore::new(cores)),
        })
    }

    /// Whether no issuer is configured: every token is then refused.
    pub fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// The names of the issuers, as in the claim `iss`.
    pub fn names(&self) -> Vec<&str> {
        self.issuers.iter().map(|issuer| issuer.name.as_str()).collect()
    }

    /// Keeps the keys of all providers current until `stop`.
    pub async fn keep_current(self: Arc<Self>, stop: CancellationToken) {
        let fetched = self.issuers.iter().filter_map(Issuer::fetched);
        join_all(fetched.map(|keys| keys.clone().keep_current(stop.clone()))).await;
    }

    /// Whether this issuer still has the key.
    pub fn has_key(&self, issuer: &str, key: &KeyPrint) -> bool {
        let issuer = self.issuers.iter().find(|one| one.name == issuer);
        // Keys of the settings stay.
        issuer.is_some_and(|one| one.fetched().is_none_or(|keys| keys.has(key)))
    }

    /// Rises after a provider's key has gone, so that tokens that it signed do not count any more.
    pub fn removals(&self) -> u64 {
        self.issuers.iter().filter_map(Issuer::fetched).map(|keys| keys.removals()).sum()
    }

    /// What is known of each issuer.
    pub fn state(&self) -> Vec<IssuerState> {
        let state = |issuer: &Issuer| IssuerState {
            issuer: issuer.name.clone(),
            is_fetched: issuer.fetched().is_some(),
            keys: issuer.state(),
        };
        self.issuers.iter().map(state).collect()
    }

    /// Verifies a token at `now_ms`, in milliseconds since 1970. The signature is checked in a
    /// blocking task, of which there are no more than cores.
    ///
    /// # Errors
    /// It is not valid, or that cannot be said now.
    pub async fn verify(&self, token: &str, now_ms: i64) -> Result<Verified, Refusal> {
        self.check(token, now_ms, &mut Trace::off()).await
    }

    /// Verifies a token, and says which checks it passed.
    pub async fn explain(&self, token: &str, now_ms: i64) -> Explained {
        let mut trace = Trace::on();
        let outcome = self.check(token, now_ms, &mut trace).await;
        Explained { steps: trace.into_steps(), outcome }
    }

    async fn check(
        &self,
        token: &str,
        now_ms: i64,
        trace: &mut Trace,
    ) -> Result<Verified, Refusal> {
        let read = Compact::read(token)?;
        trace.passed(|| format!("form: a signed JWT of {} bytes", token.len()));
        // Not proven: it only picks the keys, which then prove it.
        let issuer = self.issuer(&read.claims)?;
        trace.passed(|| format!("issuer: {}", shown(&issuer.name)));
        let algorithm = issuer.algorithm(&read)?;
        issuer.check_type(&read)?;
        trace.passed(|| {
            let token_type = read.token_type.as_deref().map_or_else(|| "none".into(), shown);
            format!("header: algorithm {algorithm:?}, type {token_type}")
        });
        let times = issuer.times(&read.claims, &issuer.audience, now_ms)?;
        let subject = issuer::subject(&read.claims)?;
        trace.passed(|| {
            let ends = jiff::Timestamp::from_millisecond(times.expires_ms).unwrap_or_default();
            let leeway = issuer.leeway_s;
            let subject = shown(&subject);
            format!("claims: audience, subject {subject}, valid until {ends} (exp and {leeway} s)")
        });
        let (key, names) = self.check_signature(issuer, algorithm, &read).await?;
        trace.passed(|| format!("signature: fits the issuer's key {names}"));
        let principal = principal(issuer, &read.claims, &subject, trace)?;
        let (expires_ms, issued_ms) = (times.expires_ms, times.issued_ms);
        let token_id = read.claims.get("jti").and_then(Value::as_str).map(str::to_owned);
        let issuer = issuer.name.clone();
        Ok(Verified { principal, expires_ms, issued_ms, issuer, subject, token_id, key })
    }

    /// Checks the signature. Returns the key that it fits, and the names of those that were tried.
    async fn check_signature(
        &self,
        issuer: &Issuer,
        algorithm: Algorithm,
        token: &Compact<'_>,
    ) -> Result<(KeyPrint, String), Refusal> {
        let keys = issuer.keys_for(token.kid.as_deref(), algorithm).await?;
        let names = keys.iter().map(Key::name).collect::<Vec<_>>().join(", ");
        match self.fitting(keys, algorithm, token).await? {
            Some(key) => Ok((key, names)),
            None => Err(Reason::Signature(names).into()),
        }
    }

    fn issuer(&self, claims: &Map<String, Value>) -> Result<&Issuer, Reason> {
        let name = claims.get("iss").and_then(Value::as_str);
        self.issuers.iter().find(|issuer| name == Some(&issuer.name)).ok_or_else(|| {
            let names: Vec<String> = self.issuers.iter().map(|one| shown(&one.name)).collect();
            let names = if names.is_empty() { "none".into() } else { names.join(", ") };
            Reason::Issuer(shown_value(claims.get("iss")), names)
        })
    }

    /// The key of these that the signature is one of.
    async fn fitting(
        &self,
        keys: Vec<Key>,
        algorithm: Algorithm,
        token: &Compact<'_>,
    ) -> Result<Option<KeyPrint>, Unavailable> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Unavailable::Busy)?;
        let core = self.cores.clone().acquire_owned().await.map_err(|_| Unavailable::Busy)?;
        let (message, signature) = (token.message.to_owned(), token.signature.to_owned());
        // The permits go into the task: it goes on when its client goes away.
        let check = tokio::task::spawn_blocking(move || {
            let fits = |key: &&Key| key.verifies(algorithm, &message, &signature);
            let fitting = keys.iter().find(fits).map(|key| key.print);
            drop((core, place));
            fitting
        });
        Ok(check.await.unwrap_or(None))
    }
}

/// Whom a token of this issuer is about, by the claims.
fn principal(
    issuer: &Issuer,
    claims: &Map<String, Value>,
    subject: &str,
    trace: &mut Trace,
) -> Result<Principal, Reason> {
    let role = issuer.mapping.role(claims)?;
    trace.passed(|| format!("role: {role}"));
    let facilities = issuer.mapping.facilities(role, claims)?;
    trace.passed(|| format!("facilities: {}", in_words(&facilities)));
    Ok(Principal {
        id: format!("token:{}#{subject}", issuer.name),
        name: name(claims, subject),
        role,
        facilities,
        may_read: false,
    })
}

/// The name for people: the first of the usual claims that has one.
fn name(claims: &Map<String, Value>, subject: &str) -> String {
    let names = ["name", "preferred_username", "client_id", "azp"];
    let found = names.iter().find_map(|claim| claims.get(*claim)?.as_str());
    let name = found.filter(|name| !name.trim().is_empty()).unwrap_or(subject);
    name.chars().filter(|c| !c.is_control()).take(NAME_CHARACTERS).collect()
}

/// The facilities of a scope, for people.
pub fn in_words(scope: &FacilityScope) -> String {
    let FacilityScope::Only(named) = scope else { return "all".into() };
    let ids = named.ids.iter().map(ToString::to_string);
    let all: Vec<String> = ids.chain(named.keys.iter().map(|key| shown(key))).collect();
    if all.is_empty() { "none".into() } else { all.join(", ") }
}
