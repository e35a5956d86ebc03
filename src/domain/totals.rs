//! Sums over the summaries of many facilities, kept up to date by single differences.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    blood_type::BloodType,
    summary::{Figures, Summary},
};

/// Sums over facilities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default, utoipa::ToSchema)]
pub struct Totals {
    /// How many facilities the sums are of.
    pub facilities: usize,
    /// Units in stock; a null stock counts as 0.
    pub total_stock: i64,
    /// Units delivered on the day.
    pub total_transferred: i64,
    /// Requests made on the day.
    pub total_requests: i64,
    /// The sums by blood type; `fields=totals` leaves them out.
    #[schema(required = false, value_type = std::collections::HashMap<String, Figures>)]
    pub by_blood_type: BTreeMap<BloodType, Figures>,
}

/// One of the three figures of a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    Stock,
    Transferred,
    Requests,
}

impl Figure {
    /// All three, in the order of a summary.
    pub const ALL: [Figure; 3] = [Figure::Stock, Figure::Transferred, Figure::Requests];

    /// The name of the figure in queries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Figure::Stock => "stock",
            Figure::Transferred => "transferred",
            Figure::Requests => "requests",
        }
    }
}

/// The figures of one blood type. Whether its stock is known is said once for the whole summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OfType {
    blood_type: BloodType,
    figures: [i64; 3],
}

/// The figures of a summary in a form that takes little room: a view holds one for each facility.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactFigures {
    has_stock: bool,
    totals: [i64; 3],
    types: Box<[OfType]>,
}

impl From<&Summary> for CompactFigures {
    fn from(summary: &Summary) -> Self {
        let of_type = |(blood_type, figures): (&BloodType, &Figures)| OfType {
            blood_type: *blood_type,
            figures: [figures.stock.unwrap_or(0), figures.transferred, figures.requests],
        };
        CompactFigures {
            has_stock: summary.total_stock.is_some(),
            totals: [
                summary.total_stock.unwrap_or(0),
                summary.total_transferred,
                summary.total_requests,
            ],
            types: summary.by_blood_type.iter().map(of_type).collect(),
        }
    }
}

impl CompactFigures {
    /// The place of the facility in the order of a figure. An unknown stock comes before 0.
    pub fn rank(&self, figure: Figure) -> i64 {
        match figure {
            Figure::Stock if !self.has_stock => -1,
            figure => self.totals[figure as usize],
        }
    }

    /// A figure of the whole, or of one blood type; `None` for a stock that is not known. A type
    /// that does not occur has 0.
    pub fn figure(&self, figure: Figure, blood_type: Option<BloodType>) -> Option<i64> {
        let is_known = figure != Figure::Stock || self.has_stock;
        is_known.then(|| match blood_type {
            None => self.totals[figure as usize],
            Some(blood_type) => {
                self.of_type(blood_type).map_or(0, |of| of.figures[figure as usize])
            }
        })
    }

    /// The figures of a type, as a summary shows them; `None` where the type does not occur.
    pub fn shown(&self, blood_type: BloodType) -> Option<Figures> {
        self.of_type(blood_type).map(|of| Figures {
            stock: self.has_stock.then_some(of.figures[0]),
            transferred: of.figures[1],
            requests: of.figures[2],
        })
    }

    /// The bytes of the figures by blood type.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.types)
    }

    fn of_type(&self, blood_type: BloodType) -> Option<&OfType> {
        self.types.iter().find(|of| of.blood_type == blood_type)
    }
}

/// The number of blood types, `unknown` included.
const TYPES: usize = BloodType::NAMED.len() + 1;

/// Sums that a facility's figures can be added to and taken out of again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunningTotals {
    facilities: usize,
    totals: [i128; 3],
    /// For each type: in how many facilities it occurs, and its sums.
    types: [(usize, [i128; 3]); TYPES],
}

impl RunningTotals {
    /// Adds the figures of a facility.
    pub fn add(&mut self, figures: &CompactFigures) {
        self.facilities += 1;
        self.count(figures, 1);
        for of in &figures.types {
            self.types[of.blood_type as usize].0 += 1;
        }
    }

    /// Takes out figures that were added before.
    pub fn take_out(&mut self, figures: &CompactFigures) {
        self.facilities -= 1;
        self.count(figures, -1);
        for of in &figures.types {
            self.types[of.blood_type as usize].0 -= 1;
        }
    }

    fn count(&mut self, figures: &CompactFigures, sign: i128) {
        let add = |sums: &mut [i128; 3], figures: &[i64; 3]| {
            sums.iter_mut()
                .zip(figures)
                .for_each(|(sum, figure)| *sum += sign * i128::from(*figure));
        };
        add(&mut self.totals, &figures.totals);
        for of in &figures.types {
            add(&mut self.types[of.blood_type as usize].1, &of.figures);
        }
    }

    /// The sums as answers show them. A sum that no 64 bits hold is shown as the nearest that they
    /// do.
    pub fn totals(&self) -> Totals {
        let shown =
            |sum: i128| i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX });
        let of_type = |blood_type: BloodType| {
            let (facilities, sums) = &self.types[blood_type as usize];
            let figures = Figures {
                stock: Some(shown(sums[0])),
                transferred: shown(sums[1]),
                requests: shown(sums[2]),
            };
            (*facilities > 0).then_some((blood_type, figures))
        };
        Totals {
            facilities: self.facilities,
            total_stock: shown(self.totals[0]),
            total_transferred: shown(self.totals[1]),
            total_requests: shown(self.totals[2]),
            by_blood_type: BloodType::NAMED
                .into_iter()
                .chain([BloodType::Unknown])
                .filter_map(of_type)
                .collect(),
        }
    }
}
