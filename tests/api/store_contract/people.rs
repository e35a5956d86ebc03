//! Accounts, sessions and codes for the first account, as the database keeps them; and the audit
//! log, without which none of them changes.

use std::time::Duration;

use facility_summary::store::{
    access::{ApiKeyRow, AuditNote, DenialRow},
    people::{EndedByProvider, SessionRow, UserRow},
};
use serde_json::json;
use uuid::Uuid;

use super::TestDb;

fn note(subject: &str) -> AuditNote {
    AuditNote {
        actor: "the test".into(),
        action: "test.done",
        subject: subject.into(),
        detail: json!({}),
        address: None,
    }
}

fn user(name: &str, password_hash: &str) -> UserRow {
    UserRow {
        name: name.into(),
        password_hash: password_hash.into(),
        role: "viewer".into(),
        facilities: None,
        created_ms: 0,
        created_by: "the test".into(),
        signed_in_ms: None,
        disabled_ms: None,
        disabled_by: None,
    }
}

/// A session of nobody in particular, which ends in the year 2199.
fn session(id: &str, principal: &str) -> SessionRow {
    SessionRow {
        id: id.into(),
        hash: vec![7; 32],
        principal: principal.into(),
        name: principal.into(),
        role: "viewer".into(),
        facilities: None,
        user_name: None,
        issuer: None,
        subject: None,
        provider_sid: None,
        created_ms: 0,
        expires_ms: 7_226_582_400_000,
        used_ms: 0,
        ended_ms: None,
        ended_by: None,
        address: None,
        agent: None,
    }
}

fn key(id: &str) -> ApiKeyRow {
    ApiKeyRow {
        id: id.into(),
        hash: vec![7; 32],
        name: id.into(),
        role: "viewer".into(),
        may_read: false,
        facilities: None,
        created_ms: 0,
        created_by: "the test".into(),
        expires_ms: None,
        used_ms: None,
        revoked_ms: None,
        revoked_by: None,
    }
}

fn denial(id: &str) -> DenialRow {
    DenialRow {
        id: id.into(),
        issuer: "i".into(),
        subject: id.into(),
        token_id: None,
        until_ms: None,
        created_ms: 0,
        created_by: "the test".into(),
    }
}

/// The ids of the sessions that go on, of a principal or of everybody.
async fn listed(db: &dyn TestDb, of: Option<&str>, used_after_ms: i64) -> Vec<String> {
    let store = db.store();
    let now_ms = store.now_ms().await.unwrap();
    let rows = store.sessions(of, now_ms, used_after_ms, 100).await.unwrap();
    let mut ids: Vec<String> = rows.into_iter().map(|row| row.id).collect();
    ids.sort_unstable();
    ids
}

pub async fn a_session_begins_only_while_its_account_is_as_it_was(db: &dyn TestDb) {
    let store = db.store();
    assert!(store.add_user(&user("anna", "one"), &note("anna")).await.unwrap());
    assert!(!store.add_user(&user("anna", "two"), &note("anna")).await.unwrap(), "it is taken");
    let begins = async |id: &str, name: &str, hash: &str| {
        let row = SessionRow { user_name: Some(name.into()), ..session(id, "user:anna") };
        store.add_session(&row, Some(hash), &note(id)).await.unwrap()
    };
    assert!(begins("a", "anna", "one").await);
    assert!(!begins("b", "anna", "two").await && !begins("c", "nobody", "one").await);
    // It was verified with the password of before.
    assert!(store.reset_user("anna", "two", &note("anna")).await.unwrap());
    assert!(!begins("d", "anna", "one").await && begins("e", "anna", "two").await);
    assert!(store.disable_user("anna", &note("anna")).await.unwrap());
    assert!(!begins("f", "anna", "two").await, "it cannot be used any more");
    assert!(listed(db, None, 0).await.is_empty(), "both have ended");
    assert!(store.enable_user("anna", &note("anna")).await.unwrap());
    assert!(begins("g", "anna", "two").await);
    assert_eq!(listed(db, None, 0).await, ["g"]);
    assert_eq!(db.number("SELECT count(*) FROM sessions").await, 3);
    let noted = "SELECT count(*) FROM access_log WHERE subject <> 'anna'";
    assert_eq!(db.number(noted).await, 3, "what was not begun is not noted");
}

pub async fn no_session_of_a_denied_subject_begins(db: &dyn TestDb) {
    let store = db.store();
    let begins = async |id: &str, issuer: &str, subject: &str| {
        let (issuer, subject) = (Some(issuer.to_owned()), Some(subject.to_owned()));
        let row = SessionRow { issuer, subject, ..session(id, "token:i#s") };
        store.add_session(&row, None, &note(id)).await.unwrap()
    };
    let now_ms = store.now_ms().await.unwrap();
    let denials = [
        denial("all"),
        DenialRow { token_id: Some("1".into()), ..denial("one token") },
        DenialRow { until_ms: Some(now_ms - 1), ..denial("over") },
        DenialRow { until_ms: Some(now_ms + 600_000), ..denial("for a while") },
    ];
    for row in denials {
        store.deny(&row, &note(&row.id)).await.unwrap();
    }
    for (id, issuer, subject, does) in [
        ("a", "i", "all", false),
        ("b", "j", "all", true),
        ("c", "i", "somebody else", true),
        ("d", "i", "one token", true),
        ("e", "i", "over", true),
        ("f", "i", "for a while", false),
    ] {
        assert_eq!(begins(id, issuer, subject).await, does, "{id}");
    }
    assert_eq!(listed(db, None, 0).await, ["b", "c", "d", "e"]);
    assert_eq!(db.number("SELECT count(*) FROM access_log WHERE subject = 'a'").await, 0);
    // Of a denial and a sign-in at the same time, either the one is refused or the other ends.
    for round in 0..30 {
        let (id, subject) = (format!("round {round}"), format!("subject {round}"));
        let row = denial(&subject);
        let by = note(&row.id);
        let (_, denied) = tokio::join!(begins(&id, "i", &subject), store.deny(&row, &by));
        denied.unwrap();
        assert!(!listed(db, None, 0).await.contains(&id), "{id}");
    }
}

pub async fn only_the_sessions_that_are_meant_end_or_are_listed(db: &dyn TestDb) {
    let store = db.store();
    let now_ms = store.now_ms().await.unwrap();
    let at = |id: &str, issuer: &str, subject: &str, sid: &str| SessionRow {
        issuer: Some(issuer.into()),
        subject: Some(subject.into()),
        provider_sid: Some(sid.into()),
        ..session(id, "token:i#s")
    };
    for row in [
        session("a", "user:anna"),
        session("b", "user:ben"),
        SessionRow { expires_ms: now_ms - 1, ..session("over", "user:anna") },
        at("p", "i", "s", "1"),
        at("q", "i", "s", "2"),
        at("r", "i", "t", "3"),
        at("x", "j", "s", "1"),
    ] {
        assert!(store.add_session(&row, None, &note(&row.id)).await.unwrap());
    }
    assert_eq!(listed(db, None, 0).await, ["a", "b", "p", "q", "r", "x"]);
    assert_eq!(listed(db, Some("user:anna"), 0).await, ["a"]);
    assert!(listed(db, None, now_ms + 600_000).await.is_empty(), "none was used after that");
    let version = store.access_version().await.unwrap();
    let end =
        async |id: &str, of: Option<&str>| store.end_session(id, of, &note(id)).await.unwrap();
    assert!(!end("b", Some("user:anna")).await && !end("none", None).await);
    assert_eq!(store.access_version().await.unwrap(), version, "nothing was done");
    assert!(end("b", Some("user:ben")).await && !end("b", None).await, "once");
    assert!(end("a", None).await);
    assert!(listed(db, Some("user:anna"), 0).await.is_empty());
    let late_ms = now_ms + 600_000;
    let by_provider = async |sid: Option<&str>, subject: Option<&str>, until_ms: i64| {
        let of = EndedByProvider { issuer: "i", sid, subject, until_ms };
        store.end_sessions_by_provider(of, &note("provider")).await.unwrap()
    };
    assert_eq!(by_provider(Some("1"), None, now_ms - 600_000).await, 0, "they are younger");
    assert_eq!(by_provider(Some("1"), Some("t"), late_ms).await, 0, "it is not that one's");
    assert_eq!(by_provider(Some("1"), None, late_ms).await, 1);
    assert_eq!(listed(db, None, 0).await, ["q", "r", "x"]);
    assert_eq!(by_provider(None, Some("s"), late_ms).await, 1);
    assert_eq!(listed(db, None, 0).await, ["r", "x"]);
    let ended = store.sessions_ended_after(version.number).await.unwrap();
    let versions: Vec<i64> = ended.iter().map(|(_, version)| *version).collect();
    let now = store.access_version().await.unwrap();
    assert_eq!((versions.len(), now.number), (4, version.number + 4));
    assert!(now.follows(&version));
}

pub async fn a_code_counts_once_and_only_while_nobody_can_sign_in(db: &dyn TestDb) {
    let store = db.store();
    let notes = [note("setup"), note("user")];
    let hash: &[u8] = b"one";
    let set_up =
        async |hash: &[u8], name: &str| store.set_up(hash, &user(name, "x"), &notes).await.unwrap();
    let codes = async || db.number("SELECT count(*) FROM setup_codes").await;
    // As a server would that has not noticed yet that somebody can sign in.
    let late_code = match db.new_id().starts_with("gen") {
        true => "INSERT INTO setup_codes (hash, created_ms) VALUES ('\\x6f6e65', 1)",
        false => "INSERT INTO setup_codes (hash, created_ms) VALUES (x'6f6e65', 1)",
    };
    assert!(store.add_setup_code(hash).await.unwrap());
    assert!(!set_up(b"two", "anna").await);
    store.add_api_key(&key("k"), &note("k")).await.unwrap();
    assert_eq!(codes().await, 0, "the codes of before have ended");
    assert!(!store.add_setup_code(hash).await.unwrap());
    db.plain(late_code).await;
    assert!(!set_up(hash, "anna").await, "there is a key");
    assert!(store.revoke_api_key("k", &note("k")).await.unwrap());
    assert!(!store.revoke_api_key("k", &note("k")).await.unwrap(), "once");
    assert!(!set_up(hash, "anna").await, "the codes of before have ended");
    assert!(
        store.add_setup_code(hash).await.unwrap() && store.add_setup_code(b"two").await.unwrap()
    );
    assert!(set_up(hash, "anna").await);
    assert_eq!(codes().await, 0, "all have ended");
    assert!(!store.add_setup_code(hash).await.unwrap());
    db.plain(late_code).await;
    assert!(!set_up(hash, "ben").await, "there is an account");
    assert_eq!(db.number("SELECT count(*) FROM users").await, 1);
    let noted = "SELECT count(*) FROM access_log WHERE subject IN ('setup', 'user')";
    assert_eq!(db.number(noted).await, 2, "what was not done is not noted");
}

pub async fn nothing_is_done_that_cannot_be_noted(db: &dyn TestDb) {
    let store = db.store();
    let (here, more) = (note("here"), note("more"));
    store.add_setup_code(b"one").await.unwrap();
    let with_code = async || db.number("SELECT count(*) FROM setup_codes").await;
    let refuse = match db.new_id().starts_with("gen") {
        true => {
            "CREATE OR REPLACE FUNCTION no_entry() RETURNS trigger LANGUAGE plpgsql \
             AS $$ BEGIN RAISE EXCEPTION 'no entry'; END $$; \
             CREATE TRIGGER no_entry BEFORE INSERT ON access_log \
             FOR EACH ROW EXECUTE FUNCTION no_entry()"
        }
        false => {
            "CREATE TRIGGER no_entry BEFORE INSERT ON access_log \
             BEGIN SELECT RAISE(ABORT, 'no entry'); END"
        }
    };
    let allow = match db.new_id().starts_with("gen") {
        true => "DROP TRIGGER no_entry ON access_log",
        false => "DROP TRIGGER no_entry",
    };
    db.plain(refuse).await;
    assert!(store.set_up(b"one", &user("anna", "x"), &[note("a"), note("b")]).await.is_err());
    assert_eq!((with_code().await, store.has_users().await.unwrap()), (1, false));
    db.plain(allow).await;
    store.add_api_key(&key("here"), &here).await.unwrap();
    store.deny(&denial("here"), &here).await.unwrap();
    for name in ["here", "off"] {
        assert!(store.add_user(&user(name, "x"), &here).await.unwrap());
    }
    assert!(store.disable_user("off", &here).await.unwrap());
    let at = SessionRow { issuer: Some("i".into()), ..session("here", "user:here") };
    assert!(store.add_session(&at, None, &here).await.unwrap());
    let state = async || {
        let sessions = store.sessions(None, 0, i64::MIN, 100).await.unwrap();
        let (keys, users) = (store.api_keys().await.unwrap(), store.users().await.unwrap());
        let denials = store.denials().await.unwrap();
        (keys, denials, users, sessions, store.access_version().await.unwrap())
    };
    let before = state().await;
    db.plain(refuse).await;
    assert!(store.add_api_key(&key("more"), &more).await.is_err());
    assert!(store.revoke_api_key("here", &here).await.is_err());
    assert!(store.deny(&denial("more"), &more).await.is_err());
    assert!(store.allow("here", &here).await.is_err());
    assert!(store.add_user(&user("more", "x"), &more).await.is_err());
    assert!(store.disable_user("here", &here).await.is_err());
    assert!(store.enable_user("off", &here).await.is_err());
    assert!(store.reset_user("here", "y", &here).await.is_err());
    assert!(store.add_session(&session("more", "user:more"), None, &more).await.is_err());
    assert!(store.end_session("here", None, &here).await.is_err());
    let all = EndedByProvider { issuer: "i", sid: None, subject: None, until_ms: i64::MAX };
    assert!(store.end_sessions_by_provider(all, &here).await.is_err());
    let run = store.enqueue_noted_run(Uuid::new_v4(), "rebuild", 5_000, &more).await;
    assert!(run.is_err());
    let mut tx = store.begin(Duration::from_secs(5)).await.unwrap();
    assert!(tx.note_audit(std::slice::from_ref(&more)).await.is_err(), "a registration");
    drop(tx);
    assert!(state().await == before, "something was done all the same");
    assert_eq!(db.number("SELECT count(*) FROM job_runs").await, 0);
}
