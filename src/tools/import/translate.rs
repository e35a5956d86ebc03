//! From a row to what is to be written, kind by kind. Knows no file and no database.

use crate::domain::summary::Key;
use std::collections::BTreeMap;

use super::{
    cells::Cells,
    columns::{Field, ImportKind},
    dates::DateFormat,
    error::Fault,
    facilities::{Directory, Mentioned},
    identity::{Said, row_id},
    target::ClosedStock,
};
use crate::domain::{
    blood_type::BloodType,
    day::Day,
    event::{Entity, Kind, Record, Statement},
};

/// How far the clocks of a source may be ahead, as for posted events.
const CLOCK_SKEW_MS: i64 = 5 * 60 * 1000;

/// What rows have come to, to be written together.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Rows read into it, those that say nothing new included.
    pub rows: u64,
    pub registered: u64,
    pub statements: Vec<Statement>,
    stock: BTreeMap<Key, BTreeMap<BloodType, i64>>,
}

impl Chunk {
    pub fn take_stock(&mut self) -> Vec<ClosedStock> {
        let days = std::mem::take(&mut self.stock).into_iter();
        days.map(|((facility_id, date), by_blood_type)| ClosedStock {
            facility_id,
            date,
            by_blood_type,
        })
        .collect()
    }
}

/// Reads rows of one file, remembering what it must to tell equal rows apart and contradictions
/// from repetitions.
///
/// **When a row's statement was made.** A delivery is stated as of its `date_delivered`, a request
/// as of its `created_at`: the file does not say when it was written, and its facts can be no
/// older. So a second import states the same at the same time and changes nothing, and whatever was
/// corrected or removed in the meantime, by an event with a later time, stays so.
pub struct Translator {
    pub kind: ImportKind,
    pub dates: DateFormat,
    pub directory: Directory,
    pub said: Said,
}

impl Translator {
    /// Adds a row to the chunk. A faulty one leaves no trace, in the chunk or here.
    pub fn add(&mut self, chunk: &mut Chunk, cells: &Cells<'_>, now_ms: i64) -> Result<(), Fault> {
        match self.kind {
            ImportKind::Facilities => self.facility(chunk, cells, now_ms),
            ImportKind::StockHistory => self.stock(chunk, cells, now_ms),
            ImportKind::Distributions => self.distribution(chunk, cells, now_ms),
            ImportKind::Requests => self.request(chunk, cells, now_ms),
        }?;
        chunk.rows += 1;
        Ok(())
    }

    fn facility(&mut self, chunk: &mut Chunk, cells: &Cells<'_>, now_ms: i64) -> Result<(), Fault> {
        let (id, name, zone) = (cells.id()?, cells.name(Field::Name)?, cells.zone()?);
        let new = self.directory.state(id, &name, zone.as_ref(), cells.line, now_ms);
        let new = new.map_err(|problem| cells.fault(Field::Name, &name.given, problem))?;
        chunk.registered += u64::from(new.is_some());
        chunk.statements.extend(new);
        Ok(())
    }

    fn stock(&mut self, chunk: &mut Chunk, cells: &Cells<'_>, now_ms: i64) -> Result<(), Fault> {
        let facility = self.mentioned(cells)?;
        let day = self.past_day(cells, &facility, now_ms)?;
        let blood_type = cells.blood_type()?.unwrap_or(BloodType::Unknown);
        let Some(units) = cells.quantity(self.kind.least_units())? else {
            return Err(self.missing_quantity(cells));
        };
        // Whichever of two different figures won, it might be the wrong one; so the first stays and
        // the second is a fault.
        let place = format!("{}\u{1f}{}\u{1f}{}", facility.id, day.date, blood_type.as_str());
        let first = self.said.first_value(&place, units.unsigned_abs());
        if let Some(first) = first.filter(|first| *first != units.unsigned_abs()) {
            let problem = format!(
                "contradicts an earlier row of this file, by which this facility, day and blood \
                 type closed with {first}"
            );
            return Err(cells.fault(Field::Quantity, &units.to_string(), problem));
        }
        self.register(chunk, cells, &facility);
        chunk
            .stock
            .entry((facility.id, day.date))
            .or_default()
            .insert(blood_type, i64::from(units));
        Ok(())
    }

    fn distribution(
        &mut self,
        chunk: &mut Chunk,
        cells: &Cells<'_>,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let facility = self.mentioned(cells)?;
        let at_ms = self.past_instant(cells, Field::DateDelivered, &facility, now_ms)?;
        let blood_type = cells.blood_type()?;
        let Some(quantity) = cells.quantity(self.kind.least_units())? else {
            return Err(self.missing_quantity(cells));
        };
        let entity = Entity::Distribution {
            blood_type,
            date_delivered_ms: Some(at_ms),
            dispatched_to_id: facility.id,
            quantity,
        };
        self.state(chunk, cells, &facility, at_ms, entity)
    }

    fn request(&mut self, chunk: &mut Chunk, cells: &Cells<'_>, now_ms: i64) -> Result<(), Fault> {
        let facility = self.mentioned(cells)?;
        let created_at_ms = self.past_instant(cells, Field::CreatedAt, &facility, now_ms)?;
        let entity = Entity::Request {
            blood_type: cells.blood_type()?,
            created_at_ms,
            facility_id: facility.id,
            quantity: cells.quantity(self.kind.least_units())?,
        };
        self.state(chunk, cells, &facility, created_at_ms, entity)
    }

    /// Adds the statement of a row, under its own id or the one that its content gives it.
    fn state(
        &mut self,
        chunk: &mut Chunk,
        cells: &Cells<'_>,
        facility: &Mentioned,
        at_ms: i64,
        entity: Entity,
    ) -> Result<(), Fault> {
        let content = self.content(cells, facility)?;
        let id = match cells.id()? {
            None => row_id(&content, self.said.again(&content)),
            Some(id) => {
                let fingerprint = xxhash_rust::xxh3::xxh3_64(content.as_bytes()) as u32;
                if self
                    .said
                    .first_value(&id.to_string(), fingerprint)
                    .is_some_and(|first| first != fingerprint)
                {
                    return Err(cells.fault(
                        Field::Id,
                        &id.to_string(),
                        "contradicts an earlier row of this file with the same id",
                    ));
                }
                id
            }
        };
        self.register(chunk, cells, facility);
        let record = Record { event_time_ms: at_ms, entity: Some(entity) };
        chunk.statements.push(Statement { kind: self.entity_kind(), id, record });
        Ok(())
    }

    /// What tells a row from others: its kind, its facility, and its mapped values as written,
    /// whatever the order of the columns. Not the instants made of them, which move with the
    /// facility's zone, nor the zone, which only serves to register.
    fn content(&self, cells: &Cells<'_>, facility: &Mentioned) -> Result<String, Fault> {
        let mut content = format!("{}\u{1f}{}", self.kind.as_str(), facility.id);
        for field in [Field::DateDelivered, Field::CreatedAt, Field::BloodType, Field::Quantity] {
            content.push('\u{1f}');
            content.push_str(&cells.text(field)?.unwrap_or_default());
        }
        Ok(content)
    }

    const fn entity_kind(&self) -> Kind {
        match self.kind {
            ImportKind::Distributions => Kind::Distribution,
            _ => Kind::Request,
        }
    }

    fn mentioned(&mut self, cells: &Cells<'_>) -> Result<Mentioned, Fault> {
        let (name, zone) = (cells.name(Field::Facility)?, cells.zone()?);
        let given = name.given.clone();
        self.directory
            .mention(name, zone.as_ref())
            .map_err(|problem| cells.fault(Field::Facility, &given, problem))
    }

    /// Registers the row's facility if nobody knows it yet. Last of all, so that a faulty row
    /// registers none.
    fn register(&mut self, chunk: &mut Chunk, cells: &Cells<'_>, facility: &Mentioned) {
        if let Some(registration) = self.directory.take_up(facility, cells.line) {
            chunk.statements.push(registration);
            chunk.registered += 1;
        }
    }

    fn past_day(&self, cells: &Cells<'_>, facility: &Mentioned, now_ms: i64) -> Result<Day, Fault> {
        let text = cells.required(Field::Date)?;
        let day = self
            .dates
            .day(&text, &facility.tz)
            .map_err(|problem| cells.fault(Field::Date, &text, problem))?;
        if day.end_ms > now_ms {
            let today = Day::containing(&facility.tz, now_ms).date;
            let zone = facility.tz.iana_name().unwrap_or("its zone");
            let problem = format!(
                "is {}, which is not over where the facility is ({today} in {zone}); closed days \
                 alone are history",
                day.date
            );
            return Err(cells.fault(Field::Date, &text, problem));
        }
        Ok(day)
    }

    fn past_instant(
        &self,
        cells: &Cells<'_>,
        field: Field,
        facility: &Mentioned,
        now_ms: i64,
    ) -> Result<i64, Fault> {
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
        Ok(at_ms)
    }

    fn missing_quantity(&self, cells: &Cells<'_>) -> Fault {
        cells.fault(Field::Quantity, "", "is empty; a whole number of units is needed")
    }
}
