//! Tests of `rows.rs`.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::event::Entity;

const ROW: Uuid = Uuid::from_u128(9);

fn record(event_time_ms: i64, quantity: i32) -> Record {
    let facility_id = Uuid::from_u128(1);
    Record {
        event_time_ms,
        entity: Some(Entity::Request {
            blood_type: None,
            created_at_ms: 0,
            facility_id,
            quantity: Some(quantity),
        }),
    }
}

/// A table of one row and its notes, with the rules of the ingest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct World {
    now: Option<Record>,
    notes: BTreeMap<i32, ImportedRow>,
}

impl World {
    fn import(&mut self, import: i32, says: &Record) {
        let wrote = says.supersedes(self.now.as_ref());
        let hide = |record: Record| Hidden { record, last_counted: None };
        let before = self.now.clone();
        if wrote {
            self.now = Some(says.clone());
        }
        let hidden = if wrote {
            before.map(hide)
        } else {
            (self.now.as_ref() != Some(says)).then(|| hide(says.clone()))
        };
        let note = ImportedRow {
            row_id: ROW,
            import_id: import,
            content: says.fingerprint(),
            is_facility: false,
            wrote,
            hidden,
        };
        self.notes.insert(import, note);
    }

    fn undo(&mut self, import: i32) -> UndoOutcome {
        let noted: Vec<ImportedRow> = self.notes.values().cloned().collect();
        let decision = decide(import, self.now.as_ref(), &noted);
        self.notes.remove(&import);
        self.notes.extend(decision.notes.into_iter().map(|note| (note.import_id, note)));
        if let Some(becomes) = decision.becomes {
            self.now = becomes.map(|hidden| hidden.record);
        }
        decision.outcome
    }
}

#[test]
fn a_row_corrected_since_stays_and_one_that_was_there_before_does_too() {
    let mut world = World::default();
    world.import(1, &record(5, 1));
    world.now = Some(record(7, 2));
    assert_eq!((world.undo(1), world.now.clone()), (UndoOutcome::Changed, Some(record(7, 2))));
    world.import(2, &record(7, 2));
    assert_eq!((world.undo(2), world.now), (UndoOutcome::WasThere, Some(record(7, 2))));
}

#[test]
fn what_an_import_replaced_comes_back() {
    let mut world = World { now: Some(record(3, 4)), ..World::default() };
    world.import(1, &record(5, 1));
    assert_eq!((world.undo(1), world.now), (UndoOutcome::Undone, Some(record(3, 4))));
}

proptest! {
    /// As long as nothing else writes it, a row is in the end what the remaining imports make
    /// of it.
    #[test]
    fn in_any_order_an_undone_import_is_as_if_it_had_never_been(
        before in prop::option::of((0..3i64, 0..2i32)),
        says in prop::collection::vec((0..4i64, 0..3i32), 1..6),
        undone in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let before = before.map(|(at, units)| record(at, units));
        let mut world = World { now: before.clone(), ..World::default() };
        let mut left: BTreeMap<i32, Record> = BTreeMap::new();
        for (import, (at, units)) in says.into_iter().enumerate() {
            world.import(import as i32, &record(at, units));
            left.insert(import as i32, record(at, units));
        }
        for which in undone {
            if left.is_empty() { break; }
            let import = *left.keys().nth(which.index(left.len())).unwrap();
            left.remove(&import);
            world.undo(import);
            let stands = left.values().fold(before.clone(), |now, says| {
                if says.supersedes(now.as_ref()) { Some(says.clone()) } else { now }
            });
            prop_assert_eq!(&world.now, &stands, "after {} of {:?}", import, left);
        }
    }
}
