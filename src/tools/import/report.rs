//! What an import did, in words for the person who keeps the data.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use super::{facilities::FacilityIndex, merged::Merged, rows::ShortRows};
use crate::{
    domain::summary::Key,
    store::imports::{Import, NewImport},
    tools::counted,
};

/// How many of the days that were replaced or left are named.
pub(super) const NAMED: usize = 3;

/// What an import did, or would do in a dry run. `rows_read` = `rows_written` + `rows_skipped`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// A dry run: nothing was written.
    pub dry_run: bool,
    /// The number of the import, by which it can be undone; `None` when nothing was written.
    pub import: Option<i32>,
    /// The source of the rows.
    pub source: String,
    /// The kind of the file, as the command line names it.
    pub kind: String,
    /// Rows of the file, without empty ones.
    pub rows_read: u64,
    /// Rows whose content is in the database, known before or not.
    pub rows_written: u64,
    /// Faulty rows that were left out.
    pub rows_skipped: u64,
    /// Facilities registered or changed.
    pub facilities_registered: u64,
    /// Statements that were new, and closed days that changed; 0 when everything was known already.
    pub changed: u64,
    /// Statements that changed nothing: they were known already, or were corrected since.
    pub superseded: u64,
    /// New rows that equal rows of other sources, by source.
    pub equal: BTreeMap<String, u64>,
    /// Rows that were imported by a release that kept no sources.
    pub legacy: u64,
    /// Other sources under which the same file was imported, with the numbers of those imports.
    pub same_file: Vec<(String, i32)>,
    /// Closed days whose figures this import replaced, with the import that they came from (`None`:
    /// from no import).
    pub replaced: Vec<(Option<i32>, Key)>,
    /// `replaced`, by source (`None`: from no import): the number of days, and the names of some.
    pub replaced_by_source: BTreeMap<Option<String>, (u64, Vec<String>)>,
    /// Figures of stock that were made from several rows.
    pub merged: u64,
    /// What was done with them, as a sentence.
    pub merged_in_words: Option<String>,
    /// Facilities that several rows or several spellings name.
    pub names_merged: Merged,
    /// Rows that had fewer cells than the header.
    pub short_rows: ShortRows,
    /// Known facilities that kept their zone although the file names another.
    pub zones_kept: u64,
    /// Where the skipped rows are.
    pub rejects: Option<PathBuf>,
    /// How long the import took.
    pub duration: Duration,
    /// The source of each earlier import, by its number.
    sources: BTreeMap<i32, String>,
}

impl ImportReport {
    /// A report with what is known before the first row.
    pub(super) fn of(new: &NewImport, imports: &[Import], dry_run: bool) -> Self {
        let is_same_file = |import: &&Import| {
            let it = &import.what;
            import.undone_ms.is_none()
                && new.sha256.is_some()
                && it.sha256 == new.sha256
                && it.kind == new.kind
                && it.source != new.source
        };
        ImportReport {
            dry_run,
            source: new.source.clone(),
            kind: new.kind.clone(),
            same_file: imports
                .iter()
                .filter(is_same_file)
                .map(|import| (import.what.source.clone(), import.id))
                .collect(),
            sources: imports.iter().map(|import| (import.id, import.what.source.clone())).collect(),
            ..ImportReport::default()
        }
    }

    /// Groups the replaced days by the source that they came from.
    pub(super) fn name_replaced_days(&mut self, directory: &FacilityIndex) {
        for (import, Key { facility_id, date }) in &self.replaced {
            let source = import.map(|import| {
                self.sources.get(&import).cloned().unwrap_or_else(|| format!("import {import}"))
            });
            let (count, named) = self.replaced_by_source.entry(source).or_default();
            *count += 1;
            if named.len() < NAMED {
                let name = directory
                    .name_of(*facility_id)
                    .map_or_else(|| facility_id.to_string(), str::to_owned);
                named.push(format!("{name} {date}"));
            }
        }
    }

    /// Logs the whole report.
    pub(super) fn log(&self) {
        tracing::info!(
            import = self.import,
            source = self.source,
            kind = self.kind,
            dry_run = self.dry_run,
            rows_read = self.rows_read,
            rows_written = self.rows_written,
            rows_skipped = self.rows_skipped,
            facilities_registered = self.facilities_registered,
            changed = self.changed,
            superseded = self.superseded,
            equal_rows = self.equal.values().sum::<u64>(),
            known_without_source = self.legacy,
            days_replaced = self.replaced.len() as u64,
            figures_of_several_rows = self.merged,
            short_rows = self.short_rows.count,
            zones_kept = self.zones_kept,
            duration_ms = self.duration.as_millis() as u64,
            "import done"
        );
    }

    /// The numbers of rows, and how to undo the import.
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (written, skipped) = (self.rows_written, self.rows_skipped);
        let read = counted(self.rows_read, "row", "rows");
        let registered = counted(self.facilities_registered, "facility", "facilities");
        let seconds = self.duration.as_secs_f64();
        if self.dry_run {
            write!(
                f,
                "Dry run, nothing was written: {read} read, {written} would be in, {skipped} \
                 skipped; {registered} would be registered"
            )?;
            return write!(f, "\nThe source would be {}", self.source);
        }
        let rate = self.rows_read as f64 / seconds.max(1e-3);
        write!(
            f,
            "{read} read, {written} in, {skipped} skipped; {registered} registered; \
             {seconds:.1} s, {rate:.0} rows/s"
        )?;
        match self.import {
            Some(import) => {
                write!(
                    f,
                    "\nImport {import}, of the source {}; facility-summary import undo {import} \
                     takes it back",
                    self.source
                )
            }
            None => Ok(()),
        }
    }

    /// What to do when rows that counted as new are in fact the same as those of that source.
    fn remedy(&self, source: &str) -> String {
        match self.import {
            Some(import) => format!(
                "if they are the same, import undo {import}, and import with --source {source}"
            ),
            None => format!("if they are the same, import with --source {source}"),
        }
    }

    /// A file without rows, and rows that changed nothing.
    fn known_rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows_read == 0 {
            write!(f, "\nThe file has a header and no rows")?;
        }
        if self.changed == 0 && self.rows_written > 0 {
            write!(
                f,
                "\nAll of it was known already: nothing {}",
                if self.dry_run { "would change" } else { "changed" }
            )?;
        } else if self.superseded > 0 {
            write!(
                f,
                "\n{} changed nothing: known already, or corrected since",
                counted(self.superseded, "row", "rows")
            )?;
        }
        Ok(())
    }

    /// Rows that equal rows of other sources, or of a release that kept no sources.
    fn rows_of_other_sources(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (source, import) in &self.same_file {
            write!(
                f,
                "\nThis very file was imported as the source {source} (import {import}): {}",
                self.remedy(source)
            )?;
        }
        for (source, rows) in &self.equal {
            write!(
                f,
                "\n{} the same content as rows of the source {source}: taken as other {}; {}",
                counted(*rows, "row has", "rows have"),
                self.kind,
                self.remedy(source)
            )?;
        }
        if self.legacy > 0 {
            write!(
                f,
                "\n{} in from a release that kept no sources: taken as known, whatever file that \
                 was",
                counted(self.legacy, "row is", "rows are")
            )?;
        }
        Ok(())
    }

    /// Closed days of which other figures were replaced.
    fn replaced_days(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (source, (days, named)) in &self.replaced_by_source {
            let from = source
                .as_deref()
                .map_or("that no import recorded".to_owned(), |source| format!("from {source}"));
            let more = if *days > named.len() as u64 { ", …" } else { "" };
            let replaced = if self.dry_run { "they would be replaced" } else { "replaced" };
            write!(
                f,
                "\n{} other figures {from}: {replaced} ({}{more})",
                counted(*days, "day had", "days had"),
                named.join(", ")
            )?;
        }
        Ok(())
    }

    /// Where the skipped rows are.
    fn rejected_rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rejects {
            Some(path) if self.dry_run => write!(
                f,
                "\nThe skipped rows, each with its reason, would be in {}",
                path.display()
            ),
            Some(path) => write!(
                f,
                "\nThe skipped rows, each with its reason, are in {}: put them right in the file \
                 and import it again",
                path.display()
            ),
            None => Ok(()),
        }
    }

    /// Rows that have fewer cells than the header.
    fn rows_with_missing_cells(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.short_rows.count > 0 {
            let lines: Vec<_> = self.short_rows.first.iter().map(u64::to_string).collect();
            let more = if self.short_rows.count > lines.len() as u64 { ", …" } else { "" };
            write!(
                f,
                "\n{} fewer cells than the header, and what is missing counts as empty (line \
                 {}{more})",
                counted(self.short_rows.count, "row has", "rows have"),
                lines.join(", ")
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.known_rows(f)?;
        self.rows_of_other_sources(f)?;
        if let Some(words) = &self.merged_in_words {
            write!(f, "\n{words}")?;
        }
        self.replaced_days(f)?;
        self.rejected_rows(f)?;
        write!(f, "{}", self.names_merged)?;
        self.rows_with_missing_cells(f)?;
        if self.zones_kept > 0 {
            write!(
                f,
                "\n{} own time zone, which is not the file's; import facilities changes it",
                counted(self.zones_kept, "known facility keeps its", "known facilities keep their")
            )?;
        }
        Ok(())
    }
}
