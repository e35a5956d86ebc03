//! The API keys that can be used, in memory: as the table had them at the access version that was
//! looked at last.

use std::{collections::HashMap, str::FromStr};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use uuid::Uuid;

use super::api_keys;
use crate::{
    domain::access::{FacilityScope, Principal, Role},
    store::access::ApiKeyRow,
};

/// The keys by their ids.
#[derive(Default)]
pub(super) struct KnownKeys(HashMap<String, KnownKey>);

/// A key that can be used.
pub(super) struct KnownKey {
    hash: Vec<u8>,
    pub principal: Principal,
    /// When it ends, in milliseconds since 1970; `None`: never.
    pub expires_ms: Option<i64>,
}

impl KnownKeys {
    /// The keys of these rows that have not been revoked. A row that cannot be read is no key, and
    /// its id is returned.
    pub fn of(rows: Vec<ApiKeyRow>) -> (Self, Vec<String>) {
        let mut unreadable = Vec::new();
        let mut known = HashMap::new();
        for row in rows.into_iter().filter(|row| row.revoked_ms.is_none()) {
            match principal(&row) {
                Some(principal) => {
                    let ApiKeyRow { id, hash, expires_ms, .. } = row;
                    known.insert(id, KnownKey { hash, principal, expires_ms });
                }
                None => unreadable.push(row.id),
            }
        }
        (KnownKeys(known), unreadable)
    }

    /// The key with this id.
    pub fn get(&self, id: &str) -> Option<&KnownKey> {
        self.0.get(id)
    }

    /// Those that may do everything at this instant, in milliseconds since 1970, each with its id
    /// and its name.
    pub fn admins(&self, now_ms: i64) -> Vec<String> {
        let may_all = |(_, key): &(&String, &KnownKey)| {
            key.principal.role == Role::Admin && key.expires_ms.is_none_or(|at_ms| at_ms > now_ms)
        };
        let named = |(id, key): (&String, &KnownKey)| format!("{id} {:?}", key.principal.name);
        let mut admins: Vec<String> = self.0.iter().filter(may_all).map(named).collect();
        admins.sort_unstable();
        admins
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is such a key that has not been revoked.
    pub fn has(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }
}

impl KnownKey {
    /// Whether this is the key, and not only its id.
    pub fn is(&self, text: &str) -> bool {
        verify_slices_are_equal(&api_keys::hash(text), &self.hash).is_ok()
    }
}

/// Who uses the key of this row; `None` when the row cannot be read.
fn principal(row: &ApiKeyRow) -> Option<Principal> {
    let facilities = match &row.facilities {
        None => FacilityScope::All,
        Some(ids) => FacilityScope::of_ids(serde_json::from_str::<Vec<Uuid>>(ids).ok()?),
    };
    Some(Principal {
        id: format!("key:{}", row.id),
        name: row.name.clone(),
        role: Role::from_str(&row.role).ok()?,
        facilities,
        may_read: row.may_read,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, role: &str, facilities: Option<&str>) -> ApiKeyRow {
        ApiKeyRow {
            id: id.into(),
            hash: api_keys::hash(id).to_vec(),
            name: id.into(),
            role: role.into(),
            may_read: false,
            facilities: facilities.map(str::to_owned),
            created_ms: 0,
            created_by: "the test".into(),
            expires_ms: None,
            used_ms: None,
            revoked_ms: None,
            revoked_by: None,
        }
    }

    #[test]
    fn a_row_that_cannot_be_read_is_no_key_and_nothing_is_widened() {
        let (known, unreadable) = KnownKeys::of(vec![
            row("right", "viewer", Some("[]")),
            row("no role", "root", None),
            row("no list", "viewer", Some("all")),
            row("no ids", "viewer", Some("[\"north\"]")),
            ApiKeyRow { revoked_ms: Some(1), ..row("revoked", "viewer", None) },
        ]);
        assert_eq!(unreadable, ["no role", "no list", "no ids"]);
        assert_eq!(known.0.keys().collect::<Vec<_>>(), ["right"]);
        assert_eq!(known.get("right").unwrap().principal.facilities, FacilityScope::of_ids([]));
    }
}
