//! The types of mapped columns, as far as triggers note their values as texts. The drain reads a
//! text in a session with other settings than the writer's, and compares by `pg_catalog` alone.

use serde::Deserialize;

/// The type of a column. That of a domain is the one under it, and a length is left out: the owner
/// may change both, and a value is as it is.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct ColumnType {
    /// As SQL names it.
    pub name: String,
    /// `typcategory`.
    pub category: String,
    /// Whether it is one of the server's own.
    pub is_builtin: bool,
    /// The collation of the column, as SQL names it, where it is not that of the type.
    pub collation: Option<String>,
    /// Whether texts that are equal by that collation are the same.
    pub is_deterministic: bool,
}

/// How a value becomes a text that means it in each session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noting {
    /// Equal values have one text, and JSON writes it.
    AsIs,
    /// Values that are equal have several texts, or JSON would write another one.
    AsText,
    /// The text depends on the session.
    Never,
}

/// Types whose equal values have one text.
const AS_IS: [&str; 8] = [
    "bigint",
    "boolean",
    "date",
    "integer",
    "smallint",
    "timestamp with time zone",
    "timestamp without time zone",
    "uuid",
];
/// The server's own texts.
const TEXTS: [&str; 3] = ["bpchar", "character varying", "text"];
/// Other types whose text is the same in each session, or can be read in each.
const AS_TEXT: [&str; 16] = [
    "\"bit\"",
    "bit varying",
    "bytea",
    "cidr",
    "inet",
    "int4range",
    "int8range",
    "json",
    "jsonb",
    "macaddr",
    "macaddr8",
    "numeric",
    "numrange",
    "oid",
    "time with time zone",
    "time without time zone",
];

impl ColumnType {
    /// How its values are noted.
    pub fn noting(&self) -> Noting {
        let is = |of: &[&str]| self.is_builtin && of.contains(&&*self.name);
        match &*self.category {
            "E" => Noting::AsIs,
            _ if is(&AS_IS) => Noting::AsIs,
            _ if is(&TEXTS) && self.is_deterministic => Noting::AsIs,
            "S" => Noting::AsText,
            _ if is(&AS_TEXT) => Noting::AsText,
            _ => Noting::Never,
        }
    }

    /// Whether a value is noted as it is where it is the only one, and not in an array of JSON.
    pub fn is_plain(&self) -> bool {
        let has_no_time = !self.name.starts_with("timestamp") && self.name != "date";
        let is_number = self.name == "numeric" && self.is_builtin;
        let is_text = TEXTS.contains(&&*self.name) && self.is_builtin;
        is_text || is_number || (self.is_builtin && has_no_time && AS_IS.contains(&&*self.name))
    }

    /// Whether two values are compared by their texts. (Those of floats may depend on the session.)
    pub fn is_compared_as_text(&self) -> bool {
        let is_float = self.is_builtin && ["double precision", "real"].contains(&&*self.name);
        self.noting() != Noting::AsIs && !is_float
    }

    /// As SQL names it, with the collation of the column.
    pub fn sql(&self) -> String {
        match &self.collation {
            Some(collation) => format!("{} COLLATE {collation}", self.name),
            None => self.name.clone(),
        }
    }
}
