//! The session of a browser: one opaque cookie, `ss_<id>_<secret>`. As of an API key, the id is no
//! secret, the secret has 256 random bits, and only a hash of the whole is stored. A session is
//! read when a server sees it first; its end is noticed by the access version, like that of a key.

use std::{
    collections::BTreeSet,
    str::FromStr,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::api_keys;
use crate::{
    domain::access::{FacilityScope, NamedFacilities, Principal, Role},
    store::people::SessionRow,
};

const PREFIX: &str = "ss_";

/// A new session. Its text is in the cookie, and stored nowhere.
pub struct NewSession {
    /// The part that is no secret.
    pub id: String,
    /// The whole.
    pub text: String,
}

impl NewSession {
    /// A session of random bits.
    pub fn random() -> Self {
        let (id, text) = api_keys::new_text(PREFIX);
        NewSession { id, text }
    }
}

/// The id in a text that has the form of a session; `None` for any other text.
pub fn id_of(text: &str) -> Option<&str> {
    api_keys::id_after(PREFIX, text)
}

/// How long sessions last.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// Without being used.
    pub idle: Duration,
    /// At all.
    pub absolute: Duration,
}

impl Lifetimes {
    /// Sessions that were used after this instant have not ended by themselves.
    pub fn used_after_ms(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(i64::try_from(self.idle.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A session that is remembered.
#[derive(Debug)]
pub struct KnownSession {
    /// Its id.
    pub id: String,
    idle_ms: i64,
    /// When it was used last, as far as this server knows, in milliseconds since 1970.
    used_ms: AtomicI64,
}

impl KnownSession {
    /// A session that was used then.
    pub fn new(id: String, idle: Duration, used_ms: i64) -> Self {
        let idle_ms = i64::try_from(idle.as_millis()).unwrap_or(i64::MAX);
        KnownSession { id, idle_ms, used_ms: AtomicI64::new(used_ms) }
    }

    /// The same once more.
    pub fn copy(&self) -> Self {
        let used_ms = AtomicI64::new(self.used_ms.load(Ordering::Relaxed));
        KnownSession { id: self.id.clone(), idle_ms: self.idle_ms, used_ms }
    }

    /// Whether it was not used for too long, as far as this server knows.
    pub fn is_idle(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.used_ms.load(Ordering::Relaxed)) >= self.idle_ms
    }

    /// It is used now.
    pub fn touch(&self, now_ms: i64) {
        self.used_ms.fetch_max(now_ms, Ordering::Relaxed);
    }
}

/// Whether this is the session of the row, and not only its id.
pub fn is(row: &SessionRow, text: &str) -> bool {
    verify_slices_are_equal(&api_keys::hash(text), &row.hash).is_ok()
}

/// Facilities as a session stores them.
#[derive(Serialize, Deserialize)]
struct StoredScope {
    #[serde(default)]
    ids: BTreeSet<Uuid>,
    #[serde(default)]
    keys: BTreeSet<String>,
}

/// The facilities of a scope, as text; `None`: every facility.
pub fn stored_scope(scope: &FacilityScope) -> Option<String> {
    let FacilityScope::Only(named) = scope else { return None };
    let stored = StoredScope { ids: named.ids.clone(), keys: named.keys.clone() };
    Some(serde_json::to_string(&stored).expect("texts only"))
}

/// Who has the session of this row; `None` when the row cannot be read.
pub fn principal(row: &SessionRow) -> Option<Principal> {
    let facilities = match &row.facilities {
        None => FacilityScope::All,
        Some(text) => {
            let StoredScope { ids, keys } = serde_json::from_str(text).ok()?;
            FacilityScope::Only(NamedFacilities { ids, keys })
        }
    };
    Some(Principal {
        id: row.principal.clone(),
        name: row.name.clone(),
        role: Role::from_str(&row.role).ok()?,
        facilities,
        may_read: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_no_key_and_a_key_is_no_session() {
        let (session, key) = (NewSession::random(), api_keys::NewApiKey::random());
        assert_eq!(id_of(&session.text), Some(session.id.as_str()));
        assert_eq!(api_keys::id_of(&session.text), None);
        assert_eq!(id_of(&key.text), None);
    }

    #[test]
    fn a_session_that_is_not_used_is_idle_and_a_use_begins_its_time_anew() {
        let session = KnownSession::new("x".into(), Duration::from_secs(60), 1_000);
        assert!(!session.is_idle(60_999));
        assert!(session.is_idle(61_000));
        session.touch(61_000);
        assert!(!session.is_idle(61_000) && !session.copy().is_idle(120_999));
        session.touch(2_000);
        assert!(!session.is_idle(120_999), "the latest use counts");
    }

    #[test]
    fn facilities_come_back_as_they_were_stored() {
        let named = NamedFacilities {
            ids: [Uuid::new_v4(), Uuid::new_v4()].into(),
            keys: ["a".to_owned()].into(),
        };
        for scope in [FacilityScope::All, FacilityScope::Only(named), FacilityScope::of_ids([])] {
            let row =
                SessionRow { facilities: stored_scope(&scope), role: "viewer".into(), ..row() };
            assert_eq!(principal(&row).unwrap().facilities, scope);
        }
        let unreadable = SessionRow { facilities: Some("[]x".into()), ..row() };
        assert_eq!(principal(&unreadable), None, "nothing is widened");
    }

    fn row() -> SessionRow {
        SessionRow {
            id: "x".into(),
            hash: Vec::new(),
            principal: "user:x".into(),
            name: "x".into(),
            role: "admin".into(),
            facilities: None,
            user_name: None,
            issuer: None,
            subject: None,
            provider_sid: None,
            created_ms: 0,
            expires_ms: 0,
            used_ms: 0,
            ended_ms: None,
            ended_by: None,
            address: None,
            agent: None,
        }
    }
}
