//! Tokens of an identity provider that runs beside the test, and the commands about tokens.

mod away;
mod commands;
mod fetching;
mod removed;

use std::time::{Duration, SystemTime};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use facility_summary::{
    access::tokens::{Pace, Refusal, Tokens, Verified},
    config::auth::{AuthSettings, IssuerSettings},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};

use crate::support::openid::OpenId;

const FACILITY: &str = "7f1c5a52-3c1f-4d0e-9a53-0c3f3f0e8a11";

/// A long time, in which no test ends.
const LONG: Duration = Duration::from_secs(3_600);

/// Fetches only where a token needs it, and then at once.
const AT_ONCE: Pace = Pace {
    refresh: LONG,
    cool_down: Duration::ZERO,
    retry: Duration::ZERO,
    timeout: Duration::from_secs(10),
};

/// A key pair of a provider.
pub struct Pair {
    key: EncodingKey,
    /// The public key.
    pub jwk: Value,
}

impl Pair {
    pub fn new(kid: &str) -> Pair {
        let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).unwrap();
        let key = EncodingKey::from_ec_der(document.as_ref());
        let mut jwk = json!(Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap());
        jwk["kid"] = json!(kid);
        Pair { key, jwk }
    }

    /// A token of this issuer, signed with the pair, that names its key.
    fn token(&self, issuer: &str) -> String {
        self.token_with(issuer, |_| {})
    }

    /// The same, with changes to its header.
    fn token_with(&self, issuer: &str, change: impl FnOnce(&mut Header)) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = self.jwk["kid"].as_str().map(str::to_owned);
        change(&mut header);
        let claims = json!({
            "iss": issuer, "aud": "facility-summary", "sub": "u1", "exp": now_ms() / 1_000 + 600,
            "roles": ["viewer"], "facilities": [FACILITY],
        });
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }

    /// These claims, signed with the pair.
    pub fn signed(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = self.jwk["kid"].as_str().map(str::to_owned);
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

/// The service's side, with this provider.
fn tokens_of(provider: &OpenId, pace: Pace) -> Tokens {
    let main = IssuerSettings { issuer: Some(provider.issuer()), ..IssuerSettings::default() };
    Tokens::open_at(&AuthSettings { main, ..AuthSettings::default() }, pace).unwrap()
}

/// `accepted`, or why not in one word.
fn class(outcome: &Result<Verified, Refusal>) -> &'static str {
    match outcome {
        Ok(_) => "accepted",
        Err(Refusal::Invalid(reason)) => reason.class(),
        Err(Refusal::Unavailable(_)) => "unavailable",
    }
}

async fn judge(tokens: &Tokens, token: &str) -> &'static str {
    class(&tokens.verify(token, now_ms()).await)
}
