//! The command line of `import`, and the text of its `--help`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::{DecimalSign, ImportKind, SameDay};

/// The end of `--help`. Its lines have at most 80 characters, so that a terminal does not wrap
/// them.
const EXAMPLES: &str = "\
Examples:
  facility-summary import facilities banks.csv \\
      --columns name=name --set timezone=Asia/Kolkata
  facility-summary import stock-history stock.csv \\
      --columns facility=city,date=date,blood_type=blood_type,quantity=qValue \\
      --date-format %d-%m-%Y --set timezone=Europe/Warsaw
  facility-summary import distributions supply.csv \\
      --columns date_delivered=YEAR+MONTH,quantity=QTY_SUPPLIED \\
      --set facility=Tema --set timezone=Africa/Accra --date-format '%Y %B' \\
      --on-error skip
  facility-summary import requests demand.csv \\
      --columns created_at=YEAR+MONTH,quantity=QTY_DEMANDED \\
      --set facility=Tema --set timezone=Africa/Accra --date-format '%Y %B'

  facility-summary import requests demand.csv --dry-run \\
      --columns created_at=YEAR+MONTH,quantity=QTY_DEMANDED --set facility=Tema
  facility-summary imports
  facility-summary import undo 3

Fields (? optional; an empty cell counts as none):
  facilities     id?, name, timezone?
  stock-history  facility, date, blood_type?, quantity, recorded_at?, timezone?
  distributions  id?, facility, date_delivered, blood_type?, quantity, timezone?
  requests       id?, facility, created_at, blood_type?, quantity?, timezone?

A facility is an id or a name. An unknown name is registered in the timezone
given (else UTC); a known facility keeps its own. Names are compared without
invisible characters and however their accents are composed; case counts.
Dates are RFC 3339 or YYYY-MM-DD unless --date-format says otherwise; without an
offset they are in the facility's zone.
Quantities are whole numbers: 12, 12.0, 12,00, 1 000, 1,234,567. What can be
read in two ways (1.000) is a fault until --decimal says how.

Importing a file twice changes nothing. A row without an id is known by what it
says (not by how that is written), the column of its quantity, and its source:
the same row from another source is another delivery. A source is named after
its file, unless --source says otherwise: give one to the next file of a series.
Corrected in the file, a row is another row: undo the import first.
Of stock-history, two rows of one facility, day and blood type are a fault,
unless --same-day says what they are.";

// What `import` takes: a file, or an action. (A doc comment here could become the text of
// `--help`.)
#[derive(Debug, clap::Args)]
#[command(
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct ImportCommand {
    /// `undo`; `None` for an import of a file.
    #[command(subcommand)]
    pub action: Option<ImportAction>,
    /// The file and how it is read; `None` for an action.
    #[command(flatten)]
    pub file: Option<ImportArgs>,
}

// What `import` does other than to load a file. (A doc comment could become the text of `--help`.)
#[derive(Debug, clap::Subcommand)]
pub enum ImportAction {
    /// Take back what an import brought
    ///
    /// What others have corrected since stays, and is counted; and so does what another import
    /// brought, too.
    #[command(
        after_help = "Example:\n  facility-summary imports\n  facility-summary import undo 3"
    )]
    Undo {
        /// The number of the import, as `facility-summary imports` lists it
        id: i32,
    },
}

// How one file is imported. (A doc comment here could become the text of `--help`.)
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// What the file holds
    #[arg(value_enum)]
    pub kind: ImportKind,
    /// A CSV file in UTF-8 whose first line names its columns
    pub file: PathBuf,
    /// Which column feeds which field; A+B joins two columns with a space
    #[arg(long, value_name = "FIELD=COLUMN,…", required = true)]
    pub columns: Vec<String>,
    /// The same value of a field for every row (repeatable)
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub constants: Vec<String>,
    /// How dates are written, such as %d-%m-%Y or '%Y %B' (then the first of the month)
    #[arg(long, value_name = "FORMAT")]
    pub date_format: Option<String>,
    /// Which mark is the decimal sign of the file's numbers; only numbers such as 1.000 need it,
    /// which are 1000 or 1
    #[arg(long, value_enum, value_name = "SIGN")]
    pub decimal: Option<DecimalSign>,
    /// What to do at a faulty row: stop there, or go on and collect such rows beside FILE, in
    /// FILE.rejects.csv or the next free name
    #[arg(long, value_enum, default_value = "stop")]
    pub on_error: OnError,
    /// Whose rows these are [default: the file's name without folder and ending]
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Of stock-history: what several rows of one facility, day and blood type are
    #[arg(long, value_enum, value_name = "RULE")]
    pub same_day: Option<SameDay>,
    /// Say what would come of it, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What an import does at a faulty row: `Stop` ends it there; `Skip` goes on and collects such
/// rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    Stop,
    Skip,
}
