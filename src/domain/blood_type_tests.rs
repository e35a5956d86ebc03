//! Tests of `blood_type.rs`.

use super::*;

#[test]
fn the_usual_notations_are_read() {
    for (text, want) in [
        ("O+", "O+"),
        ("0 Rh+", "O+"),
        ("O Rh D positive", "O+"),
        ("O POS", "O+"),
        ("ab-", "AB-"),
        ("AB RhD neg.", "AB-"),
        ("A (−)", "A-"),
        ("B Rhesus D negative", "B-"),
        (" b pos ", "B+"),
        ("A_NEG", "A-"),
        ("ARh+", "A+"),
        ("O D+", "O+"),
        ("O +ve", "O+"),
        ("AB-VE", "AB-"),
        ("O Rh +ve", "O+"),
        ("Rh+ O", "O+"),
        ("RH-AB", "AB-"),
        ("Ａ＋", "A+"),
        ("A\u{2011}", "A-"),
    ] {
        assert_eq!(BloodType::from_notation(text).map(BloodType::as_str), Some(want), "{text}");
    }
    for text in [
        "", "O", "C+", "O++", "AB", "positive", "A+B", "unknown", "O 3+", "ABO+", "Rh+", "Rh+ ABO",
        "Rh+ A+", "O ve", "A1+", "AVE",
    ] {
        assert_eq!(BloodType::from_notation(text), None, "{text}");
    }
}

#[test]
fn every_type_round_trips_through_its_canonical_spelling() {
    for t in BloodType::NAMED {
        assert_eq!(BloodType::from_canonical(t.as_str()), Some(t));
        assert_eq!(BloodType::from_notation(t.as_str()), Some(t));
    }
}
