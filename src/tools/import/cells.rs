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
#[path = "cells_tests.rs"]
mod tests;
