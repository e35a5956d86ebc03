//! `import`: what a blood bank already has as CSV becomes facilities, closed days, deliveries and
//! requests.
//!
//! A row goes from `rows` (the file) through `columns` and `cells` (typed values) and `translate`
//! (what is to be written) to a `target` (the service's own write path, so that summaries follow as
//! for any event). Not in here: SQL, and which days to refresh.
//!
//! Importing a file again changes nothing: ids come from content, a row's statement is as old as
//! what it tells (`translate`), and facilities are stated only where they differ (`facilities`).
//! That is also how a run that broke off goes on: one starts it again.

mod cells;
mod columns;
mod constants;
mod dates;
mod error;
mod facilities;
mod identity;
mod ids;
mod merged;
#[cfg(test)]
mod messy_tests;
mod numbers;
mod recognise;
#[cfg(test)]
mod recorder;
mod rejects;
mod rows;
mod service_target;
mod target;
#[cfg(test)]
mod tests;
mod translate;

use std::{
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use self::{
    cells::Cells,
    columns::Mapping,
    dates::DateFormat,
    facilities::Directory,
    identity::Said,
    rejects::Rejects,
    rows::Rows,
    translate::{Chunk, Translator},
};
pub use self::{
    columns::ImportKind,
    error::{Fault, ImportError},
    merged::Merged,
    numbers::DecimalSign,
    rows::ShortRows,
    service_target::ServiceTarget,
    target::{Applied, ClosedStock, ImportTarget},
};

/// Rows in one transaction: enough that its cost is shared, few enough that it holds its locks for
/// milliseconds.
const CHUNK_ROWS: u64 = 1_000;

/// Lines of at most 80 characters, which a terminal does not wrap.
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

Fields (? optional; an empty cell counts as none):
  facilities     id?, name, timezone?
  stock-history  facility, date, blood_type?, quantity, timezone?
  distributions  id?, facility, date_delivered, blood_type?, quantity, timezone?
  requests       id?, facility, created_at, blood_type?, quantity?, timezone?

A facility is an id or a name. An unknown name is registered in the timezone
given (else UTC); a known facility keeps its own. Names are compared without
invisible characters and however their accents are composed; case counts.
Dates are RFC 3339 or YYYY-MM-DD unless --date-format says otherwise; without an
offset they are in the facility's zone.
Quantities are whole numbers: 12, 12.0, 12,00, 1 000, 1,234,567. What can be
read in two ways (1.000) is a fault until --decimal says how.
Importing a file twice changes nothing. A row without an id is known by its
values: corrected in the file, it is another row.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    Stop,
    Skip,
}

/// What an import did. `rows_read` = `rows_written` + `rows_skipped`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    pub rows_read: u64,
    /// Rows whose content is in, known before or not.
    pub rows_written: u64,
    pub rows_skipped: u64,
    /// Facilities registered or changed.
    pub facilities_registered: u64,
    /// Statements that were new, and closed days that changed; 0 where everything was known
    /// already.
    pub changed: u64,
    /// Statements that changed nothing: known already, or corrected since by something newer.
    pub superseded: u64,
    /// Known facilities whose own zone is not the one that the file names, and stays.
    pub zones_kept: u64,
    /// What became one facility.
    pub merged: Merged,
    pub short_rows: ShortRows,
    /// Where the skipped rows are.
    pub rejects: Option<PathBuf>,
    pub duration: Duration,
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rows read, {} in, {} skipped; {} facilities registered; {:.1} s, {:.0} rows/s",
            self.rows_read,
            self.rows_written,
            self.rows_skipped,
            self.facilities_registered,
            self.duration.as_secs_f64(),
            self.rows_read as f64 / self.duration.as_secs_f64().max(1e-3)
        )?;
        if self.rows_read == 0 {
            write!(f, "\nThe file has a header and no rows")?;
        }
        if self.changed == 0 && self.rows_written > 0 {
            write!(f, "\nAll of it was known already: nothing changed")?;
        } else if self.superseded > 0 {
            write!(
                f,
                "\n{} rows were known already, or have been corrected since: they changed nothing",
                self.superseded
            )?;
        }
        if let Some(path) = &self.rejects {
            write!(
                f,
                "\nThe skipped rows, each with its reason, are in {}: put them right in the file \
                 and import it again",
                path.display()
            )?;
        }
        write!(f, "{}", self.merged)?;
        if self.short_rows.count > 0 {
            let lines: Vec<_> = self.short_rows.first.iter().map(u64::to_string).collect();
            let more = if self.short_rows.count > lines.len() as u64 { ", …" } else { "" };
            write!(
                f,
                "\n{} fewer cells than the header, and what is missing counts as empty (line \
                 {}{more})",
                if self.short_rows.count == 1 {
                    "1 row has".to_owned()
                } else {
                    format!("{} rows have", self.short_rows.count)
                },
                lines.join(", ")
            )?;
        }
        if self.zones_kept > 0 {
            write!(
                f,
                "\n{} known facilities keep their own time zone, which is not the file's; import \
                 facilities changes it",
                self.zones_kept
            )?;
        }
        Ok(())
    }
}

/// Imports the file in chunks, each durable before the next is read, and prints nothing but a
/// progress bar where there is a terminal. An error leaves whole chunks behind.
pub async fn run(args: ImportArgs, target: &dyn ImportTarget) -> Result<ImportReport, ImportError> {
    let started = Instant::now();
    let rows = Rows::open(&args.file)?;
    let mapping =
        Mapping::new(args.kind, &args.columns, &args.constants, args.decimal, rows.header());
    let mapping = mapping.map_err(|error| rows.explained(error))?;
    let dates = DateFormat::new(args.date_format.as_deref())?;
    let rejects = match args.on_error {
        OnError::Skip => Some(Rejects::beside(&args.file, rows.header())),
        OnError::Stop => None,
    };
    let mut directory = Directory::new(target.facilities().await?);
    constants::check(args.kind, &mapping, &dates, &mut directory, target.now_ms().await?)?;
    let translator = Translator { kind: args.kind, dates, directory, said: Said::default() };
    let mut import = Import {
        rows,
        mapping,
        translator,
        rejects,
        target,
        written: 0,
        registered: 0,
        changed: 0,
        superseded: 0,
        short_rows: ShortRows::default(),
    };
    if let Err(cause) = import.all_chunks().await {
        return Err(ImportError::Interrupted {
            path: args.file,
            rows_in: import.written,
            cause: Box::new(cause),
        });
    }
    import.report(started)
}

/// An import under way.
struct Import<'a> {
    rows: Rows,
    mapping: Mapping,
    translator: Translator,
    /// `None`: a faulty row stops the import.
    rejects: Option<Rejects>,
    target: &'a dyn ImportTarget,
    written: u64,
    registered: u64,
    changed: u64,
    superseded: u64,
    short_rows: ShortRows,
}

impl Import<'_> {
    async fn all_chunks(&mut self) -> Result<(), ImportError> {
        let progress = progress_bar(self.rows.progress().1);
        loop {
            let chunk = self.read_chunk(self.target.now_ms().await?)?;
            let at_end = chunk.rows < CHUNK_ROWS;
            self.write_chunk(chunk).await?;
            progress.set_position(self.rows.progress().0);
            let rate = self.written as f64 / progress.elapsed().as_secs_f64().max(1e-3);
            progress.set_message(format!(
                "{} rows  {}/s",
                HumanCount(self.written),
                HumanCount(rate as u64)
            ));
            if at_end {
                progress.finish_and_clear();
                return Ok(());
            }
        }
    }

    /// The next rows, up to a chunk; fewer at the end of the file alone. Reading a local file
    /// blocks for microseconds, so it happens here.
    fn read_chunk(&mut self, now_ms: i64) -> Result<Chunk, ImportError> {
        let mut chunk = Chunk::default();
        while chunk.rows < CHUNK_ROWS
            && let Some(row) = self.rows.next()?
        {
            let cells = Cells { mapping: &self.mapping, line: row.line, record: row.cells };
            let is_short = row.is_short(&self.mapping);
            match is_short.and_then(|is_short| {
                self.translator.add(&mut chunk, &cells, now_ms).map(|()| is_short)
            }) {
                Ok(false) => {}
                Ok(true) => self.short_rows.add(row.line),
                Err(fault) => match &mut self.rejects {
                    Some(rejects) => rejects.add(row.cells, fault)?,
                    None => return Err(ImportError::Fault(fault)),
                },
            }
        }
        Ok(chunk)
    }

    /// Registrations and rows go together; closing stock follows the registrations of its
    /// facilities.
    async fn write_chunk(&mut self, mut chunk: Chunk) -> Result<(), ImportError> {
        let stock = chunk.take_stock();
        if !chunk.statements.is_empty() {
            let applied = self.target.apply(chunk.statements).await?;
            self.changed += applied.applied;
            self.superseded += applied.superseded;
        }
        self.registered += chunk.registered;
        if !stock.is_empty() {
            self.changed += self.target.record_stock(stock).await?;
        }
        self.written += chunk.rows;
        self.rejects.as_mut().map_or(Ok(()), Rejects::flush)
    }

    fn report(self, started: Instant) -> Result<ImportReport, ImportError> {
        let skipped = self.rejects.as_ref().map_or(0, |rejects| rejects.count);
        let path = self.rejects.as_ref().and_then(Rejects::path).map(PathBuf::from);
        if self.written == 0
            && let (Some(first), Some(rejects)) =
                (self.rejects.and_then(|rejects| rejects.first), &path)
        {
            return Err(ImportError::NothingUsable {
                rows: skipped,
                first,
                rejects: rejects.clone(),
            });
        }
        let report = ImportReport {
            rows_read: self.written + skipped,
            rows_written: self.written,
            rows_skipped: skipped,
            facilities_registered: self.registered,
            changed: self.changed,
            superseded: self.superseded,
            zones_kept: self.translator.directory.zones_kept.len() as u64,
            merged: self.translator.directory.merged,
            short_rows: self.short_rows,
            rejects: path,
            duration: started.elapsed(),
        };
        tracing::info!(
            kind = self.translator.kind.as_str(),
            rows_read = report.rows_read,
            rows_written = report.rows_written,
            rows_skipped = report.rows_skipped,
            facilities_registered = report.facilities_registered,
            changed = report.changed,
            superseded = report.superseded,
            duration_ms = report.duration.as_millis() as u64,
            "import done"
        );
        Ok(report)
    }
}

/// A bar over the file's bytes, on standard error; it shows nothing where that is no terminal.
fn progress_bar(total_bytes: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes}  {msg}  {eta_precise} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total_bytes).with_style(style)
}
