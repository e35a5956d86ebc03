use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::*;
use crate::{
    access::tokens::compact::MOST_BYTES,
    domain::access::{FacilityScope, Principal, Role},
};

async fn judge(tokens: &Tokens, token: &str) -> &'static str {
    class(tokens.verify(token, NOW_MS).await)
}

#[tokio::test]
async fn a_token_of_each_algorithm_is_accepted_and_tells_who_it_is() {
    for algorithm in [
        Algorithm::ES256,
        Algorithm::RS256,
        Algorithm::PS256,
        Algorithm::EdDSA,
        Algorithm::ES384,
        Algorithm::RS512,
    ] {
        let pair = Pair::new(algorithm, "k1");
        let settings =
            IssuerSettings { algorithms: Some(format!("{algorithm:?}")), ..issuer(&[&pair]) };
        let token = pair.with_claims(json!({"name": "Ann"}));
        let verified = open(settings).verify(&token, NOW_MS).await.unwrap();
        let principal = Principal {
            id: format!("token:{ISSUER}#user 1"),
            name: "Ann".into(),
            role: Role::Viewer,
            facilities: FacilityScope::of_ids([FACILITY.parse().unwrap()]),
            may_read: false,
        };
        assert_eq!(verified.principal, principal);
        assert_eq!(verified.expires_ms, NOW_MS + 600_000 + 30_000);
        assert_eq!(verified.issued_ms, Some(NOW_MS - 10_000));
        assert_eq!((verified.issuer.as_str(), verified.subject.as_str()), (ISSUER, "user 1"));
    }
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let tokens = open(issuer(&[&pair]));
    for none in ["none", "None", "NONE", ""] {
        let token = pair.with_header(json!({"alg": none}));
        assert_eq!(judge(&tokens, &token).await, "algorithm", "{none:?}");
        let (message, _) = token.rsplit_once('.').unwrap();
        assert_eq!(judge(&tokens, &format!("{message}.")).await, "algorithm", "{none:?}");
    }
    let token = pair.with_claims(json!({}));
    let (message, _) = token.rsplit_once('.').unwrap();
    assert_eq!(judge(&tokens, &format!("{message}.")).await, "signature");
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let pair = Pair::new(Algorithm::RS256, "k1");
    let settings = issuer(&[&pair]);
    let texts = [
        settings.keys.as_ref().unwrap().expose().to_owned(),
        pair.jwk.to_string(),
        pair.jwk["n"].as_str().unwrap().to_owned(),
    ];
    let tokens = open(settings);
    for text in texts {
        let forger = Pair {
            algorithm: Algorithm::HS256,
            key: jsonwebtoken::EncodingKey::from_secret(text.as_bytes()),
            jwk: pair.jwk.clone(),
        };
        assert_eq!(judge(&tokens, &forger.with_claims(json!({}))).await, "algorithm");
    }
}

#[tokio::test]
async fn an_algorithm_that_its_issuer_does_not_use_is_refused() {
    let (ec, rsa) = (Pair::new(Algorithm::ES256, "k1"), Pair::new(Algorithm::RS256, "k2"));
    let settings = IssuerSettings { algorithms: Some("ES256".into()), ..issuer(&[&ec, &rsa]) };
    let tokens = open(settings);
    assert_eq!(judge(&tokens, &ec.with_claims(json!({}))).await, "accepted");
    assert_eq!(judge(&tokens, &rsa.with_claims(json!({}))).await, "algorithm");
    // A key is for the algorithm that it names.
    let tokens = open(issuer(&[&ec, &rsa]));
    let pss = Pair { algorithm: Algorithm::PS256, ..rsa.clone() };
    assert_eq!(judge(&tokens, &pss.with_claims(json!({}))).await, "key");
}

#[tokio::test]
async fn a_key_is_chosen_among_those_of_the_issuer_only() {
    let (ours, other) = (Pair::new(Algorithm::ES256, "k1"), Pair::new(Algorithm::ES256, "k9"));
    let tokens = open(issuer(&[&ours]));
    assert_eq!(judge(&tokens, &other.with_claims(json!({}))).await, "key");
    assert_eq!(judge(&tokens, &other.with_header(json!({"kid": "k1"}))).await, "signature");
    assert_eq!(judge(&tokens, &ours.with_header(json!({"kid": "../k1"}))).await, "key");
    assert_eq!(judge(&tokens, &ours.with_header(json!({"kid": ["k1"]}))).await, "form");
    assert_eq!(judge(&tokens, &ours.with_header(json!({"kid": null}))).await, "accepted");

    // A key without a name stands for any that is not there, and for no other.
    let unnamed = Pair { jwk: changed(other.jwk.clone(), json!({"kid": null})), ..other.clone() };
    let tokens = open(issuer(&[&ours, &unnamed]));
    assert_eq!(judge(&tokens, &other.with_claims(json!({}))).await, "accepted");
    assert_eq!(judge(&tokens, &other.with_header(json!({"kid": "k1"}))).await, "signature");

    // Another issuer's key, known here, signs for its own issuer only.
    let name = "https://other.example";
    let others = IssuerSettings { issuer: Some(name.into()), ..issuer(&[&other]) };
    let settings =
        AuthSettings { main: issuer(&[&ours]), issuers: vec![others], ..AuthSettings::default() };
    let tokens = Tokens::open(&settings).unwrap();
    assert_eq!(judge(&tokens, &other.with_claims(json!({"iss": name}))).await, "accepted");
    assert_eq!(judge(&tokens, &other.with_claims(json!({}))).await, "key");
    assert_eq!(judge(&tokens, &other.with_header(json!({"kid": null}))).await, "signature");
}

#[tokio::test]
async fn a_signature_is_tried_with_a_few_keys_only() {
    let pairs: Vec<Pair> =
        (0..5).map(|nth| Pair::new(Algorithm::ES256, &format!("k{nth}"))).collect();
    let unnamed = pairs[3].with_header(json!({"kid": null}));
    let few = open(issuer(&pairs[..4].iter().collect::<Vec<_>>()));
    assert_eq!(judge(&few, &unnamed).await, "accepted");
    let many = open(issuer(&pairs.iter().collect::<Vec<_>>()));
    assert_eq!(judge(&many, &unnamed).await, "key");
    assert_eq!(judge(&many, &pairs[3].with_claims(json!({}))).await, "accepted");
}

#[tokio::test]
async fn keys_that_come_with_the_token_are_not_looked_at() {
    let (ours, forger) = (Pair::new(Algorithm::ES256, "k1"), Pair::new(Algorithm::ES256, "k1"));
    let tokens = open(issuer(&[&ours]));
    let embedded = [
        json!({"jwk": forger.jwk}),
        json!({"jku": "https://forger.example/jwks.json"}),
        json!({"x5u": "https://forger.example/cert.pem"}),
        json!({"x5c": ["MIIB"], "x5t": "abc"}),
        json!({"jwk": "no key", "x5c": 7}),
    ];
    for header in embedded {
        assert_eq!(judge(&tokens, &forger.with_header(header.clone())).await, "signature");
        assert_eq!(judge(&tokens, &ours.with_header(header)).await, "accepted");
    }
}

#[tokio::test]
async fn extensions_that_must_be_understood_are_refused() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let tokens = open(issuer(&[&pair]));
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), json!("b64")] {
        let header = json!({"crit": crit, "b64": false});
        assert_eq!(judge(&tokens, &pair.with_header(header)).await, "critical");
    }
}

#[tokio::test]
async fn a_token_of_another_type_is_refused() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let any = open(issuer(&[&pair]));
    let strict = open(IssuerSettings { token_type: Some("at+jwt".into()), ..issuer(&[&pair]) });
    for (name, by_any, by_strict) in [
        (json!("JWT"), "accepted", "type"),
        (Value::Null, "accepted", "type"),
        (json!("at+jwt"), "accepted", "accepted"),
        (json!("application/at+JWT"), "accepted", "accepted"),
        (json!("logout+jwt"), "type", "type"),
        (json!("dpop+jwt"), "type", "type"),
        (json!(""), "type", "type"),
        (json!(1), "form", "form"),
    ] {
        let token = pair.with_header(json!({"typ": name}));
        assert_eq!(judge(&any, &token).await, by_any, "{name}");
        assert_eq!(judge(&strict, &token).await, by_strict, "{name}");
    }
}

#[tokio::test]
async fn a_name_that_occurs_twice_is_refused() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let tokens = open(issuer(&[&pair]));
    let (header, claims) = (pair.header().to_string(), claims().to_string());
    let twice = |text: &str, more: &str| format!("{},{more}}}", text.trim_end_matches('}'));
    assert_eq!(judge(&tokens, &pair.sign_text(&header, &claims)).await, "accepted");
    for more in [r#""aud":"facility-summary""#, r#""\u0065xp":9999999999"#, r#""x":{"a":1,"a":2}"#]
    {
        let token = pair.sign_text(&header, &twice(&claims, more));
        assert_eq!(judge(&tokens, &token).await, "form", "{more}");
    }
    let token = pair.sign_text(&twice(&header, r#""alg":"ES256""#), &claims);
    assert_eq!(judge(&tokens, &token).await, "form");
}

#[tokio::test]
async fn what_is_no_signed_token_is_refused() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let tokens = open(issuer(&[&pair]));
    let right = pair.with_claims(json!({}));
    let (message, signature) = right.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    for token in [
        String::new(),
        ".".into(),
        "..".into(),
        "fs_1_abc".into(),
        message.into(),
        format!("{right}.x"),
        format!("{header}.{claims}.{claims}.{claims}.{signature}"),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}==.{signature}"),
        format!(" {right}"),
        format!("{header}.\u{e9}.{signature}"),
        pair.sign_text("[]", "{}"),
        pair.sign_text("{}", "{}"),
        pair.sign_text(r#"{"alg":7}"#, "{}"),
        pair.sign_text(&pair.header().to_string(), "7"),
        pair.sign_text(&pair.header().to_string(), &"[".repeat(3_000)),
        pair.sign_text(&pair.header().to_string(), "{\"a\":1} x"),
    ] {
        assert_eq!(judge(&tokens, &token).await, "form", "{token:?}");
    }
    assert_eq!(judge(&tokens, &format!("{right}=")).await, "signature");
    let encrypted = tokens.verify("e30.e30.e30.e30.e30", NOW_MS).await.unwrap_err().to_string();
    assert!(encrypted.contains("an encrypted token is not accepted"), "{encrypted}");
}

#[tokio::test]
async fn a_token_that_is_too_long_is_refused_before_it_is_decoded() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let tokens = open(issuer(&[&pair]));
    let filled = |length| pair.with_claims(json!({"filler": "x".repeat(length)}));
    let longest = (0..MOST_BYTES).map(filled).take_while(|t| t.len() <= MOST_BYTES).last().unwrap();
    assert!(longest.len() > MOST_BYTES - 3);
    assert_eq!(judge(&tokens, &longest).await, "accepted");
    assert_eq!(judge(&tokens, &filled(7_500)).await, "too_long");
    assert_eq!(judge(&tokens, &filled(48_000)).await, "too_long");
    assert_eq!(judge(&tokens, &"\u{0}".repeat(64 << 10)).await, "too_long");
}

#[tokio::test]
async fn a_token_counts_from_its_beginning_until_its_end() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let tokens = open(issuer(&[&pair]));
    let none = open(IssuerSettings { leeway_seconds: 0, ..issuer(&[&pair]) });
    let now = NOW_MS / 1_000;
    for (change, leeway, without) in [
        (json!({"exp": now + 1}), "accepted", "accepted"),
        (json!({"exp": now}), "accepted", "expired"),
        (json!({"exp": now - 29}), "accepted", "expired"),
        (json!({"exp": now - 30}), "expired", "expired"),
        (json!({"exp": -1}), "expired", "expired"),
        (json!({"exp": now as f64 + 0.5}), "accepted", "accepted"),
        (json!({"exp": null}), "claim", "claim"),
        (json!({"exp": "9999999999"}), "claim", "claim"),
        (json!({"exp": 1e300}), "claim", "claim"),
        (json!({"exp": u64::MAX}), "claim", "claim"),
        (json!({"nbf": now}), "accepted", "accepted"),
        (json!({"nbf": now + 30}), "accepted", "not_yet"),
        (json!({"nbf": now + 31}), "not_yet", "not_yet"),
        (json!({"nbf": "now"}), "claim", "claim"),
        (json!({"iat": now + 31}), "not_yet", "not_yet"),
        (json!({"iat": [1]}), "claim", "claim"),
        (json!({"iat": null}), "accepted", "accepted"),
    ] {
        let token = pair.with_claims(change.clone());
        assert_eq!(judge(&tokens, &token).await, leeway, "{change}");
        assert_eq!(judge(&none, &token).await, without, "{change}");
    }
    let token = pair.with_claims(json!({}));
    let verified = tokens.verify(&token, NOW_MS).await.unwrap();
    let before_the_end = tokens.verify(&token, verified.expires_ms - 1).await;
    assert_eq!(before_the_end.unwrap(), verified);
    assert_eq!(class(tokens.verify(&token, verified.expires_ms).await), "expired");
}

#[tokio::test]
async fn a_token_for_somebody_else_or_of_somebody_else_is_refused() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let tokens = open(issuer(&[&pair]));
    for (change, expected) in [
        (json!({"aud": "facility-summary"}), "accepted"),
        (json!({"aud": "facility-summary-2"}), "audience"),
        (json!({"aud": ["account"]}), "audience"),
        (json!({"aud": []}), "audience"),
        (json!({"aud": null}), "audience"),
        (json!({"aud": {"facility-summary": 1}}), "audience"),
        (json!({"iss": "https://provider.example"}), "issuer"),
        (json!({"iss": format!("{ISSUER}/")}), "issuer"),
        (json!({"iss": [ISSUER]}), "issuer"),
        (json!({"iss": null}), "issuer"),
        (json!({"iss": "facility-summary"}), "issuer"),
        (json!({"sub": null}), "claim"),
        (json!({"sub": ""}), "claim"),
        (json!({"sub": " "}), "claim"),
        (json!({"sub": 7}), "claim"),
        (json!({"sub": "x".repeat(1_001)}), "claim"),
        (json!({"sub": "a\nb"}), "claim"),
    ] {
        assert_eq!(judge(&tokens, &pair.with_claims(change.clone())).await, expected, "{change}");
    }
}

#[tokio::test]
async fn a_name_for_people_is_short_and_on_one_line() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let tokens = open(issuer(&[&pair]));
    let token = pair.with_claims(json!({"name": format!("Ann\r\n{}", "x".repeat(3_000))}));
    let name = tokens.verify(&token, NOW_MS).await.unwrap().principal.name;
    assert_eq!(name, format!("Ann{}", "x".repeat(997)));
}

#[tokio::test]
async fn what_is_logged_of_a_forged_token_is_short_and_on_one_line() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let tokens = open(issuer(&[&pair]));
    let long = format!("a\r\n{}\u{1b}[2J", "x".repeat(3_000));
    let forged = [
        pair.with_claims(json!({"iss": long})),
        pair.with_claims(json!({"aud": [long]})),
        pair.with_claims(json!({"roles": [long]})),
        pair.with_claims(json!({"facilities": [long]})),
        pair.with_claims(json!({"exp": long})),
        pair.with_header(json!({"alg": long})),
        pair.with_header(json!({"kid": long})),
        pair.with_header(json!({"typ": long})),
        pair.with_header(json!({"kid": {"a": long}})),
    ];
    for token in forged {
        let reason = tokens.verify(&token, NOW_MS).await.unwrap_err().to_string();
        assert!(reason.len() < 400 && !reason.contains(char::is_control), "{reason:?}");
    }
}
