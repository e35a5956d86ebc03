//! What a reader of the day of all facilities asks for: which facilities, in which order, and how
//! much of each. And where a page begins.

use std::{cmp::Ordering, collections::HashSet, fmt, sync::Arc};

use uuid::Uuid;

use crate::domain::{
    blood_type::BloodType,
    totals::{CompactFigures, Figure},
};

/// The orders of a page; with `-` the greatest comes first.
pub const SORTS: [&str; 8] = [
    "name",
    "-name",
    "total_stock",
    "-total_stock",
    "total_transferred",
    "-total_transferred",
    "total_requests",
    "-total_requests",
];

/// One of [`SORTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sort {
    /// The figure that decides; `None`: the name does.
    pub by: Option<Figure>,
    /// The greatest comes first. Facilities with equal figures stay in the order of names.
    pub descending: bool,
}

impl Sort {
    /// The order of that name.
    pub fn named(name: &str) -> Option<Self> {
        SORTS.iter().position(|sort| *sort == name).and_then(Self::at)
    }

    fn at(place: usize) -> Option<Self> {
        let by = match place / 2 {
            0 => None,
            figure => Some(*Figure::ALL.get(figure - 1)?),
        };
        Some(Sort { by, descending: place % 2 == 1 })
    }

    /// The place of the order in [`SORTS`].
    pub fn index(self) -> usize {
        self.by.map_or(0, |figure| 2 * (figure as usize + 1)) + usize::from(self.descending)
    }

    /// Compares two places as this order has them.
    pub(super) fn compare(self, one: &Place, other: &Place) -> Ordering {
        match (self.by, self.descending) {
            (None, false) => one.named.cmp(&other.named),
            (None, true) => other.named.cmp(&one.named),
            (Some(_), false) => one.cmp(other),
            (Some(_), true) => {
                other.figure.cmp(&one.figure).then_with(|| one.named.cmp(&other.named))
            }
        }
    }
}

/// A facility as the orders know it. Ordered by name, then id.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub name: String,
    pub id: Uuid,
}

/// A place in an order of a figure; by name, the figure is 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub figure: i64,
    pub named: Arc<Named>,
}

/// A bound on a figure. Facilities whose figure is not known pass no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The figure; that of the query's blood type, where it names one.
    pub figure: Figure,
    /// The value that the figure must be below, or above.
    pub value: i64,
}

/// A query for a page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DayQuery {
    /// The most facilities of the page.
    pub limit: usize,
    /// Where the page begins; `None` for the first page.
    pub cursor: Option<DayCursor>,
    /// The order.
    pub sort: Sort,
    /// A text that the names must contain, in the form of `names::sought`.
    pub name: Option<String>,
    /// Only these facilities.
    pub facilities: Option<HashSet<Uuid>>,
    /// The reader may see no others than these `facilities`: the version of the day is made of them
    /// alone, so that it does not tell when others change.
    pub has_own_version: bool,
    /// Only the figures of this type are shown, and bounds are on them.
    pub blood_type: Option<BloodType>,
    /// Only facilities whose figure is below this.
    pub below: Option<Bound>,
    /// Only facilities whose figure is above this.
    pub above: Option<Bound>,
    /// The figures by blood type are left out.
    pub without_types: bool,
}

impl DayQuery {
    /// Whether the query leaves out facilities.
    pub(super) fn selects(&self) -> bool {
        self.name.is_some()
            || self.facilities.is_some()
            || self.below.is_some()
            || self.above.is_some()
    }

    /// Whether a facility with this searchable name is asked for, whatever its figures.
    pub(super) fn names(&self, id: &Uuid, sought: &str) -> bool {
        self.facilities.as_ref().is_none_or(|ids| ids.contains(id))
            && self.name.as_ref().is_none_or(|part| sought.contains(part.as_str()))
    }

    /// Whether a facility with this searchable name and these figures is asked for.
    pub(super) fn takes(&self, id: &Uuid, sought: &str, figures: &CompactFigures) -> bool {
        let is_of = |bound: Option<Bound>, side: Ordering| {
            bound.is_none_or(|bound| {
                figures
                    .figure(bound.figure, self.blood_type)
                    .is_some_and(|figure| figure.cmp(&bound.value) == side)
            })
        };
        is_of(self.below, Ordering::Less)
            && is_of(self.above, Ordering::Greater)
            && self.names(id, sought)
    }
}

/// Where a page begins. Clients treat the text as opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DayCursor {
    /// A place in an order of one version of the day.
    At {
        /// The version of the day in whose order the pages are.
        version: u64,
        /// The order.
        sort: Sort,
        /// The figure that the facility had in that version; 0 in an order by name.
        figure: i64,
        /// The first facility of the page. It may have changed, or be gone.
        id: Uuid,
        /// Its name.
        name: String,
    },
    /// The first facility of the page, in today's order: as release 0.2 and before wrote it.
    From(Uuid),
}

impl DayCursor {
    /// Reads a text that `Display` wrote, or the id that earlier releases wrote; `None` for any
    /// other.
    pub fn read(text: &str) -> Option<Self> {
        if text.len() == 36 {
            return Uuid::try_parse(text).ok().map(DayCursor::From);
        }
        let is_lower_hex =
            |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !text.is_ascii() || !is_lower_hex(text) {
            return None;
        }
        let (sort, rest) = text.split_at_checked(1)?;
        let (version, rest) = rest.split_at_checked(16)?;
        let (figure, rest) = rest.split_at_checked(16)?;
        let (id, name) = rest.split_at_checked(32)?;
        let byte = |at: usize| u8::from_str_radix(name.get(at..at + 2)?, 16).ok();
        let name = (0..name.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?;
        Some(DayCursor::At {
            version: u64::from_str_radix(version, 16).ok()?,
            sort: Sort::at(usize::from_str_radix(sort, 16).ok()?)?,
            figure: u64::from_str_radix(figure, 16).ok()?.cast_signed(),
            id: Uuid::try_parse(id).ok()?,
            name: String::from_utf8(name).ok()?,
        })
    }

    /// Whether the cursor belongs to this order.
    pub fn is_of(&self, asked: Sort) -> bool {
        match self {
            DayCursor::At { sort, .. } => *sort == asked,
            DayCursor::From(_) => true,
        }
    }
}

impl fmt::Display for DayCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DayCursor::From(id) => write!(f, "{id}"),
            DayCursor::At { version, sort, figure, id, name } => {
                let (sort, id) = (sort.index(), id.simple());
                write!(f, "{sort:x}{version:016x}{:016x}{id}", figure.cast_unsigned())?;
                name.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_in_no_other_way() {
        let cursor = DayCursor::At {
            version: 7,
            sort: Sort::named("-total_stock").unwrap(),
            figure: -1,
            id: Uuid::from_u128(9),
            name: "Łódź 2".into(),
        };
        let text = cursor.to_string();
        assert_eq!(DayCursor::read(&text), Some(cursor));
        for wrong in [
            text.to_uppercase(),
            text[..64].to_owned(),
            format!("{text}+1"),
            format!("{text}f"),
            format!("{text}ff"),
            format!("9{}", &text[1..]),
            format!("ż{}", &text[1..]),
        ] {
            assert_eq!(DayCursor::read(&wrong), None, "{wrong}");
        }
        let id = Uuid::from_u128(3);
        assert_eq!(DayCursor::read(&id.to_string()), Some(DayCursor::From(id)));
    }

    #[test]
    fn each_order_has_its_name() {
        for (at, name) in SORTS.iter().enumerate() {
            assert_eq!(Sort::named(name).map(Sort::index), Some(at), "{name}");
        }
        assert_eq!(Sort::named("size"), None);
        assert_eq!(Sort::at(8), None);
    }
}
