//! The state of the triggers on the source tables.

/// The triggers on the source tables that leave marks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Triggers {
    /// Those that leave none, or not of every writer; where there are any, writes pass unseen.
    pub off: Vec<TriggerOff>,
    /// Another after every change of one of them, also where that was taken back. Changes of other
    /// things may change it, too.
    pub fingerprint: String,
    /// What it was when last all that had been written before was made sure of.
    pub seen: Option<String>,
    /// What puts right what is off: an SQL statement, or a command.
    pub remedy: String,
}

impl Triggers {
    /// Whether whatever was committed before the look has left its marks.
    pub fn are_trusted(&self) -> bool {
        self.off.is_empty() && self.seen.as_ref() == Some(&self.fingerprint)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerOff {
    pub table: String,
    pub trigger: String,
    /// `missing`, `disabled`, `enabled_otherwise` (for other writers than it should be), `altered`
    /// (it, or its function, is not what we made); of all triggers of a table that no trigger
    /// can watch as a whole, `is_no_ordinary_table` or `has_inheriting_tables`.
    pub why: String,
}
