//! The cells of one row as values. A cell that does not fit its field is a fault, which names line,
//! column and value.

use std::borrow::Cow;

use csv::ByteRecord;
use uuid::Uuid;

use super::{
    columns::{Field, Mapping, Origin},
    encodings::decoded,
    error::RowFault,
    facility_name::FacilityName,
    identity::clean,
    ids::{self, IdText},
    numbers,
};
use crate::domain::{blood_type::BloodType, facility::Zone, zones};

/// A row, read through the mapping of its columns.
pub struct Cells<'a> {
    /// Which columns feed which field.
    pub mapping: &'a Mapping,
    /// The line in which the row begins.
    pub line: u64,
    /// The cells, in the order of the columns.
    pub record: &'a ByteRecord,
}

impl Cells<'_> {
    /// The field's text, cleaned; `None` when the field is not mapped or its cells are empty. When
    /// several cells are joined, empty ones add nothing.
    pub fn text(&self, field: Field) -> Result<Option<String>, RowFault> {
        let text = self.raw(field)?.map(|raw| clean(&raw));
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// The field's text as the file has it; `None` when the field is not mapped.
    fn raw(&self, field: Field) -> Result<Option<Cow<'_, str>>, RowFault> {
        match self.mapping.origin(field) {
            None => Ok(None),
            Some(Origin::Constant(value)) => Ok(Some(Cow::Borrowed(value))),
            Some(Origin::Columns { positions, .. }) => match positions[..] {
                [position] => self.cell(field, position).map(|cell| Some(Cow::Borrowed(cell))),
                _ => {
                    let cells = positions
                        .iter()
                        .map(|position| self.cell(field, *position))
                        .collect::<Result<Vec<_>, _>>()?;
                    Ok(Some(Cow::Owned(cells.join(" "))))
                }
            },
        }
    }

    /// The name in a required field. A fault when it is empty, or the name of the column itself.
    pub fn name(&self, field: Field) -> Result<FacilityName, RowFault> {
        let problem = || {
            format!(
                "is empty; a {} is needed (a spreadsheet saves a merged cell in its first row \
                 alone)",
                field.as_str()
            )
        };
        let name = FacilityName::new(&self.raw(field)?.unwrap_or_default())
            .ok_or_else(|| self.fault(field, "", problem()))?;
        match self.mapping.origin(field) {
            // When several files were joined, their headers stand between the rows.
            Some(Origin::Columns { named, .. }) if *named == name.compared => Err(self.fault(
                field,
                &name.given,
                "is the name of the column itself, so the header stands here again; leave such \
                 lines out",
            )),
            _ => Ok(name),
        }
    }

    /// The text of a required field, cleaned. A fault when it is empty.
    pub fn required(&self, field: Field) -> Result<String, RowFault> {
        self.text(field)?.ok_or_else(|| {
            self.fault(field, "", format!("is empty; a {} is needed", field.as_str()))
        })
    }

    /// The row's id; `None` when the cell is empty. A fault when it is not a UUID, or the nil UUID.
    pub fn id(&self) -> Result<Option<Uuid>, RowFault> {
        let Some(text) = self.text(Field::Id)? else { return Ok(None) };
        match ids::read(&text) {
            // As over HTTP: an unset variable looks like this.
            IdText::Id(id) if id.is_nil() => Err(self.fault(
                Field::Id,
                &text,
                "is the nil UUID, which names nothing; leave the cell empty where there is no id",
            )),
            IdText::Id(id) => Ok(Some(id)),
            IdText::Mistyped(problem) => Err(self.fault(Field::Id, &text, problem)),
            IdText::Other => Err(self.fault(
                Field::Id,
                &text,
                "is not a UUID such as 3f2b8c1e-5d4a-4e6f-8a7b-9c0d1e2f3a4b",
            )),
        }
    }

    /// The time zone, in its usual spelling: `europe/warsaw` is the same zone as `Europe/Warsaw`.
    /// `None` for an empty cell; a fault when there is no such zone.
    pub fn zone(&self) -> Result<Option<Zone>, RowFault> {
        let Some(text) = self.text(Field::Timezone)? else { return Ok(None) };
        let found = Zone::canonical_name(&text).and_then(|name| Zone::named(&name));
        found.map(Some).ok_or_else(|| {
            self.fault(Field::Timezone, &text, format!("is not {}", zones::expected(&text)))
        })
    }

    /// The blood type, in any usual notation; `None` when the file names none. A fault when the
    /// cell has something else.
    pub fn blood_type(&self) -> Result<Option<BloodType>, RowFault> {
        let Some(text) = self.text(Field::BloodType)? else { return Ok(None) };
        if text.eq_ignore_ascii_case(BloodType::Unknown.as_str()) {
            return Ok(None);
        }
        let blood_type = BloodType::from_notation(&text).map(Some);
        blood_type.ok_or_else(|| {
            self.fault(
                Field::BloodType,
                &text,
                "is not a blood type; right would be O+, 0 Rh+, AB neg or an empty cell",
            )
        })
    }

    /// Units: a whole number from `least` to 2,147,483,647, as [`numbers::whole`] reads it. `None`
    /// for an empty cell.
    pub fn quantity(&self, least: i32) -> Result<Option<i32>, RowFault> {
        let Some(text) = self.text(Field::Quantity)? else { return Ok(None) };
        let fault = |problem: String| self.fault(Field::Quantity, &text, problem);
        match i32::try_from(numbers::whole(&text, self.mapping.decimal).map_err(fault)?) {
            Ok(units) if units >= least => Ok(Some(units)),
            Err(_) if !text.starts_with(['-', '−']) => {
                Err(fault(format!("is too large; at most {} is right", i32::MAX)))
            }
            _ => Err(fault(format!("is too small; {least} or more is right"))),
        }
    }

    /// A fault of this field's value in this row. `problem` is the rest of a sentence about it.
    pub fn fault(&self, field: Field, value: &str, problem: impl Into<String>) -> RowFault {
        let origin = match self.mapping.origin(field) {
            Some(Origin::Columns { named, .. }) => format!("column \"{named}\""),
            _ => format!("--set {}", field.as_str()),
        };
        RowFault {
            line: self.line,
            origin: Some(origin),
            value: value.to_owned(),
            problem: problem.into(),
        }
    }

    fn cell(&self, field: Field, position: usize) -> Result<&str, RowFault> {
        // A short row was accepted only because the cells that it lacks may be empty.
        let bytes = self.record.get(position).unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|_| {
            let (encoding, text) = decoded(bytes);
            let problem = format!(
                "is not UTF-8; save the file in that encoding (read as {encoding} it would be \
                 \"{}\")",
                clean(&text)
            );
            self.fault(field, &String::from_utf8_lossy(bytes), problem)
        })
    }
}

#[cfg(test)]
mod tests {
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
        let mapping =
            Mapping::new(ImportKind::Requests, &columns, &constants, None, &header).unwrap();
        let record = ByteRecord::from(vec![quantity, blood_type.as_bytes()]);
        read(&Cells { mapping: &mapping, line: 7, record: &record })
            .map_err(|fault| fault.to_string())
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
            (
                "12.5",
                "line 7, column \"Units\": \"12.5\" is not a whole number of units such as 12",
            ),
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
        let mapping = Mapping::new(
            ImportKind::Facilities,
            &["name=name,id=id".to_owned()],
            &[],
            None,
            &header,
        )
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
}
