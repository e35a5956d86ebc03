//! `import`: reads the CSV files that a blood bank already has, and writes facilities, closed days,
//! deliveries and requests.
//!
//! A row goes from `rows` (the file) through `columns` and `cells` (typed values) and `translate`
//! (what to write) to a `target`. That is the service's own write path, so summaries are refreshed
//! as for any event. SQL is not in this folder, nor the decision which days to refresh.
//!
//! **Importing a file again changes nothing.** The id of a row comes from its content and its
//! source (`identity`, `identify`). Its statement is as old as the fact that it states
//! (`translate`). Facilities are stated only when they differ (`facilities`). So a run that broke
//! off is continued by starting it again. What each import wrote is noted with it, so that it can
//! be undone (`undo`).

mod arguments;
mod cells;
mod columns;
mod constants;
mod dates;
mod encodings;
mod error;
mod facilities;
mod facility_name;
mod identify;
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
mod report;
mod rows;
mod separators;
mod service_target;
mod source;
mod stock;
mod target;
#[cfg(test)]
mod tests;
mod translate;
mod undo;

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    time::Instant,
};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

pub use self::{
    arguments::{ImportAction, ImportArgs, ImportCommand, OnError},
    columns::ImportKind,
    error::{ImportError, RowFault},
    merged::Merged,
    numbers::DecimalSign,
    report::ImportReport,
    rows::ShortRows,
    service_target::ServiceTarget,
    source::command_line,
    stock::SameDay,
    target::{ClosedStock, ImportTarget, Part, StatementCounts},
    undo::{UndoError, UndoReport, list, undo},
};
use self::{
    cells::Cells,
    columns::Mapping,
    dates::DateFormat,
    facilities::FacilityIndex,
    identify::{Identified, Identifier},
    identity::Said,
    rejects::Rejects,
    rows::Rows,
    stock::ClosingStock,
    translate::{Chunk, Translator},
};
use crate::store::imports::{Finished, NewImport};

/// Rows in one transaction: enough to share its cost, and few enough that it holds its locks only
/// for milliseconds.
const CHUNK_ROWS: u64 = 1_000;

/// Imports the file in chunks. Each chunk is durable before the next one is read; an error leaves
/// whole chunks. Prints only a progress bar, and only on a terminal. `command` is the command line
/// that is noted with the import.
pub async fn run(
    args: ImportArgs,
    command: &str,
    target: &dyn ImportTarget,
) -> Result<ImportReport, ImportError> {
    let started = Instant::now();
    let rows = Rows::open(&args.file)?;
    let mapping =
        Mapping::new(args.kind, &args.columns, &args.constants, args.decimal, rows.header());
    let mapping = mapping.map_err(|error| rows.explained(error))?;
    check_same_day(&args, &mapping)?;
    let dates = DateFormat::new(args.date_format.as_deref())?;
    let origins = source::origins(&args, &mapping)?;
    let new = source::new_import(&args, command, &origins, &mapping)?;
    let rejects = match args.on_error {
        OnError::Skip => Some(Rejects::beside(&args.file, rows.header(), args.dry_run)),
        OnError::Stop => None,
    };
    let mut directory = FacilityIndex::new(target.facilities().await?);
    constants::check(args.kind, &mapping, &dates, &mut directory, target.now_ms().await?)?;
    let translator = Translator {
        origins: origins.clone(),
        dates,
        directory,
        said: Said::default(),
        claimed: HashSet::new(),
        days: ClosingStock::new(args.same_day),
    };
    let imports = target.imports().await?;
    let identifier = Identifier {
        origins,
        kind: translator.entity_kind(),
        parents: source::parents(&new, &imports),
        imports: imports.iter().map(|import| (import.id, import.clone())).collect(),
        equal: BTreeMap::new(),
        legacy: 0,
    };
    let report = ImportReport::of(&new, &imports, args.dry_run);
    let again = imports
        .iter()
        .find(|import| import.what.fingerprint == new.fingerprint && import.undone_ms.is_none());
    let part = Part { import: again.map_or(0, |import| import.id), dry_run: args.dry_run };
    let mut import = ImportRun {
        rows,
        mapping,
        translator,
        identifier,
        rejects,
        target,
        new,
        part,
        has_begun: false,
        report,
    };
    if let Err(cause) = import.all_chunks().await {
        let rows_in = if args.dry_run { 0 } else { import.report.rows_written };
        return Err(ImportError::Interrupted { path: args.file, rows_in, cause: Box::new(cause) });
    }
    import.finish(started).await
}

/// Checks `--same-day` and `recorded_at`: both are only for stock, and `recorded_at` is only for
/// `--same-day last`. Wrong use otherwise.
fn check_same_day(args: &ImportArgs, mapping: &Mapping) -> Result<(), ImportError> {
    if let Some(rule) = args.same_day.filter(|_| args.kind != ImportKind::StockHistory) {
        let (rule, kind) = (rule.as_str(), args.kind.as_str());
        let problem = format!(
            "--same-day {rule}: it is for stock-history; several {kind} of a day are several \
             {kind}"
        );
        return Err(ImportError::WrongUse(problem));
    }
    if mapping.origin(columns::Field::RecordedAt).is_some() && args.same_day != Some(SameDay::Last)
    {
        return Err(ImportError::WrongUse(
            "the field recorded_at says which figure of a day is the last: give --same-day last \
             with it"
                .to_owned(),
        ));
    }
    Ok(())
}

/// A running import.
struct ImportRun<'a> {
    rows: Rows,
    mapping: Mapping,
    translator: Translator,
    identifier: Identifier,
    /// `None`: a faulty row stops the import.
    rejects: Option<Rejects>,
    target: &'a dyn ImportTarget,
    new: NewImport,
    part: Part,
    has_begun: bool,
    report: ImportReport,
}

impl ImportRun<'_> {
    async fn all_chunks(&mut self) -> Result<(), ImportError> {
        let progress = progress_bar(self.rows.progress().1);
        if self.translator.origins.kind == ImportKind::StockHistory {
            self.all_days(&progress).await?;
        } else {
            loop {
                let chunk = self.read_chunk(CHUNK_ROWS, self.target.now_ms().await?)?;
                let at_end = chunk.rows < CHUNK_ROWS;
                self.report.rows_written += self.write_chunk(chunk).await?;
                self.show(&progress, self.rows.progress().0);
                if at_end {
                    break;
                }
            }
        }
        progress.finish_and_clear();
        Ok(())
    }

    /// Reads the whole file before the first day is written, since the rows of a day may be
    /// anywhere in it.
    async fn all_days(&mut self, progress: &ProgressBar) -> Result<(), ImportError> {
        let mut chunk = self.read_chunk(u64::MAX, self.target.now_ms().await?)?;
        let (all, bytes) = (self.translator.days.len().max(1) as u64, self.rows.progress().1);
        while !chunk.facilities.is_empty() || !chunk.claims.is_empty() {
            let some = |len: usize| len.min(CHUNK_ROWS as usize);
            let facilities = chunk.facilities.drain(..some(chunk.facilities.len())).collect();
            let claims = chunk.claims.drain(..some(chunk.claims.len())).collect();
            self.write_chunk(Chunk { facilities, claims, ..Chunk::default() }).await?;
        }
        loop {
            let (days, rows) = self.translator.days.take(CHUNK_ROWS);
            if days.is_empty() {
                return Ok(());
            }
            self.begin().await?;
            let recorded = self.target.record_stock(self.part, days).await?;
            self.report.changed += recorded.changed;
            self.report.replaced.extend(recorded.replaced);
            self.report.rows_written += rows;
            self.show(progress, bytes - bytes * self.translator.days.len() as u64 / all);
        }
    }

    fn show(&self, progress: &ProgressBar, bytes: u64) {
        progress.set_position(bytes);
        let rows = self.report.rows_written;
        let rate = rows as f64 / progress.elapsed().as_secs_f64().max(1e-3);
        progress.set_message(format!("{} rows  {}/s", HumanCount(rows), HumanCount(rate as u64)));
    }

    /// The next rows, at most `most`; fewer only at the end of the file. Reading a local file
    /// blocks only for microseconds, so no thread of its own is needed.
    fn read_chunk(&mut self, most: u64, now_ms: i64) -> Result<Chunk, ImportError> {
        let mut chunk = Chunk::default();
        while chunk.rows < most
            && let Some(row) = self.rows.next()?
        {
            let cells = Cells { mapping: &self.mapping, line: row.line, record: row.cells };
            let is_short = row.is_short(&self.mapping);
            match is_short.and_then(|is_short| {
                self.translator.add(&mut chunk, &cells, now_ms).map(|()| is_short)
            }) {
                Ok(false) => {}
                Ok(true) => self.report.short_rows.add(row.line),
                Err(fault) => match &mut self.rejects {
                    Some(rejects) => rejects.add(row.cells, fault)?,
                    None => return Err(ImportError::Fault(fault)),
                },
            }
        }
        self.rejects.as_mut().map_or(Ok(()), Rejects::flush)?;
        Ok(chunk)
    }

    /// Writes registrations and rows in one transaction. Returns how many rows are written.
    async fn write_chunk(&mut self, chunk: Chunk) -> Result<u64, ImportError> {
        if chunk.facilities.is_empty() && chunk.drafts.is_empty() && chunk.claims.is_empty() {
            return Ok(chunk.rows);
        }
        let Identified { statements: mut rows, repeated } =
            self.identifier.identify(chunk.drafts, self.target).await?;
        let registered = chunk.facilities.len() as u64;
        let mut statements = chunk.facilities;
        let mut known = 0;
        if self.part.dry_run {
            // In a dry run, the earlier rows of this file are not in the database, so rows that
            // repeat one are left out here.
            known = repeated.len() as u64;
            let mut position = 0..;
            rows.retain(|_| !position.next().is_some_and(|position| repeated.contains(&position)));
        }
        statements.append(&mut rows);
        self.begin().await?;
        let applied = self.target.apply(self.part, statements, chunk.claims).await?;
        self.report.changed += applied.applied;
        self.report.superseded += applied.superseded + known;
        self.report.facilities_registered += registered;
        Ok(chunk.rows)
    }

    /// Begins the import in the database, before its first part is written.
    async fn begin(&mut self) -> Result<(), ImportError> {
        if !self.has_begun && !self.part.dry_run {
            self.part.import = self.target.begin(&self.new).await?;
        }
        self.has_begun = true;
        Ok(())
    }

    async fn finish(mut self, started: Instant) -> Result<ImportReport, ImportError> {
        let skipped = self.rejects.as_ref().map_or(0, |rejects| rejects.count);
        let rejects: Option<PathBuf> =
            self.rejects.as_ref().and_then(Rejects::path).map(Into::into);
        if self.report.rows_written == 0
            && let (Some(first), Some(rejects)) =
                (self.rejects.and_then(|rejects| rejects.first), &rejects)
        {
            return Err(ImportError::NothingUsable {
                rows: skipped,
                first,
                rejects: rejects.clone(),
            });
        }
        if self.has_begun && !self.part.dry_run {
            let finished = Finished {
                rows_in: i64::try_from(self.report.rows_written).unwrap_or(i64::MAX),
                rows_skipped: i64::try_from(skipped).unwrap_or(i64::MAX),
                rejects: rejects.as_deref().map(source::file_name),
            };
            self.target.finish(self.part.import, &finished).await?;
            self.report.import = Some(self.part.import);
        }
        self.report.rows_read = self.report.rows_written + skipped;
        self.report.rows_skipped = skipped;
        self.report.rejects = rejects;
        self.report.equal = self.identifier.equal;
        self.report.legacy = self.identifier.legacy;
        self.report.names_merged = std::mem::take(&mut self.translator.directory.merged);
        self.report.merged = self.translator.days.merged;
        self.report.merged_in_words = self.translator.days.merged_in_words();
        self.report.zones_kept = self.translator.directory.zones_kept.len() as u64;
        self.report.name_replaced_days(&self.translator.directory);
        self.report.duration = started.elapsed();
        self.report.log();
        Ok(self.report)
    }
}

/// A progress bar over the bytes of the file, on standard error. It shows nothing without a
/// terminal.
fn progress_bar(total_bytes: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes}  {msg}  {eta_precise} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total_bytes).with_style(style)
}
