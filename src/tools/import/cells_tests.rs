//! Tests of `cells.rs`.

use super::*;
use crate::tools::import::columns::ImportKind;

fn with<T>(
    quantity: &[u8],
    blood_type: &str,
    read: impl Fn(&Cells<'_>) -> Result<T, RowFault>,
) -> Result<T, String> {
    let header = ByteRecord::from(vec!["Units", "Type"]);
    let columns = ["quantity=Units,blood_type=Type".to_owned()];
    let constants =
        ["facility=Tema".to_owned(), "created_at=2020-01-01".to_owned(), "id=seven".to_owned()];
    let mapping = Mapping::new(ImportKind::Requests, &columns, &constants, None, &header).unwrap();
    let record = ByteRecord::from(vec![quantity, blood_type.as_bytes()]);
    read(&Cells { mapping: &mapping, line: 7, record: &record }).map_err(|fault| fault.to_string())
}

#[test]
fn quantities_are_whole_numbers() {
    let units = |text: &str| with(text.as_bytes(), "", |cells| cells.quantity(0));
    for (text, wants) in [
        ("12", Some(12)),
        (" 12.0 ", Some(12)),
        ("+3", Some(3)),
        ("0", Some(0)),
        ("2147483647", Some(i32::MAX)),
        ("", None),
    ] {
        assert_eq!(units(text), Ok(wants), "{text}");
    }
    for (text, wants) in [
        ("12.5", "line 7, column \"Units\": \"12.5\" is not a whole number of units such as 12"),
        ("1,200", "is 1200 or 1 and a fraction, and the file does not say which"),
        ("12.", "not a whole number"),
        (".", "not a whole number"),
        ("1e3", "not a whole number"),
        ("Medium", "\"Medium\" is not a whole number"),
        ("-1", "is too small; 0 or more is right"),
        ("-99999999999", "is too small"),
        ("2147483648", "is too large; at most 2147483647 is right"),
    ] {
        let fault = units(text).unwrap_err();
        assert!(fault.contains(wants), "{text}: {fault}");
    }
    assert!(
        with(b"0", "", |cells| cells.quantity(1))
            .is_err_and(|fault| fault.contains("1 or more is right"))
    );
    assert!(
        with(b"\xff\xfe", "", |cells| cells.quantity(1))
            .is_err_and(|fault| fault.contains("is not UTF-8"))
    );
}

#[test]
fn blood_types_come_in_many_notations() {
    let read = |text| with(b"", text, |cells| cells.blood_type());
    assert_eq!(read("0 Rh+"), Ok(Some(BloodType::OPositive)));
    assert_eq!(read(" AB\u{a0}Rh- "), Ok(Some(BloodType::AbNegative)));
    assert_eq!((read(""), read("Unknown")), (Ok(None), Ok(None)));
    assert!(read("C+").is_err_and(|fault| {
        fault.starts_with("line 7, column \"Type\": \"C+\" is not a blood type")
    }));
}

#[test]
fn zones_are_spelled_their_own_way() {
    let header = ByteRecord::from(vec!["name", "zone"]);
    let mapping = Mapping::new(
        ImportKind::Facilities,
        &["name=name,timezone=zone".to_owned()],
        &[],
        None,
        &header,
    )
    .unwrap();
    let read = |zone| {
        let zone =
            Cells { mapping: &mapping, line: 2, record: &ByteRecord::from(vec!["Tema", zone]) }
                .zone();
        zone.map(|zone| zone.map(|zone| zone.name)).map_err(|fault| fault.to_string())
    };
    assert_eq!(read("europe/warsaw"), Ok(Some("Europe/Warsaw".to_owned())));
    assert_eq!(read(""), Ok(None));
    assert!(read("CEST").is_err_and(|fault| fault.contains(
        "column \"zone\": \"CEST\" is not the name of an IANA time zone such as \
             \"Europe/Warsaw\" or \"UTC\"; perhaps \"Europe/Paris\""
    )));
}

#[test]
fn the_nil_id_is_refused_in_each_of_its_spellings() {
    let header = ByteRecord::from(vec!["name", "id"]);
    let mapping =
        Mapping::new(ImportKind::Facilities, &["name=name,id=id".to_owned()], &[], None, &header)
            .unwrap();
    let read = |id| {
        Cells { mapping: &mapping, line: 2, record: &ByteRecord::from(vec!["Tema", id]) }
            .id()
            .map_err(|f| f.to_string())
    };
    for nil in ["00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000"] {
        assert!(
            read(nil).is_err_and(|fault| fault.contains("column \"id\": \"0000")
                && fault.contains("is the nil UUID")),
            "{nil}"
        );
    }
    assert_eq!(
        (read(""), read("00000000-0000-0000-0000-000000000001")),
        (Ok(None), Ok(Some(Uuid::from_u128(1))))
    );
}

#[test]
fn a_constants_fault_names_its_option() {
    let fault = with(b"", "", |cells| cells.id()).unwrap_err();
    assert_eq!(
        fault,
        "line 7, --set id: \"seven\" is not a UUID such as \
             3f2b8c1e-5d4a-4e6f-8a7b-9c0d1e2f3a4b"
    );
}
