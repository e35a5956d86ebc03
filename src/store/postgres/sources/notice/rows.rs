//! Parts of the trigger functions: what is noted of rows, and what MERGE moves unseen.

use super::{functions::EQ, plan::NotedColumn};
use crate::store::postgres::home::quoted;

/// The noted columns of a row, as `c0, c1 … at`.
pub(super) fn values(
    row: &str,
    columns: &[NotedColumn],
    at: &Option<(String, &'static str)>,
) -> String {
    let columns = columns
        .iter()
        .enumerate()
        .map(|(nth, column)| format!("{} AS c{nth}", compared(column, &format!("{row}."))));
    let at =
        at.iter().map(|(column, of)| format!("{row}.{}::pg_catalog.{of} AS at", quoted(column)));
    columns.chain(at).collect::<Vec<_>>().join(", ")
}

/// The column behind this prefix: its value, or its text, by whose bytes texts are compared.
pub(super) fn compared(column: &NotedColumn, prefix: &str) -> String {
    let as_text = if column.as_text { "::pg_catalog.text COLLATE pg_catalog.\"C\"" } else { "" };
    format!("{prefix}{}{as_text}", quoted(&column.name))
}

/// The distinct rows of `v`; with a time, the first and the last one of each day.
pub(super) fn distinct(rows: &str, columns: usize, at: &Option<(String, &'static str)>) -> String {
    let names = named(columns);
    match at {
        Some((_, of)) => format!(
            "SELECT {names}, pg_catalog.min(v.at) AS first, pg_catalog.max(v.at) AS last FROM \
             ({rows}) AS v WHERE {} GROUP BY {names}, {}",
            within(of),
            day(of)
        ),
        None => format!("SELECT DISTINCT {names} FROM ({rows}) AS v"),
    }
}

/// The begin of the instant's day.
pub(super) fn day(of: &str) -> String {
    format!("pg_catalog.date_bin('1 day', v.at, 'epoch'::pg_catalog.{of})")
}

/// The condition that an instant lies in a day that answers can name.
pub(super) fn within(of: &str) -> String {
    format!(
        "v.at OPERATOR(pg_catalog.>=) '0002-01-01 BC+00'::pg_catalog.{of} AND v.at \
         OPERATOR(pg_catalog.<) '10001-01-01+00'::pg_catalog.{of}"
    )
}

pub(super) fn named(columns: usize) -> String {
    (0..columns).map(|nth| format!("v.c{nth}")).collect::<Vec<_>>().join(", ")
}

/// What an update of a table with partitions does. Rows that MERGE moves between them are in no
/// transition table, and its trigger is that of an update: every facility counts, unless it is sure
/// that the statement is another one. Its text is that of the client, or the first line of the
/// frame below this function's; EXECUTE, and functions in SQL, do not show it: the frame of such a
/// function has its name, which may be any. (In another language of messages every frame counts as
/// one of those.)
///
/// (No backslash: a session may take it for an escape.)
pub(super) fn unless_merged(update: &str, all: &str) -> String {
    let is =
        |of: &str, words: &str| format!("{of} OPERATOR(pg_catalog.~*) '[[:<:]]{words}[[:>:]]'");
    let next = "pg_catalog.strpos(calls, pg_catalog.chr(10))";
    let outer = format!("pg_catalog.substr(calls, {next})");
    let frame = "pg_catalog.split_part(calls, pg_catalog.chr(10), 2)";
    let is_statement = format!("pg_catalog.starts_with({frame}, 'SQL statement \"')");
    format!(
        "
            GET DIAGNOSTICS calls = PG_CONTEXT;
            IF coalesce(CASE WHEN {next} {EQ} 0 THEN {} ELSE {} OR NOT ({} AND \
         {is_statement}) END, true) THEN{all}
            ELSE{update}
            END IF;",
        is("pg_catalog.current_query()", "(merge|execute)"),
        is(&outer, "merge"),
        is(frame, "update"),
    )
}
