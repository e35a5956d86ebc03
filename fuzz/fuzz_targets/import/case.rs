//! The cases: how an input is read, and how its file is imported.

use std::{
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
};

use clap::ValueEnum;
use csv::ByteRecord;
use facility_summary::tools::import::{
    self, DecimalSign, ImportArgs, ImportError, ImportKind, ImportReport, OnError,
};

use crate::recorder::Recorder;

/// One input: a file, and the options with which it is imported.
pub struct Case {
    /// What the file holds.
    pub kind: ImportKind,
    /// The decimal sign that the command line names, if it does.
    pub decimal: Option<char>,
    /// The zone of facilities that the file adds.
    pub zone: String,
    /// The date format, if there is one.
    pub format: Option<String>,
    /// Each field with its column.
    columns: Vec<(&'static str, String)>,
    /// The whole file, with its header.
    pub file: Vec<u8>,
}

impl Case {
    /// Reads a case; `None` when the first line does not have the form of one.
    pub fn read(input: &[u8]) -> Option<Self> {
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

    /// Imports the file, which is at `path`, into the recorder.
    pub fn import(
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

    /// The file has a header of its own.
    pub fn is_raw(&self) -> bool {
        self.columns.len() < 3
    }

    /// The column of a field in the rows.
    fn column(&self, field: &str) -> Option<usize> {
        self.columns.iter().position(|(known, _)| *known == field)
    }

    /// The cell of a field in an accepted row; empty when the row has none.
    pub fn cell<'r>(&self, row: &'r ByteRecord, field: &str) -> &'r str {
        let cell = self.column(field).and_then(|column| row.get(column)).unwrap_or_default();
        std::str::from_utf8(cell).expect("a cell that was taken is UTF-8")
    }
}

/// Runs a future that never waits.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the recorder never waits"),
    }
}
