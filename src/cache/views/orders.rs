//! The orders of a day's facilities: by name and by each figure. A change moves one facility in
//! each; nothing is ever sorted for a reader.

use std::{cmp::Ordering, collections::BTreeSet, ops::Bound, sync::Arc};

use uuid::Uuid;

use super::query::{Named, Place, Sort};
use crate::domain::totals::{CompactFigures, Figure};

/// All orders. By name are all facilities, by figure those that have figures.
#[derive(Debug, Default)]
pub(super) struct Orders {
    by_name: BTreeSet<Arc<Named>>,
    by_figure: [BTreeSet<Place>; 3],
}

impl Orders {
    pub fn add_name(&mut self, named: &Arc<Named>) {
        self.by_name.insert(named.clone());
    }

    pub fn remove_name(&mut self, named: &Arc<Named>) {
        self.by_name.remove(named);
    }

    pub fn add_figures(&mut self, named: &Arc<Named>, figures: &CompactFigures) {
        for figure in Figure::ALL {
            let place = Place { figure: figures.rank(figure), named: named.clone() };
            self.by_figure[figure as usize].insert(place);
        }
    }

    pub fn remove_figures(&mut self, named: &Arc<Named>, figures: &CompactFigures) {
        for figure in Figure::ALL {
            let place = Place { figure: figures.rank(figure), named: named.clone() };
            self.by_figure[figure as usize].remove(&place);
        }
    }

    /// Moves a facility whose figures changed: only in the orders in which its place is another.
    pub fn change(&mut self, named: &Arc<Named>, old: &CompactFigures, new: &CompactFigures) {
        for figure in Figure::ALL.into_iter().filter(|of| old.rank(*of) != new.rank(*of)) {
            let order = &mut self.by_figure[figure as usize];
            order.remove(&Place { figure: old.rank(figure), named: named.clone() });
            order.insert(Place { figure: new.rank(figure), named: named.clone() });
        }
    }

    /// The places from `start` on, in this order; all of them without one.
    pub fn from<'a>(
        &'a self,
        sort: Sort,
        start: Option<&Place>,
    ) -> Box<dyn Iterator<Item = Place> + 'a> {
        let of_name = |named: &Arc<Named>| Place { figure: 0, named: named.clone() };
        let from =
            |start: Option<&Place>| start.map_or(Bound::Unbounded, |s| Bound::Included(s.clone()));
        let from_name =
            |s: Option<&Place>| s.map_or(Bound::Unbounded, |s| Bound::Included(s.named.clone()));
        match (sort.by, sort.descending) {
            (None, false) => {
                Box::new(self.by_name.range((from_name(start), Bound::Unbounded)).map(of_name))
            }
            (None, true) => Box::new(
                self.by_name.range((Bound::Unbounded, from_name(start))).rev().map(of_name),
            ),
            (Some(by), false) => Box::new(
                self.by_figure[by as usize].range((from(start), Bound::Unbounded)).cloned(),
            ),
            (Some(by), true) => Box::new(greatest_first(&self.by_figure[by as usize], start)),
        }
    }
}

/// The greatest figure first, and those of one figure by name.
fn greatest_first<'a>(
    order: &'a BTreeSet<Place>,
    start: Option<&Place>,
) -> impl Iterator<Item = Place> + 'a {
    // Comes before every name; it is in no order.
    let first = Arc::new(Named { name: String::new(), id: Uuid::nil() });
    let begin = match start {
        Some(start) => Some(start.clone()),
        None => order.last().map(|last| Place { figure: last.figure, named: first.clone() }),
    };
    let mut group = begin.map(|begin| {
        let figure = begin.figure;
        (figure, order.range((Bound::Included(begin), Bound::Unbounded)))
    });
    std::iter::from_fn(move || {
        loop {
            let (figure, places) = group.as_mut()?;
            if let Some(place) = places.next().filter(|place| place.figure == *figure) {
                return Some(place.clone());
            }
            let here = Place { figure: *figure, named: first.clone() };
            group =
                order.range((Bound::Unbounded, Bound::Excluded(here))).next_back().map(|next| {
                    let begin = Place { figure: next.figure, named: first.clone() };
                    (next.figure, order.range((Bound::Included(begin), Bound::Unbounded)))
                });
        }
    })
}

/// Two sequences in one order, merged.
pub(super) fn merged(
    sort: Sort,
    one: impl Iterator<Item = Place>,
    other: impl Iterator<Item = Place>,
) -> impl Iterator<Item = Place> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(a), Some(b)) if sort.compare(a, b) == Ordering::Greater => other.next(),
        (Some(_), _) => one.next(),
        (None, _) => other.next(),
    })
}
