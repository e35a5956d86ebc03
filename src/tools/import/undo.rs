//! `imports` lists all imports, and `import undo` undoes one.

use std::fmt::{self, Write};

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::report::NAMED;
use crate::{
    access::audit,
    directory::Directory,
    domain::event::EntityKind,
    service::imports::{Undo, UndoCounts},
    store::{
        Store, StoreError,
        access::AuditNote,
        imports::{Import, ImportLog},
    },
    tools::actor,
};

/// Why an import was not undone, or not completely.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// There is no import with that number.
    #[error("there is no import {0}; facility-summary imports lists those that there are")]
    Unknown(i32),
    /// It was undone before, at that time.
    #[error("import {id} was undone already, on {at}")]
    Undone { id: i32, at: Timestamp },
    /// The database failed.
    #[error(
        "import {id} could not be taken back whole: {source}. What was taken back stays so; the \
         same command goes on from there"
    )]
    Store { id: i32, source: StoreError },
}

/// What an undo did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoReport {
    /// The import.
    pub import: Import,
    /// Its rows.
    pub rows: UndoCounts,
    /// Its closed days.
    pub days: UndoCounts,
    /// Its facilities.
    pub facilities: UndoCounts,
    /// Some of the days that were left, with the names of their facilities.
    pub days_left: Vec<String>,
}

/// Undoes an import: first its rows, then the closed days, then the facilities, to which nothing of
/// the import refers by then. When it fails half way, a second call continues.
pub async fn undo(id: i32, back: &Undo, directory: &Directory) -> Result<UndoReport, UndoError> {
    let store: &dyn Store = &*back.store;
    let failed = |source| UndoError::Store { id, source };
    let import = store
        .imports()
        .await
        .map_err(failed)?
        .into_iter()
        .find(|import| import.id == id)
        .ok_or(UndoError::Unknown(id))?;
    if let Some(at_ms) = import.undone_ms {
        return Err(UndoError::Undone { id, at: at(at_ms) });
    }
    let noted = async |note: AuditNote, is_end: bool| {
        match is_end {
            false => store.begin_undo(id, note.clone()).await.map_err(failed)?,
            true => store.finish_undo(id, note.clone()).await.map_err(failed)?,
        }
        audit::log(&note);
        Ok(())
    };
    let what = json!({"kind": import.what.kind, "source": import.what.source});
    noted(actor().note("import.undo_begun", &id.to_string(), what), false).await?;
    let kind = if import.what.kind == "distributions" {
        EntityKind::Distribution
    } else {
        EntityKind::Request
    };
    let mut report = UndoReport {
        import,
        rows: UndoCounts::default(),
        days: UndoCounts::default(),
        facilities: UndoCounts::default(),
        days_left: Vec::new(),
    };
    let mut after = Uuid::nil();
    while let Some(some) = back.rows(id, kind, &mut after).await.map_err(failed)? {
        report.rows.add(some);
    }
    while let Some(some) = back.days(id).await.map_err(failed)? {
        report.days.add(some);
    }
    let mut after = Uuid::nil();
    while let Some(some) = back.facilities(id, &mut after).await.map_err(failed)? {
        report.facilities.add(some);
    }
    let counts = json!({
        "rows": report.rows.undone, "days": report.days.undone,
        "facilities": report.facilities.undone,
    });
    noted(actor().note("import.undone", &id.to_string(), counts), true).await?;
    let name = |facility| {
        directory
            .get(facility)
            .map_or_else(|| facility.to_string(), |facility| facility.name.clone())
    };
    report.days_left = report
        .days
        .days_left
        .iter()
        .take(NAMED)
        .map(|key| format!("{} {}", name(key.facility_id), key.date))
        .collect();
    report.log();
    Ok(report)
}

impl UndoReport {
    fn log(&self) {
        tracing::info!(
            import = self.import.id,
            source = self.import.what.source,
            kind = self.import.what.kind,
            rows_taken_back = self.rows.undone,
            rows_changed_since = self.rows.changed,
            rows_of_other_imports = self.rows.of_others,
            rows_there_before = self.rows.were_there,
            days_taken_back = self.days.undone,
            days_left = self.days.days_left.len() as u64,
            facilities_taken_back = self.facilities.undone,
            facilities_left = self.facilities.referred_to.len() as u64 + self.facilities.changed,
            "import undone"
        );
    }
}

impl fmt::Display for UndoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Import { id, what, .. } = &self.import;
        write!(
            f,
            "Import {id} ({} from {}, of the source {}) is undone",
            what.kind, what.file, what.source
        )?;
        let (rows, days, facilities) = (&self.rows, &self.days, &self.facilities);
        if days.undone + days.days_left.len() as u64 + days.changed > 0 {
            write!(f, "\n{} closed days are as they were before", days.undone)?;
        } else if what.kind != "facilities" {
            write!(f, "\n{} rows are gone, or as they were before", rows.undone)?;
        }
        write!(f, "; {} facilities are gone, or as they were before", facilities.undone)?;
        for (count, why) in [
            (rows.changed, "rows were corrected or removed since: left"),
            (rows.of_others, "rows are in another import, too: left"),
            (rows.were_there, "rows were there before the import: left"),
            (days.changed, "closed days went with their facilities"),
            (facilities.changed, "facilities were changed since: left"),
            (facilities.of_others, "facilities are in another import, too: left"),
        ] {
            if count > 0 {
                write!(f, "\n{count} {why}")?;
            }
        }
        if !days.days_left.is_empty() {
            let (count, named) =
                (days.days_left.len(), some(&self.days_left, days.days_left.len()));
            write!(
                f,
                "\n{count} closed days have figures that were recorded since: left ({named})"
            )?;
        }
        if !facilities.referred_to.is_empty() {
            let (count, named) = (
                facilities.referred_to.len(),
                some(&facilities.referred_to, facilities.referred_to.len()),
            );
            write!(f, "\n{count} facilities are referred to by something else: left ({named})")?;
        }
        Ok(())
    }
}

/// The first few names, and `…` when there are more.
fn some(names: &[String], all: usize) -> String {
    let shown = &names[..names.len().min(NAMED)];
    format!("{}{}", shown.join(", "), if all > shown.len() { ", …" } else { "" })
}

/// The list of all imports, oldest first, two lines each. Fails when the database does.
pub async fn list(log: &dyn ImportLog) -> Result<String, StoreError> {
    let imports = log.imports().await?;
    if imports.is_empty() {
        return Ok("Nothing was imported yet.".to_owned());
    }
    let mut text = String::new();
    for import in &imports {
        let Import { id, what, rows_in, rows_skipped, .. } = import;
        let hash = what
            .sha256
            .as_deref()
            .map_or_else(|| "not known".to_owned(), |hash| hash.chars().take(12).collect());
        let column = if what.quantity_column.is_empty() {
            String::new()
        } else {
            format!(", quantity from {}", what.quantity_column)
        };
        let _ = writeln!(
            text,
            "{id}: {} from {}, source {}{column}; sha256 {hash}; {rows_in} rows in, \
             {rows_skipped} skipped; {}\n    {}",
            what.kind,
            what.file,
            what.source,
            state(import),
            what.command
        );
    }
    text.pop();
    Ok(text)
}

fn state(import: &Import) -> String {
    let begun = at(import.started_ms);
    match (import.finished_ms, import.undo_began_ms, import.undone_ms) {
        (_, _, Some(undone)) => format!("begun {begun}, undone {}", at(undone)),
        (_, Some(undo), None) => {
            format!(
                "begun {begun}; its undo, begun {}, is under way or broke off: import undo {} \
                 goes on",
                at(undo),
                import.id
            )
        }
        (Some(finished), None, None) => format!("begun {begun}, done {}", at(finished)),
        (None, None, None) => {
            format!(
                "begun {begun}; it is under way or broke off: its command goes on, import undo {} \
                 takes it back",
                import.id
            )
        }
    }
}

/// The instant, to the second.
fn at(ms: i64) -> Timestamp {
    Timestamp::from_second(ms.div_euclid(1_000)).unwrap_or(Timestamp::UNIX_EPOCH)
}
