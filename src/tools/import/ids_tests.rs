//! Tests of `ids.rs`.

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
