//! Decides when two names are the same. A name is shown as it was given, and compared as people
//! read it.

use std::borrow::Cow;

use unicode_normalization::{
    IsNormalized, UnicodeNormalization, char::canonical_combining_class, is_nfc_quick,
};

/// The form in which names are compared: composed (NFC), without invisible characters, each run of
/// white space replaced by one space, and none at the ends.
///
/// `Hôpital` has two spellings in Unicode that look the same, and a file holds the one that its
/// machine wrote. Case counts, and so do letters that only look the same. The compared form of a
/// compared form is itself.
pub fn compared(name: &str) -> String {
    let form = form(name);
    let trimmed = form.trim_matches(' ');
    if trimmed.len() == form.len() { form } else { trimmed.to_owned() }
}

/// The form in which names are searched for a part: the compared form without case, where a space
/// at either end counts as part of the text that is searched for.
///
/// Case is folded as Unicode folds it: `ß` is `ss`, and a `σ` is the same at the end of a word. The
/// Turkish `İ` and `ı` are an `i` besides, because nobody knows by which rules a reader has written
/// `I`.
pub fn sought(part: &str) -> String {
    let form = form(part);
    if form.is_ascii() {
        return form.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(form.len());
    // Whether a dot that comes now is that of an `i`.
    let mut dots_an_i = false;
    // Lower case first, for letters that are upper case of themselves (`ẞ`); then upper case, which
    // spells out `ß` and `ﬁ`. Each letter by itself: a whole word would get its final sigma.
    let letters = form.nfd().flat_map(char::to_lowercase).flat_map(char::to_uppercase);
    for c in letters.flat_map(char::to_lowercase) {
        if c == '\u{307}' && dots_an_i {
            continue;
        }
        dots_an_i = match canonical_combining_class(c) {
            0 => c == 'i',
            ABOVE => false,
            _ => dots_an_i,
        };
        folded.push(c);
    }
    folded.nfc().collect()
}

/// The class of marks above a letter: a second one is above the first.
const ABOVE: u8 = 230;

fn form(name: &str) -> String {
    let is_plain =
        |name: &str| name.bytes().all(|byte| (b' '..0x7f).contains(&byte)) && !name.contains("  ");
    if is_plain(name) {
        return name.to_owned();
    }
    let visible: String = name.chars().filter(|c| !is_invisible(*c)).collect();
    let composed = if is_nfc_quick(visible.chars()) == IsNormalized::Yes {
        visible
    } else {
        visible.nfc().collect()
    };
    let mut form = String::with_capacity(composed.len());
    for c in composed.chars() {
        match c.is_whitespace() {
            true if form.ends_with(' ') => {}
            true => form.push(' '),
            false => form.push(c),
        }
    }
    form
}

/// The name as it is stored: as given, without white space and invisible characters at the ends. A
/// tab or a line break within becomes a space, because a name is one line.
pub fn as_given(name: &str) -> Cow<'_, str> {
    let trimmed = name.trim_matches(|c: char| c.is_whitespace() || is_invisible(c));
    let breaks = |c: char| c.is_control() && c.is_whitespace();
    if !trimmed.contains(breaks) {
        return Cow::Borrowed(trimmed);
    }
    let mut line = String::with_capacity(trimmed.len());
    for c in trimmed.chars() {
        match breaks(c) {
            true if line.ends_with(' ') => {}
            true => line.push(' '),
            false => line.push(c),
        }
    }
    Cow::Owned(line)
}

/// The name with each character spelled out that people cannot see, or cannot tell from another
/// spelling: `Ho<U+0302>pital`.
pub fn spelled(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        let is_blank = c != ' ' && (c.is_whitespace() || c.is_control());
        if is_blank || is_invisible(c) || unicode_normalization::char::is_combining_mark(c) {
            text.push_str(&format!("<U+{:04X}>", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

/// Whether a character is invisible: soft hyphens, zero-width spaces and joiners, direction marks,
/// variation selectors, tags. That is Unicode's `Default_Ignorable_Code_Point` and the annotation
/// marks.
///
/// The joiners (U+200C, U+200D) change how a Persian or an Indic word is drawn. They count as
/// invisible because the same word is typed with and without them, and no two places differ only in
/// them.
pub const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a character changes the direction of the text around it, so that a name would be shown
/// as another one.
pub const fn turns_direction(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
