//! A key that the provider has taken away: what it signed ends, also where it is remembered.

use std::{sync::Arc, time::Duration};

use facility_summary::{
    access::{Browsers, Denial, Guard},
    cache::memory::Memory,
    clock::Clock,
    config::{DatabaseSettings, auth::AuthSettings},
    directory::Directory,
    metrics::Metrics,
    protocol::Position,
    store,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::support::wait_until;

/// A guard on a new database, with these tokens.
async fn guard(folder: &tempfile::TempDir, tokens: Arc<Tokens>) -> Arc<Guard> {
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    let settings = DatabaseSettings { url, ..Default::default() };
    let store = store::open(&settings, None).await.unwrap();
    let memory = Arc::new(Memory::new(1 << 20, 16, Position { generation: 1, number: 0 }));
    let directory = Arc::new(Directory::new(memory, false));
    let (clock, metrics) = (Arc::new(Clock::new()), Arc::new(Metrics::new().unwrap()));
    let browsers = Browsers::of(&AuthSettings::default());
    Arc::new(Guard::new(store, directory, clock, tokens, metrics, browsers))
}

#[tokio::test]
async fn a_remembered_token_ends_when_its_key_is_gone_and_not_while_the_provider_is_away() {
    let (old, new) = (Pair::new("2026-01"), Pair::new("2026-02"));
    let mut provider = OpenId::start(&[old.jwk.clone(), new.jwk.clone()]).await;
    let pace = Pace { refresh: Duration::from_millis(20), ..AT_ONCE };
    let tokens = Arc::new(tokens_of(&provider, pace));
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder, tokens.clone()).await;
    let [of_old, of_new] = [&old, &new].map(|pair| pair.token(&provider.issuer()));
    for token in [&of_old, &of_new] {
        guard.verify(token).await.unwrap();
    }
    let stop = CancellationToken::new();
    let fetching = tokio::spawn(tokens.clone().keep_current(stop.clone()));
    let is_remembered = async |token: &str| {
        // As the job does each half second.
        guard.follow().await.unwrap();
        guard.remembered(token).is_some()
    };
    // The same keys again change nothing, and neither does a fetch that fails.
    let fetched = provider.asked().1;
    wait_until("the keys were fetched again", async || provider.asked().1 > fetched + 2).await;
    assert!(is_remembered(&of_old).await && is_remembered(&of_new).await);
    provider.go_away().await;
    wait_until("a fetch has failed", async || tokens.state()[0].keys.last_error.is_some()).await;
    assert!(is_remembered(&of_old).await && is_remembered(&of_new).await);
    provider.rotate(std::slice::from_ref(&new.jwk));
    provider.come_back().await;
    wait_until("the token has ended", async || !is_remembered(&of_old).await).await;
    assert_eq!(guard.verify(&of_old).await.map(drop), Err(Denial::Invalid));
    assert!(is_remembered(&of_new).await, "of another key");
    // Another key of the same name does not stand for the one that is gone.
    let forged = Pair::new("2026-02");
    provider.rotate(std::slice::from_ref(&forged.jwk));
    wait_until("the token has ended", async || !is_remembered(&of_new).await).await;
    assert_eq!(guard.verify(&of_new).await.map(drop), Err(Denial::Invalid));
    stop.cancel();
    fetching.await.unwrap();
}

#[tokio::test]
async fn while_the_keys_of_a_provider_were_never_got_nobody_is_told_that_a_token_is_wrong() {
    let pair = Pair::new("2026-01");
    let mut provider = OpenId::start(std::slice::from_ref(&pair.jwk)).await;
    provider.go_away().await;
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder, Arc::new(tokens_of(&provider, AT_ONCE))).await;
    let token = pair.token(&provider.issuer());
    assert_eq!(guard.verify(&token).await.map(drop), Err(Denial::Unavailable));
    provider.come_back().await;
    guard.verify(&token).await.unwrap();
}
