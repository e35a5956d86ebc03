//! A first mapping, before it is written down: each key with its value, the reasons, and the
//! questions that its reader has to answer.

use std::collections::BTreeSet;

use super::{
    blood_types::Notations,
    conditions::Condition,
    from::{From, Step},
};

/// A first mapping.
#[derive(Debug)]
pub struct Draft {
    /// `sources.facilities`; `None` if no table looks like it.
    pub facilities: Option<Source>,
    /// Stock, deliveries and requests, the likeliest of each first. Only that one is to be used;
    /// the others are for its reader to choose from.
    pub lists: Vec<Source>,
    /// Texts that are no usual notation of a blood type, with what they seem to mean.
    pub notations: Notations,
    /// The columns that the role has to be able to read: table, schema, columns.
    pub reads: Vec<Read>,
    /// Tables and columns whose names go over several lines: none of them is used.
    pub oddly_named: Vec<String>,
}

/// The columns of a table that a mapping reads.
#[derive(Debug)]
pub struct Read {
    /// The schema, as SQL writes it.
    pub schema: String,
    /// The table, as SQL writes it.
    pub table: String,
    /// The columns, as SQL writes them.
    pub columns: Vec<String>,
    /// Whether the role of this connection may read all of them.
    pub is_allowed: bool,
}

/// A table of the mapping, such as `[[sources.stock]]`.
#[derive(Debug)]
pub struct Source {
    /// `facilities`, `stock`, `deliveries` or `requests`.
    pub list: &'static str,
    /// Why this source.
    pub reasons: Vec<String>,
    /// Its keys, in order.
    pub keys: Vec<Key>,
    /// Whether it is the likeliest.
    pub is_first: bool,
    /// Each table and column that is named, by its place in the catalogue.
    pub(super) used: BTreeSet<(usize, usize)>,
}

/// A key and its value.
#[derive(Debug)]
pub struct Key {
    /// The key of the mapping.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
    /// What its reader has to decide, or to know.
    pub questions: Vec<String>,
    /// Whether it is only a proposal.
    pub is_proposal: bool,
}

/// The value of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Value {
    /// SQL, or a word.
    Text(String),
    /// Yes or no.
    Flag(bool),
}

impl Source {
    pub(super) fn new(list: &'static str) -> Source {
        let (reasons, keys, used) = (vec![], vec![], BTreeSet::new());
        Source { list, reasons, keys, is_first: false, used }
    }

    pub(super) fn key(&mut self, name: &'static str, value: impl Into<String>) -> &mut Key {
        self.push(name, Value::Text(value.into()))
    }

    pub(super) fn flag(&mut self, name: &'static str, value: bool) -> &mut Key {
        self.push(name, Value::Flag(value))
    }

    fn push(&mut self, name: &'static str, value: Value) -> &mut Key {
        self.keys.push(Key { name, value, questions: vec![], is_proposal: false });
        let last = self.keys.len() - 1;
        &mut self.keys[last]
    }

    /// Puts `from` first, which is known last.
    pub(super) fn finish(&mut self, from: &From) {
        self.key("from", from.sql());
        self.keys.rotate_right(1);
        self.used = from.used();
    }
}

impl Key {
    pub(super) fn ask(&mut self, question: impl Into<String>) -> &mut Key {
        self.questions.push(question.into());
        self
    }

    pub(super) fn propose(&mut self) -> &mut Key {
        self.is_proposal = true;
        self
    }
}

/// The conditions of a source, as they are found.
#[derive(Default)]
pub struct Conditions {
    all: Vec<String>,
    questions: Vec<String>,
}

impl Conditions {
    /// Conditions on columns of the table to which the steps lead.
    pub fn add(&mut self, from: &mut From, steps: &[Step], found: Vec<Condition>) {
        for (column, before, after) in found {
            let column = from.column(steps, column, false);
            self.all.push(format!("{before}{column}{after}"));
        }
    }

    pub fn ask(&mut self, question: impl Into<String>) {
        self.questions.push(question.into());
    }

    /// Writes the key `where`; where nothing is known, only the questions.
    pub fn write(self, source: &mut Source) {
        if self.all.is_empty() && self.questions.is_empty() {
            return;
        }
        let is_empty = self.all.is_empty();
        let text = if is_empty { "…".into() } else { self.all.join(" AND ") };
        let key = source.key("where", text);
        key.questions = self.questions;
        if is_empty {
            key.propose();
        }
    }
}
