//! Who is who: cleaned names, and ids that come out the same whenever the same file is read.

use std::collections::HashMap;

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::names;

/// The namespace of every id that an import makes. It may never change: ids of files imported
/// before would not be met again.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_2a0d_5b7e_5e0f_9a43_c1d8_72e6_b954);

/// Text as values are read from it, and names compared: no space around it, each run of white space
/// (non-breaking and line ends too) one space, no invisible characters, composed.
pub fn clean(text: &str) -> String {
    names::compared(text)
}

/// What releases before 0.2 took for the same name: composed and decomposed letters were two, and
/// so were most invisible characters. It tells under which id they registered a facility, and may
/// therefore never change.
pub fn cleaned_before(text: &str) -> String {
    let visible = text.replace(['\u{feff}', '\u{200b}', '\u{2060}'], "");
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The id of the facility of a cleaned name.
///
/// Case counts. Two names that differ in case alone may be two facilities (real lists name no
/// town), and figures once mixed cannot be parted again, while one facility seen twice is found by
/// a look at the list.
pub fn facility_id(cleaned_name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("facility\u{1f}{cleaned_name}").as_bytes())
}

/// The id of a row that has none: of its kind, its mapped values, and how many equal rows stand
/// before it.
pub fn row_id(content: &str, occurrence: u32) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{content}\u{1f}{occurrence}").as_bytes())
}

/// What a file has said so far, as one small number for each distinct thing: the only memory that
/// grows with the file, by some 24 bytes a distinct row. Hashes of 128 bits stand for the things;
/// among 10^12 of them two meet by chance once in 10^14 files.
#[derive(Debug, Default)]
pub struct Said(HashMap<[u64; 2], u32>);

impl Said {
    /// How often this was said before.
    pub fn again(&mut self, thing: &str) -> u32 {
        let count = self.0.entry(key(thing)).or_insert(0);
        let before = *count;
        *count = count.saturating_add(1);
        before
    }

    /// Remembers `value` of this thing, and answers the value that was remembered first, if there
    /// is one.
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
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cleaned_of_what_the_eye_does_not_see() {
        assert_eq!(
            clean("\u{feff} Sri Guru\u{a0}Harkrishan \t\r\n Sahib\u{202f} "),
            "Sri Guru Harkrishan Sahib"
        );
        assert_eq!(clean("\u{a0}"), "");
        assert_eq!(clean("\u{200e}2024-01-05"), "2024-01-05");
    }

    #[test]
    fn ids_stay_what_they_are_for_ever() {
        assert_eq!(facility_id("Tema").to_string(), "d1883e5f-6aba-59c5-939f-781b8ff98008");
        assert_eq!(
            facility_id(&clean("Sri  Guru\u{a0}Łódź")),
            facility_id(&cleaned_before("Sri  Guru\u{a0}Łódź"))
        );
        assert_eq!(
            facility_id(&cleaned_before("Ho\u{302}pital")).to_string(),
            "e1291c39-78ee-5928-8f10-be3e2537606e"
        );
        assert_eq!(
            row_id("requests\u{1f}x", 1).to_string(),
            "c056ac63-b9b9-5e16-b060-af4530bab856"
        );
        assert_ne!(facility_id("Tema"), facility_id("TEMA"));
    }

    #[test]
    fn equal_things_are_counted_and_first_values_stay() {
        let mut said = Said::default();
        assert_eq!([said.again("a"), said.again("b"), said.again("a")], [0, 0, 1]);
        assert_eq!(
            [said.first_value("c", 7), said.first_value("c", 8), said.first_value("c", 9)],
            [None, Some(7), Some(7)]
        );
    }
}
