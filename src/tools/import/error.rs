//! What can go wrong in an import, in words that say where it is and what would be right.

use std::{fmt, io, path::PathBuf};

/// Why an import ended early. What it had written by then stays.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The command line does not fit the file or itself; nothing was read beyond the header.
    #[error("{0}")]
    WrongUse(String),
    /// A column that the command line names and the file does not have.
    #[error("the file has no column \"{named}\". {columns}")]
    NoColumn { named: String, columns: String },
    /// The file is something else than what is read here.
    #[error("{} is {what}", path.display())]
    NotCsv { path: PathBuf, what: String },
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// The file as a whole cannot be read on from here, so that not even skipping helps.
    #[error("line {line}: {problem}")]
    Broken { line: u64, problem: String },
    #[error("{0}")]
    Fault(Fault),
    #[error(
        "every one of the {rows} rows was refused, so the columns or the date format are probably wrong. The first: {first}\nAll of them, each with its reason, are in {}",
        rejects.display()
    )]
    NothingUsable { rows: u64, first: Fault, rejects: PathBuf },
    #[error("cannot write the refused rows to {}: {source}. Make its folder writable, or import a copy of the file from elsewhere", path.display())]
    Rejects { path: PathBuf, source: io::Error },
    /// The service or its database failed.
    #[error("the rows could not be written: {0}")]
    Target(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Any of the above after rows had been read, with how many of them are in.
    #[error("{}: {cause}\n{}", path.display(), standing(*rows_in))]
    Interrupted { path: PathBuf, rows_in: u64, cause: Box<ImportError> },
}

/// What stands after a break, and how to go on.
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
pub struct Fault {
    /// The line in which the row begins; the header is line 1.
    pub line: u64,
    /// Where the value comes from, such as `column "qValue"`; `None` where the row as a whole is
    /// at fault.
    pub origin: Option<String>,
    pub value: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl fmt::Display for Fault {
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

/// At most this many characters of a faulty value are shown: enough to find it, and a swallowed
/// half of a file does not fill the screen.
const SHOWN_CHARS: usize = 80;

fn shortened(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}
