//! Tests of `names.rs`.

use proptest::prelude::*;

use super::*;

#[test]
fn spellings_that_look_alike_compare_equal() {
    for (one, other) in [
        ("Hôpital", "Ho\u{302}pital"),
        ("Hôpital", "Hô\u{ad}pital"),
        ("Hôpital", "\u{feff}\u{200e}Hôpital\u{200f} "),
        ("Łódź", "Ło\u{301}dz\u{301}"),
        ("서울", "\u{1109}\u{1165}\u{110b}\u{116e}\u{11af}"),
        ("می\u{200c}خواهم", "میخواهم"),
        ("Sri Guru\u{a0}Harkrishan \t\r\n Sahib\u{202f}", "Sri Guru Harkrishan Sahib"),
        ("Ward\u{fe0f} 3", "Ward 3"),
        ("o\u{34f}\u{302}", "ô"),
    ] {
        assert_eq!(compared(one), compared(other), "{one} {other}");
    }
    for (one, other) in [
        ("Tema", "TEMA"),
        ("Hopital", "Hôpital"),
        ("A B", "AB"),
        ("Ａ", "A"),
        ("Ward 3-4", "Ward 34"),
    ] {
        assert_ne!(compared(one), compared(other), "{one} {other}");
    }
    assert_eq!(compared("\u{ad}\u{a0}\u{200b}"), "");
}

#[test]
fn a_name_is_shown_as_it_was_given() {
    assert_eq!(
        as_given(" \u{feff}Ho\u{302}pital  de\u{a0}la So\u{ad}ie\u{200e} "),
        "Ho\u{302}pital  de\u{a0}la So\u{ad}ie"
    );
    assert_eq!(as_given("Te\r\nma \t Ward"), "Te ma  Ward");
    assert_eq!(spelled("Ho\u{302}pi\u{ad}tal\u{a0}B"), "Ho<U+0302>pi<U+00AD>tal<U+00A0>B");
}

#[test]
fn a_part_of_a_name_is_found_however_the_name_is_spelled() {
    assert!(sought("Ho\u{302}pi\u{ad}tal  Nord").contains(&sought("H\u{d4}PITAL\u{a0}N")));
    assert!(
        !sought("Northern").contains(&sought("North "))
            && sought("North Bank").contains(&sought("North "))
    );
}

#[test]
fn a_part_of_a_name_is_found_in_any_case() {
    for (name, part) in [
        ("ΑΘΗΝΑΣ", "αθηνας"),
        ("Αθήνας Κέντρο", "ΑΘΉΝΑΣ κ"),
        ("Νοσοκομείο ΟΔΟΣ", "οδοσ"),
        ("Straße", "STRASSE"),
        ("STRASSE", "straße"),
        ("GROẞ", "groß"),
        ("groß", "GROẞ"),
        ("İzmir", "izmir"),
        ("izmir", "İZMİR"),
        ("İzmir", "i\u{307}zmir"),
        ("İ\u{327}zmir", "i\u{327}ZMİR"),
        ("Į\u{307}", "į"),
        ("Diyarbakır", "DIYARBAKIR"),
        ("Ioánnina ΐ", "Ι\u{308}\u{301}"),
        ("ﬁrst", "FIRST"),
        ("ᏣᎳᎩ", "ꮳꮃꭹ"),
    ] {
        assert!(sought(name).contains(&sought(part)), "{name} {part}");
    }
    assert!(!sought("Hôpital").contains(&sought("hopital")), "accents count");
}

proptest! {
    #[test]
    fn case_makes_no_difference_to_a_search(
        name in r"(\PC|[\u{0}-\u{5ff}\u{1e00}-\u{1fff}\u{fb00}-\u{fb17}]){0,12}",
    ) {
        let folded = sought(&name);
        prop_assert_eq!(&sought(&name.to_lowercase()), &folded);
        prop_assert_eq!(&sought(&name.to_uppercase()), &folded);
        prop_assert_eq!(&sought(&compared(&name)), &folded.trim_matches(' '));
        prop_assert_eq!(&sought(&folded), &folded);
    }

    #[test]
    fn the_form_of_a_form_is_itself(
        name in concat!(
            r"(\PC|[\u{0}-\u{3ff}\u{1100}-\u{11ff}\u{200b}-\u{206f}",
            r"\u{ac00}-\u{ac80}\u{fe00}-\u{feff}]){0,12}"
        ),
    ) {
        let form = compared(&name);
        prop_assert_eq!(&compared(&form), &form);
        prop_assert_eq!(compared(&as_given(&name)), &form[..]);
        prop_assert_eq!(as_given(&form), &form[..]);
        prop_assert!(!form.chars().any(is_invisible), "{:?}", form);
    }

    #[test]
    fn a_name_of_plain_letters_is_its_own_form(
        words in proptest::collection::vec("[A-Za-z0-9.,'()-]{1,8}", 1..5),
    ) {
        let name = words.join(" ");
        prop_assert_eq!(compared(&name), &name[..]);
    }
}
