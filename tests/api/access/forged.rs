//! Credentials that must not count: each way in which somebody could make one up, or keep one that
//! is over. `matrix` asks every route with each of them.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{steps::now_ms, support::service::Launch};

/// The issuer of the tokens.
pub const ISSUER: &str = "https://login.test";
const KID: &str = "k1";

/// Signs tokens of [`ISSUER`], whose public key stands in the settings.
pub struct Signer {
    key: EncodingKey,
    /// The public key, as the settings have it.
    jwk: String,
}

impl Signer {
    pub fn new() -> Signer {
        let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).unwrap();
        let key = EncodingKey::from_ec_der(document.as_ref());
        let mut jwk = json!(Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap());
        jwk["kid"] = json!(KID);
        Signer { key, jwk: jwk.to_string() }
    }

    /// The public key, as a provider gives it.
    pub fn jwk(&self) -> Value {
        serde_json::from_str(&self.jwk).unwrap()
    }

    /// A service that accepts these tokens.
    pub fn accepted_by(&self, launch: Launch) -> Launch {
        launch
            .env("FACILITY_SUMMARY__AUTH__ISSUER", ISSUER)
            .env("FACILITY_SUMMARY__AUTH__KEYS", &self.jwk)
    }

    /// A token with these claims beside the usual ones, which they may replace.
    pub fn token(&self, claims: Value) -> String {
        self.signed(&header(), &of(claims))
    }

    fn signed(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }

    /// A token of this text in the place of its claims.
    fn of_text(&self, claims: &str) -> String {
        let head = self.signed(&header(), &json!({})).split('.').next().unwrap().to_owned();
        let message = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, Algorithm::ES256).unwrap();
        format!("{message}.{signature}")
    }

    /// Tokens that would be those of an admin, if they counted, each with the reason by which it is
    /// refused.
    pub fn forged(&self) -> Vec<(&'static str, String, &'static str)> {
        let now = now_ms() / 1_000;
        let admin = |more: Value| {
            let mut claims = json!({"roles": ["admin"]});
            claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            of(claims)
        };
        let with = |more: Value| self.signed(&header(), &admin(more));
        let right = with(json!({}));
        let parts: Vec<&str> = right.split('.').collect();
        let unsigned = |head: Value| {
            let head = URL_SAFE_NO_PAD.encode(head.to_string());
            (format!("{head}.{}.", parts[1]), format!("{head}.{}.{}", parts[1], parts[2]))
        };
        let none = unsigned(json!({"alg": "none", "typ": "JWT"}));
        let by_public_key = {
            let secret = EncodingKey::from_secret(self.jwk.as_bytes());
            let head = Header { kid: Some(KID.into()), ..Header::new(Algorithm::HS256) };
            jsonwebtoken::encode(&head, &admin(json!({})), &secret).unwrap()
        };
        let named = |kid: &str| {
            self.signed(&Header { kid: Some(kid.into()), ..header() }, &admin(json!({})))
        };
        let claims = admin(json!({})).to_string();
        let twice = |more: &str| self.of_text(&format!("{},{more}}}", &claims[..claims.len() - 1]));
        let other = Signer::new();
        let changed = {
            let claims = admin(json!({"sub": "somebody else"})).to_string();
            format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims), parts[2])
        };
        vec![
            ("alg none, not signed", none.0, "algorithm"),
            ("alg none, with a signature", none.1, "algorithm"),
            ("HS256 with the public key", by_public_key, "algorithm"),
            ("another kid", named("k2"), "key"),
            ("another issuer", with(json!({"iss": "https://other.test"})), "issuer"),
            ("another audience", with(json!({"aud": "account"})), "audience"),
            ("not yet valid", with(json!({"nbf": now + 3_600})), "not_yet"),
            ("expired", with(json!({"exp": now - 3_600})), "expired"),
            ("64 KiB", with(json!({"x": "x".repeat(64 << 10)})), "too_long"),
            ("a claim twice", twice(r#""roles":["admin"]"#), "form"),
            ("a claim twice, within", twice(r#""x":{"y":1,"y":2}"#), "form"),
            ("of another installation", other.signed(&header(), &admin(json!({}))), "signature"),
            ("changed claims", changed, "signature"),
            ("an unknown role", with(json!({"roles": ["root"]})), "role"),
            ("no subject", with(json!({"sub": ""})), "claim"),
        ]
    }
}

fn header() -> Header {
    Header { kid: Some(KID.into()), ..Header::new(Algorithm::ES256) }
}

/// The usual claims, and these.
fn of(claims: Value) -> Value {
    let mut all = json!({
        "iss": ISSUER, "aud": "facility-summary", "sub": Uuid::new_v4().to_string(),
        "exp": now_ms() / 1_000 + 3_600,
    });
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    all
}
