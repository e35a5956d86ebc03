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
mod tests {
    use super::*;

    const FACILITY: Uuid = Uuid::from_u128(1);

    /// Whether the changes leave the facility's days to the aggregate.
    fn is_unknown(changed: &Changed) -> bool {
        format!("{changed:?}").contains(&format!("unknown: {{{FACILITY}}}"))
    }

    fn of(before: Option<Entity>, now: Option<Entity>, banks: &[(Uuid, Uuid)]) -> Changed {
        let (kind, id) = (EntityKind::Inventory, Uuid::from_u128(9));
        let record = |event_time_ms, entity| Record { event_time_ms, entity };
        let loaded = before.map(|entity| ((kind, id), record(1, Some(entity)))).into_iter();
        let overlay = Overlay {
            records: [((kind, id), record(2, now))].into(),
            banks: banks.iter().copied().collect(),
            ..Overlay::default()
        };
        changed(&loaded.collect(), &overlay, [].iter())
    }

    #[test]
    fn a_facility_whose_bank_changes_is_left_to_the_aggregate() {
        let bank = |n| Entity::BloodBank { facility_id: Uuid::from_u128(n), name: String::new() };
        assert!(is_unknown(&of(Some(bank(1)), Some(bank(1)), &[])), "renamed, or more");
        assert!(is_unknown(&of(None, Some(bank(1)), &[])));
    }

    #[test]
    fn a_unit_that_comes_from_a_bank_that_is_not_there_is_left_to_the_aggregate() {
        let unit = |bank: u128| Entity::Inventory {
            blood_bank_id: Uuid::from_u128(bank),
            blood_type: None,
            expires_at_ms: None,
            quantity: 3,
        };
        let banks = [(Uuid::from_u128(2), FACILITY)];
        assert!(is_unknown(&of(Some(unit(3)), Some(unit(2)), &banks)));
        assert!(!is_unknown(&of(Some(unit(2)), Some(unit(2)), &banks)));
    }
}
