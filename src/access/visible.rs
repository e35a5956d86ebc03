//! Which facilities somebody may see, as ids.

use std::{collections::HashSet, fmt::Write, sync::Arc};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{directory::Directory, domain::access::FacilityScope};

/// The facilities that somebody may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visible {
    /// Every one.
    All,
    /// Only these.
    Only(Arc<VisibleIds>),
}

/// Some facilities. All that see the same ones share what was made for them.
#[derive(Debug, PartialEq, Eq)]
pub struct VisibleIds {
    /// Their ids.
    pub ids: HashSet<Uuid>,
    /// The same text for the same ids, and another one for others.
    pub name: String,
}

impl Visible {
    /// The facilities of a scope. Owner's keys are looked up in the directory.
    pub fn of(scope: &FacilityScope, directory: &Directory) -> Self {
        let FacilityScope::Only(named) = scope else { return Visible::All };
        let mut ids = named.ids.clone();
        if !named.keys.is_empty() {
            let (facilities, _) = directory.all();
            let is_named =
                |key: &Option<String>| key.as_ref().is_some_and(|key| named.keys.contains(key));
            ids.extend(facilities.iter().filter(|f| is_named(&f.key)).map(|f| f.id));
        }
        let mut hash = Sha256::new();
        ids.iter().for_each(|id| hash.update(id.as_bytes()));
        let name = hash.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        Visible::Only(Arc::new(VisibleIds { ids: ids.into_iter().collect(), name }))
    }

    /// No facility.
    pub fn nothing() -> Self {
        Visible::Only(Arc::new(VisibleIds { ids: HashSet::new(), name: "nothing".into() }))
    }

    /// Whether this facility is among them.
    pub fn has(&self, id: Uuid) -> bool {
        match self {
            Visible::All => true,
            Visible::Only(only) => only.ids.contains(&id),
        }
    }

    /// The ids; `None` for every facility.
    pub fn ids(&self) -> Option<&HashSet<Uuid>> {
        match self {
            Visible::All => None,
            Visible::Only(only) => Some(&only.ids),
        }
    }
}
