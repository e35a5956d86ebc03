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
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_read_in_each_of_its_forms() {
        let id = Uuid::from_u128(0x3f2b_8c1e_5d4a_4e6f_8a7b_9c0d_1e2f_3a4b);
        for text in [
            "3f2b8c1e-5d4a-4e6f-8a7b-9c0d1e2f3a4b",
            "3F2B8C1E-5D4A-4E6F-8A7B-9C0D1E2F3A4B",
            "3f2b8c1e5d4a4e6f8a7b9c0d1e2f3a4b",
            "{3f2b8c1e-5d4a-4e6f-8a7b-9c0d1e2f3a4b}",
            "(3f2b8c1e-5d4a-4e6f-8a7b-9c0d1e2f3a4b)",
            "\"3f2b8c1e-5d4a-4e6f-8a7b-9c0d1e2f3a4b\"",
            "urn:uuid:3f2b8c1e-5d4a-4e6f-8a7b-9c0d1e2f3a4b",
            "URN:UUID:{3f2b8c1e-5d4a-4e6f-8a7b-9c0d1e2f3a4b}",
            "3f2b8c1e–5d4a–4e6f–8a7b–9c0d1e2f3a4b",
            "3f2b8c1e‑5d4a‑4e6f‑8a7b‑9c0d1e2f3a4b",
        ] {
            assert_eq!(read(text), IdText::Id(id), "{text}");
        }
    }

    #[test]
    fn what_looks_like_an_id_and_is_none_is_told_why() {
        for (text, wants) in [
            ("c3d4e5f6-g7h8-4901-cdef-345678901234", "its character 10 is \"g\", and the digits"),
            ("c3d4e5f6-a7b8-4901-cdef-34567890123", "it has 31 digits, 1 too few"),
            ("c3d4e5f6-a7b8-4901-cdef-3456789012345", "it has 33 digits, 1 too many"),
            ("c3d4e5f6a7b8-4901-cdef-345678901234", "its hyphens stand wrong"),
            ("c3d4e5f6-a7b8-4901-cdef-3456789O1234", "the letter, where the digit 0 may be meant"),
            ("c3d4e5f6-a7b8-4901-cdef-3456789l1234", "where the digit 1 may be meant"),
            ("{c3d4e5f6-a7b8-4901-cdef-34567890123}", "1 too few"),
            ("urn:uuid:c3d4e5f6-a7b8-4901-cdef-34567890123", "1 too few"),
            ("k3m4n5p6-q7r8-s9t0-u1v2-w3x4y5z6a7b8", "its character 1 is \"k\""),
            ("c3d4e5f6 a7b8-4901-cdef-345678901234", "its character 9 is \" \""),
        ] {
            match read(text) {
                IdText::Mistyped(problem) => assert!(problem.contains(wants), "{text}: {problem}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn names_stay_names() {
        for name in [
            "B-12",
            "Ward 3-4",
            "Dadeland",
            "Dead Beef Cafe 12",
            "Facade-Decade-Cafe-Dead-Deed",
            "Northern-Ward-Unit-Main-Headquarters",
            "2024-01-05",
            "12345678901234567890123456789012345",
            "4000-1234-5678-9010",
            "AB123456-0001-0002",
            "deadbeef",
            "ABC-DEF-012",
            "",
        ] {
            assert_eq!(read(name), IdText::Other, "{name}");
        }
    }

    #[test]
    fn no_cell_of_the_real_files_is_taken_for_an_id() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let real = std::env::var_os("FACILITY_SUMMARY_REAL_DATA")
            .map_or_else(|| root.join("../shared/data"), Into::into);
        let folders = [root.join("tests/fixtures/import"), real];
        let files =
            folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
        let mut cells = 0;
        for file in files
            .map(|file| file.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "csv"))
        {
            let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
            for cell in text.split([',', '\n', '\r']) {
                assert_eq!(read(cell), IdText::Other, "{}", file.display());
                cells += 1;
            }
        }
        assert!(cells > 50, "{cells} cells were looked at");
    }

    /// What a slip does to a character of an id.
    #[derive(Debug, Clone)]
    enum Slip {
        Dropped,
        Doubled,
        Replaced(char),
    }

    fn slip() -> impl Strategy<Value = Slip> {
        prop_oneof![
            Just(Slip::Dropped),
            Just(Slip::Doubled),
            any::<char>().prop_map(Slip::Replaced),
            "[g-zG-Z .:/é]".prop_map(|c| Slip::Replaced(c.chars().next().unwrap_or('g')))
        ]
    }

    proptest! {
        #[test]
        fn an_id_with_a_slip_is_never_a_name(
            id in any::<u128>(),
            simple in any::<bool>(),
            at in any::<prop::sample::Index>(),
            slip in slip(),
        ) {
            let id = Uuid::from_u128(id);
            let text = if simple { id.simple().to_string() } else { id.to_string() };
            let mut chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len());
            match slip {
                Slip::Dropped => drop(chars.remove(at)),
                Slip::Doubled => chars.insert(at, chars[at]),
                Slip::Replaced(c) => chars[at] = c,
            }
            let slipped: String = chars.into_iter().collect();
            match read(&slipped) {
                IdText::Other => prop_assert!(false, "{} is taken for a name", slipped),
                // Another digit makes another id; another dash leaves the same id.
                IdText::Id(_) => prop_assert!(
                    matches!(slip, Slip::Replaced(c) if c.is_ascii_hexdigit() || is_dash(c)),
                    "{} is taken for an id",
                    slipped
                ),
                IdText::Mistyped(_) => {}
            }
        }

        #[test]
        fn words_are_names_however_they_are_joined(
            words in proptest::collection::vec(
                "[A-Z][a-z]{2,9}|[0-9]{1,4}|No\\.|B|Ward",
                1..7,
            ),
            joint in "[ -]",
        ) {
            let name = words.join(&joint);
            let hex = name.chars().filter(|c| c.is_ascii_hexdigit()).count();
            prop_assume!(hex + 6 < name.len() || name.len() < 28);
            prop_assume!(name.split('-').map(str::len).take(4).ne([8, 4, 4, 4]));
            prop_assert_eq!(read(&name), IdText::Other, "{}", name);
        }
    }
}
