use std::{sync::Arc, time::Duration};

use facility_summary::{
    access::tokens::Tokens,
    config::auth::{AuthSettings, IssuerSettings},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::support::{
    openid::{Answer, jwks},
    wait_until,
};

#[tokio::test]
async fn the_issuer_alone_is_enough_and_its_keys_are_fetched_once() {
    let pair = Pair::new("k1");
    let provider = OpenId::start(std::slice::from_ref(&pair.jwk)).await;
    let tokens = tokens_of(&provider, Pace::default());
    let state = &tokens.state()[0];
    assert_eq!((state.keys.keys, state.keys.fetched_ago, state.is_fetched), (0, None, true));
    let token = pair.token(&provider.issuer());
    for _ in 0..3 {
        let verified = tokens.verify(&token, now_ms()).await.unwrap();
        assert_eq!(verified.principal.id, format!("token:{}#u1", provider.issuer()));
    }
    assert_eq!(provider.asked(), (1, 1, 0));
    let state = &tokens.state()[0];
    assert_eq!((state.keys.keys, state.keys.last_error), (1, None));
    assert!(state.keys.fetched_ago.is_some_and(|ago| ago < Duration::from_secs(60)));
}

#[tokio::test]
async fn the_first_tokens_of_an_issuer_share_one_fetch() {
    let pair = Pair::new("k1");
    let provider = OpenId::start(&[]).await;
    provider.answer(Answer::Held(jwks(std::slice::from_ref(&pair.jwk))));
    let tokens = Arc::new(tokens_of(&provider, AT_ONCE));
    let token = pair.token(&provider.issuer());
    let mut waiting: Vec<_> = (0..40)
        .map(|_| {
            let (tokens, token) = (tokens.clone(), token.clone());
            tokio::spawn(async move { tokens.verify(&token, now_ms()).await })
        })
        .collect();
    wait_until("the provider is asked", async || provider.asked().1 == 1).await;
    // The client whose token caused the fetch goes away.
    waiting.remove(0).abort();
    provider.release();
    for one in waiting {
        assert_eq!(class(&one.await.unwrap()), "accepted");
    }
    assert_eq!(provider.asked(), (1, 1, 0));
}

#[tokio::test]
async fn keys_rotate_without_a_restart() {
    let (old, new) = (Pair::new("2026-01"), Pair::new("2026-02"));
    let provider = OpenId::start(std::slice::from_ref(&old.jwk)).await;
    let tokens = tokens_of(&provider, AT_ONCE);
    let [of_old, of_new] = [&old, &new].map(|pair| pair.token(&provider.issuer()));
    assert_eq!(judge(&tokens, &of_old).await, "accepted");
    assert_eq!(judge(&tokens, &of_new).await, "key");
    provider.rotate(&[old.jwk.clone(), new.jwk.clone()]);
    assert_eq!(judge(&tokens, &of_new).await, "accepted");
    assert_eq!(judge(&tokens, &of_old).await, "accepted");
    provider.rotate(std::slice::from_ref(&new.jwk));
    assert_eq!(judge(&tokens, &Pair::new("2026-03").token(&provider.issuer())).await, "key");
    assert_eq!(judge(&tokens, &of_old).await, "key", "the provider has taken it back");
}

#[tokio::test]
async fn tokens_with_random_keys_cause_no_fetches() {
    let pair = Pair::new("k1");
    let provider = OpenId::start(std::slice::from_ref(&pair.jwk)).await;
    let tokens = tokens_of(&provider, Pace { cool_down: LONG, ..AT_ONCE });
    for nth in 0..200 {
        let forged = pair.token_with(&provider.issuer(), |header| {
            header.kid = Some(format!("random {nth}"));
        });
        assert_eq!(judge(&tokens, &forged).await, "key");
    }
    assert_eq!(judge(&tokens, &pair.token(&provider.issuer())).await, "accepted");
    assert_eq!(provider.asked(), (1, 1, 0));
}

#[tokio::test]
async fn tokens_with_unknown_keys_wait_in_a_bounded_number_and_known_ones_do_not() {
    let pair = Pair::new("k1");
    let provider = OpenId::start(std::slice::from_ref(&pair.jwk)).await;
    let tokens = Arc::new(tokens_of(&provider, AT_ONCE));
    let right = pair.token(&provider.issuer());
    assert_eq!(judge(&tokens, &right).await, "accepted");
    provider.answer(Answer::Held(jwks(std::slice::from_ref(&pair.jwk))));
    let forged = pair.token_with(&provider.issuer(), |header| header.kid = Some("x".into()));
    let mut waiting: Vec<_> = (0..70)
        .map(|_| {
            let (tokens, forged) = (tokens.clone(), forged.clone());
            tokio::spawn(async move { tokens.verify(&forged, now_ms()).await })
        })
        .collect();
    wait_until("six tokens find no place", async || {
        waiting.iter().filter(|one| one.is_finished()).count() == 6
    })
    .await;
    for one in waiting.extract_if(.., |one| one.is_finished()) {
        assert_eq!(class(&one.await.unwrap()), "unavailable");
    }
    assert_eq!(judge(&tokens, &right).await, "accepted");
    provider.release();
    for one in waiting {
        assert_eq!(class(&one.await.unwrap()), "key");
    }
}

#[tokio::test]
async fn keys_are_fetched_at_intervals_until_the_stop() {
    let (old, new) = (Pair::new("k1"), Pair::new("k2"));
    let provider = OpenId::start(std::slice::from_ref(&old.jwk)).await;
    // No token causes a fetch: there is one key, and the cool-down is long.
    let refresh = Duration::from_millis(20);
    let pace = Pace { refresh, cool_down: LONG, timeout: LONG, ..AT_ONCE };
    let tokens = Arc::new(tokens_of(&provider, pace));
    let stop = CancellationToken::new();
    let job = tokio::spawn(tokens.clone().keep_current(stop.clone()));
    wait_until("the keys are there", async || tokens.state()[0].keys.keys == 1).await;
    provider.rotate(&[old.jwk.clone(), new.jwk.clone()]);
    wait_until("the new key is there", async || tokens.state()[0].keys.keys == 2).await;
    assert_eq!(judge(&tokens, &new.token(&provider.issuer())).await, "accepted");
    provider.answer(Answer::Held(Vec::new()));
    let before = provider.asked().1;
    wait_until("a fetch is under way", async || provider.asked().1 > before).await;
    stop.cancel();
    wait_until("it ends in the middle of a fetch", async || job.is_finished()).await;
}

#[tokio::test]
async fn a_key_of_one_provider_signs_for_no_other_and_what_a_token_brings_is_not_asked() {
    let (ours, theirs) = (Pair::new("k1"), Pair::new("k2"));
    let one = OpenId::start(std::slice::from_ref(&ours.jwk)).await;
    let other = OpenId::start(std::slice::from_ref(&theirs.jwk)).await;
    let settings = |provider: &OpenId| IssuerSettings {
        issuer: Some(provider.issuer()),
        ..IssuerSettings::default()
    };
    let settings = AuthSettings {
        main: settings(&one),
        issuers: vec![settings(&other)],
        ..AuthSettings::default()
    };
    let tokens = Tokens::open_at(&settings, AT_ONCE).unwrap();
    assert_eq!(judge(&tokens, &ours.token(&one.issuer())).await, "accepted");
    assert_eq!(judge(&tokens, &theirs.token(&other.issuer())).await, "accepted");
    assert_eq!(judge(&tokens, &theirs.token(&one.issuer())).await, "key");
    let (stranger, forger) = (OpenId::start(&[]).await, Pair::new("k1"));
    stranger.rotate(std::slice::from_ref(&forger.jwk));
    let forged = forger.token_with(&one.issuer(), |header| {
        header.jku = Some(format!("{}/keys", stranger.issuer()));
        header.x5u = header.jku.clone();
        header.jwk = serde_json::from_value(forger.jwk.clone()).ok();
    });
    assert_eq!(judge(&tokens, &forged).await, "signature");
    assert_eq!(judge(&tokens, &forger.token(&stranger.issuer())).await, "issuer");
    assert_eq!(stranger.asked(), (0, 0, 0));
}

#[tokio::test]
async fn keys_may_come_from_a_url_of_the_settings_without_discovery() {
    let pair = Pair::new("k1");
    let provider = OpenId::start(std::slice::from_ref(&pair.jwk)).await;
    provider.discover(Answer::Status("404 Not Found", String::new()));
    let main = IssuerSettings {
        issuer: Some("any-name".into()),
        jwks_url: Some(format!("{}/keys", provider.issuer())),
        ..IssuerSettings::default()
    };
    let settings = AuthSettings { main, ..AuthSettings::default() };
    let tokens = Tokens::open_at(&settings, AT_ONCE).unwrap();
    assert_eq!(judge(&tokens, &pair.token("any-name")).await, "accepted");
    assert_eq!(provider.asked(), (0, 1, 0));
}

#[tokio::test]
async fn a_redirect_is_followed_within_its_scheme_only() {
    let pair = Pair::new("k1");
    let (provider, target) =
        (OpenId::start(&[]).await, OpenId::start(std::slice::from_ref(&pair.jwk)).await);
    let redirect = |to: String| Answer::Status("302 Found", format!("location: {to}\r\n"));
    let token = pair.token(&provider.issuer());
    for to in ["http://example.invalid/keys", "ftp://127.0.0.1/keys", "https://127.0.0.1:1/keys"] {
        provider.answer(redirect(to.into()));
        let tokens = tokens_of(&provider, AT_ONCE);
        assert_eq!(judge(&tokens, &token).await, "unavailable", "{to}");
        assert_eq!(tokens.state()[0].keys.last_error, Some("redirect"), "{to}");
    }
    provider.answer(redirect(format!("{}/keys", provider.issuer())));
    let tokens = tokens_of(&provider, AT_ONCE);
    assert_eq!(judge(&tokens, &token).await, "unavailable", "it goes in a circle");
    assert!(provider.asked().1 < 10);
    provider.answer(redirect(format!("{}/keys", target.issuer())));
    assert_eq!(judge(&tokens_of(&provider, AT_ONCE), &token).await, "accepted");
}

#[tokio::test]
async fn a_discovery_document_of_another_issuer_or_with_another_scheme_is_not_followed() {
    let pair = Pair::new("k1");
    let provider = OpenId::start(std::slice::from_ref(&pair.jwk)).await;
    let (issuer, token) = (provider.issuer(), pair.token(&provider.issuer()));
    let keys = format!("{issuer}/keys");
    for document in [
        json!({"issuer": format!("{issuer}/"), "jwks_uri": keys}),
        json!({"issuer": "https://other.example", "jwks_uri": keys}),
        json!({"jwks_uri": keys}),
        json!({"issuer": issuer}),
        json!({"issuer": issuer, "jwks_uri": "http://example.invalid/keys"}),
        json!({"issuer": issuer, "jwks_uri": "file:///etc/passwd"}),
        json!([]),
    ] {
        provider.discover(Answer::Body(document.to_string().into()));
        let tokens = tokens_of(&provider, AT_ONCE);
        assert_eq!(judge(&tokens, &token).await, "unavailable", "{document}");
        assert_eq!(tokens.state()[0].keys.last_error, Some("discovery"), "{document}");
    }
    assert_eq!(provider.asked().1, 0, "its keys were not asked for");
}
