//! Tests of `field_rules.rs`.

use super::*;

fn json(text: &str) -> Json<'_> {
    Json::Text(text.into())
}

#[test]
fn instants_are_rfc_3339_to_the_letter() {
    for (text, want) in [
        ("2026-11-21T10:04:11.123Z", Some(1_795_255_451_123)),
        ("2026-11-21T10:04:11.1239999999999Z", Some(1_795_255_451_123)),
        ("2026-11-21t10:04:11.1z", Some(1_795_255_451_100)),
        ("2026-11-21T15:49:11+05:45", Some(1_795_255_451_000)),
        ("2026-11-21T10:04:11-00:00", Some(1_795_255_451_000)),
        ("1969-12-31T23:59:59.999Z", Some(-1)),
        ("1900-01-01T00:00:00Z", Some(FIRST_MS)),
        ("2199-12-31T23:59:59.999Z", Some(END_MS - 1)),
        ("1900-01-01T00:00:00+00:01", None),
        ("2199-12-31T23:59:59-00:01", None),
        ("2016-12-31T23:59:60Z", None),
        ("2026-11-21T24:00:00Z", None),
        ("2026-02-29T10:00:00Z", None),
        ("2026-11-21T10:04:11", None),
        ("2026-11-21T10:04Z", None),
        ("2026-11-21 10:04:11Z", None),
        ("2026-11-21T10:04:11.Z", None),
        ("2026-11-21T10:04:11+0100", None),
        ("2026-11-21T10:04:11+24:00", None),
        ("2026-11-21T10:04:11Z[Europe/Warsaw]", None),
        ("+002026-11-21T10:04:11Z", None),
        ("20261121T100411Z", None),
        ("2026-11-2ł", None),
        ("0", None),
    ] {
        assert_eq!(parse_instant(text), want, "{text}");
    }
}

#[test]
fn a_zone_has_one_spelling_and_means_the_same_on_every_machine() {
    for (text, want) in [
        ("Europe/Warsaw", Some("Europe/Warsaw")),
        ("europe/warsaw", Some("Europe/Warsaw")),
        ("utc", Some("UTC")),
        ("America/Argentina/Buenos_Aires", Some("America/Argentina/Buenos_Aires")),
        ("localtime", None),
        ("LocalTime", None),
        ("posixrules", None),
        ("posix/Europe/Warsaw", None),
        ("right/UTC", None),
        ("Factory", None),
        ("Etc/Unknown", None),
        ("EST5EDT4,M3.2.0,M11.1.0", None),
        ("+01:00", None),
        ("CEST", None),
        ("Europe/../Europe/Warsaw", None),
        ("../../etc/passwd", None),
        ("/usr/share/zoneinfo/UTC", None),
        ("zone.tab", None),
        ("Europe", None),
        ("Europe/Warsaw ", None),
        ("Europe/Warsaw\0", None),
        ("", None),
    ] {
        assert_eq!(timezone(&json(text)).ok().as_deref(), want, "{text:?}");
    }
}

#[test]
fn names_are_trimmed_and_bounded_in_characters() {
    assert_eq!(name(&json("\u{a0} Łódź 2 \n")).as_deref(), Ok("Łódź 2"));
    assert!(name(&json(&"ż".repeat(500))).is_ok());
    for bad in ["", " \u{a0}\n", "a\0b", "a\nb", &"ż".repeat(501)] {
        assert!(name(&json(bad)).is_err(), "{bad:?}");
    }
    assert!(name(&Json::Integer(1)).is_err());
}

#[test]
fn another_notation_of_a_blood_type_is_refused_with_the_right_one() {
    assert_eq!(blood_type(&json("AB-")), Ok(BloodType::AbNegative));
    assert_eq!(blood_type(&json("0 Rh+")).unwrap_err(), "\"O+\" in exactly that spelling");
    for bad in ["unknown", "", "C+", " O+"] {
        assert!(blood_type(&json(bad)).is_err(), "{bad}");
    }
}

#[test]
fn ids_are_hyphenated_and_not_nil() {
    assert!(id(&json("0B6C8F0E-54f1-4b1c-9f5e-0d6f3c1a2b4d")).is_ok());
    for bad in [
        "00000000-0000-0000-0000-000000000000",
        "0b6c8f0e54f14b1c9f5e0d6f3c1a2b4d",
        "{0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d}",
        "0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4",
        "",
    ] {
        assert!(id(&json(bad)).is_err(), "{bad}");
    }
}

#[test]
fn quantities_are_whole_and_in_range() {
    assert_eq!(quantity(0)(&Json::Integer(0)), Ok(0));
    assert_eq!(quantity(1)(&Json::Integer(2_147_483_647)), Ok(i32::MAX));
    for bad in
        [Json::Integer(-1), Json::Integer(2_147_483_648), json("5"), Json::Null, Json::Bool(true)]
    {
        assert!(quantity(0)(&bad).is_err(), "{bad}");
    }
    let of_text = |text: &str| quantity(0)(&crate::http::json::parse(text.as_bytes()).unwrap());
    for (text, want) in [
        ("12.0", 12),
        ("1.2e1", 12),
        ("120e-1", 12),
        ("0.0", 0),
        ("-0.0", 0),
        ("-0", 0),
        ("2147483647.0", i32::MAX),
    ] {
        assert_eq!(of_text(text), Ok(want), "{text}");
    }
    for bad in [
        "12.5",
        "-1.0",
        "2147483647.5",
        "2147483648.0",
        "9007199254740993.0",
        "18446744073709551616",
        "1e300",
        "1e-300",
    ] {
        assert_eq!(of_text(bad).unwrap_err(), "a whole number from 0 to 2147483647", "{bad}");
    }
    assert!(quantity(1)(&Json::Integer(0)).is_err());
}

#[test]
fn dates_exist_and_have_ten_characters() {
    assert!(parse_date("2024-02-29").is_some());
    for bad in [
        "2026-02-29",
        "2026-2-9",
        "20260209",
        "1899-12-31",
        "2200-01-01",
        "2026-13-01",
        "2026-00-10",
        "today",
        "+026-01-01",
    ] {
        assert_eq!(parse_date(bad), None, "{bad}");
    }
}
