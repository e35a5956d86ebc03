//! Ids as files write them. A cell that was meant to be an id, but is mistyped, must not become the
//! name of a new facility.

use uuid::Uuid;

/// What a text is in a place where an id may be.
#[derive(Debug, PartialEq, Eq)]
pub enum IdText {
    /// An id.
    Id(Uuid),
    /// Text that was meant to be an id: what is wrong with it, as the rest of a sentence.
    Mistyped(String),
    /// Nothing like an id.
    Other,
}

/// A text with up to this many digits more or fewer than a UUID counts as a mistyped id.
const MISSING: usize = 4;

/// Reads an id in any usual form: with hyphens (or the dashes that word processors make of them) or
/// without, in upper or lower case, in brackets or quotes, behind `urn:uuid:`.
///
/// **A mistyped id** has 28 to 36 digits, of which at most two are not hexadecimal. Or it has five
/// groups of letters and digits, and the first four groups have 8, 4, 4 and 4. A name has spaces,
/// letters after f, or no digit; no name in the real files looks like an id.
pub fn read(text: &str) -> IdText {
    let bare = unwrapped(text);
    let plain: String = bare.chars().map(|c| if is_dash(c) { '-' } else { c }).collect();
    match Uuid::try_parse(&plain) {
        Ok(id) => IdText::Id(id),
        Err(_) if looks_like_an_id(&plain) => IdText::Mistyped(whats_wrong(&plain)),
        Err(_) => IdText::Other,
    }
}

fn unwrapped(text: &str) -> &str {
    let mut bare = text.trim();
    for (open, close) in [('"', '"'), ('\'', '\''), ('{', '}'), ('(', ')'), ('<', '>'), ('[', ']')]
    {
        bare = bare
            .strip_prefix(open)
            .and_then(|inner| inner.strip_suffix(close))
            .unwrap_or(bare)
            .trim();
    }
    for prefix in ["urn:uuid:", "uuid:"] {
        if bare.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)) {
            bare = &bare[prefix.len()..];
        }
    }
    bare.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(bare)
}

/// Whether a character is a hyphen, or a dash or minus sign that stands for one.
const fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}')
}

fn looks_like_an_id(plain: &str) -> bool {
    let digits: Vec<char> = plain.chars().filter(|c| *c != '-').collect();
    let hex = digits.iter().filter(|c| c.is_ascii_hexdigit()).count();
    let has_digit = digits.iter().any(char::is_ascii_digit);
    // A text of thirty decimal digits is a number, unless hyphens are in it.
    let is_number = digits.len() == plain.len() && digits.iter().all(char::is_ascii_digit);
    let by_count =
        digits.len().abs_diff(32) <= MISSING && digits.len() - hex <= 2 && has_digit && !is_number;
    let groups: Vec<&str> = plain.split('-').collect();
    let is_word =
        |group: &&str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_alphanumeric());
    let by_shape = groups.len() == 5
        && std::iter::zip(&groups, [8, 4, 4, 4]).all(|(g, length)| g.len() == length)
        && groups.iter().all(is_word);
    by_count || (by_shape && has_digit)
}

fn whats_wrong(plain: &str) -> String {
    let digits = plain.chars().filter(|c| *c != '-').count();
    let wrong = plain.chars().enumerate().find(|(_, c)| *c != '-' && !c.is_ascii_hexdigit());
    let what = match wrong {
        Some((at, c)) => {
            let meant = match c {
                'O' | 'o' => ", the letter, where the digit 0 may be meant",
                'l' | 'I' | 'i' => ", a letter, where the digit 1 may be meant",
                _ => "",
            };
            format!(
                "its character {} is \"{c}\"{meant}, and the digits of a UUID are 0 to 9 and a to \
                 f",
                at + 1
            )
        }
        None if digits < 32 => format!("it has {digits} digits, {} too few", 32 - digits),
        None if digits > 32 => format!("it has {digits} digits, {} too many", digits - 32),
        None => "its hyphens stand wrong".to_owned(),
    };
    format!(
        "looks like a UUID and is none: {what}; right would be the form \
         3f2b8c1e-5d4a-4e6f-8a7b-9c0d1e2f3a4b"
    )
}

#[cfg(test)]
#[path = "ids_tests.rs"]
mod tests;
