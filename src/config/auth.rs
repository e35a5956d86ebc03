//! `[auth]`: who may use the service: whether each request needs a credential, whose tokens are
//! accepted, and what they allow. The names in the claims of a provider
//! are texts whose spelling counts, so this section is read by itself.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::{SettingsError, Switch};
use crate::domain::access::Role;

/// The issuer in tokens that `token mint` makes.
pub const OWN_ISSUER: &str = "facility-summary";

/// The least length of a secret, in bytes: that of the hash which it keys (RFC 7518, 3.2).
pub const SECRET_BYTES: usize = 32;

/// A text that is shown nowhere.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A secret with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text, for the code that signs and verifies.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Shows nothing of it.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `[auth]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSettings {
    /// Whether each request needs a credential. Off: everybody who reaches the service may
    /// everything, so only a loopback address is bound. `None`: on where a secret or an issuer is
    /// set.
    pub sign_in: Option<Switch>,
    /// How long the audit log, and keys that have ended, are kept, in days.
    pub audit_log_days: u32,
    /// The secret of the tokens that `token mint` makes; at least [`SECRET_BYTES`] long.
    pub secret: Option<Secret>,
    /// A file with this secret.
    pub secret_file: Option<PathBuf>,
    /// The URL at which clients and browsers reach the service: `https://host[:port]`. Without it,
    /// providers cannot send anybody back, and clients do not learn where they get tokens.
    pub public_url: Option<String>,
    /// After how many minutes a session ends that is not used.
    pub session_idle_minutes: u64,
    /// After how many hours a session ends in any case.
    pub session_hours: u64,
    /// The issuer whose keys stand in `[auth]` itself. Its audience is that of our own tokens, too.
    pub main: IssuerSettings,
    /// `[[auth.issuers]]`: further ones. None takes over anything from another.
    pub issuers: Vec<IssuerSettings>,
}

/// An identity provider, or a program that signs tokens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssuerSettings {
    /// Its name, as in the claim `iss`. Without keys or `jwks_url` it is also the URL at which the
    /// provider is discovered.
    pub issuer: Option<String>,
    /// What the claim `aud` must contain.
    pub audience: String,
    /// Where its keys are. `None`: its discovery document says so.
    pub jwks_url: Option<String>,
    /// Its keys: PEM, a JWK, a JWKS, or a secret.
    pub keys: Option<Secret>,
    /// A file with its keys.
    pub keys_file: Option<PathBuf>,
    /// The service's name at the provider, which is then asked to sign people in. `None`: it is
    /// not.
    pub client_id: Option<String>,
    /// The service's secret at the provider. `None`: the provider knows it by its name alone.
    pub client_secret: Option<Secret>,
    /// A file with this secret.
    pub client_secret_file: Option<PathBuf>,
    /// What is asked of the provider, with spaces between.
    pub scopes: String,
    /// The algorithms that its tokens may be signed with, separated by commas.
    pub algorithms: Option<String>,
    /// What the header `typ` must be. `None`: it may be missing, `JWT` or `at+jwt`.
    pub token_type: Option<String>,
    /// How many seconds the provider's clock may differ.
    pub leeway_seconds: u64,
    /// What a viewer or an operator may see whose token does not say which facilities.
    pub without_facilities: WithoutFacilities,
    /// The value of the role claim for each of our roles. `None`: our own names.
    pub roles: Option<BTreeMap<String, Role>>,
    /// Where in the token the role and the facilities are.
    pub claims: ClaimSettings,
}

/// `[auth.claims]`: where in the token the role and the facilities are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimSettings {
    /// The claim with the roles, or the path to it.
    pub role: String,
    /// The claim with the facilities, or the path to it.
    pub facilities: String,
    /// Which values of that claim are facilities: a text with `{}` where the facility is. `None`:
    /// each is a facility.
    pub facility_pattern: Option<String>,
    /// What the facilities are named by.
    pub facilities_are: FacilitiesAre,
}

/// What somebody sees whose token names no facilities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WithoutFacilities {
    /// Nothing: the token is refused.
    #[default]
    Refuse,
    /// Every facility.
    All,
}

/// What a token names facilities by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FacilitiesAre {
    /// Their ids.
    #[default]
    Ids,
    /// The owner's keys, where `[sources]` maps facilities.
    Keys,
}

impl Default for IssuerSettings {
    fn default() -> Self {
        IssuerSettings {
            issuer: None,
            audience: "facility-summary".into(),
            jwks_url: None,
            keys: None,
            keys_file: None,
            client_id: None,
            client_secret: None,
            client_secret_file: None,
            scopes: "openid profile".into(),
            algorithms: None,
            token_type: None,
            leeway_seconds: 30,
            without_facilities: WithoutFacilities::default(),
            roles: None,
            claims: ClaimSettings::default(),
        }
    }
}

impl Default for ClaimSettings {
    fn default() -> Self {
        ClaimSettings {
            role: "roles".into(),
            facilities: "facilities".into(),
            facility_pattern: None,
            facilities_are: FacilitiesAre::default(),
        }
    }
}

impl Default for AuthSettings {
    fn default() -> Self {
        AuthSettings {
            sign_in: None,
            audit_log_days: 400,
            public_url: None,
            // The longest shift: who comes back the next day signs in anew, and a screen that shows
            // figures asks all the time.
            session_idle_minutes: 720,
            // A week: a screen on a wall is signed in once a week; longer is the business of keys.
            session_hours: 168,
            secret: None,
            secret_file: None,
            main: IssuerSettings::default(),
            issuers: Vec::new(),
        }
    }
}

impl AuthSettings {
    /// Whether each request needs a credential.
    pub fn is_on(&self) -> bool {
        match self.sign_in {
            Some(sign_in) => sign_in == Switch::On,
            None => self.verifies_tokens(),
        }
    }

    /// Whether tokens of anybody are accepted.
    fn verifies_tokens(&self) -> bool {
        self.secret.is_some() || self.secret_file.is_some() || self.all_issuers().next().is_some()
    }

    /// All issuers with the key of the section that each stands in; without our own.
    pub fn all_issuers(&self) -> impl Iterator<Item = (String, &IssuerSettings)> {
        let main = self.main.issuer.is_some().then(|| ("auth".to_owned(), &self.main));
        let others = self.issuers.iter().enumerate();
        main.into_iter().chain(others.map(|(nth, one)| (format!("auth.issuers[{nth}]"), one)))
    }

    /// Checks what involves more than one key. Files are read where they are used.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if let (Some(_), Some(file)) = (&self.secret, &self.secret_file) {
            let right = "auth.secret is set as well: leave one of them out";
            return Err(SettingsError::new("auth.secret_file", &file.display(), right));
        }
        if let Some(secret) = &self.secret {
            check_secret("auth.secret", secret.expose())?;
        }
        if self.main.issuer.is_none() && self.main.has_more_than_an_audience() {
            let right = "must be the claim iss of the tokens, where other keys of [auth] say how \
                         they are verified";
            return Err(SettingsError::new("auth.issuer", &"not set", right));
        }
        if self.sign_in == Some(Switch::Off) && self.verifies_tokens() {
            let right = "must be on, or left out, where a secret or an issuer is set";
            return Err(SettingsError::new("auth.sign_in", &"off", right));
        }
        self.check_sign_in()?;
        let mut names = vec![OWN_ISSUER];
        for (section, settings) in self.all_issuers() {
            settings.check(&section)?;
            let name = settings.issuer.as_deref().unwrap_or_default();
            if names.contains(&name) {
                let right = format!("must be another than those before it ({})", names.join(", "));
                return Err(SettingsError::new(&format!("{section}.issuer"), &name, &right));
            }
            names.push(name);
        }
        Ok(())
    }
}

impl IssuerSettings {
    /// The algorithms by name; empty where the setting is not set.
    pub fn algorithms(&self) -> impl Iterator<Item = &str> {
        self.algorithms.iter().flat_map(|names| names.split(',').map(str::trim))
    }

    /// Whether its keys stand in the settings or in a file of theirs.
    pub fn has_static_keys(&self) -> bool {
        self.keys.is_some() || self.keys_file.is_some()
    }

    fn has_more_than_an_audience(&self) -> bool {
        let audience = self.audience.clone();
        *self != IssuerSettings { audience, ..IssuerSettings::default() }
    }

    fn check(&self, section: &str) -> Result<(), SettingsError> {
        let wrong = |key: &str, value: &dyn fmt::Display, right: &str| {
            Err(SettingsError::new(&format!("{section}.{key}"), value, right))
        };
        let Some(name) = self.issuer.as_deref().filter(|name| is_plain(name)) else {
            let right = "must be the claim iss of its tokens: not empty, without spaces and #";
            return wrong("issuer", &self.issuer.as_deref().unwrap_or("not set"), right);
        };
        let sources = [self.keys.is_some(), self.keys_file.is_some(), self.jwks_url.is_some()];
        if sources.into_iter().filter(|is_set| *is_set).count() > 1 {
            let right = "keys, keys_file, jwks_url: set one of them, or none for discovery";
            return wrong("issuer", &name, right);
        }
        let url = "must begin with https://, or with http:// and a loopback address";
        match &self.jwks_url {
            Some(jwks_url) if !may_fetch(jwks_url) => return wrong("jwks_url", jwks_url, url),
            None if !self.has_static_keys() && !may_fetch(name) => {
                let right = format!("{url}, where neither keys nor jwks_url are set");
                return wrong("issuer", &name, &right);
            }
            _ => {}
        }
        if !is_plain(&self.audience) {
            return wrong("audience", &self.audience, "must not be empty or contain spaces");
        }
        for name in self.algorithms() {
            if Algorithm::from_str(name).is_err() {
                let right = "must be names such as ES256, RS256, PS256, EdDSA, HS256; \"none\" \
                             never is";
                return wrong("algorithms", &name, right);
            }
        }
        if self.token_type.as_deref().is_some_and(|token_type| !is_plain(token_type)) {
            return wrong("token_type", &"empty", "must be a type such as at+jwt");
        }
        let claims = &self.claims;
        for (key, path) in [("role", &claims.role), ("facilities", &claims.facilities)] {
            if path.split('.').any(str::is_empty) && !path.contains('/') {
                let right = "must be the name of a claim, or a path such as realm_access.roles";
                return wrong(&format!("claims.{key}"), path, right);
            }
        }
        match &claims.facility_pattern {
            Some(pattern) if pattern.matches("{}").count() != 1 => {
                let right = "must have {} once, where the facility stands, such as facility:{}";
                wrong("claims.facility_pattern", pattern, right)
            }
            _ => Ok(()),
        }
    }
}

/// Checks that a secret has at least [`SECRET_BYTES`] bytes. The error shows nothing of it.
///
/// # Errors
/// It is shorter.
pub fn check_secret(key: &str, secret: &str) -> Result<(), SettingsError> {
    if secret.len() >= SECRET_BYTES {
        return Ok(());
    }
    let right = format!(
        "a secret must have at least {SECRET_BYTES} bytes, this one has {}; \
         \"openssl rand -base64 48\" makes one",
        secret.len()
    );
    Err(SettingsError::new(key, &"***", &right))
}

/// Whether keys may be fetched from this URL: by https, or by http from this machine itself.
pub fn may_fetch(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(&url),
        _ => false,
    }
}

/// Whether the URL's host is this machine.
pub fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a name has no characters that would be read as something else: in an id of a principal,
/// `#` ends the issuer.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#')
}
