//! The closed days of a file. All of them are collected before the first is written, since the rows
//! of one day may be anywhere in the file. Two rows about one figure are a fault, unless
//! `--same-day` says what they mean.

use std::collections::{BTreeMap, btree_map::Entry};

use clap::ValueEnum;
use jiff::civil::Date;
use uuid::Uuid;

use super::target::ClosedStock;
use crate::{
    domain::{blood_type::BloodType, summary::Key},
    tools::counted,
};

/// What several rows of one facility, day and blood type are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SameDay {
    /// Parts of the stock, such as lots: they are added up
    Sum,
    /// Figures of different hours: the last counts
    Last,
    /// Figures of different hours: the highest counts
    Highest,
}

impl SameDay {
    /// The rule as the command line names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            SameDay::Sum => "sum",
            SameDay::Last => "last",
            SameDay::Highest => "highest",
        }
    }
}

/// The days of a file. It takes about 100 bytes for each figure.
#[derive(Debug)]
pub struct ClosingStock {
    rule: Option<SameDay>,
    days: BTreeMap<Key, BTreeMap<BloodType, Figure>>,
    /// Figures that were made from several rows.
    pub merged: u64,
    /// A row said when its figure was recorded, so the last figure is the one with the latest time.
    pub has_times: bool,
}

/// What a row says a day closed with.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// Units, 0 or more.
    pub units: i64,
    /// The line of the row, or of the first of several rows.
    pub line: u64,
    /// When it was recorded, in milliseconds since 1970. Of two rows with the same time, the one
    /// with the later line counts as the later.
    pub at_ms: i64,
    /// The number of rows that it was made from.
    pub rows: u64,
}

impl ClosingStock {
    /// `rule`: what several rows of one figure mean; `None`: they are a fault.
    pub fn new(rule: Option<SameDay>) -> Self {
        ClosingStock { rule, days: BTreeMap::new(), merged: 0, has_times: false }
    }

    /// Adds a row. Rows come in the order of their lines. The error about a second row names the
    /// line of the first; it is the rest of a sentence about the figure.
    pub fn add(
        &mut self,
        facility_id: Uuid,
        date: Date,
        blood_type: BloodType,
        new: Figure,
    ) -> Result<(), String> {
        let known = match self.days.entry(Key { facility_id, date }).or_default().entry(blood_type)
        {
            Entry::Vacant(place) => {
                place.insert(new);
                return Ok(());
            }
            Entry::Occupied(known) => known.into_mut(),
        };
        let units = match self.rule {
            None => {
                return Err(format!(
                    "is a second figure of this facility, day and blood type: line {} says {}. If \
                     both are right, import the whole file with --same-day sum, last or highest",
                    known.line, known.units
                ));
            }
            Some(SameDay::Sum) => known.units.saturating_add(new.units),
            Some(SameDay::Highest) => known.units.max(new.units),
            Some(SameDay::Last) if new.at_ms >= known.at_ms => new.units,
            Some(SameDay::Last) => known.units,
        };
        self.merged += u64::from(known.rows == 1);
        *known = Figure {
            units,
            line: known.line,
            at_ms: known.at_ms.max(new.at_ms),
            rows: known.rows + 1,
        };
        Ok(())
    }

    /// The number of days that are left.
    pub fn len(&self) -> usize {
        self.days.len()
    }

    /// Removes whole days with about that many figures, and returns them with the number of rows
    /// that they were made from. Empty when no day is left.
    pub fn take(&mut self, figures: u64) -> (Vec<ClosedStock>, u64) {
        let (mut taken, mut rows, mut count) = (Vec::new(), 0, 0);
        while count < figures
            && let Some((Key { facility_id, date }, of_day)) = self.days.pop_first()
        {
            count += of_day.len() as u64;
            rows += of_day.values().map(|figure| figure.rows).sum::<u64>();
            let by_blood_type =
                of_day.into_iter().map(|(blood_type, figure)| (blood_type, figure.units)).collect();
            taken.push(ClosedStock { facility_id, date, by_blood_type });
        }
        (taken, rows)
    }

    /// What was done with figures of several rows, as a sentence; `None` when there was none.
    pub fn merged_in_words(&self) -> Option<String> {
        let how = match self.rule? {
            SameDay::Sum => "their rows were added up",
            SameDay::Highest => "the highest counts",
            SameDay::Last if self.has_times => "the last by its time counts",
            SameDay::Last => "the last in the file counts, as no row has a time",
        };
        (self.merged > 0).then(|| {
            let figures = counted(self.merged, "figure", "figures");
            format!("{figures} of a facility, day and blood type from several rows: {how}")
        })
    }
}

#[cfg(test)]
#[path = "stock_tests.rs"]
mod tests;
