//! Tokens that are right but for one thing, each of which must be refused for that thing.

mod facilities;
mod flood;
mod forged;
mod identity;
mod properties;
mod settings;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use serde_json::{Value, json};

use super::{Refusal, Tokens, Verified};
use crate::config::auth::{AuthSettings, IssuerSettings, Secret};

/// The time at which tokens are verified, in milliseconds.
pub const NOW_MS: i64 = 1_800_000_000_000;
pub const ISSUER: &str = "https://provider.example/realms/blood";
pub const FACILITY: &str = "7f1c5a52-3c1f-4d0e-9a53-0c3f3f0e8a11";

/// A key pair, and the public key as a JWK with a kid.
#[derive(Clone)]
pub struct Pair {
    pub algorithm: Algorithm,
    pub key: EncodingKey,
    pub jwk: Value,
}

impl Pair {
    /// A new pair for this algorithm.
    pub fn new(algorithm: Algorithm, kid: &str) -> Pair {
        let random = SystemRandom::new();
        let key = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => {
                let curve = match algorithm {
                    Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
                    _ => &ECDSA_P384_SHA384_FIXED_SIGNING,
                };
                let document = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
                EncodingKey::from_ec_der(document.as_ref())
            }
            Algorithm::EdDSA => {
                let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
                let x = URL_SAFE_NO_PAD.encode(pair.public_key());
                let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid});
                return Pair { algorithm, key: EncodingKey::from_ed_der(document.as_ref()), jwk };
            }
            _ => {
                let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
                let der: Pkcs8V1Der = pair.as_der().unwrap();
                let pem = pem("PRIVATE KEY", der.as_ref());
                EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
            }
        };
        let mut jwk = json!(Jwk::from_encoding_key(&key, algorithm).unwrap());
        jwk["kid"] = json!(kid);
        Pair { algorithm, key, jwk }
    }

    /// A token with this header and these claims, signed.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// The same of texts, which need not be JSON.
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    pub fn header(&self) -> Value {
        json!({"alg": format!("{:?}", self.algorithm), "typ": "JWT", "kid": self.jwk["kid"]})
    }

    /// A token that is right, but for these claims: null leaves one out.
    pub fn with_claims(&self, changes: Value) -> String {
        self.sign(&self.header(), &changed(claims(), changes))
    }

    /// A token that is right, but for this in its header: null leaves it out.
    pub fn with_header(&self, changes: Value) -> String {
        self.sign(&changed(self.header(), changes), &claims())
    }
}

/// The claims of a token that is right.
pub fn claims() -> Value {
    let now = NOW_MS / 1_000;
    json!({
        "iss": ISSUER, "aud": ["facility-summary", "account"], "sub": "user 1", "iat": now - 10,
        "exp": now + 600, "roles": ["viewer", "offline_access"], "facilities": [FACILITY],
    })
}

pub fn changed(mut object: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => object.as_object_mut().unwrap().remove(name),
            value => object.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    object
}

pub fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// The settings of an issuer with these keys.
pub fn issuer(keys: &[&Pair]) -> IssuerSettings {
    let keys: Vec<&Value> = keys.iter().map(|pair| &pair.jwk).collect();
    IssuerSettings {
        issuer: Some(ISSUER.into()),
        keys: Some(Secret::new(json!({"keys": keys}).to_string())),
        ..IssuerSettings::default()
    }
}

pub fn open(main: IssuerSettings) -> Tokens {
    Tokens::open(&AuthSettings { main, ..AuthSettings::default() }).unwrap()
}

/// The class of the refusal.
pub fn class(outcome: Result<Verified, Refusal>) -> &'static str {
    match outcome {
        Ok(_) => "accepted",
        Err(Refusal::Invalid(reason)) => reason.class(),
        Err(Refusal::Unavailable(_)) => "unavailable",
    }
}
