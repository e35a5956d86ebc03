//! The errors of an import. Each says what is wrong, where, and what would be right.

use std::{fmt, io, path::PathBuf};

/// Why an import ended early. The rows that it had written by then stay.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The command line contradicts itself or does not fit the file. No row was read.
    #[error("{0}")]
    WrongUse(String),
    /// A column that the command line names and the file does not have.
    #[error("the file has no column \"{named}\". {columns}")]
    NoColumn { named: String, columns: String },
    /// The file is not CSV in UTF-8.
    #[error("{} is {what}", path.display())]
    NotCsv { path: PathBuf, what: String },
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// The file cannot be read on from this line, so skipping the row does not help either.
    #[error("line {line}: {problem}")]
    Broken { line: u64, problem: String },
    /// A faulty row, with `--on-error stop`.
    #[error("{0}")]
    Fault(RowFault),
    /// No row was usable, with `--on-error skip`.
    #[error(
        "every one of the {rows} rows was refused, so the columns or the date format are probably \
         wrong. The first: {first}\nAll of them, each with its reason, are in {}",
        rejects.display()
    )]
    NothingUsable { rows: u64, first: RowFault, rejects: PathBuf },
    /// The rejects file could not be written.
    #[error(
        "cannot write the refused rows to {}: {source}. Make its folder writable, or import a copy \
         of the file from elsewhere",
        path.display()
    )]
    Rejects { path: PathBuf, source: io::Error },
    /// The service or its database failed.
    #[error("the rows could not be written: {0}")]
    Target(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// One of the errors above after rows had been read. `rows_in` of them are written.
    #[error("{}: {cause}\n{}", path.display(), standing(*rows_in))]
    Interrupted { path: PathBuf, rows_in: u64, cause: Box<ImportError> },
}

/// What is written after a break, and how to continue.
fn standing(rows_in: u64) -> String {
    match rows_in {
        0 => "Nothing was written.".to_owned(),
        rows => format!(
            "{rows} rows before it are in and stay. The same command goes on from there: rows \
             that are in change nothing. To take them back, facility-summary imports tells the \
             number for import undo."
        ),
    }
}

impl ImportError {
    /// The exit code of the process: 2 for wrong use, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            ImportError::WrongUse(_) | ImportError::NoColumn { .. } => 2,
            ImportError::Interrupted { cause, .. } => cause.exit_code(),
            _ => 1,
        }
    }
}

/// A cell, or a row, that cannot be what its field wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// The line in which the row begins; the header is line 1.
    pub line: u64,
    /// Where the value comes from, such as `column "qValue"`; `None` when the row as a whole is at
    /// fault.
    pub origin: Option<String>,
    /// The faulty value, as it is in the file.
    pub value: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        match &self.origin {
            Some(origin) => {
                write!(f, ", {origin}: \"{}\" {}", shortened(&self.value), self.problem)
            }
            None => write!(f, ": {}", self.problem),
        }
    }
}

/// At most this many characters of a faulty value are shown. That is enough to find it. After a
/// quote that was not closed, the value may be half of the file.
const SHOWN_CHARS: usize = 80;

fn shortened(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}
