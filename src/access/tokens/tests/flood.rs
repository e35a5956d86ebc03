use std::{sync::Arc, time::Duration};

use jsonwebtoken::Algorithm;
use serde_json::json;

use super::*;
use crate::access::tokens::{MOST_VERIFYING, Unavailable};

#[tokio::test]
async fn signatures_are_checked_on_as_many_threads_as_there_are_cores_and_others_wait() {
    let pair = Pair::new(Algorithm::ES256, "k1");
    let tokens = Arc::new(open(issuer(&[&pair])));
    let token = pair.with_claims(json!({}));
    let cores = tokens.cores.available_permits();
    assert!(cores >= 1);
    let held = tokens.cores.clone().acquire_many_owned(cores as u32).await.unwrap();
    let verify = |tokens: &Arc<Tokens>| {
        let (tokens, token) = (tokens.clone(), token.clone());
        tokio::spawn(async move { tokens.verify(&token, NOW_MS).await })
    };
    let waiting: Vec<_> = (0..MOST_VERIFYING).map(|_| verify(&tokens)).collect();
    while tokens.places.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(waiting.iter().all(|task| !task.is_finished()));
    let busy = verify(&tokens).await.unwrap();
    assert_eq!(busy, Err(Refusal::Unavailable(Unavailable::Busy)));
    // What is wrong without its signature takes no place.
    let expired = tokens.verify(&token, NOW_MS + 3_600_000).await;
    assert_eq!(class(expired), "expired");
    // A client that goes away gives its place back.
    waiting[0].abort();
    while tokens.places.available_permits() == 0 {
        tokio::task::yield_now().await;
    }
    drop(held);
    for task in waiting.into_iter().skip(1) {
        assert!(task.await.unwrap().is_ok());
    }
    let all = MOST_VERIFYING;
    tokio::time::timeout(Duration::from_secs(30), async {
        while tokens.places.available_permits() < all || tokens.cores.available_permits() < cores {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("each place is given back");
}
