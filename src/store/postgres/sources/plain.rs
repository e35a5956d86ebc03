//! Names and texts of a database, as they are shown to people and to `psql`: on one line each.
//! Whoever may name a column must not be able to begin a line of their own with it.

use std::fmt::Write as _;

/// Whether it ends a line for some reader, or moves the cursor.
pub fn is_odd(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The text on one line, with escapes such as `\u{a}` for each odd character.
pub fn one_line(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
        match is_odd(c) {
            true => write!(line, "\\u{{{:x}}}", u32::from(c)).unwrap_or_default(),
            false => line.push(c),
        }
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_on_one_line_and_shows_what_it_had() {
        assert_eq!(
            one_line("a\nb\r\u{85}\u{2028}\u{2029}é"),
            "a\\u{a}b\\u{d}\\u{85}\\u{2028}\\u{2029}é"
        );
    }
}
