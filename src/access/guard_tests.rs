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
    domain::access::{FacilityScope, NamedFacilities, Role},
    protocol::Position,
    store::{FacilityRow, people::SessionRow},
};
use uuid::Uuid;

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

/// Somebody who has signed in by a token.
fn by_token(guard: &Guard, subject: &str) -> SignedIn {
    let principal = Principal {
        id: format!("token:i#{subject}"),
        name: subject.into(),
        role: Role::Admin,
        facilities: FacilityScope::All,
        may_read: false,
    };
    let token =
        TokenName { issuer: "i".into(), subject: subject.into(), token_id: Some("t".into()) };
    SignedIn { token: Some(token), ..guard.signed_in(principal, None, None) }
}

/// Denies the tokens of the subject `ann`, and notices it.
async fn deny_ann(guard: &Guard) {
    let wish =
        DenialWish { issuer: "i".into(), subject: "ann".into(), token_id: None, until_ms: None };
    denials::deny(&*guard.store, wish, by()).await.unwrap();
    guard.follow().await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_denied_while_it_is_verified_is_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    let [ann, bob] = ["ann", "bob"].map(|subject| Arc::new(by_token(&guard, subject)));
    guard.remember("the token of bob, which has an end of its own", &bob).unwrap();
    deny_ann(&guard).await;
    assert_eq!(guard.remember("the token of ann", &ann), Err(Denial::Invalid));
    assert!(guard.remembered("the token of ann").is_none());
    assert!(guard.remembered("the token of bob, which has an end of its own").is_some());
}

#[tokio::test]
async fn a_token_whose_key_goes_while_it_is_verified_is_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    // No issuer has this key any more.
    let ann = Arc::new(SignedIn { signed_by: Some([7; 32]), ..by_token(&guard, "ann") });
    assert_eq!(guard.remember("the token of ann", &ann), Err(Denial::Invalid));
    assert!(guard.remembered("the token of ann").is_none());
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    let (ann, remembered) = (Arc::new(by_token(&guard, "ann")), Remembered::new(64));
    for nth in 0..5_000 {
        remembered.put(&format!("{nth:040}"), ann.clone());
    }
    assert!((1..=64).contains(&remembered.len()), "{}", remembered.len());
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
async fn a_session_ends_with_the_tokens_of_its_subject() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    guard.follow().await.unwrap();
    let (row, cookie) = with_session(&guard).await;
    guard.verify(&cookie).await.unwrap();
    let endings = guard.endings.load(Ordering::Acquire);
    let who = Arc::new(guard.by_session(&row, &cookie).unwrap());
    deny_ann(&guard).await;
    assert!(guard.remembered(&cookie).is_none());
    assert!(guard.by_session(&row, &cookie).is_none(), "it is read anew");
    let found_before = guard.remember_session(&cookie, &who, endings);
    assert_eq!(found_before, Err(Denial::Invalid));
    assert_eq!(guard.verify(&cookie).await.map(drop), Err(Denial::Invalid));
}

#[tokio::test]
async fn a_session_whose_facilities_are_looked_up_again_stays_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    guard.follow().await.unwrap();
    let (row, cookie) = with_session(&guard).await;
    let who = guard.by_session(&row, &cookie).unwrap();
    let token = who.token.clone();
    let over = SignedIn { visible_until: Some(Instant::now()), ..who };
    guard.remembered.put(&cookie, Arc::new(over));
    assert!(guard.remembered(&cookie).is_none(), "it may see other facilities by now");
    let again = guard.verify(&cookie).await.unwrap();
    assert_eq!(again.session_id(), Some(row.id.as_str()));
    assert_eq!((again.until_ms, &again.token), (Some(row.expires_ms), &token));
    assert!(token.is_some() && guard.remembered(&cookie).is_some());
}

#[tokio::test]
async fn a_remembered_session_that_is_not_used_ends() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    let (row, cookie) = with_session(&guard).await;
    let who = guard.by_session(&row, &cookie).unwrap();
    let minute = Duration::from_secs(60);
    let session = KnownSession::new(row.id.clone(), minute, row.used_ms - 60_000);
    guard.remembered.put(&cookie, Arc::new(SignedIn { session: Some(session), ..who }));
    assert!(guard.remembered(&cookie).is_none());
}

#[tokio::test]
async fn an_owners_key_stands_for_its_facility_and_for_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    let [north, south, unnamed] = [Some("north"), Some("south"), None].map(|key| {
        let row = FacilityRow::new(Uuid::new_v4(), "A".into(), "UTC".into());
        let (id, key) = (row.id, key.map(str::to_owned));
        guard.directory.insert(FacilityRow { key, ..row });
        id
    });
    let keys = ["north".to_owned()].into();
    let scope = FacilityScope::Only(NamedFacilities { keys, ..NamedFacilities::default() });
    let principal = Principal { facilities: scope, ..by_token(&guard, "ann").principal };
    let who = guard.signed_in(principal, None, None);
    assert!(who.visible.has(north) && !who.visible.has(south) && !who.visible.has(unnamed));
    assert!(who.visible_until.is_some(), "the key may stand for another one later");
}

#[tokio::test]
async fn after_a_restore_of_the_database_each_session_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    guard.follow().await.unwrap();
    let (_, cookie) = with_session(&guard).await;
    guard.verify(&cookie).await.unwrap();
    // The database has come to the same number by other changes.
    let mut last = guard.last_look.lock().await;
    last.version.as_mut().unwrap().marks = "0123456789abcdef".into();
    drop(last);
    guard.follow().await.unwrap();
    assert!(guard.remembered(&cookie).is_none(), "it may have ended in the backup");
    guard.verify(&cookie).await.unwrap();
}

#[tokio::test]
async fn what_waits_for_the_database_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    guard.follow().await.unwrap();
    let unknown = api_keys::NewApiKey::random().text;
    let (_, cookie) = with_session(&guard).await;
    let all = guard.waiting_for_keys.clone().acquire_many_owned(WAITING as u32).await.unwrap();
    assert_eq!(guard.verify(&unknown).await.map(drop), Err(Denial::Unavailable));
    drop(all);
    assert_eq!(guard.verify(&unknown).await.map(drop), Err(Denial::Invalid));
    let all = guard.waiting.acquire_many(WAITING as u32).await.unwrap();
    assert_eq!(guard.verify(&cookie).await.map(drop), Err(Denial::Unavailable));
    drop(all);
    // So many are read at a time; the others wait for their turn.
    let turns = guard.looked_up.acquire_many(LOOKED_UP as u32).await.unwrap();
    assert_eq!(guard.looked_up.available_permits(), 0);
    let (reader, mine) = (guard.clone(), cookie.clone());
    let reading = tokio::spawn(async move { reader.verify(&mine).await.map(drop) });
    while guard.waiting.available_permits() == WAITING {
        tokio::task::yield_now().await;
    }
    drop(turns);
    assert_eq!(reading.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn looks_for_unknown_keys_are_shared_and_some_time_apart() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(&folder).await;
    let unknown = || api_keys::NewApiKey::random().text;
    let mut began = Vec::new();
    for _ in 0..2 {
        assert_eq!(guard.verify(&unknown()).await.map(drop), Err(Denial::Invalid));
        began.push(guard.last_look.lock().await.began.unwrap());
    }
    assert!(began[1] - began[0] >= by_key::BETWEEN_LOOKS);
    // Those that have come before a look began learn what it found: here, nothing.
    let mut last = guard.last_look.lock().await;
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let (guard, key) = (guard.clone(), unknown());
            tokio::spawn(async move { guard.verify(&key).await.map(drop) })
        })
        .collect();
    while guard.waiting_for_keys.available_permits() > WAITING - 10 {
        tokio::task::yield_now().await;
    }
    (last.began, last.has_found) = (Some(Instant::now()), false);
    drop(last);
    for one in waiting {
        assert_eq!(one.await.unwrap(), Err(Denial::Unavailable));
    }
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
