//! The eight ABO/RhD types, and the notations in common use for them.

use serde::{Deserialize, Serialize};

/// An ABO/RhD blood type, in the order in which every answer lists them. `Unknown` stands for data
/// that names no type.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
pub enum BloodType {
    #[serde(rename = "O+")]
    OPositive,
    #[serde(rename = "O-")]
    ONegative,
    #[serde(rename = "A+")]
    APositive,
    #[serde(rename = "A-")]
    ANegative,
    #[serde(rename = "B+")]
    BPositive,
    #[serde(rename = "B-")]
    BNegative,
    #[serde(rename = "AB+")]
    AbPositive,
    #[serde(rename = "AB-")]
    AbNegative,
    #[serde(rename = "unknown")]
    Unknown,
}

impl BloodType {
    /// The eight types that data may name.
    pub const NAMED: [BloodType; 8] = [
        BloodType::OPositive,
        BloodType::ONegative,
        BloodType::APositive,
        BloodType::ANegative,
        BloodType::BPositive,
        BloodType::BNegative,
        BloodType::AbPositive,
        BloodType::AbNegative,
    ];

    /// The canonical spelling, in the database and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            BloodType::OPositive => "O+",
            BloodType::ONegative => "O-",
            BloodType::APositive => "A+",
            BloodType::ANegative => "A-",
            BloodType::BPositive => "B+",
            BloodType::BNegative => "B-",
            BloodType::AbPositive => "AB+",
            BloodType::AbNegative => "AB-",
            BloodType::Unknown => "unknown",
        }
    }

    /// Parses the canonical spelling of one of the eight; `None` for any other text.
    pub fn from_canonical(text: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|t| t.as_str() == text)
    }

    /// Parses any usual notation of one of the eight: `O+`, `o pos`, `0 Rh+`, `O RhD positive`, `AB
    /// Rh D neg.`, `A(+)`, `B −`, `O +ve`, `Rh+ AB`. A zero is read as the letter O. `None` for any
    /// other text.
    pub fn from_notation(text: &str) -> Option<Self> {
        let mut letters = String::with_capacity(16);
        for c in text.trim().chars() {
            // Full-width letters and signs, as East Asian keyboards write them.
            let c = if matches!(c, '！'..='～') {
                char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c)
            } else {
                c
            };
            match c {
                '−' | '‐' | '‑' | '–' | '—' | '-' => letters.push('-'),
                '+' => letters.push('+'),
                '0' => letters.push('O'),
                c if c.is_alphabetic() => letters.extend(c.to_uppercase()),
                c if c.is_whitespace() || matches!(c, '(' | ')' | '.' | '_' | ',' | '/') => {}
                _ => return None,
            }
        }
        if let Some(rest) = letters.strip_prefix("RH") {
            // The factor comes first: `Rh+ O`.
            let rest = rest.strip_prefix('D').unwrap_or(rest);
            let (sign, group) = ["+", "-"]
                .into_iter()
                .find_map(|sign| rest.strip_prefix(sign).map(|group| (sign, group)))?;
            return Self::NAMED.into_iter().find(|t| t.as_str().strip_prefix(group) == Some(sign));
        }
        let (group, rest) = ["AB", "A", "B", "O"]
            .into_iter()
            .find_map(|g| letters.strip_prefix(g).map(|rest| (g, rest)))?;
        let rest = rest.strip_prefix("RHESUS").or_else(|| rest.strip_prefix("RH")).unwrap_or(rest);
        let sign = match rest.strip_prefix('D').unwrap_or(rest) {
            "+" | "+VE" | "POS" | "POSITIVE" | "P" => "+",
            "-" | "-VE" | "NEG" | "NEGATIVE" | "N" => "-",
            _ => return None,
        };
        Self::NAMED.into_iter().find(|t| t.as_str().strip_prefix(group) == Some(sign))
    }
}

#[cfg(test)]
#[path = "blood_type_tests.rs"]
mod tests;
