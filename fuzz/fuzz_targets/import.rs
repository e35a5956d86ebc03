//! The importer, from a file to what it hands over to the service. An input is a line
//! `kind;zone;date format` and the rows of a CSV file (with its header where the kind is `raw`); a
//! comma or a point behind the kind is the decimal sign that the command line gives. Whatever
//! the rows are:
//!
//! - What is taken is what stands there: each number is the number by its decimal sign, and none
//!   that has two readings is taken without one; each blood type is the type; each date, printed by
//!   its own format, is the text that was read, and is read as the same instant. Ids are not nil.
//!   The same file again changes nothing.
//! - Facilities are registered under the names that stand there, one for the spellings that compare
//!   equal, and none under what is nearly an id; rows that repeat one are counted.
//! - What is refused is named: a line in which a row begins, a column of it, and the value of that
//!   cell. A file is only called something else where it holds what no CSV in UTF-8 does.
//! - With `--on-error skip` no row is lost: each is in, or in the rejects file with a reason.

#![no_main]

#[path = "import/read.rs"]
mod read;
#[path = "import/recorder.rs"]
mod recorder;

use std::{
    collections::BTreeMap,
    path::Path,
    pin::pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};

use clap::ValueEnum;
use csv::ByteRecord;
use facility_summary::{
    domain::{
        blood_type::BloodType,
        event::{Entity, Event, Statement},
        facility::Zone,
        names::{as_given, compared},
    },
    tools::import::{
        self, DecimalSign, Fault, ImportArgs, ImportError, ImportKind, ImportReport, OnError,
    },
};
use jiff::{Timestamp, tz::TimeZone};
use libfuzzer_sys::fuzz_target;
use read::{cells_at, date_is, nearly_an_id, number_is, rows_of, same_number, squashed};
use recorder::Recorder;

/// Files are read from disk, as the importer does; this one is written anew for each input.
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
        // The options do not fit, or the file as a whole cannot be read.
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

struct Case {
    kind: ImportKind,
    decimal: Option<char>,
    zone: String,
    format: Option<String>,
    /// Each field with its column.
    columns: Vec<(&'static str, String)>,
    file: Vec<u8>,
}

impl Case {
    fn read(input: &[u8]) -> Option<Self> {
        let end = input.iter().position(|byte| *byte == b'\n')?;
        let (options, rows) = (std::str::from_utf8(&input[..end]).ok()?, &input[end + 1..]);
        let mut options = options.splitn(3, ';');
        let (kind, zone, format) = (options.next()?, options.next()?.to_owned(), options.next()?);
        let format = (!format.is_empty()).then(|| format.to_owned());
        if kind == "raw" {
            let columns = vec![("name", "name".to_owned())];
            return Some(Case {
                kind: ImportKind::Facilities,
                decimal: None,
                zone,
                format,
                columns,
                file: rows.to_vec(),
            });
        }
        let decimal = kind.chars().next_back().filter(|last| matches!(last, ',' | '.'));
        let kind = kind.strip_suffix([',', '.']).unwrap_or(kind);
        let kind = ImportKind::from_str(kind, false).ok()?;
        let fields: &[&str] = match kind {
            ImportKind::Facilities => &["id", "name", "timezone"],
            ImportKind::StockHistory => &["facility", "date", "blood_type", "quantity"],
            ImportKind::Distributions => {
                &["id", "facility", "date_delivered", "blood_type", "quantity"]
            }
            ImportKind::Requests => &["id", "facility", "created_at", "blood_type", "quantity"],
        };
        let columns =
            fields.iter().map(|field| (*field, format!("the {field}"))).collect::<Vec<_>>();
        let header =
            columns.iter().map(|(_, column)| column.as_str()).collect::<Vec<_>>().join(",");
        Some(Case {
            kind,
            decimal,
            zone,
            format,
            columns,
            file: [header.as_bytes(), b"\n", rows].concat(),
        })
    }

    fn import(
        &self,
        path: &Path,
        recorder: &Recorder,
        on_error: OnError,
    ) -> Result<ImportReport, ImportError> {
        let has_zone = self.columns.iter().any(|(field, _)| *field == "timezone");
        let args = ImportArgs {
            kind: self.kind,
            file: path.to_owned(),
            columns: self
                .columns
                .iter()
                .map(|(field, column)| format!("{field}={column}"))
                .collect(),
            constants: if has_zone { vec![] } else { vec![format!("timezone={}", self.zone)] },
            date_format: self.format.clone(),
            decimal: self
                .decimal
                .map(|sign| if sign == ',' { DecimalSign::Comma } else { DecimalSign::Point }),
            on_error,
            source: None,
            same_day: None,
            dry_run: false,
        };
        at_once(import::run(args, "import", recorder))
    }

    fn is_raw(&self) -> bool {
        self.columns.len() < 3
    }

    /// The column of a field in the rows.
    fn column(&self, field: &str) -> Option<usize> {
        self.columns.iter().position(|(known, _)| *known == field)
    }

    fn cell<'r>(&self, row: &'r ByteRecord, field: &str) -> &'r str {
        let cell = self.column(field).and_then(|column| row.get(column)).unwrap_or_default();
        std::str::from_utf8(cell).expect("a cell that was taken is UTF-8")
    }
}

/// What never waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the recorder never waits"),
    }
}

/// Every row was taken: each says what its cells say.
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

/// Nobody was known before, so that every facility is registered under a name that stands there.
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
    assert_eq!(report.merged.repeated_rows, repeated as u64);
}

fn blood_type(cell: &str) -> BloodType {
    let text = squashed(cell);
    if text.is_empty() || text.eq_ignore_ascii_case("unknown") {
        BloodType::Unknown
    } else {
        BloodType::from_notation(&text).expect("it was taken")
    }
}

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
    // Printed by its format, it is read as the same instant.
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

/// A refusal names where it stands, and what stands there.
fn named(case: &Case, fault: &Fault) {
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
            // A number, and an id, may be shown as what they are.
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

/// No row is lost, and the first that is refused is the one at which `stop` stops.
fn skipped(case: &Case, path: &Path, first: &Fault) {
    let recorder = Recorder::default();
    let rows = rows_of(&case.file).len() as u64;
    // What an earlier input has left would be kept.
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
        // Further rows break the file.
        Err(ImportError::Interrupted { cause, .. }) => {
            assert!(matches!(*cause, ImportError::Broken { .. }), "{cause}")
        }
        Err(error) => panic!("{error}"),
    }
}
