use std::{io::Write, time::Duration};

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::*;
use crate::{
    access::tokens::{
        keys::{from_jwks, from_settings},
        mint::{Mint, MintError, mint},
    },
    domain::access::{FacilityScope, Role},
};

const SECRET: &str = "thirty-two bytes of a good secret";

fn opened(settings: &AuthSettings) -> Result<Tokens, String> {
    Tokens::open(settings).map_err(|error| error.to_string())
}

fn with_keys(keys: &str) -> AuthSettings {
    let main = IssuerSettings {
        issuer: Some(ISSUER.into()),
        keys: Some(Secret::new(keys)),
        ..IssuerSettings::default()
    };
    AuthSettings { main, ..AuthSettings::default() }
}

fn error_of(settings: &AuthSettings) -> String {
    let Err(error) = opened(settings) else { panic!("{settings:?} is accepted") };
    error
}

/// The public key of a pair as PEM, as openssl writes it.
fn public_pem(pair: &Pair) -> String {
    let part = |name: &str| {
        let text = pair.jwk[name].as_str().unwrap();
        URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    let der = match pair.algorithm {
        Algorithm::ES256 => {
            // SubjectPublicKeyInfo of an uncompressed point on P-256.
            let mut der = vec![0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d];
            der.extend([0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]);
            der.extend([0x03, 0x42, 0x00, 0x04]);
            [der, part("x"), part("y")].concat()
        }
        Algorithm::RS256 => {
            // SubjectPublicKeyInfo of a modulus of 2048 bits and the exponent 65537.
            let mut der = vec![0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48];
            der.extend([0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x82, 0x01, 0x0f]);
            der.extend([0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00]);
            [der, part("n"), vec![0x02, 0x03, 0x01, 0x00, 0x01]].concat()
        }
        _ => {
            // SubjectPublicKeyInfo of Ed25519.
            let der = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
            [der.to_vec(), part("x")].concat()
        }
    };
    pem("PUBLIC KEY", &der)
}

#[tokio::test]
async fn keys_may_be_pem_blocks_a_jwk_a_jwks_or_a_secret() {
    let (ec, ed) = (Pair::new(Algorithm::ES256, "k1"), Pair::new(Algorithm::EdDSA, "k2"));
    let secret = Pair {
        algorithm: Algorithm::HS256,
        key: EncodingKey::from_secret(SECRET.as_bytes()),
        jwk: json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "kid": "s"}),
    };
    let rsa = Pair::new(Algorithm::RS256, "k3");
    let pems = format!("{}\n{}", public_pem(&ec), public_pem(&ed));
    for (keys, signers) in [
        (public_pem(&ec), vec![&ec]),
        (public_pem(&rsa), vec![&rsa]),
        (pems, vec![&ec, &ed]),
        (ec.jwk.to_string(), vec![&ec]),
        (json!({"keys": [ec.jwk, ed.jwk]}).to_string(), vec![&ec, &ed]),
        (SECRET.to_owned(), vec![&secret]),
        (format!("{SECRET}\n"), vec![&secret]),
        (secret.jwk.to_string(), vec![&secret]),
    ] {
        let tokens = opened(&with_keys(&keys)).unwrap();
        for pair in [&ec, &ed, &rsa, &secret] {
            let is_accepted = tokens.verify(&pair.with_claims(json!({})), NOW_MS).await.is_ok();
            let is_signer = signers.iter().any(|signer| std::ptr::eq(*signer, pair));
            assert_eq!(is_accepted, is_signer, "{keys} {:?}", pair.algorithm);
        }
    }
}

#[test]
fn keys_that_cannot_be_used_stop_the_start_and_are_not_shown() {
    let ec = Pair::new(Algorithm::ES256, "k1");
    let rsa = Pair::new(Algorithm::RS256, "k2");
    let small = URL_SAFE_NO_PAD.encode([0xff; 128]);
    let zeros = URL_SAFE_NO_PAD.encode([vec![0; 200], vec![0xff; 128]].concat());
    let change = |pair: &Pair, changes: Value| changed(pair.jwk.clone(), changes).to_string();
    let secret = URL_SAFE_NO_PAD.encode("short");
    for (keys, words) in [
        ("tooshort".to_owned(), "as a secret too short: 8 bytes of at least 32"),
        (json!({"kty": "oct", "k": secret}).to_string(), "a secret of less than 32 bytes"),
        (pem("PRIVATE KEY", &[0x30, 0x00]), "have a private key"),
        (pem("RSA PRIVATE KEY", &[0x30, 0x00]), "have a private key"),
        (change(&ec, json!({"d": "AQAB"})), "have a private key"),
        (pem("CERTIFICATE", &[0x30, 0x00]), "a certificate's: openssl x509"),
        (pem("PUBLIC KEY", &[0x30, 0x00]), "no public key of RSA, EC or Ed25519"),
        (change(&rsa, json!({"n": small})), "an RSA key of 1024 bits"),
        (change(&rsa, json!({"n": zeros})), "an RSA key of 1024 bits"),
        (change(&ec, json!({"use": "enc"})), "not for signatures"),
        (change(&ec, json!({"key_ops": ["sign"]})), "not for verifying"),
        (change(&ec, json!({"alg": "none"})), "alg is not one of its kind"),
        (change(&ec, json!({"alg": "HS256"})), "alg is not one of its kind"),
        (change(&ec, json!({"x": "AQAB"})), "whose x has not 32 bytes"),
        (change(&ec, json!({"crv": "secp256k1"})), "a kind that is not used"),
        (json!({"keys": []}).to_string(), "are 0"),
        ("{\"keys\": [}".to_owned(), "are no JSON"),
    ] {
        let error = error_of(&with_keys(&keys));
        assert!(error.contains("auth.keys = ***: its keys"), "{error}");
        assert!(error.contains(words), "{words}: {error}");
        assert!(!error.contains("tooshort") && !error.contains(&secret), "{error}");
    }
    let unnamed: Vec<Value> =
        (0..5).map(|_| changed(ec.jwk.clone(), json!({"kid": null}))).collect();
    let error = error_of(&with_keys(&json!({"keys": unnamed}).to_string()));
    assert!(error.contains("at most 4 without"), "{error}");
    let mixed = json!({"keys": [ec.jwk, {"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET)}]});
    let error = error_of(&with_keys(&mixed.to_string()));
    assert!(error.contains("do not go together"), "{error}");
}

#[test]
fn algorithms_that_are_not_for_the_keys_stop_the_start() {
    let ec = Pair::new(Algorithm::ES256, "k1");
    for (keys, algorithms) in [
        (ec.jwk.to_string(), "HS256"),
        (ec.jwk.to_string(), "ES256, HS256"),
        (ec.jwk.to_string(), "ES256, RS256"),
        (SECRET.to_owned(), "RS256"),
        (SECRET.to_owned(), "HS512"),
    ] {
        let mut settings = with_keys(&keys);
        settings.main.algorithms = Some(algorithms.into());
        let error = error_of(&settings);
        assert!(error.contains("auth.algorithms = "), "{error}");
    }
    // Those of a provider are fetched: never secrets.
    let mut settings = with_keys("");
    settings.main = IssuerSettings { keys: None, ..settings.main };
    settings.main.algorithms = Some("ES256, HS256".into());
    assert!(error_of(&settings).contains("auth.algorithms = "));
    settings.main.algorithms = Some("ES256".into());
    assert!(opened(&settings).is_ok());
}

#[test]
fn fetched_keys_are_public_ones_for_signatures_and_others_are_passed_over() {
    let (ec, rsa) = (Pair::new(Algorithm::ES256, "k1"), Pair::new(Algorithm::RS256, "k2"));
    let secret = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "kid": "s"});
    let encrypts = changed(rsa.jwk.clone(), json!({"use": "enc"}));
    let unknown = json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AQAB"});
    let set = |keys: Value| from_jwks(json!({ "keys": keys }).to_string().as_bytes());
    let keys = set(json!([secret, encrypts, ec.jwk, unknown, 7])).unwrap();
    let kids: Vec<_> = keys.iter().map(|key| key.kid.as_deref()).collect();
    assert_eq!(kids, [Some("k1")]);
    for (keys, words) in [
        (json!([]), "no key that can be used: it is empty"),
        (json!([secret]), "no key that can be used"),
        (json!([encrypts]), "not for signatures"),
        (json!({"a": 1}), "no list named keys"),
        (json!(vec![ec.jwk; 101]), "more than 100 keys"),
    ] {
        let error = set(keys).err().unwrap();
        assert!(error.contains(words), "{error}");
    }
    assert!(from_jwks(b"<html>").is_err());
    assert!(from_settings(&secret.to_string()).is_ok(), "in the settings it is one");
}

#[test]
fn a_key_verifies_by_no_other_algorithm_than_its_own() {
    let pair = Pair::new(Algorithm::RS256, "k1");
    let named = changed(pair.jwk.clone(), json!({"alg": "RS256"}));
    let keys = from_settings(&named.to_string()).unwrap();
    for (algorithm, verifies) in [(Algorithm::RS256, true), (Algorithm::PS256, false)] {
        let signature = jsonwebtoken::crypto::sign(b"message", &pair.key, algorithm).unwrap();
        assert_eq!(keys[0].verifies(algorithm, "message", &signature), verifies, "{algorithm:?}");
    }
}

#[tokio::test]
async fn a_secret_is_read_from_its_file_and_a_weak_one_is_refused() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{SECRET}").unwrap();
    let of_file = AuthSettings { secret_file: Some(file.path().into()), ..AuthSettings::default() };
    let of_text = AuthSettings { secret: Some(Secret::new(SECRET)), ..AuthSettings::default() };
    let minted = mint(&of_text, &viewer(), NOW_MS).unwrap();
    let verified = opened(&of_file).unwrap().verify(&minted.token, NOW_MS).await.unwrap();
    assert_eq!(verified.principal.id, minted.principal);
    assert_eq!(verified.expires_ms, minted.expires_ms + 30_000);
    assert_eq!(verified.principal.role, Role::Viewer);
    assert_eq!(verified.principal.facilities, viewer().facilities);

    let mut weak = tempfile::NamedTempFile::new().unwrap();
    write!(weak, "   only 30 bytes, and some spaces   ").unwrap();
    let settings = AuthSettings { secret_file: Some(weak.path().into()), ..of_file };
    let error = error_of(&settings);
    assert!(error.contains("at least 32 bytes, this one has 30"), "{error}");
    let none = AuthSettings { secret_file: Some("/no/such".into()), ..AuthSettings::default() };
    assert!(error_of(&none).contains("auth.secret_file = /no/such: cannot be read"));
    let mut settings = with_keys("");
    settings.main = IssuerSettings { keys: None, ..settings.main };
    settings.main.keys_file = Some("/no/such".into());
    assert!(error_of(&settings).contains("auth.keys_file = /no/such: cannot be read"));
}

fn viewer() -> Mint {
    Mint {
        role: Role::Viewer,
        facilities: FacilityScope::of_ids([FACILITY.parse().unwrap()]),
        ttl: Duration::from_secs(60),
        name: None,
    }
}

#[tokio::test]
async fn a_token_of_another_installation_or_without_our_type_is_refused() {
    let ours = AuthSettings { secret: Some(Secret::new(SECRET)), ..AuthSettings::default() };
    let tokens = opened(&ours).unwrap();
    let other = Secret::new("thirty-two bytes of another secret");
    let theirs = AuthSettings { secret: Some(other), ..AuthSettings::default() };
    let forged = mint(&theirs, &viewer(), NOW_MS).unwrap().token;
    assert_eq!(class(tokens.verify(&forged, NOW_MS).await), "signature");
    let pair = Pair {
        algorithm: Algorithm::HS256,
        key: EncodingKey::from_secret(SECRET.as_bytes()),
        jwk: json!({}),
    };
    let claims = changed(claims(), json!({"iss": "facility-summary"}));
    let right = pair.sign(&json!({"alg": "HS256", "typ": "at+jwt"}), &claims);
    assert_eq!(class(tokens.verify(&right, NOW_MS).await), "accepted");
    let untyped = pair.sign(&json!({"alg": "HS256"}), &claims);
    assert_eq!(class(tokens.verify(&untyped, NOW_MS).await), "type");
}

#[tokio::test]
async fn tokens_of_our_own_are_not_read_by_the_names_of_a_provider() {
    let mut settings = with_keys(&Pair::new(Algorithm::ES256, "k1").jwk.to_string());
    settings.secret = Some(Secret::new(SECRET));
    settings.main.claims.role = "groups".into();
    settings.main.roles = Some([("viewer".to_owned(), Role::Admin)].into());
    let tokens = opened(&settings).unwrap();
    let every = Mint { role: Role::Operator, facilities: FacilityScope::All, ..viewer() };
    for (what, role) in [(viewer(), Role::Viewer), (every, Role::Operator)] {
        let minted = mint(&settings, &what, NOW_MS).unwrap();
        let principal = tokens.verify(&minted.token, NOW_MS).await.unwrap().principal;
        assert_eq!((principal.role, principal.facilities), (role, what.facilities));
    }
}

#[test]
fn no_token_is_made_without_a_secret_or_longer_than_is_accepted() {
    let none = mint(&AuthSettings::default(), &viewer(), NOW_MS);
    assert!(matches!(none, Err(MintError::NoSecret)));
    let settings = AuthSettings { secret: Some(Secret::new(SECRET)), ..AuthSettings::default() };
    let many = (0..200).map(|_| uuid::Uuid::now_v7());
    let what = Mint { facilities: FacilityScope::of_ids(many), ..viewer() };
    assert!(matches!(mint(&settings, &what, NOW_MS), Err(MintError::TooLong(_))));
    // Nor for a longer time than thirty days.
    let what = Mint { ttl: Duration::from_secs(31 * 86_400), ..viewer() };
    let minted = mint(&settings, &what, NOW_MS).unwrap();
    assert_eq!(minted.expires_ms, NOW_MS + 30 * 86_400_000);
}

#[test]
fn no_secret_is_shown() {
    let settings = AuthSettings { secret: Some(Secret::new(SECRET)), ..with_keys(SECRET) };
    let shown = format!("{settings:?} {settings:#?}");
    assert!(!shown.contains("thirty-two") && shown.contains("***"), "{shown}");
}
