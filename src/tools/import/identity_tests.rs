//! Tests of `identity.rs`.

use super::*;
use crate::tools::import::dates::DateFormat;

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
    assert_eq!(row_id("requests\u{1f}x", 1).to_string(), "c056ac63-b9b9-5e16-b060-af4530bab856");
    assert_ne!(facility_id("Tema"), facility_id("TEMA"));
}

#[test]
fn a_row_is_what_it_says_and_where_it_is_from() {
    let at = |text: &str| DateFormat::new(None).unwrap().read(text).unwrap();
    let origins = |source: &str, column: &str| Origins {
        kind: ImportKind::Distributions,
        source: source.to_owned(),
        quantity_column: column.to_owned(),
    };
    let (facility, o) = (Uuid::from_u128(1), Some(BloodType::OPositive));
    let row = origins("ward1", "units").content(facility, &at("2024-01-05"), o, Some(12));
    assert_eq!(row_id(&row, 0).to_string(), "e13108f1-9136-5e18-a335-fc1068a7249c");
    let others = [
        origins("ward2", "units").content(facility, &at("2024-01-05"), o, Some(12)),
        origins("ward1", "A").content(facility, &at("2024-01-05"), o, Some(12)),
        origins("ward1", "units").content(facility, &at("2024-01-06"), o, Some(12)),
        origins("ward1", "units").content(facility, &at("2024-01-05T00:00Z"), o, Some(12)),
        origins("ward1", "units").content(facility, &at("2024-01-05"), None, Some(12)),
        origins("ward1", "units").content(facility, &at("2024-01-05"), o, None),
        origins("ward1", "units").content(Uuid::from_u128(2), &at("2024-01-05"), o, Some(12)),
    ];
    assert!(others.iter().all(|other| *other != row), "{others:?}");
    assert_eq!(
        origins("ward1", "units").content(facility, &at("2024-01-05 00:00"), o, Some(12)),
        row
    );
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
