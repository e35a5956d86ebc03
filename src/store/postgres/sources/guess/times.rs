//! What the time of a row is: which column, and what its value stands for.

use super::{
    catalogue::{Column, Kind, Table},
    draft::Source,
    vocabulary::Words,
    words::{has, weight},
};

/// The likeliest of a table's times, with its weight.
pub fn best(table: &Table, words: Words) -> Option<(i32, usize)> {
    let times = table.columns.iter().enumerate().filter(|(_, column)| column.is_time());
    let weighed = times.map(|(at, column)| (weight(&column.words, words), std::cmp::Reverse(at)));
    weighed.max().filter(|(weight, _)| *weight >= 0).map(|(weight, at)| (weight, at.0))
}

/// Writes down what the value of a time stands for. `key` is `at_as` or `expires_as`.
pub fn write_kind(column: &Column, source: &mut Source, key: &'static str) {
    match column.kind {
        Kind::Date => {
            source.key(key, "date");
        }
        Kind::Naive => ask_zone(column, source, key),
        _ => {}
    }
}

/// Writes down in which zone a time without one is.
pub fn ask_zone(column: &Column, source: &mut Source, key: &'static str) {
    let preset = column.preset.as_deref().unwrap_or_default().to_lowercase();
    let is_utc = has(&column.words, &["utc", "gmt"])
        || ["'utc'", "'gmt'", "'etc/utc'"].iter().any(|zone| preset.contains(zone));
    if is_utc {
        source.key(key, "utc");
        return;
    }
    source.key(key, "local").ask(format!(
        "{} has no zone: is it the facility's own time (local), utc, or that of one zone (its IANA \
         name)?",
        column.name
    ));
}
