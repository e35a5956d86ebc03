//! What ends while it is being verified, which no test from outside can time.

use super::*;
use crate::{
    access::{
        audit::Actor,
        denials::{self, DenialWish, TokenName},
        key_ring::{self, KeyWish},
    },
    cache::memory::Memory,
    config::{DatabaseSettings, auth::AuthSettings},
    domain::access::{FacilityScope, Role},
    protocol::Position,
};

/// A guard on a new database.
async fn guard(folder: &tempfile::TempDir) -> Arc<Guard> {
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    let settings = DatabaseSettings { url, ..Default::default() };
    let store = store::open(&settings, None).await.unwrap();
    let memory = Arc::new(Memory::new(1 << 20, 16, Position { generation: 1, number: 0 }));
    let directory = Arc::new(Directory::new(memory, false));
    let tokens = Arc::new(Tokens::open(&AuthSettings::default()).unwrap());
    let metrics = Arc::new(Metrics::new().unwrap());
    let (clock, browsers) = (Arc::new(Clock::new()), Browsers::of(&AuthSettings::default()));
    Arc::new(Guard::new(store, directory, clock, tokens, metrics, browsers))
}

fn by() -> Actor {
    Actor { id: "the test".into(), address: None }
}

#[tokio::test]
async fn a_key_that_is_revoked_while_it_is_verified_is_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    let wish = || KeyWish {
        name: "a key".into(),
        role: Role::Admin,
        facilities: None,
        may_read: false,
        expires_ms: None,
    };
    let (_, key) = key_ring::add(&*guard.store, wish(), by()).await.unwrap();
    let (_, other) = key_ring::add(&*guard.store, wish(), by()).await.unwrap();
    guard.follow().await.unwrap();
    guard.verify(&other.text).await.unwrap();
    // It is found to be right; then it is revoked, and what is remembered is gone through.
    let who = Arc::new(guard.by_key(&key.id, &key.text).unwrap());
    key_ring::revoke(&*guard.store, &key.id, by()).await.unwrap();
    guard.follow().await.unwrap();
    assert_eq!(guard.remember(&key.text, &who), Err(Denial::Invalid));
    assert!(guard.remembered(&key.text).is_none());
    assert!(guard.remembered(&other.text).is_some(), "the other one stays");
}

#[tokio::test]
async fn a_token_that_is_denied_while_it_is_verified_is_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    let signed_in = |subject: &str| {
        let principal = Principal {
            id: format!("token:i#{subject}"),
            name: subject.into(),
            role: Role::Admin,
            facilities: FacilityScope::All,
            may_read: false,
        };
        let token =
            TokenName { issuer: "i".into(), subject: subject.into(), token_id: Some("t".into()) };
        Arc::new(SignedIn { token: Some(token), ..guard.signed_in(principal, None, None) })
    };
    let (ann, bob) = (signed_in("ann"), signed_in("bob"));
    guard.remember("the token of bob, which has an end of its own", &bob).unwrap();
    let wish =
        DenialWish { issuer: "i".into(), subject: "ann".into(), token_id: None, until_ms: None };
    denials::deny(&*guard.store, wish, by()).await.unwrap();
    guard.follow().await.unwrap();
    assert_eq!(guard.remember("the token of ann", &ann), Err(Denial::Invalid));
    assert!(guard.remembered("the token of ann").is_none());
    assert!(guard.remembered("the token of bob, which has an end of its own").is_some());
}
