//! An issuer: its keys, and what its tokens must be like.

use std::{str::FromStr, sync::Arc};

use jsonwebtoken::Algorithm::{self, ES256, EdDSA, HS256, PS256, RS256};
use serde_json::{Map, Value};

use super::{
    compact::Compact,
    fetched::{FetchedKeys, KeysState, Pace},
    keys::{self, Key, MOST_TRIES},
    mapping::Mapping,
    provider::Provider,
    reason::{Reason, shown, shown_value},
};
use crate::{
    access::denials::MOST_CHARACTERS,
    config::{
        SettingsError,
        auth::{AuthSettings, IssuerSettings, OWN_ISSUER, SECRET_BYTES, Secret},
    },
};

/// The type of the tokens that `token mint` makes (RFC 9068).
pub const OWN_TYPE: &str = "at+jwt";

/// The greatest number of seconds that a time in a token may be: the year 9999.
const MOST_SECONDS: f64 = 253_402_300_799.0;

/// Whose tokens are accepted.
pub struct Issuer {
    /// The claim `iss` of its tokens.
    pub name: String,
    /// What its claims mean.
    pub mapping: Mapping,
    /// What the claim `aud` of tokens for our interface contains.
    pub audience: String,
    algorithms: Vec<Algorithm>,
    token_type: Option<String>,
    /// How far its clock may differ, in seconds.
    pub leeway_s: i64,
    keys: Keys,
}

enum Keys {
    Static(Arc<Vec<Key>>),
    Fetched(Arc<FetchedKeys>),
}

/// The times of a token, in milliseconds since 1970.
pub struct Times {
    /// From this instant on it is refused; the leeway is part of it.
    pub expires_ms: i64,
    /// When it was made.
    pub issued_ms: Option<i64>,
}

impl Issuer {
    /// The issuer of the tokens that `token mint` makes with this secret.
    pub fn own(secret: &Secret, settings: &AuthSettings) -> Self {
        Issuer {
            name: OWN_ISSUER.into(),
            mapping: Mapping::own(),
            audience: settings.main.audience.clone(),
            algorithms: vec![HS256],
            token_type: Some(OWN_TYPE.into()),
            leeway_s: seconds(settings.main.leeway_seconds),
            keys: Keys::Static(Arc::new(vec![Key::secret(secret.expose().as_bytes())])),
        }
    }

    /// One of the settings; `section` is where they stand.
    ///
    /// # Errors
    /// Its keys cannot be used, or not with its algorithms.
    pub fn open(
        section: &str,
        settings: &IssuerSettings,
        pace: Pace,
    ) -> Result<Self, SettingsError> {
        let name = settings.issuer.clone().unwrap_or_default();
        let keys = match static_keys(section, settings)? {
            Some(keys) => Keys::Static(Arc::new(keys)),
            None => {
                let provider = Provider::new(&name, settings.jwks_url.as_deref(), pace.timeout);
                let provider = provider.map_err(|error| {
                    let right = format!(
                        "its keys cannot be fetched from here: {error}. Are there root \
                         certificates (ca-certificates, or SSL_CERT_FILE)?"
                    );
                    SettingsError::new(&format!("{section}.issuer"), &name, &right)
                })?;
                Keys::Fetched(FetchedKeys::new(&name, provider, pace))
            }
        };
        let has_secret = matches!(&keys, Keys::Static(keys) if keys.iter().any(Key::is_secret));
        let algorithms: Vec<Algorithm> =
            settings.algorithms().filter_map(|name| Algorithm::from_str(name).ok()).collect();
        let algorithms = match (algorithms.is_empty(), has_secret) {
            (true, true) => vec![HS256],
            (true, false) => vec![ES256, RS256, PS256, EdDSA],
            (false, _) => algorithms,
        };
        // A secret and public keys are never together, so that HS256 is for the one and all others
        // are for the other.
        let unusable = |algorithm: &&Algorithm| match &keys {
            Keys::Static(keys) => !keys.iter().any(|key| key.is_for(**algorithm)),
            Keys::Fetched(_) => is_of_secret(**algorithm),
        };
        // Of the defaults, a key needs to be for one only.
        let unusable: Vec<&Algorithm> = algorithms.iter().filter(unusable).collect();
        let is_wrong = match settings.algorithms.is_some() {
            true => !unusable.is_empty(),
            false => unusable.len() == algorithms.len(),
        };
        if is_wrong {
            let right = "are not for the issuer's keys: HS256 goes with a secret and nothing else, \
                         ES256 with P-256, ES384 with P-384, RS… and PS… with RSA, EdDSA with \
                         Ed25519";
            let key = format!("{section}.algorithms");
            return Err(SettingsError::new(&key, &names(&algorithms), right));
        }
        Ok(Issuer {
            name,
            mapping: Mapping::new(settings),
            audience: settings.audience.clone(),
            algorithms,
            token_type: settings.token_type.clone(),
            leeway_s: seconds(settings.leeway_seconds),
            keys,
        })
    }

    /// The algorithm of a token, if it is one of this issuer's.
    ///
    /// # Errors
    /// It is not.
    pub fn algorithm(&self, token: &Compact<'_>) -> Result<Algorithm, Reason> {
        let algorithm = Algorithm::from_str(&token.algorithm).ok();
        algorithm
            .filter(|one| self.algorithms.contains(one))
            .ok_or_else(|| Reason::Algorithm(shown(&token.algorithm), names(&self.algorithms)))
    }

    /// Whether a token is of the type of those for our interface.
    ///
    /// # Errors
    /// It is not.
    pub fn check_type(&self, token: &Compact<'_>) -> Result<(), Reason> {
        let token_type = token.token_type.as_deref().map(|name| {
            let name = name.to_ascii_lowercase();
            name.strip_prefix("application/").map_or(name.clone(), str::to_owned)
        });
        let (fits, expected) = match (&self.token_type, token_type.as_deref()) {
            (Some(wanted), is) => (
                is == Some(wanted.to_ascii_lowercase().trim_start_matches("application/")),
                wanted.as_str(),
            ),
            (None, is) => (matches!(is, None | Some("jwt" | "at+jwt")), "JWT or at+jwt"),
        };
        if !fits {
            let is = token.token_type.as_deref().map_or_else(|| "missing".into(), shown);
            return Err(Reason::Type(is, expected.into()));
        }
        Ok(())
    }

    /// The times of a token that is valid now and for this audience.
    ///
    /// # Errors
    /// It is over, not yet valid, for another audience, or has not all of these claims.
    pub fn times(
        &self,
        claims: &Map<String, Value>,
        audience_wanted: &str,
        now_ms: i64,
    ) -> Result<Times, Reason> {
        let is_ours = |value: &Value| value.as_str() == Some(audience_wanted);
        let audience = claims.get("aud");
        if !audience.is_some_and(|value| match value {
            Value::Array(list) => list.iter().any(is_ours),
            value => is_ours(value),
        }) {
            return Err(Reason::Audience(shown_value(audience), audience_wanted.to_owned()));
        }
        let leeway_ms = self.leeway_s * 1_000;
        let exp_ms = time(claims, "exp")?.ok_or_else(|| {
            Reason::Claim("exp", "there", "missing: the token would be valid for ever".into())
        })?;
        let expires_ms = exp_ms.saturating_add(leeway_ms);
        if now_ms >= expires_ms {
            return Err(Reason::Expired(instant(exp_ms), instant(now_ms), self.leeway_s));
        }
        for name in ["nbf", "iat"] {
            if let Some(from_ms) = time(claims, name)?
                && from_ms > now_ms.saturating_add(leeway_ms)
            {
                return Err(Reason::NotYet(instant(from_ms), instant(now_ms), self.leeway_s));
            }
        }
        let issued_ms = time(claims, "iat")?;
        Ok(Times { expires_ms, issued_ms })
    }

    /// The keys that a token with this `kid` may be signed with; at least one.
    ///
    /// # Errors
    /// The issuer has no such key, or that cannot be said now.
    pub async fn keys_for(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<Key>, super::Refusal> {
        let keys = match &self.keys {
            Keys::Static(keys) => keys.clone(),
            Keys::Fetched(keys) => keys.with_kid(kid).await.map_err(super::Refusal::from)?,
        };
        let fits = |key: &&Key| {
            key.is_for(algorithm)
                && (kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid)
        };
        let named = |key: &&Key| key.kid.is_some() && key.kid.as_deref() == kid;
        let mut found: Vec<Key> = keys.iter().filter(fits).cloned().collect();
        if found.iter().any(|key| named(&key)) {
            found.retain(|key| named(&key));
        }
        if found.is_empty() || found.len() > MOST_TRIES {
            let known = keys.iter().filter(|key| key.is_for(algorithm)).map(Key::name);
            let kid = kid.map_or_else(|| "not named".into(), shown);
            let known = known.take(10).collect::<Vec<_>>().join(", ");
            return Err(Reason::Key(kid, algorithm, known).into());
        }
        Ok(found)
    }

    /// The keys that are fetched; `None` where they stand in the settings.
    pub fn fetched(&self) -> Option<&Arc<FetchedKeys>> {
        match &self.keys {
            Keys::Static(_) => None,
            Keys::Fetched(keys) => Some(keys),
        }
    }

    /// What is known of its keys.
    pub fn state(&self) -> KeysState {
        match &self.keys {
            Keys::Static(keys) => {
                KeysState { keys: keys.len(), fetched_ago: None, last_error: None }
            }
            Keys::Fetched(keys) => keys.state(),
        }
    }
}

/// The secret of our own tokens, from the settings or their file.
///
/// # Errors
/// The file cannot be read, or the secret is too short.
pub fn own_secret(settings: &AuthSettings) -> Result<Option<Secret>, SettingsError> {
    let Some(path) = &settings.secret_file else { return Ok(settings.secret.clone()) };
    let text = read("auth.secret_file", path)?;
    crate::config::auth::check_secret("auth.secret_file", text.expose())?;
    Ok(Some(text))
}

fn static_keys(
    section: &str,
    settings: &IssuerSettings,
) -> Result<Option<Vec<Key>>, SettingsError> {
    let (key, text) = match (&settings.keys, &settings.keys_file) {
        (Some(keys), _) => (format!("{section}.keys"), keys.clone()),
        (None, Some(path)) => {
            let key = format!("{section}.keys_file");
            let text = read(&key, path)?;
            (key, text)
        }
        (None, None) => return Ok(None),
    };
    let keys = keys::from_settings(text.expose())
        .map_err(|why| SettingsError::new(&key, &"***", &format!("its keys {why}")))?;
    let secrets = keys.iter().filter(|key| key.is_secret()).count();
    if secrets > 0 && secrets < keys.len() {
        let right = format!("public keys and a secret of {SECRET_BYTES} bytes do not go together");
        return Err(SettingsError::new(&key, &"***", &right));
    }
    Ok(Some(keys))
}

fn read(key: &str, path: &std::path::Path) -> Result<Secret, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        SettingsError::new(key, &path.display(), &format!("cannot be read: {error}"))
    })?;
    Ok(Secret::new(text.trim()))
}

/// The subject of a token.
///
/// # Errors
/// It has none, or one that no denial could name.
pub fn subject(claims: &Map<String, Value>) -> Result<String, Reason> {
    let subject = claims.get("sub").and_then(Value::as_str);
    let is_subject = |text: &&str| {
        !text.trim().is_empty()
            && !text.contains(char::is_control)
            && text.chars().count() <= MOST_CHARACTERS
    };
    subject.filter(is_subject).map(str::to_owned).ok_or_else(|| {
        let right = "a text that is not empty, of at most 1,000 characters";
        Reason::Claim("sub", right, shown_value(claims.get("sub")))
    })
}

/// The claim as milliseconds. `None`: it is missing.
pub fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, Reason> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| seconds.abs() <= MOST_SECONDS);
    let seconds = seconds.ok_or_else(|| {
        Reason::Claim(name, "a number of seconds since 1970", shown_value(Some(value)))
    })?;
    Ok(Some((seconds * 1_000.0) as i64))
}

fn instant(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |at| at.to_string())
}

fn is_of_secret(algorithm: Algorithm) -> bool {
    matches!(algorithm, HS256 | Algorithm::HS384 | Algorithm::HS512)
}

fn names(algorithms: &[Algorithm]) -> String {
    algorithms.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>().join(", ")
}

fn seconds(setting: u64) -> i64 {
    i64::try_from(setting).unwrap_or(i64::MAX / 1_000)
}
