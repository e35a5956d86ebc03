//! Which tables hold the stock: units, quantities, or a ledger that adds up to it.

use super::{
    blood_types::{self, Notations},
    catalogue::{Catalogue, Column, Kind, Table},
    conditions::{self, is_in, not_gone, not_left, values_of},
    draft::{Conditions, Source},
    from::From,
    labels::Meaning,
    paths::{End, Way, ways},
    times::ask_zone,
    vocabulary::{EXPIRY, LEDGER, NO_SOURCE, QUANTITY, STOCK, Words},
    words::{has, weight, weight_of_table},
};

/// The least score of a table that is proposed.
const LEAST: i32 = 11;

/// How the rows of a ledger tell what adds and what takes.
enum Sign {
    /// A column with 1 and -1.
    Factor(usize),
    /// A column whose values say it.
    Words { column: usize, adds: Vec<String>, takes: Vec<String> },
    /// The quantity itself is below 0.
    Own,
}

/// The tables that may be the stock, the likeliest first, with their scores.
pub fn candidates(catalogue: &Catalogue, facilities: usize) -> Vec<(i32, usize)> {
    let mut found: Vec<(i32, usize)> = (0..catalogue.tables.len())
        .filter(|at| *at != facilities)
        .filter_map(|at| {
            let score = score(catalogue, at, facilities)?;
            (score >= LEAST).then_some((score, at))
        })
        .collect();
    found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    found
}

fn score(catalogue: &Catalogue, at: usize, facilities: usize) -> Option<i32> {
    let table = &catalogue.tables[at];
    let way = ways(catalogue, at, facilities, End::Place).into_iter().next()?;
    let named = weight_of_table(&table.subject, STOCK);
    let as_ledger = weight_of_table(&table.subject, LEDGER);
    let has_type = blood_types::find(catalogue, at, facilities).is_some();
    let expires = expiry(table).is_some();
    let is_ledger = as_ledger >= 8 && quantity(table).is_some() && sign(table).is_some();
    let named = match (named, is_ledger) {
        (_, true) => as_ledger - 2,
        (1.., false) => named,
        // A name of the house's own, on a table that looks like units.
        (0, false) if has_type && expires => 5,
        _ => return None,
    };
    Some(
        named
            + weight(&table.subject, NO_SOURCE)
            + if has_type { 5 } else { 0 }
            + if expires { 4 } else { 0 }
            + if conditions::state(table).is_some() { 2 } else { 0 }
            + if quantity(table).is_some() { 1 } else { 0 }
            + if table.rows == 0 { -4 } else { 0 }
            - if way.cost > 60 { 3 } else { 0 },
    )
}

fn expiry(table: &Table) -> Option<usize> {
    let is_two_words = |column: &Column| {
        let mut pairs = column.words.windows(2);
        column.is_time()
            && pairs.any(|pair| {
                [["use", "by"], ["best", "before"], ["valid", "until"], ["good", "until"]]
                    .iter()
                    .any(|known| pair == known)
            })
    };
    best(table, Column::is_time, EXPIRY).or_else(|| table.columns.iter().position(is_two_words))
}

/// The column with the number of units of a row, which is no key.
pub fn quantity(table: &Table) -> Option<usize> {
    best(table, Column::is_number, QUANTITY)
}

fn best(table: &Table, fits: impl Fn(&Column) -> bool, words: Words) -> Option<usize> {
    let columns = table.columns.iter().enumerate().filter(|(at, column)| {
        let leads_elsewhere = table.references.iter().any(|to| to.columns.contains(at));
        fits(column) && !leads_elsewhere && !table.primary_key.contains(at)
    });
    let weighed = columns.map(|(at, column)| (weight(&column.words, words), std::cmp::Reverse(at)));
    weighed.max().filter(|(weight, _)| *weight > 0).map(|(_, at)| at.0)
}

fn sign(table: &Table) -> Option<Sign> {
    let is_factor = |column: &Column| {
        let values = column.all_values().unwrap_or_default();
        column.is_number()
            && has(&column.words, &["sign", "factor", "direction", "effect", "multiplier"])
            && !values.is_empty()
            && values.iter().all(|value| ["1", "-1", "0"].contains(&value.as_str()))
    };
    if let Some(at) = table.columns.iter().position(is_factor) {
        return Some(Sign::Factor(at));
    }
    let of_words = |at: usize| {
        let column = &table.columns[at];
        let adds = values_of(column, Meaning::Adds);
        let takes = values_of(column, Meaning::Takes);
        let both = !adds.is_empty() && !takes.is_empty();
        both.then_some(Sign::Words { column: at, adds, takes })
    };
    let is_signed = |at: usize| {
        let values = table.columns[at].values.as_ref();
        values.is_some_and(|values| values.seen.iter().any(|(value, _)| value.starts_with('-')))
    };
    match quantity(table) {
        Some(at) if is_signed(at) => Some(Sign::Own),
        _ => conditions::kind(table).and_then(of_words),
    }
}

/// Writes down a table as the stock.
pub fn source(
    catalogue: &Catalogue,
    at: usize,
    facilities: (usize, usize),
    notations: &mut Notations,
) -> Source {
    let (table, mut from) = (&catalogue.tables[at], From::new(catalogue, at));
    let mut source = Source::new("stock");
    source.reasons.push(table.shown());
    source.reasons.extend(table.comment.iter().map(|comment| format!("its comment: {comment}")));
    facility(
        catalogue,
        &mut source,
        &mut from,
        &ways(catalogue, at, facilities.0, End::Place),
        facilities.1,
    );
    match blood_types::find(catalogue, at, facilities.0) {
        Some(found) => {
            source.key("blood_type", found.expression(catalogue, &mut from, notations));
        }
        None => {
            source.key("blood_type", "…").propose().ask("no column has blood types: which is it?");
        }
    }
    let is_ledger = weight_of_table(&table.subject, STOCK) <= 0;
    let sign = sign(table).filter(|_| is_ledger);
    write_quantity(table, sign.as_ref(), &mut source, &mut from);
    if let Some(expiry) = expiry(table).filter(|_| sign.is_none()) {
        write_expiry(&table.columns[expiry], from.column(&[], expiry, false), &mut source);
    }
    write_where(table, sign.is_some(), &mut from).write(&mut source);
    source.finish(&from);
    source
}

/// Writes down which facility a row is of.
pub fn facility(
    catalogue: &Catalogue,
    source: &mut Source,
    from: &mut From,
    ways: &[Way],
    key: usize,
) {
    let Some(first) = ways.first() else { return };
    let facility = from.column(&first.steps, key, false);
    let named = |way: &Way| {
        let step = way.steps[0];
        let table = &catalogue.tables[step.table];
        let names = table.references[step.reference].columns.iter();
        names.map(|at| table.columns[*at].name.clone()).collect::<Vec<_>>().join(", ")
    };
    let others: Vec<String> =
        ways.iter().skip(1).filter(|way| way.cost < first.cost + 20).map(named).collect();
    let key = source.key("facility", facility);
    if !others.is_empty() {
        key.ask(format!(
            "the way goes by {}; is it the right one? Others begin with {}",
            named(first),
            others.join("; ")
        ));
    }
}

fn write_quantity(table: &Table, sign: Option<&Sign>, source: &mut Source, from: &mut From) {
    let Some(at) = quantity(table) else {
        source.reasons.push("no column has a number of units: each row is one".into());
        return;
    };
    let quantity = from.column(&[], at, false);
    match sign {
        Some(Sign::Factor(factor)) => {
            let factor = from.column(&[], *factor, false);
            source.key("quantity", format!("{factor} * {quantity}"));
        }
        Some(Sign::Words { column, adds, takes }) => {
            let kind = from.column(&[], *column, false);
            let text = format!(
                "CASE WHEN {kind}{} THEN {quantity} WHEN {kind}{} THEN -{quantity} ELSE 0 END",
                is_in(adds),
                is_in(takes)
            );
            let shown = conditions::shown(&table.columns[*column]);
            source.key("quantity", text).ask(format!("which add, and which take? {shown}"));
        }
        Some(Sign::Own) | None => {
            source.key("quantity", quantity);
        }
    }
}

fn write_expiry(column: &Column, expires: String, source: &mut Source) {
    source.key("expires", expires);
    match column.kind {
        Kind::Date => {
            source.key("expires_as", "date");
            let question = "may a unit still be used on this day?";
            source.flag("usable_on_expiry_day", true).ask(question);
        }
        Kind::Naive => ask_zone(column, source, "expires_as"),
        _ => {}
    }
}

fn write_where(table: &Table, is_ledger: bool, from: &mut From) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.add(from, &[], not_gone(table));
    if is_ledger {
        return conditions;
    }
    let Some(state) = conditions::state(table) else {
        conditions.add(from, &[], not_left(table));
        return conditions;
    };
    let column = &table.columns[state];
    let shown = conditions::shown(column);
    conditions.ask(format!("which values of {} count as in stock? {shown}", column.name));
    let in_stock = values_of(column, Meaning::InStock);
    if !in_stock.is_empty() {
        conditions.add(from, &[], vec![(state, String::new(), is_in(&in_stock))]);
    }
    conditions
}
