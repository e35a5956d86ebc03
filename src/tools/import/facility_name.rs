//! The name of a facility as a file gives it, and which texts no facility may be named.

use super::{
    encodings::encoded_twice,
    identity::cleaned_before,
    ids::{self, IdText},
    numbers::stands_for_nothing,
};
use crate::domain::names;

/// The longest name, in characters. The longest name in a real list has 100. In a row with a longer
/// one, a quote was probably not closed, so that the cell includes the rows behind it.
const MAX_NAME_CHARS: usize = 200;

/// Many files end with a line of totals. It has one of these words in place of a name.
const TOTALS: &[&str] = &[
    "total",
    "totals",
    "grand total",
    "subtotal",
    "sub total",
    "sum",
    "total general",
    "razem",
    "suma",
    "gesamt",
    "summe",
    "totaal",
    "합계",
    "合计",
    "合計",
];

/// A name as a file gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FacilityName {
    /// The name as it is shown.
    pub given: String,
    /// The name as it is compared with others.
    pub compared: String,
    /// As releases before 0.2 compared it, where that differs.
    pub before: Option<String>,
}

impl FacilityName {
    /// `None` when the text has no visible character.
    pub fn new(text: &str) -> Option<Self> {
        let compared = names::compared(text);
        let before = Some(cleaned_before(text)).filter(|before| *before != compared);
        (!compared.is_empty()).then(|| FacilityName {
            given: names::as_given(text).into_owned(),
            compared,
            before,
        })
    }
}

/// Checks a name that has a field of its own, beside the one for an id: it must not look like an
/// id. The error is the rest of a sentence about the value.
pub fn proper_name(name: &FacilityName) -> Result<(), String> {
    checked_name(name)?;
    match ids::read(&name.compared) {
        IdText::Other => Ok(()),
        _ => {
            Err("looks like an id, and a name is needed; an id belongs into the field id"
                .to_owned())
        }
    }
}

/// Checks the length of a name, and that it has no control characters. The error is the rest of a
/// sentence about the value.
pub fn checked_name(name: &FacilityName) -> Result<(), String> {
    let chars = name.given.chars().count();
    if chars > MAX_NAME_CHARS {
        return Err(format!(
            "is a name of {chars} characters; at most {MAX_NAME_CHARS} are right (is a quote not \
             closed?)"
        ));
    }
    if name.given.chars().any(char::is_control) {
        return Err("holds control characters; a name is plain text".to_owned());
    }
    Ok(())
}

/// Checks that a facility may be registered under this name. A facility that already has such a
/// name is found under it all the same. The error is the rest of a sentence about the value.
pub fn new_name(name: &FacilityName) -> Result<(), String> {
    if stands_for_nothing(&name.compared) {
        return Err("stands for a missing value, and no facility is registered under it; the \
                    name of a facility is needed"
            .to_owned());
    }
    if name.compared.starts_with('=') {
        return Err("is a formula, and no facility is registered under it; save the values of \
                    the spreadsheet"
            .to_owned());
    }
    if let Some(meant) = encoded_twice(&name.given) {
        return Err(format!(
            "was turned into UTF-8 twice, and \"{meant}\" is meant; save the file from where it \
             comes, opening it there as UTF-8"
        ));
    }
    let words = name.compared.trim_end_matches(':').trim_end().to_lowercase();
    if TOTALS.contains(&words.as_str()) {
        return Err("reads like the line of a total, and no facility is registered under it; \
                    leave such lines out"
            .to_owned());
    }
    Ok(())
}
