//! What ends while it is being verified, which no test from outside can time.

use super::*;
use crate::{
    access::{
        api_keys,
        audit::Actor,
        denials::{self, DenialWish, TokenName},
        key_ring::{self, KeyWish},
        sessions::NewSession,
    },
    cache::memory::Memory,
    config::{DatabaseSettings, auth::AuthSettings},
    domain::access::{FacilityScope, Role},
    protocol::Position,
    store::people::SessionRow,
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

/// A store with a session of somebody, and its cookie's value.
async fn with_session(guard: &Guard) -> (SessionRow, String) {
    let NewSession { id, text } = NewSession::random();
    let now_ms = guard.clock.now_ms();
    let row = SessionRow {
        id,
        hash: api_keys::hash(&text).to_vec(),
        principal: "token:i#ann".into(),
        name: "Ann".into(),
        role: "viewer".into(),
        facilities: None,
        user_name: None,
        issuer: Some("i".into()),
        subject: Some("ann".into()),
        provider_sid: None,
        created_ms: now_ms,
        expires_ms: now_ms + 3_600_000,
        used_ms: now_ms,
        ended_ms: None,
        ended_by: None,
        address: None,
        agent: None,
    };
    let note = by().note("session.started", &row.id, serde_json::json!({}));
    assert!(guard.store.add_session(&row, None, &note).await.unwrap());
    (row, text)
}

#[tokio::test]
async fn a_session_that_is_ended_while_it_is_verified_is_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    guard.follow().await.unwrap();
    let (row, cookie) = with_session(&guard).await;
    let (_, other) = with_session(&guard).await;
    guard.follow().await.unwrap();
    guard.verify(&other).await.unwrap();
    // It is read, and found to be right; then it is ended, and what is remembered is gone through.
    let endings = guard.endings.load(Ordering::Acquire);
    let who = Arc::new(guard.by_session(&row, &cookie).unwrap());
    let note = by().note("session.ended", &row.id, serde_json::json!({}));
    assert!(guard.store.end_session(&row.id, None, &note).await.unwrap());
    guard.follow().await.unwrap();
    assert_eq!(guard.remember_session(&cookie, &who, endings), Ok(false));
    assert!(guard.remembered(&cookie).is_none());
    assert_eq!(guard.verify(&cookie).await.map(drop), Err(Denial::Invalid));
    assert!(guard.remembered(&other).is_some(), "the other one stays");
}

#[tokio::test]
async fn an_end_of_a_session_reads_no_keys_and_a_revoked_key_is_noticed_among_them() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    let wish = KeyWish {
        name: "a key".into(),
        role: Role::Admin,
        facilities: None,
        may_read: false,
        expires_ms: None,
    };
    let (_, key) = key_ring::add(&*guard.store, wish, by()).await.unwrap();
    let (one, two) = (with_session(&guard).await.0, with_session(&guard).await.0);
    guard.follow().await.unwrap();
    let end = async |row: &SessionRow| {
        let note = by().note("session.ended", &row.id, serde_json::json!({}));
        assert!(guard.store.end_session(&row.id, None, &note).await.unwrap());
    };
    let keys = guard.keys.load_full();
    end(&one).await;
    guard.follow().await.unwrap();
    assert!(Arc::ptr_eq(&keys, &guard.keys.load_full()), "they were not read again");
    // Both between two looks.
    end(&two).await;
    key_ring::revoke(&*guard.store, &key.id, by()).await.unwrap();
    guard.follow().await.unwrap();
    assert!(!guard.keys.load().has(&key.id));
}

#[tokio::test]
async fn what_has_ended_does_not_count_again_when_the_clock_is_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    let begun_ms = guard.clock.now_ms();
    let set = |off_ms: i64| guard.clock.sync(begun_ms + off_ms, Instant::now());
    set(0);
    let wish = |expires_ms| KeyWish {
        name: "a key".into(),
        role: Role::Admin,
        facilities: None,
        may_read: false,
        expires_ms,
    };
    let ends_ms = begun_ms + 600_000;
    let (_, key) = key_ring::add(&*guard.store, wish(Some(ends_ms)), by()).await.unwrap();
    let (_, unused) = key_ring::add(&*guard.store, wish(Some(ends_ms)), by()).await.unwrap();
    let (_, endless) = key_ring::add(&*guard.store, wish(None), by()).await.unwrap();
    let (_, session) = with_session(&guard).await;
    guard.follow().await.unwrap();
    for credential in [&key.text, &endless.text, &session] {
        guard.verify(credential).await.unwrap();
        assert!(guard.remembered(credential).is_some());
    }
    // Forwards: what is remembered ends at once.
    set(3_700_000);
    assert!(guard.remembered(&key.text).is_none() && guard.remembered(&session).is_none());
    set(0);
    guard.follow().await.unwrap();
    for credential in [&key.text, &unused.text, &session] {
        assert!(guard.remembered(credential).is_none());
        assert_eq!(guard.verify(credential).await.map(drop), Err(Denial::Invalid));
    }
    assert!(guard.remembered(&endless.text).is_some());
    assert!(guard.metrics.clock_set_back.get() >= 3_600);
}

#[tokio::test]
async fn whoever_only_watches_does_not_use_a_session() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    let begun_ms = guard.clock.now_ms();
    guard.clock.sync(begun_ms, Instant::now());
    guard.follow().await.unwrap();
    let (_, cookie) = with_session(&guard).await;
    let who = guard.verify_watching(&cookie).await.unwrap();
    let idle_ms = i64::try_from(guard.lifetimes().idle.as_millis()).unwrap();
    let used_at = |ms: i64| !who.session.as_ref().unwrap().is_idle(ms + idle_ms - 1);
    guard.clock.sync(begun_ms + 60_000, Instant::now());
    assert!(guard.remembered_watching(&cookie).is_some());
    assert!(guard.session_uses.take().is_empty() && !used_at(begun_ms + 30_000));
    assert!(guard.remembered(&cookie).is_some());
    assert!(!guard.session_uses.take().is_empty() && used_at(begun_ms + 30_000));
}
