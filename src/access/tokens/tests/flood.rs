use std::{sync::Arc, thread::available_parallelism, time::Duration};

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
    assert_eq!(cores, available_parallelism().map_or(1, usize::from), "no more at a time");
    let held = tokens.cores.clone().acquire_many_owned(cores as u32).await.unwrap();
    let verify = |tokens: &Arc<Tokens>| {
        let (tokens, token) = (tokens.clone(), token.clone());
        tokio::spawn(async move { tokens.verify(&token, NOW_MS).await })
    };
    let waiting: Vec<_> = (0..MOST_VERIFYING).map(|_| verify(&tokens)).collect();
    until("each has a place", || tokens.places.available_permits() == 0).await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    let more = verify(&tokens);
    until("one more is refused", || more.is_finished()).await;
    assert_eq!(more.await.unwrap(), Err(Refusal::Unavailable(Unavailable::Busy)));
    // What is wrong without its signature takes no place.
    let expired = tokens.verify(&token, NOW_MS + 3_600_000).await;
    assert_eq!(class(expired), "expired");
    // A client that goes away gives its place back.
    waiting[0].abort();
    until("its place is free", || tokens.places.available_permits() == 1).await;
    drop(held);
    for task in waiting.into_iter().skip(1) {
        assert!(task.await.unwrap().is_ok());
    }
    let free = || (tokens.places.available_permits(), tokens.cores.available_permits());
    until("each place is given back", || free() == (MOST_VERIFYING, cores)).await;
}

/// Waits until the condition is true.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect(what);
}
