//! Checks the values of `--set` before the first row. A value that no row can use is wrong use, and
//! not a fault of line 2.

use csv::ByteRecord;
use jiff::tz::TimeZone;

use super::{
    cells::Cells,
    columns::{Field, ImportKind, Mapping},
    dates::DateFormat,
    error::{ImportError, RowFault},
    facilities::FacilityIndex,
};

/// The largest difference between two time zones on Earth.
const FURTHEST_ZONES_MS: i64 = 26 * 60 * 60 * 1000;

/// Checks each constant in the same way as the cell of a row. Checks that depend on the row's
/// facility, such as whether a day is over there, are made for each row. Wrong use when a constant
/// is faulty.
pub fn check(
    kind: ImportKind,
    mapping: &Mapping,
    dates: &DateFormat,
    directory: &mut FacilityIndex,
    now_ms: i64,
) -> Result<(), ImportError> {
    let cells = Cells { mapping, line: 1, record: &ByteRecord::new() };
    for field in mapping.constants() {
        check_one(kind, field, &cells, dates, directory, now_ms).map_err(|fault| {
            ImportError::WrongUse(format!(
                "--set {}={}: the value {}",
                field.as_str(),
                fault.value,
                fault.problem
            ))
        })?;
    }
    Ok(())
}

fn check_one(
    kind: ImportKind,
    field: Field,
    cells: &Cells<'_>,
    dates: &DateFormat,
    directory: &mut FacilityIndex,
    now_ms: i64,
) -> Result<(), RowFault> {
    match field {
        Field::Id => cells.id().map(drop),
        Field::Timezone => cells.zone().map(drop),
        Field::BloodType => cells.blood_type().map(drop),
        Field::Quantity => cells.quantity(kind.least_units()).map(drop),
        Field::Name | Field::Facility => {
            let name = cells.name(field)?;
            let given = name.given.clone();
            let found = if field == Field::Name {
                directory.check(&name).map(drop)
            } else {
                directory.mention(name, None).map(drop)
            };
            found.map_err(|problem| cells.fault(field, &given, problem))
        }
        Field::Date | Field::RecordedAt | Field::DateDelivered | Field::CreatedAt => {
            let text = cells.required(field)?;
            let at_ms = dates
                .instant_ms(&text, &TimeZone::UTC)
                .map_err(|problem| cells.fault(field, &text, problem))?;
            if at_ms > now_ms + FURTHEST_ZONES_MS {
                return Err(cells.fault(
                    field,
                    &text,
                    "lies in the future; what is imported has happened",
                ));
            }
            Ok(())
        }
    }
}
