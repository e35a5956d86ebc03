//! Sums over the summaries of many facilities, kept up to date by single differences.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    blood_type::BloodType,
    summary::{Figures, KnownFigures, ShownFigures, Summary},
};

/// Sums over facilities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default, utoipa::ToSchema)]
pub struct Totals {
    /// How many facilities there are, those that cannot be counted included.
    pub facilities: usize,
    /// Units in stock; a null stock of a past day counts as 0.
    pub total_stock: Option<i64>,
    /// Units delivered on the day.
    pub total_transferred: Option<i64>,
    /// Requests made on the day.
    pub total_requests: Option<i64>,
    /// The sums by blood type; `fields=totals` leaves them out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = std::collections::HashMap<String, ShownFigures>)]
    pub by_blood_type: Option<BTreeMap<BloodType, ShownFigures>>,
    /// The facilities whose figures are missing in the sums; left out where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub cannot_be_counted: Option<Uncounted>,
}

/// Facilities without figures, since an expression of the mapping fails on a row of their day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = CannotBeCounted)]
pub struct Uncounted {
    /// How many. `below` and `above` leave them out of the list and count them here, as their
    /// figures are not known.
    pub facilities: usize,
    /// Where they are named, with the list of the mapping and what the server says.
    #[schema(value_type = String, example = "source_days in /health/ready")]
    pub see: &'static str,
}

impl Uncounted {
    /// `None` where there are none.
    pub fn of(facilities: usize) -> Option<Self> {
        (facilities > 0).then_some(Uncounted { facilities, see: "source_days in /health/ready" })
    }
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
    known: KnownFigures,
    /// The day cannot be counted.
    pub is_uncounted: bool,
    totals: [i64; 3],
    types: Box<[OfType]>,
}

impl CompactFigures {
    /// The figures of this summary; `known` says which ones the sources have.
    pub fn of(summary: &Summary, known: KnownFigures) -> Self {
        let of_type = |(blood_type, figures): (&BloodType, &Figures)| OfType {
            blood_type: *blood_type,
            figures: [figures.stock.unwrap_or(0), figures.transferred, figures.requests],
        };
        CompactFigures {
            known: KnownFigures { stock: known.stock && summary.total_stock.is_some(), ..known },
            is_uncounted: false,
            totals: [
                summary.total_stock.unwrap_or(0),
                summary.total_transferred,
                summary.total_requests,
            ],
            types: summary.by_blood_type.iter().map(of_type).collect(),
        }
    }

    /// Those of a day that cannot be counted: none is known.
    pub fn uncounted() -> Self {
        CompactFigures {
            known: KnownFigures::NONE,
            is_uncounted: true,
            totals: [0; 3],
            types: Box::default(),
        }
    }

    fn knows(&self, figure: Figure) -> bool {
        match figure {
            Figure::Stock => self.known.stock,
            Figure::Transferred => self.known.transferred,
            Figure::Requests => self.known.requests,
        }
    }

    /// The place of the facility in the order of a figure. One that is not known comes before 0.
    pub fn rank(&self, figure: Figure) -> i64 {
        if self.knows(figure) { self.totals[figure as usize] } else { -1 }
    }

    /// A figure of the whole, or of one blood type; `None` where it is not known. A type that does
    /// not occur has 0.
    pub fn figure(&self, figure: Figure, blood_type: Option<BloodType>) -> Option<i64> {
        self.knows(figure).then(|| match blood_type {
            None => self.totals[figure as usize],
            Some(blood_type) => {
                self.of_type(blood_type).map_or(0, |of| of.figures[figure as usize])
            }
        })
    }

    /// The figures of a type, as a summary shows them; `None` where the type does not occur.
    pub fn shown(&self, blood_type: BloodType) -> Option<ShownFigures> {
        self.of_type(blood_type).map(|of| {
            let [stock, transferred, requests] = of.figures;
            ShownFigures::of(&Figures { stock: Some(stock), transferred, requests }, self.known)
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
    /// Those of them that cannot be counted.
    uncounted: usize,
    totals: [i128; 3],
    /// For each type: in how many facilities it occurs, and its sums.
    types: [(usize, [i128; 3]); TYPES],
}

impl RunningTotals {
    /// Adds the figures of a facility.
    pub fn add(&mut self, figures: &CompactFigures) {
        self.facilities += 1;
        self.uncounted += usize::from(figures.is_uncounted);
        self.count(figures, 1);
        for of in &figures.types {
            self.types[of.blood_type as usize].0 += 1;
        }
    }

    /// Takes out figures that were added before.
    pub fn take_out(&mut self, figures: &CompactFigures) {
        self.facilities -= 1;
        self.uncounted -= usize::from(figures.is_uncounted);
        self.count(figures, -1);
        for of in &figures.types {
            self.types[of.blood_type as usize].0 -= 1;
        }
    }

    /// Counts a facility that a bound leaves out, as its figures are not known.
    pub fn leave_out_uncounted(&mut self) {
        self.uncounted += 1;
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
    /// do; `known` says which figures the sources have.
    pub fn totals(&self, known: KnownFigures) -> Totals {
        let shown =
            |sum: i128| i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX });
        let of = |[stock, transferred, requests]: &[i128; 3]| {
            let figures = Figures {
                stock: Some(shown(*stock)),
                transferred: shown(*transferred),
                requests: shown(*requests),
            };
            ShownFigures::of(&figures, known)
        };
        let of_type = |blood_type: BloodType| {
            let (facilities, sums) = &self.types[blood_type as usize];
            (*facilities > 0).then(|| (blood_type, of(sums)))
        };
        let all = of(&self.totals);
        Totals {
            facilities: self.facilities,
            total_stock: all.stock,
            total_transferred: all.transferred,
            total_requests: all.requests,
            by_blood_type: Some(
                BloodType::NAMED
                    .into_iter()
                    .chain([BloodType::Unknown])
                    .filter_map(of_type)
                    .collect(),
            ),
            cannot_be_counted: Uncounted::of(self.uncounted),
        }
    }
}
