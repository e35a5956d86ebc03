//! Tokens of our own, signed with `auth.secret`: for development, and where there is no provider.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use uuid::Uuid;

use super::{
    compact::MOST_BYTES,
    issuer::{OWN_TYPE, own_secret},
    mapping::ALL_FACILITIES,
};
use crate::{
    config::{
        SettingsError,
        auth::{AuthSettings, OWN_ISSUER},
    },
    domain::access::{FacilityScope, Role},
};

/// The longest time for which a token is made. It cannot be taken back alone; an API key can.
pub const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// What a token is to allow.
pub struct Mint {
    /// The role.
    pub role: Role,
    /// The facilities, by id.
    pub facilities: FacilityScope,
    /// For how long, at most [`LONGEST`].
    pub ttl: Duration,
    /// A name for people.
    pub name: Option<String>,
}

/// A token that was made.
pub struct Minted {
    /// The token.
    pub token: String,
    /// Who has it, as in the audit log: `token:facility-summary#<subject>`.
    pub principal: String,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: i64,
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// There is no secret.
    #[error("auth.secret is not set: a text of at least 32 bytes (openssl rand -base64 48)")]
    NoSecret,
    /// The secret cannot be used.
    #[error("{0}")]
    Setting(#[from] SettingsError),
    /// The token would be longer than is accepted.
    #[error("the token has {0} bytes; at most 8192 are accepted: name fewer facilities")]
    TooLong(usize),
    /// It could not be signed.
    #[error("the token could not be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// Makes a token. Each has a subject of its own, by which it can be told from others.
///
/// # Errors
/// There is no secret, or the token would be too long.
pub fn mint(settings: &AuthSettings, what: &Mint, now_ms: i64) -> Result<Minted, MintError> {
    let secret = own_secret(settings)?.ok_or(MintError::NoSecret)?;
    let subject = Uuid::now_v7().to_string();
    let issued = now_ms.div_euclid(1_000);
    let seconds = what.ttl.min(LONGEST).as_secs();
    let expires = issued.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX));
    let mut claims = json!({
        "iss": OWN_ISSUER,
        "aud": settings.main.audience,
        "sub": subject,
        "iat": issued,
        "nbf": issued,
        "exp": expires,
        "roles": [what.role.as_str()],
        "facilities": match &what.facilities {
            FacilityScope::All => json!(ALL_FACILITIES),
            FacilityScope::Only(named) => json!(named.ids),
        },
    });
    if let Some(name) = &what.name {
        claims["name"] = json!(name);
    }
    let header = Header { typ: Some(OWN_TYPE.into()), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    let token = jsonwebtoken::encode(&header, &claims, &key)?;
    if token.len() > MOST_BYTES {
        return Err(MintError::TooLong(token.len()));
    }
    let principal = format!("token:{OWN_ISSUER}#{subject}");
    Ok(Minted { token, principal, expires_ms: expires.saturating_mul(1_000) })
}
