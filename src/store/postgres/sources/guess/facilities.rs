//! Which table holds the facilities.

use super::{
    catalogue::{Catalogue, Column, Kind, Table},
    conditions::{self, is_in, not_gone, values_of},
    draft::{Conditions, Source},
    from::From,
    labels::Meaning,
    vocabulary::{FACILITY, NAME, NO_SOURCE},
    words::{has, weight, weight_of_table},
};

/// The least score of a table that is proposed.
const LEAST: i32 = 9;

/// The tables that may be the facilities, the likeliest first, with their keys.
pub fn candidates(catalogue: &Catalogue) -> Vec<(i32, usize, usize)> {
    let mut found: Vec<(i32, usize, usize)> = catalogue
        .tables
        .iter()
        .enumerate()
        .filter_map(|(at, table)| {
            let named = weight_of_table(&table.subject, FACILITY);
            let key = key(catalogue, at)?;
            let score = named + weight(&table.subject, NO_SOURCE) + evidence(catalogue, at);
            (named > 0 && score >= LEAST).then_some((score, at, key))
        })
        .collect();
    found.sort_by_key(|(score, ..)| std::cmp::Reverse(*score));
    found
}

fn evidence(catalogue: &Catalogue, at: usize) -> i32 {
    let table = &catalogue.tables[at];
    let refers = |other: &&Table| other.references.iter().any(|to| to.target == at);
    let referring = catalogue.tables.iter().filter(refers).count().min(6) as i32;
    let is_inside = table.references.iter().any(|to| {
        weight_of_table(&catalogue.tables[to.target].subject, FACILITY) > 4 && to.target != at
    });
    referring
        + if name(table).is_some() { 3 } else { -3 }
        + if zone(table).is_some() { 4 } else { 0 }
        + if table.rows == 0 { -4 } else { 0 }
        // A part of a facility is less likely than the facility.
        - if is_inside { 3 } else { 0 }
}

/// The column that others refer to, or the primary key.
fn key(catalogue: &Catalogue, at: usize) -> Option<usize> {
    let table = &catalogue.tables[at];
    let references = catalogue.tables.iter().flat_map(|other| &other.references);
    let mut times = vec![0; table.columns.len()];
    for to in references.filter(|to| to.target == at) {
        if let [column] = to.target_columns[..] {
            times[column] += 1;
        }
    }
    let most = times.iter().enumerate().max_by_key(|(at, times)| (**times, std::cmp::Reverse(*at)));
    match (most, &table.primary_key[..]) {
        (Some((column, 1..)), _) => Some(column),
        (_, [column]) => Some(*column),
        _ => table.unique.first().copied(),
    }
}

fn name(table: &Table) -> Option<usize> {
    let columns = table.columns.iter().enumerate().filter(|(_, column)| column.kind == Kind::Text);
    let weighed = columns.map(|(at, column)| {
        let own = column.words.iter().any(|word| table.subject.contains(word));
        let named = weight(&column.words, NAME);
        let weight = named + i32::from(own) + i32::from(column.not_null);
        (if named > 0 { weight } else { 0 }, std::cmp::Reverse(at))
    });
    weighed.max().filter(|(weight, _)| *weight > 0).map(|(_, at)| at.0)
}

fn zone(table: &Table) -> Option<usize> {
    table.columns.iter().position(|column| {
        let is_named = has(&column.words, &["timezone", "tz", "tzname"])
            || column.words.windows(2).any(|two| two == ["time", "zone"]);
        column.kind == Kind::Text && is_named && has_zones(column)
    })
}

fn has_zones(column: &Column) -> bool {
    let Some(values) = column.values.as_ref().filter(|values| !values.seen.is_empty()) else {
        return true;
    };
    let is_zone = |(value, _): &(String, u64)| jiff::tz::TimeZone::get(value).is_ok();
    values.seen.iter().filter(|value| is_zone(value)).count() * 2 > values.seen.len()
}

/// Writes down a table as the facilities. `timezone`: the zone of all, where it is known.
pub fn source(catalogue: &Catalogue, (at, key): (usize, usize), timezone: Option<&str>) -> Source {
    let (table, mut from) = (&catalogue.tables[at], From::new(catalogue, at));
    let mut source = Source::new("facilities");
    let all = catalogue.tables.iter().flat_map(|other| &other.references);
    let refer = all.filter(|to| to.target == at).count();
    source.reasons.push(format!("{}; references to it: {refer}", table.shown()));
    source.reasons.extend(table.comment.iter().map(|comment| format!("its comment: {comment}")));
    source.key("key", from.column(&[], key, false));
    match name(table) {
        Some(name) => {
            source.key("name", from.column(&[], name, false));
        }
        None => {
            let key = format!("{}::text", from.column(&[], key, false));
            source.key("name", key).ask("no column looks like a name: which is it?");
        }
    }
    match (timezone, zone(table)) {
        (Some(zone), _) => {
            source.key("timezone", conditions::literal(zone));
        }
        (None, Some(zone)) => {
            source.key("timezone", from.column(&[], zone, false));
        }
        (None, None) => {
            source.key("timezone", "'UTC'").ask(
                "no column has a time zone: in which are the facilities? 'UTC' is only a \
                 placeholder; write an IANA name such as 'Africa/Accra'",
            );
        }
    }
    let mut conditions = Conditions::default();
    conditions.add(&mut from, &[], not_gone(table));
    conditions.add(&mut from, &[], not_closed(table));
    if let Some(state) = conditions::state(table) {
        let column = &table.columns[state];
        let open = open(column);
        let shown = conditions::shown(column);
        conditions.ask(format!("which {} count as facilities? {shown}", column.name));
        if !open.is_empty() {
            conditions.add(&mut from, &[], vec![(state, String::new(), is_in(&open))]);
        }
    }
    conditions.write(&mut source);
    source.finish(&from);
    source
}

/// The values of a state that mean a facility that works: words, or the letter A beside others.
fn open(column: &Column) -> Vec<String> {
    let words = values_of(column, Meaning::Open);
    let all = column.all_values().unwrap_or_default();
    let are_letters = all.len() > 1 && all.iter().all(|value| value.trim().len() == 1);
    match all.into_iter().find(|value| are_letters && value.eq_ignore_ascii_case("a")) {
        Some(active) if words.is_empty() => vec![active],
        _ => words,
    }
}

fn not_closed(table: &Table) -> Vec<conditions::Condition> {
    const CLOSED: [&str; 6] =
        ["closed", "closing", "closure", "decommissioned", "deactivated", "terminated"];
    let columns = table.columns.iter().enumerate();
    let times = columns.filter(|(_, column)| column.is_time() && has(&column.words, &CLOSED));
    times.map(|(at, _)| (at, String::new(), " IS NULL".into())).collect()
}
