//! The SQL that reads the notations of blood types.

use std::{collections::BTreeMap, fmt::Write as _};

use super::figures::literal;
use crate::domain::blood_type::BloodType;

/// An expression that gives the canonical blood type of `held.raw_type`, or null. The notations are
/// those of [`BloodType::from_notation`], which is the definition; the list is made with it.
pub(super) fn blood_type_of(raw: Option<&str>, own: &BTreeMap<String, String>) -> String {
    if raw.is_none() {
        return "NULL::text".into();
    }
    let mut cases = String::new();
    for (text, blood_type) in own {
        let _ = write!(cases, " WHEN held.raw_type = {} THEN '{blood_type}'", literal(text));
    }
    for blood_type in BloodType::NAMED {
        let notations: Vec<String> = notations(blood_type).iter().map(|n| literal(n)).collect();
        let _ = write!(
            cases,
            " WHEN {NORMAL} = ANY (ARRAY[{}]::text[]) THEN '{}'",
            notations.join(", "),
            blood_type.as_str()
        );
    }
    format!("CASE{cases} END")
}

/// Of a text in a column what decides: capital letters and signs, without white space. No function
/// here goes by a collation: under a Turkish one the capital of `i` is another letter, and under
/// one that is not deterministic no pattern is matched.
const NORMAL: &str = "pg_catalog.upper(pg_catalog.translate(held.raw_type, \
                      E'\u{2212}\u{2010}\u{2011}\u{2013}\u{2014}0\u{131}\u{17f} \
                      \\t\\n\\x0b\\f\\r\\u0085\\u00a0\\u1680\
                      \\u2000\\u2001\\u2002\\u2003\\u2004\\u2005\
                      \\u2006\\u2007\\u2008\\u2009\\u200a\\u2028\\u2029\\u202f\\u205f\
                      \\u3000()._,/'::text, \
                      '-----OIS'::text) COLLATE pg_catalog.\"C\")";

/// The notations of a type, without spaces and in capital letters.
fn notations(blood_type: BloodType) -> Vec<String> {
    let mut notations = Vec::new();
    for group in ["O", "A", "B", "AB"] {
        for factor in ["", "D", "RH", "RHD", "RHESUS", "RHESUSD"] {
            for sign in ["+", "-", "+VE", "-VE", "POS", "NEG", "POSITIVE", "NEGATIVE", "P", "N"] {
                notations.push(format!("{group}{factor}{sign}"));
                notations.push(format!("{factor}{sign}{group}"));
            }
        }
    }
    notations.retain(|notation| BloodType::from_notation(notation) == Some(blood_type));
    notations.sort_unstable();
    notations.dedup();
    notations
}
