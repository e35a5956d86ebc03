//! What becomes of one row when an import that names it is undone: a pure decision over the notes
//! of all imports that name the row.

use crate::{
    domain::event::Record,
    store::imports::{CONFIRMED, Hidden, ImportedRow},
};

/// The outcome for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UndoOutcome {
    /// It is gone, or as it was before.
    Undone,
    /// It was there before the import, which did not change it.
    WasThere,
    /// Another import has brought it as well.
    OfAnother,
    /// Another program, or an event, has changed or removed it since.
    Changed,
}

/// What to do about a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// The outcome to report.
    pub outcome: UndoOutcome,
    /// What the row becomes, when it changes; `Some(None)`: it is deleted.
    pub becomes: Option<Option<Hidden>>,
    /// Notes of other imports that have to be written again.
    pub notes: Vec<ImportedRow>,
}

/// Takes back what `import` says of a row. Afterwards everything is as if that import had never
/// run. `noted` are the notes of all imports about the row.
pub(super) fn decide(import: i32, now: Option<&Record>, noted: &[ImportedRow]) -> Decision {
    let leave = |outcome| Decision { outcome, becomes: None, notes: Vec::new() };
    let mut others: Vec<&ImportedRow> =
        noted.iter().filter(|note| note.import_id != import).collect();
    let Some(mine) = noted.iter().find(|note| note.import_id == import) else {
        return leave(UndoOutcome::WasThere);
    };
    if !mine.wrote {
        return leave(if others.is_empty() {
            UndoOutcome::WasThere
        } else {
            UndoOutcome::OfAnother
        });
    }
    let Some(now) =
        now.filter(|now| noted.iter().any(|note| note.wrote && note.content == now.fingerprint()))
    else {
        return leave(UndoOutcome::Changed);
    };
    // The remaining imports are applied again, one after the other, to what was there before all of
    // them.
    others.sort_unstable_by_key(|note| note.import_id);
    let told = Writes::of(now, noted);
    let mut stands = before_all(noted);
    let mut notes: Vec<ImportedRow> = Vec::new();
    for note in others.iter().copied() {
        let Some(says) = told.by_content(note.content) else { continue };
        let wrote = says.record.supersedes(stands.as_ref().map(|hidden| &hidden.record));
        let hidden = if wrote {
            stands.replace(says.clone())
        } else {
            Some(says).filter(|says| stands.as_ref() != Some(says))
        };
        let again = ImportedRow { wrote, hidden, ..note.clone() };
        notes.extend((again != *note).then_some(again));
    }
    let is_as_now = stands.as_ref().is_some_and(|hidden| hidden.record == *now);
    if let Some(confirms) = others
        .iter()
        .find(|note| note.content == CONFIRMED)
        .filter(|_| !is_as_now && mine.content == now.fingerprint())
    {
        notes.push(ImportedRow {
            wrote: true,
            content: mine.content,
            hidden: stands,
            ..(*confirms).clone()
        });
        return Decision { outcome: UndoOutcome::OfAnother, becomes: None, notes };
    }
    if is_as_now {
        return Decision { outcome: UndoOutcome::OfAnother, becomes: None, notes };
    }
    Decision { outcome: UndoOutcome::Undone, becomes: Some(stands), notes }
}

/// Everything that is known to have been written about a row: what is there, and what is hidden.
struct Writes(Vec<Hidden>);

impl Writes {
    fn of(now: &Record, noted: &[ImportedRow]) -> Self {
        let now = Hidden { record: now.clone(), last_counted: None };
        Writes(noted.iter().filter_map(|note| note.hidden.clone()).chain([now]).collect())
    }

    /// The record of an import; `None` when something else has replaced it, or when the import
    /// states nothing of its own.
    fn by_content(&self, content: i64) -> Option<Hidden> {
        self.0.iter().find(|hidden| hidden.record.fingerprint() == content).cloned()
    }
}

/// The newest record that imports have replaced and no import has written. It was there before the
/// imports, or was written between them.
fn before_all(noted: &[ImportedRow]) -> Option<Hidden> {
    let is_an_imports = |hidden: &&Hidden| {
        noted.iter().any(|note| note.wrote && note.content == hidden.record.fingerprint())
    };
    let of_others = noted
        .iter()
        .filter(|note| note.wrote)
        .filter_map(|note| note.hidden.as_ref())
        .filter(|hidden| !is_an_imports(hidden));
    let newer = |newest: Option<&Hidden>, hidden: &Hidden| {
        hidden.record.supersedes(newest.map(|newest| &newest.record))
    };
    of_others
        .fold(None, |newest, hidden| if newer(newest, hidden) { Some(hidden) } else { newest })
        .cloned()
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
