//! The audit log and the denials, as the database keeps them.

use facility_summary::store::access::{AccessVersion, AuditFilter, AuditNote, DenialRow};
use serde_json::json;
use uuid::Uuid;

use super::TestDb;

fn note(subject: &str) -> AuditNote {
    AuditNote {
        actor: "the test".into(),
        action: "test.noted",
        subject: subject.into(),
        detail: json!({"text": "'\"\\"}),
        address: Some("2001:db8::1".into()),
    }
}

fn denial(id: &str, until_ms: Option<i64>) -> DenialRow {
    DenialRow {
        id: id.into(),
        issuer: "i".into(),
        subject: id.into(),
        token_id: Some("t".into()),
        until_ms,
        created_ms: 0,
        created_by: "the test".into(),
    }
}

async fn subjects(db: &dyn TestDb) -> Vec<String> {
    let all = db.store().audit_log(&AuditFilter::default(), i64::MAX, 100).await.unwrap();
    all.into_iter().map(|entry| entry.subject).collect()
}

pub async fn entries_and_denials_are_deleted_by_their_age_alone(db: &dyn TestDb) {
    let store = db.store();
    store.note_audit(&note("one")).await.unwrap();
    let now_ms = store.now_ms().await.unwrap();
    for (id, until_ms) in [("over", Some(1_000)), ("to come", Some(i64::MAX)), ("no end", None)] {
        let created_ms = store.deny(&denial(id, until_ms), &note(id)).await.unwrap();
        assert!((created_ms - now_ms).abs() < 600_000);
    }
    let kept = async || {
        let mut ids: Vec<String> =
            store.denials().await.unwrap().into_iter().map(|row| row.id).collect();
        ids.sort_unstable();
        ids
    };
    store.prune_access(999).await.unwrap();
    assert_eq!(subjects(db).await, ["no end", "to come", "over", "one"]);
    assert_eq!(kept().await, ["no end", "over", "to come"]);
    let day_ago_ms = now_ms - 86_400_000;
    store.prune_access(day_ago_ms).await.unwrap();
    assert_eq!(subjects(db).await.len(), 4, "none is a day old");
    assert_eq!(kept().await, ["no end", "to come"]);
    db.plain(&format!(
        "INSERT INTO access_log (at_ms, actor, action, subject, detail) \
         VALUES ({}, 'x', 'x', 'old', '{{}}')",
        day_ago_ms - 1
    ))
    .await;
    assert_eq!(subjects(db).await, ["old", "no end", "to come", "over", "one"]);
    store.prune_access(day_ago_ms).await.unwrap();
    assert_eq!(subjects(db).await, ["no end", "to come", "over", "one"]);
}

pub async fn a_denial_comes_back_as_it_was_stored_and_raises_the_access_version(db: &dyn TestDb) {
    let store = db.store();
    let begun = store.access_version().await.unwrap();
    let number = async || store.access_version().await.unwrap().number - begun.number;
    let mut row = denial("d", Some(5_000));
    row.created_ms = store.deny(&row, &note("d")).await.unwrap();
    assert_eq!(store.denials().await.unwrap(), vec![row.clone()]);
    assert_eq!(number().await, 1);
    let denied = store.access_version().await.unwrap();
    assert!(denied.follows(&begun) && denied.follows(&denied) && !begun.follows(&denied));
    row = DenialRow { token_id: None, until_ms: None, ..row };
    let again = DenialRow { token_id: Some("t".into()), ..row };
    let created_ms = store.deny(&again, &note("d")).await.unwrap();
    assert_eq!(store.denials().await.unwrap(), vec![DenialRow { created_ms, ..again }]);
    assert!(!store.allow("other", &note("other")).await.unwrap());
    assert_eq!(number().await, 2);
    assert!(store.allow("d", &note("d")).await.unwrap());
    assert_eq!(number().await, 3);
    let now = store.access_version().await.unwrap();
    assert!(now.follows(&begun) && now.follows(&denied));
    let elsewhere = AccessVersion { marks: "0".repeat(1_024), ..now.clone() };
    assert!(!elsewhere.follows(&denied), "the same number of other changes");
    assert!(store.denials().await.unwrap().is_empty());
    assert_eq!(subjects(db).await, ["d", "d", "d"], "nothing was done to the other one");
}

pub async fn what_is_not_done_is_not_noted(db: &dyn TestDb) {
    let store = db.store();
    let run = async |tick_ms: i64| {
        let (id, note) = (Uuid::new_v4(), note("run"));
        store.enqueue_noted_run(id, "rebuild", tick_ms, &note).await.unwrap()
    };
    assert!(run(5_000).await);
    assert!(!run(5_000).await, "the tick is there");
    assert_eq!(subjects(db).await, ["run"]);
    let mut tx = store.begin(std::time::Duration::from_secs(5)).await.unwrap();
    tx.note_audit(&[note("rolled back")]).await.unwrap();
    drop(tx);
    let mut tx = store.begin(std::time::Duration::from_secs(5)).await.unwrap();
    tx.note_audit(&[note("a"), note("b")]).await.unwrap();
    tx.commit().await.unwrap();
    let all = store.audit_log(&AuditFilter::default(), i64::MAX, 100).await.unwrap();
    assert_eq!(subjects(db).await, ["b", "a", "run"]);
    let AuditNote { actor, detail, address, .. } = note("a");
    for entry in all {
        assert_eq!((&entry.actor, &entry.address), (&actor, &address));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&entry.detail).unwrap(), detail);
        assert_eq!(entry.action, "test.noted");
    }
}
