//! Making, disabling and resetting accounts, for the command line and for the first one.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::audit::{Actor, log};
use crate::{
    domain::access::Role,
    store::{self, Store, people::UserRow},
};

/// The most characters that the name of an account has.
pub const NAME_CHARS: usize = 100;

/// What a new account is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountWish {
    /// Its name, as [`name_of`] returns it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Of which facilities; `None`: all.
    pub facilities: Option<BTreeSet<Uuid>>,
}

/// What is right of a name.
pub const NAME_RULE: &str = "must be 1 to 100 letters (a to z), digits, and . _ - + @; capital and \
                             small letters are the same";

/// The name of an account as it is stored: in small letters. `None` when it cannot be one.
pub fn name_of(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
    let is_name = !text.is_empty() && text.len() <= NAME_CHARS && text.chars().all(allowed);
    is_name.then(|| text.to_ascii_lowercase())
}

/// The principal of an account.
pub fn principal_of(name: &str) -> String {
    format!("user:{name}")
}

impl AccountWish {
    /// What is wrong with its role and facilities: the field, and what would be right.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        if matches!(self.role, Role::Service | Role::Metrics) {
            let right = "must be viewer, operator or admin; a program has a key";
            return Some(("role", right.to_owned()));
        }
        let facilities = self.facilities.as_ref()?;
        if self.role == Role::Admin {
            return Some(("facilities", "must be left out for the role admin".to_owned()));
        }
        let right = "must name at least one facility";
        facilities.is_empty().then(|| ("facilities", right.to_owned()))
    }

    /// The row of the account, with this hash of its password.
    pub fn row(&self, password_hash: String, by: &Actor) -> UserRow {
        let facilities = self.facilities.as_ref();
        UserRow {
            name: self.name.clone(),
            password_hash,
            role: self.role.as_str().to_owned(),
            facilities: facilities.map(|ids| serde_json::json!(ids).to_string()),
            created_ms: 0,
            created_by: by.id.clone(),
            signed_in_ms: None,
            disabled_ms: None,
            disabled_by: None,
        }
    }

    /// What the audit log says of it.
    pub fn detail(&self) -> serde_json::Value {
        serde_json::json!({ "role": self.role, "facilities": self.facilities })
    }
}

/// Makes an account. Returns false when the name is taken.
///
/// # Errors
/// The database does not answer.
pub async fn add(
    store: &dyn Store,
    wish: AccountWish,
    password_hash: String,
    by: Actor,
) -> store::Result<bool> {
    let row = wish.row(password_hash, &by);
    let note = by.note("user.added", &principal_of(&row.name), wish.detail());
    let is_added = store.add_user(&row, &note).await?;
    if is_added {
        log(&note);
    }
    Ok(is_added)
}

/// A change of an account that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It cannot be used any more, and its sessions end.
    Disable,
    /// It can be used again.
    Enable,
    /// It gets a password with this hash, and its sessions end.
    Reset(String),
}

/// Changes an account. Returns false when there is none of this name that this can be done to.
///
/// # Errors
/// The database does not answer.
pub async fn change(
    store: &dyn Store,
    name: &str,
    change: Change,
    by: Actor,
) -> store::Result<bool> {
    let action = match &change {
        Change::Disable => "user.disabled",
        Change::Enable => "user.enabled",
        Change::Reset(_) => "user.reset",
    };
    let note = by.note(action, &principal_of(name), serde_json::json!({}));
    let is_changed = match &change {
        Change::Disable => store.disable_user(name, &note).await?,
        Change::Enable => store.enable_user(name, &note).await?,
        Change::Reset(hash) => store.reset_user(name, hash, &note).await?,
    };
    if is_changed {
        log(&note);
    }
    Ok(is_changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_in_capital_and_small_letters_and_has_no_others() {
        assert_eq!(name_of("Anna.B@Example.org").as_deref(), Some("anna.b@example.org"));
        for text in ["", " anna", "an na", "änna", "anna#1", "a\n", &"a".repeat(101)] {
            assert_eq!(name_of(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_account_is_a_persons_and_says_which_facilities() {
        let wish = |role, facilities: Option<&[Uuid]>| AccountWish {
            name: "anna".into(),
            role,
            facilities: facilities.map(|ids| ids.iter().copied().collect()),
        };
        let one: &[Uuid] = &[Uuid::nil()];
        for (role, facilities, field) in [
            (Role::Viewer, None, None),
            (Role::Operator, Some(one), None),
            (Role::Admin, None, None),
            (Role::Viewer, Some(&one[..0]), Some("facilities")),
            (Role::Admin, Some(one), Some("facilities")),
            (Role::Service, None, Some("role")),
            (Role::Metrics, None, Some("role")),
        ] {
            let fault = wish(role, facilities).fault().map(|(field, _)| field);
            assert_eq!(fault, field, "{role} {facilities:?}");
        }
    }
}
