use proptest::prelude::*;

use jiff::civil::Date;
use uuid::Uuid;

use super::*;

const DATE: Date = Date::constant(2024, 1, 5);

#[derive(Debug, Clone)]
struct World {
    summary: Summary,
    noted: Vec<ImportedDay>,
}

impl World {
    fn new(recorded: Option<&Units>) -> Self {
        let mut summary = Summary::empty(Uuid::from_u128(1), DATE, true);
        if let Some(units) = recorded {
            let figures = |units: &i64| Figures { stock: Some(*units), ..Figures::default() };
            summary.by_blood_type =
                units.iter().filter(|(_, u)| **u != 0).map(|(t, u)| (*t, figures(u))).collect();
            summary.total_stock = Some(units.values().sum());
        }
        World { summary, noted: Vec::new() }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut ClosedDay<'_>) -> T) -> T {
        let mut day =
            ClosedDay { summary: &mut self.summary, noted: std::mem::take(&mut self.noted) };
        let answer = act(&mut day);
        self.noted = day.noted;
        answer
    }

    fn stock(&self) -> Option<Units> {
        self.summary.total_stock?;
        let units = |f: &Figures| f.stock.unwrap_or(0);
        Some(
            self.summary
                .by_blood_type
                .iter()
                .map(|(t, f)| (*t, units(f)))
                .filter(|(_, u)| *u != 0)
                .collect(),
        )
    }
}

fn units(pairs: &[(BloodType, i64)]) -> Units {
    pairs.iter().copied().collect()
}

use BloodType::{APositive, OPositive};

#[test]
fn an_import_that_replaces_other_figures_names_their_import() {
    let mut world = World::new(Some(&units(&[(OPositive, 4)])));
    let replaced = |world: &mut World, import, pairs: &[(BloodType, i64)]| {
        world.with(|day| day.record(import, &units(pairs)))
    };
    let nobody: Vec<Option<i32>> = Vec::new();
    assert_eq!(
        replaced(&mut world, 1, &[(OPositive, 4), (APositive, 2)]),
        nobody,
        "one figure is equal, and the other is of a new type"
    );
    assert_eq!(replaced(&mut world, 2, &[(OPositive, 5), (APositive, 3)]), [Some(1)]);
    assert_eq!(replaced(&mut world, 2, &[(OPositive, 6)]), nobody, "its own");
    assert_eq!(
        World::new(Some(&units(&[(OPositive, 4)])))
            .with(|day| day.record(1, &units(&[(OPositive, 5)]))),
        [None]
    );
}

#[test]
fn a_day_that_another_program_recorded_since_is_left() {
    let mut world = World::new(None);
    world.with(|day| day.record(1, &units(&[(OPositive, 5)])));
    world.summary.by_blood_type.get_mut(&OPositive).unwrap().stock = Some(7);
    world.summary.total_stock = Some(7);
    assert!(!world.with(|day| day.undo(1)));
    assert_eq!(world.stock(), Some(units(&[(OPositive, 7)])));
}

proptest! {
    /// After any runs and undos, a day has the figures that the last runs of the remaining imports
    /// give it.
    #[test]
    fn an_undone_import_leaves_no_trace_in_any_order_of_runs_and_undos(
        before in prop::option::of(prop::collection::btree_map(0..3usize, 0..4i64, 0..3)),
        steps in prop::collection::vec(
            (
                0..4i32,
                any::<bool>(),
                prop::collection::btree_map(0..3usize, 0..4i64, 1..4),
            ),
            1..12,
        ),
    ) {
        let typed = |units: &BTreeMap<usize, i64>| -> Units {
            units.iter().map(|(t, u)| (BloodType::NAMED[*t], *u)).collect()
        };
        let before = before.as_ref().map(typed);
        let mut world = World::new(before.as_ref());
        let mut files: BTreeMap<i32, Units> = BTreeMap::new();
        let mut order: Vec<i32> = Vec::new();
        for (import, undo, says) in steps {
            if undo {
                if files.remove(&import).is_none() { continue; }
                order.retain(|other| *other != import);
                world.with(|day| day.undo(import));
            } else {
                // The same import has the same file.
                let says = files.entry(import).or_insert_with(|| typed(&says)).clone();
                order.retain(|other| *other != import);
                order.push(import);
                world.with(|day| day.record(import, &says));
            }
            let mut wanted = before.clone();
            for import in &order {
                wanted.get_or_insert_default().extend(files[import].clone());
            }
            if let Some(units) = &mut wanted {
                units.retain(|_, units| *units != 0);
            }
            prop_assert_eq!(world.stock(), wanted);
        }
    }
}
