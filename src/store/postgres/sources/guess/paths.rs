//! The way from a table to the facility of its rows, along references: each row has one facility at
//! most.

use super::{
    catalogue::{Catalogue, Reference},
    from::Step,
    vocabulary::{NOT_THE_PLACE, WHERE_FROM, WHERE_TO},
    words::has,
};

/// A way to the facility.
#[derive(Debug, Clone)]
pub struct Way {
    pub steps: Vec<Step>,
    /// The less, the likelier that it is the facility that a figure is about.
    pub cost: i32,
}

/// Whose facility a way is to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// That which has something, or has asked.
    Place,
    /// That which gets something.
    Receiver,
}

const MOST_STEPS: usize = 5;
const STEP: i32 = 10;

fn cost(catalogue: &Catalogue, table: usize, reference: &Reference, end: End) -> i32 {
    let own = &catalogue.tables[table];
    let mut cost = STEP;
    for column in &reference.columns {
        let column = &own.columns[*column];
        if has(&column.words, NOT_THE_PLACE) {
            cost += 30;
        }
        if has(&column.words, WHERE_FROM) {
            cost += 15;
        }
        if has(&column.words, WHERE_TO) && end == End::Receiver {
            cost -= 4;
        }
        cost += if column.not_null { 0 } else { 2 };
    }
    if has(&catalogue.tables[reference.target].subject, NOT_THE_PLACE) {
        cost += 30;
    }
    cost + if reference.is_declared { 0 } else { 3 }
}

/// All ways from a table to the facilities that begin with different references, the likeliest
/// first.
pub fn ways(catalogue: &Catalogue, from: usize, facilities: usize, end: End) -> Vec<Way> {
    let least = least_costs(catalogue, facilities, end);
    let mut ways: Vec<Way> = catalogue.tables[from]
        .references
        .iter()
        .enumerate()
        .filter_map(|(nth, reference)| {
            let mut way = Way {
                steps: vec![Step { table: from, reference: nth }],
                cost: cost(catalogue, from, reference, end),
            };
            let mut at = reference.target;
            while at != facilities {
                let (cost, step) = least[at]?;
                way.cost += if way.steps.len() == 1 { cost } else { 0 };
                way.steps.push(step);
                at = catalogue.tables[at].references[step.reference].target;
                // A table that leads back to where the way began says nothing of its own.
                if at == from || way.steps.len() > MOST_STEPS {
                    return None;
                }
            }
            Some(way)
        })
        .collect();
    ways.sort_by_key(|way| way.cost);
    ways
}

/// For each table the least cost of a way to the facilities, and its first step.
fn least_costs(catalogue: &Catalogue, facilities: usize, end: End) -> Vec<Option<(i32, Step)>> {
    let mut least: Vec<Option<(i32, Step)>> = vec![None; catalogue.tables.len()];
    for _ in 0..MOST_STEPS {
        let known = least.clone();
        for (table, place) in least.iter_mut().enumerate().filter(|(at, _)| *at != facilities) {
            for (nth, reference) in catalogue.tables[table].references.iter().enumerate() {
                let rest = match known[reference.target] {
                    _ if reference.target == facilities => Some(0),
                    Some((cost, _)) if reference.target != table => Some(cost),
                    _ => None,
                };
                let Some(rest) = rest else { continue };
                let all = rest + cost(catalogue, table, reference, end);
                if place.is_none_or(|(cost, _)| all < cost) {
                    *place = Some((all, Step { table, reference: nth }));
                }
            }
        }
    }
    least
}
