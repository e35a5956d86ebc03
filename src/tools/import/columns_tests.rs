//! Tests of `columns.rs`.

use super::*;

fn mapping(kind: ImportKind, columns: &str, constants: &[&str]) -> Result<Mapping, String> {
    let header = ByteRecord::from(vec![
        "\u{feff}city",
        " date ",
        "YEAR",
        "MONTH",
        "A+B",
        "twice",
        "twice",
        "Name, full",
    ]);
    let constants: Vec<_> = constants.iter().map(|c| (*c).to_owned()).collect();
    Mapping::new(kind, &[columns.to_owned()], &constants, None, &header).map_err(|error| {
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    })
}

#[test]
fn fields_find_their_columns_joins_and_constants() {
    let found = mapping(
        ImportKind::Requests,
        "facility=city,created_at=YEAR+MONTH,id=A+B",
        &["quantity=5"],
    )
    .unwrap();
    let positions = |field| match found.origin(field) {
        Some(Origin::Columns { positions, .. }) => positions.clone(),
        _ => vec![],
    };
    assert_eq!(positions(Field::Facility), [0]);
    assert_eq!(positions(Field::CreatedAt), [2, 3]);
    assert_eq!(positions(Field::Id), [4]);
    assert_eq!(found.origin(Field::Quantity), Some(&Origin::Constant("5".to_owned())));
    assert_eq!(found.origin(Field::BloodType), None);
}

#[test]
fn a_column_name_may_hold_a_comma() {
    assert!(mapping(ImportKind::Facilities, "name=Name, full,timezone=city", &[]).is_ok());
}

#[test]
fn wrong_use_is_told_with_what_would_be_right() {
    let kind = ImportKind::StockHistory;
    for (columns, constants, wants) in [
        (
            "town=city",
            &[][..],
            "there is no field \"town\". The fields of stock-history are facility, date, \
                 blood_type?, quantity, recorded_at?, timezone?",
        ),
        ("facility", &[], "expected field=…"),
        ("facility=City", &[], "no column \"City\". Its columns are \"city\", \"date\", \"YEAR\""),
        ("facility=City", &[], "; perhaps \"city\" is meant, since case counts"),
        ("facility=city,date=date", &[], "need the field quantity: add quantity=COLUMN"),
        ("facility=twice", &[], "several columns \"twice\""),
        ("facility=city,facility=date", &[], "the field facility is given twice"),
        ("facility=city", &["facility=Tema"], "the field facility is given twice"),
        ("facility=city", &["quantity="], "the value is empty"),
        ("facility=city", &["timezone=Mars/Olympus"], "no such time zone; right would be"),
    ] {
        let message = mapping(kind, columns, constants).unwrap_err();
        assert!(message.contains(wants), "{columns}: {message}");
    }
}
