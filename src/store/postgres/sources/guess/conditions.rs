//! Which rows count: columns that say that a row is deleted, what state it is in, what it is about.

use super::{
    catalogue::{Column, Kind, Table},
    labels::{Meaning, meaning},
    vocabulary::{KIND, STATUS},
    words::{has, weight},
};

/// Columns that say that a row is gone.
const GONE: &[&str] = &[
    "deleted",
    "removed",
    "archived",
    "void",
    "voided",
    "cancelled",
    "canceled",
    "inactive",
    "disabled",
    "discontinued",
];
/// Columns that say that a row is not gone.
const THERE: &[&str] = &["active", "enabled"];
/// Columns that say when a unit has left.
const LEFT: &[&str] = &[
    "issued",
    "used",
    "discarded",
    "transfused",
    "dispatched",
    "consumed",
    "disposed",
    "destroyed",
];

/// A condition on one column: what stands before the column's name in SQL, and after it.
pub type Condition = (usize, String, String);

/// The conditions that a row is not deleted.
pub fn not_gone(table: &Table) -> Vec<Condition> {
    let columns = table.columns.iter().enumerate();
    columns.filter_map(|(at, column)| of_flag(column).map(|(a, b)| (at, a, b))).collect()
}

/// The conditions that a unit has not left the stock, where times say so.
pub fn not_left(table: &Table) -> Vec<Condition> {
    let columns = table.columns.iter().enumerate();
    let times = columns
        .filter(|(_, column)| column.is_time() && !column.not_null && has(&column.words, LEFT));
    times.map(|(at, _)| (at, String::new(), " IS NULL".into())).collect()
}

fn of_flag(column: &Column) -> Option<(String, String)> {
    let (gone, there) = (has(&column.words, GONE), has(&column.words, THERE));
    if gone == there || has(&column.words, &["by", "reason", "user", "count"]) {
        return None;
    }
    let (before, after) = match column.kind {
        Kind::Boolean if column.not_null => (if gone { "NOT " } else { "" }, String::new()),
        Kind::Boolean => ("", format!(" IS NOT {}", if gone { "TRUE" } else { "FALSE" })),
        Kind::Date | Kind::Naive | Kind::Instant if gone => ("", " IS NULL".into()),
        Kind::Integer | Kind::Text => ("", of_values(column, gone)?),
        _ => return None,
    };
    Some((before.to_owned(), after))
}

/// The condition on a flag that is a number or a letter.
fn of_values(column: &Column, gone: bool) -> Option<String> {
    let values = column.all_values()?;
    let is_one = |values: &[&str], value: &String| values.contains(&value.to_lowercase().as_str());
    let (yes, no) = (["1", "y", "yes", "t", "true"], ["0", "n", "no", "f", "false"]);
    let are_flags = values.iter().all(|value| is_one(&yes, value) || is_one(&no, value));
    if values.is_empty() || !are_flags {
        return None;
    }
    let is_gone = |value: &&String| is_one(&yes, value) == gone;
    match (column.kind, values.iter().find(is_gone)) {
        (Kind::Integer, _) => Some(format!(" = {}", i32::from(!gone))),
        (_, Some(value)) => Some(format!(" IS DISTINCT FROM {}", literal(value))),
        (_, None) => None,
    }
}

/// The column that says what state a row is in.
pub fn state(table: &Table) -> Option<usize> {
    best(table, |column| weight(&column.words, STATUS))
}

/// The column that says what a row is about.
pub fn kind(table: &Table) -> Option<usize> {
    best(table, |column| weight(&column.words, KIND))
}

fn best(table: &Table, weigh: impl Fn(&Column) -> i32) -> Option<usize> {
    let columns = table.columns.iter().enumerate().filter(|(at, column)| {
        let leads_elsewhere = table.references.iter().any(|to| to.columns.contains(at));
        matches!(column.kind, Kind::Text | Kind::Enum | Kind::Integer) && !leads_elsewhere
    });
    let weighed = columns.map(|(at, column)| (weigh(column), std::cmp::Reverse(at)));
    weighed.max().filter(|(weight, _)| *weight > 0).map(|(_, at)| at.0)
}

/// The values of a column that mean this.
pub fn values_of(column: &Column, what: Meaning) -> Vec<String> {
    column.all_values().map(|values| meaning(&values, what)).unwrap_or_default()
}

/// `IN (…)`, or what takes its place for one value.
pub fn is_in(values: &[String]) -> String {
    let all: Vec<String> = values.iter().map(|value| literal(value)).collect();
    match &all[..] {
        [one] => format!(" = {one}"),
        _ => format!(" IN ({})", all.join(", ")),
    }
}

/// `NOT IN (…)`, or what takes its place for one value.
pub fn is_not_in(values: &[String]) -> String {
    let all: Vec<String> = values.iter().map(|value| literal(value)).collect();
    match &all[..] {
        [one] => format!(" <> {one}"),
        _ => format!(" NOT IN ({})", all.join(", ")),
    }
}

pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The values of a column, for a question about them.
pub fn shown(column: &Column) -> String {
    let seen = column.values.as_ref().map(|values| &values.seen[..]).unwrap_or_default();
    let number = |label: &str| seen.iter().find(|(value, _)| value == label).map_or(0, |(_, n)| *n);
    let values: Vec<(String, u64)> = match column.kind {
        Kind::Enum => column.labels.iter().map(|label| (label.clone(), number(label))).collect(),
        _ => seen.to_vec(),
    };
    let more =
        if column.values.as_ref().is_some_and(|values| values.has_more) { ", …" } else { "" };
    let all: Vec<String> =
        values.iter().map(|(value, number)| format!("{value} ({number})")).collect();
    match all.is_empty() {
        true => "no values could be read".into(),
        false => format!("{}{more}", all.join(", ")),
    }
}
