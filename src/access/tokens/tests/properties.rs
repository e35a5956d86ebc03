use std::sync::LazyLock;

use jsonwebtoken::Algorithm;
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::json;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::*;
use crate::domain::access::FacilityScope;

struct World {
    pair: Pair,
    tokens: Tokens,
    runtime: Runtime,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let tokens = open(issuer(&[&pair]));
    World { pair, tokens, runtime: Runtime::new().unwrap() }
});

fn verify(token: &str) -> Result<Verified, Refusal> {
    WORLD.runtime.block_on(WORLD.tokens.verify(token, NOW_MS))
}

/// Any JSON, with texts that mean something now and then.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("*".to_owned()),
        Just("admin".to_owned()),
        Just("viewer".to_owned()),
        Just(FACILITY.to_owned()),
        ".{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec(("[a-z*]{0,6}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Every text in a value that is the id of a facility.
fn ids(value: &Value, found: &mut Vec<Uuid>) {
    match value {
        Value::String(text) => found.extend(text.parse::<Uuid>()),
        Value::Array(list) => list.iter().for_each(|value| ids(value, found)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn a_token_with_one_character_changed_is_refused(at in any::<Index>(), new in "[ -~\u{e9}]") {
        let token = WORLD.pair.with_claims(json!({}));
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &new);
        prop_assert_eq!(verify(&changed).is_ok(), changed == token, "{}", changed);
    }

    #[test]
    fn no_text_is_a_token_and_none_makes_the_service_fail(text in ".{0,200}", dots in 0..5_usize) {
        prop_assert!(verify(&text).is_err());
        prop_assert!(verify(&vec![text.as_str(); dots].join(".")).is_err());
    }

    #[test]
    fn no_signed_header_or_payload_makes_the_service_fail(
        header in any_json(),
        payload in any_json(),
    ) {
        prop_assert!(verify(&WORLD.pair.sign(&header, &payload)).is_err());
        let _ = verify(&WORLD.pair.with_header(json!({"kid": header, "typ": payload})));
    }

    #[test]
    fn whatever_the_claim_says_no_more_facilities_are_seen_than_it_names(value in any_json()) {
        let mut claims = claims();
        claims["facilities"] = value.clone();
        let token = WORLD.pair.sign(&WORLD.pair.header(), &claims);
        if let Ok(verified) = verify(&token) {
            let mut named = Vec::new();
            ids(&value, &mut named);
            prop_assert_eq!(verified.principal.facilities, FacilityScope::of_ids(named));
        }
    }
}
