//! Keys by which signatures are verified: which algorithms each is for follows from what it is, not
//! from the token.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm::{self, ES256, ES384, EdDSA, HS256, PS256, PS384, PS512, RS256, RS384, RS512},
    DecodingKey,
    jwk::Jwk,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::config::auth::SECRET_BYTES;

/// The most keys of an issuer that are kept.
const MOST_KEYS: usize = 100;

/// The most keys that one signature is tried with, where a token does not say which.
pub const MOST_TRIES: usize = 4;

/// The bits of an RSA key.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// A key of an issuer.
#[derive(Clone)]
pub struct Key {
    /// Its name; a token says by it which key it is signed with.
    pub kid: Option<String>,
    /// The same for the same key, and another one for others.
    pub print: KeyPrint,
    /// The algorithms that it is for.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// Stands for a key: a hash of its name and of all that it is.
pub type KeyPrint = [u8; 32];

impl Key {
    /// A secret, which signs and verifies with HS256.
    pub fn secret(secret: &[u8]) -> Key {
        let print = Sha256::digest(secret).into();
        Key { kid: None, print, algorithms: vec![HS256], key: DecodingKey::from_secret(secret) }
    }

    /// Whether it is for this algorithm.
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Whether it is a secret.
    pub fn is_secret(&self) -> bool {
        self.is_for(HS256)
    }

    /// What a message calls it.
    pub fn name(&self) -> String {
        self.kid.as_deref().map_or_else(|| "without a kid".into(), super::reason::shown)
    }

    /// Whether the signature is one of this key over the message. Takes up to 0.1 ms.
    pub fn verifies(&self, algorithm: Algorithm, message: &str, signature: &str) -> bool {
        let result =
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, algorithm);
        self.is_for(algorithm) && result.unwrap_or(false)
    }
}

/// The keys of a text from the settings: PEM blocks, a JWK, a JWKS, or a secret.
///
/// # Errors
/// One of them cannot be used. The error shows nothing of a secret.
pub fn from_settings(text: &str) -> Result<Vec<Key>, String> {
    let text = text.trim();
    let keys = if text.starts_with("-----BEGIN") {
        pem_blocks(text).map(from_pem).collect::<Result<Vec<Key>, String>>()?
    } else if text.starts_with('{') {
        let json = super::json::object(text.as_bytes())
            .map_err(|error| format!("are no JSON: line {}", error.line()))?;
        let list = match json.get("keys") {
            Some(Value::Array(list)) => list.clone(),
            _ => vec![Value::Object(json)],
        };
        list.iter().map(|jwk| from_jwk(jwk, true)).collect::<Result<Vec<Key>, String>>()?
    } else if text.len() < SECRET_BYTES {
        return Err(format!(
            "are no PEM, JWK or JWKS, and as a secret too short: {} bytes of at least \
             {SECRET_BYTES}",
            text.len()
        ));
    } else {
        vec![Key::secret(text.as_bytes())]
    };
    let unnamed = keys.iter().filter(|key| key.kid.is_none()).count();
    if keys.is_empty() || keys.len() > MOST_KEYS || unnamed > MOST_TRIES {
        return Err(format!(
            "are {}, {unnamed} of them without a kid; at least 1, at most {MOST_KEYS}, and at most \
             {MOST_TRIES} without",
            keys.len()
        ));
    }
    Ok(keys)
}

/// The keys of a JWKS that was fetched. Those for other uses, and of kinds that are not known, are
/// left out; a secret is no public key.
///
/// # Errors
/// It is no JWKS, or none of its keys can be used.
pub fn from_jwks(body: &[u8]) -> Result<Vec<Key>, String> {
    let json = super::json::object(body).map_err(|error| error.to_string())?;
    let Some(Value::Array(list)) = json.get("keys") else {
        return Err("it has no list named keys".into());
    };
    let mut why = "it is empty".to_owned();
    let mut keys = Vec::new();
    for jwk in list {
        match from_jwk(jwk, false) {
            Ok(key) if keys.len() < MOST_KEYS => keys.push(key),
            Ok(_) => return Err(format!("it has more than {MOST_KEYS} keys")),
            Err(error) => why = error,
        }
    }
    if keys.is_empty() { Err(format!("it has no key that can be used: {why}")) } else { Ok(keys) }
}

fn pem_blocks(text: &str) -> impl Iterator<Item = &str> {
    const BEGIN: &str = "-----BEGIN";
    text.match_indices(BEGIN).map(move |(start, _)| {
        let next = text[start + BEGIN.len()..].find(BEGIN);
        &text[start..next.map_or(text.len(), |next| start + BEGIN.len() + next)]
    })
}

fn from_pem(pem: &str) -> Result<Key, String> {
    if pem.contains("PRIVATE KEY") {
        return Err("have a private key; the public one belongs here (openssl pkey -pubout)".into());
    }
    if !pem.contains("PUBLIC KEY") {
        let right = "have a PEM block that is no public key (a certificate's: openssl x509 \
                     -pubkey -noout)";
        return Err(right.into());
    }
    let bytes = pem.as_bytes();
    let key = DecodingKey::from_rsa_pem(bytes)
        .or_else(|_| DecodingKey::from_ec_pem(bytes))
        .or_else(|_| DecodingKey::from_ed_pem(bytes))
        .map_err(|_| "have a PEM block that is no public key of RSA, EC or Ed25519")?;
    let jwk = Jwk::from_decoding_key(&key, None).map_err(|error| error.to_string())?;
    let jwk = serde_json::to_value(jwk).map_err(|error| error.to_string())?;
    from_jwk(&jwk, true)
}

/// A key of a JWK (RFC 7517 and 7518). A secret only where `may_be_secret`.
fn from_jwk(jwk: &Value, may_be_secret: bool) -> Result<Key, String> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| {
        let text = text(name).ok_or(format!("have a JWK without {name}"))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("have a JWK with {name} not in base64url"))
    };
    let kid = text("kid").map(str::to_owned);
    if text("use").is_some_and(|what| what != "sig") {
        return Err("have a JWK that is not for signatures (use)".into());
    }
    let verifies = |list: &Vec<Value>| list.iter().any(|operation| operation == "verify");
    if jwk.get("key_ops").and_then(Value::as_array).is_some_and(|list| !verifies(list)) {
        return Err("have a JWK that is not for verifying (key_ops)".into());
    }
    if jwk.get("d").is_some() {
        return Err("have a private key (d); the public one belongs here".into());
    }
    let sized = |name: &str, size: usize| match bytes(name)?.len() == size {
        true => Ok(text(name).unwrap_or_default()),
        false => Err(format!("have a JWK whose {name} has not {size} bytes")),
    };
    let point = |size: usize| {
        DecodingKey::from_ec_components(sized("x", size)?, sized("y", size)?)
            .map_err(|error| error.to_string())
    };
    let (algorithms, key) = match (text("kty"), text("crv")) {
        (Some("RSA"), _) => {
            let (modulus, exponent) = (bytes("n")?, bytes("e")?);
            let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
            let bits = (modulus.len() - zeros) * 8
                - modulus.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
            if !RSA_BITS.contains(&bits) {
                return Err(format!("have an RSA key of {bits} bits; 2048 to 8192 are accepted"));
            }
            let key = DecodingKey::from_rsa_raw_components(&modulus[zeros..], &exponent);
            (vec![RS256, PS256, RS384, RS512, PS384, PS512], key)
        }
        (Some("EC"), Some("P-256")) => (vec![ES256], point(32)?),
        (Some("EC"), Some("P-384")) => (vec![ES384], point(48)?),
        (Some("OKP"), Some("Ed25519")) => {
            let key = DecodingKey::from_ed_components(sized("x", 32)?);
            (vec![EdDSA], key.map_err(|error| error.to_string())?)
        }
        (Some("oct"), _) if may_be_secret => {
            let secret = bytes("k")?;
            if secret.len() < SECRET_BYTES {
                return Err(format!("have a secret of less than {SECRET_BYTES} bytes"));
            }
            (vec![HS256], DecodingKey::from_secret(&secret))
        }
        (kind, curve) => {
            return Err(format!("have a JWK of a kind that is not used ({kind:?}, {curve:?})"));
        }
    };
    let algorithms: Vec<Algorithm> = match text("alg") {
        None => algorithms,
        Some(name) => algorithms.into_iter().filter(|one| format!("{one:?}") == name).collect(),
    };
    if algorithms.is_empty() {
        return Err("have a JWK whose alg is not one of its kind".into());
    }
    Ok(Key { kid, print: print(jwk), algorithms, key })
}

fn print(jwk: &Value) -> KeyPrint {
    let members = ["kid", "alg", "kty", "crv", "n", "e", "x", "y", "k"];
    Sha256::digest(Value::from(members.map(|name| jwk[name].clone()).to_vec()).to_string()).into()
}
