//! Which tables hold the deliveries, and which the requests.

use super::{
    blood_types::{self, Notations},
    catalogue::{Catalogue, Table},
    conditions::{self, is_in, is_not_in, not_gone, values_of},
    draft::{Conditions, Source},
    from::{From, Step},
    labels::Meaning,
    paths::{End, ways},
    stock::{facility, quantity},
    times,
    vocabulary::{DELIVERED_AT, DELIVERY, NO_SOURCE, REQUEST, REQUESTED_AT, Words},
    words::{has, is_of_lines, weight, weight_of_table},
};

/// Deliveries or requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    Delivery,
    Request,
}

/// The least score of a table that is proposed.
const LEAST: i32 = 8;
/// The weight of a time that says by its name that something has arrived.
const ARRIVAL: i32 = 9;

impl Happening {
    fn list(self) -> &'static str {
        match self {
            Happening::Delivery => "deliveries",
            Happening::Request => "requests",
        }
    }

    fn names(self) -> Words {
        match self {
            Happening::Delivery => DELIVERY,
            Happening::Request => REQUEST,
        }
    }

    fn times(self) -> Words {
        match self {
            Happening::Delivery => DELIVERED_AT,
            Happening::Request => REQUESTED_AT,
        }
    }

    fn meaning(self) -> Meaning {
        match self {
            Happening::Delivery => Meaning::Delivery,
            Happening::Request => Meaning::Request,
        }
    }

    fn other(self) -> Happening {
        match self {
            Happening::Delivery => Happening::Request,
            Happening::Request => Happening::Delivery,
        }
    }

    fn end(self) -> End {
        match self {
            Happening::Delivery => End::Receiver,
            Happening::Request => End::Place,
        }
    }
}

/// The tables that may be the deliveries, or the requests, the likeliest first, with their scores.
pub fn candidates(
    catalogue: &Catalogue,
    happening: Happening,
    facilities: usize,
) -> Vec<(i32, usize)> {
    let mut found: Vec<(i32, usize)> = (0..catalogue.tables.len())
        .filter(|at| *at != facilities)
        .filter_map(|at| {
            let score = score(catalogue, happening, at, facilities)?;
            (score >= LEAST).then_some((score, at))
        })
        .collect();
    found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    found
}

fn score(catalogue: &Catalogue, happening: Happening, at: usize, facilities: usize) -> Option<i32> {
    let table = &catalogue.tables[at];
    ways(catalogue, at, facilities, happening.end()).first()?;
    time(catalogue, happening, at)?;
    let named = weight_of_table(&table.subject, happening.names());
    let kinds = of_kinds(table, happening);
    if named + kinds <= 0 {
        return None;
    }
    let has_type = blood_types::find(catalogue, at, facilities).is_some();
    let has_quantity = quantity(table).is_some();
    let lines = of_lines(catalogue, happening, at, has_quantity);
    Some(
        named
            + kinds
            + lines
            + weight(&table.subject, NO_SOURCE)
            + if has_type { 3 } else { 0 }
            + if has_quantity { 1 } else { 0 }
            + if table.rows == 0 { -3 } else { 0 },
    )
}

/// Whether the kinds of a table's rows have what is sought, or only the other.
fn of_kinds(table: &Table, happening: Happening) -> i32 {
    let Some(kind) = conditions::kind(table) else { return 0 };
    let column = &table.columns[kind];
    let is_there = |of: Happening| !values_of(column, of.meaning()).is_empty();
    match (is_there(happening), is_there(happening.other())) {
        (true, _) => 7,
        (false, true) => -9,
        (false, false) => 0,
    }
}

/// Deliveries are counted in units, which the lines have; requests by their heads.
fn of_lines(catalogue: &Catalogue, happening: Happening, at: usize, has_quantity: bool) -> i32 {
    let is_lines = is_of_lines(&catalogue.tables[at].name) && head(catalogue, at).is_some();
    let has_lines = (0..catalogue.tables.len())
        .any(|other| is_of_lines(&catalogue.tables[other].name) && leads(catalogue, other, at));
    match happening {
        Happening::Delivery if is_lines && has_quantity => 3,
        Happening::Delivery if has_lines && !has_quantity => -4,
        Happening::Request if is_lines => -5,
        _ => 0,
    }
}

/// Whether the head of a table of lines is `at`.
fn leads(catalogue: &Catalogue, lines: usize, at: usize) -> bool {
    head(catalogue, lines)
        .is_some_and(|step| catalogue.tables[step.table].references[step.reference].target == at)
}

/// The step from lines to their heads, which have the same subject.
fn head(catalogue: &Catalogue, at: usize) -> Option<Step> {
    let table = &catalogue.tables[at];
    let same = |other: usize| other != at && catalogue.tables[other].subject == table.subject;
    let reference = table.references.iter().position(|to| same(to.target))?;
    is_of_lines(&table.name).then_some(Step { table: at, reference })
}

/// The time of a row: the steps to its table, its column there, and its weight.
fn time(catalogue: &Catalogue, happening: Happening, at: usize) -> Option<(Vec<Step>, usize, i32)> {
    let own = times::best(&catalogue.tables[at], happening.times())
        .map(|(weight, column)| (weight, vec![], column));
    let of_head = head(catalogue, at).and_then(|step| {
        let target = catalogue.tables[step.table].references[step.reference].target;
        let (weight, column) = times::best(&catalogue.tables[target], happening.times())?;
        Some((weight, vec![step], column))
    });
    let best = [own, of_head].into_iter().flatten().max_by_key(|(weight, ..)| *weight)?;
    Some((best.1, best.2, best.0))
}

/// Writes down a table as deliveries, or as requests.
pub fn source(
    catalogue: &Catalogue,
    happening: Happening,
    at: usize,
    facilities: (usize, usize),
    notations: &mut Notations,
) -> Source {
    let (table, mut from) = (&catalogue.tables[at], From::new(catalogue, at));
    let mut source = Source::new(happening.list());
    source.reasons.push(table.shown());
    source.reasons.extend(table.comment.iter().map(|comment| format!("its comment: {comment}")));
    let ways = ways(catalogue, at, facilities.0, happening.end());
    facility(catalogue, &mut source, &mut from, &ways, facilities.1);
    if let Some(found) = blood_types::find(catalogue, at, facilities.0) {
        source.key("blood_type", found.expression(catalogue, &mut from, notations));
    }
    write_quantity(table, happening, &mut source, &mut from);
    let mut conditions = Conditions::default();
    if let Some((steps, column, weight)) = time(catalogue, happening, at) {
        let time = &catalogue.tables[from.table(&steps)].columns[column];
        let key = source.key("at", from.column(&steps, column, false));
        if weight <= 3 {
            key.ask(format!("is {} when it happened? No name says so clearly", time.name));
        }
        times::write_kind(time, &mut source, "at_as");
        let says_arrival = happening == Happening::Delivery && weight >= ARRIVAL;
        write_where(table, happening, (&mut from, &[]), says_arrival, &mut conditions);
        if let Some(step) = head(catalogue, at) {
            let head = &catalogue.tables[from.table(&[step])];
            write_where(head, happening, (&mut from, &[step]), says_arrival, &mut conditions);
        }
    }
    conditions.write(&mut source);
    source.finish(&from);
    source
}

fn write_quantity(table: &Table, happening: Happening, source: &mut Source, from: &mut From) {
    match (quantity(table), happening) {
        (Some(at), Happening::Delivery) => {
            source.key("quantity", from.column(&[], at, false));
        }
        (None, Happening::Delivery) => {
            source.reasons.push("no column has a number of units: each row is one".into());
        }
        (Some(at), Happening::Request) => {
            let question = "rows are counted: if units are to be, use these two lines";
            source.key("quantity", from.column(&[], at, false)).propose().ask(question);
            source.key("count", "quantity").propose();
        }
        (None, Happening::Request) => {}
    }
}

fn write_where(
    table: &Table,
    happening: Happening,
    (from, steps): (&mut From, &[Step]),
    says_arrival: bool,
    conditions: &mut Conditions,
) {
    conditions.add(from, steps, not_gone(table));
    if let Some(kind) = conditions::kind(table) {
        let column = &table.columns[kind];
        let these = values_of(column, happening.meaning());
        let shown = conditions::shown(column);
        let list = happening.list();
        conditions.ask(format!("which values of {} are {list}? {shown}", column.name));
        if !these.is_empty() {
            conditions.add(from, steps, vec![(kind, String::new(), is_in(&these))]);
        }
    }
    let Some(state) = conditions::state(table) else { return };
    let column = &table.columns[state];
    let shown = conditions::shown(column);
    conditions.ask(format!("which values of {} count? {shown}", column.name));
    let (arrived, void) = (values_of(column, Meaning::Arrived), values_of(column, Meaning::Void));
    if happening == Happening::Delivery && !arrived.is_empty() && !says_arrival {
        conditions.add(from, steps, vec![(state, String::new(), is_in(&arrived))]);
    } else if !void.is_empty() && !has(&column.words, &["approval"]) {
        conditions.add(from, steps, vec![(state, String::new(), is_not_in(&void))]);
    }
}
