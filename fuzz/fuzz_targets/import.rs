//! The import, from a file to what it passes to the service. An input is a line `kind;zone;date
//! format`, and the rows of a CSV file. When the kind is `raw`, the file has its own header. A
//! comma or a point after the kind is the decimal sign that the command line names. For all rows:
//!
//! - What is accepted is what the file says. Each number is the number by its decimal sign, and a
//!   number with two readings is not accepted without one. Each blood type is that type. Each date,
//!   printed in its own format, is the text that was read, and is read as the same instant. No id
//!   is nil. The same file again changes nothing.
//! - Facilities are registered under the names in the file: one facility for all spellings that
//!   compare equal, and none under a text that is nearly an id. Rows that repeat a facility are
//!   counted.
//! - A refusal names its place: a line in which a row begins, a column of it, and the value of that
//!   cell. A file is called something other than CSV only if no CSV in UTF-8 has such bytes.
//! - With `--on-error skip` no row is lost: each is written, or is in the rejects file with a
//!   reason.

#![no_main]

#[path = "import/case.rs"]
mod case;
#[path = "import/read.rs"]
mod read;
#[path = "import/recorder.rs"]
mod recorder;

use std::{collections::BTreeMap, path::Path, sync::LazyLock};

use case::{Case, at_once};
use csv::ByteRecord;
use facility_summary::{
    domain::{
        blood_type::BloodType,
        event::{Entity, Event, Statement},
        facility::Zone,
        names::{as_given, compared},
    },
    tools::import::{self, ImportArgs, ImportError, ImportKind, ImportReport, OnError, RowFault},
};
use jiff::{Timestamp, tz::TimeZone};
use libfuzzer_sys::fuzz_target;
use read::{cells_at, date_is, nearly_an_id, number_is, rows_of, same_number, squashed};
use recorder::Recorder;

/// The folder of the file, which is written again for each input. The import reads files from disk.
static FOLDER: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a folder for the files"));

fuzz_target!(|input: &[u8]| {
    let Some(case) = Case::read(input) else { return };
    let path = FOLDER.path().join("rows.csv");
    std::fs::write(&path, &case.file).expect("the folder can be written to");
    let recorder = Recorder::default();
    match case.import(&path, &recorder, OnError::Stop) {
        Ok(report) => {
            taken(&case, &recorder, &report);
            let again = case.import(&path, &recorder, OnError::Stop).expect("it was taken before");
            assert_eq!(
                (again.changed, again.rows_written),
                (0, report.rows_written),
                "the same file again"
            );
        }
        Err(ImportError::Interrupted { cause, rows_in: 0, .. }) => {
            assert!(recorder.statements().is_empty(), "a faulty row is written with no others");
            if let ImportError::Fault(fault) = *cause {
                named(&case, &fault);
                skipped(&case, &path, &fault);
            }
        }
        // The options do not fit the file, or the file cannot be read.
        Err(
            ImportError::WrongUse(_) | ImportError::NoColumn { .. } | ImportError::Broken { .. },
        ) => {}
        Err(ImportError::NotCsv { what, .. }) => {
            let is_foreign =
                case.is_raw() || case.file.contains(&0) || std::str::from_utf8(&case.file).is_err();
            assert!(is_foreign, "the file is CSV, and called {what}");
        }
        Err(error) => panic!("{error}"),
    }
});

/// Checks a file of which every row was accepted: each statement says what the cells of its row
/// say.
fn taken(case: &Case, recorder: &Recorder, report: &ImportReport) {
    assert_eq!((report.rows_read, report.rows_skipped), (report.rows_written, 0));
    let statements = recorder.statements();
    assert!(
        statements.iter().all(|s| Event::Statement(s.clone()).ids().all(|id| !id.is_nil())),
        "a nil id: {statements:?}"
    );
    let names = statements.iter().filter_map(|s| match &s.record.entity {
        Some(Entity::Facility { name, timezone }) => Some((name, timezone)),
        _ => None,
    });
    names.for_each(|(name, zone)| {
        assert!(
            !name.is_empty() && !name.chars().any(char::is_control) && Zone::named(zone).is_some(),
            "{name:?} {zone}"
        )
    });
    if case.is_raw() {
        return;
    }
    let rows = rows_of(&case.file);
    assert_eq!(rows.len() as u64, report.rows_written);
    names_are(case, &rows, &statements, report);
    let tz = Zone::named(&case.zone).map_or(TimeZone::UTC, |zone| zone.tz);
    match case.kind {
        ImportKind::Facilities => {}
        ImportKind::StockHistory => {
            let stock = recorder.stock();
            for row in &rows {
                let (cell, blood_type) =
                    (case.cell(row, "quantity"), blood_type(case.cell(row, "blood_type")));
                let units = stock
                    .values()
                    .filter_map(|types| types.get(&blood_type))
                    .find(|units| same_number(cell, &units.to_string()));
                number_is(
                    cell,
                    case.decimal,
                    Some(i128::from(*units.unwrap_or_else(|| panic!("{row:?} is not there")))),
                );
            }
        }
        ImportKind::Distributions | ImportKind::Requests => {
            let said: Vec<&Statement> = statements
                .iter()
                .filter(|s| !matches!(s.record.entity, Some(Entity::Facility { .. })))
                .collect();
            assert_eq!(said.len(), rows.len());
            std::iter::zip(&rows, said)
                .for_each(|(row, statement)| states(case, row, statement, &tz));
        }
    }
}

/// Checks the names. No facility was known before, so each is registered under a name in the file.
fn names_are(case: &Case, rows: &[ByteRecord], statements: &[Statement], report: &ImportReport) {
    let field = if case.kind == ImportKind::Facilities { "name" } else { "facility" };
    let registered = statements.iter().filter_map(|s| match &s.record.entity {
        Some(Entity::Facility { name, .. }) => Some(name.as_str()),
        _ => None,
    });
    let has_ids = case.kind == ImportKind::Facilities
        && rows.iter().any(|row| !squashed(case.cell(row, "id")).is_empty());
    let mut first = BTreeMap::new();
    for row in rows {
        let cell = case.cell(row, field);
        assert!(!nearly_an_id(&squashed(cell)), "{cell:?} was taken for a name");
        first.entry(compared(cell)).or_insert_with(|| as_given(cell).into_owned());
    }
    for name in registered.clone() {
        assert!(
            has_ids || first.get(&compared(name)).is_some_and(|given| given == name),
            "{name:?} is registered, and given otherwise"
        );
    }
    if has_ids {
        return;
    }
    assert_eq!(registered.count(), first.len(), "a facility for each name");
    let repeated = if case.kind == ImportKind::Facilities { rows.len() - first.len() } else { 0 };
    assert_eq!(report.names_merged.repeated_rows, repeated as u64);
}

/// The blood type in a cell that was accepted.
fn blood_type(cell: &str) -> BloodType {
    let text = squashed(cell);
    if text.is_empty() || text.eq_ignore_ascii_case("unknown") {
        BloodType::Unknown
    } else {
        BloodType::from_notation(&text).expect("it was taken")
    }
}

/// Checks that a statement says what the cells of its row say.
fn states(case: &Case, row: &ByteRecord, statement: &Statement, tz: &TimeZone) {
    let (field, at_ms, taken_type, units) =
        match statement.record.entity.as_ref().expect("an import removes nothing") {
            Entity::Distribution {
                blood_type, date_delivered_ms: Some(at_ms), quantity, ..
            } => {
                assert!(*quantity > 0, "{statement:?}");
                ("date_delivered", *at_ms, blood_type, Some(*quantity))
            }
            Entity::Request { blood_type, created_at_ms, quantity, .. } => {
                ("created_at", *created_at_ms, blood_type, *quantity)
            }
            _ => panic!("{statement:?}"),
        };
    let cell = case.cell(row, "quantity");
    assert!(units.is_some() || squashed(cell).is_empty(), "{row:?}");
    if units.is_some() {
        number_is(cell, case.decimal, units.map(i128::from));
    }
    assert_eq!(
        taken_type.unwrap_or(BloodType::Unknown),
        blood_type(case.cell(row, "blood_type")),
        "{row:?}"
    );
    let at =
        Timestamp::from_millisecond(at_ms).expect("an answer can carry it").to_zoned(tz.clone());
    assert!(at.year() >= 1900 && at_ms <= recorder::NOW_MS + 300_000, "{at}");
    let printed = date_is(case.cell(row, field), case.format.as_deref(), &at);
    let Some(printed) = printed else { return };
    // The date, printed in its format, is read as the same instant.
    let path = FOLDER.path().join("printed.csv");
    let mut file = csv::Writer::from_path(&path).expect("the folder can be written to");
    file.write_record(["date"])
        .and_then(|()| file.write_record([&printed]))
        .expect("it can be written to");
    file.flush().expect("it can be written to");
    let recorder = Recorder::default();
    let args = ImportArgs {
        kind: ImportKind::Requests,
        file: path,
        columns: vec!["created_at=date".to_owned()],
        constants: vec![format!("timezone={}", case.zone), "facility=F".to_owned()],
        date_format: case.format.clone(),
        decimal: None,
        on_error: OnError::Stop,
        source: None,
        same_day: None,
        dry_run: false,
    };
    at_once(import::run(args, "import", &recorder))
        .unwrap_or_else(|error| panic!("{printed:?} is refused: {error}"));
    let again = recorder.statements().into_iter().find_map(|s| match s.record.entity {
        Some(Entity::Request { created_at_ms, .. }) => Some(created_at_ms),
        _ => None,
    });
    assert_eq!(again, Some(at_ms), "{printed:?} of {row:?}");
}

/// Checks that a refusal names a place in the file, and what is there.
fn named(case: &Case, fault: &RowFault) {
    assert!(
        !fault.problem.is_empty() && fault.line > 1 && fault.to_string().len() < 1200,
        "{fault}"
    );
    let cells =
        cells_at(&case.file, fault.line).unwrap_or_else(|| panic!("no row begins there: {fault}"));
    match &fault.origin {
        None => assert_ne!(cells.len(), case_columns(case), "{fault}"),
        Some(origin) if origin.starts_with("--set") => assert!(!case.zone.is_empty(), "{fault}"),
        Some(origin) => {
            let column = origin
                .strip_prefix("column \"")
                .and_then(|name| name.strip_suffix('"'))
                .expect("a column in quotes");
            let position = read::header_of(&case.file)
                .iter()
                .position(|name| squashed(name) == column)
                .expect("a column of the file");
            let cell = String::from_utf8_lossy(cells.get(position).expect("a cell of the row"))
                .into_owned();
            // A number or an id may be shown in its usual form.
            let is_number = same_number(&cell, &fault.value);
            let hex = |text: &str| {
                text.to_lowercase().chars().filter(char::is_ascii_hexdigit).collect::<String>()
            };
            let is_id = fault.value.len() == 36 && hex(&cell).contains(&hex(&fault.value));
            assert!(
                squashed(&cell) == squashed(&fault.value) || is_number || is_id,
                "{cell:?}: {fault}"
            );
        }
    }
}

fn case_columns(case: &Case) -> usize {
    read::header_of(&case.file).len()
}

/// Checks `--on-error skip`: no row is lost, and the first refused row is the one at which `stop`
/// stopped.
fn skipped(case: &Case, path: &Path, first: &RowFault) {
    let recorder = Recorder::default();
    let rows = rows_of(&case.file).len() as u64;
    // A rejects file of an earlier input would be kept, and this one would get another name.
    let _ = std::fs::remove_file(path.with_file_name("rows.csv.rejects.csv"));
    match case.import(path, &recorder, OnError::Skip) {
        Ok(report) => {
            assert_eq!((report.rows_read, report.rows_written + report.rows_skipped), (rows, rows));
            let rejects = report.rejects.expect("a row was refused");
            let mut reader = csv::ReaderBuilder::new()
                .flexible(true)
                .from_path(rejects)
                .expect("it was written");
            let lines: Vec<ByteRecord> =
                reader.byte_records().map(|row| row.expect("it is CSV")).collect();
            assert_eq!(lines.len() as u64, report.rows_skipped);
            let reason =
                |row: &ByteRecord| String::from_utf8_lossy(&row[row.len() - 1]).into_owned();
            assert_eq!(reason(&lines[0]), first.to_string());
            assert!(lines.iter().all(|row| reason(row).starts_with("line ")));
        }
        Err(ImportError::NothingUsable { rows: refused, first: fault, .. }) => {
            assert_eq!((refused, &fault), (rows, first))
        }
        // A later row made the rest of the file unreadable.
        Err(ImportError::Interrupted { cause, .. }) => {
            assert!(matches!(*cause, ImportError::Broken { .. }), "{cause}")
        }
        Err(error) => panic!("{error}"),
    }
}
