//! What an import did, in words for whoever keeps the data.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use jiff::civil::Date;
use uuid::Uuid;

use super::{facilities::Directory, merged::Merged, rows::ShortRows};
use crate::store::imports::{Import, NewImport};

/// Days that are named where some were replaced or left.
pub(super) const NAMED: usize = 3;

/// What an import did, or what it would do. `rows_read` = `rows_written` + `rows_skipped`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Nothing was written.
    pub dry_run: bool,
    /// The number of the import, under which it can be undone; `None` where nothing was written.
    pub import: Option<i32>,
    pub source: String,
    pub kind: String,
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
    /// New rows that equal rows of other sources, by source.
    pub equal: BTreeMap<String, u64>,
    /// Rows that are in from a release that kept no sources.
    pub legacy: u64,
    /// Other sources under which this very file was imported, with the numbers of those imports.
    pub same_file: Vec<(String, i32)>,
    /// Closed days with figures of another import (`None`: of none) that this one replaced.
    pub replaced: Vec<(Option<i32>, (Uuid, Date))>,
    /// The same by source (`None`: of no import): how many days, and some of them.
    pub replaced_by_source: BTreeMap<Option<String>, (u64, Vec<String>)>,
    /// Figures of stock that several rows made, and what became of them.
    pub merged: u64,
    pub merged_in_words: Option<String>,
    /// Rows and spellings that came to one facility.
    pub names_merged: Merged,
    /// Rows that lacked their empty last cells.
    pub short_rows: ShortRows,
    /// Known facilities whose own zone is not the one that the file names, and stays.
    pub zones_kept: u64,
    /// Where the skipped rows are.
    pub rejects: Option<PathBuf>,
    pub duration: Duration,
    sources: BTreeMap<i32, String>,
}

impl ImportReport {
    /// The beginning of one: what can be told before the first row.
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

    /// Says of whom the replaced days were.
    pub(super) fn name_replaced_days(&mut self, directory: &Directory) {
        for (import, (facility, date)) in &self.replaced {
            let source = import.map(|import| {
                self.sources.get(&import).cloned().unwrap_or_else(|| format!("import {import}"))
            });
            let (count, named) = self.replaced_by_source.entry(source).or_default();
            *count += 1;
            if named.len() < NAMED {
                let name = directory
                    .name_of(*facility)
                    .map_or_else(|| facility.to_string(), str::to_owned);
                named.push(format!("{name} {date}"));
            }
        }
    }

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

    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (read, written, skipped, registered) =
            (self.rows_read, self.rows_written, self.rows_skipped, self.facilities_registered);
        let seconds = self.duration.as_secs_f64();
        if self.dry_run {
            write!(
                f,
                "Dry run, nothing was written: {read} rows read, {written} would be in, {skipped} \
                 skipped; {registered} facilities would be registered"
            )?;
            return write!(f, "\nThey would be of the source {}", self.source);
        }
        let rate = read as f64 / seconds.max(1e-3);
        write!(
            f,
            "{read} rows read, {written} in, {skipped} skipped; {registered} facilities \
             registered; {seconds:.1} s, {rate:.0} rows/s"
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

    /// What to do about rows that were taken for others.
    fn remedy(&self, source: &str) -> String {
        match self.import {
            Some(import) => format!(
                "if they are the same, import undo {import}, and import with --source {source}"
            ),
            None => format!("if they are the same, import with --source {source}"),
        }
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
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
                "\n{} rows were known already, or have been corrected since: they changed nothing",
                self.superseded
            )?;
        }
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
                "\n{rows} rows equal rows of the source {source}: taken as other {}; {}",
                self.kind,
                self.remedy(source)
            )?;
        }
        if self.legacy > 0 {
            write!(
                f,
                "\n{} rows are in from a release that kept no sources: taken as known, whatever \
                 file they came from",
                self.legacy
            )?;
        }
        if let Some(words) = &self.merged_in_words {
            write!(f, "\n{words}")?;
        }
        for (source, (days, named)) in &self.replaced_by_source {
            let from = source
                .as_deref()
                .map_or("that no import recorded".to_owned(), |source| format!("from {source}"));
            let more = if *days > named.len() as u64 { ", …" } else { "" };
            let replaced = if self.dry_run { "they would be replaced" } else { "replaced" };
            write!(
                f,
                "\n{days} days had other figures {from}: {replaced} ({}{more})",
                named.join(", ")
            )?;
        }
        match &self.rejects {
            Some(path) if self.dry_run => write!(
                f,
                "\nThe skipped rows, each with its reason, would be in {}",
                path.display()
            )?,
            Some(path) => write!(
                f,
                "\nThe skipped rows, each with its reason, are in {}: put them right in the file \
                 and import it again",
                path.display()
            )?,
            None => {}
        }
        write!(f, "{}", self.names_merged)?;
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
