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
    plan::{FACILITIES, Note, NotedColumn},
    rows::{compared, day, distinct, named, unless_merged, values, within},
};
use crate::store::postgres::{home::quoted, sources::figures::literal};

/// The most changed rows that differ in what is noted of them. A statement that touched more marks
/// every facility: to note each would take longer than the statement.
const MOST_NOTED: u32 = 10_000;

/// The end of the names of the triggers on a table, and of their function.
pub(super) fn suffix(TableName { schema, name }: &TableName) -> String {
    // A dot within a name is not the one between the names.
    let has_dot = schema.contains('.') || name.contains('.');
    let name = match has_dot {
        true => format!("{schema}.{name}.{}", schema.len()),
        false => format!("{schema}.{name}"),
    };
    format!("{:08x}", xxhash_rust::xxh3::xxh3_64(name.as_bytes()) as u32)
}

/// The body of the function of a table, for our tables in the schema `home`.
///
/// Most statements touch one row. An insert of one is the cheapest: its note is a sub-select of one
/// row, which raises errors of its own for several rows and for none.
///
/// In a table with partitions, `may_move`, a statement may move rows between them.
pub(super) fn source(home: &str, notes: &BTreeSet<Note>, may_move: bool) -> String {
    let home = quoted(home);
    let notes: Vec<&Note> = notes.iter().filter(|note| !is_covered(note, notes)).collect();
    let (values, others): (Vec<&Note>, Vec<&Note>) =
        notes.iter().partition(|note| matches!(note, Note::Values { .. }));
    let of = |notes: &[&Note], write: &dyn Fn(&Note) -> String| -> String {
        notes.iter().map(|note| write(note)).collect()
    };
    let all = of(&notes, &|note| everybody(&home, note));
    let spare = of(&notes, &|note| spare(&home, note));
    let row = of(&notes, &|note| row_mark(&home, note));
    let insert =
        of(&others, &|note| many_rows(&home, note, Event::Insert)) + &one_row(&home, &values);
    let [update, delete] = [Event::Update, Event::Delete].map(|event| {
        of(&others, &|note| many_rows(&home, note, event))
            + &few_or_many(&home, &values, event, may_move)
    });
    let update = if may_move { unless_merged(&update, &all) } else { update };
    let calls = if may_move { "\n    calls pg_catalog.text;" } else { "" };
    let lock = lock(&home, &notes);
    let inserted = of(&notes, &|note| many_rows(&home, note, Event::Insert));
    let noting = noting([&row, &insert, &update, &delete, &all]);
    format!(
        "
#variable_conflict use_column
DECLARE
    known pg_catalog.text;
    noted_rows pg_catalog.text[];
    own pg_catalog.text;
    touched pg_catalog.int8;
    are_many pg_catalog.bool := false;{calls}
BEGIN
    BEGIN
        {lock}{noting}
        RETURN NULL;
    EXCEPTION
        WHEN cardinality_violation THEN
            are_many := TG_OP {EQ} 'INSERT';
        WHEN not_null_violation THEN
            IF TG_OP {EQ} 'INSERT' THEN
                -- It was of no row.
                RETURN NULL;
            END IF;
        WHEN OTHERS THEN
            NULL;
    END;
    IF are_many THEN
        BEGIN
            {lock}{inserted}
            RETURN NULL;
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END IF;
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

/// The statements that note what each event touched, where nothing goes wrong.
fn noting([row, insert, update, delete, all]: [&str; 5]) -> String {
    format!(
        "
        IF TG_LEVEL {EQ} 'ROW' THEN
            -- What this transaction has noted already is remembered behind its number.
            own := pg_catalog.concat(pg_catalog.pg_current_xact_id(), ';');
            known := pg_catalog.concat(pg_catalog.current_setting('facility_summary.noticed', \
         true));
            IF NOT pg_catalog.starts_with(known, own)
                OR pg_catalog.length(known) OPERATOR(pg_catalog.>) 4000 THEN
                known := own;
            END IF;{row}
            PERFORM pg_catalog.set_config('facility_summary.noticed', known, true);
        ELSIF TG_OP {EQ} 'INSERT' THEN{insert}
        ELSIF TG_OP {EQ} 'UPDATE' THEN{update}
        ELSIF TG_OP {EQ} 'DELETE' THEN{delete}
        ELSE{all}
        END IF;"
    )
}

pub(super) const EQ: &str = "OPERATOR(pg_catalog.=)";

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

/// Locks the tables that these notes are written to, without a wait.
fn lock(home: &str, notes: &[&Note]) -> String {
    let is_of_facilities = |note: &&Note| matches!(note, Note::Facilities { .. });
    let tables = [
        ("summary_marks", notes.iter().any(is_of_facilities)),
        ("noticed_rows", !notes.iter().all(is_of_facilities)),
    ];
    let used = tables.iter().filter(|(_, is_used)| *is_used);
    let tables: Vec<String> = used.map(|(table, _)| format!("ONLY {home}.{table}")).collect();
    format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE NOWAIT;", tables.join(", "))
}

/// Notes that are of every facility.
fn everybody(home: &str, note: &Note) -> String {
    match note {
        Note::Everybody { kind } | Note::Values { kind, .. } => {
            format!("\n            INSERT INTO {home}.noticed_rows VALUES ('{kind}', '{{}}');")
        }
        Note::Facilities { .. } => facilities(home, ""),
    }
}

/// A mark of every facility, in the table for those of triggers that fail.
fn spare(home: &str, note: &Note) -> String {
    let kind = match note {
        Note::Everybody { kind } | Note::Values { kind, .. } => *kind,
        Note::Facilities { .. } => FACILITIES,
    };
    format!("\n        INSERT INTO {home}.spare_marks (kind) VALUES ('{kind}');")
}

/// The mark of a table of facilities, under a condition.
fn facilities(home: &str, condition: &str) -> String {
    format!(
        "\n            INSERT INTO {home}.summary_marks (kind, via) SELECT 'facility', \
         '{FACILITIES}'{condition};"
    )
}

/// The condition that an update changed more than columns on which nothing depends.
fn differ(columns: &[NotedColumn]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| compared(column, "")).collect();
    let columns = columns.join(", ");
    let more = |one: &str, other: &str| {
        format!("EXISTS (SELECT {columns} FROM {one} EXCEPT SELECT {columns} FROM {other})")
    };
    format!("{} OR {}", more("new_rows", "old_rows"), more("old_rows", "new_rows"))
}

/// The note of a statement that touched many rows.
fn many_rows(home: &str, note: &Note, event: Event) -> String {
    let tables = event.tables();
    // Of a row that moves to another partition, and is refused there, only the old one is known.
    let exists: Vec<String> =
        tables.iter().map(|table| format!("EXISTS (SELECT FROM {table})")).collect();
    let exists = format!(" WHERE {}", exists.join(" OR "));
    match note {
        Note::Facilities { columns } => match (event, columns.is_empty()) {
            (Event::Update, false) => facilities(home, &format!(" WHERE {}", differ(columns))),
            _ => facilities(home, &exists),
        },
        Note::Everybody { kind } => {
            format!(
                "\n            INSERT INTO {home}.noticed_rows SELECT '{kind}', '{{}}'{exists};"
            )
        }
        Note::Values { kind, columns, at, .. } => {
            let parts: Vec<String> = tables
                .iter()
                .map(|table| format!("SELECT {} FROM {table} AS t", values("t", columns, at)))
                .collect();
            let distinct = distinct(&parts.join(" UNION ALL "), columns.len(), at);
            let most = MOST_NOTED + 1;
            let few = format!("pg_catalog.count(*) OPERATOR(pg_catalog.<) {most}");
            let (mark, noted) = (mark(note), noted(note, "r", ["first", "last"]));
            format!(
                "
            INSERT INTO {home}.noticed_rows
            SELECT CASE WHEN {few} THEN {mark} ELSE '{kind}' END, CASE WHEN {few} THEN \
                 pg_catalog.array_agg({noted}) ELSE '{{}}' END
            FROM ({distinct} LIMIT {most}) AS r HAVING pg_catalog.count(*) \
                 OPERATOR(pg_catalog.>) 0;"
            )
        }
    }
}

/// The notes of an insert of one row.
fn one_row(home: &str, notes: &[&Note]) -> String {
    let rows = notes.iter().filter_map(|note| {
        let Note::Values { columns, at, .. } = note else { return None };
        let values = values("t", columns, at);
        let (mark, noted) = (mark(note), noted(note, "a", ["at", "at"]));
        Some(format!(
            "({mark}, (SELECT ARRAY[{noted}] FROM (SELECT {values} FROM new_rows AS t) AS a))"
        ))
    });
    let rows: Vec<String> = rows.collect();
    match rows.is_empty() {
        true => String::new(),
        false => {
            format!("\n            INSERT INTO {home}.noticed_rows VALUES {};", rows.join(", "))
        }
    }
}

/// The notes of an update or a delete: of one row, or of many.
fn few_or_many(home: &str, notes: &[&Note], event: Event, may_move: bool) -> String {
    if notes.is_empty() {
        return String::new();
    }
    let few: String = notes.iter().map(|note| few_rows(home, note, event)).collect();
    let many: String = notes.iter().map(|note| many_rows(home, note, event)).collect();
    // No pair: of a row that moves to another partition, and is refused there, no new one is known.
    let are_others = if may_move { "<>" } else { ">" };
    format!(
        "{few}
            GET DIAGNOSTICS touched = ROW_COUNT;
            IF touched OPERATOR(pg_catalog.{are_others}) 1 THEN{many}
            END IF;"
    )
}

/// A note of each of the first two rows, or pairs of rows, that a statement touched.
fn few_rows(home: &str, note: &Note, event: Event) -> String {
    let Note::Values { columns, at, .. } = note else { return many_rows(home, note, event) };
    let row = |(table, alias): (&&str, &str)| {
        let values = values("t", columns, at);
        (
            noted(note, alias, ["at", "at"]),
            format!("(SELECT {values} FROM {table} AS t) AS {alias}"),
        )
    };
    let (rows, from): (Vec<String>, Vec<String>) =
        event.tables().iter().zip(["a", "b"]).map(row).unzip();
    let (mark, rows, from) = (mark(note), rows.join(", "), from.join(", "));
    format!(
        "
            INSERT INTO {home}.noticed_rows SELECT {mark}, ARRAY[{rows}] FROM {from} LIMIT 2;"
    )
}

/// The mark of a row that a replica's session or a subscription wrote. Such marks name whole days,
/// so that few differ.
fn row_mark(home: &str, note: &Note) -> String {
    let (name, found, insert) = match note {
        Note::Facilities { .. } => (literal(FACILITIES), "'{}'".to_owned(), facilities(home, "")),
        Note::Everybody { kind } => (literal(kind), "'{}'".to_owned(), everybody(home, note)),
        Note::Values { columns, at, .. } => {
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
            let (mark, noted) = (mark(note), noted(note, "r", ["first", "last"]));
            let found =
                format!("(SELECT pg_catalog.array_agg(DISTINCT {noted}) FROM ({whole}) AS r)");
            let insert = format!(
                "\n                INSERT INTO {home}.noticed_rows VALUES ({mark}, noted_rows);"
            );
            (mark, found, insert)
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

/// The kind of the marks of this note, and its way.
fn mark(note: &Note) -> String {
    match note {
        Note::Values { kind, way, .. } => literal(&format!("{kind} {way}")),
        Note::Everybody { kind } => literal(kind),
        Note::Facilities { .. } => literal(FACILITIES),
    }
}

/// What is noted of a row, as a text. `times`: the names of the first and the last time.
fn noted(note: &Note, row: &str, times: [&str; 2]) -> String {
    let Note::Values { columns, at, is_plain, .. } = note else { return "NULL".into() };
    let columns = (0..columns.len()).map(|nth| format!("{row}.c{nth}"));
    let times = times.into_iter().filter(|_| at.is_some()).map(|time| format!("{row}.{time}"));
    let listed: Vec<String> = columns.chain(times).collect();
    match is_plain {
        true => format!("{}::pg_catalog.text", listed.join(", ")),
        false => format!("pg_catalog.jsonb_build_array({})::pg_catalog.text", listed.join(", ")),
    }
}
