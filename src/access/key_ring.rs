//! Making, listing and revoking API keys, for the API and for the command line.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::api_keys::{self, NewApiKey};
use crate::{
    domain::access::Role,
    store::{
        self, Store,
        access::{ApiKeyRow, AuditNote},
    },
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

/// Who asks for a change, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The id of a principal, or a command with its user.
    pub id: String,
    /// The address; `None` for a command.
    pub address: Option<String>,
}

impl KeyWish {
    /// What is wrong with it: the field, and what would be right.
    pub fn fault(&self, now_ms: i64) -> Option<(&'static str, String)> {
        let has_facilities = self.facilities.as_ref().is_some_and(|ids| !ids.is_empty());
        let is_limited = matches!(self.role, Role::Viewer | Role::Operator);
        if self.name.trim().is_empty() || self.name.chars().count() > NAME_CHARS {
            let right = format!("must be what the key is for, in 1 to {NAME_CHARS} characters");
            return Some(("name", right));
        }
        if self.facilities.is_some() && !is_limited {
            let right = format!(
                "must be left out for the role {}: only viewer and operator are limited to \
                 facilities",
                self.role
            );
            return Some(("facilities", right));
        }
        if self.facilities.is_some() && !has_facilities {
            let right = "must name at least one facility; leave it out for all of them";
            return Some(("facilities", right.to_owned()));
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
    let note = note("key.added", &row.id, detail, by);
    row.created_ms = store.add_api_key(&row, &note).await?;
    log(&note);
    Ok((row, key))
}

/// Revokes a key. Returns false when there is none with this id that can still be used.
///
/// # Errors
/// The database does not answer.
pub async fn revoke(store: &dyn Store, id: &str, by: Actor) -> store::Result<bool> {
    let note = note("key.revoked", id, serde_json::json!({}), by);
    let is_revoked = store.revoke_api_key(id, &note).await?;
    if is_revoked {
        log(&note);
    }
    Ok(is_revoked)
}

pub(super) fn note(
    action: &'static str,
    subject: &str,
    detail: serde_json::Value,
    by: Actor,
) -> AuditNote {
    AuditNote { actor: by.id, action, subject: subject.to_owned(), detail, address: by.address }
}

/// The audit log is also in the log, for those who gather that one.
pub(super) fn log(note: &AuditNote) {
    let AuditNote { actor, action, subject, detail, address } = note;
    tracing::info!(%actor, action, %subject, %detail, address, "noted in the audit log");
}
