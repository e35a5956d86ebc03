//! Cleaned names, and ids that are the same whenever the same file is read.

use std::collections::HashMap;

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use super::{columns::ImportKind, dates::DateReading};
use crate::domain::{blood_type::BloodType, names};

/// The namespace of every id that an import makes. It must never change: the same files would get
/// other ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_2a0d_5b7e_5e0f_9a43_c1d8_72e6_b954);

/// Text in the form in which values are read and names are compared: without spaces around it, with
/// one space for each run of white space (non-breaking spaces and line ends too), without invisible
/// characters, and with composed letters.
pub fn clean(text: &str) -> String {
    names::compared(text)
}

/// A name in the form in which releases before 0.2 compared it: composed and decomposed letters
/// were different, and most invisible characters counted. It gives the id under which these
/// releases registered a facility, so it must never change.
pub fn cleaned_before(text: &str) -> String {
    let visible = text.replace(['\u{feff}', '\u{200b}', '\u{2060}'], "");
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The id of the facility of a cleaned name.
///
/// Case counts. Two names that differ only in case may be two facilities, since real lists name no
/// town. Figures that were mixed cannot be separated again; one facility that is in the list twice
/// is easy to see.
pub fn facility_id(cleaned_name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("facility\u{1f}{cleaned_name}").as_bytes())
}

/// Where the rows of a file come from. The same values from another source, or from another column,
/// are other rows.
#[derive(Debug, Clone)]
pub struct Origins {
    /// What the file holds.
    pub kind: ImportKind,
    /// The source, as `--source` or the name of the file gives it.
    pub source: String,
    /// The column that feeds the quantity; empty for a constant, or when there is none.
    pub quantity_column: String,
}

impl Origins {
    /// The content by which a row without an id is known, together with the number of equal rows
    /// before it. `when` is what its date says before a zone is applied, since the facility's zone
    /// may be corrected later.
    pub fn content(
        &self,
        facility: Uuid,
        when: &DateReading,
        blood_type: Option<BloodType>,
        quantity: Option<i32>,
    ) -> String {
        let when = match when {
            DateReading::Instant(at) => format!("@{}", at.as_millisecond()),
            DateReading::Wall(at) => at.to_string(),
        };
        let (blood_type, quantity) = (
            blood_type.unwrap_or(BloodType::Unknown).as_str(),
            quantity.map_or(String::new(), |n| n.to_string()),
        );
        let Origins { kind, source, quantity_column } = self;
        let kind = kind.as_str();
        ["row", kind, source, quantity_column, &facility.to_string(), &when, blood_type, &quantity]
            .join("\u{1f}")
    }
}

/// The id of a row that has none in the file, from its content and the number of equal rows before
/// it. (In releases up to 0.2 the content began with the kind, and held the cells as written.)
pub fn row_id(content: &str, occurrence: u32) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{content}\u{1f}{occurrence}").as_bytes())
}

/// What the file has said so far: one small number for each distinct text. Only this memory grows
/// with the file, by about 50 bytes for each distinct row. Hashes of 128 bits stand for the texts;
/// among 10^12 texts, two have the same hash in one of 10^14 files.
#[derive(Debug, Default)]
pub struct Said(HashMap<[u64; 2], u32>);

impl Said {
    /// Counts this text, and returns how often it was there before.
    pub fn again(&mut self, thing: &str) -> u32 {
        let count = self.0.entry(key(thing)).or_insert(0);
        let before = *count;
        *count = count.saturating_add(1);
        before
    }

    /// Remembers the first `value` for this text. Returns the value that was remembered before;
    /// `None` when this is the first.
    pub fn first_value(&mut self, thing: &str, value: u32) -> Option<u32> {
        match self.0.entry(key(thing)) {
            std::collections::hash_map::Entry::Occupied(first) => Some(*first.get()),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(value);
                None
            }
        }
    }
}

fn key(thing: &str) -> [u64; 2] {
    let hash = xxh3_128(thing.as_bytes());
    [(hash >> 64) as u64, hash as u64]
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
