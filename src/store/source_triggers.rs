//! The state of the triggers on the source tables.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

/// Whether the writes of other programs leave marks.
pub trait SourceWatch {
    /// Whether figures come from tables of another program, whose writes leave no marks. No
    /// watermark proves these figures then.
    fn are_unwatched(&self) -> bool {
        false
    }
}

/// The triggers on the source tables that leave marks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Triggers {
    /// The triggers that leave no marks, or not for every writer. If there are any, some writes
    /// leave no mark.
    pub off: Vec<TriggerOff>,
    /// Changes when a trigger changes, even if the change was undone. May also change for other
    /// reasons.
    pub fingerprint: String,
    /// The fingerprint when everything written before was last checked.
    pub seen: Option<String>,
    /// Whether figures come from tables of another program, whose writes leave no marks.
    pub sources_are_unwatched: bool,
    /// What restores the triggers: an SQL statement, or a command.
    pub remedy: String,
}

impl Triggers {
    /// Whether everything that was committed before the snapshot has left its marks.
    pub fn are_trusted(&self) -> bool {
        self.off.is_empty()
            && !self.sources_are_unwatched
            && self.seen.as_ref() == Some(&self.fingerprint)
    }
}

/// A trigger that leaves no marks, or not for every writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerOff {
    /// The table that it is on.
    pub table: String,
    /// The name of the trigger.
    pub trigger: String,
    /// `missing`, `disabled`, `enabled_otherwise` (it fires for other writers than it should), or
    /// `altered` (it, or its function, is not the one that we made). For all triggers of a table
    /// that triggers cannot watch as a whole: `is_no_ordinary_table`, `is_a_foreign_table` or
    /// `has_inheriting_tables`.
    pub why: String,
}

/// The source tables and their triggers as they were when writes were last known to leave marks.
#[derive(Debug, Default)]
pub(super) struct TrustedSources(ArcSwapOption<String>);

impl TrustedSources {
    /// Takes over what a drain snapshot shows. `stamp` changes with the tables and their triggers;
    /// `has_others`: something of another program changes what is written, or writes more.
    pub fn see(&self, triggers: &Triggers, stamp: &str, has_others: bool) {
        let is_trusted = triggers.are_trusted() && !has_others;
        self.0.store(is_trusted.then(|| Arc::new(stamp.to_owned())));
    }

    /// The stamp while they are trusted.
    pub fn stamp(&self) -> Option<Arc<String>> {
        self.0.load_full()
    }
}
