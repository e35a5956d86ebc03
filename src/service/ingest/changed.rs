//! What a group changes in the figures: the rows as they were loaded under lock, beside the rows as
//! the group leaves them.

use std::collections::HashMap;

use uuid::Uuid;

use super::fold::Overlay;
use crate::{
    domain::event::{Entity, EntityKind, Event, Record},
    service::refresh::differences::Changed,
};

/// The changes of a group. `loaded`: the rows as they were, which the transaction has locked since.
/// What it only says again changes nothing.
pub(super) fn changed<'e>(
    loaded: &HashMap<(EntityKind, Uuid), Record>,
    overlay: &Overlay,
    events: impl Iterator<Item = &'e Event>,
) -> Changed {
    let mut changed = Changed::default();
    for (key, now) in &overlay.records {
        let before = loaded.get(key);
        if before != Some(now) {
            let before = before.and_then(|record| record.entity.as_ref());
            row(&mut changed, overlay, key.1, before, now.entity.as_ref());
        }
    }
    for event in events {
        // The sender has written something itself.
        if let Event::Touched { facility_id, .. } = event {
            changed.not_known(*facility_id);
        }
    }
    changed
}

fn row(
    changed: &mut Changed,
    overlay: &Overlay,
    id: Uuid,
    before: Option<&Entity>,
    now: Option<&Entity>,
) {
    for entity in [before, now].into_iter().flatten() {
        match entity {
            Entity::Facility { .. } => changed.not_known(id),
            // All units of the bank may count elsewhere now.
            Entity::BloodBank { facility_id, .. } => changed.not_known(*facility_id),
            _ => {}
        }
    }
    let contribution = |entity: Option<&Entity>| entity.and_then(|e| overlay.contribution(e));
    let (was, is) = (contribution(before), contribution(now));
    if let (Some(Entity::Inventory { .. }), None, Some(is)) = (before, was, is) {
        // Its bank did not exist when the group looked, and may exist by now.
        changed.not_known(is.facility_id);
    }
    changed.change(was, is);
}

#[cfg(test)]
#[path = "changed_tests.rs"]
mod tests;
