//! What the events of a group change: pure decisions on an overlay of the rows that were loaded.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use jiff::civil::Date;
use uuid::Uuid;

use super::{EventFault, Refusal};
use crate::{
    access::Visible,
    domain::{
        day::has_day,
        difference::{Contribution, Counts},
        event::{Entity, EntityKind, Event, Record, Statement},
    },
    store::LastCounted,
};

/// Days of a facility that a request touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Touch {
    Today,
    /// The day that contains this instant, in milliseconds.
    At(i64),
    On(Date),
    /// Every day that has data, as the zone has changed.
    All,
}

/// The rows as they were loaded, with the changes that the group has made so far.
#[derive(Debug, Default)]
pub struct Overlay {
    /// The newest statement known of each entity.
    pub records: HashMap<(EntityKind, Uuid), Record>,
    /// The facility of each blood bank, also of banks that are only referred to.
    pub banks: HashMap<Uuid, Uuid>,
    /// Facilities that are known to exist.
    pub facilities: HashSet<Uuid>,
    /// Where removed entities were and counted last, whether this group removed them or an earlier
    /// one. A repeated removal touches the same day, and is the right of the same people.
    pub last_counted: HashMap<(EntityKind, Uuid), LastCounted>,
}

/// The result of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// By position in the request: whether the event changed anything.
    pub applied: Vec<bool>,
    /// The days that the request touches, with their facilities.
    pub touched: HashSet<(Uuid, Touch)>,
}

impl Overlay {
    /// Applies one request: all its events, or none. Events of facilities other than those `within`
    /// are not allowed; else the faults of each of its events are the answer.
    pub fn fold(&mut self, events: &[Event], within: &Visible) -> Result<Folded, Refusal> {
        let mut undo = Undo::default();
        let (facilities, banks) = (self.facilities.clone_if(events), self.banks.clone_if(events));
        let mut folded = Folded { applied: vec![false; events.len()], touched: HashSet::new() };
        let (mut faults, mut forbidden) = (Vec::new(), Vec::new());
        // Facilities first, then blood banks, then the rest: an event may stand before the
        // registration that it refers to.
        for pass in [Some(EntityKind::Facility), Some(EntityKind::BloodBank), None] {
            for (index, event) in events.iter().enumerate() {
                let registers = match event {
                    Event::Statement(s)
                        if matches!(s.kind, EntityKind::Facility | EntityKind::BloodBank) =>
                    {
                        Some(s.kind)
                    }
                    _ => None,
                };
                if registers == pass {
                    if !self.is_within(event, within) {
                        forbidden.push(index);
                        continue;
                    }
                    match self.one(event, &mut folded.touched, &mut undo) {
                        Ok(applied) => folded.applied[index] = applied,
                        Err((field, detail)) => faults.push(EventFault { index, field, detail }),
                    }
                }
            }
        }
        if faults.is_empty() && forbidden.is_empty() {
            return Ok(folded);
        }
        put_back(&mut self.records, undo.records);
        put_back(&mut self.last_counted, undo.last_counted);
        if let Some(before) = facilities {
            self.facilities = before;
        }
        if let Some(before) = banks {
            self.banks = before;
        }
        if !forbidden.is_empty() {
            forbidden.sort_unstable();
            return Err(Refusal::Forbidden(forbidden));
        }
        faults.sort_by_key(|fault| fault.index);
        Err(Refusal::Faulty(faults))
    }

    /// The events of a request, by position, that themselves name a facility that is not `within`.
    /// They are refused before the database is asked, so that the time of the answer does not tell
    /// which facilities exist.
    pub fn named_outside(events: &[Event], within: &Visible) -> Vec<usize> {
        let Visible::Only(only) = within else { return Vec::new() };
        let named = |event: &Event| match event {
            Event::Touched { facility_id, .. } => Some(*facility_id),
            Event::Statement(Statement { id, record, .. }) => match record.entity.as_ref()? {
                Entity::Facility { .. } => Some(*id),
                Entity::BloodBank { facility_id, .. } | Entity::Request { facility_id, .. } => {
                    Some(*facility_id)
                }
                Entity::Distribution { dispatched_to_id, .. } => Some(*dispatched_to_id),
                Entity::Inventory { .. } => None,
            },
        };
        let is_outside = |event| named(event).is_some_and(|id| !only.ids.contains(&id));
        (0..events.len()).filter(|index| is_outside(&events[*index])).collect()
    }

    /// Whether an event is only about facilities `within`: the stored one, and the new one. What is
    /// not known is not within, so that the answer does not tell what exists elsewhere.
    fn is_within(&self, event: &Event, within: &Visible) -> bool {
        let Visible::Only(only) = within else { return true };
        let is_there = |facility: Option<Uuid>| facility.is_some_and(|id| only.ids.contains(&id));
        let Statement { kind, id, record } = match event {
            Event::Statement(statement) => statement,
            Event::Touched { facility_id, .. } => return is_there(Some(*facility_id)),
        };
        let stored = self.records.get(&(*kind, *id)).and_then(|record| record.entity.as_ref());
        let counted = self.last_counted.get(&(*kind, *id)).map(|counted| counted.facility_id);
        match (&record.entity, stored) {
            (Some(new), Some(stored)) => {
                is_there(self.facility_of(new, *id)) && is_there(self.facility_of(stored, *id))
            }
            (Some(new), None) => {
                is_there(self.facility_of(new, *id)) && counted.is_none_or(|id| is_there(Some(id)))
            }
            (None, Some(stored)) => is_there(self.facility_of(stored, *id)),
            (None, None) => is_there(counted),
        }
    }

    /// The facility that an entity belongs to, whether it counts or not.
    fn facility_of(&self, entity: &Entity, id: Uuid) -> Option<Uuid> {
        match entity {
            Entity::Facility { .. } => Some(id),
            Entity::BloodBank { facility_id, .. } | Entity::Request { facility_id, .. } => {
                Some(*facility_id)
            }
            Entity::Distribution { dispatched_to_id, .. } => Some(*dispatched_to_id),
            Entity::Inventory { blood_bank_id, .. } => self.banks.get(blood_bank_id).copied(),
        }
    }

    fn one(
        &mut self,
        event: &Event,
        touched: &mut HashSet<(Uuid, Touch)>,
        undo: &mut Undo,
    ) -> Result<bool, (&'static str, String)> {
        let Statement { kind, id, record } = match event {
            Event::Statement(statement) => statement,
            Event::Touched { facility_id, date } => {
                self.require_facility("facility_id", *facility_id)?;
                touched.insert((*facility_id, date.map_or(Touch::Today, Touch::On)));
                return Ok(true);
            }
        };
        if let Some(entity) = &record.entity {
            self.require_references(entity)?;
            touched.extend(self.counted(entity, *id));
        }
        let before = self.records.get(&(*kind, *id)).cloned();
        match before.as_ref().and_then(|r| r.entity.as_ref()) {
            Some(known) => {
                let counted = self.counted(known, *id);
                touched.extend(counted);
                let facility = self.facility_of(known, *id);
                if record.entity.is_none()
                    && let Some(facility_id) = facility
                {
                    let at_ms = match counted {
                        Some((_, Touch::At(at_ms))) => Some(at_ms),
                        Some(_) => None,
                        None => Some(LastCounted::ON_NO_DAY_MS),
                    };
                    let now = LastCounted { facility_id, at_ms };
                    let before = self.last_counted.insert((*kind, *id), now);
                    undo.last_counted.push(((*kind, *id), before));
                }
            }
            None => {
                let last_counted =
                    self.last_counted.get(&(*kind, *id)).filter(|c| c.at_ms.is_none_or(has_day));
                touched.extend(
                    last_counted.map(|c| (c.facility_id, c.at_ms.map_or(Touch::Today, Touch::At))),
                );
            }
        }
        if !record.supersedes(before.as_ref()) {
            return Ok(false);
        }
        if let (
            Some(Entity::Facility { timezone: new, .. }),
            Some(Entity::Facility { timezone: old, .. }),
        ) = (&record.entity, before.as_ref().and_then(|r| r.entity.as_ref()))
            && new != old
        {
            touched.insert((*id, Touch::All));
        }
        match &record.entity {
            Some(Entity::Facility { .. }) => drop(self.facilities.insert(*id)),
            Some(Entity::BloodBank { facility_id, .. }) => {
                self.banks.insert(*id, *facility_id);
            }
            _ => {}
        }
        undo.records.push(((*kind, *id), before));
        self.records.insert((*kind, *id), record.clone());
        Ok(true)
    }

    /// The day in whose figures this entity counts; `None` where it counts on none.
    fn counted(&self, entity: &Entity, id: Uuid) -> Option<(Uuid, Touch)> {
        match entity {
            Entity::Facility { .. } => Some((id, Touch::Today)),
            Entity::BloodBank { facility_id, .. } => Some((*facility_id, Touch::Today)),
            _ => self.contribution(entity).map(|contribution| {
                let touch = match contribution.counts {
                    Counts::Stock { .. } => Touch::Today,
                    Counts::Transferred { at_ms } | Counts::Requests { at_ms } => Touch::At(at_ms),
                };
                (contribution.facility_id, touch)
            }),
        }
    }

    /// What this entity adds to the figures, with its bank where the group leaves it.
    pub fn contribution(&self, entity: &Entity) -> Option<Contribution> {
        Contribution::of(entity, |bank| self.banks.get(&bank).copied())
    }

    fn require_references(&self, entity: &Entity) -> Result<(), (&'static str, String)> {
        match entity {
            Entity::Facility { .. } => Ok(()),
            Entity::BloodBank { facility_id, .. } | Entity::Request { facility_id, .. } => {
                self.require_facility("facility_id", *facility_id)
            }
            Entity::Distribution { dispatched_to_id, .. } => {
                self.require_facility("dispatched_to_id", *dispatched_to_id)
            }
            Entity::Inventory { blood_bank_id, .. } if !self.banks.contains_key(blood_bank_id) => {
                Err((
                    "blood_bank_id",
                    format!(
                        "blood bank {blood_bank_id} is not registered; send blood_bank.registered \
                         before, or in the same batch"
                    ),
                ))
            }
            Entity::Inventory { .. } => Ok(()),
        }
    }

    fn require_facility(
        &self,
        field: &'static str,
        id: Uuid,
    ) -> Result<(), (&'static str, String)> {
        if self.facilities.contains(&id) {
            return Ok(());
        }
        Err((
            field,
            format!(
                "facility {id} is not registered; send facility.registered before, or in the same \
                 batch"
            ),
        ))
    }
}

/// What stood before each change of a request, in the order of the changes.
#[derive(Default)]
struct Undo {
    records: Vec<((EntityKind, Uuid), Option<Record>)>,
    last_counted: Vec<((EntityKind, Uuid), Option<LastCounted>)>,
}

fn put_back<K: Eq + Hash, V>(map: &mut HashMap<K, V>, before: Vec<(K, Option<V>)>) {
    for (key, before) in before.into_iter().rev() {
        match before {
            Some(value) => drop(map.insert(key, value)),
            None => drop(map.remove(&key)),
        }
    }
}

/// A copy to return to after a fault. It is made only where the request registers something.
trait CloneIf: Sized {
    fn clone_if(&self, events: &[Event]) -> Option<Self>;
}

impl<T: Clone> CloneIf for T {
    fn clone_if(&self, events: &[Event]) -> Option<Self> {
        let is_of_these = |event: &Event| match event {
            Event::Statement(statement) => {
                matches!(statement.kind, EntityKind::Facility | EntityKind::BloodBank)
            }
            Event::Touched { .. } => false,
        };
        events.iter().any(is_of_these).then(|| self.clone())
    }
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
