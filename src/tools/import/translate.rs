//! Translates a row into what is to be written; each kind has a function. It knows no file and no
//! database.

use std::collections::HashSet;

use jiff::tz::TimeZone;
use uuid::Uuid;

use super::{
    cells::Cells,
    columns::{Field, ImportKind},
    dates::{DateFormat, DateReading},
    error::RowFault,
    facilities::{FacilityIndex, Mentioned},
    identity::{Origins, Said, row_id},
    stock::{ClosingStock, Figure},
};
use crate::{
    domain::{
        blood_type::BloodType,
        day::Day,
        event::{Entity, EntityKind, Record, Statement},
    },
    store::imports::{CONFIRMED, MENTIONED},
};

/// How far the clock of a source may be ahead of the database's, as for posted events.
const CLOCK_SKEW_MS: i64 = 5 * 60 * 1000;

/// What a number of rows have to write together.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The number of its rows, with those that say nothing new.
    pub rows: u64,
    /// Facilities to register or change.
    pub facilities: Vec<Statement>,
    /// Known facilities that rows name, each with `store::imports::MENTIONED` or `CONFIRMED`.
    pub claims: Vec<(Uuid, i64)>,
    /// Deliveries or requests.
    pub drafts: Vec<Draft>,
}

/// A delivery or request whose id may not be known yet.
#[derive(Debug)]
pub struct Draft {
    /// What the row is known by.
    pub name: RowIdentity,
    /// What it states.
    pub record: Record,
}

/// What a row is known by.
#[derive(Debug)]
pub enum RowIdentity {
    /// The id that it has in the file. `repeated`: an earlier row has the same id and content.
    Own { id: Uuid, repeated: bool },
    /// Its content, and the number of equal rows before it. `legacy` is the id that releases up to
    /// 0.2 gave it.
    ByContent { content: String, occurrence: u32, legacy: Uuid },
}

/// Translates the rows of one file. It keeps what it needs to number equal rows, and to distinguish
/// a contradiction from a repetition.
///
/// **The time of a row's statement.** A delivery is stated as of its `date_delivered`, a request as
/// of its `created_at`. The file does not say when it was written, and the statement cannot be
/// older than its fact. So a second import states the same at the same time, and changes nothing.
/// What an event with a later time has corrected or removed meanwhile stays so.
pub struct Translator {
    /// Where the rows come from.
    pub origins: Origins,
    /// How their dates are written.
    pub dates: DateFormat,
    /// All facilities.
    pub directory: FacilityIndex,
    /// The contents and ids so far.
    pub said: Said,
    /// Known facilities that rows have named.
    pub claimed: HashSet<Uuid>,
    /// For `stock-history`: the closed days so far.
    pub days: ClosingStock,
}

/// What deliveries and requests have in common.
struct Happened {
    facility: Mentioned,
    at_ms: i64,
    when: DateReading,
    blood_type: Option<BloodType>,
    quantity: Option<i32>,
}

impl Translator {
    /// Adds a row to the chunk. A faulty row changes neither the chunk nor this.
    pub fn add(
        &mut self,
        chunk: &mut Chunk,
        cells: &Cells<'_>,
        now_ms: i64,
    ) -> Result<(), RowFault> {
        match self.origins.kind {
            ImportKind::Facilities => self.facility(chunk, cells, now_ms),
            ImportKind::StockHistory => self.stock(chunk, cells, now_ms),
            ImportKind::Distributions => self.distribution(chunk, cells, now_ms),
            ImportKind::Requests => self.request(chunk, cells, now_ms),
        }?;
        chunk.rows += 1;
        Ok(())
    }

    fn facility(
        &mut self,
        chunk: &mut Chunk,
        cells: &Cells<'_>,
        now_ms: i64,
    ) -> Result<(), RowFault> {
        let (id, name, zone) = (cells.id()?, cells.name(Field::Name)?, cells.zone()?);
        let new = self.directory.state(id, &name, zone.as_ref(), cells.line, now_ms);
        match new.map_err(|problem| cells.fault(Field::Name, &name.given, problem))? {
            Some(statement) => chunk.facilities.push(statement),
            None => {
                let known = self.directory.id_of(id, &name);
                chunk
                    .claims
                    .extend(known.filter(|id| self.claimed.insert(*id)).map(|id| (id, CONFIRMED)));
            }
        }
        Ok(())
    }

    fn stock(&mut self, chunk: &mut Chunk, cells: &Cells<'_>, now_ms: i64) -> Result<(), RowFault> {
        let facility = self.mentioned(cells)?;
        let text = cells.required(Field::Date)?;
        let day = self.past_day(cells, &text, &facility, now_ms)?;
        let blood_type = cells.blood_type()?.unwrap_or(BloodType::Unknown);
        let Some(units) = cells.quantity(self.origins.kind.least_units())? else {
            return Err(self.missing_quantity(cells));
        };
        let (at_ms, has_time) = self.recorded_at(cells, &text, &facility.tz)?;
        let figure = Figure { units: i64::from(units), line: cells.line, at_ms, rows: 1 };
        let added = self.days.add(facility.id, day.date, blood_type, figure);
        added.map_err(|problem| cells.fault(Field::Quantity, &units.to_string(), problem))?;
        self.days.has_times |= has_time;
        self.register(chunk, cells, &facility);
        Ok(())
    }

    fn distribution(
        &mut self,
        chunk: &mut Chunk,
        cells: &Cells<'_>,
        now_ms: i64,
    ) -> Result<(), RowFault> {
        let (facility, when, at_ms) = self.past_instant(cells, Field::DateDelivered, now_ms)?;
        let blood_type = cells.blood_type()?;
        let Some(quantity) = cells.quantity(self.origins.kind.least_units())? else {
            return Err(self.missing_quantity(cells));
        };
        let entity = Entity::Distribution {
            blood_type,
            date_delivered_ms: Some(at_ms),
            dispatched_to_id: facility.id,
            quantity,
        };
        self.state(
            chunk,
            cells,
            entity,
            Happened { facility, at_ms, when, blood_type, quantity: Some(quantity) },
        )
    }

    fn request(
        &mut self,
        chunk: &mut Chunk,
        cells: &Cells<'_>,
        now_ms: i64,
    ) -> Result<(), RowFault> {
        let (facility, when, created_at_ms) = self.past_instant(cells, Field::CreatedAt, now_ms)?;
        let (blood_type, quantity) =
            (cells.blood_type()?, cells.quantity(self.origins.kind.least_units())?);
        let entity =
            Entity::Request { blood_type, created_at_ms, facility_id: facility.id, quantity };
        self.state(
            chunk,
            cells,
            entity,
            Happened { facility, at_ms: created_at_ms, when, blood_type, quantity },
        )
    }

    /// Adds a row, known by its own id or by its content.
    fn state(
        &mut self,
        chunk: &mut Chunk,
        cells: &Cells<'_>,
        entity: Entity,
        row: Happened,
    ) -> Result<(), RowFault> {
        let content =
            self.origins.content(row.facility.id, &row.when, row.blood_type, row.quantity);
        let name = match cells.id()? {
            None => {
                let (occurrence, legacy) =
                    (self.said.again(&content), self.legacy_content(cells, &row.facility)?);
                let legacy = row_id(&legacy, self.said.again(&legacy));
                RowIdentity::ByContent { content, occurrence, legacy }
            }
            Some(id) => {
                let fingerprint = xxhash_rust::xxh3::xxh3_64(content.as_bytes()) as u32;
                let first = self.said.first_value(&id.to_string(), fingerprint);
                if first.is_some_and(|first| first != fingerprint) {
                    return Err(cells.fault(
                        Field::Id,
                        &id.to_string(),
                        "contradicts an earlier row of this file with the same id",
                    ));
                }
                RowIdentity::Own { id, repeated: first.is_some() }
            }
        };
        self.register(chunk, cells, &row.facility);
        chunk.drafts.push(Draft {
            name,
            record: Record { event_time_ms: row.at_ms, entity: Some(entity) },
        });
        Ok(())
    }

    /// The content by which releases up to 0.2 knew a row: its kind, its facility, and its mapped
    /// values as they are written.
    fn legacy_content(&self, cells: &Cells<'_>, facility: &Mentioned) -> Result<String, RowFault> {
        let mut content = format!("{}\u{1f}{}", self.origins.kind.as_str(), facility.id);
        for field in [Field::DateDelivered, Field::CreatedAt, Field::BloodType, Field::Quantity] {
            content.push('\u{1f}');
            content.push_str(&cells.text(field)?.unwrap_or_default());
        }
        Ok(content)
    }

    /// The kind of this file's rows.
    pub const fn entity_kind(&self) -> EntityKind {
        match self.origins.kind {
            ImportKind::Distributions => EntityKind::Distribution,
            _ => EntityKind::Request,
        }
    }

    fn mentioned(&mut self, cells: &Cells<'_>) -> Result<Mentioned, RowFault> {
        let (name, zone) = (cells.name(Field::Facility)?, cells.zone()?);
        let given = name.given.clone();
        self.directory
            .mention(name, zone.as_ref())
            .map_err(|problem| cells.fault(Field::Facility, &given, problem))
    }

    /// Registers the row's facility when it is not known yet. This is the last step, so that a
    /// faulty row registers nothing.
    fn register(&mut self, chunk: &mut Chunk, cells: &Cells<'_>, facility: &Mentioned) {
        let is_first = self.claimed.insert(facility.id);
        match self.directory.take_up(facility, cells.line) {
            Some(registration) => chunk.facilities.push(registration),
            None if is_first => chunk.claims.push((facility.id, MENTIONED)),
            None => {}
        }
    }

    fn past_day(
        &self,
        cells: &Cells<'_>,
        text: &str,
        facility: &Mentioned,
        now_ms: i64,
    ) -> Result<Day, RowFault> {
        let day = self
            .dates
            .day(text, &facility.tz)
            .map_err(|problem| cells.fault(Field::Date, text, problem))?;
        if day.end_ms > now_ms {
            let today = Day::containing(&facility.tz, now_ms).date;
            let zone = facility.tz.iana_name().unwrap_or("its zone");
            let problem = format!(
                "is {}, which is not over where the facility is ({today} in {zone}); closed days \
                 alone are history",
                day.date
            );
            return Err(cells.fault(Field::Date, text, problem));
        }
        Ok(day)
    }

    /// When a figure of stock was recorded, in milliseconds since 1970, and whether the row says
    /// so: in `recorded_at`, or by a time in its date.
    fn recorded_at(
        &self,
        cells: &Cells<'_>,
        date: &str,
        tz: &TimeZone,
    ) -> Result<(i64, bool), RowFault> {
        let (field, text) = match cells.text(Field::RecordedAt)? {
            Some(text) => (Field::RecordedAt, text),
            None => (Field::Date, date.to_owned()),
        };
        // The two columns may be written in different formats.
        let at_ms = match self.dates.instant_ms(&text, tz) {
            Err(_) if field == Field::RecordedAt && DateFormat::Standard.read(&text).is_some() => {
                DateFormat::Standard.instant_ms(&text, tz)
            }
            at_ms => at_ms,
        };
        let at_ms = at_ms.map_err(|problem| cells.fault(field, &text, problem))?;
        Ok((
            at_ms,
            field == Field::RecordedAt
                || self.dates.read(&text).is_some_and(|reading| reading.has_time()),
        ))
    }

    fn past_instant(
        &mut self,
        cells: &Cells<'_>,
        field: Field,
        now_ms: i64,
    ) -> Result<(Mentioned, DateReading, i64), RowFault> {
        let facility = self.mentioned(cells)?;
        let text = cells.required(field)?;
        let at_ms = self
            .dates
            .instant_ms(&text, &facility.tz)
            .map_err(|problem| cells.fault(field, &text, problem))?;
        if at_ms > now_ms + CLOCK_SKEW_MS {
            return Err(cells.fault(
                field,
                &text,
                "lies in the future; what is imported has happened",
            ));
        }
        let when =
            self.dates.read(&text).ok_or_else(|| cells.fault(field, &text, "is not a date"))?;
        Ok((facility, when, at_ms))
    }

    fn missing_quantity(&self, cells: &Cells<'_>) -> RowFault {
        cells.fault(Field::Quantity, "", "is empty; a whole number of units is needed")
    }
}
