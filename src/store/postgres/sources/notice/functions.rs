//! The trigger functions on mapped tables. Each notes what a statement touched, in one mark for
//! each list of the mapping. Whatever goes wrong inside, the writer's statement succeeds.
//!
//! A function has the rights of the role that serves, and runs in the writer's session. So each
//! name and operator in it has its schema, and nothing of the writer's is found under it. (`SET
//! search_path` does the same, and costs a single insert as much as the rest.) It waits for no
//! lock.

use std::collections::BTreeSet;

use super::{
    parsed::TableName,
    plan::{FACILITIES, Note},
};
use crate::store::postgres::{home::quoted, sources::figures::literal};

/// The most changed rows that differ in what is noted of them. A statement that touched more marks
/// every facility: to note each would take longer than the statement.
const MOST_NOTED: u32 = 10_000;

/// The end of the names of the triggers on a table, and of their function.
pub(super) fn suffix(table: &TableName) -> String {
    let name = format!("{}.{}", table.schema, table.name);
    format!("{:08x}", xxhash_rust::xxh3::xxh3_64(name.as_bytes()) as u32)
}

/// The body of the function of a table, for our tables in the schema `home`.
pub(super) fn source(home: &str, notes: &BTreeSet<Note>) -> String {
    let home = quoted(home);
    let notes: Vec<&Note> = notes.iter().filter(|note| !is_covered(note, notes)).collect();
    let of = |write: &dyn Fn(&Note) -> String| -> String {
        notes.iter().map(|note| write(note)).collect()
    };
    let all = of(&|note| everybody(&home, "summary_marks", note));
    let spare = of(&|note| everybody(&home, "spare_marks", note));
    let row = of(&|note| row_mark(&home, note));
    let [insert, update, delete] = [Event::Insert, Event::Update, Event::Delete].map(|event| {
        let (values, others): (Vec<&Note>, Vec<&Note>) =
            notes.iter().partition(|note| matches!(note, Note::Values { .. }));
        let others: String = others.iter().map(|note| many_rows(&home, note, event)).collect();
        let few: String = values.iter().map(|note| few_rows(&home, note, event)).collect();
        let many: String = values.iter().map(|note| many_rows(&home, note, event)).collect();
        // Most statements touch one row, whose note is a plain insert.
        let of_values = format!(
            "{few}\n        GET DIAGNOSTICS touched = ROW_COUNT;\n        IF touched \
             OPERATOR(pg_catalog.>) 1 THEN{many}\n        END IF;"
        );
        if values.is_empty() { others } else { others + &of_values }
    });
    format!(
        "
#variable_conflict use_column
DECLARE
    known pg_catalog.text;
    noted_rows pg_catalog.jsonb;
    own pg_catalog.text;
    touched pg_catalog.int8;
BEGIN
    LOCK TABLE {home}.summary_marks IN ROW EXCLUSIVE MODE NOWAIT;
    IF TG_OP {EQ} 'TRUNCATE' THEN{all}
    ELSIF TG_LEVEL {EQ} 'ROW' THEN
        -- What this transaction has noted already is remembered behind its number.
        own := pg_catalog.concat(pg_catalog.pg_current_xact_id(), ';');
        known := pg_catalog.concat(pg_catalog.current_setting('facility_summary.noticed', true));
        IF NOT pg_catalog.starts_with(known, own)
            OR pg_catalog.length(known) OPERATOR(pg_catalog.>) 4000 THEN
            known := own;
        END IF;{row}
        PERFORM pg_catalog.set_config('facility_summary.noticed', known, true);
    ELSIF TG_OP {EQ} 'INSERT' THEN{insert}
    ELSIF TG_OP {EQ} 'UPDATE' THEN{update}
    ELSE{delete}
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    -- A column has another name now, our table is locked, or anything else: every facility counts.
    BEGIN
        LOCK TABLE {home}.spare_marks IN ROW EXCLUSIVE MODE NOWAIT;{spare}
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'facility-summary could not note this change, and shows it after its next \
         rebuild: %', SQLERRM;
    END;
    RETURN NULL;
END "
    )
}

const EQ: &str = "OPERATOR(pg_catalog.=)";

/// Whether another note of the same table says more.
fn is_covered(note: &Note, notes: &BTreeSet<Note>) -> bool {
    matches!(note, Note::Values { kind, .. } if notes.contains(&Note::Everybody { kind }))
}

#[derive(Clone, Copy)]
enum Event {
    Insert,
    Update,
    Delete,
}

impl Event {
    /// The transition tables.
    const fn tables(self) -> &'static [&'static str] {
        match self {
            Event::Insert => &["new_rows"],
            Event::Update => &["new_rows", "old_rows"],
            Event::Delete => &["old_rows"],
        }
    }
}

/// A mark of every facility.
fn everybody(home: &str, table: &str, note: &Note) -> String {
    let kind = match note {
        Note::Everybody { kind } | Note::Values { kind, .. } => *kind,
        Note::Facilities { .. } if table == "spare_marks" => FACILITIES,
        Note::Facilities { .. } => return facilities(home, ""),
    };
    format!("\n        INSERT INTO {home}.{table} (kind) VALUES ('{kind}');")
}

/// The mark of a table of facilities, under a condition.
fn facilities(home: &str, condition: &str) -> String {
    format!(
        "\n        INSERT INTO {home}.summary_marks (kind, via) SELECT 'facility', \
         '{FACILITIES}'{condition};"
    )
}

/// The condition that an update changed more than columns on which nothing depends.
fn differ(columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    let columns = columns.join(", ");
    let more = |one: &str, other: &str| {
        format!("EXISTS (SELECT {columns} FROM {one} EXCEPT SELECT {columns} FROM {other})")
    };
    format!("{} OR {}", more("new_rows", "old_rows"), more("old_rows", "new_rows"))
}

/// The mark of a statement that touched many rows.
fn many_rows(home: &str, note: &Note, event: Event) -> String {
    let tables = event.tables();
    let exists = format!(" WHERE EXISTS (SELECT FROM {})", tables[0]);
    match note {
        Note::Facilities { columns } => match (event, columns.is_empty()) {
            (Event::Update, false) => facilities(home, &format!(" WHERE {}", differ(columns))),
            _ => facilities(home, &exists),
        },
        Note::Everybody { kind } => {
            format!("\n        INSERT INTO {home}.summary_marks (kind) SELECT '{kind}'{exists};")
        }
        Note::Values { kind, way, columns, at } => {
            let parts: Vec<String> = tables
                .iter()
                .map(|table| format!("SELECT {} FROM {table} AS t", values("t", columns, at)))
                .collect();
            let distinct = distinct(&parts.join(" UNION ALL "), columns.len(), at);
            let most = MOST_NOTED + 1;
            let few = format!("pg_catalog.count(*) OPERATOR(pg_catalog.<) {most}");
            let (way, noted) = (literal(way), noted("r", columns.len(), at.is_some()));
            format!(
                "\n        INSERT INTO {home}.summary_marks (kind, via, via_row)
        SELECT '{kind}', CASE WHEN {few} THEN {way} END, CASE WHEN {few} THEN \
                 pg_catalog.jsonb_agg({noted}) END
        FROM ({distinct} LIMIT {most}) AS r HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0;"
            )
        }
    }
}

/// A mark of each of the first two rows, or pairs of rows, that a statement touched.
fn few_rows(home: &str, note: &Note, event: Event) -> String {
    let Note::Values { kind, way, columns, at } = note else {
        return many_rows(home, note, event);
    };
    let row = |table: &str, alias: &str| {
        let times = at.iter().flat_map(|_| [format!("{alias}.at"), format!("{alias}.at")]);
        let names = (0..columns.len()).map(|nth| format!("{alias}.c{nth}"));
        let listed: Vec<String> = names.chain(times).collect();
        (
            format!("pg_catalog.jsonb_build_array({})", listed.join(", ")),
            format!("(SELECT {} FROM {table} AS t) AS {alias}", values("t", columns, at)),
        )
    };
    let (rows, from): (Vec<String>, Vec<String>) =
        event.tables().iter().zip(["a", "b"]).map(|(table, alias)| row(table, alias)).unzip();
    format!(
        "\n        INSERT INTO {home}.summary_marks (kind, via, via_row)
        SELECT '{kind}', {}, pg_catalog.jsonb_build_array({}) FROM {} LIMIT 2;",
        literal(way),
        rows.join(", "),
        from.join(", ")
    )
}

/// The mark of a row that a replica's session or a subscription wrote. Such marks name whole days,
/// so that few differ.
fn row_mark(home: &str, note: &Note) -> String {
    let (name, found, insert) = match note {
        Note::Facilities { .. } => (literal(FACILITIES), "'[]'".to_owned(), facilities(home, "")),
        Note::Everybody { kind } => {
            (literal(kind), "'[]'".to_owned(), everybody(home, "summary_marks", note))
        }
        Note::Values { kind, way, columns, at } => {
            let rows = format!(
                "SELECT {} WHERE TG_OP OPERATOR(pg_catalog.<>) 'INSERT' UNION ALL SELECT {} WHERE \
                 TG_OP OPERATOR(pg_catalog.<>) 'DELETE'",
                values("OLD", columns, at),
                values("NEW", columns, at)
            );
            let whole = match at {
                None => distinct(&rows, columns.len(), at),
                Some((_, of)) => {
                    let (names, within, day) = (named(columns.len()), within(of), day(of));
                    format!(
                        "SELECT {names}, {day} AS first, {day} OPERATOR(pg_catalog.+) interval \
                         '86399.999' AS last FROM ({rows}) AS v WHERE {within}"
                    )
                }
            };
            let noted = noted("r", columns.len(), at.is_some());
            (
                literal(&format!("{kind} {way}")),
                format!("(SELECT pg_catalog.jsonb_agg(DISTINCT {noted}) FROM ({whole}) AS r)"),
                format!(
                    "\n            INSERT INTO {home}.summary_marks (kind, via, via_row) VALUES \
                     ('{kind}', {}, noted_rows);",
                    literal(way)
                ),
            )
        }
    };
    let mark = format!("pg_catalog.md5(pg_catalog.concat({name}, noted_rows))");
    format!(
        "
        noted_rows := {found};
        IF noted_rows IS NOT NULL AND pg_catalog.strpos(known, {mark}) {EQ} 0 THEN
            known := pg_catalog.concat(known, {mark});{insert}
        END IF;"
    )
}

/// The noted columns of a row, as `c0, c1 … at`.
fn values(row: &str, columns: &[String], at: &Option<(String, &'static str)>) -> String {
    let columns = columns
        .iter()
        .enumerate()
        .map(|(nth, column)| format!("{row}.{} AS c{nth}", quoted(column)));
    let at =
        at.iter().map(|(column, of)| format!("{row}.{}::pg_catalog.{of} AS at", quoted(column)));
    columns.chain(at).collect::<Vec<_>>().join(", ")
}

/// The distinct rows of `v`; with a time, the first and the last one of each day.
fn distinct(rows: &str, columns: usize, at: &Option<(String, &'static str)>) -> String {
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
fn day(of: &str) -> String {
    format!("pg_catalog.date_bin('1 day', v.at, 'epoch'::pg_catalog.{of})")
}

/// The condition that an instant lies in a day that answers can name.
fn within(of: &str) -> String {
    format!(
        "v.at OPERATOR(pg_catalog.>=) '0002-01-01 BC+00'::pg_catalog.{of} AND v.at \
         OPERATOR(pg_catalog.<) '10001-01-01+00'::pg_catalog.{of}"
    )
}

fn named(columns: usize) -> String {
    (0..columns).map(|nth| format!("v.c{nth}")).collect::<Vec<_>>().join(", ")
}

/// What is noted of a row, as an array.
fn noted(row: &str, columns: usize, has_time: bool) -> String {
    let columns = (0..columns).map(|nth| format!("{row}.c{nth}"));
    let times = ["first", "last"].into_iter().filter(|_| has_time);
    let listed: Vec<String> = columns.chain(times.map(|time| format!("{row}.{time}"))).collect();
    format!("pg_catalog.jsonb_build_array({})", listed.join(", "))
}
