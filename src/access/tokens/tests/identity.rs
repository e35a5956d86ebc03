use jsonwebtoken::Algorithm;
use serde_json::json;

use super::*;
use crate::access::tokens::identity::Parties;

const OTHER: &str = "https://other.example";
const OF: Parties<'static> = Parties { issuer: ISSUER, client: "our client" };

/// The key of `ISSUER`, that of `OTHER`, and what verifies both.
fn world() -> (Pair, Pair, Tokens) {
    let (ours, other) = (Pair::new(Algorithm::ES256, "k1"), Pair::new(Algorithm::ES256, "k2"));
    let others = IssuerSettings { issuer: Some(OTHER.into()), ..issuer(&[&other]) };
    let settings =
        AuthSettings { main: issuer(&[&ours]), issuers: vec![others], ..AuthSettings::default() };
    let tokens = Tokens::open(&settings).unwrap();
    (ours, other, tokens)
}

fn word<T>(outcome: Result<T, Refusal>) -> &'static str {
    match outcome {
        Ok(_) => "accepted",
        Err(Refusal::Invalid(reason)) => reason.class(),
        Err(Refusal::Unavailable(_)) => "unavailable",
    }
}

/// Tokens that are right but for one thing, beside what is said of each.
fn each(
    (ours, other): (&Pair, &Pair),
    right: &Value,
    cases: impl IntoIterator<Item = (Value, &'static str)>,
) -> Vec<(String, &'static str)> {
    let of = |pair: &Pair, header: Value, claims: Value| {
        pair.sign(&changed(pair.header(), header), &changed(right.clone(), claims))
    };
    let claims = cases.into_iter().map(|(claims, word)| (of(ours, json!({}), claims), word));
    let mut all: Vec<_> = claims.collect();
    all.extend([
        (of(ours, json!({"typ": null}), json!({})), "accepted"),
        (of(ours, json!({"typ": "at+jwt"}), json!({})), "type"),
        (of(other, json!({"kid": "k1"}), json!({})), "signature"),
        (of(ours, json!({}), json!({"aud": "facility-summary"})), "audience"),
        (of(ours, json!({}), json!({"exp": 1})), "expired"),
        // It is right, and known here; but nobody signed in there.
        (of(other, json!({}), json!({"iss": OTHER})), "issuer"),
    ]);
    all
}

#[tokio::test]
async fn an_id_token_is_for_this_client_of_this_provider_and_of_this_sign_in() {
    let (ours, other, tokens) = world();
    let right = changed(claims(), json!({"aud": OF.client, "nonce": "n", "azp": OF.client}));
    let cases = [
        (json!({}), "accepted"),
        (json!({"azp": null}), "accepted"),
        (json!({"azp": "other"}), "claim"),
        (json!({"azp": [OF.client]}), "claim"),
        (json!({"nonce": "x"}), "claim"),
        (json!({"nonce": null}), "claim"),
        (json!({"nonce": ["n"]}), "claim"),
        (json!({"sub": null}), "claim"),
        (json!({"roles": ["guest"]}), "role"),
        (json!({"facilities": null}), "facilities"),
        (json!({"session_expiry": "soon"}), "claim"),
        (json!({"sid": "a\u{0}"}), "claim"),
    ];
    for (token, expected) in each((&ours, &other), &right, cases) {
        let outcome = tokens.verify_identity(&token, OF, "n", NOW_MS).await;
        assert_eq!(word(outcome), expected, "{token}");
    }
    let token = ours.sign(&changed(ours.header(), json!({"typ": "logout+jwt"})), &right);
    assert_eq!(word(tokens.verify_identity(&token, OF, "n", NOW_MS).await), "type");
}

#[tokio::test]
async fn a_logout_token_names_its_event_whom_it_is_about_and_when_it_was_made() {
    let (ours, other, tokens) = world();
    let event = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    let right = changed(claims(), json!({"aud": OF.client, "sid": "s", "events": event}));
    let cases = [
        (json!({}), "accepted"),
        (json!({"sid": null}), "accepted"),
        (json!({"sub": null}), "accepted"),
        (json!({"sub": null, "sid": null}), "claim"),
        (json!({"sub": "", "sid": ""}), "claim"),
        (json!({"sid": "a\u{0}"}), "claim"),
        (json!({"events": {}}), "claim"),
        (json!({"events": null}), "claim"),
        (json!({"nonce": "n"}), "claim"),
        (json!({"iat": null}), "claim"),
    ];
    for (token, expected) in each((&ours, &other), &right, cases) {
        let outcome = tokens.verify_logout(&token, OF, NOW_MS).await;
        assert_eq!(word(outcome), expected, "{token}");
    }
    let token = ours.sign(&changed(ours.header(), json!({"typ": "logout+jwt"})), &right);
    assert_eq!(word(tokens.verify_logout(&token, OF, NOW_MS).await), "accepted");
}
