//! Closed days that several imports recorded, one on top of another, and what a day becomes without
//! one of them. These are pure decisions; the refresh carries them out under the facility's lock.

use std::collections::BTreeMap;

use crate::{
    domain::{
        blood_type::BloodType,
        summary::{Figures, Key, Summary},
    },
    store::{
        self, Derived, Transaction,
        imports::{ImportedDay, Units},
    },
};

/// A change to the stock of closed days.
#[derive(Debug)]
pub enum StockChange {
    None,
    /// An import records the stock of days, by type.
    Record {
        import: i32,
        days: BTreeMap<Key, Units>,
        /// Only computes the result, and writes nothing.
        dry_run: bool,
    },
    /// Days go back to what they were before an import.
    TakeBack {
        import: i32,
        days: Vec<Key>,
    },
}

/// The result for closed days.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Days that changed.
    pub changed: u64,
    /// Days with earlier figures that were replaced, and the import that had recorded those;
    /// `None`: no import, for example the service itself.
    pub replaced: Vec<(Option<i32>, Key)>,
    /// Days that were not taken back, because another import, or another program, has recorded
    /// figures since.
    pub left: Vec<Key>,
}

impl StockChange {
    /// Whether only the result is computed.
    pub const fn is_dry_run(&self) -> bool {
        matches!(self, StockChange::Record { dry_run: true, .. })
    }

    /// Changes derived days and writes their notes. The facilities must be locked.
    pub(in crate::service) async fn apply(
        &self,
        tx: &mut dyn Transaction,
        derived: &mut [Derived],
    ) -> store::Result<Recorded> {
        let (import, keys): (i32, Vec<Key>) = match self {
            StockChange::None => return Ok(Recorded::default()),
            StockChange::Record { import, days, .. } => (*import, days.keys().copied().collect()),
            StockChange::TakeBack { import, days } => (*import, days.clone()),
        };
        let mut noted: BTreeMap<Key, Vec<ImportedDay>> = BTreeMap::new();
        for note in tx.noted_days(&keys).await? {
            let key = Key { facility_id: note.facility_id, date: note.date };
            noted.entry(key).or_default().push(note);
        }
        let (mut recorded, mut notes) = (Recorded::default(), Vec::new());
        for d in derived.iter_mut().filter(|d| !d.is_today) {
            let key = d.row.key();
            let noted_before = noted.remove(&key).unwrap_or_default();
            let mut day = ClosedDay { summary: &mut d.row.summary, noted: noted_before.clone() };
            let before = (day.summary.total_stock, day.summary.by_blood_type.clone());
            match self {
                StockChange::Record { days, .. } => {
                    let Some(units) = days.get(&key) else { continue };
                    recorded
                        .replaced
                        .extend(day.record(import, units).into_iter().map(|by| (by, key)));
                }
                _ if day.undo(import) => {}
                _ => recorded.left.push(key),
            }
            notes.extend(day.noted.into_iter().filter(|note| !noted_before.contains(note)));
            let is_new = !d.stored && matches!(self, StockChange::Record { .. });
            let differs = before
                != (d.row.summary.total_stock, d.row.summary.by_blood_type.clone())
                || is_new;
            d.figures_differ |= differs;
            d.write_needed |= differs;
            recorded.changed += u64::from(differs);
        }
        if let StockChange::TakeBack { import, days } = self {
            tx.forget_days(*import, days).await?;
        }
        if !notes.is_empty() && !self.is_dry_run() {
            tx.note_days(&notes).await?;
        }
        Ok(recorded)
    }
}

/// A closed day, and the notes of imports about it.
struct ClosedDay<'a> {
    summary: &'a mut Summary,
    noted: Vec<ImportedDay>,
}

impl ClosedDay<'_> {
    /// Replaces the stock of these types, keeps that of the others, and notes the change. Returns
    /// the imports that had recorded different figures, which are now replaced.
    fn record(&mut self, import: i32, units: &Units) -> Vec<Option<i32>> {
        let mut replaced: Vec<Option<i32>> = Vec::new();
        for (blood_type, new) in units {
            let Some(old) = self.stock(*blood_type).filter(|old| old != new) else { continue };
            // The topmost import that recorded this figure. When none did, a zero only means that
            // the day does not have the type.
            let by = self
                .noted
                .iter()
                .filter(|n| n.recorded.get(blood_type) == Some(&old))
                .max_by_key(|n| n.turn)
                .map(|n| n.import_id);
            if (by.is_some() || old != 0) && by != Some(import) && !replaced.contains(&by) {
                replaced.push(by);
            }
        }
        self.lift(import, units);
        for (blood_type, new) in units {
            self.summary.by_blood_type.entry(*blood_type).or_default().stock = Some(*new);
        }
        self.add_up();
        replaced
    }

    /// Notes that an import records these types, on top of all other imports.
    fn lift(&mut self, import: i32, units: &Units) {
        let top = self.noted.iter().map(|note| note.turn).max().unwrap_or(0);
        let was_unrecorded = self.summary.total_stock.is_none() && self.noted.is_empty();
        let mut mine = match self.noted.iter().position(|note| note.import_id == import) {
            Some(position) => self.noted.swap_remove(position),
            None => ImportedDay {
                facility_id: self.summary.facility_id,
                date: self.summary.date,
                import_id: import,
                turn: top + 1,
                recorded: Units::new(),
                before: (!was_unrecorded).then(Units::new),
            },
        };
        if mine.turn < top {
            // An earlier run of this import is below other imports. From now on, they are based on
            // what was there before that run.
            self.close_gap(&mine);
            let found =
                |day: &mut Self, blood_type: &BloodType| match day.above(mine.turn, *blood_type) {
                    Some(_) => day.stock(*blood_type).unwrap_or(0),
                    None => beneath(&mine, *blood_type),
                };
            mine.before = Some(
                mine.recorded
                    .keys()
                    .map(|blood_type| (*blood_type, found(self, blood_type)))
                    .collect(),
            );
            mine.turn = top + 1;
        }
        for (blood_type, new) in units {
            let now = self.stock(*blood_type).unwrap_or(0);
            let old = mine.recorded.insert(*blood_type, *new);
            // A figure of an earlier run of this import is not what was there before it. No stock
            // at all counts like none of a type.
            if old != Some(now) && (now != 0 || mine.before.is_some()) {
                mine.before.get_or_insert_default().insert(*blood_type, now);
            }
        }
        self.noted.push(mine);
    }

    /// Makes the day what it would be without the import. Returns false when a figure was kept,
    /// because another import, or another program, has recorded it since. The caller writes the
    /// notes that are left in `noted`.
    fn undo(&mut self, import: i32) -> bool {
        let Some(position) = self.noted.iter().position(|note| note.import_id == import) else {
            return true;
        };
        let mine = self.noted.swap_remove(position);
        self.close_gap(&mine);
        let mut all = true;
        for (blood_type, recorded) in &mine.recorded {
            if self.above(mine.turn, *blood_type).is_none()
                && self.stock(*blood_type).unwrap_or(0) == *recorded
            {
                self.summary.by_blood_type.entry(*blood_type).or_default().stock =
                    Some(beneath(&mine, *blood_type));
            } else {
                all = false;
            }
        }
        self.add_up();
        if mine.before.is_none()
            && self.noted.is_empty()
            && all
            && self.summary.total_stock == Some(0)
        {
            self.summary.total_stock = None;
            self.summary.by_blood_type.values_mut().for_each(|figures| figures.stock = None);
        }
        all
    }

    /// Takes an import out of the order: what was before it is now before the imports on top of it.
    fn close_gap(&mut self, out: &ImportedDay) {
        for (blood_type, recorded) in &out.recorded {
            if let Some(above) = self.above(out.turn, *blood_type)
                && let Some(before) = &mut above.before
                && before.get(blood_type) == Some(recorded)
            {
                before.insert(*blood_type, beneath(out, *blood_type));
            }
        }
        // The day had no stock at all before the lowest import.
        if out.before.is_none()
            && let Some(lowest) = self.noted.iter_mut().min_by_key(|note| note.turn)
            && lowest.before.as_ref().is_some_and(|before| before.values().all(|units| *units == 0))
        {
            lowest.before = None;
        }
    }

    /// The next import above this turn that recorded the type.
    fn above(&mut self, turn: i64, blood_type: BloodType) -> Option<&mut ImportedDay> {
        self.noted
            .iter_mut()
            .filter(|n| n.turn > turn && n.recorded.contains_key(&blood_type))
            .min_by_key(|n| n.turn)
    }

    /// The day's stock of a type; `None` when the day has no recorded stock at all.
    fn stock(&self, blood_type: BloodType) -> Option<i64> {
        self.summary.total_stock?;
        Some(
            self.summary
                .by_blood_type
                .get(&blood_type)
                .and_then(|figures| figures.stock)
                .unwrap_or(0),
        )
    }

    fn add_up(&mut self) {
        for figures in self.summary.by_blood_type.values_mut() {
            figures.stock.get_or_insert(0);
        }
        self.summary
            .by_blood_type
            .retain(|_, f| *f != Figures { stock: Some(0), transferred: 0, requests: 0 });
        self.summary.total_stock =
            Some(self.summary.by_blood_type.values().filter_map(|f| f.stock).sum());
    }
}

/// What the import found there of a type.
fn beneath(note: &ImportedDay, blood_type: BloodType) -> i64 {
    note.before.as_ref().and_then(|before| before.get(&blood_type)).copied().unwrap_or(0)
}

#[cfg(test)]
#[path = "days_tests.rs"]
mod tests;
