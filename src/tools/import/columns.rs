//! The mapping: which column of the file feeds which field. It is made from `--columns
//! field=column` and `--set field=value`, and checked against the header.

use std::collections::BTreeMap;

use clap::ValueEnum;
use csv::ByteRecord;

use super::{error::ImportError, identity::clean, numbers::DecimalSign};
use crate::domain::{facility::Zone, zones};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportKind {
    /// Facilities and their time zones
    Facilities,
    /// The stock that past days closed with
    StockHistory,
    /// Deliveries to facilities
    Distributions,
    /// Requests made by facilities
    Requests,
}

impl ImportKind {
    /// The kind as the command line names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            ImportKind::Facilities => "facilities",
            ImportKind::StockHistory => "stock-history",
            ImportKind::Distributions => "distributions",
            ImportKind::Requests => "requests",
        }
    }

    /// The fields of this kind, and whether a file must have each.
    const fn fields(self) -> &'static [(Field, bool)] {
        use Field::*;
        match self {
            ImportKind::Facilities => &[(Id, false), (Name, true), (Timezone, false)],
            ImportKind::StockHistory => &[
                (Facility, true),
                (Date, true),
                (BloodType, false),
                (Quantity, true),
                (RecordedAt, false),
                (Timezone, false),
            ],
            ImportKind::Distributions => &[
                (Id, false),
                (Facility, true),
                (DateDelivered, true),
                (BloodType, false),
                (Quantity, true),
                (Timezone, false),
            ],
            ImportKind::Requests => &[
                (Id, false),
                (Facility, true),
                (CreatedAt, true),
                (BloodType, false),
                (Quantity, false),
                (Timezone, false),
            ],
        }
    }

    /// The fewest units that a row can have.
    pub const fn least_units(self) -> i32 {
        match self {
            ImportKind::Distributions => 1,
            _ => 0,
        }
    }

    fn field(self, name: &str) -> Option<Field> {
        self.fields().iter().map(|(field, _)| *field).find(|field| field.as_str() == name)
    }

    /// The fields as `--help` and errors list them: optional ones have a `?`.
    fn field_list(self) -> String {
        let names: Vec<_> = self
            .fields()
            .iter()
            .map(|(field, required)| {
                format!("{}{}", field.as_str(), if *required { "" } else { "?" })
            })
            .collect();
        names.join(", ")
    }
}

/// A value that a row can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The id of the row, a UUID.
    Id,
    /// The name of a facility.
    Name,
    /// The zone in which an unknown facility is registered.
    Timezone,
    /// The facility that the row belongs to, by id or name.
    Facility,
    /// The local day of a figure of stock.
    Date,
    /// When a delivery arrived.
    DateDelivered,
    /// When a request was sent.
    CreatedAt,
    /// The blood type.
    BloodType,
    /// The number of units.
    Quantity,
    /// When a figure of stock was recorded: it decides which figure of a day is the last.
    RecordedAt,
}

impl Field {
    /// The field as the command line names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Field::Id => "id",
            Field::Name => "name",
            Field::Timezone => "timezone",
            Field::Facility => "facility",
            Field::Date => "date",
            Field::DateDelivered => "date_delivered",
            Field::CreatedAt => "created_at",
            Field::BloodType => "blood_type",
            Field::Quantity => "quantity",
            Field::RecordedAt => "recorded_at",
        }
    }
}

/// Where a field's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Columns by position. Several cells are joined by a space. `named`: as the command line names
    /// them.
    Columns { named: String, positions: Vec<usize> },
    /// The same value for every row.
    Constant(String),
}

/// The origin of each mapped field.
#[derive(Debug)]
pub struct Mapping {
    kind: ImportKind,
    origins: BTreeMap<Field, Origin>,
    /// The decimal sign of the numbers in the file; `None`: an ambiguous number is a fault.
    pub decimal: Option<DecimalSign>,
}

impl Mapping {
    /// Reads pairs `field=column` and `field=value`. These are wrong use: an unknown or repeated
    /// field, a required field that is missing, and a column that the header has twice. A column
    /// that the header does not have is `NoColumn`.
    pub fn new(
        kind: ImportKind,
        columns: &[String],
        constants: &[String],
        decimal: Option<DecimalSign>,
        header: &ByteRecord,
    ) -> Result<Self, ImportError> {
        let header: Vec<String> =
            header.iter().map(|name| clean(&String::from_utf8_lossy(name))).collect();
        let mut mapping = Mapping { kind, origins: BTreeMap::new(), decimal };
        for pair in columns.iter().flat_map(|list| pairs(list)) {
            let (field, named) = split_pair(kind, "--columns", &pair)?;
            let named = clean(&named);
            let positions = positions(&header, &named)?;
            mapping.insert(field, Origin::Columns { named, positions })?;
        }
        for pair in constants {
            let (field, value) = split_pair(kind, "--set", pair)?;
            if clean(&value).is_empty() {
                return Err(ImportError::WrongUse(format!(
                    "--set {pair}: the value is empty; leave the field out instead"
                )));
            }
            if field == Field::Timezone && Zone::named(&clean(&value)).is_none() {
                return Err(ImportError::WrongUse(format!(
                    "--set {pair}: there is no such time zone; right would be {}",
                    zones::expected(&clean(&value))
                )));
            }
            mapping.insert(field, Origin::Constant(value))?;
        }
        if let Some((field, _)) = kind
            .fields()
            .iter()
            .find(|(field, required)| *required && !mapping.origins.contains_key(field))
        {
            let field = field.as_str();
            return Err(ImportError::WrongUse(format!(
                "{} need the field {field}: add {field}=COLUMN to --columns, or --set \
                 {field}=VALUE. {}",
                kind.as_str(),
                columns_of(&header)
            )));
        }
        Ok(mapping)
    }

    /// Where the field's value comes from; `None` when the field is not mapped.
    pub fn origin(&self, field: Field) -> Option<&Origin> {
        self.origins.get(&field)
    }

    /// The fields that have the same value in every row.
    pub fn constants(&self) -> impl Iterator<Item = Field> {
        self.origins
            .iter()
            .filter(|(_, origin)| matches!(origin, Origin::Constant(_)))
            .map(|(field, _)| *field)
    }

    /// The column of the first required field that a row with only `cells` cells lacks.
    pub fn required_behind(&self, cells: usize) -> Option<&str> {
        let required = |field: &Field| self.kind.fields().contains(&(*field, true));
        self.origins.iter().filter(|(field, _)| required(field)).find_map(
            |(_, origin)| match origin {
                Origin::Columns { named, positions }
                    if positions.iter().any(|position| *position >= cells) =>
                {
                    Some(named.as_str())
                }
                _ => None,
            },
        )
    }

    fn insert(&mut self, field: Field, origin: Origin) -> Result<(), ImportError> {
        match self.origins.insert(field, origin) {
            None => Ok(()),
            Some(_) => Err(ImportError::WrongUse(format!(
                "the field {} is given twice; name it once, in --columns or in --set",
                field.as_str()
            ))),
        }
    }
}

/// Splits `a=x,b=y` at its commas. A part without `=` belongs to the column name before it:
/// `name=Name, as registered` is one pair.
fn pairs(list: &str) -> Vec<String> {
    let mut pairs: Vec<String> = Vec::new();
    for part in list.split(',') {
        match pairs.last_mut() {
            Some(last) if !part.contains('=') => {
                last.push(',');
                last.push_str(part);
            }
            _ => pairs.push(part.to_owned()),
        }
    }
    pairs
}

fn split_pair(kind: ImportKind, option: &str, pair: &str) -> Result<(Field, String), ImportError> {
    let wrong = |what: String| {
        ImportError::WrongUse(format!(
            "{option} {pair}: {what}. The fields of {} are {}",
            kind.as_str(),
            kind.field_list()
        ))
    };
    let (field, value) =
        pair.split_once('=').ok_or_else(|| wrong("expected field=…".to_owned()))?;
    let field = kind
        .field(field.trim())
        .ok_or_else(|| wrong(format!("there is no field \"{}\"", field.trim())))?;
    Ok((field, value.to_owned()))
}

/// The positions of a column, or of several as `A+B`. A column whose own name is `A+B` comes first.
fn positions(header: &[String], named: &str) -> Result<Vec<usize>, ImportError> {
    if header.iter().any(|name| name == named) {
        return Ok(vec![position(header, named)?]);
    }
    named.split('+').map(|part| position(header, part.trim())).collect()
}

fn position(header: &[String], named: &str) -> Result<usize, ImportError> {
    let mut found =
        header.iter().enumerate().filter(|(_, name)| *name == named).map(|(position, _)| position);
    match (found.next(), found.next()) {
        (Some(position), None) => Ok(position),
        (Some(_), Some(_)) => Err(ImportError::WrongUse(format!(
            "the file has several columns \"{named}\"; rename all but one in its first line"
        ))),
        (None, _) => {
            let near = header.iter().find(|name| name.to_lowercase() == named.to_lowercase());
            let hint = near.map_or_else(String::new, |near| {
                format!("; perhaps \"{near}\" is meant, since case counts")
            });
            Err(ImportError::NoColumn {
                named: named.to_owned(),
                columns: format!("{}{hint}", columns_of(header)),
            })
        }
    }
}

fn columns_of(header: &[String]) -> String {
    format!("Its columns are \"{}\"", header.join("\", \""))
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
