//! Tokens as anybody may send them. An input is a header, a line end, and claims, which are signed
//! with the issuer's own secret, so that the whole way is taken; and the same bytes as a token.
//!
//! - Nothing panics, and what is not signed is never accepted.
//! - What is accepted is one JSON object in each part without a name twice, of this algorithm, for
//!   us, not over, and has a role that stands in it.
//! - No facility is seen that the token does not name.
//! - The same token with another signature, or one claim more, is refused.

#![no_main]

use std::{cell::LazyCell, collections::HashSet};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use facility_summary::{
    access::tokens::{Tokens, Verified, compact::Compact},
    config::auth::{AuthSettings, ClaimSettings, FacilitiesAre, IssuerSettings, Secret},
    domain::access::{FacilityScope, Role},
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

const SECRET: &str = "thirty-two bytes of a good secret";
const NOW_MS: i64 = 1_800_000_000_000;
const LEEWAY_S: f64 = 30.0;

struct World {
    runtime: Runtime,
    tokens: Tokens,
    key: EncodingKey,
}

thread_local! {
    static WORLD: LazyCell<World> = const { LazyCell::new(World::new) };
}

impl World {
    /// Two issuers: `a` with plain names, `b` with paths, a pattern, and an owner's keys.
    fn new() -> World {
        let issuer = |name: &str, claims: ClaimSettings| IssuerSettings {
            issuer: Some(name.into()),
            keys: Some(Secret::new(SECRET)),
            claims,
            ..IssuerSettings::default()
        };
        let deep = ClaimSettings {
            role: "realm_access.roles".into(),
            facilities: "scope".into(),
            facility_pattern: Some("facility:{}".into()),
            facilities_are: FacilitiesAre::Keys,
        };
        let settings = AuthSettings {
            main: issuer("a", ClaimSettings::default()),
            issuers: vec![issuer("b", deep)],
            ..AuthSettings::default()
        };
        World {
            runtime: Builder::new_current_thread().build().expect("a runtime"),
            tokens: Tokens::open(&settings).expect("the settings are right"),
            key: EncodingKey::from_secret(SECRET.as_bytes()),
        }
    }

    fn verify(&self, token: &str) -> Option<Verified> {
        self.runtime.block_on(self.tokens.verify(token, NOW_MS)).ok()
    }

    fn signed(&self, header: &[u8], claims: &[u8]) -> String {
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = sign(message.as_bytes(), &self.key, Algorithm::HS256).expect("a MAC");
        format!("{message}.{signature}")
    }
}

fuzz_target!(|input: &[u8]| {
    WORLD.with(|world| {
        if let Ok(text) = std::str::from_utf8(input) {
            let _ = Compact::read(text);
            assert!(world.verify(text).is_none(), "nobody has signed {text:?}");
        }
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
        let (header, claims) = (&input[..end], &input[end + 1..]);
        let token = world.signed(header, claims);
        if let Some(verified) = world.verify(&token) {
            is_right(&verified, header, claims);
            is_signed(world, &token, header, claims);
        }
    });
});

/// Judges what was accepted, with the plain reader of JSON.
fn is_right(verified: &Verified, header: &[u8], claims: &[u8]) {
    let object = |bytes: &[u8]| match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => object,
        other => panic!("{other:?} was accepted"),
    };
    let (header, read) = (object(header), object(claims));
    assert_eq!(header["alg"], "HS256");
    assert!(!header.contains_key("crit"));
    assert_eq!(read["iss"], verified.issuer.as_str());
    assert_eq!(read["sub"], verified.subject.as_str());
    assert!(!verified.subject.is_empty());
    assert_eq!(read.get("jti").and_then(Value::as_str), verified.token_id.as_deref());
    let is_ours = |value: &Value| value == "facility-summary";
    assert!(is_ours(&read["aud"]) || read["aud"].as_array().is_some_and(|l| l.iter().any(is_ours)));
    let now_s = NOW_MS as f64 / 1_000.0;
    assert!(read["exp"].as_f64().is_some_and(|exp| exp + LEEWAY_S > now_s - 0.001));
    for name in ["nbf", "iat"] {
        let at = read.get(name).map(|at| at.as_f64().expect("a number"));
        assert!(at.is_none_or(|at| at <= now_s + LEEWAY_S + 0.001), "{name}: {at:?}");
    }
    let mut texts = HashSet::new();
    gather(&Value::Object(read), &mut texts);
    assert!(texts.contains(verified.principal.role.as_str()), "the role stands in the token");
    match &verified.principal.facilities {
        FacilityScope::All => assert!(
            !matches!(verified.principal.role, Role::Viewer | Role::Operator),
            "a limited role sees what its token names"
        ),
        FacilityScope::Only(named) => {
            for id in &named.ids {
                let is_it = |text: &String| text.eq_ignore_ascii_case(&id.to_string());
                assert!(texts.iter().any(is_it), "{id} is named");
            }
            for key in &named.keys {
                assert!(texts.contains(&format!("facility:{key}")), "{key} is named");
            }
        }
    }
}

/// All texts of a value, also the words of those with spaces between them.
fn gather(value: &Value, texts: &mut HashSet<String>) {
    match value {
        Value::String(text) => {
            texts.extend(text.split(' ').map(str::to_owned));
            texts.insert(text.clone());
        }
        Value::Array(list) => list.iter().for_each(|value| gather(value, texts)),
        Value::Object(object) => object.values().for_each(|value| gather(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The same token does not count with another signature, nor with a name twice.
fn is_signed(world: &World, token: &str, header: &[u8], claims: &[u8]) {
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let other = if signature.starts_with('A') { "B" } else { "A" };
    for changed in [
        format!("{message}.{other}{}", &signature[1..]),
        format!("{message}.{}", &signature[..signature.len() - 1]),
        format!("{message}."),
        format!("{message}.{signature}="),
        format!("{token}.{signature}"),
    ] {
        assert!(world.verify(&changed).is_none(), "{changed}");
    }
    let text = std::str::from_utf8(claims).expect("JSON is UTF-8").trim_end();
    let inner = text.strip_suffix('}').expect("an object");
    let twice = format!("{inner},\"sub\":\"somebody else\"}}");
    assert!(world.verify(&world.signed(header, twice.as_bytes())).is_none(), "{twice}");
}
