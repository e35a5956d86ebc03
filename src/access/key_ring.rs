//! Making, listing and revoking API keys, for the API and for the command line.

use std::collections::BTreeSet;

use uuid::Uuid;

pub use super::audit::Actor;
use super::{
    api_keys::{self, NewApiKey},
    audit::log,
};
use crate::{
    domain::{access::Role, names},
    store::{self, Store, access::ApiKeyRow},
};

/// The most characters that the name of a key has.
pub const NAME_CHARS: usize = 200;

/// What a new key is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWish {
    /// What it is for: 1 to [`NAME_CHARS`] characters.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Of which facilities; `None`: all.
    pub facilities: Option<BTreeSet<Uuid>>,
    /// A service that may also read figures.
    pub may_read: bool,
    /// When it ends, in milliseconds since 1970; `None`: never.
    pub expires_ms: Option<i64>,
}

impl KeyWish {
    /// What is wrong with it: the field, and what would be right.
    pub fn fault(&self, now_ms: i64) -> Option<(&'static str, String)> {
        let has_facilities = self.facilities.as_ref().is_some_and(|ids| !ids.is_empty());
        let is_long = self.name.chars().count() > NAME_CHARS;
        let is_hidden = |c: char| c.is_control() || names::turns_direction(c);
        if self.name.trim().is_empty() || is_long || self.name.contains(is_hidden) {
            let right = format!(
                "must be what the key is for, in 1 to {NAME_CHARS} characters, without control \
                 characters and marks of direction"
            );
            return Some(("name", right));
        }
        if self.facilities.is_some() && !self.role.is_of_facilities() {
            let right = format!(
                "must be left out for the role {}: only viewer and operator are limited to \
                 facilities",
                self.role
            );
            return Some(("facilities", right));
        }
        if self.facilities.is_some() && !has_facilities {
            return Some(("facilities", "must name at least one facility".to_owned()));
        }
        if self.may_read && self.role != Role::Service {
            let right = "is for the role service only; the other roles say themselves what they \
                         may read";
            return Some(("may_read", right.to_owned()));
        }
        if self.expires_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            return Some(("expires_at", "must be in the future".to_owned()));
        }
        None
    }
}

/// Makes a key. Returns its row, and the text that is shown once.
///
/// # Errors
/// The database does not answer.
pub async fn add(
    store: &dyn Store,
    wish: KeyWish,
    by: Actor,
) -> store::Result<(ApiKeyRow, NewApiKey)> {
    let key = NewApiKey::random();
    let facilities = wish.facilities.map(|ids| ids.into_iter().collect::<Vec<_>>());
    let detail = serde_json::json!({
        "name": wish.name, "role": wish.role, "facilities": facilities,
        "may_read": wish.may_read, "expires_ms": wish.expires_ms,
    });
    let mut row = ApiKeyRow {
        id: key.id.clone(),
        hash: api_keys::hash(&key.text).to_vec(),
        name: wish.name,
        role: wish.role.as_str().to_owned(),
        may_read: wish.may_read,
        facilities: facilities.map(|ids| serde_json::json!(ids).to_string()),
        created_ms: 0,
        created_by: by.id.clone(),
        expires_ms: wish.expires_ms,
        used_ms: None,
        revoked_ms: None,
        revoked_by: None,
    };
    let note = by.note("key.added", &row.id, detail);
    row.created_ms = store.add_api_key(&row, &note).await?;
    log(&note);
    Ok((row, key))
}

/// Revokes a key. Returns false when there is none with this id that can still be used.
///
/// # Errors
/// The database does not answer.
pub async fn revoke(store: &dyn Store, id: &str, by: Actor) -> store::Result<bool> {
    let note = by.note("key.revoked", id, serde_json::json!({}));
    let is_revoked = store.revoke_api_key(id, &note).await?;
    if is_revoked {
        log(&note);
    }
    Ok(is_revoked)
}
