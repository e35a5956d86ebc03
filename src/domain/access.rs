//! Who may do what: the roles, and the facilities that somebody may see.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads the figures of its facilities.
    Viewer,
    /// Also posts events of its facilities, and refreshes their days.
    Operator,
    /// Everything, with keys, accounts and the audit log.
    Admin,
    /// Posts events of every facility. Reads no figures, unless told.
    Service,
    /// Reads the metrics.
    Metrics,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 5] =
        [Role::Viewer, Role::Operator, Role::Admin, Role::Service, Role::Metrics];

    /// The name, as in keys, tokens and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
            Role::Service => "service",
            Role::Metrics => "metrics",
        }
    }

    /// Whether it is of some facilities or of all, so that whoever gives it has to say which.
    pub fn is_of_facilities(self) -> bool {
        matches!(self, Role::Viewer | Role::Operator)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            let names = Role::ALL.map(Role::as_str).join(", ");
            format!("{text:?} is no role; expected one of {names}")
        })
    }
}

/// The facilities that somebody may see, and whose events it may post.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum FacilityScope {
    /// Every facility, also those that are yet to come.
    #[default]
    All,
    /// Only these.
    Only(NamedFacilities),
}

/// Facilities by id, or by the key that they have in an owner's tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedFacilities {
    /// Their ids.
    pub ids: BTreeSet<Uuid>,
    /// The owner's keys, as text, where `[sources]` maps facilities.
    pub keys: BTreeSet<String>,
}

impl FacilityScope {
    /// The facilities with these ids.
    pub fn of_ids(ids: impl IntoIterator<Item = Uuid>) -> Self {
        let ids = ids.into_iter().collect();
        FacilityScope::Only(NamedFacilities { ids, keys: BTreeSet::new() })
    }

    /// Whether it names facilities by an owner's keys.
    pub fn has_keys(&self) -> bool {
        matches!(self, FacilityScope::Only(named) if !named.keys.is_empty())
    }

    /// Whether the facility with this id, and this key of the owner, is among them.
    pub fn has(&self, id: Uuid, key: Option<&str>) -> bool {
        match self {
            FacilityScope::All => true,
            FacilityScope::Only(named) => {
                named.ids.contains(&id) || key.is_some_and(|key| named.keys.contains(key))
            }
        }
    }
}

/// Somebody whose credential was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Who it is, as the audit log and the limits name it: `key:<id>`, `token:<issuer>#<subject>`.
    /// Two principals have the same id only if they are the same.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Of which facilities.
    pub facilities: FacilityScope,
    /// A `service` that may also read figures.
    pub may_read: bool,
}

impl Principal {
    /// Whether it may read figures of the facilities that it may see.
    pub fn reads_figures(&self) -> bool {
        match self.role {
            Role::Viewer | Role::Operator | Role::Admin => true,
            Role::Service => self.may_read,
            Role::Metrics => false,
        }
    }
}
